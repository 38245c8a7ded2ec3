//! SynSeg-Net: two translators and a segmentor, trained together.
//!
//! Huo et al., "SynSeg-Net: Synthetic Segmentation Without Target Modality Ground Truth", IEEE TMI
//! 38(4):1016–1025, 2019, doi:10.1109/TMI.2018.2876633. Source x with classes m, target y without:
//! `L = λ1 LGAN(G1, D1) + λ2 LGAN(G2, D2) + λ3 |G2(G1 x) - x| + λ4 |G1(G2 y) - y| + λ5 Lseg(S(G1 x), m)`.
//!
//! The paper writes the logarithmic adversarial loss; the authors' code, followed here, uses least
//! squares. The segmentation loss reaches G1, and S is updated with the translators.

mod learner;

pub(crate) use learner::{Learner, scalar, ties};

use super::Recipe;
use super::guard::{Guard, Watched};
use crate::Result;
use crate::batch::Sampler;
use crate::device::Processor;
use crate::fit::{Losses, RunFolder, State, Trainable};
use crate::net::weights::Named;
use crate::plan::Class;

/// SynSeg-Net in training, or, by a recipe without segmentor, CycleGAN; of slices (`D` = 4) or, beyond
/// the papers, of volumes (`D` = 5).
#[derive(Debug)]
pub struct SynSeg<const D: usize = 4> {
    learner: Learner<D>,
    source: Sampler,
    target: Sampler,
    batch: usize,
    guard: Option<Guard<D>>,
}

impl<const D: usize> SynSeg<D> {
    /// Builds the nets from the recipe's seed.
    #[must_use]
    pub fn new(
        recipe: &Recipe,
        mut source: Sampler,
        mut target: Sampler,
        classes: &[Class],
        processor: &Processor,
    ) -> Self {
        let channels = source.slices().channels();
        let samplers = [&mut source, &mut target];
        let device = processor.training();
        Self {
            guard: Guard::new(&recipe.guard, recipe.seed, classes, samplers, &device),
            learner: Learner::new(recipe, [channels, classes.len()], processor),
            source,
            target,
            batch: recipe.batch,
        }
    }
}

impl<const D: usize> Trainable for SynSeg<D> {
    fn step(&mut self, step: u64, rate: f32) -> Result<Losses> {
        let x = self.source.batch(step, self.batch);
        let y = self.target.batch(step, self.batch);
        let structure = self.guard.as_ref().and_then(Guard::structure);
        let mut losses = self.learner.step([&x, &y], structure, step, rate);
        let learner = &self.learner;
        if let Some(guard) = &mut self.guard {
            guard.learn(&x, step);
            let nets = Watched {
                to_target: learner.to_target(),
                to_source: Some(learner.to_source()),
                segmentor: learner.segmentor(),
            };
            losses.extend(guard.look(step, nets, || learner.weights()));
        }
        Ok(losses)
    }

    fn weights(&self) -> Vec<(String, Vec<Named>)> {
        match &self.guard {
            Some(guard) => guard.weights(|| self.learner.weights()),
            None => self.learner.weights(),
        }
    }

    fn state(&self) -> Vec<(String, Vec<Named>)> {
        let guard = self.guard.as_ref().map_or(Vec::new(), Guard::state);
        [self.learner.state(), guard].concat()
    }

    fn restore(&mut self, state: &State, run: &RunFolder) -> Result<()> {
        if let Some(guard) = &mut self.guard {
            guard.restore(state, run)?;
        }
        self.learner.restore(state, run)
    }

    fn notes(&mut self) -> Vec<String> {
        self.guard.as_mut().map_or(Vec::new(), Guard::notes)
    }
}
