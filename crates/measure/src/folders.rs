//! Pairing the files of two folders and measuring each pair.
//!
//! Files are paired by stem (`p01` of `p01.nii.gz`); a prediction may carry nnU-Net's channel
//! suffix (`p01_0000.nii.gz`). A case is a file, except that PNG slices of one patient
//! ([`dataset::subjects`]) are one case: their voxels are pooled before Dice is taken, so that a
//! patient's Dice is that of the volume and not of slices in which the structure hardly shows.
//! [`evaluate_folders_by`] takes another rule.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crossmod_volume::dataset::{self, LabelTable, stem_and_ending};
use crossmod_volume::io;
use rayon::prelude::*;

use crate::{CaseOverlap, Error, Evaluation, Result, overlap_of};

/// Evaluates a prediction against a truth, both files or both folders. The labels are all
/// foreground values of `table`, the truths and the predictions; where the table has regions, they
/// are the regions alone. Where `table` is `None` it is read from a `dataset.json` in the truth's
/// folder or the one above, if there is one that names labels.
///
/// Predictions without a truth are listed in [`Evaluation::unmatched`].
///
/// # Errors
/// [`Error::Files`] where a truth has no prediction, there is no truth, a file is compared with a
/// folder, or a pair does not lie on one grid; [`Error::Volume`] where a file, that `dataset.json`
/// included, cannot be read.
pub fn evaluate_folders(
    prediction: &Path,
    truth: &Path,
    table: Option<&LabelTable>,
) -> Result<Evaluation> {
    let pairs = pair(prediction, truth)?;
    let slices: Vec<&str> = pairs
        .found
        .iter()
        .filter(|p| p.is_slice())
        .map(|p| &*p.id)
        .collect();
    let patients = dataset::subjects(&slices, true);
    let patient_of: BTreeMap<&str, String> = slices.into_iter().zip(patients).collect();
    evaluate(&pairs, truth, table, &|id| {
        patient_of.get(id).map_or(id, |p| p).to_owned()
    })
}

/// As [`evaluate_folders`], with `group` naming the case of each file's stem. Files of one case
/// are pooled: voxels are added before Dice and IoU are taken.
///
/// # Errors
/// As [`evaluate_folders`].
pub fn evaluate_folders_by(
    prediction: &Path,
    truth: &Path,
    table: Option<&LabelTable>,
    group: impl Fn(&str) -> String,
) -> Result<Evaluation> {
    evaluate(&pair(prediction, truth)?, truth, table, &group)
}

struct Pair {
    id: String,
    prediction: PathBuf,
    truth: PathBuf,
}

impl Pair {
    fn is_slice(&self) -> bool {
        matches!(stem_and_ending(&self.truth), Some((_, ".png")))
    }

    /// The overlap of the table's regions, or of all foreground labels that occur.
    fn measure(&self, case: String, table: &LabelTable) -> Result<CaseOverlap> {
        let prediction = io::read_labels(&self.prediction)?;
        let truth = io::read_labels(&self.truth)?;
        let mut classes: Vec<(u16, Vec<u16>)> = if table.regions.is_empty() {
            let found = prediction.counts().into_keys();
            let found = found.chain(truth.counts().into_keys());
            let counts = |label: &u16| *label != 0 && Some(*label) != table.ignore;
            found
                .filter(counts)
                .map(|label| (label, vec![label]))
                .collect()
        } else {
            let regions = table.regions.iter();
            regions.map(|r| (r.value, r.values.clone())).collect()
        };
        if let Some(drawn) = table.labelled.get(&self.id) {
            classes.retain(|(value, _)| drawn.contains(value));
        }
        let classes: Vec<(u16, &[u16])> = classes.iter().map(|(v, of)| (*v, &**of)).collect();
        let labels = overlap_of(&prediction, &truth, &classes, table.ignore)
            .map_err(|error| error.about(&self.prediction))?;
        Ok(CaseOverlap { case, labels })
    }
}

struct Pairs {
    found: Vec<Pair>,
    unmatched: Vec<String>,
}

fn evaluate(
    pairs: &Pairs,
    truth: &Path,
    table: Option<&LabelTable>,
    group: &dyn Fn(&str) -> String,
) -> Result<Evaluation> {
    let near;
    let table = match table {
        Some(table) => table,
        None => {
            near = table_near(truth)?;
            &near
        }
    };
    let cases: Vec<(&Pair, String)> = pairs.found.iter().map(|p| (p, group(&p.id))).collect();
    let parts: Vec<Result<CaseOverlap>> = cases
        .into_par_iter()
        .map(|(pair, case)| pair.measure(case, table))
        .collect();
    // The first error in order of cases, whichever thread met one first.
    let parts = parts.into_iter().collect::<Result<Vec<_>>>()?;
    let of_regions: BTreeMap<u16, String> = table
        .regions
        .iter()
        .map(|region| (region.value, region.name.clone()))
        .collect();
    let names = if table.regions.is_empty() {
        &table.names
    } else {
        &of_regions
    };
    let mut evaluation = Evaluation::new(Evaluation::pool(parts), names);
    evaluation.unmatched.clone_from(&pairs.unmatched);
    Ok(evaluation)
}

/// What a `dataset.json` beside or above the truth says. One that names no labels belongs to
/// something else; one that cannot be understood is an error, as it decides what counts.
fn table_near(truth: &Path) -> Result<LabelTable> {
    let truth = truth.canonicalize().unwrap_or_else(|_| truth.to_owned());
    let folder = if truth.is_dir() {
        Some(&*truth)
    } else {
        truth.parent()
    };
    let folders = folder.into_iter().chain(folder.and_then(Path::parent));
    for file in folders.map(|folder| folder.join("dataset.json")) {
        if file.is_file()
            && let Some(table) = dataset::read_label_table(&file)?
        {
            return Ok(table);
        }
    }
    Ok(LabelTable::default())
}

fn pair(prediction: &Path, truth: &Path) -> Result<Pairs> {
    for path in [prediction, truth] {
        if !path.exists() {
            return Err(Error::files(
                "expected a label map or a folder of them, found nothing; check the path",
                path,
            ));
        }
    }
    let kind = |path: &Path| if path.is_dir() { "a folder" } else { "a file" };
    match (prediction.is_dir(), truth.is_dir()) {
        (true, true) => pair_folders(prediction, truth),
        (false, false) => {
            let stem = truth.file_stem().unwrap_or_default().to_string_lossy();
            let id = stem_and_ending(truth)
                .map_or(&*stem, |(stem, _)| stem)
                .to_owned();
            let found = Pair {
                id,
                prediction: prediction.into(),
                truth: truth.into(),
            };
            Ok(Pairs {
                found: vec![found],
                unmatched: Vec::new(),
            })
        }
        _ => Err(Error::files(
            format!(
                "expected two files or two folders, found {} as prediction and {} as truth; name \
                 both alike",
                kind(prediction),
                kind(truth)
            ),
            prediction,
        )),
    }
}

fn pair_folders(prediction: &Path, truth: &Path) -> Result<Pairs> {
    let mut predictions = files(prediction)?;
    let truths = files(truth)?;
    if truths.is_empty() {
        let inner = ["labelsTs", "labelsTr", "labels"]
            .iter()
            .find(|f| truth.join(f).is_dir());
        let advice = inner.map_or_else(
            || "check the path".to_owned(),
            |folder| format!("did you mean its folder {folder}?"),
        );
        return Err(Error::files(
            format!(
                "expected label maps ({}), found none; {advice}",
                dataset::ENDINGS.join(", ")
            ),
            truth,
        ));
    }
    let mut found = Vec::new();
    let mut missing = Vec::new();
    for (id, truth) in truths {
        // Its own name first: `p01_0000` may be a case of its own.
        let named = predictions
            .remove(&id)
            .or_else(|| predictions.remove(&format!("{id}_0000")));
        match named {
            Some(prediction) => found.push(Pair {
                id,
                prediction,
                truth,
            }),
            None => missing.push(id),
        }
    }
    if let Some(first) = missing.first() {
        let more = match missing.len() {
            1 => String::new(),
            n => format!(" and {} more", n - 1),
        };
        return Err(Error::files(
            format!(
                "expected a prediction for each truth, found none for {first}{more}; predict \
                 those cases too, or leave their truths out"
            ),
            prediction,
        ));
    }
    Ok(Pairs {
        found,
        unmatched: predictions.into_keys().collect(),
    })
}

/// The image files of a folder by stem.
fn files(folder: &Path) -> Result<BTreeMap<String, PathBuf>> {
    let to_error = |error| crossmod_volume::Error::io("list the folder", error, folder);
    let mut files: BTreeMap<String, PathBuf> = BTreeMap::new();
    for entry in std::fs::read_dir(folder).map_err(to_error)? {
        let path = entry.map_err(to_error)?.path();
        let Some((stem, _)) = stem_and_ending(&path) else {
            continue;
        };
        if let Some(other) = files.insert(stem.to_owned(), path.clone()) {
            let (a, b) = if other < path {
                (&other, &path)
            } else {
                (&path, &other)
            };
            let name = a.file_name().unwrap_or_default().to_string_lossy();
            return Err(Error::files(
                format!("expected one file per case, found {name} as well; remove one of them"),
                b,
            ));
        }
    }
    Ok(files)
}

#[cfg(test)]
mod tests {
    use crossmod_volume::{Grid, Labels};
    use tempfile::TempDir;

    use super::*;

    struct Trial(TempDir);

    impl Trial {
        fn new() -> Self {
            Self(tempfile::tempdir().expect("a temporary folder"))
        }

        fn path(&self, name: &str) -> PathBuf {
            self.0.path().join(name)
        }

        fn write(&self, name: &str, data: &[u16]) {
            let path = self.path(name);
            std::fs::create_dir_all(path.parent().expect("a folder")).expect("a writable folder");
            let grid = Grid::with_spacing([data.len(), 1, 1], [1.0; 3]).expect("a grid");
            let labels = Labels::new(grid, data.to_vec()).expect("labels");
            io::write_labels(&path, &labels).expect("a writable folder");
        }

        fn evaluate(&self) -> Result<Evaluation> {
            evaluate_folders(&self.path("pred"), &self.path("labelsTs"), None)
        }

        fn error(&self) -> String {
            self.evaluate().expect_err("an error").to_string()
        }
    }

    fn dice(evaluation: &Evaluation, case: usize, label: u16) -> Option<f64> {
        evaluation.cases[case]
            .labels
            .get(&label)
            .and_then(crate::Overlap::dice)
    }

    #[test]
    fn folders_are_paired_by_stem() {
        let trial = Trial::new();
        trial.write("labelsTs/p02.nii.gz", &[0, 1, 1, 0]);
        trial.write("labelsTs/p01.nii.gz", &[1, 1, 2, 0]);
        trial.write("pred/p01.nii", &[1, 1, 2, 0]);
        trial.write("pred/p02_0000.nii.gz", &[0, 1, 0, 4]);
        trial.write("pred/p03.nii.gz", &[0, 0]);
        let json = r#"{"labels": {"background": 0, "heart": 1, "lung": 3}}"#;
        std::fs::write(trial.path("dataset.json"), json).expect("a writable folder");
        let evaluation = trial.evaluate().expect("two pairs");
        let names: Vec<_> = evaluation.cases.iter().map(|c| &*c.case).collect();
        assert_eq!(names, ["p01", "p02"]);
        assert_eq!(evaluation.unmatched, ["p03"]);
        let labels = evaluation.labels();
        let names: Vec<_> = labels.iter().map(|(v, s)| (*v, &*s.name)).collect();
        assert_eq!(
            names,
            [(1, "heart"), (2, "label 2"), (3, "lung"), (4, "label 4")]
        );
        assert_eq!(dice(&evaluation, 0, 1), Some(1.0));
        assert_eq!(dice(&evaluation, 1, 1), Some(2.0 / 3.0));
        assert_eq!(
            (labels[&2].dice.n, labels[&3].dice.n, labels[&4].dice.n),
            (1, 0, 1)
        );
        assert_eq!(labels[&4].dice.mean, Some(0.0));

        let given = LabelTable {
            names: BTreeMap::from([(2, "aorta".to_owned())]),
            ..LabelTable::default()
        };
        let (pred, truth) = (
            trial.path("pred/p01.nii"),
            trial.path("labelsTs/p01.nii.gz"),
        );
        let single = evaluate_folders(&pred, &truth, Some(&given)).expect("one pair");
        assert_eq!((&*single.cases[0].case, &*single.name(2)), ("p01", "aorta"));
        assert_eq!(single.name(1), "label 1");
        let found = evaluate_folders(&pred, &truth, None).expect("one pair");
        assert_eq!(found.name(1), "heart");
    }

    /// Of regions the union counts, whatever value each voxel was given.
    #[test]
    fn regions_ignored_voxels_and_classes_that_were_not_drawn() {
        let trial = Trial::new();
        trial.write("labelsTs/a.nii", &[1, 2, 2, 3, 0, 4, 4]);
        trial.write("pred/a.nii", &[2, 2, 1, 3, 1, 3, 0]);
        trial.write("labelsTs/b.nii", &[0, 0, 2, 2]);
        trial.write("pred/b.nii", &[1, 1, 2, 0]);
        let json = r#"{"labels": {"whole": [1, 2, 3], "core": [2, 3], "ignore": 4},
            "regions_class_order": [1, 5], "labelled": {"b": ["core"]}}"#;
        std::fs::write(trial.path("dataset.json"), json).expect("a writable folder");
        let evaluation = trial.evaluate().expect("two pairs");
        let labels = evaluation.labels();
        let names: Vec<_> = labels.iter().map(|(v, s)| (*v, &*s.name)).collect();
        assert_eq!(names, [(1, "whole"), (5, "core")]);
        assert_eq!(dice(&evaluation, 0, 1), Some(8.0 / 9.0));
        assert_eq!(dice(&evaluation, 0, 5), Some(4.0 / 6.0));
        assert!(!evaluation.cases[1].labels.contains_key(&1));
        assert_eq!(dice(&evaluation, 1, 5), Some(2.0 / 3.0));
        assert_eq!(labels[&1].dice.n, 1);

        // Labels of one value each: what is ignored is no label.
        let json = r#"{"labels": {"a": 1, "b": 2, "c": 3, "ignore": 4}}"#;
        std::fs::write(trial.path("dataset.json"), json).expect("a writable folder");
        let evaluation = trial.evaluate().expect("two pairs");
        assert_eq!(
            evaluation.names.keys().copied().collect::<Vec<_>>(),
            [1, 2, 3]
        );
        assert_eq!(dice(&evaluation, 0, 3), Some(1.0));
        assert_eq!(dice(&evaluation, 0, 2), Some(0.5));

        // What counts cannot be told from a description that contradicts itself.
        let json = r#"{"labels": {"a": 1, "ignore": 3}}"#;
        std::fs::write(trial.path("dataset.json"), json).expect("a writable folder");
        assert!(trial.error().ends_with("dataset.json"), "{}", trial.error());
    }

    #[test]
    fn slices_of_one_patient_are_one_case() {
        let trial = Trial::new();
        let slices: [(&str, &[u16], &[u16]); 3] = [
            ("mr_33007", &[1, 1, 1, 0], &[1, 1, 1, 0]),
            ("mr_33008", &[0, 0, 0, 1], &[0, 0, 1, 0]),
            ("mr_5001", &[1, 0, 0, 0], &[1, 1, 0, 0]),
        ];
        for (name, prediction, truth) in slices {
            trial.write(&format!("pred/{name}.png"), prediction);
            trial.write(&format!("labelsTs/{name}.png"), truth);
        }
        let by_patient = trial.evaluate().expect("three pairs");
        let names: Vec<_> = by_patient.cases.iter().map(|c| &*c.case).collect();
        assert_eq!(names, ["33", "5"]);
        assert_eq!(dice(&by_patient, 0, 1), Some(6.0 / 8.0));
        let (pred, truth) = (trial.path("pred"), trial.path("labelsTs"));
        let by_file = evaluate_folders_by(&pred, &truth, None, str::to_owned).expect("pairs");
        assert_eq!(by_file.cases.len(), 3);
        assert_eq!(dice(&by_file, 1, 1), Some(0.0));
    }

    /// Truth against itself is perfect, and named by the dataset; skipped without the data.
    #[test]
    fn real_slices_against_themselves() {
        let Some(data) = std::env::var_os("CROSSMOD_TEST_DATA").map(PathBuf::from) else {
            eprintln!("skipped: CROSSMOD_TEST_DATA is not set");
            return;
        };
        let labels = data.join("aanlib/ct/labelsTr");
        let evaluation = evaluate_folders(&labels, &labels, None).expect("readable slices");
        let cases: Vec<_> = evaluation.cases.iter().map(|c| &*c.case).collect();
        assert_eq!(cases, ["16", "20", "2", "21"]);
        let found = evaluation.labels();
        let names: Vec<_> = found
            .values()
            .map(|s| (&*s.name, s.dice.mean, s.dice.n))
            .collect();
        assert_eq!(
            names,
            [("skull", Some(1.0), 4), ("intracranial", Some(1.0), 4)]
        );
    }

    #[test]
    fn what_cannot_be_paired_is_told() {
        let trial = Trial::new();
        assert!(trial.error().contains("found nothing"));
        trial.write("pred/a.nii", &[1, 0]);
        trial.write("labelsTs/a.nii", &[1, 0]);
        trial.write("labelsTs/b.nii", &[1, 0]);
        trial.write("labelsTs/c.nii", &[1, 0]);
        assert!(
            trial.error().contains("found none for b and 1 more"),
            "{}",
            trial.error()
        );
        let mixed = evaluate_folders(&trial.path("pred/a.nii"), &trial.path("labelsTs"), None);
        assert!(
            mixed
                .expect_err("a mixture")
                .to_string()
                .contains("two files or two folders")
        );
        let outer = evaluate_folders(&trial.path("pred"), &trial.path(""), None);
        assert!(
            outer
                .expect_err("no truth")
                .to_string()
                .contains("its folder labelsTs?")
        );
        trial.write("pred/b.nii", &[1, 0]);
        trial.write("pred/c.nii", &[1, 0, 0]);
        let message = trial.error();
        assert!(message.contains("[2, 1, 1], found [3, 1, 1]"), "{message}");
        assert!(message.ends_with("c.nii"), "{message}");
        trial.write("pred/c.nii.gz", &[1, 0]);
        assert!(
            trial.error().contains("found c.nii as well"),
            "{}",
            trial.error()
        );
    }
}
