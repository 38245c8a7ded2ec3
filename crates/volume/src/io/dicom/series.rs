//! The series among some files, and the one that is wanted.

use std::{
    fs,
    path::{Path, PathBuf},
};

use rayon::prelude::*;

use super::{
    DicomOptions,
    file::{File, is_dicom},
    slice::Instance,
    tags,
};
use crate::{Error, Result};

/// Deepest folder looked into.
const DEEPEST: usize = 16;

/// What a folder or file holds of one series.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Series {
    /// Its identifier.
    pub uid: String,
    /// Its number in the study, where it has one.
    pub number: Option<i64>,
    /// Such as CT or MR.
    pub modality: String,
    /// What the scanner calls it.
    pub description: String,
    /// Images, of one slice each.
    pub slices: usize,
    /// Columns and rows of the first.
    pub size: [usize; 2],
}

/// So that a person can choose among several.
impl std::fmt::Display for Series {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let number = self
            .number
            .map_or(String::from("no number"), |n| n.to_string());
        let ([columns, rows], slices) = (self.size, self.slices);
        write!(
            f,
            "{number}: {} {columns}×{rows}×{slices} {} ({})",
            self.modality, self.description, self.uid
        )
    }
}

/// The series of images in a DICOM file or folder, in order of their numbers.
///
/// # Errors
/// [`Error::Io`] where it cannot be read; [`Error::Format`] where a file is damaged or there is no
/// image.
pub fn list_series(path: &Path) -> Result<Vec<Series>> {
    let instances = instances(path)?;
    Ok(grouped(&instances)
        .into_iter()
        .map(|g| describe(&g))
        .collect())
}

/// The files of the series that is wanted, or of the only one.
pub(super) fn choose(path: &Path, options: &DicomOptions) -> Result<Vec<Instance>> {
    let instances = instances(path)?;
    let groups = grouped(&instances);
    let listed = |groups: &[&Vec<&Instance>]| {
        let lines: Vec<String> = groups.iter().map(|g| describe(g).to_string()).collect();
        lines.join("; ")
    };
    let wanted: Vec<&Vec<&Instance>> = match &options.series {
        None => groups.iter().collect(),
        Some(name) => groups
            .iter()
            .filter(|g| {
                let series = describe(g);
                series.uid == *name || series.number.is_some_and(|n| n.to_string() == *name)
            })
            .collect(),
    };
    match (wanted[..].as_ref(), &options.series) {
        ([one], _) => Ok(one.iter().map(|&i| i.clone()).collect()),
        ([], Some(name)) => Err(Error::format(
            format!(
                "expected a series {name}, found {}",
                listed(&groups.iter().collect::<Vec<_>>())
            ),
            path,
        )),
        (several, _) => Err(Error::format(
            format!(
                "expected one series, found {}; choose one by its number or UID (--series): {}",
                several.len(),
                listed(several)
            ),
            path,
        )),
    }
}

fn describe(group: &[&Instance]) -> Series {
    let first = group.first();
    let text = |of: fn(&Instance) -> &String| first.map(|i| of(i).clone()).unwrap_or_default();
    Series {
        uid: text(|i| &i.series),
        number: first.and_then(|i| i.number),
        modality: text(|i| &i.modality),
        description: text(|i| &i.description),
        slices: group.iter().map(|i| i.slices.len()).sum(),
        size: first.map_or([0; 2], |i| [i.layout.columns, i.layout.rows]),
    }
}

/// Files of one series together.
fn grouped(instances: &[Instance]) -> Vec<Vec<&Instance>> {
    let mut all: Vec<&Instance> = instances.iter().collect();
    let key = |i: &Instance| (i.number, i.series.clone(), i.segmentation);
    all.sort_by_cached_key(|i| key(i));
    all.chunk_by(|a, b| a.series == b.series && a.segmentation == b.segmentation)
        .map(<[_]>::to_vec)
        .collect()
}

/// Every image of a file or folder.
fn instances(path: &Path) -> Result<Vec<Instance>> {
    let files = if path.is_dir() {
        let mut files = files(path).map_err(|e| Error::io("list", e, path))?;
        files.retain(|file| is_dicom(file));
        files
    } else {
        vec![path.to_owned()]
    };
    let found: Vec<Option<Instance>> = files
        .par_iter()
        .map(|file| Instance::read(file))
        .collect::<Result<_>>()?;
    let found: Vec<Instance> = found.into_iter().flatten().collect();
    if found.is_empty() {
        return Err(Error::format(
            format!(
                "expected DICOM images, found {}; name the folder of a series",
                other(&files)?
            ),
            path,
        ));
    }
    Ok(found)
}

/// What files without pixels are, by the first of them.
fn other(files: &[PathBuf]) -> Result<String> {
    let Some(first) = files.first() else {
        return Ok("none in it".into());
    };
    let file = File::read(first)?;
    let set = file
        .data_set()
        .map_err(|message| Error::format(message, first))?;
    Ok(match set.text(tags::MODALITY).as_deref() {
        Some("RTSTRUCT") => "outlines (RTSTRUCT), which are not read as labels".into(),
        Some(modality) if !modality.is_empty() => format!("an object without pixels ({modality})"),
        _ => "a directory or another object without pixels".into(),
    })
}

/// The files of a folder and those within it, in order of their names; hidden ones are left out.
pub(super) fn files(folder: &Path) -> std::io::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    let mut folders = vec![(folder.to_owned(), 0)];
    while let Some((folder, depth)) = folders.pop() {
        for entry in fs::read_dir(&folder)? {
            let entry = entry?;
            if entry.file_name().to_string_lossy().starts_with('.') {
                continue;
            }
            let path = entry.path();
            // A link to a folder may lead back up.
            if entry.file_type()?.is_dir() {
                if depth < DEEPEST {
                    folders.push((path, depth + 1));
                }
            } else if path.is_file() {
                found.push(path);
            }
        }
    }
    found.sort();
    Ok(found)
}
