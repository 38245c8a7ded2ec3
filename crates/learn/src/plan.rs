//! What the data decide: working resolution, patch, and each modality's slices and intensities.
//!
//! The plan is written into the run as `plan.toml`, each choice with its reason; inference reads
//! it from there, so an image is prepared for a net in one way only.

use std::collections::{BTreeMap, BTreeSet};

use crossmod_volume::dataset::{Case, Dataset};
use crossmod_volume::intensity::Standardise;
use crossmod_volume::space::Orientation;
use crossmod_volume::{Grid, Image, io};
use serde::{Deserialize, Serialize};

use crate::net::PatchGanConfig;
use crate::segment::plan::Dims;
use crate::{Error, Result};

/// Most neighbours on either side of a slice.
const MOST_CONTEXT: usize = 15;

/// Choices a recipe makes for the planner.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PlanConfig {
    /// Largest side of a training patch, pixels. SynSeg-Net's is 256; the working spacing grows
    /// until the field of view fits. In 3-D it is the most slices of a patch, too, and wants to be
    /// smaller.
    pub max_patch: usize,
    /// Slices are held this much larger than the patch, and patches cropped from them at random:
    /// 286/256 in CycleGAN.
    pub margin: f32,
    /// What slices are brought to before patches are cropped from them.
    pub fit: Fit,
    /// HU that become -1 and 1 in CT: abdominal soft tissue by default, width 400 about 40.
    pub ct_window: [f32; 2],
    /// Percentiles that become -1 and 1 in every other modality.
    pub percentiles: [f64; 2],
    /// Whether the nets see and make slices, slices with their neighbours as channels, or volumes.
    pub dims: Dims,
}

impl Default for PlanConfig {
    /// CycleGAN's patch and margin (arXiv:1703.10593, §7.1).
    fn default() -> Self {
        Self {
            max_patch: 256,
            margin: 286.0 / 256.0,
            fit: Fit::Spacing,
            ct_window: [-160.0, 240.0],
            percentiles: [1.0, 99.0],
            dims: Dims::Two,
        }
    }
}

/// What slices are brought to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Fit {
    /// One spacing for all, so that anatomy has its true size; cropped or extended to one size.
    Spacing,
    /// One number of pixels for all, whatever their spacing, as SynSeg-Net's code does. For scans
    /// whose spacings cannot be trusted, or whose crops were scaled to the same anatomy.
    Slice,
}

/// How images are prepared for the nets of a run, and what their classes mean.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Plan {
    /// What slices are brought to.
    pub fit: Fit,
    /// In-plane distance between pixels in the nets, mm; not used by [`Fit::Slice`].
    pub spacing_mm: f64,
    /// Side of a training patch, pixels.
    pub patch: usize,
    /// Side of the slices that patches are cropped from, pixels.
    pub load: usize,
    /// Why, one sentence a choice.
    pub reasons: Vec<String>,
    /// What the nets see.
    pub dims: Dims,
    /// What volumes are cut into; none where the nets see slices.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub block: Option<Block>,
    /// The classes in the order of the segmentor's channels; the first is background.
    pub classes: Vec<Class>,
    /// The labelled modality.
    pub source: Option<Modality>,
    /// The modality to be segmented.
    pub target: Option<Modality>,
}

/// What nets of volumes are shown of one: consecutive slices, of the patch's side.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Block {
    /// How many slices.
    pub slices: usize,
    /// Distance between them, mm.
    pub spacing_mm: f64,
}

/// One class of the segmentor.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Class {
    /// Its value in label files.
    pub value: u16,
    /// Its name.
    pub name: String,
}

/// How the volumes of one modality become slices in [-1, 1].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Modality {
    /// Name of the channel.
    pub name: String,
    /// Which slices.
    pub slices: SliceAxis,
    /// How intensities are brought to [-1, 1].
    pub standardise: Standardise,
    /// Median over cases of the intensities that become -1 and 1: the scale of translated images.
    pub typical_bounds: (f32, f32),
}

/// The axis that slices are stacked along.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SliceAxis {
    /// The stored axis of the largest spacing, whatever it points to.
    Thickest,
    /// The stored axis nearest to the patient's long axis.
    Axial,
}

/// Which modality an image belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Domain {
    /// The labelled one.
    Source,
    /// The one to be segmented.
    Target,
}

impl SliceAxis {
    /// The orientation in which slices of `grid` lie along the third axis and display upright in
    /// radiological convention (left of the picture = patient's right, top = anterior or
    /// superior). In-plane axes keep the order right-left, front-back, foot-head.
    ///
    /// # Errors
    /// Never for a valid grid; where the orientation's code is not understood.
    pub fn orientation(self, grid: &Grid) -> Result<Orientation> {
        let codes = Orientation::of(grid).to_string();
        let spacing = grid.spacing_mm();
        let axial = codes.find(['S', 'I']).unwrap_or(2);
        let slice = match self {
            Self::Axial => axial,
            // Slices of a single picture lie along its empty axis.
            Self::Thickest => (0..3).find(|&a| grid.shape()[a] == 1).unwrap_or_else(|| {
                (0..3).fold(
                    axial,
                    |best, a| if spacing[a] > spacing[best] { a } else { best },
                )
            }),
        };
        let slice_code = codes.chars().nth(slice).unwrap_or('S');
        // In-plane towards Left, Posterior, Inferior; slices towards Right, Anterior, Superior.
        let in_plane = [["RL", "L"], ["AP", "P"], ["SI", "I"]];
        let mut letters: String = in_plane
            .iter()
            .filter(|[pair, _]| !pair.contains(slice_code))
            .map(|p| p[1])
            .collect();
        letters.push(match slice_code {
            'R' | 'L' => 'R',
            'A' | 'P' => 'A',
            _ => 'S',
        });
        Ok(letters.parse()?)
    }
}

/// The cases of one modality that a plan is made from.
#[derive(Debug, Clone, Copy)]
pub struct Sample<'a> {
    /// Their dataset.
    pub dataset: &'a Dataset,
    /// The cases that will be trained on.
    pub cases: &'a [Case],
}

impl<'a> Sample<'a> {
    /// All training cases of a dataset.
    #[must_use]
    pub fn of(dataset: &'a Dataset) -> Self {
        Self {
            dataset,
            cases: &dataset.training,
        }
    }
}

impl Plan {
    /// Plans for a source, a target, or both; classes come from the labelled one.
    ///
    /// # Errors
    /// [`Error::Recipe`] where more context is asked for than a plan may have; [`Error::Data`] where
    /// there is nothing to plan from; what reading the images gives.
    pub fn make(
        config: &PlanConfig,
        source: Option<Sample>,
        target: Option<Sample>,
        classes: &BTreeMap<u16, String>,
        multiple: usize,
    ) -> Result<Self> {
        let slices = config.dims.slices();
        if slices > 2 * MOST_CONTEXT + 1 {
            return Err(Error::Recipe(format!(
                "expected plan.dims.context from 0 to {MOST_CONTEXT}, found {}",
                slices / 2
            )));
        }
        let mut reasons = Vec::new();
        let source = source.map(|s| Survey::of(s, config)).transpose()?;
        let target = target.map(|s| Survey::of(s, config)).transpose()?;
        let surveys: Vec<&Survey> = source.iter().chain(&target).collect();
        let spacing = surveys.iter().map(|s| s.spacing_mm).fold(0.0, f64::max);
        let view = surveys
            .iter()
            .map(|s| s.field_of_view_mm)
            .fold(f64::INFINITY, f64::min);
        let fitted = spacing.max(view / config.max_patch as f64);
        // Rounded so that the plan reads well; 0.1 µm.
        let spacing_mm = (fitted * 1e4).ceil() / 1e4;
        let multiple = multiple.max(4);
        let (side, why) = match config.fit {
            Fit::Spacing => {
                reasons.push(if fitted > spacing {
                    format!(
                        "spacing {spacing_mm} mm: the field of view of {view:.0} mm fits \
                         max_patch = {}",
                        config.max_patch
                    )
                } else {
                    format!(
                        "spacing {spacing_mm} mm: the coarser modality's median in-plane spacing"
                    )
                });
                let side = (view / spacing_mm).round().max(1.0) as usize;
                (
                    side,
                    format!("the smaller median field of view ({view:.0} mm)"),
                )
            }
            Fit::Slice => (
                config.max_patch,
                "max_patch, as slices are scaled to it".into(),
            ),
        };
        let patch = side
            .next_multiple_of(multiple)
            .max(32.min(config.max_patch).next_multiple_of(multiple));
        reasons.push(format!(
            "patch {patch}: {why}, up to a multiple of {multiple}"
        ));
        let load = (patch as f32 * config.margin.max(1.0)).round() as usize;
        if slices > 1 {
            reasons.push(format!(
                "context: {slices} slices as channels, as asked for"
            ));
        }
        let block = (config.dims == Dims::Three).then(|| {
            let (block, why) = Block::of(&surveys, spacing_mm, config.max_patch, multiple);
            reasons.push(why);
            block
        });
        for survey in &surveys {
            reasons.extend(survey.reasons.iter().cloned());
        }
        let classes = classes
            .iter()
            .map(|(&value, name)| Class {
                value,
                name: name.clone(),
            })
            .collect::<Vec<_>>();
        Ok(Self {
            fit: config.fit,
            spacing_mm,
            patch,
            load,
            reasons,
            dims: config.dims,
            block,
            classes,
            source: source.map(|s| s.modality),
            target: target.map(|s| s.modality),
        })
    }

    /// Slices that are channels of one: itself and its neighbours.
    #[must_use]
    pub fn channels(&self) -> usize {
        self.dims.slices()
    }

    /// Neighbours on either side of a slice that are channels beside it.
    #[must_use]
    pub fn context(&self) -> usize {
        self.dims.slices() / 2
    }

    /// What is wrong with a plan that was read from a file, for nets whose image sides are
    /// multiples of `multiple` and of which one segments, where `segments`.
    pub(crate) fn check(&self, multiple: usize, segments: bool) -> std::result::Result<(), String> {
        let wrong = |key: &str, expected: String, found: String| {
            Err(format!("expected {key} to be {expected}, found {found}"))
        };
        if !(self.spacing_mm.is_finite() && self.spacing_mm > 0.0) {
            return wrong("spacing_mm", "above 0".into(), self.spacing_mm.to_string());
        }
        if self.patch == 0 || !self.patch.is_multiple_of(multiple) {
            let expected = format!("a multiple of {multiple} for these nets");
            return wrong("patch", expected, self.patch.to_string());
        }
        if !(self.patch..=1 << 14).contains(&self.load) {
            let expected = format!("the patch ({}) to 16384", self.patch);
            return wrong("load", expected, self.load.to_string());
        }
        if self.context() > MOST_CONTEXT {
            let expected = format!("0 to {MOST_CONTEXT}");
            return wrong("dims.context", expected, self.context().to_string());
        }
        match &self.block {
            None if self.dims == Dims::Three => {
                let expected = "the slices and the spacing_mm of volumes' patches".into();
                return wrong("block", expected, "none".into());
            }
            Some(_) if self.dims != Dims::Three => {
                return wrong(
                    "dims.kind",
                    "3d where there is a block".into(),
                    "slices".into(),
                );
            }
            Some(block) if !(block.spacing_mm.is_finite() && block.spacing_mm > 0.0) => {
                let found = block.spacing_mm.to_string();
                return wrong("block.spacing_mm", "above 0".into(), found);
            }
            Some(block)
                if !(1..=1 << 14).contains(&block.slices)
                    || !block.slices.is_multiple_of(multiple) =>
            {
                let expected = format!("a multiple of {multiple} up to 16384 for these nets");
                return wrong("block.slices", expected, block.slices.to_string());
            }
            _ => {}
        }
        if !segments {
            return Ok(());
        }
        let values: BTreeSet<u16> = self.classes.iter().map(|class| class.value).collect();
        if !(2..=255).contains(&values.len()) || values.len() != self.classes.len() {
            let found = format!("{} of {} values", self.classes.len(), values.len());
            return wrong("classes", "2 to 255 of different values".into(), found);
        }
        Ok(())
    }

    /// The modality of a domain.
    #[must_use]
    pub fn modality(&self, domain: Domain) -> Option<&Modality> {
        match domain {
            Domain::Source => self.source.as_ref(),
            Domain::Target => self.target.as_ref(),
        }
    }
}

impl Block {
    /// Slices no closer than the coarser modality's or than pixels are, and so many that the
    /// discriminator has something to judge; with the reason.
    fn of(surveys: &[&Survey], pixel_mm: f64, most: usize, multiple: usize) -> (Self, String) {
        let apart = surveys.iter().map(|s| s.slice_mm).fold(pixel_mm, f64::max);
        let extent = surveys
            .iter()
            .map(|s| s.extent_mm)
            .fold(f64::INFINITY, f64::min);
        let least = PatchGanConfig::MIN_SIDE.min(most);
        let fitted = apart.max(extent / most as f64).min(extent / least as f64);
        let spacing_mm = (fitted * 1e4).ceil() / 1e4;
        let slices = (extent / spacing_mm).round() as usize;
        let slices = slices.max(least).next_multiple_of(multiple);
        let why = format!(
            "blocks of {slices} slices {spacing_mm} mm apart: {extent:.0} mm, slices at least \
             {apart:.2} mm apart, {least} to {most} of them, up to a multiple of {multiple}"
        );
        (Self { slices, spacing_mm }, why)
    }
}

impl Modality {
    /// What the cases of a modality decide about it, and why.
    pub(crate) fn of(sample: Sample, config: &PlanConfig) -> Result<(Self, String)> {
        let survey = Survey::of(sample, config)?;
        // The first reason is about slices.
        let why = survey.reasons.last().cloned().unwrap_or_default();
        Ok((survey.modality, why))
    }
}

/// What the planner learns about one modality.
struct Survey {
    modality: Modality,
    spacing_mm: f64,
    field_of_view_mm: f64,
    /// Distance between slices.
    slice_mm: f64,
    /// From the first slice's edge to the last's.
    extent_mm: f64,
    reasons: Vec<String>,
}

/// Images read to find a modality's intensities; the first few, for speed.
const SAMPLED_IMAGES: usize = 8;

impl Survey {
    fn of(sample: Sample, config: &PlanConfig) -> Result<Self> {
        let grids = sample
            .cases
            .iter()
            .filter_map(|case| case.images.first())
            .map(|path| Ok(io::read_grid(path)?.0))
            .collect::<Result<Vec<Grid>>>()?;
        if grids.is_empty() {
            let message = "expected images to train on, found none; put them in imagesTr";
            return Err(Error::data(message, &sample.dataset.root));
        }
        let name = sample
            .dataset
            .channels
            .first()
            .cloned()
            .unwrap_or_else(|| "image".into());
        let anisotropy = median(grids.iter().map(|g| {
            let mut s = g.spacing_mm();
            s.sort_by(f64::total_cmp);
            s[2] / s[1]
        }));
        let (slices, why) = if anisotropy >= 1.5 {
            (
                SliceAxis::Thickest,
                format!("its spacings differ {anisotropy:.1}-fold"),
            )
        } else {
            (SliceAxis::Axial, "its spacings are nearly equal".to_owned())
        };
        let mut reasons = vec![format!("{name}: {slices:?} slices, as {why}").to_lowercase()];
        let mut spacings = Vec::new();
        let mut views = Vec::new();
        let (mut apart, mut extents) = (Vec::new(), Vec::new());
        for grid in &grids {
            let oriented = crossmod_volume::space::reoriented_grid(grid, slices.orientation(grid)?);
            let (spacing, shape) = (oriented.spacing_mm(), oriented.shape());
            spacings.push(spacing[0].max(spacing[1]));
            apart.push(spacing[2]);
            extents.push(spacing[2] * shape[2] as f64);
            views.push(
                (0..2)
                    .map(|a| spacing[a] * shape[a] as f64)
                    .fold(0.0, f64::max),
            );
        }
        let images = sample
            .cases
            .iter()
            .step_by(sample.cases.len().div_ceil(SAMPLED_IMAGES))
            .filter_map(|case| case.images.first())
            .map(|path| Ok(io::read_image(path)?))
            .collect::<Result<Vec<Image>>>()?;
        let (standardise, why) = choose_standardise(&name, &images, config);
        reasons.push(format!("{name}: {why}"));
        let bounds: Vec<(f32, f32)> = images.iter().map(|i| standardise.bounds(i)).collect();
        let typical = |f: fn(&(f32, f32)) -> f32| median(bounds.iter().map(|b| f64::from(f(b))));
        let typical_bounds = (typical(|b| b.0) as f32, typical(|b| b.1) as f32);
        Ok(Self {
            modality: Modality {
                name,
                slices,
                standardise,
                typical_bounds,
            },
            spacing_mm: median(spacings.into_iter()),
            field_of_view_mm: median(views.into_iter()),
            slice_mm: median(apart.into_iter()),
            extent_mm: median(extents.into_iter()),
            reasons,
        })
    }
}

/// A channel named CT is windowed where it holds HU, which air (below -200) tells.
fn choose_standardise(
    name: &str,
    images: &[Image],
    config: &PlanConfig,
) -> (Standardise, &'static str) {
    let named_ct = name
        .to_ascii_uppercase()
        .split(|c: char| !c.is_alphanumeric())
        .any(|w| w == "CT");
    let has_air = images.iter().any(|i| i.data().iter().any(|&v| v < -200.0));
    let [low, high] = config.ct_window;
    let percentiles = Standardise::Percentiles {
        low: config.percentiles[0],
        high: config.percentiles[1],
    };
    match (named_ct, has_air) {
        (true, true) => (
            Standardise::Window { low, high },
            "window in HU, as it is CT",
        ),
        (true, false) => (
            percentiles,
            "percentiles, as it is called CT but holds no HU of air",
        ),
        _ => (
            percentiles,
            "percentiles of each volume, as it has no scale of its own",
        ),
    }
}

fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut sorted: Vec<f64> = values.collect();
    sorted.sort_by(f64::total_cmp);
    match sorted.len() {
        0 => 0.0,
        n if n % 2 == 1 => sorted[n / 2],
        n => f64::midpoint(sorted[n / 2 - 1], sorted[n / 2]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn grid(codes: &str, shape: [usize; 3], spacing_mm: [f64; 3]) -> Grid {
        let plain = Grid::with_spacing([2; 3], [1.0; 3]).expect("a grid");
        let turned =
            crossmod_volume::space::reoriented_grid(&plain, codes.parse().expect("an orientation"));
        Grid::new(shape, stretched(&turned, spacing_mm)).expect("a grid")
    }

    /// The axes of `grid` stretched to `spacing_mm`.
    fn stretched(grid: &Grid, spacing_mm: [f64; 3]) -> glam::DMat4 {
        let mut affine = grid.world_from_voxel();
        for (axis, spacing) in spacing_mm.into_iter().enumerate() {
            *affine.col_mut(axis) *= spacing;
        }
        affine
    }

    fn orientation(axis: SliceAxis, codes: &str, shape: [usize; 3], spacing: [f64; 3]) -> String {
        axis.orientation(&grid(codes, shape, spacing))
            .expect("an orientation")
            .to_string()
    }

    #[test]
    fn slices_lie_upright_along_the_third_axis() {
        let cube = [9, 9, 9];
        for codes in ["RAS", "LPS", "PSR", "ILA"] {
            let found = orientation(SliceAxis::Axial, codes, cube, [1.0; 3]);
            assert_eq!(found, "LPS", "axial slices of {codes}");
        }
        // Short-axis cardiac stacks, stored one way or the other: the same picture comes out.
        let thick = [1.2, 1.2, 8.0];
        assert_eq!(orientation(SliceAxis::Thickest, "PSR", cube, thick), "PIR");
        assert_eq!(orientation(SliceAxis::Thickest, "LSP", cube, thick), "LIA");
        assert_eq!(
            orientation(SliceAxis::Thickest, "RAS", cube, [8.0, 1.2, 1.2]),
            "PIR"
        );
        // A picture has one slice, whatever its spacing says.
        assert_eq!(
            orientation(SliceAxis::Thickest, "LPS", [9, 9, 1], [2.0, 2.0, 1.0]),
            "LPS"
        );
    }

    /// What volumes are cut into, of two modalities' slices (mm apart, mm in all).
    #[test]
    fn blocks_have_slices_enough() {
        let survey = |slice_mm, extent_mm| Survey {
            modality: Modality {
                name: "MR".into(),
                slices: SliceAxis::Axial,
                standardise: Standardise::Percentiles {
                    low: 1.0,
                    high: 99.0,
                },
                typical_bounds: (0.0, 1.0),
            },
            spacing_mm: 1.0,
            field_of_view_mm: 1.0,
            slice_mm,
            extent_mm,
            reasons: Vec::new(),
        };
        let block = |surveys: &[Survey], pixel_mm, most| {
            let surveys: Vec<&Survey> = surveys.iter().collect();
            let (block, _) = Block::of(&surveys, pixel_mm, most, 8);
            (block.slices, block.spacing_mm)
        };
        // The coarser of both, as far as the shorter reaches.
        let both = [survey(2.0, 200.0), survey(4.0, 160.0)];
        assert_eq!(block(&both, 1.0, 64), (40, 4.0));
        // No closer than pixels are; no more than asked for.
        assert_eq!(block(&both, 5.0, 64), (32, 5.0));
        assert_eq!(block(&both, 1.0, 32), (32, 5.0));
        // Twelve thick slices are made 24, which a discriminator can judge.
        assert_eq!(block(&[survey(10.0, 120.0)], 1.0, 64), (24, 5.0));
    }

    #[test]
    fn only_ct_in_hu_is_windowed() {
        let image = |values: [f32; 2]| {
            let grid = Grid::with_spacing([2, 1, 1], [1.0; 3]).expect("a grid");
            [Image::new(grid, values.to_vec()).expect("an image")]
        };
        let config = PlanConfig::default();
        let choose = |name: &str, values| choose_standardise(name, &image(values), &config).0;
        let window = Standardise::Window {
            low: -160.0,
            high: 240.0,
        };
        assert_eq!(choose("CT", [-1000.0, 300.0]), window);
        assert_eq!(choose("low-dose ct", [-1000.0, 300.0]), window);
        for (name, values) in [
            ("CT", [0.0, 255.0]),
            ("T2", [-1000.0, 1.0]),
            ("oct", [-1e3, 1.0]),
        ] {
            let percentiles = Standardise::Percentiles {
                low: 1.0,
                high: 99.0,
            };
            assert_eq!(choose(name, values), percentiles, "{name}");
        }
    }

    #[test]
    fn the_median_of_even_and_odd_counts() {
        assert_eq!(median([3.0, 1.0, 2.0].into_iter()), 2.0);
        assert_eq!(median([4.0, 1.0, 2.0, 3.0].into_iter()), 2.5);
    }
}
