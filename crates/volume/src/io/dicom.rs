//! DICOM: CT, MR and other grey images, of one file, several frames, or a folder with the files of
//! one series or of many.
//!
//! Source: DICOM PS3.3, 3.5 and 3.10, 2026. Read: implicit and explicit value representations,
//! either byte order, deflated; pixels as they are or compressed by RLE, JPEG (baseline, extended,
//! lossless), JPEG-LS and JPEG 2000, all decoded by Rust alone. Every slice's own rescale slope and
//! intercept are applied. Slices are put in order by their place along the normal. Segmentations
//! are read as labels.
//!
//! A file is parsed in memory here rather than by a general library: those take memory by what a
//! header says of an element's length, and here nothing is taken that the file does not hold.
//!
//! Patients' names, identifiers and birth dates are not looked at, and stand in no message.

mod bits;
mod element;
mod encode;
mod file;
mod frame;
mod jpeg;
mod jpeg2000;
mod jpegls;
mod outline;
mod reference;
mod resample;
mod rle;
mod rtstruct;
mod seg;
mod segmentation;
mod series;
mod slice;
mod stack;
mod tags;

use std::path::Path;

use rayon::prelude::*;

use super::{Dtype, Storage};
use crate::{Error, Grid, Result};
use stack::{Member, Stack};

pub(super) use file::is_dicom;
pub use reference::{DicomObject, write_dicom_labels};
pub(super) use resample::Between;
pub use series::{Series, list_series};

/// So many voxels for each byte are what compression does to real images at best.
const VOXELS_PER_BYTE: usize = 64;

/// Frames of one file that are decoded one after the other.
const FRAMES_AT_ONCE: usize = 16;

/// Which series of several is read, and what is done with one that is no regular stack.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DicomOptions {
    /// The series' number or its identifier (UID), needed where there are several.
    pub series: Option<String>,
    /// Put slices that are missing, doubled, unevenly spaced, tilted by the gantry or of another
    /// kind right by leaving out and resampling, rather than refuse them.
    pub resample_irregular: bool,
}

/// Whether a path is a DICOM file, or a folder with one in it at any depth and without PNG slices.
#[must_use]
pub fn holds_dicom(path: &Path) -> bool {
    if !path.is_dir() {
        return is_dicom(path);
    }
    !super::png::stack::is_folder_of_slices(path)
        && series::files(path).is_ok_and(|files| files.iter().any(|file| is_dicom(file)))
}

pub(super) fn read_grid(path: &Path) -> Result<(Grid, Storage)> {
    let instances = series::choose(path, &DicomOptions::default())?;
    if instances.iter().any(|i| i.segmentation) {
        let (grid, _) =
            segmentation::grid(&instances).map_err(|message| Error::format(message, path))?;
        return Ok((grid, labels_storage()));
    }
    let stack = stack::stack(&instances, false).map_err(|message| Error::format(message, path))?;
    let storage = storage(&stack);
    Ok((stack.grid, storage))
}

pub(super) fn read<T: Send>(
    path: &Path,
    options: &DicomOptions,
    between: Between,
    convert: impl Fn(f64) -> std::result::Result<T, String> + Sync,
) -> Result<(Grid, Vec<T>, Storage)> {
    let fail = |message: String| Error::format(message, path);
    let instances = series::choose(path, options)?;
    if instances.iter().any(|i| i.segmentation) {
        let (grid, values) = segmentation::read(&instances, path)?;
        let values = values.into_iter().map(|v| convert(f64::from(v)));
        let values = values
            .collect::<std::result::Result<_, _>>()
            .map_err(fail)?;
        return Ok((grid, values, labels_storage()));
    }
    let stack = stack::stack(&instances, options.resample_irregular).map_err(fail)?;
    let storage = storage(&stack);
    let Some(shifts) = &stack.shifts else {
        let mut values = Vec::new();
        // Memory ahead of the data only where the files vouch for it.
        let bytes: usize = instances.iter().map(|i| i.bytes).sum();
        if stack.grid.len() <= bytes.saturating_mul(VOXELS_PER_BYTE) {
            values.reserve_exact(stack.grid.len());
        }
        let jobs = jobs(&stack);
        for some in jobs.chunks(2 * rayon::current_num_threads()) {
            let planes = some
                .par_iter()
                .map(|members| {
                    let mut values = Vec::new();
                    for (member, plane) in members.iter().zip(stored(members)?) {
                        let (slope, intercept) = (member.slice.slope, member.slice.intercept);
                        for stored in plane {
                            values.push(convert(slope * stored + intercept).map_err(
                                |message| Error::format(message, &member.instance.path),
                            )?);
                        }
                    }
                    Ok(values)
                })
                .collect::<Result<Vec<Vec<T>>>>()?;
            planes.into_iter().for_each(|plane| values.extend(plane));
        }
        return Ok((stack.grid, values, storage));
    };
    let slices = jobs(&stack)
        .par_iter()
        .map(|members| {
            let planes = members.iter().zip(stored(members)?);
            let scaled = planes.map(|(member, plane)| {
                let (slope, intercept) = (member.slice.slope, member.slice.intercept);
                let values = plane.into_iter().map(|v| (slope * v + intercept) as f32);
                values.collect()
            });
            Ok(scaled.collect())
        })
        .collect::<Result<Vec<Vec<Vec<f32>>>>>()?;
    let slices: Vec<Vec<f32>> = slices.into_iter().flatten().collect();
    let columns = stack
        .members
        .first()
        .map_or(1, |m| m.instance.layout.columns);
    let values = resample::onto(&stack.grid, &slices, columns, shifts, between);
    let values = values.into_iter().map(|v| convert(f64::from(v)));
    let values = values
        .collect::<std::result::Result<_, _>>()
        .map_err(fail)?;
    Ok((stack.grid, values, storage))
}

/// Slices in order, a few of one file at a time.
fn jobs<'a>(stack: &'a Stack<'_>) -> Vec<&'a [Member<'a>]> {
    let of_one_file = |a: &Member<'_>, b: &Member<'_>| std::ptr::eq(a.instance, b.instance);
    let runs = stack.members.chunk_by(of_one_file);
    runs.flat_map(|run| run.chunks(FRAMES_AT_ONCE)).collect()
}

/// The values of slices of one file.
fn stored(members: &[Member<'_>]) -> Result<Vec<Vec<f64>>> {
    let frames: Vec<usize> = members.iter().map(|m| m.slice.frame).collect();
    match members.first() {
        Some(first) => first.instance.values(&frames),
        None => Ok(Vec::new()),
    }
}

/// The type of the samples, with the scaling that all slices share; real values where they differ.
fn storage(stack: &Stack<'_>) -> Storage {
    let real = Storage::default();
    let mut scalings = stack
        .members
        .iter()
        .map(|m| (m.slice.slope, m.slice.intercept));
    let (Some(first), Some((slope, intercept))) = (stack.members.first(), scalings.next()) else {
        return real;
    };
    let layout = &first.instance.layout;
    let known = i16::from(first.slice.place.is_some());
    let kept = Storage {
        dtype: match (layout.float, layout.allocated, layout.signed) {
            (true, 64, _) => Dtype::F64,
            (true, ..) => Dtype::F32,
            (_, 1 | 8, false) => Dtype::U8,
            (_, 1 | 8, true) => Dtype::I8,
            (_, 16, false) => Dtype::U16,
            (_, 16, true) => Dtype::I16,
            (_, _, false) => Dtype::U32,
            (_, _, true) => Dtype::I32,
        },
        slope,
        intercept,
        qform_code: known,
        sform_code: known,
        ..real
    };
    let one_kind = stack.members.iter().all(|m| {
        let other = &m.instance.layout;
        (other.float, other.allocated, other.signed)
            == (layout.float, layout.allocated, layout.signed)
    });
    if stack.shifts.is_none() && one_kind && scalings.all(|s| s == (slope, intercept)) {
        return kept;
    }
    Storage {
        qform_code: known,
        sform_code: known,
        ..real
    }
}

fn labels_storage() -> Storage {
    Storage {
        dtype: Dtype::U16,
        ..Storage::default()
    }
}

#[cfg(test)]
mod tests;
