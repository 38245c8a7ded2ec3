//! The step of SynSeg-Net on given batches: nets, losses and optimisers, in the order of CycleGAN's
//! code.
//!
//! `total = L(source → target → source) + L(target → source → target)`: see [`Learner::step`].

use burn::module::Module;
use burn::tensor::{Device, Tensor, TensorData};
use crossmod_volume::rng::{Rng, case_id};

use crate::batch::Batch;
use crate::device::Processor;
use crate::fit::{Adam, ImagePool, Losses, NetGradients, RunFolder, State};
use crate::loss::{least_squares, mean_absolute};
use crate::net::weights::{Named, collect, fill, leaves};
use crate::net::{Head, PatchGan, ResNet, Segmentor};
use crate::recipe::supervised::SegmentationCriterion;
use crate::recipe::{LossConfig, Recipe};
use crate::{Result, ops};

/// The nets that one optimiser moves: both translators and the segmentor.
#[derive(Module, Debug)]
struct Makers {
    to_target: ResNet,
    to_source: ResNet,
    segmentor: Segmentor,
}

/// All of SynSeg-Net but its data.
#[derive(Debug)]
pub(crate) struct Learner {
    makers: Makers,
    adam: Adam,
    judge_target: Judge,
    judge_source: Judge,
    criterion: SegmentationCriterion,
    loss: LossConfig,
    seed: u64,
    device: Device,
}

/// One discriminator, its optimiser, and the translations it may be shown again.
#[derive(Debug)]
struct Judge {
    net: PatchGan,
    adam: Adam,
    pool: ImagePool,
}

/// The way round a cycle.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    /// Source → target → source; the translations are segmented, too.
    ThroughTarget,
    /// Target → source → target.
    ThroughSource,
}

/// What a forward pass round one cycle gives: its translations and the makers' loss on them.
struct Cycle {
    fake: Tensor<4>,
    total: Tensor<1>,
    losses: Losses,
}

/// A [`Cycle`] after its backward pass.
struct Lesson {
    fake: Tensor<4>,
    grads: NetGradients,
    losses: Losses,
}

impl Judge {
    fn new(recipe: &Recipe, name: &str, device: &Device) -> Self {
        let mut rng = Rng::new(recipe.seed, case_id(name), 0);
        let net = recipe.discriminator.init(&mut rng, device);
        Self {
            adam: Adam::new(&recipe.optimizer, &net),
            net,
            pool: ImagePool::new(recipe.pool),
        }
    }

    /// One past or present translation for each new one, as a constant.
    fn pooled(&mut self, fakes: Tensor<4>, rng: &mut Rng, device: &Device) -> Tensor<4> {
        let shape = fakes.dims();
        let values = ops::values(fakes);
        let shown: Vec<f32> = values
            .chunks(shape[2] * shape[3])
            .flat_map(|image| self.pool.exchange(image.to_vec(), rng))
            .collect();
        Tensor::from_data(TensorData::new(shown, shape), device)
    }

    /// One update; returns the loss before it.
    fn step(&mut self, real: Tensor<4>, fake: Tensor<4>, rate: f32, device: &Device) -> f32 {
        let loss = judge_loss(&self.net, real, fake);
        let value = scalar(&loss);
        let grads = NetGradients::take(&self.net, loss.backward());
        self.net = self.adam.step(self.net.clone(), grads, rate, device);
        value
    }
}

impl Learner {
    /// Builds the nets from the recipe's seed.
    pub(crate) fn new(recipe: &Recipe, classes: usize, processor: &Processor) -> Self {
        let device = processor.training();
        let rng = |name| Rng::new(recipe.seed, case_id(name), 0);
        let generator = |name| {
            recipe
                .generator
                .init([1, 1], Head::Tanh, &mut rng(name), &device)
        };
        let makers = Makers {
            to_target: generator("to_target"),
            to_source: generator("to_source"),
            segmentor: recipe
                .segmentor
                .init(classes, &mut rng("segmentor"), &device),
        };
        Self {
            adam: Adam::new(&recipe.optimizer, &makers),
            makers,
            judge_target: Judge::new(recipe, "judge_target", &device),
            judge_source: Judge::new(recipe, "judge_source", &device),
            criterion: SegmentationCriterion::new(&recipe.loss, classes),
            loss: recipe.loss.clone(),
            seed: recipe.seed,
            device,
        }
    }

    fn images(&self, batch: &Batch) -> Tensor<4> {
        let shape = [batch.len, 1, batch.patch, batch.patch];
        Tensor::from_data(TensorData::new(batch.images.clone(), shape), &self.device)
    }

    /// The losses of `makers` round one cycle of source `x` and target `y`, the discriminator frozen.
    fn cycle(&self, way: Way, makers: &Makers, x: &Batch, y: &Batch) -> Cycle {
        let Makers {
            to_target,
            to_source,
            segmentor,
        } = makers;
        let (there, back, judge, [start, other]) = match way {
            Way::ThroughTarget => (to_target, to_source, &self.judge_target, [x, y]),
            Way::ThroughSource => (to_source, to_target, &self.judge_source, [y, x]),
        };
        let [gan_name, cycle_name, identity_name] = match way {
            Way::ThroughTarget => ["gan_target", "cycle_source", "identity_target"],
            Way::ThroughSource => ["gan_source", "cycle_target", "identity_source"],
        };
        // Frozen, so that no gradient to its weights is computed only to be thrown away.
        let judge = judge.net.clone().no_grad();

        let real = self.images(start);
        let fake = there.forward(real.clone());
        let gan = least_squares(judge.forward(fake.clone()), 1.0);
        let cycle = mean_absolute(back.forward(fake.clone()), real);
        let l = &self.loss;
        let mut losses = vec![(gan_name, scalar(&gan)), (cycle_name, scalar(&cycle))];
        let mut total = gan * l.lambda_adversarial + cycle * l.lambda_cycle;
        if way == Way::ThroughTarget {
            let segmentation = self.criterion.loss(segmentor.forward(fake.clone()), start);
            losses.push(("segmentation", scalar(&segmentation)));
            total = total + segmentation * l.lambda_segmentation;
        }
        if l.lambda_identity > 0.0 {
            let real = self.images(other);
            let identity = mean_absolute(there.forward(real.clone()), real);
            losses.push((identity_name, scalar(&identity)));
            total = total + identity * (l.lambda_identity * l.lambda_cycle);
        }
        Cycle {
            fake,
            total,
            losses,
        }
    }

    /// One cycle forward and backward, on a tape of its own.
    fn lesson(&self, way: Way, x: &Batch, y: &Batch) -> Lesson {
        let makers = leaves(&self.makers);
        let Cycle {
            fake,
            total,
            losses,
        } = self.cycle(way, &makers, x, y);
        Lesson {
            fake,
            grads: NetGradients::take(&makers, total.backward()),
            losses,
        }
    }

    /// CycleGAN's order: one forward pass, the makers, then each discriminator on pooled fakes.
    /// `step` keys the draws from the pools.
    ///
    /// The two cycles meet in the parameters only, and the three updates nowhere: each is made on a
    /// thread of its own, which keeps more cores busy than cutting every operation does.
    pub(crate) fn step(&mut self, x: &Batch, y: &Batch, step: u64, rate: f32) -> Losses {
        let (target, source) = rayon::join(
            || self.lesson(Way::ThroughTarget, x, y),
            || self.lesson(Way::ThroughSource, x, y),
        );
        let mut losses = [target.losses, source.losses].concat();
        let (real_source, real_target) = (self.images(x), self.images(y));
        let Self {
            makers,
            adam,
            judge_target,
            judge_source,
            device,
            ..
        } = self;
        let mut rng = Rng::new(self.seed, case_id("pool"), step as u32);
        let fake_target = judge_target.pooled(target.fake, &mut rng, device);
        let fake_source = judge_source.pooled(source.fake, &mut rng, device);
        let device = &*device;
        let grads = target.grads.plus(source.grads);
        let ((), (judge_target, judge_source)) = rayon::join(
            || *makers = adam.step(makers.clone(), grads, rate, device),
            || {
                rayon::join(
                    || judge_target.step(real_target, fake_target, rate, device),
                    || judge_source.step(real_source, fake_source, rate, device),
                )
            },
        );
        losses.push(("judge_target", judge_target));
        losses.push(("judge_source", judge_source));
        losses
    }

    /// The translator to the target.
    pub(crate) fn to_target(&self) -> &ResNet {
        &self.makers.to_target
    }

    /// The translator to the source.
    pub(crate) fn to_source(&self) -> &ResNet {
        &self.makers.to_source
    }

    /// The segmentor of images of the target.
    pub(crate) fn segmentor(&self) -> &Segmentor {
        &self.makers.segmentor
    }

    /// The discriminators of the target and of the source.
    pub(crate) fn judges(&self) -> [&PatchGan; 2] {
        [&self.judge_target.net, &self.judge_source.net]
    }

    /// All that [`Learner::restore`] needs, by name.
    pub(super) fn state(&self) -> Vec<(String, Vec<Named>)> {
        let pool = |pool: &ImagePool| -> Vec<Named> {
            let image = |(i, v): (usize, &Vec<f32>)| Named {
                name: format!("{i:04}"),
                shape: vec![v.len()],
                values: v.clone(),
            };
            pool.images().iter().enumerate().map(image).collect()
        };
        let mut state = vec![
            ("makers".into(), collect(&self.makers)),
            ("adam_makers".into(), self.adam.state()),
        ];
        let judges = [
            ("target", &self.judge_target),
            ("source", &self.judge_source),
        ];
        for (of, judge) in judges {
            state.push((format!("judge_{of}"), collect(&judge.net)));
            state.push((format!("adam_judge_{of}"), judge.adam.state()));
            state.push((format!("pool_{of}"), pool(&judge.pool)));
        }
        state
    }

    /// Puts back what [`Learner::state`] gave.
    ///
    /// # Errors
    /// Where the state is of another recipe.
    pub(super) fn restore(&mut self, state: &State, run: &RunFolder) -> Result<()> {
        let (root, device) = (run.root(), &self.device);
        let arrays = |name: &str| state.arrays(name, root);
        self.makers = fill(self.makers.clone(), arrays("makers")?, device, root)?;
        self.adam.restore(arrays("adam_makers")?, root)?;
        let judges = [
            ("target", &mut self.judge_target),
            ("source", &mut self.judge_source),
        ];
        for (of, judge) in judges {
            let weights = arrays(&format!("judge_{of}"))?;
            judge.net = fill(judge.net.clone(), weights, device, root)?;
            judge
                .adam
                .restore(arrays(&format!("adam_judge_{of}"))?, root)?;
            let mut images = arrays(&format!("pool_{of}"))?.to_vec();
            images.sort_by(|a, b| a.name.cmp(&b.name));
            let images = images.into_iter().map(|image| image.values);
            judge.pool.restore(images.collect());
        }
        Ok(())
    }
}

/// ½ (D(real) → 1, D(fake) → 0), the fake detached.
fn judge_loss(judge: &PatchGan, real: Tensor<4>, fake: Tensor<4>) -> Tensor<1> {
    let real = least_squares(judge.forward(real), 1.0);
    (real + least_squares(judge.forward(fake), 0.0)) * 0.5
}

/// The value of a loss.
pub(crate) fn scalar(loss: &Tensor<1>) -> f32 {
    loss.clone().into_scalar()
}

#[cfg(test)]
mod tests {
    use burn::module::{ModuleVisitor, Param};
    use burn::tensor::Gradients;

    use super::*;
    use crate::fit::{Sgd, SgdConfig};
    use crate::net::{PatchGanConfig, ResNetConfig, SegmentorConfig};

    const CLASSES: usize = 3;

    fn tiny(loss: LossConfig) -> (Learner, Batch, Batch) {
        let net = ResNetConfig {
            width: 2,
            blocks: 1,
        };
        let recipe = Recipe {
            batch: 2,
            loss,
            generator: net.clone(),
            discriminator: PatchGanConfig { width: 2 },
            segmentor: SegmentorConfig {
                resnet: net,
                ..SegmentorConfig::default()
            },
            ..Recipe::default()
        };
        let batch = |labelled: bool, name| {
            let mut rng = Rng::new(5, case_id(name), 0);
            let n = 2 * 32 * 32;
            Batch {
                images: (0..n).map(|_| rng.uniform(-1.0, 1.0)).collect(),
                classes: labelled.then(|| (0..n).map(|_| rng.below(CLASSES) as u8).collect()),
                len: 2,
                patch: 32,
            }
        };
        let learner = Learner::new(&recipe, CLASSES, &Processor::cpu());
        (learner, batch(true, "x"), batch(false, "y"))
    }

    /// Sum of absolute gradients over a net's parameters; none where no parameter has one.
    struct Reach<'a> {
        grads: &'a Gradients,
        total: Option<f32>,
    }

    impl ModuleVisitor for Reach<'_> {
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            if let Some(grad) = param.val().grad(self.grads) {
                let sum = grad.abs().sum().into_scalar::<f32>();
                self.total = Some(self.total.unwrap_or(0.0) + sum);
            }
        }
    }

    fn reach<M: Module>(net: &M, grads: &Gradients) -> Option<f32> {
        let mut visitor = Reach { grads, total: None };
        net.visit(&mut visitor);
        visitor.total
    }

    #[test]
    fn the_segmentation_loss_reaches_the_translator_to_target() {
        let only_segmentation = LossConfig {
            lambda_adversarial: 0.0,
            lambda_cycle: 0.0,
            ..LossConfig::default()
        };
        let (model, x, y) = tiny(only_segmentation);
        let cycle = model.cycle(Way::ThroughTarget, &model.makers, &x, &y);
        let grads = cycle.total.backward();
        assert!(reach(&model.makers.segmentor, &grads).is_some_and(|g| g > 0.0));
        assert!(reach(&model.makers.to_target, &grads).is_some_and(|g| g > 0.0));
        assert!(reach(&model.makers.to_source, &grads).unwrap_or(0.0) == 0.0);
    }

    #[test]
    fn the_discriminators_are_untouched_by_the_makers_step() {
        let (model, x, y) = tiny(LossConfig::default());
        for way in [Way::ThroughTarget, Way::ThroughSource] {
            let grads = model.cycle(way, &model.makers, &x, &y).total.backward();
            assert_eq!(reach(&model.judge_target.net, &grads), None);
            assert_eq!(reach(&model.judge_source.net, &grads), None);
            assert!(reach(&model.makers.to_source, &grads).is_some_and(|g| g > 0.0));
        }
    }

    #[test]
    fn the_discriminators_loss_does_not_reach_the_makers() {
        let (mut model, x, y) = tiny(LossConfig::default());
        let fake = model.cycle(Way::ThroughTarget, &model.makers, &x, &y).fake;
        let mut rng = Rng::new(1, 0, 0);
        let shown = model.judge_target.pooled(fake, &mut rng, &model.device);
        let grads = judge_loss(&model.judge_target.net, model.images(&y), shown).backward();
        assert_eq!(reach(&model.makers, &grads), None);
        assert!(reach(&model.judge_target.net, &grads).is_some_and(|g| g > 0.0));
    }

    /// The makers' gradients from two tapes are those of the sum of both cycles' losses on one.
    #[test]
    fn both_cycles_teach_the_makers() {
        let (model, x, y) = tiny(LossConfig {
            lambda_identity: 0.5,
            ..LossConfig::default()
        });
        let [one, two] = [Way::ThroughTarget, Way::ThroughSource];
        let apart = model.lesson(one, &x, &y).grads;
        let apart = apart.plus(model.lesson(two, &x, &y).grads);
        let total = |way| model.cycle(way, &model.makers, &x, &y).total;
        let together = NetGradients::take(&model.makers, (total(one) + total(two)).backward());
        let rate = 1.0;
        let [apart, together] = [apart, together].map(|grads| {
            let mut sgd = Sgd::new(&SgdConfig::default(), &model.makers);
            let makers = sgd.step(model.makers.clone(), grads, rate, &model.device);
            collect(&makers)
        });
        for (a, b) in apart.iter().zip(&together) {
            for (a, b) in a.values.iter().zip(&b.values) {
                assert!((a - b).abs() < 1e-4 * b.abs().max(1.0), "{a} {b}");
            }
        }
        assert_ne!(collect(&model.makers), together);
    }

    /// Translation and segmentation give the same on the training device, as a batch, as they do
    /// on the inference device from saved weights, image by image.
    #[test]
    fn training_and_inference_agree() {
        let (model, x, _) = tiny(LossConfig::default());
        let values = |t: Tensor<4>| t.into_data().try_into_vec::<f32>().expect("f32");
        let fake = model.makers.to_target.forward(model.images(&x));
        let logits = values(model.makers.segmentor.forward(fake.clone()));
        let fake = values(fake);
        let device = crate::device::cpu();
        let weights = collect(&model.makers);
        let other = tiny(LossConfig::default()).0.makers;
        let makers = fill(other, &weights, &device, "memory".as_ref()).expect("the same nets");
        let area = x.patch * x.patch;
        for i in 0..x.len {
            let image = x.images[i * area..(i + 1) * area].to_vec();
            let image = TensorData::new(image, [1, 1, x.patch, x.patch]);
            let alone = makers.to_target.forward(Tensor::from_data(image, &device));
            let segmented = values(makers.segmentor.forward(alone.clone()));
            assert_eq!(values(alone), fake[i * area..(i + 1) * area]);
            assert_eq!(
                segmented,
                logits[i * CLASSES * area..(i + 1) * CLASSES * area]
            );
        }
    }

    /// CycleGAN's order: the discriminators see the translations that the makers' own update was
    /// computed from, made before that update.
    #[test]
    fn discriminators_are_shown_the_translations_of_the_same_forward_pass() {
        let (mut model, x, y) = tiny(LossConfig::default());
        let fake = |model: &Learner| {
            let cycle = model.cycle(Way::ThroughTarget, &model.makers, &x, &y);
            ops::values(cycle.fake)
        };
        let before = fake(&model);
        let judge_before = collect(&model.judge_target.net);
        model.step(&x, &y, 0, 2e-4);
        assert_eq!(model.judge_target.pool.images().concat(), before);
        assert_ne!(collect(&model.judge_target.net), judge_before);
        assert_ne!(fake(&model), before);
    }
}
