//! Recipes: what is trained, with every value and where it comes from.
//!
//! A recipe is a TOML file; the built-in ones are `recipes/*.toml`. The values left out are those
//! of the recipe it names as its `base`, and else of [`Recipe::default`]: SynSeg-Net as published (Huo et al., doi:10.1109/TMI.2018.2876633, and
//! the authors' code).

mod parse;
mod saved;
mod start;
mod supervised;
mod synseg;

use serde::{Deserialize, Serialize};

use crate::batch::AugmentConfig;
use crate::fit::{AdamConfig, Schedule};
use crate::net::{PatchGanConfig, ResNetConfig, SegmentorConfig};
use crate::plan::PlanConfig;

pub use parse::AnyRecipe;
pub(crate) use parse::{Readable, wrong};
pub use start::{Request, resume, start};
pub use supervised::Supervised;
pub use synseg::SynSeg;
pub(crate) use synseg::{Learner, scalar};

/// The built-in recipes: their names and texts.
pub const BUILT_IN: [(&str, &str); 7] = [
    ("synseg", include_str!("../../../recipes/synseg.toml")),
    ("segment", include_str!("../../../recipes/segment.toml")),
    (
        "source-only",
        include_str!("../../../recipes/source-only.toml"),
    ),
    (
        "target-supervised",
        include_str!("../../../recipes/target-supervised.toml"),
    ),
    (
        "synseg-small",
        include_str!("../../../recipes/synseg-small.toml"),
    ),
    (
        "source-only-small",
        include_str!("../../../recipes/source-only-small.toml"),
    ),
    (
        "target-supervised-small",
        include_str!("../../../recipes/target-supervised-small.toml"),
    ),
];

/// What is trained.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// Translators both ways and a segmentor of translated images, trained together.
    Synseg,
    /// The segmentor on labelled source images alone: what happens without adaptation.
    SourceOnly,
    /// The segmentor on labelled target images: what target labels would bring.
    TargetSupervised,
}

/// A training, resolved: every value that decides it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Recipe {
    /// What is trained.
    pub kind: Kind,
    /// Seed of every random draw.
    pub seed: u64,
    /// Patches a step from each domain; 4 in SynSeg-Net's code.
    pub batch: usize,
    /// Images kept of past translations, per domain; 50 in CycleGAN.
    pub pool: usize,
    /// Minutes between checkpoints.
    pub checkpoint_minutes: f64,
    /// The optimiser.
    pub optimizer: AdamConfig,
    /// How the learning rate falls.
    pub schedule: Schedule,
    /// Weights and kinds of losses.
    pub loss: LossConfig,
    /// Both translators.
    pub generator: ResNetConfig,
    /// Both discriminators.
    pub discriminator: PatchGanConfig,
    /// The segmentor.
    pub segmentor: SegmentorConfig,
    /// Random patches; drawn independently for the two domains.
    pub augment: AugmentConfig,
    /// How the data are prepared.
    pub plan: PlanConfig,
}

impl Default for Recipe {
    /// SynSeg-Net as published.
    fn default() -> Self {
        Self {
            kind: Kind::Synseg,
            seed: 1,
            batch: 4,
            pool: 50,
            checkpoint_minutes: 5.0,
            optimizer: AdamConfig::default(),
            schedule: Schedule::default(),
            loss: LossConfig::default(),
            generator: ResNetConfig::default(),
            discriminator: PatchGanConfig::default(),
            segmentor: SegmentorConfig::default(),
            augment: AugmentConfig::default(),
            plan: PlanConfig::default(),
        }
    }
}

/// Which segmentation loss.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SegmentationLoss {
    /// Weighted cross-entropy over the pixel count, as in the paper.
    CrossEntropy,
    /// Soft Dice of the foreground, the default of the authors' code.
    Dice,
    /// The sum of both, as nnU-Net.
    CrossEntropyDice,
}

/// Weights of the losses: λ1…λ5 of SynSeg-Net are 1, 1, 10, 10, 1.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LossConfig {
    /// On each adversarial loss (λ1, λ2).
    pub lambda_adversarial: f32,
    /// On each cycle loss (λ3, λ4).
    pub lambda_cycle: f32,
    /// On each identity loss, as a share of the cycle weight. 0 in SynSeg-Net, 0.5 in CycleGAN.
    pub lambda_identity: f32,
    /// On the segmentation loss (λ5).
    pub lambda_segmentation: f32,
    /// Which segmentation loss.
    pub segmentation: SegmentationLoss,
    /// Weight of each class in the cross-entropy, in order of label value; all 1 where empty.
    /// SynSeg-Net's for its seven abdominal classes are 1, 1, 10, 10, 1, 10, 1.
    pub class_weights: Vec<f32>,
}

impl Default for LossConfig {
    /// SynSeg-Net's λ (doi:10.1109/TMI.2018.2876633, eq. 6).
    fn default() -> Self {
        Self {
            lambda_adversarial: 1.0,
            lambda_cycle: 10.0,
            lambda_identity: 0.0,
            lambda_segmentation: 1.0,
            segmentation: SegmentationLoss::CrossEntropy,
            class_weights: Vec::new(),
        }
    }
}
