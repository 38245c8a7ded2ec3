//! A segmentor trained on labelled images of one domain: the yardsticks of an adaptation.

use burn::tensor::{Device, Tensor};
use crossmod_volume::rng::{Rng, case_id};

use super::synseg::scalar;
use super::{LossConfig, Recipe, SegmentationLoss};
use crate::Result;
use crate::batch::{Batch, Sampler};
use crate::device::Processor;
use crate::fit::{Adam, Losses, NetGradients, RunFolder, State, Trainable};
use crate::loss::{cross_entropy, cross_entropy_dice, dice};
use crate::net::Segmentor;
use crate::net::weights::{Named, collect, fill};

/// The segmentation loss of a recipe.
#[derive(Debug)]
pub(super) struct SegmentationCriterion {
    kind: SegmentationLoss,
    weights: Vec<f32>,
}

impl SegmentationCriterion {
    pub(super) fn new(loss: &LossConfig, classes: usize) -> Self {
        let mut weights = loss.class_weights.clone();
        weights.resize(classes, 1.0);
        Self {
            kind: loss.segmentation,
            weights,
        }
    }

    /// The loss of logits against the classes of the batch they were made from.
    ///
    /// # Panics
    /// Where the batch has no classes; samplers of labelled slices always give them.
    pub(super) fn loss<const D: usize>(&self, logits: Tensor<D>, batch: &Batch) -> Tensor<1> {
        let truth = batch.truth().unwrap_or_default();
        match self.kind {
            SegmentationLoss::CrossEntropy => cross_entropy(logits, truth, &self.weights),
            SegmentationLoss::Dice => dice(logits, truth),
            SegmentationLoss::CrossEntropyDice => cross_entropy_dice(logits, truth, &self.weights),
        }
    }
}

/// A segmentor in training on one domain, of slices (`D` = 4) or volumes (`D` = 5).
#[derive(Debug)]
pub struct Supervised<const D: usize = 4> {
    segmentor: Segmentor<D>,
    adam: Adam,
    sampler: Sampler,
    criterion: SegmentationCriterion,
    batch: usize,
    device: Device,
}

impl<const D: usize> Supervised<D> {
    /// Builds the segmentor from the recipe's seed: the same as [`super::SynSeg`] starts from.
    #[must_use]
    pub fn new(recipe: &Recipe, sampler: Sampler, classes: usize, processor: &Processor) -> Self {
        let device = processor.training();
        let mut rng = Rng::new(recipe.seed, case_id("segmentor"), 0);
        let segmentor =
            recipe
                .segmentor
                .init([sampler.slices().channels(), classes], &mut rng, &device);
        Self {
            adam: Adam::new(&recipe.optimizer, &segmentor),
            segmentor,
            sampler,
            criterion: SegmentationCriterion::new(&recipe.loss, classes),
            batch: recipe.batch,
            device,
        }
    }
}

impl<const D: usize> Trainable for Supervised<D> {
    fn step(&mut self, step: u64, rate: f32) -> Result<Losses> {
        let batch = self.sampler.batch(step, self.batch);
        let images = batch.tensor(&self.device);
        let loss = self.criterion.loss(self.segmentor.forward(images), &batch);
        let losses = vec![("segmentation", scalar(&loss))];
        let grads = NetGradients::take(&self.segmentor, loss.backward());
        self.segmentor = self
            .adam
            .step(self.segmentor.clone(), grads, rate, &self.device);
        Ok(losses)
    }

    fn weights(&self) -> Vec<(String, Vec<Named>)> {
        vec![("segmentor".into(), collect(&self.segmentor))]
    }

    fn state(&self) -> Vec<(String, Vec<Named>)> {
        vec![
            ("segmentor".into(), collect(&self.segmentor)),
            ("adam".into(), self.adam.state()),
        ]
    }

    fn restore(&mut self, state: &State, run: &RunFolder) -> Result<()> {
        let root = run.root();
        let weights = state.arrays("segmentor", root)?;
        self.segmentor = fill(self.segmentor.clone(), weights, &self.device, root)?;
        self.adam.restore(state.arrays("adam", root)?, root)
    }
}
