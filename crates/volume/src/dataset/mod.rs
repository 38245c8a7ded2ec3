//! Datasets on disk: which files belong to which case, what the labels mean, what is wrong.
//!
//! Three layouts are read (see [`Dataset::open`]):
//!
//! - **nnU-Net** (Isensee et al., Nature Methods 18, 2021, doi:10.1038/s41592-020-01008-z):
//!   `dataset.json`, `imagesTr/CASE_0000.nii.gz` with a four-digit channel number,
//!   `labelsTr/CASE.nii.gz`, and the same in `imagesTs` and `labelsTs`. `labelsTr` may be absent
//!   (unlabelled data). `dataset.json` of version 2 (`channel_names`, `labels` as name to value)
//!   and of version 1 and the Medical Segmentation Decathlon (`modality`, `labels` as value to
//!   name, images without a channel number) are understood.
//! - **plain**: `images/` and, where there are labels, `labels/` with files of the same stem.
//!   `dataset.json` is optional.
//! - **TotalSegmentator**: a folder for each case, with its image and a mask for each structure; see
//!   [`Dataset::read_labels`]. Training reads label maps, which [`write_nnunet`] makes of masks.
//!
//! Opening a dataset lists folders and reads `dataset.json`; no image is opened. [`check()`] opens
//! all of them and says what would go wrong later.
//!
//! Labels may be regions of several values, a value may be left to be ignored, and in some cases only
//! some classes may have been drawn: `labels` tells how `dataset.json` says so.

mod cases;
mod check;
mod check_case;
mod check_pair;
mod content;
mod description;
mod labels;
mod layout;
mod organs;
mod splits;
mod subject;
#[cfg(test)]
mod trial;
mod write;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use rayon::prelude::*;

use crate::{Result, io};

pub use cases::{ENDINGS, result_ending, stem_and_ending};
pub use check::{Finding, Severity, check};
pub use check_pair::check_pair;
pub use description::read_label_table;
pub use labels::{LabelTable, Region};
pub use organs::merge_masks;
pub use splits::{Split, folds};
pub use subject::{slice_of, subject_of, subjects};
pub use write::{copy_image, write_nnunet};

/// One image (all its channels) and its label map, where it has one.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Case {
    /// The file stem without its channel number, unique within training and within test.
    pub id: String,
    /// The patient, as far as the names tell; see [`subjects`] for the rule.
    pub subject: String,
    /// One file per channel. A channel that is missing on disk still has its path here, so that
    /// reading it names the file that is wanted.
    pub images: Vec<PathBuf>,
    /// The label map, `None` where there is no such file.
    pub label: Option<PathBuf>,
    /// The classes that were drawn in the label map, in order, by the value that they are written
    /// as (of a region [`Region::value`]); the background of such a case may hold the others. `None`
    /// where all were, which is the rule.
    pub labelled: Option<Vec<u16>>,
}

/// A dataset: its cases and the meaning of its labels. Made by [`Dataset::open`].
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Dataset {
    /// The folder.
    pub root: PathBuf,
    /// From `dataset.json`, else the folder's name.
    pub name: String,
    /// The name of each channel; `["image"]` where no `dataset.json` names it.
    pub channels: Vec<String>,
    /// The values that label maps hold, but [`Self::ignore`], and their names; background (0)
    /// included. A value that only regions name is called `label N`. Where [`Self::labels_declared`] is false it
    /// holds background alone; [`Self::discover_labels`] reads the values from the files.
    pub labels: BTreeMap<u16, String>,
    /// Whether a `dataset.json` names the labels.
    pub labels_declared: bool,
    /// The value of voxels that nobody has judged.
    pub ignore: Option<u16>,
    /// What is learnt where it is not each of [`Self::labels`] by itself: classes of one or several
    /// values, which may overlap; of those found in a voxel the last is written. The background is
    /// none of them. Empty where labels are plain.
    pub regions: Vec<Region>,
    /// The cases to train on, by id.
    pub training: Vec<Case>,
    /// The cases to test on, by id.
    pub test: Vec<Case>,
    /// `numTraining` of `dataset.json`.
    pub num_training: Option<u64>,
    /// Value and file of each mask, by case, where labels are kept as masks.
    masks: BTreeMap<String, Vec<(u16, PathBuf)>>,
    strays: Strays,
}

/// Files that belong to no case, for [`check()`] to report.
#[derive(Debug, Clone, Default)]
struct Strays {
    images: Vec<PathBuf>,
    labels: Vec<PathBuf>,
}

impl Dataset {
    /// Whether the images are 2-D slices (PNG files).
    #[must_use]
    pub fn is_slices(&self) -> bool {
        let mut images = self.cases().flat_map(|case| &case.images).peekable();
        images.peek().is_some()
            && images.all(|path| matches!(stem_and_ending(path), Some((_, ".png"))))
    }

    /// The training cases that have a label map.
    #[must_use]
    pub fn labelled(&self) -> Vec<&Case> {
        self.training
            .iter()
            .filter(|case| case.label.is_some())
            .collect()
    }

    /// Whether some cases have only some of the classes; see [`Case::labelled`].
    #[must_use]
    pub fn is_partly_labelled(&self) -> bool {
        self.cases().any(|case| case.labelled.is_some())
    }

    /// The labels with the values that occur in the label maps of all cases: names that
    /// `dataset.json` gives, `label N` for the others. Reads every label map.
    ///
    /// # Errors
    /// As [`io::read_labels`], for the first case in order whose label map cannot be read.
    pub fn discover_labels(&self) -> Result<BTreeMap<u16, String>> {
        let files: Vec<&PathBuf> = self
            .cases()
            .filter_map(|case| case.label.as_ref())
            .collect();
        let found: Vec<Result<BTreeSet<u16>>> = files
            .par_iter()
            .map(|path| Ok(io::read_labels(path)?.counts().into_keys().collect()))
            .collect();
        let mut labels = self.labels.clone();
        for values in found {
            for value in values? {
                labels
                    .entry(value)
                    .or_insert_with(|| format!("label {value}"));
            }
        }
        Ok(labels)
    }

    /// Training cases, then test cases.
    fn cases(&self) -> impl Iterator<Item = &Case> {
        self.training.iter().chain(&self.test)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use trial::Trial;

    #[test]
    fn labels_are_discovered_from_the_files() {
        let trial = Trial::new();
        trial.image("images/a.nii.gz", &[1.0, 2.0, 3.0, 4.0]);
        trial.labels("labels/a.nii.gz", &[0, 2, 7, 0]);
        let dataset = trial.open();
        assert!(!dataset.labels_declared);
        assert_eq!(
            dataset.labels,
            BTreeMap::from([(0, "background".to_owned())])
        );
        let labels = dataset.discover_labels().expect("one readable label map");
        let expected = [(0, "background"), (2, "label 2"), (7, "label 7")];
        assert_eq!(labels, expected.map(|(v, n)| (v, n.to_owned())).into());
    }

    /// The real sets open with the cases their description promises; skipped without them.
    #[test]
    fn real_datasets_open_and_check_clean() {
        let Some(data) = std::env::var_os("CROSSMOD_TEST_DATA").map(PathBuf::from) else {
            eprintln!("skipped: CROSSMOD_TEST_DATA is not set");
            return;
        };
        let sets = [
            ("mscmr/bssfp", 35, 0, 35),
            ("mscmr/lge", 25, 5, 30),
            ("aanlib/ct", 61, 0, 4),
            ("aanlib/mr", 28, 14, 3),
        ];
        let mut opened = Vec::new();
        for (folder, training, test, patients) in sets {
            let dataset = Dataset::open(&data.join(folder)).expect(folder);
            assert_eq!(
                (dataset.training.len(), dataset.test.len()),
                (training, test),
                "{folder}"
            );
            let found: BTreeSet<&str> = dataset.cases().map(|case| &*case.subject).collect();
            assert_eq!(found.len(), patients, "{folder}: {found:?}");
            let errors: Vec<Finding> = check(&dataset)
                .into_iter()
                .filter(|f| f.severity == Severity::Error)
                .collect();
            assert!(errors.is_empty(), "{folder}: {errors:#?}");
            opened.push(dataset);
        }
        assert!(opened[1].labelled().is_empty());
        assert!(opened[1].test.iter().all(|case| case.label.is_some()));
        assert!(opened[2].is_slices() && !opened[0].is_slices());
        let pair = check_pair(&opened[0], &opened[1]);
        // p01–p05 are LGE test patients, p06–p30 LGE training patients, all 30 in bSSFP.
        let count = |severity| pair.iter().filter(|f| f.severity == severity).count();
        assert_eq!((count(Severity::Warning), count(Severity::Note)), (5, 25));
        assert!(check_pair(&opened[2], &opened[3]).is_empty());
    }
}
