//! MGH files, plain (`.mgh`) or gzip (`.mgz`); read only.
//!
//! Source: FreeSurfer's "MghFormat" page (<https://surfer.nmr.mgh.harvard.edu/fswiki/FsTutorial/MghFormat>).
//! Big endian; samples are x fastest and start at byte 284. The header holds voxel sizes, the unit
//! step of each axis in RAS and the position of the voxel `shape / 2`; where it says that these do
//! not hold (`goodRASFlag`), the axes are left, inferior, anterior with voxels of 1 mm and that
//! voxel at the origin, as FreeSurfer has them.

use std::path::Path;

use glam::{DMat3, DMat4, DVec3};

use super::{
    Dtype, Storage,
    samples::{self, Endian},
    source::Source,
};
use crate::{Error, Grid, Result};

/// Where samples start.
const SAMPLES: usize = 284;

/// Whether a file starts like a header: version 1, four sizes and a known type.
pub(super) fn starts_header(bytes: &[u8]) -> bool {
    let words = bytes.as_chunks().0.iter().map(|&b| i32::from_be_bytes(b));
    let words: Vec<i32> = words.take(6).collect();
    matches!(words[..], [1, x, y, z, (1..), 0 | 1 | 3 | 4 | 10] if x > 0 && y > 0 && z > 0)
}

pub(super) fn read_grid(path: &Path) -> Result<(Grid, Storage)> {
    Ok(open(path)?.1)
}

pub(super) fn read<T: Default>(
    path: &Path,
    convert: impl Fn(f64) -> std::result::Result<T, String>,
) -> Result<(Grid, Vec<T>, Storage)> {
    let (mut source, (grid, storage)) = open(path)?;
    let start = SAMPLES as u64;
    let data = samples::read(&mut source, start, Endian::Big, &grid, &storage, convert)?;
    Ok((grid, data, storage))
}

fn open(path: &Path) -> Result<(Source, (Grid, Storage))> {
    let mut source = Source::open(path)?;
    let mut bytes = [0; SAMPLES];
    source.fill(&mut bytes, "header")?;
    let described = describe(&bytes).map_err(|message| Error::format(message, path))?;
    Ok((source, described))
}

fn describe(bytes: &[u8; SAMPLES]) -> std::result::Result<(Grid, Storage), String> {
    let four = |at: usize| [bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]];
    let whole = |at| i32::from_be_bytes(four(at));
    let real = |at| f64::from(f32::from_be_bytes(four(at)));
    let vector = |at| DVec3::new(real(at), real(at + 4), real(at + 8));
    if whole(0) != 1 {
        return Err(format!(
            "expected an MGH header of version 1, found {}",
            whole(0)
        ));
    }
    if whole(16) != 1 {
        return Err(format!(
            "expected one volume, found {} along axis 4; split it first",
            whole(16)
        ));
    }
    let dtype = match whole(20) {
        0 => Dtype::U8,
        1 => Dtype::I32,
        3 => Dtype::F32,
        4 => Dtype::I16,
        10 => Dtype::U16,
        other => {
            return Err(format!(
                "expected whole numbers or floats (type 0, 1, 3, 4 or 10), found type {other}; \
                 convert it first"
            ));
        }
    };
    let shape = [4, 8, 12].map(|at| usize::try_from(whole(at)).unwrap_or(0));
    let placed = i16::from_be_bytes([bytes[28], bytes[29]]) == 1;
    let (linear, middle) = if placed {
        let unit = DMat3::from_cols(vector(42), vector(54), vector(66));
        (unit * DMat3::from_diagonal(vector(30)), vector(78))
    } else {
        (
            DMat3::from_cols(DVec3::NEG_X, DVec3::NEG_Z, DVec3::Y),
            DVec3::ZERO,
        )
    };
    let half = DVec3::from_array(shape.map(|n| n as f64 / 2.0));
    let mut world = DMat4::from_mat3(linear);
    world.w_axis = (middle - linear * half).extend(1.0);
    let code = i16::from(placed);
    let storage = Storage {
        dtype,
        qform_code: code,
        sform_code: code,
        ..Storage::default()
    };
    let grid = Grid::new(shape, world).map_err(|e| e.to_string())?;
    Ok((grid, storage))
}

#[cfg(test)]
mod tests;
