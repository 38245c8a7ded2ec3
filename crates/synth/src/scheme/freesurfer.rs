//! FreeSurfer's values as SynthSeg paints and learns them.
//!
//! Which values there are, which of them share a Gaussian and what each is learnt as are those of the
//! lists that SynthSeg's authors publish with their label maps (generation labels, generation classes
//! and segmentation labels of Billot et al., Medical Image Analysis 86:102789, 2023,
//! doi:10.1016/j.media.2023.102789). There, unlike in other schemes here, the two sides are classes
//! of their own. Values that only FreeSurfer's own segmentations have (choroid plexus, corpus
//! callosum, cortical parcels) are learnt as they are.

use std::collections::BTreeMap;

use crate::Structure;

/// Values without sides: value, name, target.
const MIDDLE: [(u16, &str, u16); 9] = [
    (0, "background", 0),
    (14, "3rd ventricle", 14),
    (15, "4th ventricle", 15),
    (16, "brain-stem", 16),
    (24, "CSF", 0),
    (72, "5th ventricle", 0),
    (77, "white matter hypointensities", 77),
    (80, "non-white matter hypointensities", 80),
    (85, "optic chiasm", 0),
];

/// What lies around the brain in SynthSeg's label maps: painted, not learnt.
const AROUND: [u16; 12] = [502, 506, 507, 508, 509, 511, 512, 514, 515, 516, 517, 530];

/// Pairs: value on the left, on the right, name, the left value whose class it is of, and the left
/// value that it is learnt as.
const PAIRS: [(u16, u16, &str, u16, u16); 19] = [
    (2, 41, "cerebral white matter", 2, 2),
    (3, 42, "cerebral cortex", 3, 3),
    (4, 43, "lateral ventricle", 4, 4),
    (5, 44, "inferior lateral ventricle", 4, 5),
    (7, 46, "cerebellum white matter", 7, 7),
    (8, 47, "cerebellum cortex", 8, 8),
    (10, 49, "thalamus", 10, 10),
    (11, 50, "caudate", 11, 11),
    (12, 51, "putamen", 12, 12),
    (13, 52, "pallidum", 13, 13),
    (17, 53, "hippocampus", 17, 17),
    (18, 54, "amygdala", 17, 18),
    (25, 57, "lesion", 25, 2),
    (26, 58, "accumbens area", 26, 26),
    (28, 60, "ventral DC", 28, 28),
    (30, 62, "vessel", 30, 0),
    (31, 63, "choroid plexus", 31, 31),
    (136, 163, "lateral ventricle, second class", 136, 4),
    (137, 164, "inferior lateral ventricle, second class", 136, 5),
];

const CORPUS_CALLOSUM: std::ops::RangeInclusive<u16> = 251..=255;

/// Parcels of the cortex (Desikan–Killiany) are 1000 and more on the left, 2000 and more on the
/// right.
const PARCELS: std::ops::RangeInclusive<u16> = 0..=35;

/// All values.
pub(super) fn structures() -> BTreeMap<u16, Structure> {
    let alone = |value, name: String, class: &str, target| {
        let structure = Structure {
            class: class.to_owned(),
            name,
            mirror: None,
            target,
        };
        (value, structure)
    };
    let middle = MIDDLE.map(|(value, name, target)| alone(value, name.into(), name, target));
    let around = AROUND.map(|value| {
        let name = format!("around the brain {value}");
        alone(value, name.clone(), &name, 0)
    });
    let callosum = CORPUS_CALLOSUM.map(|value| {
        let name = format!("corpus callosum {}", value - 250);
        alone(value, name, "corpus callosum", value)
    });
    middle
        .into_iter()
        .chain(around)
        .chain(callosum)
        .chain(PAIRS.into_iter().flat_map(pair))
        .chain(PARCELS.flat_map(parcel))
        .collect()
}

/// Both sides of a pair.
fn pair((left, right, name, class, target): (u16, u16, &str, u16, u16)) -> [(u16, Structure); 2] {
    let row = |of: u16| PAIRS.iter().find(|row| row.0 == of);
    let class = row(class).map_or(name, |row| row.2);
    let right_target = row(target).map_or(0, |row| row.1);
    sides(left, right, name, class, [target, right_target])
}

fn parcel(number: u16) -> [(u16, Structure); 2] {
    let (left, right) = (1000 + number, 2000 + number);
    let name = format!("cortical parcel {number}");
    sides(left, right, &name, "cerebral cortex", [left, right])
}

fn sides(
    left: u16,
    right: u16,
    name: &str,
    class: &str,
    targets: [u16; 2],
) -> [(u16, Structure); 2] {
    let side = |value, word: &str, other, target| {
        let structure = Structure {
            name: format!("{word} {name}"),
            class: format!("{word} {class}"),
            mirror: Some(other),
            target,
        };
        (value, structure)
    };
    [
        side(left, "left", right, targets[0]),
        side(right, "right", left, targets[1]),
    ]
}
