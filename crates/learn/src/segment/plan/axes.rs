//! Which way volumes are turned, and along which axes they may be mirrored.
//!
//! nnU-Net swaps axes so that the one of the largest spacing comes first and takes them as they are
//! stored. Here cases that are stored in several orientations are turned to one first, wherever that
//! puts their thick slices along the same axis.

use crossmod_volume::space::Orientation;

use super::Transpose;
use crate::segment::fingerprint::{CaseStatistics, Fingerprint, median};

/// Spacing of the thickest axis over the next one from which slices are thick.
const THICK: f64 = 1.5;

/// A case in the frame that all cases share, before axes are swapped.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Framed {
    pub(super) shape: [usize; 3],
    pub(super) spacing_mm: [f64; 3],
}

/// The frame that all cases share.
#[derive(Debug, Clone)]
pub(super) struct Frame {
    pub(super) orientation: Option<Orientation>,
    /// One per case, shapes after cropping.
    pub(super) cases: Vec<Framed>,
    pub(super) why: String,
}

/// The patient's axis, 0 right–left, 1 front–back, 2 foot–head, that each axis of an array lies
/// along.
fn patient_axes(orientation: Orientation) -> [usize; 3] {
    let mut axes = [0; 3];
    for (at, letter) in orientation.to_string().chars().rev().enumerate().take(3) {
        axes[at] = match letter {
            'R' | 'L' => 0,
            'A' | 'P' => 1,
            _ => 2,
        };
    }
    axes
}

/// The array's axis of thick slices.
fn thick(case: &CaseStatistics) -> Option<usize> {
    if let Some(axis) = (0..3).find(|&a| case.shape[a] == 1) {
        return Some(axis);
    }
    let axis = largest(case.spacing_mm);
    let others = (0..3).filter(|&a| a != axis).map(|a| case.spacing_mm[a]);
    (case.spacing_mm[axis] >= THICK * others.fold(0.0, f64::max)).then_some(axis)
}

/// The first axis of the largest value.
fn largest(values: [f64; 3]) -> usize {
    (0..3).fold(0, |best, a| if values[a] > values[best] { a } else { best })
}

impl Frame {
    pub(super) fn of(fingerprint: &Fingerprint) -> Self {
        let cases = &fingerprint.cases;
        let stored = |why: String, orientation| Self {
            orientation,
            cases: cases
                .iter()
                .map(|c| Framed {
                    shape: c.shape_after_crop,
                    spacing_mm: c.spacing_mm,
                })
                .collect(),
            why,
        };
        if fingerprint.slices {
            return stored("as stored, as pictures tell no orientation".into(), None);
        }
        let mut counts: Vec<(Orientation, usize)> = Vec::new();
        for case in cases {
            match counts.iter_mut().find(|(o, _)| *o == case.orientation) {
                Some((_, n)) => *n += 1,
                None => counts.push((case.orientation, 1)),
            }
        }
        // The first of the most common ones.
        let Some(&(common, n)) = counts.iter().rev().max_by_key(|(_, n)| *n) else {
            return stored("as stored, as there are no cases".into(), None);
        };
        if counts.len() == 1 {
            let why = format!("{common}, in which all cases are stored");
            return stored(why, Some(common));
        }
        let mut thick_axes: Vec<usize> = cases
            .iter()
            .filter_map(|c| Some(patient_axes(c.orientation)[thick(c)?]))
            .collect();
        thick_axes.sort_unstable();
        thick_axes.dedup();
        if thick_axes.len() > 1 {
            let all: Vec<String> = counts.iter().map(|(o, n)| format!("{o} ({n})")).collect();
            let why = format!(
                "as stored, {}: slices lie otherwise from patient to patient, so no one \
                 orientation has them along one axis",
                all.join(", ")
            );
            return stored(why, None);
        }
        let to = patient_axes(common);
        let framed = cases.iter().map(|case| {
            let from = patient_axes(case.orientation);
            let old = to.map(|axis| from.iter().position(|&f| f == axis).unwrap_or(0));
            Framed {
                shape: old.map(|a| case.shape_after_crop[a]),
                spacing_mm: old.map(|a| case.spacing_mm[a]),
            }
        });
        Self {
            orientation: Some(common),
            cases: framed.collect(),
            why: format!(
                "{common}, the orientation of {n} of {} cases; the others are turned",
                cases.len()
            ),
        }
    }

    /// The swap that puts the thickest axis first, for a target spacing in this frame.
    pub(super) fn transpose(&self, spacing_mm: [f64; 3]) -> Transpose {
        let flat = (0..3).find(|&axis| {
            let mut sizes: Vec<f64> = self.cases.iter().map(|c| c.shape[axis] as f64).collect();
            median(&mut sizes) <= 1.0
        });
        let first = flat.unwrap_or_else(|| largest(spacing_mm));
        let mut forward = [first, 0, 0];
        for (to, axis) in forward[1..].iter_mut().zip((0..3).filter(|&a| a != first)) {
            *to = axis;
        }
        Transpose {
            orientation: self.orientation,
            forward,
        }
    }
}

/// The axes of the turned array, of those that patches extend along, that may be mirrored, and why.
pub(super) fn mirror(
    fingerprint: &Fingerprint,
    transpose: Transpose,
    axes: &[usize],
) -> (Vec<usize>, String) {
    let sided = fingerprint
        .classes
        .iter()
        .find(|c| tells_side(&c.class.name));
    let Some(sided) = sided else {
        return (
            axes.to_vec(),
            "along all axes, as no label tells left from right".into(),
        );
    };
    let name = &sided.class.name;
    if fingerprint.slices {
        let why = format!("none: \"{name}\" tells left from right, and pictures do not say where");
        return (Vec::new(), why);
    }
    let orientations: Vec<Orientation> = match transpose.orientation {
        Some(orientation) => vec![orientation],
        None => fingerprint.cases.iter().map(|c| c.orientation).collect(),
    };
    let forbidden = |axis: usize| {
        orientations
            .iter()
            .any(|&o| patient_axes(o)[transpose.forward[axis]] == 0)
    };
    let allowed: Vec<usize> = axes.iter().copied().filter(|&a| !forbidden(a)).collect();
    let along = match allowed
        .iter()
        .map(|&a| ["z", "y", "x"][a])
        .collect::<Vec<_>>()
    {
        none if none.is_empty() => "none".to_owned(),
        some => format!("along {}", some.join(" and ")),
    };
    let why = format!("{along}, not from right to left, which \"{name}\" tells apart");
    (allowed, why)
}

/// Whether a name has a word for a side of the body.
fn tells_side(name: &str) -> bool {
    const SIDES: [&str; 10] = [
        "left", "right", "l", "r", "lh", "rh", "lt", "rt", "sinistra", "dextra",
    ];
    // `LeftKidney` is two words.
    let mut spaced = String::new();
    let mut before = ' ';
    for c in name.chars() {
        if c.is_uppercase() && before.is_lowercase() {
            spaced.push(' ');
        }
        spaced.push(c);
        before = c;
    }
    spaced
        .split(|c: char| !c.is_alphanumeric())
        .any(|word| SIDES.contains(&word.to_lowercase().as_str()))
}

#[cfg(test)]
mod tests {
    use super::super::tests::fingerprint;
    use super::*;

    fn frame(stored: &[(&str, [usize; 3], [f64; 3])]) -> (Fingerprint, Frame) {
        let mut print = fingerprint("MR", [8, 8, 8], [1.0; 3], 0);
        print.cases = stored
            .iter()
            .map(|&(codes, shape, spacing_mm)| CaseStatistics {
                id: codes.into(),
                shape,
                shape_after_crop: shape,
                spacing_mm,
                orientation: codes.parse().expect("an orientation"),
            })
            .collect();
        let frame = Frame::of(&print);
        (print, frame)
    }

    #[test]
    fn cases_are_turned_to_the_common_orientation() {
        // Stored x, y, z: the letters; arrays z, y, x.
        let axial = ("RAS", [20, 300, 256], [3.0, 0.5, 0.6]);
        let sagittal = ("SAR", [256, 300, 20], [0.6, 0.5, 3.0]);
        let (_, frame) = frame(&[axial, axial, sagittal]);
        assert_eq!(
            frame.orientation.map(|o| o.to_string()).as_deref(),
            Some("RAS")
        );
        assert_eq!(frame.cases[2], frame.cases[0]);
        assert_eq!(frame.transpose([3.0, 0.5, 0.6]).forward, [0, 1, 2]);
    }

    #[test]
    fn slices_that_lie_otherwise_from_case_to_case_stay_as_stored() {
        let thick = [8.0, 1.2, 1.2];
        let (print, frame) = frame(&[("PSR", [10, 9, 8], thick), ("LSP", [12, 9, 8], thick)]);
        assert_eq!(frame.orientation, None);
        assert_eq!(frame.cases[1].shape, [12, 9, 8]);
        let transpose = frame.transpose(thick);
        let (axes, _) = mirror(&print, transpose, &[0, 1, 2]);
        assert_eq!(axes, [0, 1, 2]);
        let mut sided = print.clone();
        sided.classes[1].class.name = "left_ventricle".into();
        // Right to left is z in the one and x in the other.
        assert_eq!(mirror(&sided, transpose, &[0, 1, 2]).0, [1]);
    }

    #[test]
    fn the_thick_axis_comes_first_and_sides_follow_it() {
        let coronal = ("RAS", [200, 30, 180], [1.0, 4.0, 1.0]);
        let (mut print, frame) = frame(&[coronal]);
        let transpose = frame.transpose([1.0, 4.0, 1.0]);
        assert_eq!(transpose.forward, [1, 0, 2]);
        assert_eq!(transpose.backward(), [1, 0, 2]);
        print.classes[1].class.name = "kidney_R".into();
        assert_eq!(mirror(&print, transpose, &[1, 2]).0, [1]);
        let flat = ("RAS", [200, 1, 180], [1.0, 1.0, 9.0]);
        assert_eq!(
            self::frame(&[flat]).1.transpose([1.0, 1.0, 9.0]).forward[0],
            1
        );
    }

    #[test]
    fn sides_are_words() {
        for name in [
            "left kidney",
            "Kidney_L",
            "lh-cortex",
            "hippocampusRight",
            "RightLung",
        ] {
            assert!(tells_side(name), "{name}");
        }
        for name in ["liver", "bright lesion", "tumour", "cleft", "Anterior"] {
            assert!(!tells_side(name), "{name}");
        }
    }
}
