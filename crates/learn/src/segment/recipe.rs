//! The recipe of a segmenter that plans itself; `recipes/segment.toml`.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::plan::{Dims, PlanConfig};
use super::postprocess::PostprocessConfig;
use crate::batch::PatchConfig;
use crate::fit::{OptimizerConfig, Poly};
use crate::loss::PlannedLossConfig;
use crate::recipe::{Readable, wrong};
use crate::window::WindowConfig;
use crate::{Error, Result};

/// A supervised training, resolved: every value that decides it beside the plan.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SegmentRecipe {
    /// `segment`.
    pub kind: SegmentKind,
    /// Seed of every random draw.
    pub seed: u64,
    /// Folds that the cases are dealt into, patients kept together; 5 in nnU-Net.
    pub folds: usize,
    /// The fold that is kept for validation, from 0; `all` trains on every case.
    pub fold: Fold,
    /// Steps of an epoch, which are all there are without a budget: 250 in nnU-Net.
    pub steps_per_epoch: u64,
    /// The gradients' norm is cut to this; 12 in nnU-Net.
    pub clip: f32,
    /// Decay of the running mean of the weights, which is then what segments; 0 for none, as
    /// nnU-Net.
    pub average: f32,
    /// Minutes between checkpoints.
    pub checkpoint_minutes: f64,
    /// Whether the validation cases are segmented whole at the end, and what helps them chosen as
    /// post-processing.
    pub validate: bool,
    /// The optimiser.
    pub optimizer: OptimizerConfig,
    /// How the learning rate falls.
    pub schedule: Poly,
    /// When to stop early.
    pub stop: StopConfig,
    /// Weights and kinds of losses.
    pub loss: PlannedLossConfig,
    /// How patches are drawn and augmented.
    pub patches: PatchConfig,
    /// How whole volumes are segmented.
    pub window: WindowConfig,
    /// What is known of parts and holes; chosen by validation where nothing is stated.
    pub postprocess: PostprocessConfig,
    /// How the data are prepared, where no plan is given.
    pub plan: PlanConfig,
    /// A synthesis recipe, a preset's name or a TOML file, by which images are made of the source's
    /// label maps while training; the source needs no images then.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub synth: Option<String>,
    /// A run whose translator the source's images go through before they are trained on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub translate: Option<PathBuf>,
    /// Labelled datasets that are trained on as well, such as synthetic ones.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub mix: Vec<Mix>,
}

/// The one kind there is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SegmentKind {
    /// A segmenter of labelled scans.
    #[default]
    Segment,
}

/// Which cases are kept for validation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Fold {
    /// Those of this fold.
    Number(usize),
    /// None.
    All(All),
}

/// The word `all`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum All {
    /// Every case is trained on.
    All,
}

/// Stopping before the budget is spent, where validation patches are no longer segmented better.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct StopConfig {
    /// Checks without a better score after which training ends, the weights being those of the best
    /// one; 0 never checks.
    pub patience: u32,
    /// Steps between checks.
    pub every: u64,
    /// Batches of validation patches a check; 50 in nnU-Net.
    pub batches: u64,
}

impl Default for StopConfig {
    /// None, as nnU-Net; its checks otherwise.
    fn default() -> Self {
        Self {
            patience: 0,
            every: 250,
            batches: 50,
        }
    }
}

/// A labelled dataset that is trained on beside the first one.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Mix {
    /// Its folder.
    pub dataset: PathBuf,
    /// Its share of the patches; the first dataset has what the shares leave.
    pub share: f64,
    /// As [`SegmentRecipe::synth`], for this dataset.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub synth: Option<String>,
    /// As [`SegmentRecipe::translate`], for this dataset.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub translate: Option<PathBuf>,
}

impl Default for SegmentRecipe {
    /// nnU-Net's (Isensee et al., doi:10.1038/s41592-020-01008-z).
    fn default() -> Self {
        Self {
            kind: SegmentKind::Segment,
            seed: 1,
            folds: 5,
            fold: Fold::Number(0),
            steps_per_epoch: 250,
            clip: 12.0,
            average: 0.0,
            checkpoint_minutes: 5.0,
            validate: true,
            optimizer: OptimizerConfig::default(),
            schedule: Poly::default(),
            stop: StopConfig::default(),
            loss: PlannedLossConfig::default(),
            patches: PatchConfig::default(),
            window: WindowConfig::default(),
            postprocess: PostprocessConfig::default(),
            plan: PlanConfig::default(),
            synth: None,
            translate: None,
            mix: Vec::new(),
        }
    }
}

impl Readable for SegmentRecipe {
    fn template() -> Option<Self> {
        let mut full = Self::default();
        full.plan.dims = Some(Dims::TwoAndHalf { context: 1 });
        full.plan.ram_mb = Some(1);
        full.plan.vram_gb = Some(1.0);
        full.patches.rotation_deg = Some(1.0);
        full.patches.left_right = Some(0);
        full.window.batch = Some(1);
        full.synth = Some(String::new());
        full.translate = Some(PathBuf::new());
        full.window.ram_mb = Some(1);
        full.mix = vec![Mix {
            dataset: PathBuf::new(),
            share: 1.0,
            synth: None,
            translate: None,
        }];
        Some(full)
    }

    fn check(self) -> Result<Self> {
        if let Fold::Number(fold) = self.fold
            && (self.folds < 2 || fold >= self.folds)
        {
            let expected = format!(
                "all, or 0 to {} of {} folds",
                self.folds.max(2) - 1,
                self.folds
            );
            return Err(wrong("fold", &expected, fold));
        }
        let at_least_one = [
            ("steps_per_epoch", self.steps_per_epoch),
            ("schedule.epochs", self.schedule.epochs.into()),
            ("stop.every", self.stop.every),
            ("stop.batches", self.stop.batches),
        ];
        if let Some((key, found)) = at_least_one.into_iter().find(|(_, n)| *n == 0) {
            return Err(wrong(key, "at least 1", found));
        }
        let positive = |value: f64| value.is_finite() && value > 0.0;
        let above_zero = [
            ("checkpoint_minutes", self.checkpoint_minutes),
            ("clip", self.clip.into()),
            (
                "optimizer.learning_rate",
                self.optimizer.learning_rate().into(),
            ),
            ("window.step", self.window.step),
        ];
        if let Some((key, found)) = above_zero.into_iter().find(|(_, v)| !positive(*v)) {
            return Err(wrong(key, "above 0", found));
        }
        if self.window.step > 1.0 {
            return Err(wrong("window.step", "at most 1", self.window.step));
        }
        if !(0.0..1.0).contains(&self.average) {
            return Err(wrong("average", "0 or more and below 1", self.average));
        }
        if self.stop.patience > 0 && self.fold == Fold::All(All::All) {
            return Err(Error::Recipe(
                "expected a fold to validate on as stop.patience asks for, found fold = all; \
                 choose a fold or leave stop.patience at 0"
                    .into(),
            ));
        }
        let both = |synth: &Option<String>, translate: &Option<PathBuf>| {
            synth.is_some() && translate.is_some()
        };
        let mixed = self.mix.iter().any(|mix| both(&mix.synth, &mix.translate));
        if mixed || both(&self.synth, &self.translate) {
            return Err(Error::Recipe(
                "expected images that are synthesised or translated, found both for one dataset; \
                 leave synth or translate out"
                    .into(),
            ));
        }
        let shares: f64 = self.mix.iter().map(|mix| mix.share).sum();
        if !self.mix.iter().all(|mix| positive(mix.share)) || shares > 1.0 {
            let found = format!("{:?}", self.mix.iter().map(|m| m.share).collect::<Vec<_>>());
            return Err(wrong(
                "mix.share",
                "above 0 each and at most 1 in all",
                found,
            ));
        }
        Ok(self)
    }
}
