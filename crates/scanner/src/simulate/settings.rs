//! All settings of a scan.

use std::path::Path;

use serde::{Deserialize, Serialize};

use super::calibrate;
use crate::geometry::{Helix, Scanner};
use crate::photons::{Detector, Tube};
use crate::physics::Physics;
use crate::project::SubRays;
use crate::reconstruct::Reconstruction;
use crate::{Error, Result};

/// What is scanned with, how, and what is made of it. As TOML: tables of these names, every key of
/// which may be left out.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ScanSettings {
    /// HU below which a voxel is air: the noise of the given volume outside the patient.
    pub air_below_hu: f64,
    /// Whether photons are counted; without, the scan is that of endless light.
    pub noise: bool,
    /// Noise in the middle of a water cylinder that the tube is to be set for, HU; in place of
    /// `tube.mas`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target_sd_hu: Option<f64>,
    /// Diameter of that cylinder, mm.
    pub target_diameter_mm: f64,
    /// Whether the start angle is drawn; `helix.start_deg` holds otherwise.
    pub draw_start: bool,
    /// Whether noise alone is reconstructed and added to the volume ([`crate::fast`]).
    pub fast: bool,
    /// Tube and detector.
    pub scanner: Scanner,
    /// Way around the patient.
    pub helix: Helix,
    /// Voltage, charge and filter.
    pub tube: Tube,
    /// Electronics.
    pub detector: Detector,
    /// Rays for each detector element.
    pub sub_rays: SubRays,
    /// Kernel and aperture.
    pub reconstruction: Reconstruction,
    /// Effects past one energy and a still patient.
    pub physics: Physics,
}

impl Default for ScanSettings {
    /// The matched scanner at 120 kV and 200 mAs with a soft kernel: an adult's abdomen.
    fn default() -> Self {
        Self {
            air_below_hu: -990.0,
            noise: true,
            target_sd_hu: None,
            target_diameter_mm: 300.0,
            draw_start: true,
            fast: false,
            scanner: Scanner::default(),
            helix: Helix::default(),
            tube: Tube::default(),
            detector: Detector::default(),
            sub_rays: SubRays::default(),
            reconstruction: Reconstruction::default(),
            physics: Physics::default(),
        }
    }
}

impl ScanSettings {
    /// The settings that a TOML text states.
    ///
    /// # Errors
    /// [`Error::Setting`] for an unknown key or a value that no scan can have.
    pub fn parse(text: &str) -> Result<Self> {
        let settings: Self = toml::from_str(text)
            .map_err(|e| Error::Setting(e.to_string().trim_end().to_owned()))?;
        settings.check()?;
        Ok(settings)
    }

    /// The settings of a `.toml` file, or those of a scanner by its name.
    ///
    /// # Errors
    /// As [`Self::parse`] and [`Scanner::preset`]; [`Error::Read`] where the file cannot be read.
    pub fn load(name: &str) -> Result<Self> {
        if !name.ends_with(".toml") {
            return Ok(Self {
                scanner: Scanner::preset(name)?,
                ..Self::default()
            });
        }
        let path = Path::new(name);
        let text = std::fs::read_to_string(path).map_err(|e| Error::read(e, path))?;
        Self::parse(&text).map_err(|e| match e {
            Error::Setting(message) => Error::Setting(format!("{message}: {name}")),
            other => other,
        })
    }

    /// Refuses values that no scan can have.
    ///
    /// # Errors
    /// [`Error::Setting`] naming the key, its bounds and what was found.
    pub fn check(&self) -> Result<()> {
        self.scanner.check()?;
        self.tube.check()?;
        self.detector.check()?;
        self.reconstruction.check()?;
        self.physics.check()?;
        for (key, found, low, high) in [
            ("air_below_hu", self.air_below_hu, -1e4, -500.0),
            (
                "target_sd_hu",
                self.target_sd_hu.unwrap_or(1.0),
                0.1,
                1000.0,
            ),
            ("target_diameter_mm", self.target_diameter_mm, 50.0, 500.0),
        ] {
            if !(low..=high).contains(&found) {
                return Err(Error::Setting(format!(
                    "expected {key} from {low} to {high}, found {found}"
                )));
            }
        }
        Ok(())
    }

    /// The same with the tube's charge set for the target of noise, where there is one: a water
    /// cylinder is scanned and reconstructed, which takes a second or so; for many volumes, do it
    /// once.
    ///
    /// # Errors
    /// As [`super::simulate`]; where no charge that a tube can have meets the target.
    pub fn calibrated(&self) -> Result<Self> {
        let mut settings = self.clone();
        if let Some(target) = settings.target_sd_hu.take() {
            settings.tube.mas = calibrate::charge_for(self, target)?;
        }
        Ok(settings)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_survive_their_file() {
        let settings = ScanSettings {
            target_sd_hu: Some(12.0),
            fast: true,
            ..ScanSettings::default()
        };
        let text = toml::to_string(&settings).expect("written");
        assert_eq!(ScanSettings::parse(&text).expect("read"), settings);
        assert_eq!(
            ScanSettings::parse("").expect("read"),
            ScanSettings::default()
        );
        let clinical = ScanSettings::load("clinical").expect("a preset");
        assert_eq!(clinical.scanner.rows, 64);
    }

    #[test]
    fn mistakes_are_named() {
        for (text, word) in [
            ("noize = true", "noize"),
            ("air_below_hu = 0.0", "air_below_hu"),
            ("target_sd_hu = -3.0", "target_sd_hu"),
            ("[tube]\nmas = -1.0", "mas"),
            ("[physics.rings]\ngain_sd = 3.0", "gain_sd"),
            ("[physics.spectrum]\nbins = 1", "bins"),
        ] {
            let message = ScanSettings::parse(text).expect_err(text).to_string();
            assert!(message.contains(word), "{message}");
        }
        assert!(ScanSettings::load("toaster").is_err());
        let missing = ScanSettings::load("missing/scan.toml").expect_err("no file");
        assert!(missing.to_string().ends_with("missing/scan.toml"));
    }
}
