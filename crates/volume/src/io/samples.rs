//! Stored samples to values and back.
//!
//! One pass, part by part, so that a volume is held once, in the type it is wanted in.

use std::io::{self, Write};

use super::{Dtype, Storage, source::Source};
use crate::{Grid, Result};

/// Which byte of a number comes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Endian {
    Little,
    Big,
}

/// Bytes that are written at a time: a multiple of every sample's size.
const BUFFER: usize = 1 << 18;

/// Reads the samples that start at byte `start`, scaled and converted.
pub(super) fn read<T: Default>(
    source: &mut Source,
    start: u64,
    endian: Endian,
    grid: &Grid,
    storage: &Storage,
    convert: impl Fn(f64) -> std::result::Result<T, String>,
) -> Result<Vec<T>> {
    let bytes = (grid.len() as u64).saturating_mul(storage.dtype.size() as u64);
    let end = start.saturating_add(bytes);
    source.expect_end(end)?;
    source.skip_to(start)?;

    // Memory ahead of the data only as far as the file's length vouches for it: a vector that
    // grows is copied, and its pages are taken anew.
    let ahead = source.likely() / storage.dtype.size() as u64;
    let mut values = Vec::with_capacity((grid.len() as u64).min(ahead) as usize);
    let (slope, intercept) = storage.scaling();
    source.each_part(bytes, "samples", |part| {
        let of = |stored| convert(slope * stored + intercept);
        append(&mut values, part, storage.dtype, endian, of)
    })?;
    source.finish()?;
    Ok(values)
}

/// Appends what the samples come to. A loop that never refuses one runs over vectors.
fn append<T: Default>(
    values: &mut Vec<T>,
    bytes: &[u8],
    dtype: Dtype,
    endian: Endian,
    of: impl Fn(f64) -> std::result::Result<T, String>,
) -> std::result::Result<(), String> {
    let mut refused = None;
    let mut value = |stored: f64| {
        if refused.is_some() {
            return T::default();
        }
        of(stored).unwrap_or_else(|message| {
            refused = Some(message);
            T::default()
        })
    };
    macro_rules! each {
        ($t:ty) => {{
            let samples = bytes.as_chunks::<{ size_of::<$t>() }>().0.iter();
            match endian {
                Endian::Little => {
                    values.extend(samples.map(|&s| value(<$t>::from_le_bytes(s) as f64)));
                }
                Endian::Big => {
                    values.extend(samples.map(|&s| value(<$t>::from_be_bytes(s) as f64)));
                }
            }
        }};
    }
    match dtype {
        Dtype::U8 => each!(u8),
        Dtype::I8 => each!(i8),
        Dtype::U16 => each!(u16),
        Dtype::I16 => each!(i16),
        Dtype::U32 => each!(u32),
        Dtype::I32 => each!(i32),
        Dtype::U64 => each!(u64),
        Dtype::I64 => each!(i64),
        Dtype::F32 => each!(f32),
        Dtype::F64 => each!(f64),
    }
    refused.map_or(Ok(()), Err)
}

/// Writes values, scaled back, little endian.
pub(super) fn write<T: Copy + Into<f64>>(
    out: &mut dyn Write,
    values: &[T],
    storage: &Storage,
) -> io::Result<()> {
    let (slope, intercept) = storage.scaling();
    let stored = |value: T| (value.into() - intercept) / slope;
    let whole = |value: T| {
        let stored = stored(value);
        if stored.is_finite() {
            stored.round()
        } else {
            0.0
        }
    };
    let mut buffer = Vec::with_capacity(BUFFER);
    for chunk in values.chunks(BUFFER / storage.dtype.size()) {
        buffer.clear();
        // `as` from float saturates.
        macro_rules! each {
            ($t:ty, $of:ident) => {{
                chunk
                    .iter()
                    .for_each(|&v| buffer.extend_from_slice(&($of(v) as $t).to_le_bytes()))
            }};
        }
        match storage.dtype {
            Dtype::U8 => each!(u8, whole),
            Dtype::I8 => each!(i8, whole),
            Dtype::U16 => each!(u16, whole),
            Dtype::I16 => each!(i16, whole),
            Dtype::U32 => each!(u32, whole),
            Dtype::I32 => each!(i32, whole),
            Dtype::U64 => each!(u64, whole),
            Dtype::I64 => each!(i64, whole),
            Dtype::F32 => each!(f32, stored),
            Dtype::F64 => each!(f64, stored),
        }
        out.write_all(&buffer)?;
    }
    Ok(())
}
