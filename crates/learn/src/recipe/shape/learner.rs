//! The step of cycle- and shape-consistency on given volumes.
//!
//! Each cycle goes forward and backward on a tape of its own, one after the other, and each lesson
//! of a segmentor too: so memory holds one cycle at a time, and gradients add up in between.

use burn::module::Module;
use burn::tensor::{Device, Tensor, TensorData};
use crossmod_volume::rng::{Rng, case_id};

use super::{Phase, ShapeLossConfig, ShapeRecipe};
use crate::batch::Volume;
use crate::device::Processor;
use crate::fit::{Adam, Losses, NetGradients, RunFolder, State};
use crate::loss::{cross_entropy, least_squares};
use crate::net::weights::{Named, collect, fill, leaves};
use crate::net::{Generator3d, PlannedNet};
use crate::recipe::guard::{difference, inversion};
use crate::recipe::judge::{Judge, first_draw};
use crate::recipe::structure::{Counts, most_likely};
use crate::recipe::synseg::{scalar, ties};
use crate::{Result, ops};

/// One of the two modalities, as an index.
const SOURCE: usize = 0;
const TARGET: usize = 1;
const NAMES: [&str; 2] = ["source", "target"];

/// Both translators, which one optimiser moves.
#[derive(Module, Debug)]
pub(super) struct Translators {
    to_target: Generator3d,
    to_source: Generator3d,
}

/// A segmentor of one modality and its optimiser.
#[derive(Debug)]
struct Pupil {
    net: PlannedNet,
    adam: Adam,
}

/// All of the method but its data.
#[derive(Debug)]
pub(super) struct Learner {
    phase: Phase,
    translators: Translators,
    adam: Adam,
    judges: [Judge<5>; 2],
    pupils: [Pupil; 2],
    loss: ShapeLossConfig,
    /// The segmentors' learning rate by the translators'.
    pace: f32,
    classes: usize,
    shape: [usize; 3],
    guard_every: u64,
    seed: u64,
    device: Device,
}

/// What one cycle gives.
struct Cycle {
    /// The translation, of the other modality.
    fake: Tensor<5>,
    /// What comes back of it.
    back: Tensor<5>,
    total: Tensor<1>,
    losses: Losses,
}

/// A volume and the classes that it should be segmented into.
type Lesson = (Vec<f32>, Vec<u16>);

impl Translators {
    /// There and back again from one modality.
    fn round(&self, from: usize) -> [&Generator3d; 2] {
        match from {
            SOURCE => [&self.to_target, &self.to_source],
            _ => [&self.to_source, &self.to_target],
        }
    }
}

impl Learner {
    /// Builds the nets from the recipe's seed, for volumes of `shape`.
    pub(super) fn new(
        recipe: &ShapeRecipe,
        classes: usize,
        shape: [usize; 3],
        processor: &Processor,
    ) -> Self {
        let device = processor.training();
        let rng = |name| first_draw(recipe.seed, name);
        let translators = Translators {
            to_target: recipe.generator.init(&mut rng("to_target"), &device),
            to_source: recipe.generator.init(&mut rng("to_source"), &device),
        };
        let judge = |name| {
            let net = recipe.discriminator.init(1, &mut rng(name), &device);
            Judge::new(net, &recipe.optimizer, recipe.pool)
        };
        let pupil = |name| {
            let net = recipe.segmentor_net();
            let net = net.init([1, classes], &mut rng(name), &device);
            let adam = Adam::new(&recipe.segmentor_optimizer, &net);
            Pupil { net, adam }
        };
        Self {
            phase: recipe.phase,
            adam: Adam::new(&recipe.optimizer, &translators),
            translators,
            judges: [judge("judge_source"), judge("judge_target")],
            pupils: [pupil("segmentor_source"), pupil("segmentor_target")],
            loss: recipe.loss.clone(),
            pace: recipe.segmentor_optimizer.learning_rate / recipe.optimizer.learning_rate,
            classes,
            shape,
            guard_every: recipe.guard_every,
            seed: recipe.seed,
            device,
        }
    }

    fn image(&self, values: &[f32]) -> Tensor<5> {
        let [d, h, w] = self.shape;
        let data = TensorData::new(values.to_vec(), [1, 1, d, h, w]);
        Tensor::from_data(data, &self.device)
    }

    /// `LGAN + λ Lcyc + λ Lshape` from one modality to the other and back; discriminator and
    /// segmentor are fixed, but the segmentor's verdict reaches the translator.
    fn cycle(&self, from: usize, translators: &Translators, volume: &Volume) -> Cycle {
        let to = 1 - from;
        let [there, back] = translators.round(from);
        let judge = self.judges[to].net.clone().no_grad();
        let l = &self.loss;
        let real = self.image(&volume.image);
        let fake = there.forward(real.clone());
        let back = back.forward(fake.clone());
        let gan = least_squares(judge.forward(fake.clone()), 1.0);
        let cycle = l.cycle.of(back.clone(), real.clone());
        let names = [
            ["gan_source", "gan_target"],
            ["cycle_source", "cycle_target"],
        ];
        let mut losses = vec![
            (names[0][to], scalar(&gan)),
            (names[1][from], scalar(&cycle)),
        ];
        let mut total = gan * l.lambda_adversarial + cycle * l.lambda_cycle;
        let lambdas = [l.lambda_alignment, l.lambda_edge];
        let names = [
            ["alignment_source", "edge_source"],
            ["alignment_target", "edge_target"],
        ];
        if let Some(ties) = ties(lambdas, [&real, &fake], names[to], &mut losses) {
            total = total + ties;
        }
        if let Some(classes) = volume.classes.as_ref().filter(|_| l.lambda_shape > 0.0) {
            let segmentor = self.pupils[to].net.clone().no_grad();
            let logits = segmentor.forward(fake.clone());
            let shape = cross_entropy(logits, classes.clone(), &[]);
            losses.push((["shape_source", "shape_target"][to], scalar(&shape)));
            total = total + shape * l.lambda_shape;
        }
        Cycle {
            fake,
            back,
            total,
            losses,
        }
    }

    /// One step on a volume of each modality: the translators with all else fixed, then the
    /// discriminators and segmentors with the translators fixed.
    pub(super) fn step(&mut self, volumes: [&Volume; 2], step: u64, rate: f32) -> Losses {
        match self.phase {
            Phase::Segmentors => self.teach_real(volumes, rate),
            Phase::Translators => self.translate(volumes, step, rate).0,
            Phase::Joint => {
                let (mut losses, made) = self.translate(volumes, step, rate);
                losses.extend(self.teach_all(volumes, made, [1.0 / 3.0; 3], rate));
                losses
            }
            Phase::Offline => {
                let made = [SOURCE, TARGET].map(|from| {
                    let [there, back] = self.translators.round(from);
                    let (there, back) = (there.clone().no_grad(), back.clone().no_grad());
                    let fake = there.forward(self.image(&volumes[from].image));
                    let again = back.forward(fake.clone());
                    [fake, again].map(ops::values)
                });
                // Half real, half not.
                self.teach_all(volumes, made, [0.5, 0.25, 0.25], rate)
            }
        }
    }

    /// The translators' and the discriminators' update; gives what was translated, and what came
    /// back of it, by the modality it started from.
    fn translate(
        &mut self,
        volumes: [&Volume; 2],
        step: u64,
        rate: f32,
    ) -> (Losses, [[Vec<f32>; 2]; 2]) {
        let mut losses = Losses::new();
        let mut grads: Option<NetGradients> = None;
        let mut rng = Rng::new(self.seed, case_id("pool"), step as u32);
        let mut shown = Vec::with_capacity(2);
        let made = [SOURCE, TARGET].map(|from| {
            let translators = leaves(&self.translators);
            let cycle = self.cycle(from, &translators, volumes[from]);
            losses.extend(cycle.losses);
            let new = NetGradients::take(&translators, cycle.total.backward());
            grads = Some(match grads.take() {
                Some(grads) => grads.plus(new),
                None => new,
            });
            let fake = cycle.fake.clone();
            shown.push(self.judges[1 - from].pooled(fake, &mut rng, &self.device));
            [cycle.fake, cycle.back].map(ops::values)
        });
        if let Some(grads) = grads {
            let translators = self.translators.clone();
            self.translators = self.adam.step(translators, grads, rate, &self.device);
        }
        for (from, fake) in shown.into_iter().enumerate() {
            let to = 1 - from;
            let real = self.image(&volumes[to].image);
            let loss = self.judges[to].step(real, fake, rate, &self.device);
            losses.push((["judge_source", "judge_target"][to], loss));
        }
        if self.guard_every > 0 && (step + 1).is_multiple_of(self.guard_every) {
            losses.extend(self.look(volumes, &made));
        }
        (losses, made)
    }

    /// The figures of [`crate::recipe::GuardConfig`]'s guard, of the volumes of this step.
    fn look(&self, volumes: [&Volume; 2], made: &[[Vec<f32>; 2]; 2]) -> Losses {
        let names = [
            ["guard_inversion_target", "guard_change_target"],
            ["guard_inversion_source", "guard_change_source"],
        ];
        let mut found = Losses::new();
        for (from, [fake, back]) in made.iter().enumerate() {
            let image = &volumes[from].image;
            let dark = inversion(image, fake, &volumes[1 - from].image);
            found.push((names[from][0], dark));
            found.push((names[from][1], difference(image, fake)));
            let Some(truth) = &volumes[from].classes else {
                continue;
            };
            let net = self.pupils[from].net.clone().no_grad();
            let [before, after] = [image, back].map(|values| {
                let seen = most_likely(net.forward(self.image(values)));
                Counts::of(self.classes, &seen, truth)
            });
            if let Some((_, share)) = before.worst(&after) {
                found.push((
                    ["guard_kept_source", "guard_kept_target"][from],
                    share as f32,
                ));
            }
        }
        found
    }

    fn teach_real(&mut self, volumes: [&Volume; 2], rate: f32) -> Losses {
        let mut losses = Losses::new();
        for of in [SOURCE, TARGET] {
            let lesson = lesson(volumes[of].image.clone(), volumes[of]);
            losses.extend(self.teach(of, vec![(1.0, lesson)], rate));
        }
        losses
    }

    /// Shows each segmentor what is real, what was translated into its modality, and what came back
    /// to it, each with the classes of the volume it was made from.
    fn teach_all(
        &mut self,
        volumes: [&Volume; 2],
        made: [[Vec<f32>; 2]; 2],
        weights: [f32; 3],
        rate: f32,
    ) -> Losses {
        let [[to_target, to_source_again], [to_source, to_target_again]] = made;
        let synthetic = [to_source, to_target];
        let again = [to_source_again, to_target_again];
        let mut losses = Losses::new();
        for (of, (synthetic, again)) in synthetic.into_iter().zip(again).enumerate() {
            let lessons = [
                lesson(volumes[of].image.clone(), volumes[of]),
                lesson(synthetic, volumes[1 - of]),
                lesson(again, volumes[of]),
            ];
            let lessons = weights.into_iter().zip(lessons).collect();
            losses.extend(self.teach(of, lessons, rate));
        }
        losses
    }

    /// One update of a segmentor; nothing where no volume has classes. Weights are made to sum to 1.
    fn teach(&mut self, of: usize, lessons: Vec<(f32, Option<Lesson>)>, rate: f32) -> Losses {
        let lessons: Vec<(f32, Lesson)> = lessons
            .into_iter()
            .filter_map(|(weight, lesson)| Some((weight, lesson?)))
            .collect();
        let all: f32 = lessons.iter().map(|(weight, _)| weight).sum();
        let mut grads: Option<NetGradients> = None;
        let mut value = 0.0;
        for (weight, (image, classes)) in lessons {
            let net = leaves(&self.pupils[of].net);
            let logits = net.forward(self.image(&image));
            let loss = cross_entropy(logits, classes, &[]) * (weight / all);
            value += scalar(&loss);
            let new = NetGradients::take(&net, loss.backward());
            grads = Some(match grads {
                Some(grads) => grads.plus(new),
                None => new,
            });
        }
        let Some(grads) = grads else {
            return Losses::new();
        };
        let rate = rate * self.pace;
        let pupil = &mut self.pupils[of];
        pupil.net = pupil
            .adam
            .step(pupil.net.clone(), grads, rate, &self.device);
        vec![(["segmentation_source", "segmentation_target"][of], value)]
    }

    /// The nets that this phase trains or has taken over, by name.
    pub(super) fn weights(&self) -> Vec<(String, Vec<Named>)> {
        let mut nets = Vec::new();
        if self.phase != Phase::Segmentors {
            nets.push(("to_target".into(), collect(&self.translators.to_target)));
            nets.push(("to_source".into(), collect(&self.translators.to_source)));
            for (name, judge) in NAMES.iter().zip(&self.judges) {
                nets.push((format!("judge_{name}"), collect(&judge.net)));
            }
        }
        if self.phase != Phase::Translators {
            for (name, pupil) in NAMES.iter().zip(&self.pupils) {
                nets.push((format!("segmentor_{name}"), collect(&pupil.net)));
            }
        }
        nets
    }

    /// Takes over the nets of another run, as many as it has.
    ///
    /// # Errors
    /// Where they are of another size.
    pub(super) fn take_over(&mut self, run: &RunFolder) -> Result<()> {
        let device = self.device.clone();
        let saved = |name: &str| -> Result<Option<Vec<Named>>> {
            let there = run.weights_path(name).exists();
            there.then(|| run.read_weights(name)).transpose()
        };
        let root = run.root();
        if let (Some(there), Some(back)) = (saved("to_target")?, saved("to_source")?) {
            let Translators {
                to_target,
                to_source,
            } = self.translators.clone();
            self.translators = Translators {
                to_target: fill(to_target, &there, &device, root)?,
                to_source: fill(to_source, &back, &device, root)?,
            };
        }
        for (of, name) in NAMES.iter().enumerate() {
            if let Some(weights) = saved(&format!("judge_{name}"))? {
                let judge = &mut self.judges[of];
                judge.net = fill(judge.net.clone(), &weights, &device, root)?;
            }
            if let Some(weights) = saved(&format!("segmentor_{name}"))? {
                let pupil = &mut self.pupils[of];
                pupil.net = fill(pupil.net.clone(), &weights, &device, root)?;
            }
        }
        Ok(())
    }

    /// All that [`Learner::restore`] needs, by name.
    pub(super) fn state(&self) -> Vec<(String, Vec<Named>)> {
        let mut state = vec![
            ("translators".into(), collect(&self.translators)),
            ("adam_translators".into(), self.adam.state()),
        ];
        for (of, name) in NAMES.iter().enumerate() {
            state.extend(self.judges[of].state(name));
            let pupil = &self.pupils[of];
            state.push((format!("segmentor_{name}"), collect(&pupil.net)));
            state.push((format!("adam_segmentor_{name}"), pupil.adam.state()));
        }
        state
    }

    /// Puts back what [`Learner::state`] gave.
    ///
    /// # Errors
    /// Where the state is of another recipe.
    pub(super) fn restore(&mut self, state: &State, run: &RunFolder) -> Result<()> {
        let (root, device) = (run.root(), self.device.clone());
        let arrays = |name: &str| state.arrays(name, root);
        let translators = self.translators.clone();
        self.translators = fill(translators, arrays("translators")?, &device, root)?;
        self.adam.restore(arrays("adam_translators")?, root)?;
        for (of, name) in NAMES.iter().enumerate() {
            self.judges[of].restore(name, state, run, &device)?;
            let pupil = &mut self.pupils[of];
            let weights = arrays(&format!("segmentor_{name}"))?;
            pupil.net = fill(pupil.net.clone(), weights, &device, root)?;
            let adam = arrays(&format!("adam_segmentor_{name}"))?;
            pupil.adam.restore(adam, root)?;
        }
        Ok(())
    }
}

/// An image with the classes of the volume that it was made from, where those are known.
fn lesson(image: Vec<f32>, of: &Volume) -> Option<Lesson> {
    Some((image, of.classes.clone()?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fit::reach;
    use crate::net::{Generator3dConfig, PatchGanConfig};

    const SHAPE: [usize; 3] = [24, 24, 32];
    const CLASSES: usize = 3;

    fn volume(name: &str, labelled: bool) -> Volume {
        let mut rng = Rng::new(5, case_id(name), 0);
        let n = SHAPE.iter().product();
        Volume {
            image: (0..n).map(|_| rng.uniform(-1.0, 1.0)).collect(),
            classes: labelled.then(|| (0..n).map(|_| rng.below(CLASSES) as u16).collect()),
        }
    }

    fn tiny(phase: Phase, loss: ShapeLossConfig) -> Learner {
        let recipe = ShapeRecipe {
            phase,
            loss,
            pool: 2,
            generator: Generator3dConfig { width: 2 },
            discriminator: PatchGanConfig { width: 2 },
            features: vec![2, 3],
            ..ShapeRecipe::default()
        };
        Learner::new(&recipe, CLASSES, SHAPE, &Processor::cpu())
    }

    /// All weights in the order: translators, discriminators, segmentors.
    fn snapshot(model: &Learner) -> [Vec<Vec<Named>>; 3] {
        [
            vec![collect(&model.translators)],
            model.judges.iter().map(|j| collect(&j.net)).collect(),
            model.pupils.iter().map(|p| collect(&p.net)).collect(),
        ]
    }

    /// Lshape teaches the translator and leaves the segmentor that it is judged by alone.
    #[test]
    fn the_shape_loss_moves_the_translator_and_not_the_segmentor() {
        let only_shape = ShapeLossConfig {
            lambda_adversarial: 0.0,
            lambda_cycle: 0.0,
            ..ShapeLossConfig::default()
        };
        let model = tiny(Phase::Translators, only_shape);
        let volume = volume("x", true);
        let cycle = model.cycle(SOURCE, &model.translators, &volume);
        let value = cycle
            .losses
            .iter()
            .find(|(name, _)| *name == "shape_target");
        assert!(value.is_some_and(|(_, v)| *v > 0.0), "{:?}", cycle.losses);
        let grads = cycle.total.backward();
        assert_eq!(reach(&model.pupils[TARGET].net, &grads), None);
        assert_eq!(reach(&model.judges[TARGET].net, &grads), None);
        assert!(reach(&model.translators.to_target, &grads).is_some_and(|g| g > 0.0));
    }

    #[test]
    fn each_phase_moves_its_own_nets() {
        let volumes = [volume("x", true), volume("y", true)];
        for (phase, moved) in [
            (Phase::Segmentors, [false, false, true]),
            (Phase::Translators, [true, true, false]),
            (Phase::Joint, [true, true, true]),
            (Phase::Offline, [false, false, true]),
        ] {
            let mut model = tiny(phase, ShapeLossConfig::default());
            let before = snapshot(&model);
            model.step([&volumes[0], &volumes[1]], 0, 1e-3);
            let after = snapshot(&model);
            for (i, moved) in moved.into_iter().enumerate() {
                for (a, b) in after[i].iter().zip(&before[i]) {
                    assert_eq!(a != b, moved, "{phase:?}: part {i}");
                }
            }
        }
    }

    /// Each segmentor is shown its own real volume, the translation of the other modality's with
    /// that one's classes, and its own that came back: a mean of three cross-entropies.
    #[test]
    fn segmentors_see_three_kinds_of_volumes() {
        let volumes = [volume("x", true), volume("y", true)];
        let mut model = tiny(Phase::Joint, ShapeLossConfig::default());
        let refs = [&volumes[0], &volumes[1]];
        let [source, target] = [SOURCE, TARGET].map(|from| {
            let cycle = model.cycle(from, &model.translators, refs[from]);
            [cycle.fake, cycle.back].map(ops::values)
        });
        let loss = |image: &[f32], classes: &Volume| {
            let logits = model.pupils[TARGET].net.forward(model.image(image));
            let classes = classes.classes.clone().expect("labelled");
            scalar(&cross_entropy(logits, classes, &[]))
        };
        let expected = (loss(&volumes[1].image, &volumes[1])
            + loss(&source[0], &volumes[0])
            + loss(&target[1], &volumes[1]))
            / 3.0;
        let losses = model.step(refs, 0, 2e-4);
        let found = losses
            .iter()
            .find(|(name, _)| *name == "segmentation_target");
        let found = found.expect("taught").1;
        assert!((found - expected).abs() < 1e-5, "{found} {expected}");
    }

    #[test]
    fn volumes_without_labels_teach_no_segmentor_and_bring_no_shape() {
        let volumes = [volume("x", false), volume("y", false)];
        let mut model = tiny(Phase::Joint, ShapeLossConfig::default());
        let before = snapshot(&model);
        let losses = model.step([&volumes[0], &volumes[1]], 0, 2e-4);
        let named = |part: &str| losses.iter().any(|(name, _)| name.starts_with(part));
        assert!(named("gan") && named("cycle") && !named("shape") && !named("segmentation"));
        assert_eq!(snapshot(&model)[2], before[2]);
    }
}
