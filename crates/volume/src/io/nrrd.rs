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

use std::{
    fs::File,
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
};

use flate2::{Compression, write::GzEncoder};

use super::{
    Storage,
    atomic::write_atomic,
    nifti::GZIP_LEVEL,
    samples, source,
    source::{Packing, Source},
};
use crate::{Error, Grid, Result};
use header::{Encoding, Header, Skip};

/// How every version starts; its number follows.
pub(super) const MAGIC: &[u8] = b"NRRD000";

pub(super) fn read_grid(path: &Path) -> Result<(Grid, Storage)> {
    describe(&Opened::of(path)?.header, path)
}

pub(super) fn read<T>(
    path: &Path,
    convert: impl Fn(f64) -> std::result::Result<T, String>,
) -> Result<(Grid, Vec<T>, Storage)> {
    let opened = Opened::of(path)?;
    let (grid, storage) = describe(&opened.header, path)?;
    let endian = opened
        .header
        .endian()
        .map_err(|message| Error::format(message, path))?;
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
    let text = header::text(grid, &storage);
    write_atomic(path, |out| {
        out.write_all(text.as_bytes())?;
        let mut gzip = GzEncoder::new(out, Compression::new(GZIP_LEVEL));
        samples::write(&mut gzip, data, &storage)?;
        gzip.finish().map(|_| ())
    })
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
        let (mut reader, mut left, path) = match &self.header.data_file {
            None => (self.reader, self.left, self.path),
            Some(name) => {
                // Joining an absolute name gives that name.
                let path = self.path.with_file_name("").join(name);
                let (reader, len) = source::open_buffered(&path)?;
                (reader, len, path)
            }
        };
        for _ in 0..self.header.line_skip {
            let skipped = reader
                .skip_until(b'\n')
                .map_err(|e| Error::io("read", e, &path))?;
            left = left.saturating_sub(skipped as u64);
            if skipped == 0 {
                break;
            }
        }
        let packing = match self.header.encoding {
            Encoding::Raw => Packing::Plain,
            Encoding::Gzip => Packing::Gzip,
        };
        let start = match self.header.byte_skip {
            Skip::Bytes(n) => n,
            Skip::ToTheLast => left.saturating_sub(bytes),
        };
        Ok((Source::rest(reader, left, packing, &path), start))
    }
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
