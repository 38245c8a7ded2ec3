//! What a scanner is built like.
//!
//! ```
//! use crossmod_scanner::geometry::Scanner;
//! let scanner = Scanner::parse(
//!     r#"
//!     preset = "clinical"   # every key that is not stated is this one's
//!     views_per_turn = 1160
//!     "#,
//! )?;
//! assert_eq!((scanner.rows, scanner.views_per_turn), (64, 1160));
//! # Ok::<(), crossmod_scanner::Error>(())
//! ```

use std::f64::consts::FRAC_PI_2;

use serde::{Deserialize, Serialize};

use super::presets::{PRESETS, preset};
use crate::{Error, Result};

/// Most rows, channels or views per turn: several times what any scanner has.
const MOST: usize = 1 << 14;

/// Tube and detector. As TOML: any of these keys, and `preset`, whose values the keys that are not
/// stated have; the preset `matched-1.5mm` where none is named.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Stated")]
pub struct Scanner {
    /// From the focal spot to the axis of rotation, mm.
    pub source_to_isocentre_mm: f64,
    /// From the focal spot to the detector, mm.
    pub source_to_detector_mm: f64,
    /// Detector elements along the fan.
    pub channels: usize,
    /// Angle between neighbouring channels, seen from the source.
    pub channel_rad: f64,
    /// The channel, counted from 0 and fractional, whose ray would cross the axis: a quarter of a
    /// channel off the middle lets opposite rays interleave.
    pub central_channel: f64,
    /// Detector rows.
    pub rows: usize,
    /// Height of a row where it crosses the isocentre, mm.
    pub row_mm: f64,
    /// Views per turn; even, so that every view has one opposite.
    pub views_per_turn: usize,
    /// Width (along the fan) and height of the focal spot, mm.
    pub focal_spot_mm: [f64; 2],
    /// Share of an element's width and height that detects.
    pub fill: [f64; 2],
}

/// A scanner as it stands in a file.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Stated {
    preset: Option<String>,
    source_to_isocentre_mm: Option<f64>,
    source_to_detector_mm: Option<f64>,
    channels: Option<usize>,
    channel_rad: Option<f64>,
    central_channel: Option<f64>,
    rows: Option<usize>,
    row_mm: Option<f64>,
    views_per_turn: Option<usize>,
    focal_spot_mm: Option<[f64; 2]>,
    fill: Option<[f64; 2]>,
}

impl TryFrom<Stated> for Scanner {
    type Error = Error;

    fn try_from(stated: Stated) -> Result<Self> {
        let base = stated
            .preset
            .as_deref()
            .map_or_else(|| Ok(Self::default()), Self::preset)?;
        let channels = stated.channels.unwrap_or(base.channels);
        // Another number of channels moves the middle, not the offset from it.
        let moved = base.central_channel + (channels as f64 - base.channels as f64) / 2.0;
        let scanner = Self {
            source_to_isocentre_mm: stated
                .source_to_isocentre_mm
                .unwrap_or(base.source_to_isocentre_mm),
            source_to_detector_mm: stated
                .source_to_detector_mm
                .unwrap_or(base.source_to_detector_mm),
            channels,
            channel_rad: stated.channel_rad.unwrap_or(base.channel_rad),
            central_channel: stated.central_channel.unwrap_or(moved),
            rows: stated.rows.unwrap_or(base.rows),
            row_mm: stated.row_mm.unwrap_or(base.row_mm),
            views_per_turn: stated.views_per_turn.unwrap_or(base.views_per_turn),
            focal_spot_mm: stated.focal_spot_mm.unwrap_or(base.focal_spot_mm),
            fill: stated.fill.unwrap_or(base.fill),
        };
        scanner.check()?;
        Ok(scanner)
    }
}

impl Default for Scanner {
    /// The preset `matched-1.5mm`.
    fn default() -> Self {
        preset("matched-1.5mm").expect("a preset of that name")
    }
}

impl Scanner {
    /// A scanner by its name in [`PRESETS`].
    ///
    /// # Errors
    /// [`Error::Setting`] for a name that is none of them.
    pub fn preset(name: &str) -> Result<Self> {
        preset(name).ok_or_else(|| {
            let known: Vec<&str> = PRESETS.iter().map(|(known, _)| *known).collect();
            Error::Setting(format!(
                "expected a scanner ({}), found `{name}`",
                known.join(", ")
            ))
        })
    }

    /// The scanner that a TOML text describes.
    ///
    /// # Errors
    /// [`Error::Setting`] for an unknown key or a value that no scanner can have.
    pub fn parse(text: &str) -> Result<Self> {
        toml::from_str(text).map_err(|e| Error::Setting(e.to_string().trim_end().to_owned()))
    }

    /// Refuses values that no scanner can have.
    ///
    /// # Errors
    /// [`Error::Setting`] naming the key, its bounds and what was found.
    pub fn check(&self) -> Result<()> {
        let refuse = |key: &str, expected: &str, found: &dyn std::fmt::Debug| {
            Err(Error::Setting(format!(
                "expected {key} {expected}, found {found:?}"
            )))
        };
        let positive = |v: f64| v.is_finite() && v > 0.0;
        for (key, length) in [
            ("source_to_isocentre_mm", self.source_to_isocentre_mm),
            ("source_to_detector_mm", self.source_to_detector_mm),
            ("channel_rad", self.channel_rad),
            ("row_mm", self.row_mm),
        ] {
            if !positive(length) {
                return refuse(key, "above 0", &length);
            }
        }
        for (key, count, least) in [
            ("channels", self.channels, 4),
            ("rows", self.rows, 2),
            ("views_per_turn", self.views_per_turn, 8),
        ] {
            if !(least..=MOST).contains(&count) {
                return refuse(key, &format!("from {least} to {MOST}"), &count);
            }
        }
        if !self.views_per_turn.is_multiple_of(2) {
            return refuse("views_per_turn", "to be even", &self.views_per_turn);
        }
        if self.source_to_detector_mm <= self.source_to_isocentre_mm {
            return refuse(
                "source_to_detector_mm",
                "above source_to_isocentre_mm",
                &self.source_to_detector_mm,
            );
        }
        let last = (self.channels - 1) as f64;
        if !(self.central_channel > 0.0 && self.central_channel < last) {
            return refuse(
                "central_channel",
                "within the channels",
                &self.central_channel,
            );
        }
        if self.half_fan_rad() >= 0.95 * FRAC_PI_2 {
            return refuse(
                "channel_rad",
                "to make a fan below 170 degrees",
                &self.channel_rad,
            );
        }
        if !self
            .focal_spot_mm
            .iter()
            .all(|v| v.is_finite() && *v >= 0.0)
        {
            return refuse("focal_spot_mm", "at least 0", &self.focal_spot_mm);
        }
        if !self.fill.iter().all(|v| positive(*v) && *v <= 1.0) {
            return refuse("fill", "above 0 and at most 1", &self.fill);
        }
        Ok(())
    }

    /// Fan angle of a channel, counted from 0 and fractional, from the ray through the isocentre.
    #[must_use]
    pub fn channel_angle(&self, channel: f64) -> f64 {
        (channel - self.central_channel) * self.channel_rad
    }

    /// Height of a row's middle where it crosses the isocentre, mm.
    #[must_use]
    pub fn row_height_mm(&self, row: f64) -> f64 {
        (row - (self.rows - 1) as f64 / 2.0) * self.row_mm
    }

    /// Millimetres of z per millimetre in the plane along the rays of a row.
    #[must_use]
    pub fn row_slope(&self, row: f64) -> f64 {
        self.row_height_mm(row) / self.source_to_isocentre_mm
    }

    /// Height of all rows together at isocentre: the nominal collimation, mm.
    #[must_use]
    pub fn collimation_mm(&self) -> f64 {
        self.rows as f64 * self.row_mm
    }

    /// Distance between neighbouring rays at isocentre, mm.
    #[must_use]
    pub fn ray_spacing_mm(&self) -> f64 {
        self.source_to_isocentre_mm * self.channel_rad
    }

    /// Largest fan angle, on either side.
    pub(crate) fn half_fan_rad(&self) -> f64 {
        let last = (self.channels - 1) as f64;
        self.channel_angle(last).max(-self.channel_angle(0.0))
    }

    /// Radius of the circle about the axis that the detector sees from every side, mm.
    #[must_use]
    pub fn field_radius_mm(&self) -> f64 {
        let last = (self.channels - 1) as f64;
        let smaller = self.channel_angle(last).min(-self.channel_angle(0.0));
        self.source_to_isocentre_mm * smaller.sin()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_states_what_differs_from_a_preset() {
        let scanner = Scanner::parse("preset = \"clinical\"\nchannels = 700\n").expect("a scanner");
        let clinical = Scanner::preset("clinical").expect("a preset");
        assert_eq!(scanner.rows, clinical.rows);
        let offset = |s: &Scanner| s.central_channel - (s.channels - 1) as f64 / 2.0;
        assert!((offset(&scanner) - offset(&clinical)).abs() < 1e-12);
        assert_eq!(Scanner::parse("").expect("a scanner"), Scanner::default());
    }

    #[test]
    fn a_scanner_survives_its_file() {
        let scanner = Scanner::preset("siemens-sensation64").expect("a preset");
        let text = toml::to_string(&scanner).expect("written");
        assert_eq!(Scanner::parse(&text).expect("read"), scanner);
    }

    #[test]
    fn what_no_scanner_has_is_refused_by_name() {
        for (text, word) in [
            ("row_mm = 0.0", "row_mm"),
            ("rows = 1", "rows"),
            ("views_per_turn = 721", "even"),
            ("channels = 100000000", "channels"),
            ("channel_rad = 0.1", "fan"),
            ("source_to_detector_mm = 100.0", "source_to_detector_mm"),
            ("rowmm = 1.0", "rowmm"),
            ("preset = \"toaster\"", "clinical"),
            ("fill = [0.0, 1.0]", "fill"),
        ] {
            let message = Scanner::parse(text).expect_err(text).to_string();
            assert!(message.contains(word), "{message}");
        }
    }
}
