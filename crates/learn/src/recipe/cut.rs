//! CUT: a translator to the target alone, kept to its input by contrast between places.
//!
//! Park, Efros, Zhang and Zhu, "Contrastive Learning for Unpaired Image-to-Image Translation", ECCV
//! 2020, arXiv:2007.15651, and the authors' code. With source x and target y:
//! `L = LGAN(G, D) + λ (PatchNCE(x, G x) + PatchNCE(y, G y)) / 2`. One translator and one
//! discriminator, so a step takes about half as long as CycleGAN's.
//!
//! Features are those of G's own encoder: the image, after each halving, after the first and the
//! fifth residual block; a perceptron of two layers for each, of which both are trained with G.

mod projector;

use burn::module::Module;
use burn::tensor::{Device, Tensor};
use crossmod_volume::rng::{Rng, case_id};
use serde::{Deserialize, Serialize};

use super::guard::{Guard, Watched};
use super::judge::{Judge, first_draw};
use super::synseg::{scalar, ties};
use super::{LossConfig, Recipe};
use crate::Result;
use crate::batch::{Batch, Sampler};
use crate::device::Processor;
use crate::fit::{Adam, Losses, NetGradients, RunFolder, State, Trainable};
use crate::loss::{least_squares, patch_nce};
use crate::net::weights::{Named, collect, fill, leaves};
use crate::net::{Head, ResNet};
use crate::plan::Class;
use projector::Projector;

/// How places are contrasted.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ContrastConfig {
    /// On the contrastive losses.
    pub lambda_contrast: f32,
    /// Whether the translator is to keep images of the target as they are, by contrast too.
    pub identity: bool,
    /// Places of an image.
    pub places: usize,
    /// What cosines are divided by.
    pub temperature: f32,
    /// Features that places are compared by.
    pub features: usize,
}

impl Default for ContrastConfig {
    /// CUT's (arXiv:2007.15651, §4.1); FastCUT has λ = 10 and no identity.
    fn default() -> Self {
        Self {
            lambda_contrast: 1.0,
            identity: true,
            places: 256,
            temperature: 0.07,
            features: 256,
        }
    }
}

/// The nets that one optimiser moves.
#[derive(Module, Debug)]
struct Makers<const D: usize> {
    to_target: ResNet<D>,
    projector: Projector,
}

/// CUT in training, of slices (`D` = 4) or, beyond the paper, of volumes (`D` = 5).
#[derive(Debug)]
pub struct Cut<const D: usize = 4> {
    makers: Makers<D>,
    adam: Adam,
    judge: Judge<D>,
    contrast: ContrastConfig,
    loss: LossConfig,
    source: Sampler,
    target: Sampler,
    batch: usize,
    guard: Option<Guard<D>>,
    seed: u64,
    device: Device,
}

impl<const D: usize> Cut<D> {
    /// Builds the nets from the recipe's seed.
    #[must_use]
    pub fn new(
        recipe: &Recipe,
        mut source: Sampler,
        mut target: Sampler,
        classes: &[Class],
        processor: &Processor,
    ) -> Self {
        let device = processor.training();
        let slices = source.slices().channels();
        let samplers = [&mut source, &mut target];
        let guard = Guard::new(&recipe.guard, recipe.seed, classes, samplers, &device);
        let rng = |name| first_draw(recipe.seed, name);
        let to_target =
            recipe
                .generator
                .init([slices; 2], Head::Tanh, &mut rng("to_target"), &device);
        let channels = recipe.generator.tap_channels();
        let features = recipe.contrast.features;
        let makers = Makers {
            to_target,
            projector: Projector::new(&channels, features, &mut rng("projector"), &device),
        };
        let judge = recipe
            .discriminator
            .init(slices, &mut rng("judge_target"), &device);
        Self {
            adam: Adam::new(&recipe.optimizer, &makers),
            makers,
            judge: Judge::new(judge, &recipe.optimizer, recipe.pool),
            contrast: recipe.contrast.clone(),
            loss: recipe.loss.clone(),
            source,
            target,
            batch: recipe.batch,
            guard,
            seed: recipe.seed,
            device,
        }
    }

    /// The mean contrastive loss over the taps between an image and its translation.
    fn contrast(
        &self,
        makers: &Makers<D>,
        image: Tensor<D>,
        translation: Tensor<D>,
        rng: &mut Rng,
    ) -> Tensor<1> {
        let Makers {
            to_target,
            projector,
        } = makers;
        let (of_image, of_translation) = (to_target.taps(image), to_target.taps(translation));
        let taps = of_image.len() as f32;
        let mut total: Option<Tensor<1>> = None;
        for (tap, (image, translation)) in of_image.into_iter().zip(of_translation).enumerate() {
            let size = image.dims()[2..].iter().product();
            let places = some_of(size, self.contrast.places, rng);
            let image = projector.forward(tap, image, &places);
            let translation = projector.forward(tap, translation, &places);
            let loss = patch_nce(translation, image, self.contrast.temperature);
            total = Some(match total {
                Some(total) => total + loss,
                None => loss,
            });
        }
        total.unwrap_or_else(|| Tensor::zeros([1], &self.device)) / taps
    }

    /// The translator's loss and its translation; the discriminator is fixed.
    fn forward(
        &self,
        makers: &Makers<D>,
        x: &Batch,
        y: &Batch,
        step: u64,
    ) -> (Tensor<D>, Tensor<1>, Losses) {
        let mut rng = Rng::new(self.seed, case_id("places"), step as u32);
        let (x, y) = (x.tensor(&self.device), y.tensor(&self.device));
        let judge = self.judge.net.clone().no_grad();
        let fake = makers.to_target.forward(x.clone());
        let gan = least_squares(judge.forward(fake.clone()), 1.0);
        let mut losses = vec![("gan_target", scalar(&gan))];
        let mut total = gan * self.loss.lambda_adversarial;
        let mut nce = self.contrast(makers, x.clone(), fake.clone(), &mut rng);
        losses.push(("contrast_source", scalar(&nce)));
        if self.contrast.identity {
            let same = makers.to_target.forward(y.clone());
            let identity = self.contrast(makers, y, same, &mut rng);
            losses.push(("contrast_target", scalar(&identity)));
            nce = (nce + identity) * 0.5;
        }
        total = total + nce * self.contrast.lambda_contrast;
        let names = ["alignment_target", "edge_target"];
        if let Some(ties) = ties(self.loss.ties(), [&x, &fake], names, &mut losses) {
            total = total + ties;
        }
        (fake, total, losses)
    }
}

/// `wanted` different places of `n`, or all of them.
fn some_of(n: usize, wanted: usize, rng: &mut Rng) -> Vec<i32> {
    let mut all = rng.permutation(n);
    all.truncate(wanted);
    all.into_iter().map(|place| place as i32).collect()
}

impl<const D: usize> Trainable for Cut<D> {
    fn step(&mut self, step: u64, rate: f32) -> Result<Losses> {
        let x = self.source.batch(step, self.batch);
        let y = self.target.batch(step, self.batch);
        let makers = leaves(&self.makers);
        let (fake, total, mut losses) = self.forward(&makers, &x, &y, step);
        let grads = NetGradients::take(&makers, total.backward());
        self.makers = self
            .adam
            .step(self.makers.clone(), grads, rate, &self.device);
        let mut rng = Rng::new(self.seed, case_id("pool"), step as u32);
        let shown = self.judge.pooled(fake, &mut rng, &self.device);
        let real = y.tensor(&self.device);
        let judge = self.judge.step(real, shown, rate, &self.device);
        losses.push(("judge_target", judge));
        let to_target = &self.makers.to_target;
        if let Some(guard) = &mut self.guard {
            guard.learn(&x, step);
            let nets = Watched {
                to_target,
                to_source: None,
                segmentor: None,
            };
            losses.extend(guard.look(step, nets, Vec::new));
        }
        Ok(losses)
    }

    fn weights(&self) -> Vec<(String, Vec<Named>)> {
        let last = || vec![("to_target".into(), collect(&self.makers.to_target))];
        match &self.guard {
            Some(guard) => guard.weights(last),
            None => last(),
        }
    }

    fn state(&self) -> Vec<(String, Vec<Named>)> {
        let mut state = vec![
            ("makers".into(), collect(&self.makers)),
            ("adam_makers".into(), self.adam.state()),
        ];
        state.extend(self.judge.state("target"));
        state.extend(self.guard.as_ref().map_or(Vec::new(), Guard::state));
        state
    }

    fn restore(&mut self, state: &State, run: &RunFolder) -> Result<()> {
        let (root, device) = (run.root(), &self.device);
        let makers = state.arrays("makers", root)?;
        self.makers = fill(self.makers.clone(), makers, device, root)?;
        self.adam
            .restore(state.arrays("adam_makers", root)?, root)?;
        self.judge.restore("target", state, run, device)?;
        match &mut self.guard {
            Some(guard) => guard.restore(state, run),
            None => Ok(()),
        }
    }

    fn notes(&mut self) -> Vec<String> {
        self.guard.as_mut().map_or(Vec::new(), Guard::notes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::batch::{AugmentConfig, Order, Slices};
    use crate::fit::reach;
    use crate::net::{PatchGanConfig, ResNetConfig};
    use crate::recipe::Kind;

    fn tiny(contrast: ContrastConfig) -> Cut {
        tiny_of(contrast, |slices| slices)
    }

    fn tiny_of<const D: usize>(
        contrast: ContrastConfig,
        samples: impl Fn(Slices) -> Slices,
    ) -> Cut<D> {
        let recipe = Recipe {
            kind: Kind::Cut,
            batch: 2,
            contrast,
            generator: ResNetConfig {
                width: 2,
                blocks: 2,
            },
            discriminator: PatchGanConfig { width: 2 },
            ..Recipe::default()
        };
        let sampler = |name| {
            let mut rng = Rng::new(3, case_id(name), 0);
            let image = |_| (0..1024).map(|_| rng.uniform(-1.0, 1.0)).collect();
            let slices = samples(Slices::of(32, (0..25).map(image).collect()));
            let augment = AugmentConfig::default();
            Sampler::new(slices, Order::Shuffled, augment, 32, 1, name)
        };
        let [source, target] = ["source", "target"].map(sampler);
        Cut::new(&recipe, source, target, &[], &Processor::cpu())
    }

    fn few() -> ContrastConfig {
        ContrastConfig {
            places: 16,
            features: 4,
            ..ContrastConfig::default()
        }
    }

    #[test]
    fn contrast_teaches_translator_and_projector_and_leaves_the_discriminator() {
        let mut cut = tiny(few());
        let x = cut.source.batch(0, 2);
        let y = cut.target.batch(0, 2);
        let (_, total, losses) = cut.forward(&cut.makers, &x, &y, 0);
        let names: Vec<&str> = losses.iter().map(|(name, _)| *name).collect();
        assert_eq!(names, ["gan_target", "contrast_source", "contrast_target"]);
        let grads = total.backward();
        assert!(reach(&cut.makers.to_target, &grads).is_some_and(|g| g > 0.0));
        assert!(reach(&cut.makers.projector, &grads).is_some_and(|g| g > 0.0));
        assert_eq!(reach(&cut.judge.net, &grads), None);
    }

    /// Of random features the loss is near ln(places): no place is like another.
    #[test]
    fn untrained_contrast_is_that_of_chance() {
        let mut cut = tiny(ContrastConfig {
            temperature: 100.0,
            identity: false,
            ..few()
        });
        let x = cut.source.batch(0, 2);
        let y = cut.target.batch(0, 2);
        let (_, _, losses) = cut.forward(&cut.makers, &x, &y, 0);
        let expected = 16f32.ln();
        assert!((losses[1].1 - expected).abs() < 0.05, "{losses:?}");
        assert_eq!(losses.len(), 2);
    }

    #[test]
    fn a_step_moves_all_nets_and_its_state_comes_back() -> Result<()> {
        comes_back(|| tiny(few()))?;
        comes_back(|| tiny_of::<5>(few(), |slices| slices.in_blocks(24)))
    }

    fn comes_back<const D: usize>(new: impl Fn() -> Cut<D>) -> Result<()> {
        let mut cut = new();
        let before = (collect(&cut.makers), collect(&cut.judge.net));
        cut.step(0, 1e-3)?;
        assert_ne!(collect(&cut.makers), before.0);
        assert_ne!(collect(&cut.judge.net), before.1);
        let folder = tempfile::tempdir().expect("a temporary folder");
        let run = RunFolder::create(folder.path())?;
        let state = State {
            step: 1,
            arrays: cut.state(),
            ..State::default()
        };
        let mut other = new();
        other.restore(&state, &run)?;
        assert_eq!(cut.step(1, 1e-3)?, other.step(1, 1e-3)?);
        assert_eq!(cut.weights(), other.weights());
        Ok(())
    }
}
