//! Masks of one structure each, one file per structure and a folder per case.
//!
//! As TotalSegmentator, PDDCA and most treatment planning systems keep contours: `CASE/liver.nii.gz`,
//! or `CASE/segmentations/liver.nii.gz`; whatever is not 0 is inside. Structures are paired by the
//! stems of their files and may overlap. A path may have one `*` in place of the folder of a case, as
//! in `study/*/rater_a`, where the files of a case lie deeper.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Component, Path, PathBuf};

use crossmod_volume::io;

use crate::folders::{measures_of, side_by_side};
use crate::pairs::files;
use crate::{CaseMeasures, Error, Evaluation, Result, Settings};

/// Folders inside a case's that may hold its masks.
const INNER: [&str; 2] = ["segmentations", "structures"];

/// Evaluates masks against true masks, both folders of one case or of several. Each structure is a
/// label: its place, from 1, in the alphabetical order of those that any truth has.
///
/// # Errors
/// [`Error::Files`] where a true mask has no prediction or lies on another grid, or there is none;
/// [`Error::Volume`] where a file cannot be read.
pub fn evaluate_organs(prediction: &Path, truth: &Path, settings: &Settings) -> Result<Evaluation> {
    let (predictions, truths) = (cases(prediction)?, cases(truth)?);
    // Of two single folders the names need not be the same.
    let single = predictions.len() == 1 && truths.len() == 1;
    let organs: BTreeSet<&String> = truths.values().flat_map(BTreeMap::keys).collect();
    let value_of: BTreeMap<&String, u16> = organs.into_iter().zip(1..=u16::MAX).collect();
    let mut jobs = Vec::new();
    let mut unmatched = Vec::new();
    for (case, masks) in &truths {
        let theirs = match predictions.get(case) {
            Some(theirs) => theirs,
            None if single => predictions.values().next().unwrap_or(masks),
            None => {
                return Err(Error::files(
                    format!(
                        "expected masks of each case of the truth, found none of {case}; predict \
                         it too, or leave its truth out"
                    ),
                    prediction,
                ));
            }
        };
        for (organ, truth) in masks {
            let Some(mask) = theirs.get(organ) else {
                return Err(Error::files(
                    format!(
                        "expected a mask of each structure of the truth, found none of {organ} of \
                         {case}; write an empty one where nothing was found"
                    ),
                    prediction,
                ));
            };
            jobs.push(Job {
                case,
                value: value_of[organ],
                prediction: mask,
                truth,
            });
        }
        let extra = theirs.keys().filter(|organ| !masks.contains_key(*organ));
        unmatched.extend(extra.map(|organ| format!("{case}/{organ}")));
    }
    let extra = predictions
        .keys()
        .filter(|case| !truths.contains_key(*case));
    unmatched.extend(extra.filter(|_| !single).cloned());
    let parts = side_by_side(&jobs, |job| job.truth, |job| job.measure(settings))?;
    let names = value_of
        .iter()
        .map(|(organ, value)| (*value, (*organ).clone()));
    let names: BTreeMap<u16, String> = names.collect();
    let mut evaluation = Evaluation::new(Evaluation::pool(parts), &names, settings.clone());
    evaluation.unmatched = unmatched;
    Ok(evaluation)
}

struct Job<'a> {
    case: &'a str,
    value: u16,
    prediction: &'a Path,
    truth: &'a Path,
}

impl Job<'_> {
    fn measure(&self, settings: &Settings) -> Result<CaseMeasures> {
        let inside = |path: &Path| -> Result<crossmod_volume::Labels> {
            let mut mask = io::read_labels(path)?;
            mask.data_mut()
                .iter_mut()
                .for_each(|v| *v = u16::from(*v > 0));
            Ok(mask)
        };
        let (prediction, truth) = (inside(self.prediction)?, inside(self.truth)?);
        let classes: [(u16, &[u16]); 1] = [(self.value, &[1])];
        let labels = measures_of(&prediction, &truth, &classes, None, settings)
            .map_err(|error| error.about(self.prediction))?;
        Ok(CaseMeasures {
            case: self.case.to_owned(),
            labels,
        })
    }
}

/// The masks of each case, by structure.
type Cases = BTreeMap<String, BTreeMap<String, PathBuf>>;

fn cases(path: &Path) -> Result<Cases> {
    let mut parts = path.components();
    let mut before = PathBuf::new();
    for part in parts.by_ref() {
        if part == Component::Normal("*".as_ref()) {
            return of_folders(&before, parts.as_path(), path);
        }
        before.push(part);
    }
    let masks = masks_of(path)?;
    if masks.is_empty() {
        return of_folders(path, Path::new(""), path);
    }
    let whole = path.canonicalize().unwrap_or_else(|_| path.to_owned());
    let name = whole.file_name().unwrap_or_default().to_string_lossy();
    Ok(BTreeMap::from([(name.into_owned(), masks)]))
}

/// The cases whose folders lie in `outer`, their masks in `inner` of each.
fn of_folders(outer: &Path, inner: &Path, told: &Path) -> Result<Cases> {
    let to_error = |error| crossmod_volume::Error::io("list the folder", error, outer);
    let mut cases = Cases::new();
    for entry in std::fs::read_dir(outer).map_err(to_error)? {
        let case = entry.map_err(to_error)?.path();
        let folder = case.join(inner);
        if folder.is_dir() {
            let masks = masks_of(&folder)?;
            let name = case.file_name().unwrap_or_default().to_string_lossy();
            if !masks.is_empty() && !name.starts_with('.') {
                cases.insert(name.into_owned(), masks);
            }
        }
    }
    if cases.is_empty() {
        return Err(Error::files(
            "expected a folder of masks, one file for each structure, or of such folders, one for \
             each case, found none; check the path",
            told,
        ));
    }
    Ok(cases)
}

/// The masks of one case's folder.
fn masks_of(folder: &Path) -> Result<BTreeMap<String, PathBuf>> {
    let inner = INNER.iter().map(|name| folder.join(name));
    match inner.into_iter().find(|folder| folder.is_dir()) {
        Some(inner) => files(&inner),
        None => files(folder),
    }
}

#[cfg(test)]
mod tests {
    use crossmod_volume::{Grid, Labels};
    use tempfile::TempDir;

    use super::*;
    use crate::Metric;

    fn write(folder: &TempDir, name: &str, data: &[u16]) {
        let path = folder.path().join(name);
        std::fs::create_dir_all(path.parent().expect("a folder")).expect("a writable folder");
        let grid = Grid::with_spacing([data.len(), 1, 1], [1.0; 3]).expect("a grid");
        let labels = Labels::new(grid, data.to_vec()).expect("labels");
        io::write_labels(&path, &labels).expect("a writable folder");
    }

    fn evaluate(folder: &TempDir, prediction: &str, truth: &str) -> Result<Evaluation> {
        let [p, t] = [prediction, truth].map(|name| folder.path().join(name));
        evaluate_organs(&p, &t, &Settings::default())
    }

    #[test]
    fn structures_are_paired_by_name_in_folders_of_cases() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        write(
            &folder,
            "truth/s1/segmentations/liver.nii.gz",
            &[1, 1, 0, 0],
        );
        write(
            &folder,
            "truth/s1/segmentations/aorta.nii.gz",
            &[0, 1, 1, 0],
        );
        write(
            &folder,
            "truth/s2/segmentations/liver.nii.gz",
            &[0, 0, 255, 255],
        );
        write(&folder, "pred/s1/liver.nii", &[1, 0, 0, 0]);
        write(&folder, "pred/s1/aorta.nii", &[0, 7, 7, 0]);
        write(&folder, "pred/s1/heart.nii", &[0, 0, 0, 1]);
        write(&folder, "pred/s2/liver.nii", &[0, 0, 1, 1]);
        let found = evaluate(&folder, "pred", "truth").expect("pairs");
        let names: Vec<_> = found.cases.iter().map(|c| &*c.case).collect();
        assert_eq!(
            (names, &*found.name(1), &*found.name(2)),
            (vec!["s1", "s2"], "aorta", "liver")
        );
        let dice = |case: usize, label| found.get(&found.cases[case], label, Metric::Dice);
        assert_eq!(
            (dice(0, 1), dice(0, 2), dice(1, 2)),
            (Some(1.0), Some(2.0 / 3.0), Some(1.0))
        );
        assert_eq!(
            (dice(1, 1), &*found.unmatched),
            (None, &["s1/heart".to_owned()][..])
        );

        std::fs::remove_file(folder.path().join("pred/s1/aorta.nii")).expect("it is there");
        let message = evaluate(&folder, "pred", "truth")
            .expect_err("no aorta")
            .to_string();
        assert!(message.contains("none of aorta of s1"), "{message}");
    }

    #[test]
    fn a_star_stands_for_the_folder_of_a_case() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        for case in ["a", "b"] {
            write(&folder, &format!("study/{case}/one/lens.nii"), &[1, 1, 0]);
            write(&folder, &format!("study/{case}/two/lens.nii"), &[1, 0, 0]);
        }
        let found = evaluate(&folder, "study/*/two", "study/*/one").expect("two cases");
        assert_eq!(found.cases.len(), 2);
        assert_eq!(found.mean(Metric::Dice), Some(2.0 / 3.0));
        // Single folders need no common name.
        let found = evaluate(&folder, "study/a/two", "study/a/one").expect("one case");
        assert_eq!((found.cases.len(), &*found.cases[0].case), (1, "one"));
        assert!(found.unmatched.is_empty());
        let message = evaluate(&folder, "study/*/two", "study/*/three").expect_err("no truth");
        assert!(message.to_string().contains("one file for each structure"));
    }
}
