//! NIfTI-1 files: one file (`n+1`) or header and samples apart (`ni1`), of either byte order,
//! plain or gzip.
//!
//! Source: the NIfTI-1 standard, `nifti1.h` of 2007 (<https://nifti.nimh.nih.gov/nifti-1>).
//! Samples are x fastest; the affine is voxel index to RAS. Read: every whole and float type up
//! to 64 bit, one volume. Written: one file, little endian, with sform and, where it can say the
//! same, qform. Extensions are skipped on reading and not kept.

mod affine;
mod header;

use std::path::{Path, PathBuf};

use flate2::{Compression, write::GzEncoder};

use super::{Storage, atomic::write_atomic, lower_name, samples, source::Source};
use crate::{Error, Grid, Result};
use header::Header;

pub(super) use header::starts_header;

/// Compresses about twice as fast as the usual 6 for files a few percent larger.
pub(super) const GZIP_LEVEL: u32 = 4;

/// Whether a gzip file holds what starts like a header.
pub(super) fn gzip_holds_header(path: &Path) -> bool {
    let mut start = [0; 8];
    Source::open(path).is_ok_and(|mut s| s.fill(&mut start, "header").is_ok())
        && starts_header(&start)
}

pub(super) fn read_grid(path: &Path) -> Result<(Grid, Storage)> {
    let (_, header, header_path) = open_header(path)?;
    describe(&header, &header_path)
}

pub(super) fn read<T>(
    path: &Path,
    convert: impl Fn(f64) -> std::result::Result<T, String>,
) -> Result<(Grid, Vec<T>, Storage)> {
    let (source, header, header_path) = open_header(path)?;
    let (grid, storage) = describe(&header, &header_path)?;
    let mut source = if header.single {
        source
    } else {
        drop(source);
        Source::open(&sibling(&header_path, "hdr", "img"))?
    };
    let start = header.samples_start(&header_path)?;
    let data = samples::read(&mut source, start, header.endian, &grid, &storage, convert)?;
    Ok((grid, data, storage))
}

pub(super) fn write<T: Copy + Into<f64>>(
    path: &Path,
    grid: &Grid,
    data: &[T],
    storage: &Storage,
) -> Result<()> {
    let header = Header::of(grid, storage).map_err(|message| Error::format(message, path))?;
    let bytes = header.to_bytes();
    write_atomic(path, |out| {
        if lower_name(path).ends_with(".gz") {
            let mut gzip = GzEncoder::new(out, Compression::new(GZIP_LEVEL));
            std::io::Write::write_all(&mut gzip, &bytes)?;
            samples::write(&mut gzip, data, storage)?;
            gzip.finish().map(|_| ())
        } else {
            out.write_all(&bytes)?;
            samples::write(out, data, storage)
        }
    })
}

/// The header of a file, or of a pair named by either half, and what follows it.
fn open_header(path: &Path) -> Result<(Source, Header, PathBuf)> {
    let mut source = Source::open(path)?;
    let mut bytes = [0; header::LEN];
    let name = lower_name(path);
    let whole = source.fill(&mut bytes, "header");
    if (name.ends_with(".img") || name.ends_with(".img.gz"))
        && (whole.is_err() || !starts_header(&bytes))
    {
        let header_path = sibling(path, "img", "hdr");
        let mut source = Source::open(&header_path)?;
        source.fill(&mut bytes, "header")?;
        let header = Header::parse(&bytes, &header_path)?;
        return Ok((source, header, header_path));
    }
    whole?;
    Ok((source, Header::parse(&bytes, path)?, path.to_owned()))
}

fn describe(header: &Header, path: &Path) -> Result<(Grid, Storage)> {
    let storage = header.storage(path)?;
    let shape = header.shape(path)?;
    let affine = affine::read(header, shape).map_err(|message| Error::format(message, path))?;
    let grid = Grid::new(shape, affine).map_err(|e| Error::format(e.to_string(), path))?;
    Ok((grid, storage))
}

/// The other half of a pair: `.hdr` for `.img` and the reverse, gzip like this half where that
/// exists, otherwise the reverse.
fn sibling(path: &Path, from: &str, to: &str) -> PathBuf {
    let name = lower_name(path);
    let stem = if name.ends_with(".gz") {
        path.with_extension("")
    } else {
        path.to_owned()
    };
    let upper = stem
        .extension()
        .is_some_and(|e| e.eq_ignore_ascii_case(from) && e != from);
    let plain = stem.with_extension(if upper {
        to.to_uppercase()
    } else {
        to.to_owned()
    });
    let mut gzip = plain.clone().into_os_string();
    gzip.push(".gz");
    let gzip = PathBuf::from(gzip);
    let (first, second) = if name.ends_with(".gz") {
        (gzip, plain)
    } else {
        (plain, gzip)
    };
    if !first.exists() && second.exists() {
        second
    } else {
        first
    }
}

#[cfg(test)]
mod tests;
