//! A random abdomen in two modalities.
//!
//! [`draw`] makes a [`PhantomDraw`], a record of one patient and of how a CT and an MR scanner
//! see them; [`render()`] turns the record into an image and its label map. The anatomy is
//! analytic in millimetres, so any size and spacing can be rendered. Five organs are labelled;
//! bones, vessels, bowel, gallbladder and lung are there to be told apart from them.
//!
//! Randomness: streams (seed, case, 0) for the anatomy, (…, 1) for CT, (…, 2) for MR; a record
//! rendered twice gives the same bytes, on any number of threads.
//!
//! Limits: a cartoon. Organs do not move or touch, there is no disease, CT noise is white over
//! the pixels, and MR has no artefacts but bias and noise.

mod acquire;
mod anatomy;
mod body;
mod render;
mod shape;
mod study;
mod texture;
mod tissue;

use crossmod_volume::rng::Rng;
use serde::{Deserialize, Serialize};

pub use acquire::{Acquisition, BiasWave, Fov, Physics};
pub use anatomy::{Anatomy, Loop, Organ, Pose, Ribs, Spine, Trunk, Vessel};
pub use render::render;
pub use shape::{Blob, Ripple};
pub use study::{Study, StudyConfig, write_study};
pub use tissue::{Look, Tissue};

use crate::{Error, Result};

/// Values of the label maps and their names.
pub const LABELS: [(u16, &str); 6] = [
    (0, "background"),
    (1, "liver"),
    (2, "spleen"),
    (3, "left_kidney"),
    (4, "right_kidney"),
    (5, "stomach"),
];

/// What the patient is imaged with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Modality {
    /// Computed tomography, HU.
    Ct,
    /// Magnetic resonance, T2-like contrast, arbitrary units.
    Mr,
}

/// Size of a scan.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FieldOfView {
    /// Voxels along each side of a slice.
    pub size: usize,
    /// Number of slices.
    pub slices: usize,
    /// Distance between voxel centres within a slice, mm.
    pub spacing_mm: f32,
    /// Distance between slices, mm.
    pub slice_mm: f32,
}

/// What to draw. The defaults are this program's own, small enough for a laptop's demo.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PhantomConfig {
    /// The CT scan's size.
    pub ct: FieldOfView,
    /// The MR scan's size.
    pub mr: FieldOfView,
    /// How much patients differ: 1 as typical adults, 0 not at all.
    pub variation: f32,
    /// Photons entering each CT ray; the noise falls with its root.
    pub ct_photons: f64,
    /// Standard deviation of the MR noise relative to bright tissue.
    pub mr_noise: f32,
    /// Largest amplitude of each of three waves of the logarithm of the MR bias field.
    pub mr_bias: f32,
}

impl Default for PhantomConfig {
    fn default() -> Self {
        Self {
            ct: FieldOfView {
                size: 64,
                slices: 24,
                spacing_mm: 5.0,
                slice_mm: 6.0,
            },
            mr: FieldOfView {
                size: 64,
                slices: 20,
                spacing_mm: 4.8,
                slice_mm: 7.0,
            },
            variation: 0.7,
            ct_photons: 4e5,
            mr_noise: 0.02,
            mr_bias: 0.06,
        }
    }
}

impl PhantomConfig {
    fn check(&self) -> Result<()> {
        for (name, fov) in [("ct", &self.ct), ("mr", &self.mr)] {
            let sizes = (1..=4096).contains(&fov.size) && (1..=4096).contains(&fov.slices);
            let spacings = [fov.spacing_mm, fov.slice_mm];
            if !sizes || !spacings.iter().all(|s| s.is_finite() && *s > 0.0) {
                return Err(Error::Config(format!(
                    "expected {name}.size and {name}.slices in 1..=4096 and positive spacings, \
                     found {fov:?}"
                )));
            }
        }
        let numbers = [self.variation, self.mr_noise, self.mr_bias];
        if !numbers.iter().all(|v| (0.0..=2.0).contains(v)) {
            return Err(Error::Config(format!(
                "expected variation, mr_noise and mr_bias between 0 and 2, found {numbers:?}"
            )));
        }
        if !(self.ct_photons.is_finite() && self.ct_photons > 0.0) {
            return Err(Error::Config(format!(
                "expected a positive number of ct_photons, found {}",
                self.ct_photons
            )));
        }
        Ok(())
    }
}

/// One patient and how each scanner sees them; enough to render either scan again.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PhantomDraw {
    /// The patient.
    pub anatomy: Anatomy,
    /// The CT scan.
    pub ct: Acquisition,
    /// The MR scan.
    pub mr: Acquisition,
}

impl PhantomDraw {
    /// The scan in `modality`.
    #[must_use]
    pub fn acquisition(&self, modality: Modality) -> &Acquisition {
        match modality {
            Modality::Ct => &self.ct,
            Modality::Mr => &self.mr,
        }
    }
}

/// Draws patient `case` of `seed`.
///
/// # Errors
/// [`Error::Config`] where a size, spacing or strength lies outside its range.
pub fn draw(config: &PhantomConfig, seed: u64, case: u64) -> Result<PhantomDraw> {
    config.check()?;
    let anatomy = Anatomy::draw(&mut Rng::new(seed, case, 0), config.variation);
    let centre = anatomy.pose.translation_mm;
    let ct = Acquisition::draw(&mut Rng::new(seed, case, 1), config, Modality::Ct, centre);
    let mr = Acquisition::draw(&mut Rng::new(seed, case, 2), config, Modality::Mr, centre);
    Ok(PhantomDraw { anatomy, ct, mr })
}
