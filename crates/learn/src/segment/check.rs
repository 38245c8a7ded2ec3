//! Whether a segmenter still gets better: the Dice of validation patches, as nnU-Net watches it.
//!
//! The score of a check is the mean over the foreground classes of their Dice over all voxels of its
//! patches; it is smoothed over checks, new = 0.9 old + 0.1 score (Isensee et al.,
//! doi:10.1038/s41592-020-01008-z, version 2). Patches are not augmented; which ones they are
//! depends on the step alone.

use std::path::Path;

use burn::tensor::Device;
use crossmod_volume::rng::Rng;

use super::SegmentationPlan;
use super::learner::images;
use super::recipe::StopConfig;
use crate::batch::Patches;
use crate::device::Processor;
use crate::fit::State;
use crate::loss::PlannedLoss;
use crate::net::PlannedNet;
use crate::net::weights::{Named, fill};
use crate::{Error, Result, ops};

/// Of the smoothed score what is kept at a check.
const KEPT: f32 = 0.9;

/// The watch over a training.
pub(super) struct Check {
    config: StopConfig,
    patches: Patches,
    net: PlannedNet,
    loss: PlannedLoss,
    device: Device,
    /// Smoothed score, its greatest value, and the checks since.
    smoothed: Option<f32>,
    best: Option<(f32, Vec<Named>)>,
    since: u32,
}

impl Check {
    pub(super) fn new(
        config: &StopConfig,
        plan: &SegmentationPlan,
        loss: &PlannedLoss,
        patches: Patches,
        processor: &Processor,
    ) -> Self {
        let device = processor.inference();
        let channels = [plan.in_channels(), loss.outputs()];
        Self {
            config: config.clone(),
            patches,
            net: plan.net.init(channels, &mut Rng::new(0, 0, 0), &device),
            loss: loss.clone(),
            device,
            smoothed: None,
            best: None,
            since: 0,
        }
    }

    pub(super) fn is_due(&self, step: u64) -> bool {
        (step + 1).is_multiple_of(self.config.every)
    }

    pub(super) fn is_over(&self) -> bool {
        self.since >= self.config.patience
    }

    /// The best weights so far.
    pub(super) fn best(&self) -> Option<&[Named]> {
        self.best.as_ref().map(|(_, weights)| weights.as_slice())
    }

    /// The score after `step`, of a net of `weights`.
    pub(super) fn run(&mut self, step: u64, weights: Vec<Named>) -> Result<f32> {
        self.net = fill(self.net.clone(), &weights, &self.device, Path::new(""))?;
        let mut counts = Counts::default();
        let first = step / self.config.every * self.config.batches;
        for batch in first..first + self.config.batches {
            let batch = self.patches.batch(batch)?;
            let logits = ops::values(self.net.forward(images(&batch, &self.device)));
            counts.add(&self.loss, &logits, &batch.labels, batch.len);
        }
        let score = counts.dice();
        let smoothed = self
            .smoothed
            .map_or(score, |old| KEPT * old + (1.0 - KEPT) * score);
        self.smoothed = Some(smoothed);
        self.since += 1;
        if self.best.as_ref().is_none_or(|(best, _)| smoothed > *best) {
            self.best = Some((smoothed, weights));
            self.since = 0;
        }
        Ok(score)
    }

    pub(super) fn state(&self) -> Vec<(String, Vec<Named>)> {
        let Some((best, weights)) = &self.best else {
            return Vec::new();
        };
        let figures = vec![self.smoothed.unwrap_or(*best), *best, self.since as f32];
        let figures = Named {
            name: FIGURES.into(),
            shape: vec![3],
            values: figures,
        };
        vec![
            (FIGURES.into(), vec![figures]),
            ("best".into(), weights.clone()),
        ]
    }

    pub(super) fn restore(&mut self, state: &State, run: &Path) -> Result<()> {
        if !state.arrays.iter().any(|(name, _)| name == FIGURES) {
            return Ok(());
        }
        let [figures] = state.arrays(FIGURES, run)? else {
            return Err(Error::run("expected the figures of the last check", run));
        };
        let [smoothed, best, since] = figures.values[..] else {
            return Err(Error::run("expected three figures of the last check", run));
        };
        self.smoothed = Some(smoothed);
        self.best = Some((best, state.arrays("best", run)?.to_vec()));
        self.since = since as u32;
        Ok(())
    }
}

const FIGURES: &str = "check";

/// Voxels by channel: found and true, found, true.
#[derive(Debug, Default)]
struct Counts(Vec<[u64; 3]>);

impl Counts {
    /// Adds those of `samples` patches.
    fn add(&mut self, loss: &PlannedLoss, logits: &[f32], labels: &[u16], samples: usize) {
        let channels = loss.outputs();
        self.0.resize(channels, [0; 3]);
        let voxels = labels.len() / samples;
        let each = logits.chunks(channels * voxels).zip(labels.chunks(voxels));
        for (logits, labels) in each {
            for (i, &label) in labels.iter().enumerate() {
                if loss.ignores(label) {
                    continue;
                }
                let of = |channel: usize| logits[channel * voxels + i];
                let top = (0..channels).fold(0, |top, c| if of(c) > of(top) { c } else { top });
                for (channel, [both, found, truth]) in self.0.iter_mut().enumerate() {
                    let is_found = if loss.is_binary() {
                        of(channel) > 0.0
                    } else {
                        channel == top
                    };
                    let is_true = loss.is_of(channel, label);
                    *both += u64::from(is_found && is_true);
                    *found += u64::from(is_found);
                    *truth += u64::from(is_true);
                }
            }
        }
        if !loss.is_binary() {
            // The background has no score.
            self.0[0] = [0; 3];
        }
    }

    /// The mean of the channels that are there.
    fn dice(&self) -> f32 {
        let each: Vec<f64> = self
            .0
            .iter()
            .filter(|[_, found, truth]| found + truth > 0)
            .map(|[both, found, truth]| 2.0 * *both as f64 / (found + truth) as f64)
            .collect();
        (each.iter().sum::<f64>() / each.len().max(1) as f64) as f32
    }
}
