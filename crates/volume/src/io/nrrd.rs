//! NRRD files: a text header and samples, in one file (`.nrrd`) or two (`.nhdr` and its data file).
//!
//! Source: "Definition of NRRD File Format" of the Teem library, versions 1 to 5
//! (<https://teem.sourceforge.net/nrrd/format.html>). Samples are the first axis fastest. Read: every
//! whole and float type up to 64 bit, raw or gzip, either byte order, one volume; text, hex, bzip2
//! and data in several files are refused. Written: one file, gzip, little endian, in LPS.
//!
//! Space directions and origin are in the file's space, turned to RAS here. Where a file names no
//! space, or one that is not of a patient (`scanner-xyz`, `3D-right-handed`, …), its axes are taken
//! as LPS, as ITK's reader does. `min`, `max` and the like are ignored: values are those stored.

mod header;
mod place;

use std::path::Path;

use flate2::{Compression, write::GzEncoder};

use super::{
    Storage,
    atomic::write_atomic,
    nifti::GZIP_LEVEL,
    samples,
    source::Packing,
    text::{self, TextHeader as _},
};
use crate::{Error, Grid, Result};
pub(super) use header::Header;
use header::{Encoding, Skip};

/// How every version starts; its number follows.
pub(super) const MAGIC: &[u8] = b"NRRD000";

pub(super) fn read_grid(path: &Path) -> Result<(Grid, Storage)> {
    describe(&text::open(path)?.0, path)
}

pub(super) fn read<T: Default>(
    path: &Path,
    convert: impl Fn(f64) -> std::result::Result<T, String>,
) -> Result<(Grid, Vec<T>, Storage)> {
    let (header, file) = text::open::<Header>(path)?;
    let (grid, storage) = describe(&header, path)?;
    let endian = header
        .endian()
        .map_err(|message| Error::format(message, path))?;
    let mut file = file.or_beside(header.data_file())?;
    for _ in 0..header.line_skip {
        if !file.skip_line()? {
            break;
        }
    }
    let bytes = (grid.len() as u64).saturating_mul(storage.dtype.size() as u64);
    let start = match header.byte_skip {
        Skip::Bytes(n) => n,
        Skip::ToTheLast => file.left.saturating_sub(bytes),
    };
    let mut source = file.unpacked(match header.encoding {
        Encoding::Raw => Packing::Plain,
        Encoding::Gzip => Packing::Gzip,
    });
    let data = samples::read(&mut source, start, endian, &grid, &storage, convert)?;
    Ok((grid, data, storage))
}

pub(super) fn write<T: Copy + Into<f64>>(
    path: &Path,
    grid: &Grid,
    data: &[T],
    storage: &Storage,
) -> Result<()> {
    let storage = storage.without_scaling();
    let text = header::text(grid, &storage);
    write_atomic(path, |out| {
        out.write_all(text.as_bytes())?;
        let mut gzip = GzEncoder::new(out, Compression::new(GZIP_LEVEL));
        samples::write(&mut gzip, data, &storage)?;
        gzip.finish().map(|_| ())
    })
}

fn describe(header: &Header, path: &Path) -> Result<(Grid, Storage)> {
    let fail = |message: String| Error::format(message, path);
    let grid = place::grid(header).map_err(fail)?;
    let known = i16::from(header.space.is_some());
    let storage = Storage {
        dtype: header.dtype,
        slope: 1.0,
        intercept: 0.0,
        length_unit: header.length_unit(),
        qform_code: known,
        sform_code: known,
    };
    Ok((grid, storage))
}

#[cfg(test)]
mod tests;
