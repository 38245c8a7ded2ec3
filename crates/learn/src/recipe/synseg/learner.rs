//! The step of SynSeg-Net on given batches: nets, losses and optimisers, in the order of CycleGAN's
//! code.

use burn::module::Module;
use burn::tensor::{Device, Tensor, TensorData};
use crossmod_volume::rng::{Rng, case_id};

use crate::batch::Batch;
use crate::fit::{Adam, ImagePool, Losses, RunFolder, State};
use crate::loss::{least_squares, mean_absolute};
use crate::net::weights::{Named, collect, fill};
use crate::net::{Head, PatchGan, ResNet, Segmentor};
use crate::recipe::supervised::SegmentationCriterion;
use crate::recipe::{LossConfig, Recipe};
use crate::{Result, device, ops};

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
    judge_target: PatchGan,
    judge_source: PatchGan,
    adam_makers: Adam,
    adam_judge_target: Adam,
    adam_judge_source: Adam,
    pool_target: ImagePool,
    pool_source: ImagePool,
    criterion: SegmentationCriterion,
    loss: LossConfig,
    seed: u64,
    device: Device,
}

/// The images a forward pass of the makers gives, and the loss on them.
struct MakersPass {
    fake_target: Tensor<4>,
    fake_source: Tensor<4>,
    total: Tensor<1>,
    losses: Losses,
}

impl Learner {
    /// Builds the nets from the recipe's seed.
    pub(crate) fn new(recipe: &Recipe, classes: usize) -> Self {
        let device = device::cpu_training();
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
        let judge = |name| recipe.discriminator.init(&mut rng(name), &device);
        let (judge_target, judge_source) = (judge("judge_target"), judge("judge_source"));
        Self {
            adam_makers: Adam::new(&recipe.optimizer, &makers),
            adam_judge_target: Adam::new(&recipe.optimizer, &judge_target),
            adam_judge_source: Adam::new(&recipe.optimizer, &judge_source),
            makers,
            judge_target,
            judge_source,
            pool_target: ImagePool::new(recipe.pool),
            pool_source: ImagePool::new(recipe.pool),
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

    /// The makers' losses on one batch, the discriminators frozen.
    fn makers_pass(&self, x: &Batch, y: &Batch) -> MakersPass {
        let (real_source, real_target) = (self.images(x), self.images(y));
        let Makers {
            to_target,
            to_source,
            segmentor,
        } = &self.makers;
        // Frozen, so that no gradient to their weights is computed only to be thrown away.
        let judge_target = self.judge_target.clone().no_grad();
        let judge_source = self.judge_source.clone().no_grad();

        let fake_target = to_target.forward(real_source.clone());
        let back_source = to_source.forward(fake_target.clone());
        let fake_source = to_source.forward(real_target.clone());
        let back_target = to_target.forward(fake_source.clone());

        let gan_target = least_squares(judge_target.forward(fake_target.clone()), 1.0);
        let gan_source = least_squares(judge_source.forward(fake_source.clone()), 1.0);
        let cycle_source = mean_absolute(back_source, real_source.clone());
        let cycle_target = mean_absolute(back_target, real_target.clone());
        let segmentation = self
            .criterion
            .loss(segmentor.forward(fake_target.clone()), x);

        let l = &self.loss;
        let mut losses = vec![
            ("gan_target", scalar(&gan_target)),
            ("gan_source", scalar(&gan_source)),
            ("cycle_source", scalar(&cycle_source)),
            ("cycle_target", scalar(&cycle_target)),
            ("segmentation", scalar(&segmentation)),
        ];
        let mut total = (gan_target + gan_source) * l.lambda_adversarial
            + (cycle_source + cycle_target) * l.lambda_cycle
            + segmentation * l.lambda_segmentation;
        if l.lambda_identity > 0.0 {
            let identity = mean_absolute(to_target.forward(real_target.clone()), real_target)
                + mean_absolute(to_source.forward(real_source.clone()), real_source);
            losses.push(("identity", scalar(&identity)));
            total = total + identity * (l.lambda_identity * l.lambda_cycle);
        }
        MakersPass {
            fake_target,
            fake_source,
            total,
            losses,
        }
    }

    /// One past or present translation for each new one, as a constant.
    fn pooled(pool: &mut ImagePool, fakes: Tensor<4>, rng: &mut Rng, device: &Device) -> Tensor<4> {
        let shape = fakes.dims();
        let values = ops::values(fakes);
        let shown: Vec<f32> = values
            .chunks(shape[2] * shape[3])
            .flat_map(|image| pool.exchange(image.to_vec(), rng))
            .collect();
        Tensor::from_data(TensorData::new(shown, shape), device)
    }

    /// CycleGAN's order: one forward pass, the makers, then each discriminator on pooled fakes.
    /// `step` keys the draws from the pools.
    pub(crate) fn step(&mut self, x: &Batch, y: &Batch, step: u64, rate: f32) -> Losses {
        let MakersPass {
            fake_target,
            fake_source,
            total,
            mut losses,
        } = self.makers_pass(x, y);
        let grads = total.backward();
        self.makers = self
            .adam_makers
            .step(self.makers.clone(), grads, rate, &self.device);

        let mut rng = Rng::new(self.seed, case_id("pool"), step as u32);
        let fake = Self::pooled(&mut self.pool_target, fake_target, &mut rng, &self.device);
        let loss = judge_loss(&self.judge_target, self.images(y), fake);
        losses.push(("judge_target", scalar(&loss)));
        let (judge, grads) = (self.judge_target.clone(), loss.backward());
        self.judge_target = self
            .adam_judge_target
            .step(judge, grads, rate, &self.device);

        let fake = Self::pooled(&mut self.pool_source, fake_source, &mut rng, &self.device);
        let loss = judge_loss(&self.judge_source, self.images(x), fake);
        losses.push(("judge_source", scalar(&loss)));
        let (judge, grads) = (self.judge_source.clone(), loss.backward());
        self.judge_source = self
            .adam_judge_source
            .step(judge, grads, rate, &self.device);
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
        [&self.judge_target, &self.judge_source]
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
        vec![
            ("makers".into(), collect(&self.makers)),
            ("judge_target".into(), collect(&self.judge_target)),
            ("judge_source".into(), collect(&self.judge_source)),
            ("adam_makers".into(), self.adam_makers.state()),
            ("adam_judge_target".into(), self.adam_judge_target.state()),
            ("adam_judge_source".into(), self.adam_judge_source.state()),
            ("pool_target".into(), pool(&self.pool_target)),
            ("pool_source".into(), pool(&self.pool_source)),
        ]
    }

    /// Puts back what [`Learner::state`] gave.
    ///
    /// # Errors
    /// Where the state is of another recipe.
    pub(super) fn restore(&mut self, state: &State, run: &RunFolder) -> Result<()> {
        let (root, device) = (run.root(), &self.device);
        let arrays = |name| state.arrays(name, root);
        self.makers = fill(self.makers.clone(), arrays("makers")?, device, root)?;
        self.judge_target = fill(
            self.judge_target.clone(),
            arrays("judge_target")?,
            device,
            root,
        )?;
        self.judge_source = fill(
            self.judge_source.clone(),
            arrays("judge_source")?,
            device,
            root,
        )?;
        self.adam_makers.restore(arrays("adam_makers")?, root)?;
        self.adam_judge_target
            .restore(arrays("adam_judge_target")?, root)?;
        self.adam_judge_source
            .restore(arrays("adam_judge_source")?, root)?;
        for (pool, name) in [
            (&mut self.pool_target, "pool_target"),
            (&mut self.pool_source, "pool_source"),
        ] {
            let mut images = state.arrays(name, root)?.to_vec();
            images.sort_by(|a, b| a.name.cmp(&b.name));
            pool.restore(images.into_iter().map(|image| image.values).collect());
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
        let learner = Learner::new(&recipe, CLASSES);
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
        let grads = model.makers_pass(&x, &y).total.backward();
        assert!(reach(&model.makers.segmentor, &grads).is_some_and(|g| g > 0.0));
        assert!(reach(&model.makers.to_target, &grads).is_some_and(|g| g > 0.0));
        assert!(reach(&model.makers.to_source, &grads).unwrap_or(0.0) == 0.0);
    }

    #[test]
    fn the_discriminators_are_untouched_by_the_makers_step() {
        let (model, x, y) = tiny(LossConfig::default());
        let grads = model.makers_pass(&x, &y).total.backward();
        assert_eq!(reach(&model.judge_target, &grads), None);
        assert_eq!(reach(&model.judge_source, &grads), None);
        assert!(reach(&model.makers.to_source, &grads).is_some_and(|g| g > 0.0));
    }

    #[test]
    fn the_discriminators_loss_does_not_reach_the_makers() {
        let (model, x, y) = tiny(LossConfig::default());
        let fake = model.makers_pass(&x, &y).fake_target;
        let mut pool = ImagePool::new(4);
        let shown = Learner::pooled(&mut pool, fake, &mut Rng::new(1, 0, 0), &model.device);
        let grads = judge_loss(&model.judge_target, model.images(&y), shown).backward();
        assert_eq!(reach(&model.makers, &grads), None);
        assert!(reach(&model.judge_target, &grads).is_some_and(|g| g > 0.0));
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
        let device = device::cpu();
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
        let before = model.makers_pass(&x, &y).fake_target.into_data();
        let before = before.try_into_vec::<f32>().expect("f32");
        let judge_before = collect(&model.judge_target);
        model.step(&x, &y, 0, 2e-4);
        assert_eq!(model.pool_target.images().concat(), before);
        assert_ne!(collect(&model.judge_target), judge_before);
        let after = model.makers_pass(&x, &y).fake_target.into_data();
        assert_ne!(after.try_into_vec::<f32>().expect("f32"), before);
    }
}
