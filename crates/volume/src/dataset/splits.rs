//! Folds for cross-validation that keep each patient on one side.
//!
//! Randomness: one permutation of the patients from the stream (seed, `folds`, 0).

use std::collections::BTreeMap;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::Case;
use crate::rng::{Rng, case_id};
use crate::{Error, Result};

/// Case ids to train on and to validate on, each in the order of the cases given.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Split {
    /// Train on these.
    pub train: Vec<String>,
    /// Validate on these.
    pub validation: Vec<String>,
}

/// `k` splits; each case is validated on in exactly one, and all cases of a patient
/// ([`Case::subject`]) in the same one. Patients are put in random order, then, those with most
/// cases first, each goes to the fold with the fewest cases so far. The folds do not depend on
/// the order of `cases`.
///
/// # Errors
/// [`Error::Dataset`] where `k` is below 2 or above the number of
/// patients.
pub fn folds(cases: &[Case], k: usize, seed: u64) -> Result<Vec<Split>> {
    let mut sizes: BTreeMap<&str, usize> = BTreeMap::new();
    for case in cases {
        *sizes.entry(&case.subject).or_default() += 1;
    }
    if k < 2 || k > sizes.len() {
        let image = cases.first().and_then(|case| case.images.first());
        return Err(Error::dataset(
            format!(
                "expected from 2 folds to as many as there are patients, found {k} folds for {} \
                 patients; choose another number of folds",
                sizes.len()
            ),
            image
                .and_then(|path| path.parent())
                .unwrap_or(Path::new("")),
        ));
    }
    let patients: Vec<(&str, usize)> = sizes.into_iter().collect();
    let mut order = Rng::new(seed, case_id("folds"), 0).permutation(patients.len());
    order.sort_by_key(|&i| std::cmp::Reverse(patients[i].1));

    let mut totals = vec![0; k];
    let mut fold_of: BTreeMap<&str, usize> = BTreeMap::new();
    for i in order {
        let (patient, size) = patients[i];
        let fold = (0..k).min_by_key(|&f| totals[f]).unwrap_or(0);
        totals[fold] += size;
        fold_of.insert(patient, fold);
    }
    Ok((0..k)
        .map(|fold| {
            let (validation, train): (Vec<_>, Vec<_>) = cases
                .iter()
                .partition(|case| fold_of[&*case.subject] == fold);
            let ids = |cases: Vec<&Case>| cases.iter().map(|case| case.id.clone()).collect();
            Split {
                train: ids(train),
                validation: ids(validation),
            }
        })
        .collect())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    /// `slices` cases for each patient.
    fn cases(slices: &[usize]) -> Vec<Case> {
        let case = |patient: usize, slice: usize| Case {
            id: format!("ct_{patient}{slice:03}"),
            subject: patient.to_string(),
            images: Vec::new(),
            label: None,
            labelled: None,
        };
        (1..)
            .zip(slices)
            .flat_map(|(patient, &n)| (0..n).map(move |slice| case(patient, slice)))
            .collect()
    }

    #[test]
    fn each_case_is_validated_once_and_no_patient_straddles() {
        let cases = cases(&[3, 1, 7, 2, 2, 5]);
        let splits = folds(&cases, 3, 11).expect("six patients make three folds");
        let mut seen = BTreeSet::new();
        for split in &splits {
            assert_eq!(split.train.len() + split.validation.len(), cases.len());
            let patients = |ids: &[String]| -> BTreeSet<String> {
                let of = |id: &String| cases.iter().find(|c| c.id == *id).expect("a case");
                ids.iter().map(|id| of(id).subject.clone()).collect()
            };
            assert!(patients(&split.train).is_disjoint(&patients(&split.validation)));
            assert!(split.validation.iter().all(|id| seen.insert(id.clone())));
        }
        assert_eq!(seen.len(), cases.len());
        // 20 cases, the largest patient has 7: folds of 7, 7 and 6 are within reach.
        assert!(
            splits.iter().all(|s| (6..=7).contains(&s.validation.len())),
            "{splits:?}"
        );
    }

    #[test]
    fn the_seed_decides_and_the_order_of_cases_does_not() {
        let cases = cases(&[1; 20]);
        let splits = |cases: &[Case], seed| folds(cases, 5, seed).expect("five folds");
        assert_eq!(splits(&cases, 1), splits(&cases, 1));
        assert_ne!(splits(&cases, 1), splits(&cases, 2));
        let reversed: Vec<Case> = cases.iter().rev().cloned().collect();
        let sets = |splits: Vec<Split>| -> Vec<BTreeSet<String>> {
            splits
                .into_iter()
                .map(|s| s.validation.into_iter().collect())
                .collect()
        };
        assert_eq!(sets(splits(&cases, 1)), sets(splits(&reversed, 1)));
    }

    #[test]
    fn impossible_numbers_of_folds_are_refused() {
        let cases = cases(&[4, 4]);
        for k in [0, 1, 3] {
            let message = folds(&cases, k, 0).expect_err("no such folds").to_string();
            assert!(message.contains("2 patients") && message.contains(&k.to_string()));
        }
    }
}
