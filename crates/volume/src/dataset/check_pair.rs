//! What is wrong with a source and a target dataset taken together.
//!
//! Unpaired adaptation is measured honestly only where no patient of the target's test cases was
//! trained on in the source, and where no source image is ever paired with the target image of
//! the same patient.

use std::collections::{BTreeMap, BTreeSet};

use super::{Case, Dataset, Finding, Severity};

/// Patients who are in both datasets, by [`Case::subject`], and labels that differ between them.
/// No image is opened. A patient of the source's training who is among the target's test cases is
/// a warning; one who is among its training cases is a note, for unpaired training may use both
/// as long as it never pairs them.
#[must_use]
pub fn check_pair(source: &Dataset, target: &Dataset) -> Vec<Finding> {
    let mut findings = labels(source, target);
    let mut patients: BTreeMap<&str, &Case> = BTreeMap::new();
    for case in &source.training {
        patients.entry(&case.subject).or_insert(case);
    }
    let sides = [
        (
            &target.training,
            Severity::Note,
            "never pair them in training; nothing to do where training is unpaired",
        ),
        (
            &target.test,
            Severity::Warning,
            "leave the patient out of the source for a measurement on unseen patients",
        ),
    ];
    for (cases, severity, repair) in sides {
        let mut seen = BTreeSet::new();
        for case in cases {
            let Some(other) = patients.get(&*case.subject) else {
                continue;
            };
            if seen.insert(&case.subject) {
                let finding = Finding::new(
                    severity,
                    case.images.first().unwrap_or(&target.root),
                    "patient",
                    format!("patient {} is {} in the source", case.subject, other.id),
                    "different patients in source and target, as the names tell",
                    repair,
                );
                findings.push(finding.of(case));
            }
        }
    }
    findings
}

fn labels(source: &Dataset, target: &Dataset) -> Vec<Finding> {
    // A target without label names leaves nothing to compare: it may be unlabelled.
    if !(source.labels_declared && target.labels_declared) {
        return Vec::new();
    }
    let file = target.root.join("dataset.json");
    let finding = |severity, found: String, expected: String, repair: &str| {
        Finding::new(severity, &file, "labels", found, expected, repair)
    };
    let normal = |name: &str| name.to_lowercase().replace(['-', '_'], " ");
    let value_of: BTreeMap<String, u16> = source
        .labels
        .iter()
        .map(|(&value, name)| (normal(name), value))
        .collect();
    let mut findings = Vec::new();
    for (value, name) in &target.labels {
        match value_of.get(&normal(name)) {
            Some(other) if other != value => findings.push(finding(
                Severity::Error,
                format!("{value} for \"{name}\""),
                format!("{other}, as in the source"),
                "give the structure the same value in both datasets",
            )),
            Some(_) => {}
            None if source.labels.contains_key(value) => findings.push(finding(
                Severity::Warning,
                format!("\"{name}\" for {value}"),
                format!("\"{}\", as in the source", source.labels[value]),
                "use one name in both datasets, or another value where it is another structure",
            )),
            None => findings.push(finding(
                Severity::Warning,
                format!("{value} (\"{name}\"), which the source has not"),
                "labels that the source has".to_owned(),
                "leave it out of the measurement: it cannot be learnt from the source",
            )),
        }
    }
    for (value, name) in source
        .labels
        .iter()
        .filter(|(v, _)| !target.labels.contains_key(v))
    {
        if !target
            .labels
            .values()
            .any(|other| normal(other) == normal(name))
        {
            findings.push(finding(
                Severity::Warning,
                format!("no {value}"),
                format!("{value} (\"{name}\"), as in the source"),
                "add it, or know that it cannot be measured in the target",
            ));
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dataset::trial::Trial;

    fn dataset(word: &str, training: &[u32], test: &[u32], labels: &str) -> (Trial, Dataset) {
        let trial = Trial::described(&format!(
            r#"{{"channel_names": {{"0": "{word}"}}, "labels": {labels}, "file_ending": ".nii"}}"#
        ));
        training
            .iter()
            .for_each(|p| trial.touch(&format!("imagesTr/{word}_p{p}_0000.nii")));
        test.iter()
            .for_each(|p| trial.touch(&format!("imagesTs/{word}_p{p}_0000.nii")));
        let dataset = trial.open();
        (trial, dataset)
    }

    #[test]
    fn patients_on_both_sides_are_found() {
        let labels = r#"{"background": 0, "heart": 1}"#;
        let (_source, source) = dataset("ct", &[1, 2, 3, 4], &[], labels);
        let (_target, target) = dataset("mr", &[2, 5, 6], &[4, 7], labels);
        let found: Vec<_> = check_pair(&source, &target)
            .into_iter()
            .map(|f| (f.severity, f.case.unwrap_or_default(), f.found))
            .collect();
        let expected = [
            (Severity::Note, "mr_p2", "patient p2 is ct_p2 in the source"),
            (
                Severity::Warning,
                "mr_p4",
                "patient p4 is ct_p4 in the source",
            ),
        ];
        assert_eq!(
            found,
            expected.map(|(s, c, f)| (s, c.to_owned(), f.to_owned()))
        );
    }

    #[test]
    fn labels_that_differ_are_found() {
        let (_source, source) = dataset(
            "ct",
            &[1, 2],
            &[],
            r#"{"background": 0, "left_ventricle": 1, "aorta": 2, "lung": 3, "liver": 4}"#,
        );
        let (_target, target) = dataset(
            "mr",
            &[8, 9],
            &[],
            r#"{"Background": 0, "Left ventricle": 1, "lung": 2, "spine": 4, "skin": 5}"#,
        );
        let found: Vec<_> = check_pair(&source, &target)
            .into_iter()
            .map(|f| (f.severity, f.found, f.expected))
            .collect();
        let expected = [
            (Severity::Error, "2 for \"lung\"", "3, as in the source"),
            (
                Severity::Warning,
                "\"spine\" for 4",
                "\"liver\", as in the source",
            ),
            (
                Severity::Warning,
                "5 (\"skin\"), which the source has not",
                "labels that the source has",
            ),
        ];
        assert_eq!(
            found,
            expected.map(|(s, f, e)| (s, f.to_owned(), e.to_owned()))
        );
        let missing = check_pair(&target, &source);
        assert!(missing.iter().any(|f| f.found == "no 5"), "{missing:#?}");
    }
}
