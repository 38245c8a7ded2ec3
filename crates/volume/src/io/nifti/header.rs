//! The 348 bytes that start a NIfTI-1 file.
//!
//! Offsets are those of `nifti1.h`. Fields that neither place nor scale the samples are ignored
//! on reading and zero on writing.

use std::path::Path;

use super::affine;
use crate::{
    Error, Grid, Result,
    io::{Dtype, LengthUnit, Storage, samples::Endian},
};

pub(super) const LEN: usize = 348;

/// Where samples start in a file of ours: header, then four bytes that say "no extensions".
const SAMPLES: usize = 352;

const NIFTI2_LEN: i32 = 540;

#[derive(Debug, Clone, PartialEq)]
pub(super) struct Header {
    pub(super) endian: Endian,
    /// Header and samples in one file (`n+1`), not a pair (`ni1`).
    pub(super) single: bool,
    pub(super) dim: [i16; 8],
    pub(super) datatype: i16,
    pub(super) pixdim: [f32; 8],
    pub(super) vox_offset: f32,
    pub(super) scl_slope: f32,
    pub(super) scl_inter: f32,
    pub(super) xyzt_units: u8,
    pub(super) qform_code: i16,
    pub(super) sform_code: i16,
    /// b, c, d of the unit quaternion.
    pub(super) quatern: [f32; 3],
    pub(super) qoffset: [f32; 3],
    pub(super) srow: [[f32; 4]; 3],
}

/// Whether a file that starts so may be NIfTI (1 or 2) or Analyze.
pub(in crate::io) fn starts_header(bytes: &[u8]) -> bool {
    bytes.first_chunk().is_some_and(|&b| {
        [i32::from_le_bytes(b), i32::from_be_bytes(b)]
            .iter()
            .any(|&n| n == LEN as i32 || n == NIFTI2_LEN)
    })
}

impl Header {
    pub(super) fn parse(bytes: &[u8; LEN], path: &Path) -> Result<Self> {
        let fail = |message: &str| Err(Error::format(message, path));
        let size = [bytes[0], bytes[1], bytes[2], bytes[3]];
        let endian = match (i32::from_le_bytes(size), i32::from_be_bytes(size)) {
            (n, _) if n == LEN as i32 => Endian::Little,
            (_, n) if n == LEN as i32 => Endian::Big,
            (NIFTI2_LEN, _) | (_, NIFTI2_LEN) => {
                return fail("expected NIfTI-1, found NIfTI-2; convert it to NIfTI-1 first");
            }
            _ => return fail("expected a NIfTI-1 header of 348 bytes, found other content"),
        };
        let single = match &bytes[344..348] {
            b"n+1\0" => true,
            b"ni1\0" => false,
            [0, 0, 0, 0] => {
                return fail(
                    "expected the NIfTI-1 mark n+1 or ni1, found none: this is an Analyze 7.5 \
                     header, which does not say left from right; convert it to NIfTI-1 first",
                );
            }
            _ => return fail("expected the NIfTI-1 mark n+1 or ni1, found another"),
        };
        let two = |at: usize| match endian {
            Endian::Little => i16::from_le_bytes([bytes[at], bytes[at + 1]]),
            Endian::Big => i16::from_be_bytes([bytes[at], bytes[at + 1]]),
        };
        let four = |at: usize| {
            let b = [bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]];
            match endian {
                Endian::Little => f32::from_le_bytes(b),
                Endian::Big => f32::from_be_bytes(b),
            }
        };
        Ok(Self {
            endian,
            single,
            dim: std::array::from_fn(|i| two(40 + 2 * i)),
            datatype: two(70),
            pixdim: std::array::from_fn(|i| four(76 + 4 * i)),
            vox_offset: four(108),
            scl_slope: four(112),
            scl_inter: four(116),
            xyzt_units: bytes[123],
            qform_code: two(252),
            sform_code: two(254),
            quatern: std::array::from_fn(|i| four(256 + 4 * i)),
            qoffset: std::array::from_fn(|i| four(268 + 4 * i)),
            srow: std::array::from_fn(|r| std::array::from_fn(|c| four(280 + 16 * r + 4 * c))),
        })
    }

    /// The header of a new single file, or why NIfTI-1 cannot hold the grid.
    pub(super) fn of(grid: &Grid, storage: &Storage) -> std::result::Result<Self, String> {
        let mut dim = [1i16; 8];
        dim[0] = 3;
        for (d, n) in dim[1..].iter_mut().zip(grid.shape()) {
            *d = i16::try_from(n).map_err(|_| {
                format!("expected at most 32767 voxels along an axis for NIfTI-1, found {n}")
            })?;
        }
        let (slope, intercept) = storage.scaling();
        let mut header = Self {
            endian: Endian::Little,
            single: true,
            dim,
            datatype: datatype(storage.dtype),
            pixdim: [0.0; 8],
            vox_offset: SAMPLES as f32,
            scl_slope: slope as f32,
            scl_inter: intercept as f32,
            xyzt_units: match storage.length_unit {
                LengthUnit::Metre => 1,
                LengthUnit::Millimetre => 2,
                LengthUnit::Micron => 3,
            },
            qform_code: 0,
            sform_code: 0,
            quatern: [0.0; 3],
            qoffset: [0.0; 3],
            srow: [[0.0; 4]; 3],
        };
        affine::write(&mut header, grid, storage);
        Ok(header)
    }

    /// Header and the four bytes that end it.
    pub(super) fn to_bytes(&self) -> [u8; SAMPLES] {
        let mut bytes = [0; SAMPLES];
        let mut put = |at: usize, field: &[u8]| bytes[at..at + field.len()].copy_from_slice(field);
        put(0, &(LEN as i32).to_le_bytes());
        put(38, b"r");
        for (i, d) in self.dim.iter().enumerate() {
            put(40 + 2 * i, &d.to_le_bytes());
        }
        put(70, &self.datatype.to_le_bytes());
        let bits = dtype(self.datatype).map_or(0, |d| 8 * d.size() as i16);
        put(72, &bits.to_le_bytes());
        for (i, p) in self.pixdim.iter().enumerate() {
            put(76 + 4 * i, &p.to_le_bytes());
        }
        put(108, &self.vox_offset.to_le_bytes());
        put(112, &self.scl_slope.to_le_bytes());
        put(116, &self.scl_inter.to_le_bytes());
        put(123, &[self.xyzt_units]);
        put(148, b"crossmod");
        put(252, &self.qform_code.to_le_bytes());
        put(254, &self.sform_code.to_le_bytes());
        for i in 0..3 {
            put(256 + 4 * i, &self.quatern[i].to_le_bytes());
            put(268 + 4 * i, &self.qoffset[i].to_le_bytes());
            for c in 0..4 {
                put(280 + 16 * i + 4 * c, &self.srow[i][c].to_le_bytes());
            }
        }
        put(344, b"n+1\0");
        bytes
    }

    /// Voxels along (x, y, z); axes that the file lacks hold one.
    pub(super) fn shape(&self, path: &Path) -> Result<[usize; 3]> {
        let axes = self.dim[0];
        let used = usize::try_from(axes)
            .ok()
            .and_then(|n| self.dim[1..].get(..n));
        let Some(used) = used.filter(|used| !used.is_empty() && used.iter().all(|&n| n > 0)) else {
            return Err(Error::format(
                format!(
                    "expected 1 to 7 axes of at least one voxel, found {axes} axes of {:?}",
                    &self.dim[1..]
                ),
                path,
            ));
        };
        if let Some((axis, n)) = used.iter().enumerate().skip(3).find(|&(_, &n)| n > 1) {
            return Err(Error::format(
                format!(
                    "expected one volume, found {n} along axis {}; split it first",
                    axis + 1
                ),
                path,
            ));
        }
        Ok([0, 1, 2].map(|axis| used.get(axis).map_or(1, |&n| n as usize)))
    }

    /// How the samples are kept. A slope of 0 means unscaled, as the standard says.
    pub(super) fn storage(&self, path: &Path) -> Result<Storage> {
        let Some(dtype) = dtype(self.datatype) else {
            let name = match self.datatype {
                1 => "bits",
                32 | 1792 | 2048 => "complex numbers",
                128 | 2304 => "colours",
                1536 => "128-bit floats",
                _ => "an unknown type",
            };
            return Err(Error::format(
                format!(
                    "expected whole numbers or floats of 8 to 64 bits, found {name} (data type \
                     {}); convert it first",
                    self.datatype
                ),
                path,
            ));
        };
        let stored = Storage {
            dtype,
            slope: f64::from(self.scl_slope),
            intercept: f64::from(self.scl_inter),
            length_unit: self.length_unit(),
            qform_code: self.qform_code,
            sform_code: self.sform_code,
        };
        let (slope, intercept) = stored.scaling();
        Ok(Storage {
            slope,
            intercept,
            ..stored
        })
    }

    /// Unit of voxel sizes and affines; mm where the file does not say.
    pub(super) fn length_unit(&self) -> LengthUnit {
        match self.xyzt_units & 7 {
            1 => LengthUnit::Metre,
            3 => LengthUnit::Micron,
            _ => LengthUnit::Millimetre,
        }
    }

    /// Byte at which samples start. A single file that says 0 means directly after the header.
    pub(super) fn samples_start(&self, path: &Path) -> Result<u64> {
        let least = if self.single { LEN as f32 } else { 0.0 };
        if self.single && self.vox_offset == 0.0 {
            return Ok(SAMPLES as u64);
        }
        if self.vox_offset.is_finite() && self.vox_offset >= least {
            return Ok(self.vox_offset as u64);
        }
        Err(Error::format(
            format!(
                "expected samples from byte {least} on, found vox_offset {}",
                self.vox_offset
            ),
            path,
        ))
    }
}

fn dtype(code: i16) -> Option<Dtype> {
    Dtype::ALL.into_iter().find(|&d| datatype(d) == code)
}

fn datatype(dtype: Dtype) -> i16 {
    match dtype {
        Dtype::U8 => 2,
        Dtype::I16 => 4,
        Dtype::I32 => 8,
        Dtype::F32 => 16,
        Dtype::F64 => 64,
        Dtype::I8 => 256,
        Dtype::U16 => 512,
        Dtype::U32 => 768,
        Dtype::I64 => 1024,
        Dtype::U64 => 1280,
    }
}
