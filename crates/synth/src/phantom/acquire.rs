//! How a patient is scanned: field of view, looks, bias and noise, drawn per modality.
//!
//! CT: HU, noise Gaussian with the local standard deviation of filtered back-projection
//! ([`crossmod_scanner::noise`]), rounded and limited to the 12-bit range. MR: arbitrary units, a
//! smooth multiplicative bias, magnitude (Rician) noise (Gudbjartsson and Patz, Magn. Reson.
//! Med. 34:910, 1995, doi:10.1002/mrm.1910340618), rounded. Lengths are mm.

use std::collections::BTreeMap;

use crossmod_scanner::noise::{Exposure, Window, sd_map};
use crossmod_volume::Grid;
use crossmod_volume::rng::Rng;
use glam::{DMat3, DMat4, DVec3, Vec3};
use serde::{Deserialize, Serialize};

use super::shape::rotation;
use super::tissue::{Look, Tissue, draw_looks};
use super::{FieldOfView, Modality, PhantomConfig};
use crate::Result;

/// Where the voxels lie.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fov {
    /// Voxels along (x, y, z).
    pub shape: [usize; 3],
    /// Distance between voxel centres.
    pub spacing_mm: [f32; 3],
    /// +1 where an index grows with RAS, -1 where against it; LPS is (-1, -1, 1).
    pub signs: [f32; 3],
    /// Obliquity about x, then y, then z.
    pub tilt_rad: [f32; 3],
    /// World position (RAS) of the middle of the volume.
    pub centre_mm: [f32; 3],
}

impl Fov {
    fn draw(rng: &mut Rng, config: &FieldOfView, modality: Modality, patient_mm: [f32; 3]) -> Self {
        let (signs, tilt, shift) = match modality {
            Modality::Ct => ([-1.0, -1.0, 1.0], 0.0, [14.0, 14.0, 12.0]),
            Modality::Mr => ([1.0, 1.0, 1.0], 0.08, [18.0, 14.0, 12.0]),
        };
        Self {
            shape: [config.size, config.size, config.slices],
            spacing_mm: [config.spacing_mm, config.spacing_mm, config.slice_mm],
            signs,
            tilt_rad: [(); 3].map(|()| rng.uniform(-tilt, tilt)),
            centre_mm: [0, 1, 2].map(|i| patient_mm[i] + rng.uniform(-shift[i], shift[i])),
        }
    }

    /// The grid of this field of view.
    ///
    /// # Errors
    /// Where the shape is empty or a spacing is not positive.
    pub fn grid(&self) -> Result<Grid> {
        let linear = rotation(self.tilt_rad).as_dmat3()
            * DMat3::from_diagonal(DVec3::from_array(
                [0, 1, 2].map(|i| f64::from(self.signs[i] * self.spacing_mm[i])),
            ));
        let middle = DVec3::from_array(self.shape.map(|n| (n as f64 - 1.0) / 2.0));
        let centre = Vec3::from_array(self.centre_mm).as_dvec3();
        let affine = DMat4::from_mat3_translation(linear, centre - linear * middle);
        Ok(Grid::new(self.shape, affine)?)
    }
}

/// One smooth component of the logarithm of an MR bias field.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BiasWave {
    /// Radians per mm along (x, y, z).
    pub frequency: [f32; 3],
    /// Radians.
    pub phase: f32,
    /// Of the natural logarithm of the field.
    pub amplitude: f32,
}

/// What a modality adds to the anatomy.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "snake_case", tag = "modality")]
pub enum Physics {
    /// Quantum noise.
    Ct {
        /// Photons entering each ray of each view.
        photons_per_ray: f64,
    },
    /// Receive field, scale and noise.
    Mr {
        /// Stored value of relative signal 1.
        scale: f32,
        /// Components of the logarithm of the bias field.
        bias: Vec<BiasWave>,
        /// Standard deviation of the noise in each of the two channels, relative signal.
        noise_sd: f32,
    },
}

/// One scan of a patient in one modality.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Acquisition {
    /// Where the voxels lie.
    pub fov: Fov,
    /// How each tissue looks.
    pub looks: BTreeMap<Tissue, Look>,
    /// Lattice step of the texture.
    pub grain_mm: f32,
    /// What the modality adds.
    pub physics: Physics,
    /// Seed of the noise.
    pub noise_seed: u64,
}

impl Acquisition {
    pub(crate) fn draw(
        rng: &mut Rng,
        config: &PhantomConfig,
        modality: Modality,
        patient_mm: [f32; 3],
    ) -> Self {
        let (fov, grain_mm) = match modality {
            Modality::Ct => (&config.ct, rng.uniform(18.0, 26.0)),
            Modality::Mr => (&config.mr, rng.uniform(8.0, 11.0)),
        };
        let fov = Fov::draw(rng, fov, modality, patient_mm);
        let looks = draw_looks(rng, modality);
        let physics = match modality {
            Modality::Ct => Physics::Ct {
                photons_per_ray: config.ct_photons * f64::from(rng.uniform(0.7, 1.4)),
            },
            Modality::Mr => Physics::Mr {
                scale: rng.uniform(200.0, 900.0),
                bias: (0..3).map(|_| draw_bias(rng, config.mr_bias)).collect(),
                noise_sd: config.mr_noise * rng.uniform(0.7, 1.4),
            },
        };
        let noise_seed = u64::from(rng.bits());
        Self {
            fov,
            looks,
            grain_mm,
            physics,
            noise_seed,
        }
    }

    /// Turns noiseless values of slice `z` (HU, or relative signal) into stored ones.
    pub(crate) fn finish(&self, slice: &mut [f32], z: usize, grid: &Grid) -> Result<()> {
        let mut rng = Rng::new(self.noise_seed, z as u64, 0);
        match &self.physics {
            Physics::Ct { photons_per_ray } => {
                let [nx, ny, _] = grid.shape();
                let [dx, dy, _] = grid.spacing_mm();
                let sd = sd_map(slice, [nx, ny], [dx, dy], &exposure(*photons_per_ray), 12)?;
                for (value, sd) in slice.iter_mut().zip(sd) {
                    *value = (*value + sd * rng.normal()).round().clamp(-1024.0, 3071.0);
                }
            }
            Physics::Mr {
                scale,
                bias,
                noise_sd,
            } => {
                let [nx, _, _] = grid.shape();
                for (i, value) in slice.iter_mut().enumerate() {
                    let voxel = [(i % nx) as f64, (i / nx) as f64, z as f64];
                    let world = DVec3::from_array(grid.world(voxel)).as_vec3();
                    let centre = Vec3::from_array(self.fov.centre_mm);
                    let signal = *value * bias_at(bias, world - centre);
                    let real = signal + noise_sd * rng.normal();
                    let imaginary = noise_sd * rng.normal();
                    *value = (scale * real.hypot(imaginary)).round();
                }
            }
        }
        Ok(())
    }
}

/// A scan of 500 views per half turn, reconstructed with a Hann window at 1 mm rays.
fn exposure(photons_per_ray: f64) -> Exposure {
    Exposure {
        photons_per_ray,
        views_per_half_turn: 500,
        ray_spacing_mm: 1.0,
        window: Window::Hann,
    }
}

/// A wave of 300 to 700 mm: half a period across the trunk, as of a surface coil.
fn draw_bias(rng: &mut Rng, strength: f32) -> BiasWave {
    let direction = Vec3::new(rng.normal(), rng.normal(), 0.5 * rng.normal()).normalize_or(Vec3::X);
    let wavelength_mm = rng.uniform(300.0, 700.0);
    BiasWave {
        frequency: (direction * std::f32::consts::TAU / wavelength_mm).to_array(),
        phase: rng.uniform(0.0, std::f32::consts::TAU),
        amplitude: strength * rng.uniform(0.3, 1.0),
    }
}

fn bias_at(bias: &[BiasWave], offset: Vec3) -> f32 {
    let log: f32 = bias
        .iter()
        .map(|w| w.amplitude * (Vec3::from_array(w.frequency).dot(offset) + w.phase).sin())
        .sum();
    log.exp()
}
