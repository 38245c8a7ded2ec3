//! A scan from end to end: a volume in HU goes in, what a scanner would make of it comes out.
//!
//! The volume is laid on the scanner's table, projected along a helix, sent photons through,
//! counted, and reconstructed on its own grid ([`crate::project`], [`crate::photons`],
//! [`crate::physics`], [`crate::reconstruct`]). Views are made as the reconstruction asks for them;
//! the projections of a whole scan are never held.
//!
//! ```
//! use crossmod_scanner::simulate::ScanSettings;
//! let settings = ScanSettings::parse(
//!     r#"
//!     [scanner]
//!     preset = "clinical"
//!     [helix]
//!     pitch = 0.9
//!     [tube]
//!     mas = 100.0
//!     [reconstruction]
//!     kernel = "hamming"
//!     [physics.scatter]
//!     scale = 1.0
//!     "#,
//! )?;
//! assert_eq!((settings.scanner.rows, settings.tube.mas), (64, 100.0));
//! # Ok::<(), crossmod_scanner::Error>(())
//! ```
//!
//! Randomness: the start angle, the breathing's phase and the gains are drawn from the seed and
//! stand in the [`ScanRecord`]; photons are drawn per ray. The same volume, settings and seed give
//! the same image on any number of threads.

mod calibrate;
mod measured;
mod settings;
mod table;

use crossmod_volume::rng::Rng;
use crossmod_volume::{Image, Labels};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::geometry::Scan;
use crate::physics::mixtures;
use crate::project::{Body, Projector};
use crate::reconstruct::{Projections, reconstruct};
use crate::{Error, Result, fast};
pub(crate) use measured::{Draw, Measured, Path};
pub use settings::ScanSettings;
pub(crate) use table::Table;

/// The `step` of the start angle's stream.
const STREAM: u32 = 0x5747_0001;

/// Everything that decided an image, so that it can be made again.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ScanRecord {
    /// Seed of all that was drawn.
    pub seed: u64,
    /// All settings, those that were not stated included; a target of noise has become a charge.
    pub settings: ScanSettings,
    /// The helix; its start angle is the drawn one.
    pub scan: Scan,
    /// Photons (of the mean energy) that entered an element of the central channel in a view.
    pub photons_per_ray: f64,
    /// Charge per turn over the pitch, mAs.
    pub effective_mas: f64,
    /// Phase of the breathing, radians.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub breathing_phase: Option<f64>,
    /// Lowest and highest tube current over the mean.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub current_range: Option<[f32; 2]>,
}

/// Scans a volume (HU) and reconstructs it on its grid. `on_progress` is told the share that is
/// done.
///
/// # Errors
/// [`Error::Setting`] where the settings are none that a scan can have, the volume holds what is no
/// number, the pitch leaves gaps, or the body reaches the tube.
pub fn simulate(
    volume: &Image,
    settings: &ScanSettings,
    seed: u64,
    on_progress: &mut dyn FnMut(f64),
) -> Result<(Image, ScanRecord)> {
    simulate_labelled(volume, None, settings, seed, on_progress)
}

/// [`simulate`] with a label map on the volume's grid, for contrast agent in its organs.
///
/// # Errors
/// As [`simulate`]; where organs are named and there are no labels.
pub fn simulate_labelled(
    volume: &Image,
    labels: Option<&Labels>,
    settings: &ScanSettings,
    seed: u64,
    on_progress: &mut dyn FnMut(f64),
) -> Result<(Image, ScanRecord)> {
    settings.check()?;
    let [least, most] = extremes(volume);
    if !(least.is_finite() && most.is_finite()) {
        return Err(Error::Setting(format!(
            "expected a volume of finite values, found some that are not, beside {least} to {most}"
        )));
    }
    let mut settings = settings.calibrated()?;
    if settings.draw_start {
        let turn = f64::from(Rng::new(seed, 0, STREAM).unit());
        settings.helix.start_deg = 360.0 * turn;
    }
    let table = Table::new(volume.grid())?;
    let scan = Scan::plan(&settings.scanner, &settings.helix, &table.grid)?;
    if settings.fast {
        return fast::simulate(volume, labels, &table, &settings, &scan, seed, on_progress);
    }
    let mut materials = Vec::new();
    let mut bodies = Vec::new();
    for (mixture, samples) in mixtures(volume, labels, &settings.physics)? {
        let air = settings.air_below_hu as f32;
        materials.push(mixture.material());
        bodies.push(table.body(&samples, |sample| mixture.value(sample, air))?);
    }
    let draw = Draw::new(&settings, &scan, seed);
    let paths = project(&bodies, &scan, &settings, &draw)?;
    let measured = Measured::new(&scan, &settings, paths, &materials, &draw)?;
    let record = measured.record(&settings);
    let image = reconstruct(
        &scan,
        &measured,
        &settings.reconstruction,
        &table.grid,
        on_progress,
    )?;
    Ok((table.restore(image)?, record))
}

/// Refuses a volume that cannot be a patient in Hounsfield units, by its values: without anything
/// near air or fat, such as an MR image or a label map, with nothing but air, or beyond any metal.
///
/// # Errors
/// [`Error::Setting`] naming the values that were found.
pub fn expect_hu(volume: &Image) -> Result<()> {
    let [least, most] = extremes(volume);
    if least <= HIGHEST_LEAST && (LOWEST_MOST..=HIGHEST_MOST).contains(&most) {
        return Ok(());
    }
    Err(Error::Setting(format!(
        "expected a volume in Hounsfield units (air -1000, water 0), found values from {least} to \
         {most}"
    )))
}

/// Bounds on the least and the largest value of a patient's volume, HU: some fat, and some tissue
/// but nothing denser than gold.
const HIGHEST_LEAST: f32 = -50.0;
const LOWEST_MOST: f32 = -500.0;
const HIGHEST_MOST: f32 = 70_000.0;

/// The least and the largest value; NaN where one is.
fn extremes(volume: &Image) -> [f32; 2] {
    let least = |a: f32, b: f32| if a <= b || a.is_nan() { a } else { b };
    let most = |a: f32, b: f32| if a >= b || a.is_nan() { a } else { b };
    let joined = |[a, b]: [f32; 2], [c, d]: [f32; 2]| [least(a, c), most(b, d)];
    let blocks = volume.data().par_chunks(1 << 16).map(|block| {
        block
            .iter()
            .fold([f32::INFINITY, f32::NEG_INFINITY], |e, &v| {
                joined(e, [v; 2])
            })
    });
    blocks.reduce(|| [f32::INFINITY, f32::NEG_INFINITY], joined)
}

/// The bodies' line integrals.
pub(crate) fn project<'a>(
    bodies: &'a [Body],
    scan: &'a Scan,
    settings: &ScanSettings,
    draw: &'a Draw,
) -> Result<Vec<Path<'a>>> {
    bodies
        .iter()
        .map(|body| {
            let mut projector = Projector::new(body, scan, settings.sub_rays)?;
            if let Some(lifts) = &draw.lifts_mm {
                projector = projector.moving(lifts)?;
            }
            let projections: Box<dyn Projections + 'a> = Box::new(projector);
            Ok(Path {
                projections,
                scale: 1.0,
            })
        })
        .collect()
}

#[cfg(test)]
mod tests;
