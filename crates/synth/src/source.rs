//! Label maps of cases, wherever they lie, and what their values stand for.
//!
//! | what is named | its cases |
//! |---|---|
//! | a file | one label map |
//! | a dataset: `labelsTr` or `labels`, `dataset.json` perhaps | its labelled training cases; the scans are the first channel |
//! | a folder of files | a label map each; or, where no name holds a number and all hold one value on one grid, the organs of one case |
//! | a folder of a folder for each case | the files of each: a label map, or one mask for each organ (in `segmentations` or `structures` perhaps, as TotalSegmentator's); a folder within for each rater makes each rater a case |
//!
//! A file is a scan and no label map where its name says so (`ct`, `image`, …) or where other names in
//! its folder say that they are label maps (`seg`, `label`, `mask`, …) and its own does not. A scan
//! belongs to the case that it is named like, else to those on whose grid it lies.
//!
//! Masks of one case become one label map: each structure's value is its place among the names of all
//! cases, from 1, and where two overlap the later name wins.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use crossmod_volume::dataset::{Case, Dataset, LabelTable, merge_masks, read_label_table};
use crossmod_volume::{Image, Labels, io};
use rayon::prelude::*;

use crate::{Error, LabelScheme, Result, Scene};
use layout::Found;

mod layout;
mod scans;

/// Where label maps are, and what they are.
#[derive(Debug, Clone)]
pub struct LabelSource {
    /// What was named.
    pub root: PathBuf,
    /// The cases, by id.
    pub cases: Vec<LabelCase>,
    /// What a user should know of how they were understood, a sentence each.
    pub notes: Vec<String>,
    scheme: LabelScheme,
    /// The values that occur, where they were read.
    values: Option<BTreeSet<u16>>,
}

/// One case.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LabelCase {
    /// Its name, unlike every other's.
    pub id: String,
    /// Its labels.
    pub labels: LabelFiles,
    /// A scan of it, on the grid of its labels.
    pub scan: Option<PathBuf>,
}

/// The files that labels are in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LabelFiles {
    /// One label map.
    Map(PathBuf),
    /// A mask for each structure and the value that it gets, in the order in which they are painted.
    Masks(Vec<(u16, PathBuf)>),
}

/// How a source is to be understood where it does not say so itself.
#[derive(Debug, Clone, Default)]
pub struct SourceOptions {
    /// A folder of scans, a dataset, or one scan.
    pub images: Option<PathBuf>,
    /// What the values stand for; guessed from names and values where it is not given.
    pub scheme: Option<LabelScheme>,
    /// Only cases whose first file's path below the folder holds this text, such as a rater's name.
    pub only: Option<String>,
}

impl LabelSource {
    /// The label maps of a file or folder.
    ///
    /// # Errors
    /// As [`LabelSource::open_as`].
    pub fn open(path: &Path) -> Result<Self> {
        Self::open_as(path, &SourceOptions::default())
    }

    /// The label maps of a file or folder, with what the user says of them. Lists files and reads
    /// headers; where nothing names the values, also reads the label maps.
    ///
    /// # Errors
    /// [`Error::File`] where there are no label maps, they cannot be told apart, or scans that are
    /// given belong to none of them; [`Error::Volume`] where a file cannot be read.
    pub fn open_as(path: &Path, options: &SourceOptions) -> Result<Self> {
        let Found {
            mut cases,
            names,
            scans,
            mut notes,
        } = layout::find(path, options.only.as_deref())?;
        if cases.is_empty() {
            return Err(nothing(path, options.only.as_deref()));
        }
        if let Some(folder) = &options.images {
            scans::pair(
                &mut cases,
                &layout::scans_of(folder)?,
                folder,
                &mut notes,
                true,
            )?;
        } else if !scans.is_empty() {
            scans::pair(&mut cases, &scans, path, &mut notes, false)?;
        }
        cases.sort_by(|a, b| a.id.cmp(&b.id));
        if let Some(pair) = cases.windows(2).find(|pair| pair[0].id == pair[1].id) {
            return Err(Error::file(
                format!(
                    "expected each case once, found {} as {} and {}; name one of them otherwise",
                    pair[0].id,
                    pair[0].labels.first().display(),
                    pair[1].labels.first().display()
                ),
                path,
            ));
        }
        let mut values = None;
        let scheme = if let Some(scheme) = &options.scheme {
            scheme.clone()
        } else {
            let told = match &names {
                Some(names) => names.keys().copied().collect(),
                None => values.insert(occurring(&cases)?).clone(),
            };
            let (scheme, told) = LabelScheme::guess(told, names.as_ref());
            notes.push(told);
            scheme
        };
        Ok(Self {
            root: path.to_owned(),
            cases,
            notes,
            scheme,
            values,
        })
    }

    /// What the values stand for.
    #[must_use]
    pub fn scheme(&self) -> &LabelScheme {
        &self.scheme
    }

    /// Whether label maps may hold a value that the scheme knows.
    pub(crate) fn may_hold(&self, value: u16) -> bool {
        self.values
            .as_ref()
            .is_none_or(|known| known.contains(&value))
    }

    /// The scene of a case before any step.
    ///
    /// # Errors
    /// As [`LabelCase::scene`].
    pub fn scene(&self, case: &LabelCase) -> Result<Scene> {
        Ok(case.scene(&self.scheme)?.0)
    }

    /// The scan and the labels of each case that has both, read as they are asked for.
    pub fn pairs(&self) -> impl Iterator<Item = Result<(Image, Labels)>> {
        self.cases.iter().filter_map(|case| {
            let scan = case.scan.as_ref()?;
            Some(
                io::read_image(scan)
                    .map_err(Error::from)
                    .and_then(|image| Ok((image, case.labels()?.0))),
            )
        })
    }
}

impl LabelCase {
    /// All files of the case.
    #[must_use]
    pub fn files(&self) -> Vec<PathBuf> {
        let labels = self.labels.all().into_iter().map(Path::to_owned);
        labels.chain(self.scan.clone()).collect()
    }

    /// Its label map, and how many voxels several masks lay claim to.
    ///
    /// # Errors
    /// [`Error::Volume`] where a file cannot be read or masks do not lie on one grid.
    pub fn labels(&self) -> Result<(Labels, usize)> {
        self.labels.read()
    }

    /// Its scene before any step, and how many voxels several masks lay claim to.
    ///
    /// # Errors
    /// As [`LabelCase::labels`]; [`Error::Recipe`] where the scan lies on another grid.
    pub fn scene(&self, scheme: &LabelScheme) -> Result<(Scene, usize)> {
        let (labels, overlap) = self.labels()?;
        let scan = self.scan.as_deref().map(io::read_image).transpose()?;
        let scene = scheme.scene(labels, scan).map_err(|e| match e {
            Error::Recipe(message) => Error::Recipe(format!("{message}: {}", self.id)),
            other => other,
        })?;
        Ok((scene, overlap))
    }
}

impl LabelFiles {
    /// The label map, and how many voxels several masks lay claim to.
    ///
    /// # Errors
    /// As [`LabelCase::labels`].
    pub fn read(&self) -> Result<(Labels, usize)> {
        match self {
            Self::Map(path) => Ok((io::read_labels(path)?, 0)),
            Self::Masks(masks) => Ok(merge_masks(masks)?),
        }
    }

    pub(crate) fn all(&self) -> Vec<&Path> {
        match self {
            Self::Map(path) => vec![path],
            Self::Masks(masks) => masks.iter().map(|(_, path)| path.as_path()).collect(),
        }
    }

    /// The first file; of a case without any, an empty path.
    #[must_use]
    pub fn first(&self) -> &Path {
        match self {
            Self::Map(path) => path,
            Self::Masks(masks) => masks.first().map_or(Path::new(""), |(_, path)| path),
        }
    }
}

/// The values of all label maps.
fn occurring(cases: &[LabelCase]) -> Result<BTreeSet<u16>> {
    let found: Vec<Result<BTreeSet<u16>>> = cases
        .par_iter()
        .map(|case| Ok(case.labels()?.0.counts().into_keys().collect()))
        .collect();
    let mut all = BTreeSet::new();
    for values in found {
        all.extend(values?);
    }
    Ok(all)
}

fn nothing(path: &Path, only: Option<&str>) -> Error {
    let filter = only.map_or(String::new(), |text| {
        format!(" with \"{text}\" in their paths")
    });
    Error::file(
        format!(
            "expected label maps{filter}, found none; name a file, a dataset, a folder of label maps, \
             or one of a folder for each case"
        ),
        path,
    )
}

/// The labelled training cases of a dataset, and the names of its labels.
fn dataset(root: &Path) -> Result<Found> {
    let has = |folder: &str| root.join(folder).is_dir();
    if has("imagesTr") || has("images") {
        let dataset = Dataset::open(root)?;
        let cases = dataset.labelled().into_iter().filter_map(of_case).collect();
        let table = LabelTable {
            names: dataset.labels,
            ignore: dataset.ignore,
            regions: dataset.regions,
            ..LabelTable::default()
        };
        return Ok(described(cases, dataset.labels_declared.then_some(table)));
    }
    let folder = if has("labelsTr") {
        "labelsTr"
    } else {
        "labels"
    };
    let json = root.join("dataset.json");
    let table = if json.is_file() {
        read_label_table(&json)?
    } else {
        None
    };
    let files = layout::files(&root.join(folder))?;
    let cases = files.into_iter().map(|(id, path)| LabelCase {
        id,
        labels: LabelFiles::Map(path),
        scan: None,
    });
    Ok(described(cases.collect(), table))
}

fn described(cases: Vec<LabelCase>, table: Option<LabelTable>) -> Found {
    let mut notes = Vec::new();
    if table
        .as_ref()
        .is_some_and(|table| !table.regions.is_empty())
    {
        notes.push("the dataset's regions are taken apart: each value is a structure".to_owned());
    }
    let names = table.map(|table| {
        let ignored = table.ignore.map(|value| (value, "ignore".to_owned()));
        table.names.into_iter().chain(ignored).collect()
    });
    Found {
        cases,
        names,
        scans: Vec::new(),
        notes,
    }
}

fn of_case(case: &Case) -> Option<LabelCase> {
    let scan = case.images.first().filter(|path| path.is_file());
    Some(LabelCase {
        id: case.id.clone(),
        labels: LabelFiles::Map(case.label.clone()?),
        scan: scan.cloned(),
    })
}

#[cfg(test)]
mod tests;
