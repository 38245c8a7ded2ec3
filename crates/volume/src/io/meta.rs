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

use std::{
    fs::File,
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
};

use flate2::{Compression, write::ZlibEncoder};

use super::{
    Storage,
    atomic::write_atomic,
    lower_name,
    nifti::GZIP_LEVEL,
    samples, source,
    source::{Packing, Source},
};
use crate::{Error, Grid, Result};
use header::Header;

/// Whether a file starts like a header.
pub(super) fn starts_header(bytes: &[u8]) -> bool {
    [&b"ObjectTy"[..], b"NDims ", b"NDims="]
        .iter()
        .any(|start| bytes.starts_with(start))
}

pub(super) fn read_grid(path: &Path) -> Result<(Grid, Storage)> {
    describe(&Opened::of(path)?.header, path)
}

pub(super) fn read<T>(
    path: &Path,
    convert: impl Fn(f64) -> std::result::Result<T, String>,
) -> Result<(Grid, Vec<T>, Storage)> {
    let opened = Opened::of(path)?;
    let (grid, storage) = describe(&opened.header, path)?;
    let endian = opened.header.endian;
    let bytes = (grid.len() as u64).saturating_mul(storage.dtype.size() as u64);
    let (mut source, start) = opened.samples(bytes)?;
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

/// A header, and the file that it was read from, just behind it.
struct Opened {
    header: Header,
    reader: BufReader<File>,
    /// Bytes that follow.
    left: u64,
    path: PathBuf,
}

impl Opened {
    fn of(path: &Path) -> Result<Self> {
        let (mut reader, len) = source::open_buffered(path)?;
        let (header, taken) = Header::read(&mut reader, path)?;
        Ok(Self {
            header,
            reader,
            left: len.saturating_sub(taken),
            path: path.to_owned(),
        })
    }

    /// The bytes that hold the samples, and where in them these start.
    fn samples(self, bytes: u64) -> Result<(Source, u64)> {
        let (mut reader, left, path) = match &self.header.data_file {
            None => (self.reader, self.left, self.path),
            Some(name) => {
                // Joining an absolute name gives that name.
                let path = self.path.with_file_name("").join(name);
                let (reader, len) = source::open_buffered(&path)?;
                (reader, len, path)
            }
        };
        let packing = if self.header.compressed {
            let start = reader.fill_buf().map_err(|e| Error::io("read", e, &path))?;
            Packing::of(start, Packing::Zlib)
        } else {
            Packing::Plain
        };
        let start = match self.header.skip {
            Some(n) => n,
            None => left.saturating_sub(bytes),
        };
        Ok((Source::rest(reader, left, packing, &path), start))
    }
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
