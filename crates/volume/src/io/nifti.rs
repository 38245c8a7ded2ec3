//! NIfTI files of version 1 and 2: one file (`n+1`) or header and samples apart (`ni1`), of either
//! byte order, plain or gzip.
//!
//! Source: the NIfTI-1 standard, `nifti1.h` of 2007 (<https://nifti.nimh.nih.gov/nifti-1>), and
//! `nifti2.h` of 2011. Samples are x fastest; the affine is voxel index to RAS. Read: every whole
//! and float type up to 64 bit, one volume or one of several. Written: little endian, with sform and, where it can say
//! the same, qform; version 2 where an axis has more voxels than version 1 can say (32767).
//! Extensions are skipped on reading and not kept.

mod affine;
mod header;

use std::{
    io::Write,
    path::{Path, PathBuf},
};

use flate2::{Compression, write::GzEncoder};

use super::{Storage, atomic::write_atomic, lower_name, samples, source::Source};
use crate::{Error, Grid, Result};
use header::Header;

pub(super) use header::starts_header;

/// Compresses about twice as fast as the usual 6 for files a few percent larger.
pub(super) const GZIP_LEVEL: u32 = 4;

pub(super) fn read_grid(path: &Path) -> Result<(Grid, Storage)> {
    let (_, header, header_path) = open_header(path)?;
    let (grid, storage, _) = describe(&header, None, &header_path)?;
    Ok((grid, storage))
}

/// Reads the one volume there is, or the one of this number, from 0.
pub(super) fn read<T: Default>(
    path: &Path,
    volume: Option<u64>,
    convert: impl Fn(f64) -> std::result::Result<T, String>,
) -> Result<(Grid, Vec<T>, Storage)> {
    let (source, header, header_path) = open_header(path)?;
    let (grid, storage, before) = describe(&header, volume, &header_path)?;
    let mut source = if header.single {
        source
    } else {
        drop(source);
        Source::open(&sibling(&header_path, "hdr", "img"))?
    };
    let start = header.samples_start(&header_path)?.saturating_add(before);
    let data = samples::read(&mut source, start, header.endian, &grid, &storage, convert)?;
    Ok((grid, data, storage))
}

pub(super) fn write<T: Copy + Into<f64>>(
    path: &Path,
    grid: &Grid,
    data: &[T],
    storage: &Storage,
) -> Result<()> {
    let name = lower_name(path);
    let packed = name.ends_with(".gz");
    let stem = name.strip_suffix(".gz").unwrap_or(&name);
    let header = Header::of(grid, storage, stem.ends_with(".nii"));
    let bytes = header.to_bytes();
    let put = |path: &Path, start: &[u8], samples: bool| {
        let content = |out: &mut dyn Write| {
            out.write_all(start)?;
            if samples {
                samples::write(out, data, storage)?;
            }
            Ok(())
        };
        write_atomic(path, |out| {
            if !packed {
                return content(out);
            }
            let mut gzip = GzEncoder::new(out, Compression::new(GZIP_LEVEL));
            content(&mut gzip)?;
            gzip.finish().map(|_| ())
        })
    };
    if header.single {
        return put(path, &bytes, true);
    }
    let half = |end: &str| {
        if packed {
            path.with_extension("").with_extension(format!("{end}.gz"))
        } else {
            path.with_extension(end)
        }
    };
    put(&half("img"), &[], true)?;
    put(&half("hdr"), &bytes, false)
}

/// The header of a file, or of a pair named by either half, and what follows it.
fn open_header(path: &Path) -> Result<(Source, Header, PathBuf)> {
    let mut source = Source::open(path)?;
    let name = lower_name(path);
    let whole = header_bytes(&mut source);
    if (name.ends_with(".img") || name.ends_with(".img.gz"))
        && !whole.as_ref().is_ok_and(|bytes| starts_header(bytes))
    {
        let header_path = sibling(path, "img", "hdr");
        let mut source = Source::open(&header_path)?;
        let header = Header::parse(&header_bytes(&mut source)?, &header_path)?;
        return Ok((source, header, header_path));
    }
    Ok((source, Header::parse(&whole?, path)?, path.to_owned()))
}

/// The other half of a pair.
pub(super) fn other_file(path: &Path) -> Result<Option<PathBuf>> {
    let (_, header, header_path) = open_header(path)?;
    Ok(match header.single {
        true => None,
        false if header_path == path => Some(sibling(path, "hdr", "img")),
        false => Some(header_path),
    })
}

/// As many bytes as the first of them say that the header has.
fn header_bytes(source: &mut Source) -> Result<Vec<u8>> {
    let mut bytes = vec![0; header::LEN_1];
    source.fill(&mut bytes, "header")?;
    bytes.resize(header::len(&bytes), 0);
    source.fill(&mut bytes[header::LEN_1..], "header")?;
    Ok(bytes)
}

/// Where a volume lies, how its samples are kept, and how many bytes of others come before them.
fn describe(header: &Header, volume: Option<u64>, path: &Path) -> Result<(Grid, Storage, u64)> {
    let fail = |message: String| Error::format(message, path);
    let storage = header.storage(path)?;
    let (shape, volumes) = header.shape(path)?;
    let number = match volume {
        Some(number) if number >= volumes => {
            return Err(fail(format!(
                "expected a volume of number 0 to {}, found {number}",
                volumes - 1
            )));
        }
        None if volumes > 1 => {
            let (axis, n) = header.first_other_axis();
            let advice = if shape == [1; 3] {
                "a table and no image, as CIFTI has it"
            } else {
                "such as times; take one by crossmod convert IN OUT --volume NUMBER, from 0"
            };
            return Err(fail(format!(
                "expected one volume, found {n} along axis {axis}, {advice}"
            )));
        }
        volume => volume.unwrap_or(0),
    };
    let affine = affine::read(header, shape).map_err(fail)?;
    let grid = Grid::new(shape, affine).map_err(|e| fail(e.to_string()))?;
    let bytes = (grid.len() as u64).saturating_mul(storage.dtype.size() as u64);
    Ok((grid, storage, bytes.saturating_mul(number)))
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
