//! All settings of a scan.

use std::path::Path;

use serde::{Deserialize, Serialize};
use toml::{Table, Value};

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
    /// Charge per turn that the volume was itself scanned with, mAs: with `fast`, only the noise that
    /// a lower charge adds to it ([`crate::photons::LowerDose`]). The volume is taken to be free of
    /// noise where not stated.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub given_mas: Option<f64>,
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
            given_mas: None,
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
        let settings: Self = toml::from_str(text).map_err(unreadable)?;
        settings.check()?;
        Ok(settings)
    }

    /// The settings of a `.toml` file, or those of a scanner by its name, with overrides such as
    /// `tube.mas=100` or `physics.rings={}`.
    ///
    /// # Errors
    /// As [`Self::parse`] and [`Scanner::preset`]; [`Error::Read`] where the file cannot be read.
    pub fn load(name: &str, overrides: &[String]) -> Result<Self> {
        let mut table = Table::new();
        if name.ends_with(".toml") {
            let path = Path::new(name);
            let text = std::fs::read_to_string(path).map_err(|e| Error::read(e, path))?;
            // Faults of the file are told with its name, those of the overrides without.
            Self::parse(&text).map_err(|e| match e {
                Error::Setting(message) => Error::Setting(format!("{message}: {name}")),
                other => other,
            })?;
            table = text.parse().map_err(unreadable)?;
        } else {
            Scanner::preset(name)?;
            let scanner = Table::from_iter([("preset".to_owned(), Value::from(name))]);
            table.insert("scanner".to_owned(), scanner.into());
        }
        for text in overrides {
            set(&mut table, text)?;
        }
        let settings: Self = table.try_into().map_err(unreadable)?;
        settings.check()?;
        Ok(settings)
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
        self.check_given()
    }

    /// Refuses a charge of the given volume where it cannot be allowed for.
    fn check_given(&self) -> Result<()> {
        let Some(given) = self.given_mas else {
            return Ok(());
        };
        if !self.fast || self.physics.spectrum.is_some() {
            return Err(Error::Setting(
                "expected given_mas with fast = true and without physics.spectrum: a whole scan \
                 blurs the noise that the volume has, and the noise of many energies is not known \
                 from their sum"
                    .into(),
            ));
        }
        // A target of noise becomes a charge before it is scanned, and is checked then.
        let lower = self.target_sd_hu.is_some() || self.tube.mas <= given;
        if given.is_finite() && given > 0.0 && lower {
            return Ok(());
        }
        Err(Error::Setting(format!(
            "expected given_mas, which the volume was scanned with, to be at least tube.mas, {}, \
             found {given}; noise cannot be taken away",
            self.tube.mas
        )))
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
            settings.check_given()?;
        }
        Ok(settings)
    }
}

fn unreadable(error: toml::de::Error) -> Error {
    Error::Setting(error.to_string().trim_end().to_owned())
}

/// Puts `table.key=value` in place; tables that are not there are made.
fn set(table: &mut Table, text: &str) -> Result<()> {
    let wrong = || {
        Error::Setting(format!(
            "expected key=value, such as tube.mas=100, found `{text}`"
        ))
    };
    let (key, value) = text.split_once('=').ok_or_else(wrong)?;
    let (key, value) = (key.trim(), value.trim());
    // A bare word is a string, so that it needs no quotes.
    let parsed = format!("v = {value}")
        .parse::<Table>()
        .ok()
        .and_then(|mut t| t.remove("v"))
        .unwrap_or_else(|| Value::String(value.to_owned()));
    let mut table = table;
    let mut parts = key.split('.').peekable();
    while let Some(part) = parts.next() {
        if part.is_empty() {
            return Err(wrong());
        }
        if parts.peek().is_none() {
            table.insert(part.to_owned(), parsed);
            return Ok(());
        }
        let inner = table.entry(part).or_insert_with(|| Table::new().into());
        table = inner.as_table_mut().ok_or_else(|| {
            Error::Setting(format!(
                "expected `{part}` to hold keys, found a value; state it in a TOML file: `{text}`"
            ))
        })?;
    }
    Err(wrong())
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
        let clinical = ScanSettings::load("clinical", &[]).expect("a preset");
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
        assert!(ScanSettings::load("toaster", &[]).is_err());
        let missing = ScanSettings::load("missing/scan.toml", &[]).expect_err("no file");
        assert!(missing.to_string().ends_with("missing/scan.toml"));
    }

    #[test]
    fn overrides_reach_every_table() {
        let load = |texts: &[&str]| {
            let texts: Vec<String> = texts.iter().map(|&t| t.to_owned()).collect();
            ScanSettings::load("clinical", &texts)
        };
        let settings = load(&[
            "tube.mas = 55",
            "reconstruction.kernel=shepp-logan",
            "physics.rings={}",
            "scanner.views_per_turn=720",
            "noise=false",
        ])
        .expect("settings");
        assert_eq!((settings.tube.mas, settings.noise), (55.0, false));
        assert_eq!(
            (settings.scanner.rows, settings.scanner.views_per_turn),
            (64, 720)
        );
        assert_eq!(
            settings.reconstruction.kernel,
            crate::filter::Kernel::SheppLogan
        );
        assert!(settings.physics.rings.is_some());
        for (text, word) in [
            ("tube.mas", "key=value"),
            ("tube..mas=1", "key=value"),
            ("tube.mass=1", "mass"),
            ("noise.mas=1", "boolean"),
            ("tube.mas=-1", "mas"),
        ] {
            let message = load(&[text]).expect_err(text).to_string();
            assert!(message.contains(word), "{message}");
        }
        let message = load(&["physics.metal=[]", "physics.metal.radius_mm=3"]);
        assert!(
            message
                .expect_err("a list")
                .to_string()
                .contains("TOML file")
        );
    }

    #[test]
    fn the_charge_of_the_volume_must_be_one_that_can_be_lowered() {
        let with = |text: &str| ScanSettings::parse(text).map_err(|e| e.to_string());
        assert!(with("fast = true\ngiven_mas = 200.0\n[tube]\nmas = 50.0").is_ok());
        let more = with("fast = true\ngiven_mas = 20.0\n[tube]\nmas = 50.0");
        assert!(more.is_err_and(|e| e.contains("taken away")));
        let whole = with("given_mas = 200.0\n[tube]\nmas = 50.0");
        assert!(whole.is_err_and(|e| e.contains("fast = true")));
    }
}
