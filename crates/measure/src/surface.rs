//! How far the surfaces of a prediction and of the truth lie apart, mm.
//!
//! What a **surface** is has two answers, [`Surface`], between which distances of thin or small
//! structures differ by a voxel and more:
//!
//! - [`Surface::Elements`], the default: the surface runs between voxels, in pieces of known area, as
//!   DeepMind's surface-distance has it (Nikolov et al. 2021, doi:10.2196/26151). A piece lies at the
//!   corner where eight voxels meet that are not all inside or all outside; its area is that of the
//!   marching-cubes surface between their centres, on the voxels' spacing. All means and shares are by
//!   area, so that slices far apart count for what they are.
//! - [`Surface::Voxels`]: the surface is the voxels inside that share a face with one outside, at
//!   their centres, each counting once (a mask less its erosion), as MedPy and MONAI have it.
//!
//! What lies outside the volume is outside the mask. A volume of one slice, or one voxel along any
//! axis, is measured as a plane: its surface is a line. Axes are taken to be perpendicular. Voxels
//! whose truth is to be ignored are outside both masks.
//!
//! Distances go from each piece of one surface to the nearest piece of the other. With P and T the two
//! surfaces and their sizes, both ways taken together:
//!
//! - **Hausdorff** the greatest distance;
//! - **HD95** the greater of the two distances within which 95 % of P lies of T and 95 % of T of P. Of
//!   voxels percentiles lie between two of them in proportion, as in MONAI; MedPy takes one percentile
//!   of both directions together;
//! - **ASSD**, the average symmetric surface distance: the sum of all distances times sizes, by P + T
//!   (Heimann et al. 2009, doi:10.1109/TMI.2009.2013851); MedPy takes the mean of both directions'
//!   means instead;
//! - **NSD**, normalised surface Dice: the part of P + T within a tolerance of the other.
//!
//! **Empty masks**: with neither mask all four are undefined. With one of them NSD is 0, and the
//! distances are undefined, as no number says how far away nothing is: such a case is missing from
//! the mean distance, so read it beside `n`, NSD and Dice.

use std::collections::BTreeMap;

use crossmod_volume::Labels;
use crossmod_volume::shape::nearest_mm;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::overlap::{Sets, expect_one_grid};
use crate::{Error, Result};
use bounds::{Bounds, bounds};
pub use distances::Distances;
use extract::{Mask, Pieces};

mod area;
mod bounds;
mod distances;
mod extract;

/// Boxes of more voxels are measured one after the other, so that few of their maps are held.
const LARGE: usize = 1 << 24;

/// What a mask's surface is; see [the module](self).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Surface {
    /// Pieces between voxels, weighed by area.
    #[default]
    Elements,
    /// Border voxels, each weighing the same.
    Voxels,
}

/// How far two surfaces lie apart.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct SurfaceDistances {
    /// Of the prediction's surface from the truth's.
    pub prediction: Distances,
    /// Of the truth's surface from the prediction's.
    pub truth: Distances,
    surface: Surface,
}

impl SurfaceDistances {
    /// The greatest distance, mm.
    #[must_use]
    pub fn hausdorff_mm(&self) -> Option<f64> {
        self.greater(Distances::greatest)
    }

    /// The greater of the two distances within which `share` (0.95) of each surface lies, mm.
    #[must_use]
    pub fn hausdorff_share_mm(&self, share: f64) -> Option<f64> {
        self.greater(|distances| match self.surface {
            Surface::Elements => distances.quantile(share),
            Surface::Voxels => distances.counted_quantile(share),
        })
    }

    /// The average symmetric surface distance, mm.
    #[must_use]
    pub fn assd_mm(&self) -> Option<f64> {
        let [p, t] = [&self.prediction, &self.truth];
        finite((p.sum() + t.sum()) / (p.size() + t.size()))
    }

    /// The part of both surfaces that lies within a tolerance of the other.
    #[must_use]
    pub fn nsd(&self, tolerance_mm: f64) -> Option<f64> {
        let [p, t] = [&self.prediction, &self.truth];
        finite((p.within(tolerance_mm) + t.within(tolerance_mm)) / (p.size() + t.size()))
    }

    /// Takes the surfaces of another part of the case in.
    pub fn pool(&mut self, other: &Self) {
        let join = |a: &mut Distances, b: &Distances| {
            *a = Distances::joined([std::mem::take(a), b.clone()]);
        };
        join(&mut self.prediction, &other.prediction);
        join(&mut self.truth, &other.truth);
        self.surface = other.surface;
    }

    fn greater(&self, of: impl Fn(&Distances) -> Option<f64>) -> Option<f64> {
        finite(of(&self.prediction)?.max(of(&self.truth)?))
    }
}

fn finite(value: f64) -> Option<f64> {
    value.is_finite().then_some(value)
}

/// How far the surfaces of each of `classes` lie apart, each the value that it is told by and the
/// values that it is made of in either map. Voxels whose truth is `ignore` are outside both.
///
/// # Errors
/// [`Error::Grids`] as [`overlap_of`](crate::overlap_of); [`Error::Volume`] where an axis has 65535
/// voxels or more.
pub fn surfaces_of(
    prediction: &Labels,
    truth: &Labels,
    classes: &[(u16, &[u16])],
    ignore: Option<u16>,
    surface: Surface,
) -> Result<BTreeMap<u16, SurfaceDistances>> {
    expect_one_grid(prediction.grid(), truth.grid())?;
    let classes: BTreeMap<u16, &[u16]> = classes.iter().copied().collect();
    let sets = Sets::new(classes.values().copied());
    let boxes = bounds([prediction, truth], &sets, classes.len());
    let measure = |values: &[u16], bounds: Bounds| {
        let mask = |labels| {
            let without = ignore.map(|value| (truth, value));
            Pieces::of(
                &Mask {
                    labels,
                    values,
                    without,
                },
                bounds,
                surface,
            )
        };
        let (p, t) = (mask(prediction)?, mask(truth)?);
        Ok(SurfaceDistances {
            prediction: distances(&p, &t),
            truth: distances(&t, &p),
            surface,
        })
    };
    let jobs: Vec<(u16, &[u16], Option<Bounds>)> = classes
        .iter()
        .zip(boxes)
        .map(|((value, values), bounds)| (*value, *values, bounds))
        .collect();
    let run = |&(value, values, bounds): &(u16, &[u16], Option<Bounds>)| {
        let nothing = || {
            Ok(SurfaceDistances {
                surface,
                ..SurfaceDistances::default()
            })
        };
        let found = bounds.map_or_else(nothing, |bounds| measure(values, bounds));
        found.map(|found| (value, found))
    };
    let is_large = |job: &&(u16, &[u16], Option<Bounds>)| {
        job.2
            .is_some_and(|bounds| bounds.size().iter().product::<usize>() > LARGE)
    };
    let (large, small): (Vec<_>, Vec<_>) = jobs.iter().partition(is_large);
    let mut found = large
        .into_iter()
        .map(run)
        .collect::<Result<BTreeMap<_, _>>>()?;
    let small: Vec<Result<_>> = small.into_par_iter().map(run).collect();
    for result in small {
        let (value, distances) = result?;
        found.insert(value, distances);
    }
    Ok(found)
}

/// How much of one surface lies how far from the other.
fn distances(from: &Pieces, to: &Pieces) -> Distances {
    let near = nearest_mm(&from.points, &to.points);
    let slices = near.into_par_iter().zip(&from.kinds);
    let slices = slices.map(|(mm, kinds)| {
        let sizes = kinds.iter().map(|&kind| from.sizes[usize::from(kind)]);
        Distances::new(mm.into_iter().zip(sizes).collect())
    });
    Distances::joined(slices.collect::<Vec<_>>())
}

#[cfg(test)]
mod tests;
