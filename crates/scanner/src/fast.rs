//! A scan's noise without the scan: the volume as it is, plus reconstructed noise.
//!
//! Reconstruction is linear, so the noise of an image is the reconstruction of the noise in its
//! projections. Its statistics depend on the counts, which are smooth: the volume is projected at
//! `COARSE` times its voxel size, counted, and the difference to the projections without noise
//! is reconstructed and added to the volume. Several times less work in the projection; the
//! reconstruction remains.
//!
//! Lost against the full mode: everything that the scan does to the signal (resolution of rays,
//! kernel and slices, partial volume, windmill and cone artefacts, hardening, scatter's shading,
//! truncation, rings, motion) and so the noise that the volume has already is not smoothed either.
//! Kept: the noise's strength, its streaks, its texture and correlation in three dimensions, the
//! bias of starved rays. What lies outside the field of view stays as it is.
//!
//! A volume that comes from a scanner has noise of its own. Where its charge is stated
//! (`given_mas`), only the noise that a lower charge has more of is added
//! ([`crate::photons::LowerDose`]): insertion of a lower dose into an image.

use crossmod_volume::{Grid, Image, Labels};
use glam::{DMat4, DVec3};
use rayon::prelude::*;

use crate::Result;
use crate::attenuation::WATER_MM;
use crate::geometry::Scan;
use crate::physics::mixtures;
use crate::reconstruct::{Reconstruction, reconstruct};
use crate::simulate::{Draw, Measured, ScanRecord, ScanSettings, Table, project};

/// Voxels along an axis that become one.
const COARSE: usize = 3;

/// The volume with noise, scanned as `settings` say.
pub(crate) fn simulate(
    volume: &Image,
    labels: Option<&Labels>,
    table: &Table,
    settings: &ScanSettings,
    scan: &Scan,
    seed: u64,
    on_progress: &mut dyn FnMut(f64),
) -> Result<(Image, ScanRecord)> {
    let coarse = coarse_grid(volume.grid())?;
    let coarse_table = Table::new(&coarse)?;
    let mut materials = Vec::new();
    let mut bodies = Vec::new();
    for (mixture, samples) in mixtures(volume, labels, &settings.physics)? {
        let air = settings.air_below_hu as f32;
        materials.push(mixture.material());
        let means = block_means(&samples, volume.grid(), &coarse, |s| mixture.value(s, air));
        bodies.push(coarse_table.body(&means, |v| v)?);
    }
    let draw = Draw::new(settings, scan, seed);
    let paths = project(&bodies, scan, settings, &draw)?;
    let measured = Measured::new(scan, settings, paths, &materials, &draw)?.noise_alone();
    let record = measured.record(settings);
    // In units of water's attenuation nothing is -1000 HU, as is what lies outside the field.
    let in_hu = Reconstruction {
        water_mm: f64::from(WATER_MM),
        ..settings.reconstruction.clone()
    };
    let noise = reconstruct(scan, &measured, &in_hu, &table.grid, on_progress)?;
    let mut noisy = table.restore(noise)?;
    let pairs = noisy.data_mut().par_iter_mut().zip(volume.data());
    pairs.for_each(|(noise, value)| *noise += 1000.0 + value);
    Ok((noisy, record))
}

/// The grid whose voxels are blocks of another's.
fn coarse_grid(fine: &Grid) -> Result<Grid> {
    let middle = DVec3::splat((COARSE - 1) as f64 / 2.0);
    let affine = fine.world_from_voxel()
        * DMat4::from_translation(middle)
        * DMat4::from_scale(DVec3::splat(COARSE as f64));
    Ok(Grid::new(fine.shape().map(|n| n.div_ceil(COARSE)), affine)?)
}

/// The mean of `value` of the samples in each block; of those that there are at the far sides.
fn block_means(
    samples: &[f32],
    fine: &Grid,
    coarse: &Grid,
    value: impl Fn(f32) -> f32 + Sync,
) -> Vec<f32> {
    let [nx, ny, nz] = fine.shape();
    let [cx, cy, _] = coarse.shape();
    let mut means = vec![0.0f32; coarse.len()];
    means
        .par_chunks_exact_mut(cx * cy)
        .enumerate()
        .for_each(|(z, slice)| {
            let mut counts = vec![0.0f32; cx * cy];
            for z in z * COARSE..nz.min((z + 1) * COARSE) {
                for y in 0..ny {
                    let row = &samples[nx * (y + ny * z)..][..nx];
                    let at = y / COARSE * cx;
                    let blocks = slice[at..at + cx].iter_mut().zip(&mut counts[at..at + cx]);
                    for (block, (sum, count)) in row.chunks(COARSE).zip(blocks) {
                        *sum += block.iter().map(|&s| value(s)).sum::<f32>();
                        *count += block.len() as f32;
                    }
                }
            }
            slice.iter_mut().zip(&counts).for_each(|(sum, n)| *sum /= n);
        });
    means
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_hold_their_means_where_their_voxels_were() {
        let fine = Grid::with_spacing([7, 6, 4], [1.0, 2.0, 3.0]).expect("a grid");
        let coarse = coarse_grid(&fine).expect("a grid");
        assert_eq!(coarse.shape(), [3, 2, 2]);
        assert_eq!(coarse.world([0.0; 3]), [1.0, 2.0, 3.0]);
        assert_eq!(coarse.spacing_mm(), [3.0, 6.0, 9.0]);
        let samples: Vec<f32> = (0..7 * 6 * 4).map(|i| (i % 7) as f32).collect();
        let means = block_means(&samples, &fine, &coarse, |v| v + 1.0);
        assert_eq!(means[..3], [2.0, 5.0, 7.0]);
        assert_eq!(means[9..], [2.0, 5.0, 7.0]);
    }
}
