//! Scanners by name.
//!
//! Sources: \[FreeCT\] the scanner files that come with FreeCT (Hoffman et al., "Technical Note:
//! FreeCT_wFBP", Med. Phys. 43:1411, 2016, doi:10.1118/1.4941953); \[XCIST\] the default scanner of
//! XCIST (Wu et al., Phys. Med. Biol. 67:194002, 2022, doi:10.1088/1361-6560/ac9174); \[FBP\] the
//! published dimensions of the Philips Brilliance (570 mm, 1040 mm, 672 channels).

use super::Scanner;

/// The scanners that can be asked for by name, with what they are.
pub const PRESETS: &[(&str, &str)] = &[
    (
        "matched-1.5mm",
        "32 rows as thick as the 1.5 mm voxels of TotalSegmentator's grids; 50 cm field of view",
    ),
    (
        "clinical",
        "64 rows of 0.625 mm, 672 channels, 1000 views a turn",
    ),
    ("philips-brilliance", "Philips Brilliance 64 and IQon"),
    (
        "siemens-sensation64",
        "Siemens Sensation 64, 32 rows of 0.6 mm, no flying focal spot",
    ),
    (
        "siemens-definition-as",
        "Siemens Definition AS, 64 rows of 0.6 mm, no flying focal spot",
    ),
    ("ge-like", "the default scanner of XCIST, 900 channels"),
];

pub(super) fn preset(name: &str) -> Option<Scanner> {
    // The Brilliance's tube and detector distances, and a fan of 52 degrees: 50 cm at isocentre.
    let brilliance = Scanner {
        source_to_isocentre_mm: 570.0,
        source_to_detector_mm: 1040.0,
        channels: 672,
        channel_rad: 0.001_35,
        central_channel: quarter_offset(672),
        rows: 64,
        row_mm: 0.625,
        views_per_turn: 1000,
        focal_spot_mm: [1.0, 1.0],
        fill: [0.9, 0.9],
    };
    Some(match name {
        "matched-1.5mm" => Scanner {
            channels: 512,
            channel_rad: 0.001_77,
            central_channel: quarter_offset(512),
            rows: 32,
            row_mm: 1.5,
            // 4 pi r f keeps views apart by less than the detail f = 1 / 3 mm at r = 175 mm: 733.
            views_per_turn: 720,
            ..brilliance
        },
        "clinical" => brilliance,
        "philips-brilliance" => Scanner {
            views_per_turn: 1160,
            ..brilliance
        },
        // [FreeCT]: a cone of 0.031576 rad over 32 rows of 0.6 mm.
        "siemens-sensation64" => Scanner {
            central_channel: 334.25,
            rows: 32,
            row_mm: 0.6,
            views_per_turn: 1160,
            ..brilliance
        },
        // [FreeCT]: a cone of 0.030249 rad over 32 rows; sampled twice by the flying focal spot.
        "siemens-definition-as" => Scanner {
            source_to_isocentre_mm: 595.0,
            source_to_detector_mm: 1085.6,
            channels: 736,
            channel_rad: 0.001_184_4,
            central_channel: quarter_offset(736),
            rows: 32,
            row_mm: 0.6,
            views_per_turn: 1152,
            ..brilliance
        },
        // [XCIST]: columns of 1 mm at the detector, 16 of which rows are 1 mm at the detector too.
        "ge-like" => Scanner {
            source_to_isocentre_mm: 540.0,
            source_to_detector_mm: 950.0,
            channels: 900,
            channel_rad: 1.0 / 950.0,
            central_channel: quarter_offset(900),
            rows: 16,
            row_mm: 540.0 / 950.0,
            views_per_turn: 1000,
            ..brilliance
        },
        _ => return None,
    })
}

/// The centre shifted by a quarter of a channel, so that opposite rays interleave.
fn quarter_offset(channels: usize) -> f64 {
    (channels - 1) as f64 / 2.0 - 0.25
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_preset_is_a_scanner() {
        for (name, _) in PRESETS {
            let scanner = preset(name).expect("listed");
            scanner.check().expect(name);
            assert!(scanner.field_radius_mm() > 200.0, "{name}");
        }
        assert!(preset("toaster").is_none());
    }

    /// The cone angles that FreeCT's files state: rows times their height over the distance.
    #[test]
    fn cones_are_as_published() {
        for (name, cone) in [
            ("siemens-sensation64", 0.031_576),
            ("siemens-definition-as", 0.030_249),
        ] {
            let s = preset(name).expect("listed");
            let found = s.rows as f64 * s.row_mm / s.source_to_isocentre_mm;
            assert!((found / cone - 1.0).abs() < 0.075, "{name}: {found}");
        }
    }
}
