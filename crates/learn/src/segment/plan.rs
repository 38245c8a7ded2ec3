//! How a dataset is segmented: spacing, patch, net, normalisation; `plan.toml`.
//!
//! A plan is made from a [`Fingerprint`](super::Fingerprint) by the rules of nnU-Net (Isensee et
//! al., doi:10.1038/s41592-020-01008-z), each choice with its reason, and may be edited. Arrays and
//! all triples are `[z, y, x]` of the volume turned as [`Transpose`] says, spacings mm.
//!
//! | part | decides |
//! |---|---|
//! | `axes` | which way volumes are turned, which axes may be mirrored |
//! | `spacing` | the distance between voxels that all cases are brought to |
//! | `normalise` | how intensities are brought to the range of nets |
//! | `topology` | where the net halves its maps, and its kernels |
//! | `memory` | bytes and operations of a training step |
//! | `room` | the memory there is, and what a plan takes of it |
//! | `fit` | patch and batch within the memory |
//! | `join` | whether nets of several plans can be averaged |
//! | `why` | the reasons' words |
//! | `nnunet` | nnU-Net's `plans.json` |

mod axes;
mod fit;
mod join;
mod keys;
mod memory;
pub mod nnunet;
mod normalise;
mod room;
mod spacing;
mod topology;
mod why;

use std::fs;
use std::path::Path;

use crossmod_volume::dataset::Case;
use crossmod_volume::intensity::Normalise;
use crossmod_volume::io::write_atomic;
use crossmod_volume::space::Orientation;
use serde::{Deserialize, Serialize};

use crate::{Error, Result};

pub use memory::Cost;
#[cfg(test)]
pub(crate) use memory::cost;
pub(super) use normalise::holds_hu;

/// Longest plan read, bytes.
const LONGEST: u64 = 16 << 20;

/// What a plan is made for.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PlanConfig {
    /// Slices or volumes; 3-D where the data have a third axis if left out.
    pub dims: Option<Dims>,
    /// The net.
    pub kind: NetKind,
    /// Memory that training on the CPU may take, MB (10⁶ bytes); no limit if left out.
    pub ram_mb: Option<usize>,
    /// Memory of the graphics card that nnU-Net's own rule plans for, GB; no limit if left out.
    pub vram_gb: Option<f64>,
    /// Features of the finest stage.
    pub base_features: usize,
    /// The most features of a stage of a 2-D net.
    pub max_features_2d: usize,
    /// The most features of a stage of a 3-D net.
    pub max_features_3d: usize,
    /// The smallest side of the coarsest maps, voxels.
    pub min_edge: usize,
    /// The smallest batch.
    pub min_batch: usize,
    /// The largest share of the dataset's voxels in a batch.
    pub max_covered: f64,
    /// Multiply-adds as two operations that this machine does in a second while training, 10⁹.
    pub gflops: f64,
}

impl Default for PlanConfig {
    /// nnU-Net's (Isensee et al., doi:10.1038/s41592-020-01008-z, and its second version's planner),
    /// which aims at 8 GB. The speed is that of 3-D U-Nets on two cores in `doc/performance.md`.
    fn default() -> Self {
        Self {
            dims: None,
            kind: NetKind::PlainConv,
            ram_mb: Some(8000),
            vram_gb: None,
            base_features: 32,
            max_features_2d: 512,
            max_features_3d: 320,
            min_edge: 4,
            min_batch: 2,
            max_covered: 0.05,
            gflops: 180.0,
        }
    }
}

/// How a dataset is segmented.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SegmentationPlan {
    /// The dataset's name.
    pub dataset: String,
    /// Distances between voxel centres that cases are brought to. In 2-D and 2.5-D slices stay where
    /// they are: the first figure is then their median distance, for information.
    pub spacing_mm: [f64; 3],
    /// Voxels of a training patch; 1 slice in 2-D and 2.5-D.
    pub patch: [usize; 3],
    /// Patches of a training step.
    pub batch: usize,
    /// Whether Dice is taken over the batch as one volume, as where patches show little of a case.
    pub batch_dice: bool,
    /// Axes along which patches may be mirrored, of 0 (z), 1 (y) and 2 (x).
    pub mirror_axes: Vec<usize>,
    /// The label of voxels that no loss and no score counts.
    pub ignore: Option<u16>,
    /// Estimated peak of training's memory, MB (10⁶ bytes).
    pub ram_mb: usize,
    /// Median of the cases' shapes at [`Self::spacing_mm`].
    pub median_shape: [usize; 3],
    /// Why, one sentence a choice.
    pub reasons: Vec<String>,
    /// Slices or volumes.
    pub dims: Dims,
    /// Which way volumes are turned.
    pub transpose: Transpose,
    /// The net.
    pub net: Net,
    /// The channels in order.
    pub channels: Vec<Channel>,
    /// The classes in the order of the net's outputs, background first.
    pub classes: Vec<Class>,
}

/// One class.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Class {
    /// What is written where it is found.
    pub value: u16,
    /// Its name.
    pub name: String,
    /// The labels that it is made of, where it is a region; none where it is `value` alone.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub values: Vec<u16>,
}

impl Class {
    /// The class of one label.
    #[must_use]
    pub fn new(value: u16, name: &str) -> Self {
        Self {
            value,
            name: name.to_owned(),
            values: Vec::new(),
        }
    }

    /// The labels that it is made of.
    #[must_use]
    pub fn members(&self) -> &[u16] {
        if self.values.is_empty() {
            std::slice::from_ref(&self.value)
        } else {
            &self.values
        }
    }
}

/// One channel of the images.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Channel {
    /// Its name.
    pub name: String,
    /// How its intensities are prepared.
    pub normalisation: Normalise,
}

/// Whether a net sees slices or volumes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", deny_unknown_fields)]
pub enum Dims {
    /// Single slices.
    #[serde(rename = "2d")]
    Two,
    /// A slice and its neighbours as channels; the classes are those of the slice itself. Beyond
    /// the first and last slice, that one is repeated.
    #[serde(rename = "2.5d")]
    TwoAndHalf {
        /// Neighbours on each side: 2 · `context` + 1 slices in; 1 where left out.
        #[serde(default = "one")]
        context: usize,
    },
    /// Volumes.
    #[serde(rename = "3d")]
    Three,
}

fn one() -> usize {
    1
}

impl Dims {
    /// Slices that the net sees of each channel where the patch is one slice; 1 for volumes.
    #[must_use]
    pub fn slices(self) -> usize {
        match self {
            Self::TwoAndHalf { context } => 2 * context + 1,
            Self::Two | Self::Three => 1,
        }
    }

    /// The axes that patches extend along.
    pub(crate) fn axes(self) -> &'static [usize] {
        match self {
            Self::Three => &[0, 1, 2],
            Self::Two | Self::TwoAndHalf { .. } => &[1, 2],
        }
    }
}

/// Which way volumes are turned before anything else: first to an orientation, then their axes are
/// swapped so that the one of the thickest slices is z.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Transpose {
    /// Where x, y and z point to; as they are stored where left out, for data whose slices lie
    /// otherwise from case to case.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub orientation: Option<Orientation>,
    /// Which of the array's axes, 0 (z), 1 (y) or 2 (x), becomes z, y and x.
    pub forward: [usize; 3],
}

impl Transpose {
    /// Which axis of the turned array each stored one has become.
    #[must_use]
    pub fn backward(&self) -> [usize; 3] {
        [0, 1, 2].map(|axis| self.forward.iter().position(|&f| f == axis).unwrap_or(axis))
    }
}

/// An encoder and its decoder; lists go from the finest stage to the coarsest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Net {
    /// What the stages are made of.
    pub kind: NetKind,
    /// Features of each stage.
    pub features: Vec<usize>,
    /// By how much each stage's maps are smaller than those of the stage before: 1 or 2.
    pub strides: Vec<[usize; 3]>,
    /// The kernel of each stage's convolutions.
    pub kernels: Vec<[usize; 3]>,
    /// Convolutions, or residual blocks of two, of each stage of the encoder.
    pub convs_per_stage: Vec<usize>,
    /// The same of the decoder, as nnU-Net has them: one less, the coarsest first; 0 where a
    /// transposed convolution is all.
    pub convs_per_stage_decoder: Vec<usize>,
    /// Whether the coarser stages of the decoder are trained on coarser labels as well.
    pub deep_supervision: bool,
}

impl NetKind {
    /// Whether maps are pooled, and no norm follows a convolution.
    pub(crate) fn is_bare(self) -> bool {
        matches!(self, Self::NormFree | Self::ClassicUnet)
    }
}

/// What the stages of a net are made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum NetKind {
    /// Convolutions with instance norm and LeakyReLU; strided down, transposed up: nnU-Net's.
    #[default]
    PlainConv,
    /// nnU-Net's residual encoder and a decoder of one convolution a stage (Isensee et al.,
    /// arXiv:2404.09556).
    ResidualEncoder,
    /// Residual blocks down and up (after Drozdzal et al., arXiv:1608.04117).
    ResUnet,
    /// Convolutions without norm, max pool down, nearest up (Zhang, Yang and Zheng, CVPR 2018).
    NormFree,
    /// Convolutions without norm, max pool down, transposed up (Ronneberger et al.,
    /// arXiv:1505.04597, sizes kept).
    ClassicUnet,
    /// The translator of CycleGAN with one output a class (arXiv:1703.10593): two halvings, then
    /// residual blocks.
    Resnet9,
}

impl SegmentationPlan {
    /// Reads a plan, as it was written or edited since.
    ///
    /// # Errors
    /// [`Error::Run`] where the file is no plan, naming the right key nearest to a wrong one, or
    /// where it contradicts itself; what reading gives.
    pub fn load(path: &Path) -> Result<Self> {
        let text = text_of(path, LONGEST)?;
        Self::parse(&text).map_err(|message| Error::run(message, path))
    }

    fn parse(text: &str) -> std::result::Result<Self, String> {
        let table: toml::Table = text
            .parse()
            .map_err(|e| format!("expected TOML, found an error ({e}); correct it"))?;
        keys::check(&table)?;
        let plan: Self = table
            .try_into()
            .map_err(|e: toml::de::Error| format!("expected a plan, found an error: {e}"))?;
        plan.check()?;
        Ok(plan)
    }

    /// Writes `plan.toml`.
    ///
    /// # Errors
    /// Where it cannot be written; nothing is then left behind.
    pub fn save(&self, path: &Path) -> Result<()> {
        let text = self.text().map_err(|e| Error::Recipe(e.to_string()))?;
        Ok(write_atomic(path, |out| out.write_all(text.as_bytes()))?)
    }

    /// As TOML: triples on one line each, reasons on a line of their own each.
    fn text(&self) -> std::result::Result<String, toml::ser::Error> {
        #[derive(Serialize)]
        struct Reasons<'a> {
            reasons: &'a [String],
        }
        let bare = Self {
            reasons: Vec::new(),
            ..self.clone()
        };
        let reasons = toml::to_string_pretty(&Reasons {
            reasons: &self.reasons,
        })?;
        Ok(toml::to_string(&bare)?.replacen("reasons = []\n", &reasons, 1))
    }

    /// Channels that enter the net: those of the images, of each slice that it sees.
    #[must_use]
    pub fn in_channels(&self) -> usize {
        self.channels.len() * self.dims.slices()
    }

    /// Whether a class is made of several labels, so that classes may overlap.
    #[must_use]
    pub fn has_regions(&self) -> bool {
        self.classes.iter().any(|class| class.members().len() > 1)
    }

    /// Which of the classes were drawn in a case, the background always; `None` where all were.
    #[must_use]
    pub fn annotated(&self, case: &Case) -> Option<Vec<bool>> {
        let drawn = case.labelled.as_ref()?;
        let known = |class: &Class| class.value == 0 || drawn.contains(&class.value);
        Some(self.classes.iter().map(known).collect())
    }

    /// The factors that the patch's sides are multiples of.
    #[must_use]
    pub fn multiples(&self) -> [usize; 3] {
        self.net.multiples()
    }

    /// Memory and operations of a training step.
    #[must_use]
    pub fn cost(&self) -> Cost {
        memory::cost(
            &self.net,
            [self.in_channels(), self.classes.len()],
            self.patch,
            self.batch,
        )
    }

    /// What is wrong with the plan, said as its file's keys.
    ///
    /// # Errors
    /// The first thing found: what was expected of which key, and what it is.
    pub fn check(&self) -> std::result::Result<(), String> {
        let wrong = |key: &str, expected: String, found: String| {
            Err(format!(
                "expected {key} to be {expected}, found {found}; correct it"
            ))
        };
        if !self.spacing_mm.iter().all(|s| s.is_finite() && *s > 0.0) {
            return wrong(
                "spacing_mm",
                "above 0".into(),
                format!("{:?}", self.spacing_mm),
            );
        }
        let mut order = self.transpose.forward;
        order.sort_unstable();
        if order != [0, 1, 2] {
            let found = format!("{:?}", self.transpose.forward);
            return wrong(
                "transpose.forward",
                "0, 1 and 2 in some order".into(),
                found,
            );
        }
        self.net.check()?;
        let multiples = self.multiples();
        let suits = |axis: usize| {
            (1..=4096).contains(&self.patch[axis])
                && self.patch[axis].is_multiple_of(multiples[axis])
        };
        if !(0..3).all(suits) {
            let expected = format!("multiples of {multiples:?}, as net.strides ask, up to 4096");
            return wrong("patch", expected, format!("{:?}", self.patch));
        }
        if self.dims != Dims::Three && (self.patch[0] != 1 || self.net.is_deep()) {
            let found = format!("{:?} with strides {:?}", self.patch, self.net.strides);
            return wrong(
                "patch",
                "one slice, not halved, in 2-D and 2.5-D".into(),
                found,
            );
        }
        if self.dims.slices() > 255 {
            return wrong(
                "dims.context",
                "at most 127".into(),
                format!("{:?}", self.dims),
            );
        }
        if !(1..=4096).contains(&self.batch) {
            return wrong("batch", "1 to 4096".into(), self.batch.to_string());
        }
        if self
            .mirror_axes
            .iter()
            .any(|axis| !self.dims.axes().contains(axis))
        {
            let expected = format!("of {:?}", self.dims.axes());
            return wrong("mirror_axes", expected, format!("{:?}", self.mirror_axes));
        }
        if !(1..=255).contains(&self.channels.len()) {
            return wrong(
                "channels",
                "1 to 255".into(),
                self.channels.len().to_string(),
            );
        }
        self.check_classes()
    }

    fn check_classes(&self) -> std::result::Result<(), String> {
        let found = |what: String| {
            Err(format!(
                "expected classes to be background and at least one more, each value once, found \
                 {what}; correct them"
            ))
        };
        let mut values: Vec<u16> = self.classes.iter().map(|class| class.value).collect();
        if values.first() != Some(&0) || values.len() < 2 {
            return found(format!("{values:?}"));
        }
        values.extend(self.ignore);
        let count = values.len();
        values.sort_unstable();
        values.dedup();
        if values.len() != count {
            return found("a value twice, or the one to ignore".into());
        }
        let unfit = |value: &u16| *value == 0 || Some(*value) == self.ignore;
        match self
            .classes
            .iter()
            .skip(1)
            .find(|c| c.members().iter().any(unfit))
        {
            Some(class) => found(format!(
                "the background or the label to ignore among the values of \"{}\"",
                class.name
            )),
            None => Ok(()),
        }
    }
}

impl Net {
    /// The factors that a patch's sides are multiples of.
    #[must_use]
    pub fn multiples(&self) -> [usize; 3] {
        let product = |axis| self.strides.iter().map(|s| s[axis]).product();
        [0, 1, 2].map(product)
    }

    /// Whether the decoder's maps of a stage are turned into logits: those of the finest, and under
    /// deep supervision all but the coarsest, to which nnU-Net gives no weight.
    #[must_use]
    pub fn supervises(&self, stage: usize) -> bool {
        stage == 0 || self.deep_supervision && stage + 2 < self.features.len()
    }

    /// The kernel that turns maps into logits.
    #[must_use]
    pub(crate) fn head_kernel(&self) -> [usize; 3] {
        match self.kind {
            NetKind::Resnet9 => self.kernels[0],
            _ => [1; 3],
        }
    }

    /// Whether anything happens along the first axis.
    fn is_deep(&self) -> bool {
        self.strides
            .iter()
            .chain(&self.kernels)
            .any(|along| along[0] != 1)
    }

    fn check(&self) -> std::result::Result<(), String> {
        let stages = self.features.len();
        let wrong = |key: &str, expected: String, found: String| {
            Err(format!(
                "expected net.{key} to be {expected}, found {found}; correct it"
            ))
        };
        if !(1..=12).contains(&stages) {
            return wrong("features", "of 1 to 12 stages".into(), stages.to_string());
        }
        let lengths = [
            ("strides", self.strides.len(), stages),
            ("kernels", self.kernels.len(), stages),
            ("convs_per_stage", self.convs_per_stage.len(), stages),
            (
                "convs_per_stage_decoder",
                self.convs_per_stage_decoder.len(),
                stages - 1,
            ),
        ];
        if let Some((key, found, wanted)) = lengths.into_iter().find(|(_, f, w)| f != w) {
            return wrong(key, format!("of {wanted} stages"), found.to_string());
        }
        if !self.features.iter().all(|f| (1..=4096).contains(f)) {
            return wrong(
                "features",
                "1 to 4096 each".into(),
                format!("{:?}", self.features),
            );
        }
        if !self.strides.iter().flatten().all(|s| (1..=2).contains(s)) || self.strides[0] != [1; 3]
        {
            let found = format!("{:?}", self.strides);
            return wrong("strides", "1 or 2, and 1 in the first stage".into(), found);
        }
        if !self.kernels.iter().flatten().all(|k| k % 2 == 1 && *k <= 7) {
            return wrong(
                "kernels",
                "1, 3, 5 or 7".into(),
                format!("{:?}", self.kernels),
            );
        }
        let least = usize::from(self.kind != NetKind::Resnet9);
        let convs = [
            ("convs_per_stage", &self.convs_per_stage, 1),
            (
                "convs_per_stage_decoder",
                &self.convs_per_stage_decoder,
                least,
            ),
        ];
        for (key, found, least) in convs {
            if !found.iter().all(|n| (least..=64).contains(n)) {
                return wrong(key, format!("{least} to 64 each"), format!("{found:?}"));
            }
        }
        Ok(())
    }
}

/// The text of a file of at most `longest` bytes.
pub(super) fn text_of(path: &Path, longest: u64) -> Result<String> {
    let found = fs::metadata(path)
        .map_err(|e| Error::io("read", e, path))?
        .len();
    if found > longest {
        let message = format!("expected at most {longest} bytes, found {found}");
        return Err(Error::run(message, path));
    }
    fs::read_to_string(path).map_err(|e| Error::io("read", e, path))
}

#[cfg(test)]
mod tests;
