//! The cases of a page: which, and where their files are.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use crossmod_report::case::{self, Keep};
use crossmod_report::page::{CaseShown, Run};
use crossmod_volume::Labels;
use crossmod_volume::dataset::{Dataset, stem_and_ending};
use crossmod_volume::io;

use super::gather::Gathered;

/// Files by case.
type ByCase = BTreeMap<String, PathBuf>;

/// Where the files of cases are.
pub(super) struct Files {
    images: ByCase,
    truth: ByCase,
    /// Of each run: its name and what it predicted.
    predictions: Vec<(String, ByCase)>,
}

impl Files {
    /// Of folders where they are given, else of the dataset that the first run was trained on.
    pub(super) fn of(
        runs: &[Gathered],
        images: Option<&Path>,
        truth: Option<&Path>,
    ) -> anyhow::Result<Self> {
        let source = runs
            .iter()
            .find_map(|run| run.manifest.as_ref()?.source.as_ref());
        // A dataset that is no longer there is no reason to show nothing.
        let dataset = source.and_then(|folder| Dataset::open(folder).ok());
        let of_dataset = |file: fn(&crossmod_volume::dataset::Case) -> Option<&PathBuf>| {
            let cases = dataset
                .iter()
                .flat_map(|d| d.training.iter().chain(&d.test));
            cases
                .filter_map(|case| Some((case.id.clone(), file(case)?.clone())))
                .collect::<ByCase>()
        };
        let predictions = runs.iter().filter_map(|run| {
            let folder = run.predictions.as_deref()?;
            Some(by_case(folder).map(|files| (run.name.clone(), files)))
        });
        Ok(Self {
            images: match images {
                Some(folder) => by_case(folder)?,
                None => of_dataset(|case| case.images.first()),
            },
            truth: match truth {
                Some(folder) => by_case(folder)?,
                None => of_dataset(|case| case.label.as_ref()),
            },
            predictions: predictions.collect::<anyhow::Result<_>>()?,
        })
    }

    /// At most `most` cases that have an image and a prediction: three in four the worst by the last run's
    /// mean Dice, the others the best.
    pub(super) fn chosen(&self, runs: &[Run], most: usize) -> Vec<String> {
        let predicted =
            |case: &&String| self.predictions.iter().any(|(_, f)| f.contains_key(*case));
        let mut cases: Vec<(f64, &String)> = self
            .images
            .keys()
            .filter(predicted)
            .map(|case| (mean_dice(runs, case), case))
            .collect();
        cases.sort_by(|a, b| a.0.total_cmp(&b.0).then_with(|| a.1.cmp(b.1)));
        let worst = most - most / 4;
        let left_out = if cases.len() > most {
            worst..cases.len() - most / 4
        } else {
            0..0
        };
        let kept = (0..cases.len()).filter(|i| !left_out.contains(i));
        kept.map(|i| cases[i].1.clone()).collect()
    }

    /// A case's slices and volumes.
    pub(super) fn shown(
        &self,
        case: &str,
        names: &[(u16, String)],
        keep: Keep,
    ) -> anyhow::Result<CaseShown> {
        let image = self
            .images
            .get(case)
            .context("expected an image of the case")?;
        let image = io::read_image(image)?;
        let predictions = self
            .predictions
            .iter()
            .map(|(run, files)| (run.as_str(), files));
        let mut maps: Vec<(&str, Labels)> = Vec::new();
        for (name, files) in predictions.chain([("truth", &self.truth)]) {
            if let Some(file) = files.get(case) {
                maps.push((name, io::read_labels(file)?));
            }
        }
        let maps: Vec<(&str, &Labels)> = maps.iter().map(|(name, map)| (*name, map)).collect();
        Ok(case::shown(case, &image, &maps, names, keep)?)
    }
}

/// The mean Dice of a case over its labels in the last run that has it; those without come last.
fn mean_dice(runs: &[Run], case: &str) -> f64 {
    let in_run = |run: &Run| {
        let cases = run.evaluation.as_ref()?.get("cases")?.as_array()?;
        let case = cases
            .iter()
            .find(|c| c.get("case").and_then(|c| c.as_str()) == Some(case))?;
        let labels = case.get("labels")?.as_object()?.values();
        let dice: Vec<f64> = labels.filter_map(|l| l.get("dice")?.as_f64()).collect();
        (!dice.is_empty()).then(|| dice.iter().sum::<f64>() / dice.len() as f64)
    };
    runs.iter().rev().find_map(in_run).unwrap_or(f64::INFINITY)
}

/// The volumes of a folder by case: the files' names without the ending and the first channel's number.
fn by_case(folder: &Path) -> anyhow::Result<ByCase> {
    let listed = std::fs::read_dir(folder)
        .with_context(|| format!("could not list the folder: {}", folder.display()))?;
    let mut files = ByCase::new();
    for entry in listed {
        let path = entry
            .with_context(|| format!("could not list the folder: {}", folder.display()))?
            .path();
        if let Some((stem, _)) = stem_and_ending(&path) {
            let case = stem.strip_suffix("_0000").unwrap_or(stem).to_owned();
            files.insert(case, path);
        }
    }
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    #[test]
    fn the_worst_and_some_of_the_best_cases_are_chosen() {
        let names: Vec<String> = (0..10).map(|i| format!("p{i}")).collect();
        let all: ByCase = names
            .iter()
            .map(|n| (n.clone(), PathBuf::from(n)))
            .collect();
        let cases: Vec<Value> = (0..10)
            .map(|i| json!({"case": names[i], "labels": {"1": {"dice": 0.1 * (9 - i) as f64}}}))
            .collect();
        let run = Run {
            evaluation: Some(json!({ "cases": cases })),
            ..Run::default()
        };
        let files = Files {
            images: all.clone(),
            truth: ByCase::new(),
            predictions: vec![("a".into(), all)],
        };
        let runs = [run];
        assert_eq!(files.chosen(&runs, 4), ["p9", "p8", "p7", "p0"]);
        assert_eq!(files.chosen(&runs, 40).len(), 10);
        assert_eq!(files.chosen(&runs, 1), ["p9"]);
    }

    #[test]
    fn files_are_known_by_their_case() {
        let folder = tempfile::tempdir().expect("a folder");
        for name in ["a_0000.nii.gz", "b.nrrd", "notes.txt"] {
            std::fs::write(folder.path().join(name), "").expect("a file");
        }
        let files = by_case(folder.path()).expect("files");
        assert_eq!(files.into_keys().collect::<Vec<_>>(), ["a", "b"]);
        assert!(by_case(&folder.path().join("none")).is_err());
    }
}
