//! Which files of a folder are the labels of which case.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use crossmod_volume::dataset::stem_and_ending;
use crossmod_volume::{Grid, io};

use super::{LabelCase, LabelFiles};
use crate::{Error, Result};

/// Words in the names of label maps.
const LABEL_WORDS: [&str; 11] = [
    "aseg",
    "gt",
    "label",
    "labelmap",
    "labels",
    "mask",
    "masks",
    "seg",
    "segmentation",
    "segmentations",
    "tissues",
];

/// Names of scans.
const SCAN_NAMES: [&str; 10] = [
    "ct", "image", "imaging", "img", "mr", "mri", "orig", "pet", "scan", "volume",
];

/// Folders that hold the masks of the case they lie in: TotalSegmentator's and PDDCA's.
const MASK_FOLDERS: [&str; 2] = ["segmentations", "structures"];

/// What a folder holds.
#[derive(Debug, Default)]
pub(super) struct Found {
    pub(super) cases: Vec<LabelCase>,
    /// Value to name, where the files say it.
    pub(super) names: Option<BTreeMap<u16, String>>,
    /// Scans that are nobody's yet.
    pub(super) scans: Vec<PathBuf>,
    pub(super) notes: Vec<String>,
}

/// A case before masks have values.
struct Raw {
    id: String,
    files: Vec<(String, PathBuf)>,
    /// Each file is a structure's mask.
    masks: bool,
    scan: Option<PathBuf>,
}

/// The cases of a file or folder.
pub(super) fn find(root: &Path, only: Option<&str>) -> Result<Found> {
    if root.is_file() {
        let id = stem_and_ending(root).map_or("labels", |(stem, _)| stem);
        return Ok(Found {
            cases: vec![map(id.to_owned(), root.to_owned())],
            ..Found::default()
        });
    }
    if !root.is_dir() {
        return Err(Error::file(
            "expected a label map or a folder of some, found nothing; check the path",
            root,
        ));
    }
    let wanted = |path: &Path| {
        let below = path.strip_prefix(root).unwrap_or(path);
        only.is_none_or(|text| below.to_string_lossy().contains(text))
    };
    if ["labelsTr", "labels"].iter().any(|f| root.join(f).is_dir()) {
        let mut found = super::dataset(root)?;
        found.cases.retain(|case| wanted(case.labels.first()));
        return Ok(found);
    }
    let (labels, images) = apart(files(root)?);
    let masks = MASK_FOLDERS.iter().any(|folder| root.join(folder).is_dir());
    let (mut raw, images) = if labels.is_empty() || masks {
        (case_folders(root)?, Vec::new())
    } else {
        (flat(root, labels)?, images)
    };
    raw.retain(|case| case.files.first().is_some_and(|(_, path)| wanted(path)));
    let mut found = numbered(raw, root)?;
    found.scans = images.into_iter().map(|(_, path)| path).collect();
    Ok(found)
}

/// The scans of a folder that is named for them: a file, a dataset's training images, or all files.
pub(super) fn scans_of(root: &Path) -> Result<Vec<PathBuf>> {
    if root.is_file() {
        return Ok(vec![root.to_owned()]);
    }
    let inner = ["imagesTr", "images"].map(|folder| root.join(folder));
    let folder = inner.iter().find(|folder| folder.is_dir());
    let files = files(folder.map_or(root, PathBuf::as_path))?;
    Ok(files.into_iter().map(|(_, path)| path).collect())
}

/// Stem and path of the volumes of a folder, by name.
pub(super) fn files(folder: &Path) -> Result<Vec<(String, PathBuf)>> {
    let paths = entries(folder)?.into_iter().filter(|path| path.is_file());
    Ok(paths
        .filter_map(|path| Some((stem_and_ending(&path)?.0.to_owned(), path)))
        .collect())
}

fn folders(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut found = entries(folder)?;
    found.retain(|path| path.is_dir() && !name(path).starts_with('.'));
    Ok(found)
}

fn entries(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut paths = fs::read_dir(folder)
        .and_then(|entries| {
            entries
                .map(|e| Ok(e?.path()))
                .collect::<std::io::Result<Vec<_>>>()
        })
        .map_err(|e| Error::read(e, folder))?;
    paths.sort();
    Ok(paths)
}

fn name(path: &Path) -> String {
    // Of `.` and the like, the folder's own name.
    let whole = path.canonicalize().unwrap_or_else(|_| path.to_owned());
    let name = path.file_name().or(whole.file_name()).unwrap_or_default();
    name.to_string_lossy().into_owned()
}

type Files = Vec<(String, PathBuf)>;

/// Label maps and scans, told apart by their names.
fn apart(files: Files) -> (Files, Files) {
    let labelled = |stem: &str| words(stem).any(|word| LABEL_WORDS.contains(&word.as_str()));
    let told = files.iter().any(|(stem, _)| labelled(stem));
    files.into_iter().partition(|(stem, _)| {
        let scan = SCAN_NAMES.contains(&stem.to_lowercase().as_str());
        labelled(stem) || !(told || scan)
    })
}

fn words(stem: &str) -> impl Iterator<Item = String> {
    stem.split(|c: char| !c.is_alphanumeric())
        .map(str::to_lowercase)
}

/// The cases of files that lie side by side: one each, or the organs of one.
fn flat(root: &Path, labels: Files) -> Result<Vec<Raw>> {
    let numbers = labels
        .iter()
        .any(|(stem, _)| stem.contains(|c: char| c.is_ascii_digit()));
    let inside = MASK_FOLDERS.contains(&&*name(root));
    let masks = inside || (labels.len() > 1 && !numbers && are_masks(&labels)?);
    if masks {
        return Ok(vec![Raw {
            id: name(root),
            files: labels,
            masks,
            scan: None,
        }]);
    }
    let ids = without_label_words(&labels);
    Ok(labels
        .into_iter()
        .zip(ids)
        .map(|(file, id)| Raw {
            id,
            files: vec![file],
            masks,
            scan: None,
        })
        .collect())
}

/// Whether files lie on one grid and hold one structure each.
fn are_masks(files: &Files) -> Result<bool> {
    let grids: Vec<Grid> = files
        .iter()
        .map(|(_, path)| Ok(io::read_grid(path)?.0))
        .collect::<Result<_>>()?;
    let apart = |pair: &[Grid]| !pair[1].matches(&pair[0], super::scans::TOLERANCE_MM);
    if grids.windows(2).any(apart) {
        return Ok(false);
    }
    for (_, path) in files {
        if io::read_labels(path)?
            .counts()
            .into_keys()
            .filter(|&v| v > 0)
            .count()
            > 1
        {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Stems without words at their ends that say what they are, where they still differ then.
fn without_label_words(files: &Files) -> Vec<String> {
    let cut = |stem: &str| {
        let mut rest = stem;
        while let Some((front, word)) = rest.rsplit_once(['_', '-', '.', ' ']) {
            if front.is_empty() || !LABEL_WORDS.contains(&word.to_lowercase().as_str()) {
                break;
            }
            rest = front;
        }
        rest.to_owned()
    };
    let short: Vec<String> = files.iter().map(|(stem, _)| cut(stem)).collect();
    if short.iter().collect::<BTreeSet<_>>().len() == files.len() {
        return short;
    }
    files.iter().map(|(stem, _)| stem.clone()).collect()
}

/// The cases of a folder without files: itself, where it holds masks, else each folder in it, or each
/// folder in those.
fn case_folders(root: &Path) -> Result<Vec<Raw>> {
    if let Some(case) = case_folder(root, name(root))? {
        return Ok(vec![case]);
    }
    let mut cases = Vec::new();
    for folder in folders(root)? {
        if let Some(case) = case_folder(&folder, name(&folder))? {
            cases.push(case);
            continue;
        }
        for inner in folders(&folder)? {
            let id = format!("{}_{}", name(&folder), name(&inner));
            cases.extend(case_folder(&inner, id)?);
        }
    }
    Ok(cases)
}

/// The case whose files lie in a folder; `None` where none do.
fn case_folder(folder: &Path, id: String) -> Result<Option<Raw>> {
    let (mut labels, mut images) = apart(files(folder)?);
    let inner = MASK_FOLDERS.map(|name| folder.join(name));
    let inner = inner.iter().find(|inner| inner.is_dir());
    if let Some(inner) = inner {
        images.append(&mut labels);
        labels = files(inner)?;
    }
    if labels.is_empty() {
        return Ok(None);
    }
    let named = images
        .iter()
        .find(|(stem, _)| SCAN_NAMES.contains(&stem.to_lowercase().as_str()));
    let scan = match (named, images.as_slice()) {
        (Some((_, path)), _) | (None, [(_, path)]) => Some(path.clone()),
        _ => None,
    };
    Ok(Some(Raw {
        id,
        masks: inner.is_some() || labels.len() > 1,
        files: labels,
        scan,
    }))
}

/// Gives masks their values.
fn numbered(raw: Vec<Raw>, root: &Path) -> Result<Found> {
    let masked = raw.iter().filter(|case| case.masks).count();
    if masked == 0 {
        let cases = raw.into_iter().flat_map(|case| {
            let Raw {
                id, files, scan, ..
            } = case;
            files.into_iter().map(move |(_, path)| LabelCase {
                scan: scan.clone(),
                ..map(id.clone(), path)
            })
        });
        return Ok(Found {
            cases: cases.collect(),
            ..Found::default()
        });
    }
    // A case of one organ among others of several.
    let masks = raw.iter().flat_map(|case| &case.files);
    let names: BTreeSet<String> = masks.map(|(stem, _)| stem.clone()).collect();
    if names.len() > usize::from(u16::MAX) {
        return Err(Error::file(
            format!("expected at most 65535 structures, found {}", names.len()),
            root,
        ));
    }
    let values: BTreeMap<String, u16> = names.into_iter().zip(1..).collect();
    let cases = raw.into_iter().map(|case| {
        let masks = case.files.into_iter();
        LabelCase {
            id: case.id,
            labels: LabelFiles::Masks(
                masks
                    .filter_map(|(stem, path)| Some((*values.get(&stem)?, path)))
                    .collect(),
            ),
            scan: case.scan,
        }
    });
    Ok(Found {
        cases: cases.collect(),
        notes: vec![format!(
            "one mask for each of {} structures; where masks overlap, the later name is kept",
            values.len()
        )],
        names: Some(
            values
                .into_iter()
                .map(|(name, value)| (value, name))
                .collect(),
        ),
        scans: Vec::new(),
    })
}

fn map(id: String, path: PathBuf) -> LabelCase {
    LabelCase {
        id,
        labels: LabelFiles::Map(path),
        scan: None,
    }
}
