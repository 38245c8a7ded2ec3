//! Files of images and label maps.
//!
//! Reading goes by content, then by name; writing by name.
//!
//! | name | format |
//! |---|---|
//! | `.nii`, `.nii.gz` | NIfTI-1 or -2, one file |
//! | `.hdr` + `.img`, each perhaps `.gz` | NIfTI-1 or -2, a pair |
//! | `.nrrd`; `.nhdr` with its data file (read only) | NRRD |
//! | `.mha`; `.mhd` with its data file | MetaImage |
//! | `.mgh`, `.mgz` | MGH (read only) |
//! | `.png` | one slice, 8 or 16 bit grey |
//! | `.dcm` or any name, one file or a folder | DICOM; see [`DicomOptions`] (read only) |
//! | a folder of `.png` | PNG slices, one volume |
//!
//! What is read is scaled (`slope * stored + intercept`) and lies in RAS millimetres, whatever
//! the file says it in; [`Storage`] holds how the samples were kept, so that a result can be
//! written the same way.

pub mod atomic;
mod axes;
mod dicom;
mod meta;
mod mgh;
mod nifti;
mod nrrd;
mod png;
mod samples;
mod source;
mod storage;
mod text;

use std::{
    io::Read,
    path::{Path, PathBuf},
};

use crate::{Error, Grid, Image, Labels, Result};
use dicom::Between;

pub use atomic::write_atomic;
pub use dicom::{DicomObject, DicomOptions, Series, holds_dicom, list_series, write_dicom_labels};
pub use storage::{Dtype, LengthUnit, Storage};

const SUPPORTED: &str = ".nii, .nii.gz, .hdr with .img, .nrrd, .nhdr, .mha, .mhd, DICOM, .mgh, .mgz, .png, or a folder of DICOM files or PNG \
     slices";

/// How far a stored label may lie from a whole number: scaled or resampled label files carry
/// rounding errors.
const LABEL_TOLERANCE: f64 = 1e-3;

const NIFTI_NAMES: [&str; 6] = [".nii", ".hdr", ".img", ".nii.gz", ".hdr.gz", ".img.gz"];
const META_NAMES: [&str; 2] = [".mha", ".mhd"];
/// Names of files whose samples may be in another.
const PAIRED_NAMES: [&str; 6] = [".hdr", ".img", ".hdr.gz", ".img.gz", ".nhdr", ".mhd"];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Nifti,
    Nrrd,
    Meta,
    Mgh,
    Dicom,
    Png,
    PngFolder,
}

/// Reads an image.
///
/// # Errors
/// [`Error::Io`] where the file cannot be read; [`Error::Format`] where it is none of the
/// supported formats, is damaged, or holds more than one volume or colours.
pub fn read_image(path: &Path) -> Result<Image> {
    Ok(read_image_stored(path)?.0)
}

/// Reads an image and how its samples were kept.
///
/// # Errors
/// As [`read_image`].
pub fn read_image_stored(path: &Path) -> Result<(Image, Storage)> {
    read_image_with(path, &DicomOptions::default())
}

/// Reads an image and how its samples were kept, of a DICOM file or folder as `options` say.
///
/// # Errors
/// As [`read_image`].
pub fn read_image_with(path: &Path, options: &DicomOptions) -> Result<(Image, Storage)> {
    let (grid, data, storage) = read(path, options, Between::Linear, |v| Ok(v as f32))?;
    Ok((Image::new(grid, data)?, storage))
}

/// Reads one of the volumes of a NIfTI file that holds several, such as a series in time, counted
/// from 0, and how its samples were kept.
///
/// # Errors
/// As [`read_image`], and [`Error::Format`] where there is no such volume or the file is no NIfTI.
pub fn read_volume(path: &Path, number: u64) -> Result<(Image, Storage)> {
    if kind_of(path)? != Kind::Nifti {
        return Err(Error::format(
            "expected a NIfTI file to take one of its volumes, found another format; convert it \
             to NIfTI first",
            path,
        ));
    }
    let (grid, data, storage) = nifti::read(path, Some(number), |v| Ok(v as f32))?;
    Ok((Image::new(grid, data)?, storage))
}

/// Reads a label map. Values, after scaling, are whole numbers from 0 to 65535, give or take
/// 0.001.
///
/// # Errors
/// As [`read_image`], and [`Error::Format`] naming the first value that is not a label.
pub fn read_labels(path: &Path) -> Result<Labels> {
    read_labels_with(path, &DicomOptions::default())
}

/// Reads a label map, of a DICOM file or folder as `options` say.
///
/// # Errors
/// As [`read_labels`].
pub fn read_labels_with(path: &Path, options: &DicomOptions) -> Result<Labels> {
    let (grid, data, _) = read(path, options, Between::Nearest, label)?;
    Labels::new(grid, data)
}

/// Reads where a volume lies and how its samples are kept, not the samples.
///
/// # Errors
/// As [`read_image`], as far as the header tells.
pub fn read_grid(path: &Path) -> Result<(Grid, Storage)> {
    match kind_of(path)? {
        Kind::Nifti => nifti::read_grid(path),
        Kind::Nrrd => nrrd::read_grid(path),
        Kind::Meta => meta::read_grid(path),
        Kind::Mgh => mgh::read_grid(path),
        Kind::Dicom => dicom::read_grid(path),
        Kind::Png => png::read_grid(path),
        Kind::PngFolder => png::stack::read_grid(path),
    }
}

/// The files that a volume lies in: this one and, where its samples are in a file of their own, that.
///
/// # Errors
/// As [`read_grid`].
pub fn files_of(path: &Path) -> Result<Vec<PathBuf>> {
    let name = lower_name(path);
    let other = if PAIRED_NAMES.iter().any(|end| name.ends_with(end)) {
        match kind_of(path)? {
            Kind::Nifti => nifti::other_file(path)?,
            Kind::Nrrd => text::samples_file::<nrrd::Header>(path)?,
            Kind::Meta => text::samples_file::<meta::Header>(path)?,
            _ => None,
        }
    } else {
        None
    };
    Ok(std::iter::once(path.to_owned()).chain(other).collect())
}

/// Writes an image as `storage` says: `(value - intercept) / slope`, for whole-number types
/// rounded, with values beyond the type's range at its nearest end and NaN or infinity as 0. Check
/// the range first where that would matter, or use a float type.
///
/// A name without extension becomes a folder of PNG slices. PNG holds no geometry and takes
/// unscaled [`Dtype::U8`] and [`Dtype::U16`] only. NRRD and MetaImage have no scaling: real values go there as
/// [`Dtype::F32`] where `storage` has one.
///
/// # Errors
/// [`Error::Format`] where the name or the type is not supported; [`Error::Io`] where writing
/// fails, in which case nothing is left behind.
pub fn write_image(path: &Path, image: &Image, storage: &Storage) -> Result<()> {
    write(path, image.grid(), image.data(), storage)
}

/// Writes a label map in the smallest of `u8` and `u16` that holds it, unscaled.
///
/// # Errors
/// As [`write_image`].
pub fn write_labels(path: &Path, labels: &Labels) -> Result<()> {
    let most = labels.data().iter().max().copied().unwrap_or(0);
    let dtype = if most <= u16::from(u8::MAX) {
        Dtype::U8
    } else {
        Dtype::U16
    };
    write(
        path,
        labels.grid(),
        labels.data(),
        &Storage {
            dtype,
            ..Storage::default()
        },
    )
}

fn read<T: Default + Send>(
    path: &Path,
    options: &DicomOptions,
    between: Between,
    convert: impl Fn(f64) -> std::result::Result<T, String> + Sync,
) -> Result<(Grid, Vec<T>, Storage)> {
    match kind_of(path)? {
        Kind::Nifti => nifti::read(path, None, convert),
        Kind::Nrrd => nrrd::read(path, convert),
        Kind::Meta => meta::read(path, convert),
        Kind::Mgh => mgh::read(path, convert),
        Kind::Dicom => dicom::read(path, options, between, convert),
        Kind::Png => png::read(path, convert),
        Kind::PngFolder => png::stack::read(path, convert),
    }
}

fn write<T: Copy + Into<f64>>(
    path: &Path,
    grid: &Grid,
    data: &[T],
    storage: &Storage,
) -> Result<()> {
    let name = lower_name(path);
    let named = |ends: &[&str]| ends.iter().any(|end| name.ends_with(end));
    if path.is_dir() || !name.contains('.') {
        png::stack::write(path, grid, data, storage)
    } else if named(&NIFTI_NAMES) {
        nifti::write(path, grid, data, storage)
    } else if named(&[".nrrd"]) {
        nrrd::write(path, grid, data, storage)
    } else if named(&META_NAMES) {
        meta::write(path, grid, data, storage)
    } else if named(&[".png"]) {
        png::write(path, grid, data, storage)
    } else {
        Err(Error::format(
            "expected a name ending in .nii, .nii.gz, .hdr, .nrrd, .mha, .mhd or .png, or without \
             extension for a folder of PNG slices, to write a volume to",
            path,
        ))
    }
}

fn label(value: f64) -> std::result::Result<u16, String> {
    // The nearest whole number where the value is near one; a cast holds what lies beyond the ends.
    let whole = (value + 0.5) as u16;
    if (value - f64::from(whole)).abs() <= LABEL_TOLERANCE {
        return Ok(whole);
    }
    Err(format!(
        "expected labels, whole numbers from 0 to 65535, found {value}; read it as an image or \
         name a label map"
    ))
}

fn lower_name(path: &Path) -> String {
    path.file_name()
        .map(|n| n.to_string_lossy().to_lowercase())
        .unwrap_or_default()
}

/// Whether a name ends as those of a format do that is not DICOM.
fn is_named(path: &Path) -> bool {
    let name = lower_name(path);
    let others = [".nrrd", ".nhdr", ".mgh", ".mgz", ".png"];
    let all = NIFTI_NAMES.iter().chain(&META_NAMES).chain(&others);
    all.into_iter().any(|end| name.ends_with(end))
}

/// The format of an existing file or folder: what its first bytes say, else what its name says.
fn kind_of(path: &Path) -> Result<Kind> {
    if path.is_dir() {
        return Ok(if dicom::holds_dicom(path) {
            Kind::Dicom
        } else {
            Kind::PngFolder
        });
    }
    let mut start = Vec::new();
    std::fs::File::open(path)
        .and_then(|file| file.take(24).read_to_end(&mut start))
        .map_err(|e| Error::io("read", e, path))?;
    if start.starts_with(&png::SIGNATURE) {
        return Ok(Kind::Png);
    }
    if start.starts_with(nrrd::MAGIC) {
        return Ok(Kind::Nrrd);
    }
    if start.starts_with(&source::GZIP_MAGIC) {
        let mut unpacked = [0; 24];
        if source::Source::open(path)?
            .fill(&mut unpacked, "header")
            .is_ok()
        {
            start = unpacked.to_vec();
        }
    }
    let name = lower_name(path);
    let named = |ends: &[&str]| ends.iter().any(|end| name.ends_with(end));
    if nifti::starts_header(&start) {
        Ok(Kind::Nifti)
    } else if dicom::is_dicom(path) {
        Ok(Kind::Dicom)
    } else if meta::starts_header(&start) {
        Ok(Kind::Meta)
    } else if mgh::starts_header(&start) || named(&[".mgh", ".mgz"]) {
        Ok(Kind::Mgh)
    } else if named(&NIFTI_NAMES) {
        Ok(Kind::Nifti)
    } else if named(&[".nrrd", ".nhdr"]) {
        Ok(Kind::Nrrd)
    } else if named(&META_NAMES) {
        Ok(Kind::Meta)
    } else if named(&[".png"]) {
        Ok(Kind::Png)
    } else if named(&[".dcm"]) {
        Ok(Kind::Dicom)
    } else {
        Err(Error::format(
            format!("expected {SUPPORTED}, found another format; convert it to NIfTI first"),
            path,
        ))
    }
}

#[cfg(test)]
mod tests;
