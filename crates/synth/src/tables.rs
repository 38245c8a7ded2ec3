//! Built-in intensities: Hounsfield units of tissues, for CT that is made without a scan.
//!
//! The table and its sources are in `tables/ct.toml`. A label finds its tissue by the words of its name:
//! `kidney_left`, `Kidney-Lt` and `left kidney` are kidneys. What is not in the table is taken for soft
//! tissue with a wide spread between patients, so that unknown organs differ.

use std::sync::LazyLock;

use serde::{Deserialize, Serialize};

use crate::quantiles::Quantiles;

/// When after an injection of contrast medium a scan was made.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Phase {
    /// Without contrast medium.
    Native,
    /// Portal venous, about 70 s after: most scans of the abdomen.
    #[default]
    Venous,
}

/// HU of a tissue.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Hounsfield {
    /// Mean over patients.
    pub(crate) mean: f32,
    /// Standard deviation of a patient's mean between patients.
    pub(crate) between: f32,
    /// Standard deviation within a patient.
    pub(crate) sd: f32,
}

/// A tissue of the table.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Tissue {
    names: Vec<String>,
    native: [f32; 2],
    venous: Option<[f32; 2]>,
    sd: f32,
    /// For readers of the file.
    #[serde(rename = "from")]
    _from: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Table {
    tissue: Vec<Tissue>,
}

static CT: LazyLock<Table> = LazyLock::new(|| {
    toml::from_str(include_str!("tables/ct.toml")).expect("the table is tested to be one")
});

/// Between patients, of tissues that are not in the table.
const UNKNOWN_BETWEEN: f32 = 40.0;

/// The body of an adult's trunk, by volume: chosen after the masses of ICRP Publication 89 (2002), table
/// 2.8, with half of the skeleton's muscle left to the limbs.
const BODY: [(f32, &str); 7] = [
    (0.32, "fat"),
    (0.26, "muscle"),
    (0.16, "soft tissue"),
    (0.05, "liver"),
    (0.03, "aorta"),
    (0.09, "bone"),
    (0.09, "lung"),
];

/// HU of what has one of these names, the first that is in the table.
pub(crate) fn ct(names: &[&str], phase: Phase) -> Hounsfield {
    names
        .iter()
        .find_map(|name| known(name, phase))
        .unwrap_or_else(|| {
            let soft = known("soft tissue", phase);
            Hounsfield {
                mean: soft.map_or(50.0, |h| h.mean),
                between: UNKNOWN_BETWEEN,
                sd: soft.map_or(20.0, |h| h.sd),
            }
        })
}

/// HU of what a name says, if the table has it.
pub(crate) fn known(name: &str, phase: Phase) -> Option<Hounsfield> {
    let name = words(name);
    let fit = |tissue: &&Tissue| {
        let holds = |pattern: &&String| format!(" {name} ").contains(&format!(" {pattern} "));
        tissue.names.iter().filter(holds).map(String::len).max()
    };
    let best = CT.tissue.iter().max_by_key(|tissue| fit(tissue))?;
    fit(&best)?;
    let [mean, between] = match phase {
        Phase::Native => best.native,
        Phase::Venous => best.venous.unwrap_or(best.native),
    };
    Some(Hounsfield {
        mean,
        between,
        sd: best.sd,
    })
}

/// The distribution of a body's voxels.
pub(crate) fn body(phase: Phase) -> Quantiles {
    let part = |&(share, name): &(f32, &str)| {
        let tissue = ct(&[name], phase);
        (share, tissue.mean, tissue.sd)
    };
    Quantiles::of_mixture(&BODY.iter().map(part).collect::<Vec<_>>())
}

/// A name's words: small letters, spaces for other separators and before capitals.
fn words(name: &str) -> String {
    let mut out = String::with_capacity(name.len() + 4);
    let mut small_before = false;
    for c in name.chars() {
        if small_before && c.is_uppercase() {
            out.push(' ');
        }
        small_before = c.is_lowercase();
        out.extend(
            c.to_lowercase()
                .map(|c| if c.is_alphanumeric() { c } else { ' ' }),
        );
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_in_order() {
        assert!(CT.tissue.len() > 40);
        let mut seen = std::collections::BTreeSet::new();
        for tissue in &CT.tissue {
            let spreads = [
                tissue.native[1],
                tissue.venous.map_or(1.0, |v| v[1]),
                tissue.sd,
            ];
            assert!(spreads.iter().all(|s| *s > 0.0), "{tissue:?}");
            assert!((-1000.0..=1000.0).contains(&tissue.native[0]), "{tissue:?}");
            for name in &tissue.names {
                assert_eq!(*name, words(name));
                assert!(seen.insert(name), "{name} twice");
            }
        }
    }

    #[test]
    fn names_find_their_tissue() {
        let mean = |name: &str| known(name, Phase::Native).map(|h| h.mean);
        for (name, tissue) in [
            ("kidney_left", "kidney"),
            ("kidney_cyst_left", "cyst"),
            ("lung_upper_lobe_left", "lung"),
            ("Lung-Rt", "lung"),
            ("BrainStem", "brain stem"),
            ("Brain-Stem", "brain stem"),
            ("Brain", "brain"),
            ("vertebrae_L5", "vertebrae"),
            ("rib_7", "rib"),
            ("portal_vein_and_splenic_vein", "portal vein"),
            ("iliac_artery", "artery"),
            ("Spinal-Canal", "spinal canal"),
            ("liver, part 2", "liver"),
            ("left kidney", "kidney"),
            ("urinary_bladder", "bladder"),
            ("gallbladder", "gallbladder"),
        ] {
            assert!(mean(name).is_some(), "{name}");
            assert_eq!(mean(name), mean(tissue), "{name}");
        }
        // No word of the table, although letters are alike: "trib", "hippo".
        assert_eq!(mean("tribe"), None);
        assert_eq!(mean("label 3"), None);
        assert_eq!(ct(&["label 3"], Phase::Native).between, UNKNOWN_BETWEEN);
        assert_eq!(ct(&["label 3", "liver"], Phase::Native).mean, 58.0);
    }

    #[test]
    fn contrast_medium_brightens() {
        let mean = |name: &str, phase| ct(&[name], phase).mean;
        for name in ["liver", "kidney", "aorta", "spleen"] {
            assert!(
                mean(name, Phase::Venous) > mean(name, Phase::Native) + 30.0,
                "{name}"
            );
        }
        assert_eq!(mean("air", Phase::Venous), -1000.0);
    }

    #[test]
    fn a_body_is_fat_water_lung_and_bone() {
        let body = body(Phase::Venous);
        assert!(body.at(0.03) < -700.0 && body.at(0.3) < -80.0);
        assert!((20.0..110.0).contains(&body.at(0.6)) && body.at(0.97) > 200.0);
    }

    /// All of TotalSegmentator's structures are known.
    #[test]
    fn totalsegmentators_structures_are_known() {
        for structure in crate::LabelScheme::totalsegmentator().structures().values() {
            assert!(
                known(&structure.name, Phase::Venous).is_some(),
                "{structure:?}"
            );
        }
    }
}
