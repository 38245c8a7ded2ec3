//! SynSeg-Net: two translators and a segmentor, trained together.
//!
//! Huo et al., "SynSeg-Net: Synthetic Segmentation Without Target Modality Ground Truth", IEEE TMI
//! 38(4):1016–1025, 2019, doi:10.1109/TMI.2018.2876633. Source x with classes m, target y without:
//! `L = λ1 LGAN(G1, D1) + λ2 LGAN(G2, D2) + λ3 |G2(G1 x) - x| + λ4 |G1(G2 y) - y| + λ5 Lseg(S(G1 x), m)`.
//!
//! The paper writes the logarithmic adversarial loss; the authors' code, followed here, uses least
//! squares. The segmentation loss reaches G1, and S is updated with the translators.

mod learner;

pub(crate) use learner::{Learner, scalar};

use super::Recipe;
use crate::Result;
use crate::batch::Sampler;
use crate::device::Processor;
use crate::fit::{Losses, RunFolder, State, Trainable};
use crate::net::weights::{Named, collect};

/// SynSeg-Net in training.
#[derive(Debug)]
pub struct SynSeg {
    learner: Learner,
    source: Sampler,
    target: Sampler,
    batch: usize,
}

impl SynSeg {
    /// Builds the nets from the recipe's seed.
    #[must_use]
    pub fn new(
        recipe: &Recipe,
        source: Sampler,
        target: Sampler,
        classes: usize,
        processor: &Processor,
    ) -> Self {
        Self {
            learner: Learner::new(recipe, classes, processor),
            source,
            target,
            batch: recipe.batch,
        }
    }
}

impl Trainable for SynSeg {
    fn step(&mut self, step: u64, rate: f32) -> Result<Losses> {
        let x = self.source.batch(step, self.batch);
        let y = self.target.batch(step, self.batch);
        Ok(self.learner.step(&x, &y, step, rate))
    }

    fn weights(&self) -> Vec<(String, Vec<Named>)> {
        vec![
            ("to_target".into(), collect(self.learner.to_target())),
            ("to_source".into(), collect(self.learner.to_source())),
            ("segmentor".into(), collect(self.learner.segmentor())),
        ]
    }

    fn state(&self) -> Vec<(String, Vec<Named>)> {
        self.learner.state()
    }

    fn restore(&mut self, state: &State, run: &RunFolder) -> Result<()> {
        self.learner.restore(state, run)
    }
}
