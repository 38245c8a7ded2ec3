//! The tube: how many photons enter each channel of a view.
//!
//! Quanta per detector element and view are flux × (charge per turn / views per turn) × sensitive
//! area × (1 m / distance)² × transmission of the bow-tie filter, so that a scanner with larger
//! elements or fewer views gives the same noise for the same charge. The flux is the number of
//! photons behind 3 mm of aluminium, per mAs and mm² at 1 m; the bow-tie is aluminium whose
//! thickness depends on the fan angle. Both were read out of the spectra and filters of XCIST (Wu
//! et al., Phys. Med. Biol. 67:194002, 2022, doi:10.1088/1361-6560/ac9174).

use serde::{Deserialize, Serialize};

use crate::geometry::Scanner;
use crate::{Error, Result};

/// Tube voltage (kV) and photons per mAs and mm² at 1 m.
const FLUX: [(f64, f64); 4] = [
    (80.0, 5.4e5),
    (100.0, 9.9e5),
    (120.0, 1.49e6),
    (140.0, 1.98e6),
];

/// Fan angles (degrees) at which the bow-tie filters are tabulated.
const ANGLES: [f64; 6] = [0.0, 5.0, 10.0, 15.0, 20.0, 25.0];

/// Linear attenuation of aluminium at 70 keV, mm^-1.
const ALUMINIUM_MM: f64 = 0.0621;

/// A filter that is thicker towards the edge of the fan, where patients are thin.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Bowtie {
    /// None.
    None,
    /// For heads and children.
    Medium,
    /// For bodies.
    Large,
}

impl Bowtie {
    /// Thickness of aluminium (mm) on the way at a fan angle.
    #[must_use]
    pub fn thickness_mm(self, angle_rad: f64) -> f64 {
        let table = match self {
            Self::None => return 0.0,
            Self::Medium => [0.9, 2.7, 12.3, 27.9, 33.2, 34.5],
            Self::Large => [2.5, 3.1, 10.2, 23.6, 34.7, 36.3],
        };
        let place = (angle_rad.abs().to_degrees() / 5.0).min((ANGLES.len() - 1) as f64);
        let i = (place as usize).min(ANGLES.len() - 2);
        table[i] + (place - i as f64) * (table[i + 1] - table[i])
    }
}

/// What the tube is set to.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Tube {
    /// Tube voltage, kV.
    pub kvp: f64,
    /// Charge per turn, mAs.
    pub mas: f64,
    /// Filter between the tube and the patient.
    pub bowtie: Bowtie,
    /// Photons per mAs and mm² at 1 m; the tabulated number at this voltage where not stated.
    pub flux: Option<f64>,
}

impl Default for Tube {
    /// An adult's abdomen: 120 kV, 200 mAs.
    fn default() -> Self {
        Self {
            kvp: 120.0,
            mas: 200.0,
            bowtie: Bowtie::Large,
            flux: None,
        }
    }
}

impl Tube {
    /// Refuses values that no tube can have.
    ///
    /// # Errors
    /// [`Error::Setting`] naming the key, its bounds and what was found.
    pub fn check(&self) -> Result<()> {
        let flux = self.flux.unwrap_or(1.0);
        for (key, found, low, high) in [
            ("kvp", self.kvp, FLUX[0].0, FLUX[3].0),
            ("mas", self.mas, 1e-3, 1e6),
            ("flux", flux, 1e-3, 1e12),
        ] {
            if !(low..=high).contains(&found) {
                return Err(Error::Setting(format!(
                    "expected {key} from {low} to {high}, found {found}"
                )));
            }
        }
        Ok(())
    }

    /// Photons per mAs and mm² at 1 m.
    #[must_use]
    pub fn flux(&self) -> f64 {
        self.flux.unwrap_or_else(|| {
            let i = FLUX.iter().rposition(|(kvp, _)| *kvp <= self.kvp);
            let i = i.unwrap_or(0).min(FLUX.len() - 2);
            let [(k0, f0), (k1, f1)] = [FLUX[i], FLUX[i + 1]];
            // A power of the voltage in between.
            f0 * (self.kvp / k0).powf((f1 / f0).ln() / (k1 / k0).ln())
        })
    }

    /// Photons that enter an element of `scanner` in a view, before the bow-tie filter.
    #[must_use]
    pub fn photons(&self, scanner: &Scanner) -> f64 {
        let detector = scanner.source_to_detector_mm;
        let width = scanner.channel_rad * detector * scanner.fill[0];
        let height = scanner.row_mm * detector / scanner.source_to_isocentre_mm * scanner.fill[1];
        let charge = self.mas / scanner.views_per_turn as f64;
        self.flux() * charge * width * height * (1000.0 / detector).powi(2)
    }

    /// Photons that enter an element of each channel of `scanner` in a view, where the beam has a
    /// single energy of 70 keV.
    #[must_use]
    pub fn incident(&self, scanner: &Scanner) -> Vec<f32> {
        let photons = self.photons(scanner);
        (0..scanner.channels)
            .map(|channel| {
                let angle = scanner.channel_angle(channel as f64);
                let filter = -ALUMINIUM_MM * self.bowtie.thickness_mm(angle);
                (photons * filter.exp()) as f32
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 200 mAs in 1000 views of elements of 1.40 × 1.14 mm with 81 % sensitive area: 3e5 behind
    /// the middle of the large filter.
    #[test]
    fn the_clinical_scanner_has_its_published_counts() {
        let scanner = Scanner::preset("clinical").expect("a preset");
        let incident = Tube::default().incident(&scanner);
        assert!(
            (incident[336] / 3.05e5 - 1.0).abs() < 0.03,
            "{}",
            incident[336]
        );
        // Behind 30 cm of water about 700 to 900.
        let behind = incident[336] * (-300.0f32 * 0.0193).exp();
        assert!((700.0..1000.0).contains(&behind));
        assert!((0.1..0.15).contains(&(incident[0] / incident[336])));
    }

    #[test]
    fn flux_passes_through_its_table_and_rises() {
        let flux = |kvp| {
            let tube = Tube {
                kvp,
                ..Tube::default()
            };
            tube.check().expect("within the table");
            tube.flux()
        };
        for (kvp, expected) in FLUX {
            assert!((flux(kvp) / expected - 1.0).abs() < 1e-12);
        }
        assert!(flux(90.0) > flux(80.0) && flux(130.0) < flux(140.0));
    }

    /// The same charge gives the same photons per turn and area of the detector.
    #[test]
    fn photons_are_shared_among_views_and_elements() {
        let per_turn = |name: &str| {
            let s = Scanner::preset(name).expect("a preset");
            Tube::default().photons(&s) * s.views_per_turn as f64 / s.row_mm / s.channel_rad
        };
        assert!((per_turn("clinical") / per_turn("matched-1.5mm") - 1.0).abs() < 1e-9);
    }

    #[test]
    fn impossible_tubes_are_refused_by_name() {
        for (text, key) in [
            ("kvp = 20.0", "kvp"),
            ("mas = 0.0", "mas"),
            ("flux = nan", "flux"),
        ] {
            let tube: Tube = toml::from_str(text).expect("a number");
            assert!(tube.check().expect_err(text).to_string().contains(key));
        }
        assert!(toml::from_str::<Tube>("kv = 80.0").is_err());
        let tube: Tube = toml::from_str("bowtie = \"medium\"").expect("a filter");
        assert_eq!(tube.bowtie, Bowtie::Medium);
    }
}
