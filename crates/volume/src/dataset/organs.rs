//! The layout of TotalSegmentator's data: a folder for each case, a mask for each structure.
//!
//! `CASE/ct.nii.gz` (or `mri`, or the only volume there) and `CASE/segmentations/liver.nii.gz`, …; what
//! is above 0 in a mask is inside (Wasserthal et al. 2023, doi:10.1148/ryai.230024). `meta.csv`, where
//! there is one, tells in its column `split` which cases are for testing; without one all are for
//! training. Values are the structures' places in alphabetical order, from 1, unless a `dataset.json`
//! names them. A case without some of the masks that others have was drawn in part.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use rayon::prelude::*;

use super::cases::{Listing, stem_and_ending};
use super::labels::LabelTable;
use super::{Case, Dataset};
use crate::{Error, Grid, Labels, Result, io};

/// Folders that hold the masks of the case they lie in.
const MASKS: [&str; 2] = ["segmentations", "structures"];

/// Names of the image of a case.
const IMAGES: [&str; 4] = ["ct", "mri", "mr", "image"];

/// Masks held at a time.
const AT_A_TIME: usize = 4;

/// Masks whose corners lie further apart are not of one case, mm.
const TOLERANCE_MM: f64 = 0.1;

/// Longest `meta.csv` read, bytes.
const LONGEST: u64 = 64 << 20;

/// Masks of a case by structure, beside its image.
struct Found {
    id: String,
    image: PathBuf,
    masks: BTreeMap<String, PathBuf>,
}

/// What lies in a folder of cases.
pub(super) struct Organs {
    pub(super) training: Vec<Case>,
    pub(super) test: Vec<Case>,
    /// Value and file of each mask, by case.
    pub(super) masks: BTreeMap<String, Vec<(u16, PathBuf)>>,
    pub(super) table: LabelTable,
    /// What the image is called: `ct`.
    pub(super) channel: String,
}

/// The cases of a folder of this layout; `None` where it is of another. `named` is the table of a
/// `dataset.json`.
pub(super) fn list(root: &Path, named: Option<LabelTable>) -> Result<Option<Organs>> {
    let to_error = |error| Error::io("list the folder", error, root);
    let mut folders = Vec::new();
    for entry in std::fs::read_dir(root).map_err(to_error)? {
        folders.push(entry.map_err(to_error)?.path());
    }
    folders.sort();
    let mut found = Vec::new();
    for folder in folders {
        found.extend(case(&folder)?);
    }
    let Some(first) = found.first() else {
        return Ok(None);
    };
    let stem = stem_and_ending(&first.image).map_or("image", |(stem, _)| stem);
    let channel = stem.to_owned();
    let table = match named {
        Some(table) => table,
        None => alphabetical(&found, root)?,
    };
    let value_of: BTreeMap<&str, u16> = table.names.iter().map(|(v, n)| (&**n, *v)).collect();
    let drawn_somewhere: BTreeSet<&String> = found.iter().flat_map(|f| f.masks.keys()).collect();
    if let Some(unknown) = drawn_somewhere
        .iter()
        .find(|n| !value_of.contains_key(n.as_str()))
    {
        return Err(Error::dataset(
            format!(
                "expected labels to name every mask, found none for {unknown}; add it, or remove \
                 labels"
            ),
            &root.join("dataset.json"),
        ));
    }
    let tests = for_testing(root)?;
    let (mut training, mut test, mut masks) = (Vec::new(), Vec::new(), BTreeMap::new());
    for of in &found {
        let mut values: Vec<(u16, PathBuf)> = of
            .masks
            .iter()
            .map(|(name, path)| (value_of[&**name], path.clone()))
            .collect();
        values.sort();
        let partly = of.masks.len() < drawn_somewhere.len();
        let case = Case {
            id: of.id.clone(),
            subject: of.id.clone(),
            images: vec![of.image.clone()],
            label: None,
            labelled: partly.then(|| values.iter().map(|(value, _)| *value).collect()),
        };
        masks.insert(of.id.clone(), values);
        if tests.contains(&of.id) {
            test.push(case);
        } else {
            training.push(case);
        }
    }
    Ok(Some(Organs {
        training,
        test,
        masks,
        table,
        channel,
    }))
}

/// A case's folder; `None` of any other.
fn case(folder: &Path) -> Result<Option<Found>> {
    let inner = MASKS
        .iter()
        .map(|name| folder.join(name))
        .find(|f| f.is_dir());
    let Some(inner) = inner else { return Ok(None) };
    let masks = Listing::of(&inner, None)?.unwrap_or_default().files;
    let images = Listing::of(folder, None)?.unwrap_or_default().files;
    let named = IMAGES.iter().find_map(|name| images.get(*name));
    let image = named.or_else(|| images.values().next().filter(|_| images.len() == 1));
    let id = folder.file_name().unwrap_or_default().to_string_lossy();
    Ok(match image {
        Some(image) if !masks.is_empty() => Some(Found {
            id: id.into_owned(),
            image: image.clone(),
            masks: masks.into_iter().collect(),
        }),
        _ => None,
    })
}

fn alphabetical(found: &[Found], root: &Path) -> Result<LabelTable> {
    let names: BTreeSet<&String> = found.iter().flat_map(|of| of.masks.keys()).collect();
    if names.len() >= usize::from(u16::MAX) {
        return Err(Error::dataset(
            format!(
                "expected fewer than 65535 structures, found {}",
                names.len()
            ),
            root,
        ));
    }
    let named = (1..).zip(names).map(|(value, name)| (value, name.clone()));
    Ok(LabelTable {
        names: named.chain([(0, "background".to_owned())]).collect(),
        ..LabelTable::default()
    })
}

/// The cases that `meta.csv` is for testing with.
fn for_testing(root: &Path) -> Result<BTreeSet<String>> {
    let path = root.join("meta.csv");
    if !path.is_file() {
        return Ok(BTreeSet::new());
    }
    let size = std::fs::metadata(&path)
        .map_err(|e| Error::io("read meta.csv", e, &path))?
        .len();
    if size > LONGEST {
        let message = format!("expected a meta.csv of at most {LONGEST} bytes, found {size}");
        return Err(Error::dataset(message, &path));
    }
    let text = std::fs::read_to_string(&path).map_err(|e| Error::io("read meta.csv", e, &path))?;
    let mut lines = text.trim_start_matches('\u{feff}').lines();
    let head = lines.next().unwrap_or_default();
    let comma = if head.contains(';') { ';' } else { ',' };
    let cells = |line: &str| -> Vec<String> {
        let cells = line
            .split(comma)
            .map(|cell| cell.trim().trim_matches('"').to_owned());
        cells.collect()
    };
    let head = cells(head);
    let column = |name: &str| head.iter().position(|cell| cell == name);
    let (Some(id), Some(split)) = (column("image_id"), column("split")) else {
        return Ok(BTreeSet::new());
    };
    let rows = lines.map(cells);
    let chosen = rows.filter(|row| row.get(split).is_some_and(|s| s == "test"));
    Ok(chosen.filter_map(|row| row.get(id).cloned()).collect())
}

impl Dataset {
    /// The label map of one of its cases, made of masks where there are any: each is painted over
    /// those of lower value. `None` where the case has no labels.
    ///
    /// # Errors
    /// As [`io::read_labels`], and [`Error::Format`] where masks do not lie on one grid.
    pub fn read_labels(&self, case: &Case) -> Result<Option<Labels>> {
        match (&case.label, self.masks.get(&case.id)) {
            (Some(path), _) => io::read_labels(path).map(Some),
            (None, Some(masks)) => merge_masks(masks).map(|(labels, _)| Some(labels)),
            (None, None) => Ok(None),
        }
    }

    /// The masks that the labels of a case are made of, with their values; empty where they are one
    /// label map.
    #[must_use]
    pub fn masks(&self, case: &Case) -> &[(u16, PathBuf)] {
        self.masks.get(&case.id).map_or(&[], Vec::as_slice)
    }
}

/// The label map that masks make, each painted over those before it, and how many voxels were painted
/// more than once. What is above 0 in a mask is inside.
///
/// # Errors
/// As [`io::read_labels`], and [`Error::Format`] where masks do not lie on one grid or there is none.
pub fn merge_masks(masks: &[(u16, PathBuf)]) -> Result<(Labels, usize)> {
    let mut merged: Option<(Grid, Vec<u16>)> = None;
    let mut overlap = 0;
    for group in masks.chunks(AT_A_TIME) {
        let read: Vec<_> = group
            .par_iter()
            .map(|(_, path)| io::read_labels(path))
            .collect();
        for ((value, path), mask) in group.iter().zip(read) {
            let (grid, mask) = mask?.into_parts();
            let (first, labels) = merged.get_or_insert_with(|| (grid.clone(), vec![0; mask.len()]));
            if !grid.matches(first, TOLERANCE_MM) {
                return Err(Error::format(
                    format!(
                        "expected masks of a case on one grid, that of {}, found {:?} instead of \
                         {:?} voxels or another place; resample it",
                        masks[0].1.display(),
                        grid.shape(),
                        first.shape()
                    ),
                    path,
                ));
            }
            for (label, _) in labels.iter_mut().zip(&mask).filter(|(_, m)| **m > 0) {
                overlap += usize::from(*label > 0);
                *label = *value;
            }
        }
    }
    let (grid, labels) = merged.ok_or_else(|| {
        Error::format(
            "expected at least one mask of a case, found none",
            Path::new(""),
        )
    })?;
    Ok((Labels::new(grid, labels)?, overlap))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dataset::trial::Trial;

    fn trial() -> Trial {
        let trial = Trial::new();
        for case in ["s0001", "s0002", "s0003"] {
            trial.image(&format!("{case}/ct.nii.gz"), &[0.0, 1.0, 2.0, 3.0]);
            trial.labels(&format!("{case}/segmentations/liver.nii.gz"), &[0, 1, 1, 0]);
        }
        for case in ["s0001", "s0003"] {
            trial.labels(&format!("{case}/segmentations/aorta.nii.gz"), &[0, 0, 1, 1]);
        }
        let meta = "\u{feff}image_id;age;split\ns0001;60;train\ns0003;55;test\n";
        std::fs::write(trial.root().join("meta.csv"), meta).expect("a writable folder");
        trial
    }

    #[test]
    fn masks_are_labels_and_meta_csv_tells_the_split() {
        let trial = trial();
        let dataset = trial.open();
        let ids = |cases: &[Case]| cases.iter().map(|c| c.id.clone()).collect::<Vec<_>>();
        assert_eq!(
            (ids(&dataset.training), ids(&dataset.test)),
            (
                vec!["s0001".to_owned(), "s0002".to_owned()],
                vec!["s0003".to_owned()]
            )
        );
        assert_eq!(
            (&*dataset.labels[&1], &*dataset.labels[&2]),
            ("aorta", "liver")
        );
        assert_eq!(dataset.channels, ["ct"]);
        // In one case the aorta was not drawn.
        let drawn: Vec<_> = dataset
            .training
            .iter()
            .map(|c| c.labelled.clone())
            .collect();
        assert_eq!(drawn, [None, Some(vec![2])]);
        let labels = dataset.read_labels(&dataset.training[0]).expect("masks");
        assert_eq!(labels.expect("labels").data(), [0, 2, 2, 1]);
        assert_eq!(
            merge_masks(dataset.masks(&dataset.training[0]))
                .expect("masks")
                .1,
            1
        );
    }

    #[test]
    fn a_description_may_give_other_values() {
        let trial = trial();
        let json = |text: &str| {
            std::fs::write(trial.root().join("dataset.json"), text).expect("a writable folder");
        };
        json(r#"{"labels": {"background": 0, "liver": 5, "aorta": 52, "spleen": 1}}"#);
        let dataset = trial.open();
        let labels = dataset.read_labels(&dataset.training[0]).expect("masks");
        assert_eq!(labels.expect("labels").data(), [0, 5, 52, 52]);
        json(r#"{"labels": {"background": 0, "liver": 5}}"#);
        let message = Dataset::open(trial.root())
            .expect_err("no aorta")
            .to_string();
        assert!(message.contains("found none for aorta"), "{message}");
    }
}
