//! Measuring the files of two folders, pair by pair.
//!
//! Files are paired by stem (`p01` of `p01.nii.gz`); a prediction may carry nnU-Net's channel
//! suffix (`p01_0000.nii.gz`). A case is a file, except that PNG slices of one patient
//! ([`dataset::subjects`]) are one case: their voxels and surfaces are pooled before Dice is taken, so
//! that a patient's Dice is that of the volume and not of slices in which the structure hardly shows.
//! [`evaluate_folders_by`] takes another rule.
//!
//! Cases are measured side by side, as many at a time as [`MEMORY`] holds.

use std::collections::BTreeMap;
use std::path::Path;

use crossmod_volume::dataset::{self, LabelTable};
use crossmod_volume::{Labels, io};
use rayon::prelude::*;

use crate::pairs::{Pair, Pairs, pair};
use crate::{CaseMeasures, Evaluation, Measures, Result, Settings, overlap_of, surfaces_of};

/// Files are read side by side as long as what they need is thought to be less, bytes.
const MEMORY: usize = 4 << 30;

/// What a voxel of a pair is thought to need: two label maps, one of them while it is read, and maps
/// of distances.
const BYTES_PER_VOXEL: usize = 16;

/// Evaluates a prediction against a truth, both files or both folders. The labels are all
/// foreground values of `table`, the truths and the predictions; where the table has regions, they
/// are the regions alone. Where `table` is `None` it is read from a `dataset.json` in the truth's
/// folder or the one above, if there is one that names labels.
///
/// Predictions without a truth are listed in [`Evaluation::unmatched`].
///
/// # Errors
/// [`Error::Files`](crate::Error::Files) where a truth has no prediction, there is no truth, a file
/// is compared with a folder, or a pair does not lie on one grid;
/// [`Error::Volume`](crate::Error::Volume) where a file, that `dataset.json` included, cannot be
/// read.
pub fn evaluate_folders(
    prediction: &Path,
    truth: &Path,
    table: Option<&LabelTable>,
    settings: &Settings,
) -> Result<Evaluation> {
    let pairs = pair(prediction, truth)?;
    let cases = pairs.cases();
    evaluate(&pairs, cases, truth, table, settings)
}

/// As [`evaluate_folders`], with `group` naming the case of each file's stem. Files of one case
/// are pooled: voxels and surfaces are added before anything is taken of them.
///
/// # Errors
/// As [`evaluate_folders`].
pub fn evaluate_folders_by(
    prediction: &Path,
    truth: &Path,
    table: Option<&LabelTable>,
    settings: &Settings,
    group: impl Fn(&str) -> String,
) -> Result<Evaluation> {
    let pairs = pair(prediction, truth)?;
    let cases = pairs.found.iter().map(|pair| group(&pair.id)).collect();
    evaluate(&pairs, cases, truth, table, settings)
}

/// What `settings` ask for of each of `classes`; see [`overlap_of`] and [`surfaces_of`].
///
/// # Errors
/// As those.
pub fn measures_of(
    prediction: &Labels,
    truth: &Labels,
    classes: &[(u16, &[u16])],
    ignore: Option<u16>,
    settings: &Settings,
) -> Result<BTreeMap<u16, Measures>> {
    let overlaps = overlap_of(prediction, truth, classes, ignore)?;
    let mut measures: BTreeMap<u16, Measures> = overlaps
        .into_iter()
        .map(|(value, overlap)| (value, overlap.into()))
        .collect();
    if settings.needs_surfaces() {
        let surfaces = surfaces_of(prediction, truth, classes, ignore, settings.surface)?;
        for (value, surface) in surfaces {
            measures.entry(value).or_default().surface = Some(surface);
        }
    }
    Ok(measures)
}

/// Does each job, side by side as far as memory allows; `file` is what its size is told by. The first
/// error in order, whichever thread met one first.
pub(crate) fn side_by_side<J: Sync, T: Send>(
    jobs: &[J],
    file: impl Fn(&J) -> &Path,
    work: impl Fn(&J) -> Result<T> + Sync,
) -> Result<Vec<T>> {
    // What cannot be read will say so when it is.
    let size = |job: &J| io::read_grid(file(job)).map_or(0, |(grid, _)| grid.len());
    let bytes: Vec<usize> = jobs.iter().map(|job| size(job) * BYTES_PER_VOXEL).collect();
    let mut done = Vec::with_capacity(jobs.len());
    let mut start = 0;
    while start < jobs.len() {
        let mut sum = 0;
        let fits = |bytes: &&usize| {
            sum += **bytes;
            sum <= MEMORY
        };
        let fitting = bytes[start..].iter().take_while(fits).count();
        let end = start + fitting.max(1);
        let group: Vec<Result<T>> = jobs[start..end].par_iter().map(&work).collect();
        for result in group {
            done.push(result?);
        }
        start = end;
    }
    Ok(done)
}

/// The overlap and surfaces of the table's regions, or of all foreground labels that occur.
fn measure(
    pair: &Pair,
    case: &str,
    table: &LabelTable,
    settings: &Settings,
) -> Result<CaseMeasures> {
    let prediction = io::read_labels(&pair.prediction)?;
    let truth = io::read_labels(&pair.truth)?;
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
    if let Some(drawn) = table.labelled.get(&pair.id) {
        classes.retain(|(value, _)| drawn.contains(value));
    }
    let classes: Vec<(u16, &[u16])> = classes.iter().map(|(v, of)| (*v, &**of)).collect();
    let labels = measures_of(&prediction, &truth, &classes, table.ignore, settings)
        .map_err(|error| error.about(&pair.prediction))?;
    Ok(CaseMeasures {
        case: case.to_owned(),
        labels,
    })
}

fn evaluate(
    pairs: &Pairs,
    cases: Vec<String>,
    truth: &Path,
    table: Option<&LabelTable>,
    settings: &Settings,
) -> Result<Evaluation> {
    let near;
    let table = match table {
        Some(table) => table,
        None => {
            near = table_near(truth)?;
            &near
        }
    };
    let jobs: Vec<(&Pair, String)> = pairs.found.iter().zip(cases).collect();
    let parts = side_by_side(
        &jobs,
        |(pair, _)| &pair.truth,
        |(pair, case)| measure(pair, case, table, settings),
    )?;
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
    let mut evaluation = Evaluation::new(Evaluation::pool(parts), names, settings.clone());
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

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use crossmod_volume::Grid;
    use tempfile::TempDir;

    use super::*;
    use crate::Metric;

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
            let settings = Settings::default();
            evaluate_folders(&self.path("pred"), &self.path("labelsTs"), None, &settings)
        }

        fn error(&self) -> String {
            self.evaluate().expect_err("an error").to_string()
        }
    }

    fn dice(evaluation: &Evaluation, case: usize, label: u16) -> Option<f64> {
        evaluation.cases[case]
            .labels
            .get(&label)
            .and_then(|measures| measures.overlap.dice())
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
            [2, 3, 4].map(|label| labels[&label].get(Metric::Dice).n),
            [1, 0, 1]
        );
        assert_eq!(labels[&4].get(Metric::Dice).mean, Some(0.0));

        let given = LabelTable {
            names: BTreeMap::from([(2, "aorta".to_owned())]),
            ..LabelTable::default()
        };
        let (pred, truth) = (
            trial.path("pred/p01.nii"),
            trial.path("labelsTs/p01.nii.gz"),
        );
        let single =
            evaluate_folders(&pred, &truth, Some(&given), &Settings::default()).expect("one pair");
        assert_eq!((&*single.cases[0].case, &*single.name(2)), ("p01", "aorta"));
        assert_eq!(single.name(1), "label 1");
        let found = evaluate_folders(&pred, &truth, None, &Settings::default()).expect("one pair");
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
        assert_eq!(labels[&1].get(Metric::Dice).n, 1);

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
        let by_file = evaluate_folders_by(&pred, &truth, None, &Settings::default(), str::to_owned)
            .expect("pairs");
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
        let evaluation = evaluate_folders(&labels, &labels, None, &Settings::default())
            .expect("readable slices");
        let cases: Vec<_> = evaluation.cases.iter().map(|c| &*c.case).collect();
        assert_eq!(cases, ["16", "20", "2", "21"]);
        let found = evaluation.labels();
        let names: Vec<_> = found
            .values()
            .map(|s| (&*s.name, s.get(Metric::Dice).mean, s.get(Metric::Dice).n))
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
        let mixed = evaluate_folders(
            &trial.path("pred/a.nii"),
            &trial.path("labelsTs"),
            None,
            &Settings::default(),
        );
        assert!(
            mixed
                .expect_err("a mixture")
                .to_string()
                .contains("two files or two folders")
        );
        let outer = evaluate_folders(
            &trial.path("pred"),
            &trial.path(""),
            None,
            &Settings::default(),
        );
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
