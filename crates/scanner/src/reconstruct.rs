//! From line integrals to Hounsfield units.
//!
//! Views are asked for in ascending order, sorted into parallel views ([`crate::geometry`] says how
//! rays run), weighted, filtered and back-projected, slab by slab along the axis: of the projections
//! no more is held than a slab sees. With H the collimation, r the radius of the field of view, F
//! the feed and Z the slab's thickness that is about (Z + H (1 + r / R)) / F turns of filtered
//! views, 4 bytes a sample; [`Reconstruction::bytes`] says how much in all. Results depend neither
//! on the slab's thickness nor on the number of threads, beyond the rounding of sums in another
//! place of a vector.

mod grid;
mod stream;
#[cfg(test)]
mod tests;

use std::ops::Range;

use crossmod_volume::{Grid, Image};
use serde::{Deserialize, Serialize};

use crate::filter::Kernel;
use crate::geometry::Scan;
pub use crate::rebin::Interpolation;
use crate::{Error, Result, attenuation};

/// Line integrals that can be asked for by view: stored ones, those of a phantom of known shape,
/// or a simulation that makes them as they are needed.
pub trait Projections: Sync {
    /// The line integrals of the views in `range`, written to `out` as `[view][channel][row]` with
    /// row fastest. A reconstruction asks for every view once, in ascending order, some tens or
    /// hundreds at a time and never two ranges at once: an implementation spreads the views of one
    /// call over the threads of the current pool itself.
    ///
    /// # Errors
    /// Where the views cannot be had.
    fn views(&self, range: Range<usize>, out: &mut [f32]) -> Result<()>;
}

/// Line integrals that are all there.
#[derive(Debug, Clone, PartialEq)]
pub struct StoredProjections {
    view_len: usize,
    data: Vec<f32>,
}

impl StoredProjections {
    /// The projections of a scan, `[view][channel][row]`.
    ///
    /// # Errors
    /// [`Error::Setting`] where there are not as many samples as the scan has.
    pub fn new(scan: &Scan, data: Vec<f32>) -> Result<Self> {
        if scan.views().checked_mul(scan.view_len()) != Some(data.len()) {
            return Err(Error::Setting(format!(
                "expected {} views of {} channels and {} rows, found {} samples",
                scan.views(),
                scan.channels(),
                scan.rows(),
                data.len()
            )));
        }
        Ok(Self {
            view_len: scan.view_len(),
            data,
        })
    }

    /// All views of other projections of a scan.
    ///
    /// # Errors
    /// Where those fail.
    pub fn collect(scan: &Scan, projections: &dyn Projections) -> Result<Self> {
        let mut data = vec![0.0; scan.views() * scan.view_len()];
        projections.views(0..scan.views(), &mut data)?;
        Self::new(scan, data)
    }

    /// The samples.
    #[must_use]
    pub fn data(&self) -> &[f32] {
        &self.data
    }

    /// The samples.
    pub fn data_mut(&mut self) -> &mut [f32] {
        &mut self.data
    }
}

impl Projections for StoredProjections {
    fn views(&self, range: Range<usize>, out: &mut [f32]) -> Result<()> {
        let wanted = range.start * self.view_len..range.end * self.view_len;
        match self.data.get(wanted) {
            Some(data) if data.len() == out.len() => out.copy_from_slice(data),
            _ => {
                return Err(Error::Setting(format!(
                    "expected views among the {} stored ones and room for them, found {range:?} and \
                     {} samples",
                    self.data.len() / self.view_len,
                    out.len()
                )));
            }
        }
        Ok(())
    }
}

/// How line integrals become an image.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Reconstruction {
    /// Window on the ramp filter.
    pub kernel: Kernel,
    /// How rays between the measured ones are found.
    pub interpolation: Interpolation,
    /// Share Q of the detector's half height within which rays have their whole weight, 0 to 1: a
    /// larger one uses the outer rows more, for less noise and more windmill. 0.6 as in FreeCT
    /// (Hoffman et al., Med. Phys. 43:1411, 2016, doi:10.1118/1.4941953).
    pub aperture: f64,
    /// Attenuation that is 0 HU, mm⁻¹.
    pub water_mm: f64,
    /// Most voxels along the axis that are reconstructed together.
    pub slab: usize,
}

impl Default for Reconstruction {
    fn default() -> Self {
        Self {
            kernel: Kernel::default(),
            interpolation: Interpolation::default(),
            aperture: 0.6,
            water_mm: f64::from(attenuation::WATER_MM),
            slab: 128,
        }
    }
}

impl Reconstruction {
    /// Refuses values that no reconstruction can have.
    ///
    /// # Errors
    /// [`Error::Setting`] naming the key, its bounds and what was found.
    pub fn check(&self) -> Result<()> {
        self.kernel.check()?;
        if !(0.0..=1.0).contains(&self.aperture) {
            return Err(Error::Setting(format!(
                "expected aperture from 0 to 1, found {}",
                self.aperture
            )));
        }
        if !(self.water_mm.is_finite() && self.water_mm > 0.0) {
            return Err(Error::Setting(format!(
                "expected water_mm above 0, found {}",
                self.water_mm
            )));
        }
        if !(1..=4096).contains(&self.slab) {
            return Err(Error::Setting(format!(
                "expected slab from 1 to 4096 voxels, found {}",
                self.slab
            )));
        }
        Ok(())
    }

    /// Bytes that a reconstruction of `target` takes at most, the image included but not what the
    /// projections take themselves.
    ///
    /// # Errors
    /// As [`reconstruct`].
    pub fn bytes(&self, scan: &Scan, target: &Grid) -> Result<usize> {
        self.check()?;
        let lattice = grid::Lattice::new(scan, target)?;
        Ok(stream::Stream::plan(scan, self, &lattice).bytes() + 4 * target.len())
    }
}

/// Reconstructs a scan on a grid, in HU; −1000 beyond the scan's field of view. A grid whose voxel
/// columns stand along the axis is reconstructed as it is; an oblique one by way of an upright grid
/// of its smallest spacing, interpolated linearly. `on_progress` is told the share that is done.
///
/// # Errors
/// [`Error::Setting`] where the grid reaches beyond the ends of the scan or a setting is none that a
/// reconstruction can have; whatever `projections` fails with.
pub fn reconstruct(
    scan: &Scan,
    projections: &dyn Projections,
    settings: &Reconstruction,
    target: &Grid,
    on_progress: &mut dyn FnMut(f64),
) -> Result<Image> {
    settings.check()?;
    let lattice = grid::Lattice::new(scan, target)?;
    let image = stream::Stream::plan(scan, settings, &lattice).run(projections, on_progress)?;
    Ok(lattice.image(image, target)?)
}
