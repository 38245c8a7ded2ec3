//! What a real scan adds to a beam of one energy through a patient who lies still.
//!
//! Each effect is a key of [`Physics`] and off unless it is stated:
//!
//! ```
//! let physics: crossmod_scanner::physics::Physics = toml::from_str(
//!     r#"
//!     [spectrum]            # all energies of the tube, water-corrected
//!     bins = 12
//!     [scatter]
//!     corrected = 0.8
//!     [modulation]          # of the tube current, by the patient's attenuation
//!     [rings]
//!     gain_sd = 0.002
//!     [breathing]
//!     amplitude_mm = 10.0
//!     [truncation]
//!     radius_mm = 180.0
//!     [[metal]]
//!     centre_mm = [20.0, 5.0, 40.0]
//!     radius_mm = 6.0
//!     material = "titanium"
//!     [[iodine]]
//!     label = 52
//!     mg_per_ml = 8.0
//!     "#,
//! )?;
//! assert!(physics.spectrum.is_some() && physics.metal.len() == 1);
//! # Ok::<(), toml::de::Error>(())
//! ```

mod beam;
mod body;
mod breathing;
mod material;
mod modulation;
mod rings;
mod scatter;
mod spectrum;
mod truncation;

use serde::{Deserialize, Serialize};

use crate::{Error, Result};

pub(crate) use beam::Beam;
pub(crate) use body::mixtures;
pub use body::{Iodine, Metal};
pub use breathing::Breathing;
pub use material::Material;
pub use modulation::Modulation;
pub use rings::Rings;
pub use scatter::Scatter;
pub(crate) use scatter::ScatterField;
pub use spectrum::Spectrum;
pub use truncation::Truncation;
pub(crate) use truncation::continue_view;

/// Effects past a beam of one energy; none by default.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Physics {
    /// The tube's energies and a correction for water, in place of 70 keV alone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub spectrum: Option<Spectrum>,
    /// Light scattered in the patient.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scatter: Option<Scatter>,
    /// A tube current that follows the patient's attenuation.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub modulation: Option<Modulation>,
    /// Detector elements with an error of their gain.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rings: Option<Rings>,
    /// A patient who breathes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub breathing: Option<Breathing>,
    /// A detector narrower than the patient.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub truncation: Option<Truncation>,
    /// Implants.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub metal: Vec<Metal>,
    /// Contrast agent in labelled organs.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub iodine: Vec<Iodine>,
}

impl Physics {
    /// Refuses values that no scan can have.
    ///
    /// # Errors
    /// [`Error::Setting`] naming the key, its bounds and what was found.
    pub fn check(&self) -> Result<()> {
        self.spectrum.iter().try_for_each(Spectrum::check)?;
        self.scatter.iter().try_for_each(Scatter::check)?;
        self.modulation.iter().try_for_each(Modulation::check)?;
        self.rings.iter().try_for_each(Rings::check)?;
        self.breathing.iter().try_for_each(Breathing::check)?;
        self.truncation.iter().try_for_each(Truncation::check)?;
        self.metal.iter().try_for_each(Metal::check)?;
        self.iodine.iter().try_for_each(Iodine::check)
    }
}

/// Refuses `found` outside `low..=high`, and what is not a number.
fn within(key: &str, found: f64, low: f64, high: f64) -> Result<()> {
    if (low..=high).contains(&found) {
        return Ok(());
    }
    Err(Error::Setting(format!(
        "expected {key} from {low} to {high}, found {found}"
    )))
}
