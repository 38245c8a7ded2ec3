//! MetaImage files: a text header and samples, in one file (`.mha`) or two (`.mhd` and its data
//! file).
//!
//! Source: the MetaIO documentation (<https://itk.org/Wiki/ITK/MetaIO/Documentation>), and what
//! ITK 5.4 does where that leaves room. Samples are the first axis fastest. Read: every whole and
//! float type up to 64 bit, plain or compressed (zlib or gzip), either byte order, one volume; text
//! samples and data in several files are refused. Written: zlib, little endian, in LPS.
//!
//! `TransformMatrix` holds the unit step of each axis in turn, and `Offset` the first voxel's
//! centre, both in LPS mm whatever `AnatomicalOrientation` and `DistanceUnits` say: ITK looks at
//! neither, nor at the `ElementToIntensityFunction…` of values.

mod header;

use std::path::Path;

use flate2::{Compression, write::ZlibEncoder};

use super::{
    Storage,
    atomic::write_atomic,
    lower_name,
    nifti::GZIP_LEVEL,
    samples,
    source::Packing,
    text::{self, TextHeader as _},
};
use crate::{Error, Grid, Result};
pub(super) use header::Header;

/// Whether a file starts like a header.
pub(super) fn starts_header(bytes: &[u8]) -> bool {
    [&b"ObjectTy"[..], b"NDims ", b"NDims="]
        .iter()
        .any(|start| bytes.starts_with(start))
}

pub(super) fn read_grid(path: &Path) -> Result<(Grid, Storage)> {
    describe(&text::open(path)?.0, path)
}

pub(super) fn read<T: Default>(
    path: &Path,
    convert: impl Fn(f64) -> std::result::Result<T, String>,
) -> Result<(Grid, Vec<T>, Storage)> {
    let (header, file) = text::open::<Header>(path)?;
    let (grid, storage) = describe(&header, path)?;
    let mut file = file.or_beside(header.data_file())?;
    let packing = if header.compressed {
        file.packing(Packing::Zlib)?
    } else {
        Packing::Plain
    };
    let bytes = (grid.len() as u64).saturating_mul(storage.dtype.size() as u64);
    let start = header.skip.unwrap_or(file.left.saturating_sub(bytes));
    let mut source = file.unpacked(packing);
    let data = samples::read(&mut source, start, header.endian, &grid, &storage, convert)?;
    Ok((grid, data, storage))
}

pub(super) fn write<T: Copy + Into<f64>>(
    path: &Path,
    grid: &Grid,
    data: &[T],
    storage: &Storage,
) -> Result<()> {
    let storage = storage.without_scaling();
    // MetaIO wants to know how long the compressed samples are before they come.
    let mut zlib = ZlibEncoder::new(Vec::new(), Compression::new(GZIP_LEVEL));
    let packed = samples::write(&mut zlib, data, &storage).and_then(|()| zlib.finish());
    let packed = packed.map_err(|e| Error::io("compress the samples of", e, path))?;
    if lower_name(path).ends_with(".mha") {
        let text = header::text(grid, &storage, packed.len(), "LOCAL");
        return write_atomic(path, |out| {
            out.write_all(text.as_bytes())?;
            out.write_all(&packed)
        });
    }
    let samples = path.with_extension("zraw");
    let name = samples.file_name().unwrap_or_default().to_string_lossy();
    let text = header::text(grid, &storage, packed.len(), &name);
    write_atomic(&samples, |out| out.write_all(&packed))?;
    write_atomic(path, |out| out.write_all(text.as_bytes()))
}

fn describe(header: &Header, path: &Path) -> Result<(Grid, Storage)> {
    let grid = header
        .grid()
        .map_err(|message| Error::format(message, path))?;
    let storage = Storage {
        dtype: header.dtype,
        ..Storage::default()
    };
    Ok((grid, storage))
}

#[cfg(test)]
mod tests;
