//! What is wrong with a dataset, found before hours of training find it.
//!
//! Every finding names the file, the field, what was found, what was expected and a repair. Errors
//! stop training or spoil it; warnings may be meant; notes are for information. Cases are read in
//! parallel; the order of findings is that of the dataset: its description, stray files, patients
//! on both sides, then case by case.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use rayon::prelude::*;
use serde::{Serialize, Serializer};

use super::check_case::check_case;
use super::{Case, Dataset};

/// How much a finding matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// The data cannot be used as it is.
    Error,
    /// Probably not meant.
    Warning,
    /// For information.
    Note,
}

/// One thing found in a dataset.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Finding {
    /// How much it matters.
    pub severity: Severity,
    /// The case, where it concerns one.
    pub case: Option<String>,
    /// The file or folder.
    #[serde(serialize_with = "lossy")]
    pub file: PathBuf,
    /// The part of the file it is about, such as `affine` or `label values`.
    pub field: String,
    /// What is there.
    pub found: String,
    /// What should be there.
    pub expected: String,
    /// What to do.
    pub repair: String,
}

/// Paths that are not UTF-8 are still reported.
fn lossy<S: Serializer>(path: &Path, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&path.display())
}

impl Finding {
    pub(super) fn new(
        severity: Severity,
        file: &Path,
        field: &str,
        found: impl Into<String>,
        expected: impl Into<String>,
        repair: impl Into<String>,
    ) -> Self {
        Self {
            severity,
            case: None,
            file: file.to_owned(),
            field: field.to_owned(),
            found: found.into(),
            expected: expected.into(),
            repair: repair.into(),
        }
    }

    pub(super) fn of(mut self, case: &Case) -> Self {
        self.case = Some(case.id.clone());
        self
    }
}

/// Everything found in a dataset; opens each of its images and label maps.
#[must_use]
pub fn check(dataset: &Dataset) -> Vec<Finding> {
    let mut findings = description(dataset);
    findings.extend(strays(dataset));
    findings.extend(straddling_patients(dataset));
    // Where no case of a side has a label map the side is unlabelled, not incomplete.
    let sides = [&dataset.training, &dataset.test];
    let cases: Vec<(&Case, bool)> = sides
        .into_iter()
        .flat_map(|side| {
            let labelled = side.iter().any(|case| case.label.is_some());
            side.iter().map(move |case| (case, labelled))
        })
        .collect();
    let per_case: Vec<Vec<Finding>> = cases
        .par_iter()
        .map(|(case, labelled)| check_case(dataset, case, *labelled))
        .collect();
    findings.extend(per_case.into_iter().flatten());
    findings
}

fn description(dataset: &Dataset) -> Vec<Finding> {
    let file = dataset.root.join("dataset.json");
    let mut findings = Vec::new();
    let present = dataset.training.len() as u64;
    if let Some(declared) = dataset.num_training.filter(|&n| n != present) {
        findings.push(Finding::new(
            Severity::Warning,
            &file,
            "numTraining",
            format!("{declared}, with {present} training cases in the folder"),
            format!("{present}"),
            "correct numTraining, or add the missing cases",
        ));
    }
    if !dataset.labels_declared && dataset.cases().any(|case| case.label.is_some()) {
        findings.push(Finding::new(
            Severity::Note,
            &file,
            "labels",
            "no names for the labels",
            "a name for each label value",
            "write dataset.json with labels such as {\"background\": 0, \"liver\": 1}",
        ));
    }
    let folders = [("labelsTr", &dataset.training), ("labelsTs", &dataset.test)];
    for (name, cases) in folders.into_iter().chain([("labels", &dataset.training)]) {
        let folder = dataset.root.join(name);
        if folder.is_dir() && cases.iter().all(|case| case.label.is_none()) {
            findings.push(Finding::new(
                Severity::Warning,
                &folder,
                "files",
                "no label map of any case",
                "one label map per case, named as the case",
                "add the label maps, or remove the folder where the data is unlabelled",
            ));
        }
    }
    findings
}

fn strays(dataset: &Dataset) -> Vec<Finding> {
    let images = dataset.strays.images.iter().map(|path| {
        Finding::new(
            Severity::Warning,
            path,
            "file name",
            "an image that belongs to no case",
            format!(
                "file_ending and one name per case and channel, {} channel(s) from _0000",
                dataset.channels.len()
            ),
            "rename the file, or remove it",
        )
    });
    let labels = dataset.strays.labels.iter().map(|path| {
        Finding::new(
            Severity::Warning,
            path,
            "image",
            "a label map without an image",
            "an image of the same case",
            "add the image, rename the label map, or remove it",
        )
    });
    images.chain(labels).collect()
}

fn straddling_patients(dataset: &Dataset) -> Vec<Finding> {
    let mut training: BTreeMap<&str, &Case> = BTreeMap::new();
    for case in &dataset.training {
        training.entry(&case.subject).or_insert(case);
    }
    let mut seen = BTreeSet::new();
    let twice = dataset
        .test
        .iter()
        .filter_map(|case| Some((case, training.get(&*case.subject)?)));
    twice
        .filter(|(case, _)| seen.insert(&case.subject))
        .map(|(case, other)| {
            let file = case.images.first().unwrap_or(&dataset.root);
            Finding::new(
                Severity::Warning,
                file,
                "patient",
                format!(
                    "patient {} is also in training, as {}",
                    case.subject, other.id
                ),
                "test patients who are not trained on",
                "move all cases of the patient to one side, or rename them if they are others'",
            )
            .of(case)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dataset::trial::Trial;

    const TWO_LABELS: &str = r#"{"channel_names": {"0": "CT"}, "file_ending": ".nii.gz",
        "labels": {"background": 0, "liver": 1}, "numTraining": 2}"#;

    /// (severity, case, file, field) of each finding.
    fn heads(trial: &Trial) -> Vec<(Severity, String, String, String)> {
        let findings = check(&trial.open());
        let head = |f: Finding| {
            let file = f
                .file
                .strip_prefix(trial.root())
                .expect("inside the folder");
            (
                f.severity,
                f.case.unwrap_or_default(),
                file.display().to_string(),
                f.field,
            )
        };
        findings.into_iter().map(head).collect()
    }

    fn head(
        severity: Severity,
        case: &str,
        file: &str,
        field: &str,
    ) -> (Severity, String, String, String) {
        (severity, case.into(), file.into(), field.into())
    }

    #[test]
    fn a_clean_dataset_has_no_findings() {
        let trial = Trial::described(TWO_LABELS);
        for case in ["a", "b"] {
            trial.image(&format!("imagesTr/{case}_0000.nii.gz"), &[0.0, 1.0, 2.0]);
            trial.labels(&format!("labelsTr/{case}.nii.gz"), &[0, 1, 1]);
        }
        trial.image("imagesTs/c_0000.nii.gz", &[0.0, 1.0, 2.0]);
        assert_eq!(heads(&trial), []);
    }

    #[test]
    fn descriptions_strays_and_straddling_patients_are_found() {
        let trial = Trial::described(TWO_LABELS);
        trial.image("imagesTr/ct_p1_0000.nii.gz", &[0.0, 1.0]);
        trial.image("imagesTr/ct_p1_0001.nii.gz", &[0.0, 1.0]);
        trial.touch("imagesTr/ct_p9.png");
        trial.labels("labelsTr/ct_p1.nii.gz", &[0, 1]);
        trial.labels("labelsTr/ct_p2.nii.gz", &[0, 1]);
        trial.image("imagesTs/ct_p1_0000.nii.gz", &[0.0, 1.0]);
        trial.image("imagesTs/ct_p3_0000.nii.gz", &[0.0, 1.0]);
        trial.touch("labelsTs/readme.txt");
        use Severity::Warning;
        assert_eq!(
            heads(&trial),
            [
                head(Warning, "", "dataset.json", "numTraining"),
                head(Warning, "", "labelsTs", "files"),
                head(Warning, "", "imagesTr/ct_p9.png", "file name"),
                head(Warning, "", "imagesTr/ct_p1_0001.nii.gz", "file name"),
                head(Warning, "", "labelsTr/ct_p2.nii.gz", "image"),
                head(Warning, "ct_p1", "imagesTs/ct_p1_0000.nii.gz", "patient"),
            ]
        );
    }

    #[test]
    fn unnamed_labels_are_noted() {
        let trial = Trial::new();
        trial.image("images/a.nii", &[0.0, 1.0]);
        trial.labels("labels/a.nii", &[0, 5]);
        assert_eq!(
            heads(&trial),
            [head(Severity::Note, "", "dataset.json", "labels")]
        );
    }

    #[test]
    fn findings_serialise_as_the_program_promises() {
        let trial = Trial::described(TWO_LABELS);
        trial.image("imagesTr/a_0000.nii.gz", &[0.0, 1.0]);
        let json = serde_json::to_value(check(&trial.open())).expect("plain values");
        let first = &json[0];
        assert_eq!(first["severity"], "warning");
        assert_eq!(first["case"], serde_json::Value::Null);
        assert_eq!(
            first["file"],
            trial.root().join("dataset.json").display().to_string()
        );
        assert_eq!(first["field"], "numTraining");
        assert_eq!(first["expected"], "1");
        assert!(
            first["found"]
                .as_str()
                .is_some_and(|s| s.starts_with("2, with 1"))
        );
        assert!(first["repair"].is_string());
    }

    #[test]
    fn the_order_does_not_depend_on_threads() {
        let trial = Trial::described(TWO_LABELS);
        for i in 0..12 {
            trial.image(&format!("imagesTr/c{i}_0000.nii.gz"), &[1.0, 1.0]);
        }
        let dataset = trial.open();
        let on = |threads| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build();
            pool.expect("a thread pool").install(|| check(&dataset))
        };
        assert_eq!(on(1), on(4));
        assert_eq!(on(1).len(), 13);
    }
}
