//! Which patient a case shows, as far as the case's name tells.
//!
//! Two cases of one patient must never be on both sides of a split, nor be paired in unpaired
//! training; names are all a dataset folder gives. The rule of [`subjects`]:
//!
//! 1. In a dataset of 2-D slices, a trailing three-digit slice number is cut off where a patient
//!    number precedes it, either glued (`ct_16003` is patient 16, slice 003) or after `_` or `-`
//!    (`p01_003` is patient p01, slice 003). A glued number that starts with 0 (`img_0001`) is a
//!    running number and is left whole.
//! 2. Words between `_` or `-` that all cases share at the beginning or the end say what was
//!    imaged, not who, and are cut off: `bssfp_p01`, `bssfp_p02`, … become `p01`, `p02`, …
//!    Numbers are never cut and, where there is one patient only, just words without a digit are.
//!
//! Limits: a 2-D dataset whose running numbers have four digits and no leading zero (`img_1001`)
//! reads as patients of up to 1000 slices; patients then are merged, never divided.

use std::collections::BTreeSet;

const SEPARATORS: [char; 2] = ['_', '-'];

/// The patient part (with its leading words) and the three digits of a slice's id, by the rule of
/// this module; `None` where the id does not end in a patient number and a slice number.
///
/// ```
/// use crossmod_volume::dataset::slice_of;
/// assert_eq!(slice_of("ct_16003"), Some(("ct_16", "003")));
/// assert_eq!(slice_of("p01_003"), Some(("p01", "003")));
/// assert_eq!(slice_of("img_0001"), None);
/// ```
#[must_use]
pub fn slice_of(id: &str) -> Option<(&str, &str)> {
    let digits = id.len() - id.trim_end_matches(|c: char| c.is_ascii_digit()).len();
    if digits < 3 {
        return None;
    }
    let (front, slice) = id.split_at(id.len() - 3);
    let patient = if digits == 3 {
        front.strip_suffix(SEPARATORS)?
    } else {
        front
    };
    let running_number = digits > 3 && id[id.len() - digits..].starts_with('0');
    if running_number || !patient.ends_with(|c: char| c.is_ascii_digit()) {
        return None;
    }
    Some((patient, slice))
}

/// The patient of one slice's id taken alone: the patient number without its leading letters
/// (`ct_16003` gives `16`), or the id itself where [`slice_of`] finds no slice number. Where all
/// ids of a dataset are at hand, [`subjects`] knows more.
#[must_use]
pub fn subject_of(id: &str) -> String {
    let Some((patient, _)) = slice_of(id) else {
        return id.to_owned();
    };
    let letters = patient.trim_end_matches(|c: char| c.is_ascii_digit());
    patient[letters.len()..].to_owned()
}

/// The patient of each case of a dataset, in order; `slices` where its images are 2-D slices.
/// The rule is this module's.
#[must_use]
pub fn subjects(ids: &[&str], slices: bool) -> Vec<String> {
    let patients: Vec<&str> = ids
        .iter()
        .map(|id| {
            if slices {
                slice_of(id).map_or(*id, |(patient, _)| patient)
            } else {
                *id
            }
        })
        .collect();
    let single = patients.iter().collect::<BTreeSet<_>>().len() <= 1;
    let words: Vec<Vec<&str>> = patients
        .iter()
        .map(|p| p.split(SEPARATORS).collect())
        .collect();
    let Some(first) = words.first() else {
        return Vec::new();
    };
    let shortest = words.iter().map(Vec::len).min().unwrap_or(0);
    let telling = |word: &str| {
        let digits = word.bytes().filter(u8::is_ascii_digit).count();
        digits == word.len() || (single && digits > 0)
    };

    let leading = (0..shortest.saturating_sub(1))
        .take_while(|&i| !telling(first[i]) && words.iter().all(|w| w[i] == first[i]))
        .count();
    let trailing = (1..shortest - leading)
        .take_while(|&i| {
            let word = first[first.len() - i];
            !telling(word) && words.iter().all(|w| w[w.len() - i] == word)
        })
        .count();
    // Shared words have the same length in every case, and each is followed by one separator.
    let length = |words: &[&str]| words.iter().map(|word| word.len() + 1).sum::<usize>();
    let (front, back) = (
        length(&first[..leading]),
        length(&first[first.len() - trailing..]),
    );
    patients
        .iter()
        .map(|patient| patient[front..patient.len() - back].to_owned())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slice_number_follows_a_patient_number() {
        assert_eq!(slice_of("ct_2004"), Some(("ct_2", "004")));
        assert_eq!(slice_of("p12-117"), Some(("p12", "117")));
        for whole in [
            "p01",
            "img_001",
            "img_0001",
            "img_01003",
            "12",
            "",
            "ß_é",
            "003",
            "_003",
        ] {
            assert_eq!(slice_of(whole), None, "{whole}");
            assert_eq!(subject_of(whole), whole);
        }
        assert_eq!(subject_of("ct_16003"), "16");
        assert_eq!(subject_of("mr_16021"), "16");
    }

    #[test]
    fn words_that_all_cases_share_are_not_the_patient() {
        assert_eq!(subjects(&["bssfp_p01", "bssfp_p02"], false), ["p01", "p02"]);
        assert_eq!(subjects(&["p01_lge", "p02_lge"], false), ["p01", "p02"]);
        assert_eq!(subjects(&["t1_p01", "t1_p02"], false), ["p01", "p02"]);
        assert_eq!(
            subjects(&["ct_16003", "ct_16004", "ct_2004"], true),
            ["16", "16", "2"]
        );
        assert_eq!(subjects(&["a_16003", "b_16003"], true), ["a_16", "b_16"]);
        assert_eq!(subjects(&["ct_1003", "ct_1004"], false), ["1003", "1004"]);
        assert_eq!(subjects(&["lge_p01"], false), ["p01"]);
        assert_eq!(subjects(&["p01_lge"], false), ["p01"]);
        assert_eq!(subjects(&["scan"], false), ["scan"]);
        assert!(subjects(&[], true).is_empty());
    }

    #[test]
    fn different_cases_never_lose_what_tells_them_apart() {
        let ids = ["a_b", "a_b_c", "a", "x-1", "a_b_2"];
        let found = subjects(&ids, false);
        assert_eq!(
            found.iter().collect::<BTreeSet<_>>().len(),
            ids.len(),
            "{found:?}"
        );
    }
}
