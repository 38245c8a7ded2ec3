//! Recipes: what is trained, with every value and where it comes from.
//!
//! A recipe is a TOML file; the built-in ones are `recipes/*.toml`. The values left out are those
//! of the recipe it names as its `base`, and else of [`Recipe::default`]: SynSeg-Net as published
//! (Huo et al., doi:10.1109/TMI.2018.2876633, and the authors' code).

mod any;
mod cut;
mod guard;
mod judge;
mod launch;
mod parse;
mod pseudo;
mod saved;
mod shape;
mod stages;
mod start;
pub(crate) mod structure;
mod supervised;
mod synseg;
mod verdict;

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::batch::AugmentConfig;
use crate::fit::{AdamConfig, Schedule};
use crate::loss::Difference;
use crate::net::{PatchGanConfig, ResNetConfig, SegmentorConfig};
use crate::plan::PlanConfig;
use crate::segment::PostprocessConfig;

pub use any::{AnyRequest, AnySummary, Task, resume_any, run_that, start_any};
pub use cut::{ContrastConfig, Cut};
pub use guard::GuardConfig;
pub use launch::Request;
pub use parse::AnyRecipe;
pub(crate) use parse::{Readable, wrong};
pub use pseudo::{PseudoKind, PseudoRecipe, PseudoSummary};
pub use shape::{
    Phase, ShapeKind, ShapeLossConfig, ShapeRecipe, VolumePlan, VolumePlanConfig, resume_shape,
    start_shape,
};
pub use stages::{Stage, StageSummary, StagesKind, StagesRecipe, StagesSummary};
use start::plain_labels;
pub use start::{resume, start};
pub use supervised::Supervised;
pub use synseg::SynSeg;
pub(crate) use synseg::{Learner, scalar};
pub use verdict::{Verdict, verdicts};

/// A recipe that is part of the program.
macro_rules! built_in {
    ($name:literal) => {
        (
            $name,
            include_str!(concat!("../../../recipes/", $name, ".toml")),
        )
    };
}

/// The built-in recipes: their names and texts.
pub const BUILT_IN: &[(&str, &str)] = &[
    built_in!("synseg"),
    built_in!("segment"),
    built_in!("cyclegan"),
    built_in!("cut"),
    built_in!("cut-two-stage"),
    built_in!("two-stage"),
    built_in!("essnet-liver"),
    built_in!("ssim-prostate"),
    built_in!("shape-consistency"),
    built_in!("shape-consistency-joint"),
    built_in!("self-train"),
    built_in!("labels-only"),
    built_in!("source-only"),
    built_in!("target-supervised"),
    built_in!("synseg-small"),
    built_in!("cyclegan-small"),
    built_in!("cut-small"),
    built_in!("cut-two-stage-small"),
    built_in!("two-stage-small"),
    built_in!("essnet-liver-small"),
    built_in!("ssim-prostate-small"),
    built_in!("shape-consistency-small"),
    built_in!("shape-offline-small"),
    built_in!("self-train-small"),
    built_in!("labels-only-small"),
    built_in!("source-only-small"),
    built_in!("target-supervised-small"),
];

/// What is trained.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// Translators both ways and a segmentor of translated images, trained together.
    Synseg,
    /// Translators both ways alone: CycleGAN.
    Cyclegan,
    /// A translator to the target alone: CUT.
    Cut,
    /// The segmentor on labelled source images as another run translates them: what training it
    /// with the translators is measured against.
    Translated,
    /// The segmentor on labelled source images alone: what happens without adaptation.
    SourceOnly,
    /// The segmentor on labelled target images: what target labels would bring.
    TargetSupervised,
}

impl Kind {
    /// Whether translators are trained.
    #[must_use]
    pub fn translates(self) -> bool {
        matches!(self, Self::Synseg | Self::Cyclegan | Self::Cut)
    }

    /// Whether a segmentor is trained.
    #[must_use]
    pub fn segments(self) -> bool {
        !matches!(self, Self::Cyclegan | Self::Cut)
    }
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
    /// How `cut` keeps translations to their images.
    pub contrast: ContrastConfig,
    /// Both translators.
    pub generator: ResNetConfig,
    /// Both discriminators.
    pub discriminator: PatchGanConfig,
    /// The segmentor.
    pub segmentor: SegmentorConfig,
    /// What is watched in translators.
    pub guard: GuardConfig,
    /// Random patches; drawn independently for the two domains.
    pub augment: AugmentConfig,
    /// What is known of parts and holes of what is segmented; not in the paper.
    pub postprocess: PostprocessConfig,
    /// How the data are prepared.
    pub plan: PlanConfig,
    /// The run whose translator the source's images go through before a segmentor is trained on
    /// them; for [`Kind::Translated`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub translate: Option<PathBuf>,
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
            contrast: ContrastConfig::default(),
            generator: ResNetConfig::default(),
            discriminator: PatchGanConfig::default(),
            segmentor: SegmentorConfig::default(),
            guard: GuardConfig::default(),
            augment: AugmentConfig::default(),
            postprocess: PostprocessConfig::default(),
            plan: PlanConfig::default(),
            translate: None,
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
    /// How an image differs from what comes back of it: `l1` in CycleGAN, `mse`, or `ssim`.
    pub cycle: Difference,
    /// On each identity loss, as a share of the cycle weight. 0 in SynSeg-Net, 0.5 in CycleGAN.
    pub lambda_identity: f32,
    /// On 1 minus the normalised mutual information of each image and its translation; 0.9 in
    /// DiCyc, 0 otherwise. See [`crate::loss::misalignment`].
    pub lambda_alignment: f32,
    /// On the distance between the directions of each image's and its translation's gradients; see
    /// [`crate::loss::edge_difference`].
    pub lambda_edge: f32,
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
            cycle: Difference::L1,
            lambda_identity: 0.0,
            lambda_alignment: 0.0,
            lambda_edge: 0.0,
            lambda_segmentation: 1.0,
            segmentation: SegmentationLoss::CrossEntropy,
            class_weights: Vec::new(),
        }
    }
}

impl LossConfig {
    /// The weights of the terms that tie a translation to its image: alignment and edges.
    fn ties(&self) -> [f32; 2] {
        [self.lambda_alignment, self.lambda_edge]
    }
}
