//! A case as a plan's net sees it, and the way back.
//!
//! The steps and their order are nnU-Net's (Isensee et al., doi:10.1038/s41592-020-01008-z, its
//! second version): the volume is turned as the plan says, cut to the smallest box outside which
//! every channel is 0, normalised channel by channel, and brought to the plan's spacing, images by
//! cubic splines and labels by the largest linear share, across thick slices both by the nearest.
//! A net's probabilities go back by linear interpolation and become labels before anything else
//! is undone; what was cut away is background.
//!
//! | grid | is |
//! |---|---|
//! | stored | that of the files |
//! | turned | the stored one, its axes swapped and reversed |
//! | cut | a box of the turned one |
//! | working | the cut one at the plan's spacing, outer corners kept: what nets see |
//!
//! Grids are (x, y, z) with x fastest, so that a working image's samples are the array
//! `[z][y][x]` of the plan. Nothing is copied where nothing changes: beside the channels given, at
//! most one copy of one channel is held.

use std::ops::Range;
use std::path::PathBuf;

use crossmod_synth::Scene;
use crossmod_volume::intensity::Normalise;
use crossmod_volume::shape::{Extent, fill_holes};
use crossmod_volume::space::{
    AlignedSlices, Certainty, Cut, Decision, Frame, Interpolation, Orientation,
    aligned_interpolation, argmax_onto, grid_with_shape, regions_onto, reorient_image,
    reorient_labels, reoriented_grid, resample_aligned, resample_labels_aligned,
};
use crossmod_volume::{Grid, Image, Labels, io};

use super::plan::{Dims, SegmentationPlan, Transpose};
use crate::{Error, Result};

/// Channels whose corners lie further apart than this, in voxels, show different places.
const APART_VOX: f64 = 0.5;

/// Most voxels of a working grid: 32 GiB of `f32`.
const MOST_VOXELS: f64 = 8_589_934_592.0;

/// A case as a plan's net sees it.
#[derive(Debug, Clone)]
pub struct Prepared {
    /// One image per channel of the plan, all on the working grid, normalised. May be taken out
    /// once the net has seen them: the way back does not need them.
    pub channels: Vec<Image>,
    turn: Turn,
    cut: Cut,
    working: Grid,
}

impl SegmentationPlan {
    /// Prepares a case, given its channels in the plan's order.
    ///
    /// # Errors
    /// Where there are more or fewer channels than the plan has, they do not lie on one grid, or
    /// the plan's spacing is so small that the working grid could not be held.
    pub fn prepare(&self, mut channels: Vec<Image>) -> Result<Prepared> {
        let grid = self.one_grid(&channels)?;
        let turn = Turn::new(&grid, &self.transpose)?;
        for channel in &mut channels {
            replace(channel, |image| turn.image(image))?;
        }
        let all: Vec<&Image> = channels.iter().collect();
        let frame = Frame::of_nonzero(&all).unwrap_or_else(|| Frame::whole(&turn.turned));
        let cut = Cut::new(&turn.turned, frame)?;
        if frame != Frame::whole(&turn.turned) {
            for channel in &mut channels {
                replace(channel, |image| Ok(cut.image(&image, 0.0)))?;
            }
        }
        self.normalise(&mut channels)?;
        let working = self.working(cut.to())?;
        let by = interpolation(cut.to(), &working, Interpolation::Cubic);
        for channel in &mut channels {
            // Channels may differ by rounding in their affines.
            replace(channel, |image| {
                let image = Image::new(cut.to().clone(), image.into_parts().1)?;
                Ok(resample_aligned(image, &working, by)?)
            })?;
        }
        Ok(Prepared {
            channels,
            turn,
            cut,
            working,
        })
    }

    /// Brings what images are made of onto the grid that the plan's net sees, uncut.
    ///
    /// # Errors
    /// Where the plan's spacing is so small that the grid could not be held.
    pub fn scene(&self, scene: Scene) -> Result<Scene> {
        let turn = Turn::new(scene.grid(), &self.transpose)?;
        let labels = turn.labels(&scene.labels)?;
        let scan = scene.scan.map(|scan| turn.image(scan)).transpose()?;
        let turned = labels.grid().clone();
        let working = self.working(&turned)?;
        let by = interpolation(&turned, &working, Interpolation::Linear);
        Ok(Scene {
            labels: resample_labels_aligned(&labels, &working, by)?,
            scan: scan
                .map(|scan| resample_aligned(scan, &working, by))
                .transpose()?,
            image: None,
            patch: None,
            ..scene
        })
    }

    /// The first channel's grid, if the others lie on it.
    fn one_grid(&self, channels: &[Image]) -> Result<Grid> {
        let Some(first) = channels
            .first()
            .filter(|_| channels.len() == self.channels.len())
        else {
            let names: Vec<&str> = self.channels.iter().map(|c| c.name.as_str()).collect();
            return Err(geometry(format!(
                "expected {} channels ({}), found {}",
                names.len(),
                names.join(", "),
                channels.len()
            )));
        };
        for (channel, image) in self.channels.iter().zip(channels) {
            if let Some(found) = difference(first.grid(), image.grid()) {
                return Err(geometry(format!(
                    "expected channel {} on the grid of the first, found {found}; resample it",
                    channel.name
                )));
            }
        }
        Ok(first.grid().clone())
    }

    /// Normalises channels on one grid, cut to what is not 0.
    fn normalise(&self, channels: &mut [Image]) -> Result<()> {
        let masked = self.channels.iter().any(|channel| {
            channel.normalisation
                == Normalise::ZScore {
                    within_nonzero: true,
                }
        });
        let inside = if masked {
            let shown = shown(channels)?;
            Some(
                shown
                    .data()
                    .iter()
                    .map(|&label| label == 1)
                    .collect::<Vec<bool>>(),
            )
        } else {
            None
        };
        for (image, channel) in channels.iter_mut().zip(&self.channels) {
            let values = image.data_mut();
            channel.normalisation.apply(values, inside.as_deref());
            if channel.normalisation == Normalise::None {
                // Splines would carry one value that is not finite along its whole line.
                let odd = values.iter_mut().filter(|v| !v.is_finite());
                odd.for_each(|v| *v = 0.0);
            }
        }
        Ok(())
    }

    /// The grid at the plan's spacing, of as many voxels as nnU-Net gives it.
    fn working(&self, cut: &Grid) -> Result<Grid> {
        let (old, shape) = (cut.spacing_mm(), cut.shape());
        let [z, y, x] = self.spacing_mm;
        let new = match self.dims {
            Dims::Three => [x, y, z],
            Dims::Two | Dims::TwoAndHalf { .. } => [x, y, old[2]],
        };
        let voxels = [0, 1, 2].map(|axis| {
            let size = old[axis] / new[axis] * shape[axis] as f64;
            size.round_ties_even().max(1.0)
        });
        if voxels.iter().product::<f64>() > MOST_VOXELS {
            return Err(geometry(format!(
                "expected a volume of at most {MOST_VOXELS} voxels at the plan's spacing, found \
                 {voxels:?}; enlarge spacing_mm in plan.toml"
            )));
        }
        let voxels = voxels.map(|n| n as usize);
        if voxels == shape {
            return Ok(cut.clone());
        }
        Ok(grid_with_shape(cut, voxels)?)
    }
}

impl Prepared {
    /// The working grid.
    #[must_use]
    pub fn grid(&self) -> &Grid {
        &self.working
    }

    /// The grid of the files.
    #[must_use]
    pub fn stored(&self) -> &Grid {
        &self.turn.stored
    }

    /// A label map of the case on the working grid; its values are kept.
    ///
    /// # Errors
    /// Where its shape is not that of the case's images.
    pub fn labels(&self, labels: &Labels) -> Result<Labels> {
        let expected = self.turn.stored.shape();
        if labels.grid().shape() != expected {
            return Err(geometry(format!(
                "expected a label map of its image's shape {expected:?}, found {:?}; run \
                 crossmod check",
                labels.grid().shape()
            )));
        }
        let turned = self.turn.labels(labels)?;
        let cut = self.cut.labels(&turned, 0);
        drop(turned);
        let by = interpolation(cut.grid(), &self.working, Interpolation::Linear);
        Ok(resample_labels_aligned(&cut, &self.working, by)?)
    }

    /// Labels on the files' grid from the net's probabilities on the working grid, and how certain
    /// they are where that is asked for: what was cut away is certainly background.
    ///
    /// `read(output, slices, out)` fills `out` with one of the net's outputs in those slices; see
    /// [`argmax_onto`] for the order in which it is asked. A net has one output per class of the
    /// plan; or, where classes are regions that may overlap, one per class but background, each
    /// decided for itself and a later class written over an earlier ([`regions_onto`]).
    ///
    /// # Errors
    /// What `read` gives.
    pub fn decide(
        &self,
        plan: &SegmentationPlan,
        certainty: Certainty,
        read: impl FnMut(usize, Range<usize>, &mut [f32]) -> Result<()>,
    ) -> Result<Decision> {
        self.decide_on(&self.working, plan, certainty, read)
    }

    /// As [`Prepared::decide`], from probabilities on the cut grid.
    pub(crate) fn decide_cut(
        &self,
        plan: &SegmentationPlan,
        certainty: Certainty,
        read: impl FnMut(usize, Range<usize>, &mut [f32]) -> Result<()>,
    ) -> Result<Decision> {
        self.decide_on(self.cut.to(), plan, certainty, read)
    }

    fn decide_on(
        &self,
        source: &Grid,
        plan: &SegmentationPlan,
        certainty: Certainty,
        read: impl FnMut(usize, Range<usize>, &mut [f32]) -> Result<()>,
    ) -> Result<Decision> {
        let target = self.cut.to();
        let by = interpolation(target, source, Interpolation::Linear);
        let n = plan.classes.len();
        let mut decided = if plan.has_regions() {
            regions_onto(source, target, by, n - 1, certainty, read)?
        } else {
            argmax_onto(source, target, by, n, certainty, read)?
        };
        for label in decided.labels.data_mut() {
            *label = plan.classes[usize::from(*label)].value;
        }
        let certain = if certainty == Certainty::Winner {
            1.0
        } else {
            0.0
        };
        let whole = self.cut.frame() == Frame::whole(self.cut.from());
        let mut labels = decided.labels;
        if !whole {
            labels = self.cut.undo_labels(&labels, 0);
        }
        let told = match decided.certainty {
            Some(told) if whole => Some(self.turn.undo_image(told)?),
            Some(told) => Some(self.turn.undo_image(self.cut.undo_image(&told, certain))?),
            None => None,
        };
        Ok(Decision {
            labels: self.turn.undo_labels(labels)?,
            certainty: told,
        })
    }

    /// One of the net's outputs, given whole on the working grid, on the files' grid; `outside`
    /// where the volume was cut away.
    ///
    /// # Errors
    /// Where there are not as many values as the working grid has voxels.
    pub fn restore(&self, values: Vec<f32>, outside: f32) -> Result<Image> {
        let target = self.cut.to();
        let by = interpolation(target, &self.working, Interpolation::Linear);
        let image = resample_aligned(Image::new(self.working.clone(), values)?, target, by)?;
        self.uncut(image, outside)
    }

    /// The same of values on the cut grid.
    pub(crate) fn restore_cut(&self, values: Vec<f32>, outside: f32) -> Result<Image> {
        self.uncut(Image::new(self.cut.to().clone(), values)?, outside)
    }

    fn uncut(&self, image: Image, outside: f32) -> Result<Image> {
        if self.cut.frame() == Frame::whole(self.cut.from()) {
            return self.turn.undo_image(image);
        }
        self.turn.undo_image(self.cut.undo_image(&image, outside))
    }
}

/// What preparations of one case by several plans share: the cut grid, if they turn it alike.
impl Prepared {
    /// The cut grid.
    pub(crate) fn cut_grid(&self) -> &Grid {
        self.cut.to()
    }

    /// Whether both turn the volume the same way, so that they cut it alike.
    pub(crate) fn turns_as(&self, other: &Self) -> bool {
        self.turn.orientations == other.turn.orientations
    }

    /// The way from the working grid to the cut one, slices at a time.
    pub(crate) fn onto_cut(&self) -> Result<AlignedSlices> {
        let (source, target) = (&self.working, self.cut.to());
        let by = interpolation(target, source, Interpolation::Linear);
        Ok(AlignedSlices::between(source, target, by)?)
    }

    /// The values of an image on the files' grid on the cut one.
    pub(crate) fn to_cut(&self, image: Image) -> Result<Vec<f32>> {
        let turned = self.turn.image(image)?;
        if self.cut.frame() == Frame::whole(self.cut.from()) {
            return Ok(into(turned));
        }
        Ok(into(self.cut.image(&turned, 0.0)))
    }
}

/// Reads a case's channel files, which must lie on one grid.
///
/// # Errors
/// What reading gives; [`Error::Data`] naming the first file that lies elsewhere than the first.
pub fn read_channels(paths: &[PathBuf]) -> Result<Vec<Image>> {
    let mut images: Vec<Image> = Vec::with_capacity(paths.len());
    for path in paths {
        let image = io::read_image(path)?;
        if let Some(first) = images.first()
            && let Some(found) = difference(first.grid(), image.grid())
        {
            let name = paths[0].file_name().unwrap_or_default().to_string_lossy();
            return Err(Error::data(
                format!("expected the grid of {name}, found {found}; resample it onto that grid"),
                path,
            ));
        }
        images.push(image);
    }
    Ok(images)
}

/// How a grid differs from another, if it does.
fn difference(expected: &Grid, found: &Grid) -> Option<String> {
    let [a, b] = [expected.shape(), found.shape()];
    if a != b {
        return Some(format!("{b:?} voxels instead of {a:?}"));
    }
    let smallest = expected.spacing_mm().into_iter().fold(f64::MAX, f64::min);
    (!expected.matches(found, APART_VOX * smallest))
        .then(|| "another affine, more than half a voxel away".to_owned())
}

/// How to go along each axis between the cut grid and the working one: along an axis whose voxels
/// stay, nothing is interpolated.
fn interpolation(cut: &Grid, working: &Grid, within: Interpolation) -> [Interpolation; 3] {
    let mut by = aligned_interpolation(cut, working, within);
    for (axis, by) in by.iter_mut().enumerate() {
        if cut.shape()[axis] == working.shape()[axis] {
            *by = Interpolation::Nearest;
        }
    }
    by
}

/// 1 where some channel is not 0, holes filled.
pub(super) fn shown(channels: &[Image]) -> Result<Labels> {
    let grid = channels[0].grid();
    let mut mask = vec![0; grid.len()];
    for channel in channels {
        for (shown, v) in mask.iter_mut().zip(channel.data()) {
            *shown |= u16::from(*v != 0.0 && !v.is_nan());
        }
    }
    let mut mask = Labels::new(grid.clone(), mask)?;
    fill_holes(&mut mask, |label| label == 1, 1, Extent::Volume);
    Ok(mask)
}

/// Replaces a channel without holding the old one longer than needed.
fn replace(channel: &mut Image, by: impl FnOnce(Image) -> Result<Image>) -> Result<()> {
    let nothing = Image::new(Grid::with_spacing([1; 3], [1.0; 3])?, vec![0.0])?;
    *channel = by(std::mem::replace(channel, nothing))?;
    Ok(())
}

fn geometry(message: String) -> Error {
    crossmod_volume::Error::Geometry(message).into()
}

/// The way from the stored grid to the turned one and back.
///
/// [`Orientation::of`] an oblique grid can name another of two directions once the axes are
/// swapped, so turning goes by grids of the same directions that run along the world's axes.
#[derive(Debug, Clone)]
struct Turn {
    stored: Grid,
    turned: Grid,
    /// From and to; the same where nothing turns.
    orientations: [Orientation; 2],
}

impl Turn {
    fn new(stored: &Grid, transpose: &Transpose) -> Result<Self> {
        let from = Orientation::of(stored);
        let letters: Vec<char> = transpose
            .orientation
            .unwrap_or(from)
            .to_string()
            .chars()
            .collect();
        // The array's axes, which `forward` counts, run z, y, x; the letters x, y, z.
        let new: String = [0, 1, 2]
            .map(|axis| letters[2 - transpose.forward[2 - axis]])
            .iter()
            .collect();
        let to: Orientation = new.parse()?;
        Ok(Self {
            stored: stored.clone(),
            turned: reoriented_grid(stored, to),
            orientations: [from, to],
        })
    }

    fn is_none(&self) -> bool {
        self.orientations[0] == self.orientations[1]
    }

    fn image(&self, image: Image) -> Result<Image> {
        if self.is_none() {
            return Ok(image);
        }
        let upright = Image::new(upright(&self.stored, self.orientations[0])?, into(image))?;
        let turned = reorient_image(&upright, self.orientations[1]);
        Ok(Image::new(self.turned.clone(), into(turned))?)
    }

    fn undo_image(&self, image: Image) -> Result<Image> {
        if self.is_none() {
            return Ok(Image::new(self.stored.clone(), into(image))?);
        }
        let upright = Image::new(upright(&self.turned, self.orientations[1])?, into(image))?;
        let back = reorient_image(&upright, self.orientations[0]);
        Ok(Image::new(self.stored.clone(), into(back))?)
    }

    fn labels(&self, labels: &Labels) -> Result<Labels> {
        let [from, to] = self.orientations;
        let upright = Labels::new(upright(&self.stored, from)?, labels.data().to_vec())?;
        let turned = if from == to {
            upright
        } else {
            reorient_labels(&upright, to)
        };
        Ok(Labels::new(self.turned.clone(), turned.into_parts().1)?)
    }

    fn undo_labels(&self, labels: Labels) -> Result<Labels> {
        let [from, to] = self.orientations;
        let labels = Labels::new(upright(&self.turned, to)?, labels.into_parts().1)?;
        let back = if from == to {
            labels
        } else {
            reorient_labels(&labels, from)
        };
        Ok(Labels::new(self.stored.clone(), back.into_parts().1)?)
    }
}

fn into(image: Image) -> Vec<f32> {
    image.into_parts().1
}

/// A grid of the same shape whose axes run along the world's in the given orientation.
fn upright(grid: &Grid, orientation: Orientation) -> Result<Grid> {
    let mut world = [1; 3];
    for (letter, n) in orientation.to_string().chars().zip(grid.shape()) {
        let axis = match letter {
            'R' | 'L' => 0,
            'A' | 'P' => 1,
            _ => 2,
        };
        world[axis] = n;
    }
    let along = Grid::with_spacing(world, [1.0; 3])?;
    Ok(reoriented_grid(&along, orientation))
}

#[cfg(test)]
mod tests;
