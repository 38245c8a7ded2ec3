//! The step of SynSeg-Net on given batches: nets, losses and optimisers, in the order of CycleGAN's
//! code; without the segmentor it is CycleGAN's.
//!
//! `total = L(source → target → source) + L(target → source → target)`: see [`Learner::step`].

use burn::module::Module;
use burn::tensor::{Device, Tensor};
use crossmod_volume::rng::{Rng, case_id};

use crate::batch::Batch;
use crate::device::Processor;
use crate::fit::{Adam, Losses, NetGradients, RunFolder, State};
use crate::loss::{Difference, edge_difference, least_squares, misalignment};
use crate::net::weights::{Named, collect, fill, leaves};
use crate::net::{Head, PatchGan, ResNet, Segmentor};
use crate::recipe::judge::Judge;
use crate::recipe::structure::Structure;
use crate::recipe::supervised::SegmentationCriterion;
use crate::recipe::{LossConfig, Recipe};
use crate::{Result, ops};

/// The nets that one optimiser moves: both translators and the segmentor, where there is one.
#[derive(Module, Debug)]
struct Makers<const D: usize> {
    to_target: ResNet<D>,
    to_source: ResNet<D>,
    segmentor: Option<Segmentor<D>>,
}

/// All of SynSeg-Net but its data.
#[derive(Debug)]
pub(crate) struct Learner<const D: usize = 4> {
    makers: Makers<D>,
    adam: Adam,
    judge_target: Judge<D>,
    judge_source: Judge<D>,
    criterion: SegmentationCriterion,
    loss: LossConfig,
    seed: u64,
    device: Device,
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
struct Cycle<const D: usize> {
    fake: Tensor<D>,
    total: Tensor<1>,
    losses: Losses,
}

/// A [`Cycle`] after its backward pass.
struct Lesson<const D: usize> {
    fake: Tensor<D>,
    grads: NetGradients,
    losses: Losses,
}

impl Way {
    /// What the losses round this cycle are called.
    fn names(self) -> [&'static str; 5] {
        match self {
            Self::ThroughTarget => [
                "gan_target",
                "cycle_source",
                "identity_target",
                "alignment_target",
                "edge_target",
            ],
            Self::ThroughSource => [
                "gan_source",
                "cycle_target",
                "identity_source",
                "alignment_source",
                "edge_source",
            ],
        }
    }
}

impl<const D: usize> Learner<D> {
    /// Builds the nets of stacks of so many slices, and so many classes, from the recipe's seed.
    pub(crate) fn new(
        recipe: &Recipe,
        [channels, classes]: [usize; 2],
        processor: &Processor,
    ) -> Self {
        let device = processor.training();
        let rng = |name| Rng::new(recipe.seed, case_id(name), 0);
        let generator = |name| {
            recipe
                .generator
                .init([channels; 2], Head::Tanh, &mut rng(name), &device)
        };
        let makers = Makers {
            to_target: generator("to_target"),
            to_source: generator("to_source"),
            segmentor: recipe.kind.segments().then(|| {
                let rng = &mut rng("segmentor");
                recipe.segmentor.init([channels, classes], rng, &device)
            }),
        };
        let judge = |name| {
            let net = recipe.discriminator.init(channels, &mut rng(name), &device);
            Judge::new(net, &recipe.optimizer, recipe.pool)
        };
        Self {
            adam: Adam::new(&recipe.optimizer, &makers),
            makers,
            judge_target: judge("judge_target"),
            judge_source: judge("judge_source"),
            criterion: SegmentationCriterion::new(&recipe.loss, classes),
            loss: recipe.loss.clone(),
            seed: recipe.seed,
            device,
        }
    }

    /// The losses of `makers` round one cycle of source `x` and target `y`, the discriminator frozen,
    /// and the segmentor too where `structure` finds the classes lost in what comes back of x.
    fn cycle(
        &self,
        way: Way,
        makers: &Makers<D>,
        [x, y]: [&Batch; 2],
        structure: Option<&Structure<D>>,
    ) -> Cycle<D> {
        let Makers {
            to_target,
            to_source,
            segmentor,
        } = makers;
        let (there, back, judge, [start, other]) = match way {
            Way::ThroughTarget => (to_target, to_source, &self.judge_target, [x, y]),
            Way::ThroughSource => (to_source, to_target, &self.judge_source, [y, x]),
        };
        let [
            gan_name,
            cycle_name,
            identity_name,
            alignment_name,
            edge_name,
        ] = way.names();
        // Frozen, so that no gradient to its weights is computed only to be thrown away.
        let judge = judge.net.clone().no_grad();

        let real = start.tensor::<D>(&self.device);
        let fake = there.forward(real.clone());
        let gan = least_squares(judge.forward(fake.clone()), 1.0);
        let l = &self.loss;
        let back = back.forward(fake.clone());
        let cycle = l.cycle.of(back.clone(), real.clone());
        let mut losses = vec![(gan_name, scalar(&gan)), (cycle_name, scalar(&cycle))];
        let mut total = gan * l.lambda_adversarial + cycle * l.lambda_cycle;
        let names = [alignment_name, edge_name];
        if let Some(ties) = ties(l.ties(), [&real, &fake], names, &mut losses) {
            total = total + ties;
        }
        if let (Way::ThroughTarget, Some(segmentor)) = (way, segmentor) {
            let mut segmentor = segmentor.clone();
            if let Some(structure) = structure {
                let kept = structure.keeps(&ops::values(back), start);
                losses.push(("kept", f32::from(u8::from(kept))));
                if !kept {
                    segmentor = segmentor.no_grad();
                }
            }
            let segmentation = self.criterion.loss(segmentor.forward(fake.clone()), start);
            losses.push(("segmentation", scalar(&segmentation)));
            total = total + segmentation * l.lambda_segmentation;
        }
        if l.lambda_identity > 0.0 {
            let real = other.tensor::<D>(&self.device);
            let identity = Difference::L1.of(there.forward(real.clone()), real);
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
    fn lesson(
        &self,
        way: Way,
        batches: [&Batch; 2],
        structure: Option<&Structure<D>>,
    ) -> Lesson<D> {
        let makers = leaves(&self.makers);
        let Cycle {
            fake,
            total,
            losses,
        } = self.cycle(way, &makers, batches, structure);
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
    pub(crate) fn step(
        &mut self,
        [x, y]: [&Batch; 2],
        structure: Option<&Structure<D>>,
        step: u64,
        rate: f32,
    ) -> Losses {
        let (target, source) = rayon::join(
            || self.lesson(Way::ThroughTarget, [x, y], structure),
            || self.lesson(Way::ThroughSource, [x, y], None),
        );
        let mut losses = [target.losses, source.losses].concat();
        let (real_source, real_target) = (x.tensor(&self.device), y.tensor(&self.device));
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
    pub(crate) fn to_target(&self) -> &ResNet<D> {
        &self.makers.to_target
    }

    /// The translator to the source.
    pub(crate) fn to_source(&self) -> &ResNet<D> {
        &self.makers.to_source
    }

    /// The segmentor of images of the target, where there is one.
    pub(crate) fn segmentor(&self) -> Option<&Segmentor<D>> {
        self.makers.segmentor.as_ref()
    }

    /// The discriminators of the target and of the source.
    pub(crate) fn judges(&self) -> [&PatchGan<D>; 2] {
        [&self.judge_target.net, &self.judge_source.net]
    }

    /// The nets that inference uses, by name.
    pub(crate) fn weights(&self) -> Vec<(String, Vec<Named>)> {
        let mut nets = vec![
            ("to_target".into(), collect(&self.makers.to_target)),
            ("to_source".into(), collect(&self.makers.to_source)),
        ];
        if let Some(segmentor) = &self.makers.segmentor {
            nets.push(("segmentor".into(), collect(segmentor)));
        }
        nets
    }

    /// All that [`Learner::restore`] needs, by name.
    pub(super) fn state(&self) -> Vec<(String, Vec<Named>)> {
        let mut state = vec![
            ("makers".into(), collect(&self.makers)),
            ("adam_makers".into(), self.adam.state()),
        ];
        state.extend(self.judge_target.state("target"));
        state.extend(self.judge_source.state("source"));
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
        self.judge_target.restore("target", state, run, device)?;
        self.judge_source.restore("source", state, run, device)?;
        Ok(())
    }
}

/// The terms that tie a translation to its image whichever way it is made, weighted; none where
/// the recipe has none. `lambdas` and `names` are those of alignment and edges.
pub(crate) fn ties<const D: usize>(
    lambdas: [f32; 2],
    [image, translation]: [&Tensor<D>; 2],
    names: [&'static str; 2],
    losses: &mut Losses,
) -> Option<Tensor<1>> {
    let terms = [misalignment::<D>, edge_difference::<D>];
    let mut total: Option<Tensor<1>> = None;
    for ((term, lambda), name) in terms.into_iter().zip(lambdas).zip(names) {
        if lambda > 0.0 {
            let value = term(image.clone(), translation.clone());
            losses.push((name, scalar(&value)));
            let value = value * lambda;
            total = Some(match total {
                Some(total) => total + value,
                None => value,
            });
        }
    }
    total
}

/// The value of a loss.
pub(crate) fn scalar(loss: &Tensor<1>) -> f32 {
    loss.clone().into_scalar()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fit::{Sgd, SgdConfig, reach};
    use crate::net::{PatchGanConfig, ResNetConfig, SegmentorConfig};
    use crate::recipe::Kind;
    use crate::recipe::judge::judge_loss;
    use crate::recipe::structure::Learning;

    const CLASSES: usize = 3;

    fn tiny(loss: LossConfig) -> (Learner, Batch, Batch) {
        tiny_of(Kind::Synseg, loss)
    }

    fn tiny_recipe(kind: Kind, loss: LossConfig) -> Recipe {
        let net = ResNetConfig {
            width: 2,
            blocks: 1,
        };
        Recipe {
            kind,
            batch: 2,
            loss,
            generator: net.clone(),
            discriminator: PatchGanConfig { width: 2 },
            segmentor: SegmentorConfig {
                resnet: net,
                ..SegmentorConfig::default()
            },
            ..Recipe::default()
        }
    }

    fn tiny_of(kind: Kind, loss: LossConfig) -> (Learner, Batch, Batch) {
        let recipe = tiny_recipe(kind, loss);
        let batch = |labelled: bool, name| {
            let mut rng = Rng::new(5, case_id(name), 0);
            let n = 2 * 32 * 32;
            Batch {
                images: (0..n).map(|_| rng.uniform(-1.0, 1.0)).collect(),
                classes: labelled.then(|| (0..n).map(|_| rng.below(CLASSES) as u8).collect()),
                len: 2,
                channels: 1,
                shape: [1, 32, 32],
            }
        };
        let learner = Learner::new(&recipe, [1, CLASSES], &Processor::cpu());
        (learner, batch(true, "x"), batch(false, "y"))
    }

    #[test]
    fn the_segmentation_loss_reaches_the_translator_to_target() {
        let only_segmentation = LossConfig {
            lambda_adversarial: 0.0,
            lambda_cycle: 0.0,
            ..LossConfig::default()
        };
        let (model, x, y) = tiny(only_segmentation);
        let cycle = model.cycle(Way::ThroughTarget, &model.makers, [&x, &y], None);
        let grads = cycle.total.backward();
        assert!(reach(&model.makers.segmentor, &grads).is_some_and(|g| g > 0.0));
        assert!(reach(&model.makers.to_target, &grads).is_some_and(|g| g > 0.0));
        assert!(reach(&model.makers.to_source, &grads).unwrap_or(0.0) == 0.0);
    }

    #[test]
    fn the_discriminators_are_untouched_by_the_makers_step() {
        let (model, x, y) = tiny(LossConfig::default());
        for way in [Way::ThroughTarget, Way::ThroughSource] {
            let grads = model
                .cycle(way, &model.makers, [&x, &y], None)
                .total
                .backward();
            assert_eq!(reach(&model.judge_target.net, &grads), None);
            assert_eq!(reach(&model.judge_source.net, &grads), None);
            assert!(reach(&model.makers.to_source, &grads).is_some_and(|g| g > 0.0));
        }
    }

    #[test]
    fn the_discriminators_loss_does_not_reach_the_makers() {
        let (mut model, x, y) = tiny(LossConfig::default());
        let fake = model
            .cycle(Way::ThroughTarget, &model.makers, [&x, &y], None)
            .fake;
        let mut rng = Rng::new(1, 0, 0);
        let shown = model.judge_target.pooled(fake, &mut rng, &model.device);
        let grads = judge_loss(&model.judge_target.net, y.tensor(&model.device), shown).backward();
        assert_eq!(reach(&model.makers, &grads), None);
        assert!(reach(&model.judge_target.net, &grads).is_some_and(|g| g > 0.0));
    }

    /// Without a segmentor the translators learn by the other terms, each reaching the one that
    /// makes the translation it is of.
    #[test]
    fn a_cyclegan_has_no_segmentor_and_other_terms_reach_its_translators() {
        let none = LossConfig {
            lambda_adversarial: 0.0,
            lambda_cycle: 0.0,
            ..LossConfig::default()
        };
        let terms = [
            LossConfig {
                lambda_alignment: 1.0,
                ..none.clone()
            },
            LossConfig {
                lambda_edge: 1.0,
                ..none
            },
        ];
        for loss in terms {
            let (model, x, y) = tiny_of(Kind::Cyclegan, loss);
            assert!(model.segmentor().is_none());
            let cycle = model.cycle(Way::ThroughTarget, &model.makers, [&x, &y], None);
            assert_eq!(cycle.losses.len(), 3, "{:?}", cycle.losses);
            let grads = cycle.total.backward();
            assert!(reach(&model.makers.to_target, &grads).is_some_and(|g| g > 0.0));
            assert!(reach(&model.makers.to_source, &grads).unwrap_or(0.0) == 0.0);
        }
    }

    /// A batch that comes back without its classes teaches the translator but not the segmentor.
    #[test]
    fn lost_structures_do_not_teach_the_segmentor() {
        let (mut model, mut x, y) = tiny(LossConfig {
            lambda_adversarial: 0.0,
            lambda_cycle: 0.0,
            ..LossConfig::default()
        });
        // Classes that are easily told, of which a way back to grey leaves nothing.
        let area = x.area();
        let class = |i: usize| u8::from(i % area < area / 4);
        let n = 2 * area;
        x.images = (0..n)
            .map(|i| if class(i) == 1 { 0.9 } else { -0.9 })
            .collect();
        x.classes = Some((0..n).map(class).collect());
        let mut learning = Learning::<4>::new([1, CLASSES], 1, &model.device);
        (0..60).for_each(|_| {
            learning.learn(&x);
        });
        let mut grey = collect(&model.makers.to_source);
        grey.iter_mut().for_each(|array| array.values.fill(0.0));
        let to_source = model.makers.to_source.clone();
        let filled = fill(to_source, &grey, &model.device, "memory".as_ref());
        model.makers.to_source = filled.expect("the same net");
        let structure = Some(&learning.structure);
        let cycle = model.cycle(Way::ThroughTarget, &model.makers, [&x, &y], structure);
        assert!(cycle.losses.contains(&("kept", 0.0)), "{:?}", cycle.losses);
        let grads = cycle.total.backward();
        assert_eq!(reach(&model.makers.segmentor, &grads), None);
        assert!(reach(&model.makers.to_target, &grads).is_some_and(|g| g > 0.0));
    }

    /// The SSIM cycle loss reaches both translators, once each way.
    #[test]
    fn a_structural_cycle_reaches_both_translators() {
        let (model, x, y) = tiny_of(
            Kind::Cyclegan,
            LossConfig {
                lambda_adversarial: 0.0,
                cycle: Difference::Ssim,
                ..LossConfig::default()
            },
        );
        for way in [Way::ThroughTarget, Way::ThroughSource] {
            let cycle = model.cycle(way, &model.makers, [&x, &y], None);
            let value = cycle
                .losses
                .iter()
                .find(|(name, _)| name.starts_with("cycle"));
            assert!(value.is_some_and(|(_, v)| (0.0..2.0).contains(v)));
            let grads = cycle.total.backward();
            for net in [&model.makers.to_target, &model.makers.to_source] {
                assert!(reach(net, &grads).is_some_and(|g| g > 0.0));
            }
        }
    }

    /// The makers' gradients from two tapes are those of the sum of both cycles' losses on one.
    #[test]
    fn both_cycles_teach_the_makers() {
        let (model, x, y) = tiny(LossConfig {
            lambda_identity: 0.5,
            ..LossConfig::default()
        });
        let [one, two] = [Way::ThroughTarget, Way::ThroughSource];
        let apart = model.lesson(one, [&x, &y], None).grads;
        let apart = apart.plus(model.lesson(two, [&x, &y], None).grads);
        let total = |way| model.cycle(way, &model.makers, [&x, &y], None).total;
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
        let fake = model.makers.to_target.forward(x.tensor(&model.device));
        let segmentor = |makers: &Makers<4>| makers.segmentor.clone().expect("a segmentor");
        let logits = values(segmentor(&model.makers).forward(fake.clone()));
        let fake = values(fake);
        let device = crate::device::cpu();
        let weights = collect(&model.makers);
        let other = tiny(LossConfig::default()).0.makers;
        let makers = fill(other, &weights, &device, "memory".as_ref()).expect("the same nets");
        let area = x.area();
        for i in 0..x.len {
            let image = x.images[i * area..(i + 1) * area].to_vec();
            let image = burn::tensor::TensorData::new(image, [1, 1, x.shape[1], x.shape[2]]);
            let alone = makers.to_target.forward(Tensor::from_data(image, &device));
            let segmented = values(segmentor(&makers).forward(alone.clone()));
            assert_eq!(values(alone), fake[i * area..(i + 1) * area]);
            assert_eq!(
                segmented,
                logits[i * CLASSES * area..(i + 1) * CLASSES * area]
            );
        }
    }

    /// Of volumes every net learns by the same losses: their gradients reach what those of slices do.
    #[test]
    fn volumes_are_learnt_alike() {
        let (slices, x, y) = tiny(LossConfig::default());
        let recipe = tiny_recipe(Kind::Synseg, LossConfig::default());
        let mut volumes = Learner::<5>::new(&recipe, [1, CLASSES], &Processor::cpu());
        // Both patches twelve times are 24 slices.
        let deep = |batch: &Batch| Batch {
            images: batch.images.repeat(12),
            classes: batch.classes.as_ref().map(|classes| classes.repeat(12)),
            len: 1,
            shape: [24, 32, 32],
            ..batch.clone()
        };
        let names = |losses: &Losses| losses.iter().map(|(name, _)| *name).collect::<Vec<_>>();
        let expected = slices.cycle(Way::ThroughTarget, &slices.makers, [&x, &y], None);
        let (x, y) = (deep(&x), deep(&y));
        let cycle = volumes.cycle(Way::ThroughTarget, &volumes.makers, [&x, &y], None);
        assert_eq!(names(&cycle.losses), names(&expected.losses));
        assert_eq!(cycle.fake.dims(), [1, 1, 24, 32, 32]);
        let grads = cycle.total.backward();
        assert!(reach(&volumes.makers.segmentor, &grads).is_some_and(|g| g > 0.0));
        assert!(reach(&volumes.makers.to_target, &grads).is_some_and(|g| g > 0.0));
        assert!(reach(&volumes.makers.to_source, &grads).is_some_and(|g| g > 0.0));
        let before = collect(&volumes.judge_target.net);
        let losses = volumes.step([&x, &y], None, 0, 2e-4);
        assert!(losses.iter().all(|(_, value)| value.is_finite()));
        assert_ne!(collect(&volumes.judge_target.net), before);
    }

    /// CycleGAN's order: the discriminators see the translations that the makers' own update was
    /// computed from, made before that update.
    #[test]
    fn discriminators_are_shown_the_translations_of_the_same_forward_pass() {
        let (mut model, x, y) = tiny(LossConfig::default());
        let fake = |model: &Learner<4>| {
            let cycle = model.cycle(Way::ThroughTarget, &model.makers, [&x, &y], None);
            ops::values(cycle.fake)
        };
        let before = fake(&model);
        let judge_before = collect(&model.judge_target.net);
        model.step([&x, &y], None, 0, 2e-4);
        assert_eq!(model.judge_target.pool.images().concat(), before);
        assert_ne!(collect(&model.judge_target.net), judge_before);
        assert_ne!(fake(&model), before);
    }
}
