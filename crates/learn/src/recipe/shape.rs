//! Cycle- and shape-consistency: translators and segmentors of both modalities, on whole volumes.
//!
//! Zhang, Yang and Zheng, "Translating and Segmenting Multimodal Medical Volumes with Cycle- and
//! Shape-Consistency Generative Adversarial Network", CVPR 2018. With volumes A and B, translators
//! G_A: B → A and G_B: A → B, segmentors S_A and S_B:
//! `L = LGAN(G_A, D_A) + LGAN(G_B, D_B) + λ Lcyc + γ Lshape`,
//! `Lcyc = |G_A(G_B x_A) - x_A| + |G_B(G_A x_B) - x_B|`,
//! `Lshape = CE(S_A(G_A x_B), y_B) + CE(S_B(G_B x_A), y_A)`; λ = 10, γ = 1.
//!
//! The translators are updated with segmentors and discriminators fixed, then those with the
//! translators fixed; S_A is shown `x_A`, `G_A x_B` and `G_A(G_B x_A)` with the classes of the
//! volume each was made from. The paper trains segmentors and translators apart first, then all
//! together: each of its stages is a run of this recipe in another [`Phase`].
//!
//! `LGAN` is least squares and the discriminators are shown past translations, as in CycleGAN,
//! which the paper follows there.

mod data;
mod learner;

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::launch::{Request, launch, relaunch};
use super::{Readable, wrong};
use crate::batch::Volumes;
use crate::device::Processor;
use crate::fit::{AdamConfig, Budget, Losses, RunFolder, Schedule, State, Summary, Trainable};
use crate::loss::Difference;
use crate::net::weights::Named;
use crate::net::{Generator3dConfig, PatchGanConfig};
use crate::segment::PostprocessConfig;
use crate::segment::plan::{Net, NetKind};
use crate::{Progress, Result};

pub use data::{VolumePlan, VolumePlanConfig};
use learner::Learner;

/// A training on volumes of two modalities, resolved.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ShapeRecipe {
    /// `shape-consistency`.
    pub kind: ShapeKind,
    /// Which nets are trained.
    pub phase: Phase,
    /// Runs whose nets it begins with; the later ones' where several have the same.
    pub begin: Vec<PathBuf>,
    /// Seed of every random draw.
    pub seed: u64,
    /// The share of each modality's labelled cases whose labels are used, source and target.
    pub labelled: [f64; 2],
    /// Volumes kept of past translations, per modality; 50 in CycleGAN.
    pub pool: usize,
    /// Epochs without a lower segmentation loss after which training ends; 0 never ends early.
    pub patience: u32,
    /// Steps between looks at what goes wrong with translations, logged as `guard_*` as of slices;
    /// the segmentors of real volumes tell what is kept. 0 for none.
    pub guard_every: u64,
    /// Minutes between checkpoints.
    pub checkpoint_minutes: f64,
    /// The translators' and the discriminators' optimiser.
    pub optimizer: AdamConfig,
    /// The segmentors' optimiser; its learning rate falls as the translators' does.
    pub segmentor_optimizer: AdamConfig,
    /// How the learning rates fall.
    pub schedule: Schedule,
    /// Weights of the losses.
    pub loss: ShapeLossConfig,
    /// Both translators.
    pub generator: Generator3dConfig,
    /// Both discriminators.
    pub discriminator: PatchGanConfig,
    /// Features of each resolution of both segmentors, the finest first.
    pub features: Vec<usize>,
    /// What is known of parts and holes of what is segmented; not in the paper.
    pub postprocess: PostprocessConfig,
    /// How the data are prepared.
    pub plan: VolumePlanConfig,
}

/// The one kind there is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ShapeKind {
    /// Cycle- and shape-consistency.
    #[default]
    ShapeConsistency,
}

/// Which nets a run trains.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Phase {
    /// The segmentors on real volumes: the first pretraining, and the paper's baseline.
    Segmentors,
    /// The translators and discriminators, the segmentors being fixed: the second pretraining;
    /// without shape loss, what the paper's offline baseline translates by.
    Translators,
    /// All, by turns: the method.
    #[default]
    Joint,
    /// The segmentors on real and translated volumes, half each, the translators being fixed: the
    /// paper's offline baseline, ADA.
    Offline,
}

/// Weights of the losses.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ShapeLossConfig {
    /// On each adversarial loss.
    pub lambda_adversarial: f32,
    /// On each cycle loss; λ in the paper.
    pub lambda_cycle: f32,
    /// How a volume differs from what comes back of it.
    pub cycle: Difference,
    /// On each shape loss; γ in the paper.
    pub lambda_shape: f32,
    /// On 1 minus the normalised mutual information of each volume and its translation; see
    /// [`crate::loss::misalignment`].
    pub lambda_alignment: f32,
    /// On the distance between the directions of their gradients; see
    /// [`crate::loss::edge_difference`].
    pub lambda_edge: f32,
}

impl Default for ShapeLossConfig {
    /// The paper's.
    fn default() -> Self {
        Self {
            lambda_adversarial: 1.0,
            lambda_cycle: 10.0,
            cycle: Difference::L1,
            lambda_shape: 1.0,
            lambda_alignment: 0.0,
            lambda_edge: 0.0,
        }
    }
}

impl Default for ShapeRecipe {
    /// The joint training of the paper, from scratch; see `recipes/shape-consistency-joint.toml`.
    fn default() -> Self {
        Self {
            kind: ShapeKind::ShapeConsistency,
            phase: Phase::Joint,
            begin: Vec::new(),
            seed: 1,
            labelled: [1.0; 2],
            pool: 50,
            patience: 0,
            guard_every: 100,
            checkpoint_minutes: 5.0,
            optimizer: AdamConfig::default(),
            segmentor_optimizer: AdamConfig {
                beta1: 0.9,
                ..AdamConfig::default()
            },
            schedule: Schedule {
                constant_epochs: 50,
                decay_epochs: 50,
            },
            loss: ShapeLossConfig::default(),
            generator: Generator3dConfig::default(),
            discriminator: PatchGanConfig::default(),
            features: vec![16, 32, 64, 128],
            postprocess: PostprocessConfig::default(),
            plan: VolumePlanConfig::default(),
        }
    }
}

impl Readable for ShapeRecipe {
    fn template() -> Option<Self> {
        Some(Self::default())
    }

    fn check(self) -> Result<Self> {
        let positive = |value: f64| value.is_finite() && value > 0.0;
        let above_zero = [
            ("checkpoint_minutes", self.checkpoint_minutes),
            (
                "optimizer.learning_rate",
                self.optimizer.learning_rate.into(),
            ),
            (
                "segmentor_optimizer.learning_rate",
                self.segmentor_optimizer.learning_rate.into(),
            ),
            ("plan.spacing_mm", self.plan.spacing_mm),
        ];
        if let Some((key, found)) = above_zero.into_iter().find(|(_, v)| !positive(*v)) {
            return Err(wrong(key, "above 0", found));
        }
        if let Some(found) = self.labelled.into_iter().find(|s| !(0.0..=1.0).contains(s)) {
            return Err(wrong("labelled", "0 to 1 each", found));
        }
        let levels = self.features.len();
        if !(1..=8).contains(&levels) {
            return Err(wrong("features", "of 1 to 8 resolutions", levels));
        }
        let widths = self.features.iter().map(|f| ("features", *f)).chain([
            ("generator.width", self.generator.width),
            ("discriminator.width", self.discriminator.width),
        ]);
        let mut odd = widths.filter(|(_, w)| !(1..=4096).contains(w));
        if let Some((key, found)) = odd.next() {
            return Err(wrong(key, "1 to 4096", found));
        }
        Ok(self)
    }
}

impl ShapeRecipe {
    /// The segmentors: U-Nets without normalisation, max pool down, nearest up, two convolutions at
    /// each resolution.
    #[must_use]
    pub fn segmentor_net(&self) -> Net {
        let levels = self.features.len();
        let mut strides = vec![[2; 3]; levels];
        strides[0] = [1; 3];
        Net {
            kind: NetKind::NormFree,
            features: self.features.clone(),
            strides,
            kernels: vec![[3; 3]; levels],
            convs_per_stage: vec![2; levels],
            convs_per_stage_decoder: vec![2; levels - 1],
            deep_supervision: false,
        }
    }

    /// Sides of volumes are multiples of this: what both the translators and the segmentors take.
    #[must_use]
    pub fn multiple(&self) -> usize {
        let segmentor = 1 << (self.features.len() - 1);
        // Both are powers of two.
        crate::net::Generator3d::MULTIPLE.max(segmentor)
    }
}

/// Trains a new run.
///
/// # Errors
/// What reading the data gives, before anything is written; then as [`crate::fit::train()`].
pub fn start_shape(request: &Request<ShapeRecipe>, progress: &mut dyn Progress) -> Result<Summary> {
    launch(request, progress)
}

/// Goes on with an interrupted run as if it had not stopped; `budget` replaces the run's own.
///
/// # Errors
/// [`crate::Error::Run`] where the folder is no run or its data are gone; then as
/// [`crate::fit::train()`].
pub fn resume_shape(
    root: &Path,
    budget: Option<Budget>,
    processor: &Processor,
    progress: &mut dyn Progress,
) -> Result<Summary> {
    relaunch::<ShapeRecipe>(root, budget, processor, progress)
}

/// The method in training.
#[derive(Debug)]
struct ShapeConsistency {
    learner: Learner,
    volumes: [Volumes; 2],
    patience: Patience,
}

/// Whether the segmentation loss still falls from epoch to epoch.
#[derive(Debug, Clone, PartialEq)]
struct Patience {
    /// Epochs to wait; 0 for ever.
    limit: u32,
    /// Steps of an epoch.
    epoch: u64,
    sum: f32,
    best: f32,
    waited: u32,
}

impl Patience {
    fn new(limit: u32, epoch: usize) -> Self {
        Self {
            limit,
            epoch: epoch as u64,
            sum: 0.0,
            best: f32::INFINITY,
            waited: 0,
        }
    }

    /// Takes in the loss of a step, from 0.
    fn see(&mut self, step: u64, loss: f32) {
        self.sum += loss;
        if (step + 1).is_multiple_of(self.epoch) {
            let improves = self.sum < self.best;
            self.waited = if improves { 0 } else { self.waited + 1 };
            self.best = self.best.min(self.sum);
            self.sum = 0.0;
        }
    }

    fn is_over(&self) -> bool {
        self.limit > 0 && self.waited >= self.limit
    }

    fn state(&self) -> Named {
        Named {
            name: "patience".into(),
            shape: vec![3],
            values: vec![self.sum, self.best, self.waited as f32],
        }
    }

    fn restore(&mut self, state: &[Named]) {
        if let Some([sum, best, waited]) = state.first().map(|s| s.values.as_slice()) {
            (self.sum, self.best, self.waited) = (*sum, *best, *waited as u32);
        }
    }
}

impl Trainable for ShapeConsistency {
    fn step(&mut self, step: u64, rate: f32) -> Result<Losses> {
        let [source, target] = &self.volumes;
        let losses = self
            .learner
            .step([source.at(step), target.at(step)], step, rate);
        let of_segmentors = losses.iter().filter(|(name, _)| name.starts_with("segm"));
        let loss = of_segmentors.map(|(_, value)| value).sum();
        self.patience.see(step, loss);
        Ok(losses)
    }

    fn weights(&self) -> Vec<(String, Vec<Named>)> {
        self.learner.weights()
    }

    fn state(&self) -> Vec<(String, Vec<Named>)> {
        let mut state = self.learner.state();
        state.push(("patience".into(), vec![self.patience.state()]));
        state
    }

    fn restore(&mut self, state: &State, run: &RunFolder) -> Result<()> {
        self.learner.restore(state, run)?;
        self.patience.restore(state.arrays("patience", run.root())?);
        Ok(())
    }

    fn finished(&self) -> bool {
        self.patience.is_over()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn training_ends_when_the_loss_has_not_fallen_for_so_many_epochs() {
        let mut patience = Patience::new(2, 2);
        // Sums of epochs: 4, 3, 5, 3 (no lower), so two without a lower one.
        let losses = [2.0, 2.0, 1.0, 2.0, 3.0, 2.0, 1.0, 2.0];
        for (step, loss) in losses.into_iter().enumerate() {
            assert!(!patience.is_over(), "{step}");
            patience.see(step as u64, loss);
        }
        assert!(patience.is_over());
        let mut other = Patience::new(2, 2);
        other.restore(&[patience.state()]);
        assert_eq!(other, patience);
    }

    /// Counted by hand: 27 taps a pair of channels and a bias a feature, no norm.
    #[test]
    fn the_segmentor_has_no_normalisation() {
        let recipe = ShapeRecipe::default();
        let mut rng = crossmod_volume::rng::Rng::new(1, 0, 0);
        let net = recipe
            .segmentor_net()
            .init([1, 6], &mut rng, &crate::device::cpu());
        let pair = |ci: usize, co: usize| 27 * (ci * co + co * co) + 2 * co;
        let encoder = pair(1, 16) + pair(16, 32) + pair(32, 64) + pair(64, 128);
        let decoder = pair(192, 64) + pair(96, 32) + pair(48, 16);
        let found = burn::module::Module::num_params(&net);
        assert_eq!(found, encoder + decoder + 16 * 6 + 6);
        assert_eq!(recipe.multiple(), 8);
    }
}
