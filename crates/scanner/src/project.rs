//! Line integrals of a volume along the rays of a scan.
//!
//! Joseph's method in the plane (IEEE Trans. Med. Imaging 1:192, 1982,
//! doi:10.1109/TMI.1982.4307572): a ray steps from one line of voxels to the next along the axis
//! it follows more closely, interpolates linearly between the two nearest voxels there and
//! multiplies by the length of a step; across slices it interpolates linearly as well. All rows of
//! a channel lie above the same line in the plane, so that the two columns of voxels at a step are
//! blended once for all of them. Few neighbouring steps are summed before the rows read that sum
//! at their heights in the middle of the steps: as many as keep every row within
//! `DRIFT_VOXELS` of its height, an error of second order since it is opposite before and after
//! the middle.
//!
//! Volumes are attenuation in mm^-1, line integrals have no unit and are stored
//! `[view][channel][row]`, row fastest. No randomness. Past the first and last slice rays see that
//! slice; at the sides they see air.

mod body;
mod kernel;
mod rays;

use std::ops::Range;

use rayon::prelude::*;

pub use body::{Body, Strides};
pub use rays::SubRays;

use crate::geometry::Scan;
use crate::reconstruct::Projections;
use crate::simd::Level;
use crate::{Error, Result};
use kernel::{Scratch, Task};
use rays::{Heights, Rays};

/// How far, in slices, a row may move over the steps that are summed before it reads them.
const DRIFT_VOXELS: f64 = 0.375;

/// Most steps that are summed: their columns for one channel stay in the first cache.
const MOST_STEPS: usize = 8;

/// Views that are projected together, so that a slab of the volume is read once for all of them.
const VIEWS_TOGETHER: usize = 32;

/// A volume on the table of a scanner.
#[derive(Debug)]
pub struct Projector<'a> {
    body: &'a Body,
    scan: &'a Scan,
    rays: Rays,
    heights: Heights,
    steps: usize,
    level: Level,
    lift_mm: Option<&'a [f32]>,
}

impl<'a> Projector<'a> {
    /// Projects `body` along the rays of `scan`.
    ///
    /// # Errors
    /// [`Error::Setting`] where the body reaches the tube or the detector, or the numbers of
    /// sub-rays are none or too many.
    pub fn new(body: &'a Body, scan: &'a Scan, sub_rays: SubRays) -> Result<Self> {
        let scanner = scan.scanner();
        let clear = scanner
            .source_to_isocentre_mm
            .min(scanner.source_to_detector_mm - scanner.source_to_isocentre_mm);
        let radius = body.radius_mm(scan.isocentre_mm());
        if radius >= clear {
            return Err(Error::Setting(format!(
                "expected a body within {clear:.0} mm of the axis of rotation, where the tube and \
                 the detector pass, found one that reaches {radius:.0} mm; crop it or set the air \
                 around it to -1000 HU"
            )));
        }
        let rays = Rays::new(scanner, sub_rays)?;
        let heights = rays.heights(body.spacing_mm[2]);
        let widest = body.spacing_mm[0].max(body.spacing_mm[1]) * std::f64::consts::SQRT_2;
        let [[_, low], [_, high]] = heights.reach;
        let drift = f64::from(high.max(-low)) * widest;
        Ok(Self {
            body,
            scan,
            rays,
            heights,
            steps: ((DRIFT_VOXELS / drift) as usize).clamp(1, MOST_STEPS),
            level: Level::best(),
            lift_mm: None,
        })
    }

    /// The same with the body lifted by `lift_mm` along z in each view.
    ///
    /// # Errors
    /// [`Error::Setting`] where there is not one finite lift for each view.
    pub fn moving(mut self, lift_mm: &'a [f32]) -> Result<Self> {
        if lift_mm.len() != self.scan.views() || lift_mm.iter().any(|v| !v.is_finite()) {
            return Err(Error::Setting(format!(
                "expected a finite lift for each of {} views, found {}",
                self.scan.views(),
                lift_mm.len()
            )));
        }
        self.lift_mm = Some(lift_mm);
        Ok(self)
    }

    /// The same without sums over steps: every row interpolates at every step. The plain method,
    /// several times slower, that the other is measured against.
    #[must_use]
    pub fn step_by_step(mut self) -> Self {
        self.steps = 1;
        self
    }

    fn task(&self, range: Range<usize>) -> Task<'_> {
        Task {
            body: self.body,
            rays: &self.rays,
            heights: &self.heights,
            steps: self.steps,
            sources: range
                .map(|view| {
                    let mut source = rays::Source::new(self.scan, view);
                    if let Some(lift) = self.lift_mm {
                        source.position_mm[2] -= f64::from(lift[view]);
                    }
                    source
                })
                .collect(),
        }
    }
}

impl Projections for Projector<'_> {
    fn views(&self, range: Range<usize>, out: &mut [f32]) -> Result<()> {
        let (views, len) = (range.len(), self.scan.view_len());
        if range.end > self.scan.views() || out.len() != views * len {
            return Err(Error::Setting(format!(
                "expected views below {} and room for {len} samples of each, found {range:?} and \
                 room for {}",
                self.scan.views(),
                out.len()
            )));
        }
        if views == 0 {
            return Ok(());
        }
        let threads = rayon::current_num_threads();
        let tasks = views
            .div_ceil(VIEWS_TOGETHER)
            .next_multiple_of(threads)
            .min(views);
        let together = views.div_ceil(tasks);
        out.par_chunks_mut(together * len)
            .enumerate()
            .for_each_init(Scratch::default, |scratch, (i, out)| {
                let first = range.start + i * together;
                let task = self.task(first..range.end.min(first + together));
                task.run(self.level, scratch);
                self.rays.average(&scratch.sums, out);
            });
        Ok(())
    }
}

#[cfg(test)]
mod tests;
