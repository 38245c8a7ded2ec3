//! Which prediction belongs to which truth.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crossmod_volume::dataset::{self, stem_and_ending};

use crate::{Error, Result};

/// A file and the one it is held against.
pub(crate) struct Pair {
    /// The stem of the truth.
    pub(crate) id: String,
    pub(crate) prediction: PathBuf,
    pub(crate) truth: PathBuf,
}

impl Pair {
    pub(crate) fn is_slice(&self) -> bool {
        matches!(stem_and_ending(&self.truth), Some((_, ".png")))
    }
}

/// What two folders, or two files, have in common.
pub(crate) struct Pairs {
    pub(crate) found: Vec<Pair>,
    /// Predictions without a truth.
    pub(crate) unmatched: Vec<String>,
}

impl Pairs {
    /// The case of each pair: its file's stem, and of slices their patient.
    pub(crate) fn cases(&self) -> Vec<String> {
        let slices = self.found.iter().filter(|p| p.is_slice());
        let slices: Vec<&str> = slices.map(|p| &*p.id).collect();
        let patients = dataset::subjects(&slices, true);
        let patient_of: BTreeMap<&str, String> = slices.into_iter().zip(patients).collect();
        let case = |pair: &Pair| patient_of.get(&*pair.id).unwrap_or(&pair.id).clone();
        self.found.iter().map(case).collect()
    }
}

/// Pairs two files, or the files of two folders by their stems.
///
/// # Errors
/// [`Error::Files`] where a truth has no prediction, there is no truth, or a file is compared with a
/// folder; [`Error::Volume`] where a folder cannot be listed.
pub(crate) fn pair(prediction: &Path, truth: &Path) -> Result<Pairs> {
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
pub(crate) fn files(folder: &Path) -> Result<BTreeMap<String, PathBuf>> {
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
