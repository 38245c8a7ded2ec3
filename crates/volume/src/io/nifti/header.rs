//! The bytes that start a NIfTI file: 348 in version 1, 540 in version 2.
//!
//! Offsets are those of `nifti1.h` and `nifti2.h`. Fields that neither place nor scale the samples
//! are ignored on reading and zero on writing. Numbers are held in version 2's width.

use std::path::Path;

use super::affine;
use crate::{
    Error, Grid, Result,
    io::{Dtype, LengthUnit, Storage, samples::Endian},
};

/// Bytes of a header, which begins with this number.
pub(super) const LEN_1: usize = 348;
pub(super) const LEN_2: usize = 540;

const MAGIC_2: [u8; 8] = *b"n+2\0\r\n\x1a\n";
const MAGIC_2_PAIR: [u8; 8] = *b"ni2\0\r\n\x1a\n";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Version {
    One,
    Two,
}

impl Version {
    /// Where samples start in a file of ours: header, then four bytes that say "no extensions".
    fn samples(self) -> u64 {
        self.len() as u64 + 4
    }

    fn len(self) -> usize {
        match self {
            Self::One => LEN_1,
            Self::Two => LEN_2,
        }
    }
}

#[derive(Debug, Clone, PartialEq)]
pub(super) struct Header {
    pub(super) version: Version,
    pub(super) endian: Endian,
    /// Header and samples in one file (`n+1`), not a pair (`ni1`).
    pub(super) single: bool,
    pub(super) dim: [i64; 8],
    pub(super) datatype: i16,
    pub(super) pixdim: [f64; 8],
    pub(super) vox_offset: f64,
    pub(super) scl_slope: f64,
    pub(super) scl_inter: f64,
    pub(super) xyzt_units: u8,
    pub(super) qform_code: i16,
    pub(super) sform_code: i16,
    /// b, c, d of the unit quaternion.
    pub(super) quatern: [f64; 3],
    pub(super) qoffset: [f64; 3],
    pub(super) srow: [[f64; 4]; 3],
}

/// Whether a file that starts so may be NIfTI (1 or 2) or Analyze.
pub(in crate::io) fn starts_header(bytes: &[u8]) -> bool {
    length(bytes).is_some()
}

/// The length of a header by its first number, and the order of its bytes.
fn length(bytes: &[u8]) -> Option<(Version, Endian)> {
    let &first = bytes.first_chunk()?;
    [
        (i32::from_le_bytes(first), Endian::Little),
        (i32::from_be_bytes(first), Endian::Big),
    ]
    .into_iter()
    .find_map(|(n, endian)| match usize::try_from(n) {
        Ok(LEN_1) => Some((Version::One, endian)),
        Ok(LEN_2) => Some((Version::Two, endian)),
        _ => None,
    })
}

/// How many bytes a header takes that starts so.
pub(super) fn len(start: &[u8]) -> usize {
    length(start).map_or(LEN_1, |(version, _)| version.len())
}

/// Numbers at offsets.
struct Fields<'a> {
    bytes: &'a [u8],
    endian: Endian,
}

impl Fields<'_> {
    fn at<const N: usize>(&self, at: usize) -> [u8; N] {
        let mut field = [0; N];
        if let Some(found) = self.bytes.get(at..at + N) {
            field.copy_from_slice(found);
        }
        if self.endian == Endian::Big {
            field.reverse();
        }
        field
    }

    fn i16(&self, at: usize) -> i16 {
        i16::from_le_bytes(self.at(at))
    }

    fn i32(&self, at: usize) -> i32 {
        i32::from_le_bytes(self.at(at))
    }

    fn i64(&self, at: usize) -> i64 {
        i64::from_le_bytes(self.at(at))
    }

    fn f32(&self, at: usize) -> f64 {
        f64::from(f32::from_le_bytes(self.at(at)))
    }

    fn f64(&self, at: usize) -> f64 {
        f64::from_le_bytes(self.at(at))
    }
}

impl Header {
    pub(super) fn parse(bytes: &[u8], path: &Path) -> Result<Self> {
        let fail = |message: &str| Err(Error::format(message, path));
        let Some((version, endian)) = length(bytes) else {
            return fail("expected a NIfTI header of 348 or 540 bytes, found other content");
        };
        let single = match (version, bytes.get(344..348), bytes.get(4..12)) {
            (Version::One, Some(b"n+1\0"), _) => true,
            (Version::One, Some(b"ni1\0"), _) => false,
            (Version::One, Some([0, 0, 0, 0]), _) => {
                return fail(
                    "expected the NIfTI-1 mark n+1 or ni1, found none: this is an Analyze 7.5 \
                     header, which does not say left from right; convert it to NIfTI-1 first",
                );
            }
            (Version::Two, _, Some(mark)) if mark == MAGIC_2 => true,
            (Version::Two, _, Some(mark)) if mark == MAGIC_2_PAIR => false,
            (Version::One, ..) => {
                return fail("expected the NIfTI-1 mark n+1 or ni1, found another");
            }
            (Version::Two, ..) => {
                return fail("expected the NIfTI-2 mark n+2 or ni2, found another");
            }
        };
        let f = Fields { bytes, endian };
        let code = |at| i16::try_from(f.i32(at)).unwrap_or(0);
        Ok(match version {
            Version::One => Self {
                version,
                endian,
                single,
                dim: std::array::from_fn(|i| i64::from(f.i16(40 + 2 * i))),
                datatype: f.i16(70),
                pixdim: std::array::from_fn(|i| f.f32(76 + 4 * i)),
                vox_offset: f.f32(108),
                scl_slope: f.f32(112),
                scl_inter: f.f32(116),
                xyzt_units: bytes[123],
                qform_code: f.i16(252),
                sform_code: f.i16(254),
                quatern: std::array::from_fn(|i| f.f32(256 + 4 * i)),
                qoffset: std::array::from_fn(|i| f.f32(268 + 4 * i)),
                srow: std::array::from_fn(|r| std::array::from_fn(|c| f.f32(280 + 16 * r + 4 * c))),
            },
            Version::Two => Self {
                version,
                endian,
                single,
                dim: std::array::from_fn(|i| f.i64(16 + 8 * i)),
                datatype: f.i16(12),
                pixdim: std::array::from_fn(|i| f.f64(104 + 8 * i)),
                vox_offset: f.i64(168) as f64,
                scl_slope: f.f64(176),
                scl_inter: f.f64(184),
                xyzt_units: (f.i32(500) & 0xff) as u8,
                qform_code: code(344),
                sform_code: code(348),
                quatern: std::array::from_fn(|i| f.f64(352 + 8 * i)),
                qoffset: std::array::from_fn(|i| f.f64(376 + 8 * i)),
                srow: std::array::from_fn(|r| std::array::from_fn(|c| f.f64(400 + 32 * r + 8 * c))),
            },
        })
    }

    /// The header of a new file: of version 1 where that holds the grid, else of version 2.
    pub(super) fn of(grid: &Grid, storage: &Storage, single: bool) -> Self {
        let mut dim = [1i64; 8];
        dim[0] = 3;
        for (d, n) in dim[1..].iter_mut().zip(grid.shape()) {
            *d = i64::try_from(n).unwrap_or(i64::MAX);
        }
        let version = if dim.iter().all(|&n| n <= i64::from(i16::MAX)) {
            Version::One
        } else {
            Version::Two
        };
        let (slope, intercept) = storage.scaling();
        let mut header = Self {
            version,
            endian: Endian::Little,
            single,
            dim,
            datatype: datatype(storage.dtype),
            pixdim: [0.0; 8],
            vox_offset: if single {
                version.samples() as f64
            } else {
                0.0
            },
            scl_slope: slope,
            scl_inter: intercept,
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
        header
    }

    /// Header and the four bytes that end it.
    pub(super) fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = vec![0; self.version.len() + 4];
        let mut put = |at: usize, field: &[u8]| bytes[at..at + field.len()].copy_from_slice(field);
        let bits = dtype(self.datatype).map_or(0, |d| 8 * d.size() as i16);
        let rows = self.srow.as_flattened();
        match self.version {
            Version::One => {
                let float = |v: f64| (v as f32).to_le_bytes();
                put(0, &(LEN_1 as i32).to_le_bytes());
                put(38, b"r");
                for (i, &d) in self.dim.iter().enumerate() {
                    put(40 + 2 * i, &(d as i16).to_le_bytes());
                }
                put(70, &self.datatype.to_le_bytes());
                put(72, &bits.to_le_bytes());
                (0..8).for_each(|i| put(76 + 4 * i, &float(self.pixdim[i])));
                put(108, &float(self.vox_offset));
                put(112, &float(self.scl_slope));
                put(116, &float(self.scl_inter));
                put(123, &[self.xyzt_units]);
                put(148, b"crossmod");
                put(252, &self.qform_code.to_le_bytes());
                put(254, &self.sform_code.to_le_bytes());
                (0..3).for_each(|i| put(256 + 4 * i, &float(self.quatern[i])));
                (0..3).for_each(|i| put(268 + 4 * i, &float(self.qoffset[i])));
                (0..12).for_each(|i| put(280 + 4 * i, &float(rows[i])));
                put(344, if self.single { b"n+1\0" } else { b"ni1\0" });
            }
            Version::Two => {
                put(0, &(LEN_2 as i32).to_le_bytes());
                put(4, &if self.single { MAGIC_2 } else { MAGIC_2_PAIR });
                put(12, &self.datatype.to_le_bytes());
                put(14, &bits.to_le_bytes());
                (0..8).for_each(|i| put(16 + 8 * i, &self.dim[i].to_le_bytes()));
                (0..8).for_each(|i| put(104 + 8 * i, &self.pixdim[i].to_le_bytes()));
                put(168, &(self.vox_offset as i64).to_le_bytes());
                put(176, &self.scl_slope.to_le_bytes());
                put(184, &self.scl_inter.to_le_bytes());
                put(240, b"crossmod");
                put(344, &i32::from(self.qform_code).to_le_bytes());
                put(348, &i32::from(self.sform_code).to_le_bytes());
                (0..3).for_each(|i| put(352 + 8 * i, &self.quatern[i].to_le_bytes()));
                (0..3).for_each(|i| put(376 + 8 * i, &self.qoffset[i].to_le_bytes()));
                (0..12).for_each(|i| put(400 + 8 * i, &rows[i].to_le_bytes()));
                put(500, &i32::from(self.xyzt_units).to_le_bytes());
            }
        }
        bytes
    }

    /// Voxels along (x, y, z) and the volumes along the other axes; axes that the file lacks hold
    /// one.
    pub(super) fn shape(&self, path: &Path) -> Result<([usize; 3], u64)> {
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
        let shape = [0, 1, 2].map(|axis| used.get(axis).map_or(1, |&n| n as usize));
        let others = used.iter().skip(3);
        Ok((
            shape,
            others.fold(1, |all, &n| all.saturating_mul(n as u64)),
        ))
    }

    /// The first axis beyond the third, counted from 1, along which there are several, and how many.
    pub(super) fn first_other_axis(&self) -> (usize, i64) {
        let others = self.dim.into_iter().enumerate().skip(4);
        others.into_iter().find(|&(_, n)| n > 1).unwrap_or((4, 1))
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
            slope: self.scl_slope,
            intercept: self.scl_inter,
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
        let least = if self.single {
            self.version.len() as f64
        } else {
            0.0
        };
        if self.single && self.vox_offset == 0.0 {
            return Ok(self.version.samples());
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
