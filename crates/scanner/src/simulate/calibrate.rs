//! The charge at which a scan has a wanted noise.
//!
//! The variance of a reconstruction in the middle of a water cylinder is K (1/N + σ²/N²), N the
//! photons behind the cylinder and σ the electronic noise; K is all that kernel, aperture, pitch
//! and the grid of rays make of it. K is measured on a cylinder of known shape at a charge at which
//! enough photons arrive, then N is solved for.

use crossmod_volume::Grid;

use super::{Draw, Measured, Path, ScanSettings};
use crate::attenuation::WATER_MM;
use crate::geometry::Scan;
use crate::phantom::{Phantom, PhantomRays};
use crate::photons::Tube;
use crate::physics::{Material, Physics};
use crate::reconstruct::reconstruct;
use crate::{Error, Result};

/// Photons behind the cylinder at which K is measured.
const COUNTS: f64 = 2000.0;

/// Pixels along a side of the square that is measured, their size, and slices.
const PIXELS: usize = 48;
const PIXEL_MM: f64 = 1.7;
const SLICES: usize = 6;

/// The charge per turn (mAs) at which the noise is `target_hu`.
pub(super) fn charge_for(settings: &ScanSettings, target_hu: f64) -> Result<f64> {
    let reference = reference(settings);
    let sd = centre_sd(&reference)?;
    let electronic = settings.detector.electronic_noise.powi(2);
    let unit = |counts: f64| 1.0 / counts + electronic / (counts * counts);
    let wanted = target_hu.powi(2) / sd.powi(2) * unit(COUNTS);
    // wanted N² − N − σ² = 0.
    let counts = (1.0 + (1.0 + 4.0 * wanted * electronic).sqrt()) / (2.0 * wanted);
    let tube = Tube {
        mas: reference.tube.mas * counts / COUNTS,
        ..settings.tube.clone()
    };
    tube.check().map_err(|e| {
        Error::Setting(format!(
            "expected a target_sd_hu that a tube can reach, found {target_hu}: {e}"
        ))
    })?;
    Ok(tube.mas)
}

/// The same scanner with the charge at which [`COUNTS`] arrive, and nothing but quanta.
fn reference(settings: &ScanSettings) -> ScanSettings {
    let mut reference = settings.clone();
    reference.noise = true;
    reference.target_sd_hu = None;
    reference.physics = Physics {
        spectrum: settings.physics.spectrum.clone(),
        ..Physics::default()
    };
    reference.helix.isocentre_mm = None;
    reference.tube.mas = 1.0;
    let incident = reference.tube.incident(&reference.scanner);
    let middle = (reference.scanner.central_channel as usize).min(incident.len() - 1);
    let light = (-f64::from(WATER_MM) * reference.target_diameter_mm).exp();
    reference.tube.mas = COUNTS / (f64::from(incident[middle]) * light);
    reference
}

/// Noise in the middle of the cylinder, HU.
fn centre_sd(settings: &ScanSettings) -> Result<f64> {
    // Slices a row and a part apart, so that all heights between rows are met.
    let thickness = 1.3 * settings.scanner.row_mm;
    let shape = [PIXELS, PIXELS, SLICES];
    let grid = Grid::with_spacing(shape, [PIXEL_MM, PIXEL_MM, thickness])?;
    let mut helix = settings.helix.clone();
    let radius = settings.target_diameter_mm / 2.0;
    helix.field_radius_mm = Some(radius.min(settings.scanner.field_radius_mm()));
    let scan = Scan::plan(&settings.scanner, &helix, &grid)?;
    let phantom = Phantom::water_cylinder(scan.isocentre_mm(), settings.target_diameter_mm);
    let scale = if settings.physics.spectrum.is_some() {
        1.0 / WATER_MM
    } else {
        1.0
    };
    let draw = Draw::new(settings, &scan, 1);
    let paths = vec![Path {
        projections: Box::new(PhantomRays::new(&scan, &phantom)),
        scale,
    }];
    let measured = Measured::new(&scan, settings, paths, &[Material::Water], &draw)?;
    let image = reconstruct(
        &scan,
        &measured,
        &settings.reconstruction,
        &grid,
        &mut |_| {},
    )?;
    // Slice by slice, so that a shift between slices is not noise.
    let variance = |slice: &[f32]| {
        let n = slice.len() as f64;
        let mean = slice.iter().map(|&v| f64::from(v)).sum::<f64>() / n;
        slice
            .iter()
            .map(|&v| (f64::from(v) - mean).powi(2))
            .sum::<f64>()
            / n
    };
    let sum: f64 = (0..SLICES).map(|z| variance(image.slice_z(z))).sum();
    Ok((sum / SLICES as f64).sqrt())
}
