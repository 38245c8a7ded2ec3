//! Stored samples to values and back.
//!
//! One pass through a small buffer, so that a volume is held once, in the type it is wanted in.

use std::io::{self, Write};

use super::{Dtype, Storage, source::Source};
use crate::{Grid, Result};

/// Which byte of a number comes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Endian {
    Little,
    Big,
}

/// A multiple of every sample's size.
const BUFFER: usize = 1 << 18;

/// Reads the samples that start at byte `start`, scaled and converted.
pub(super) fn read<T>(
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

    // Memory ahead of the data only where the file's length vouches for it.
    let mut values = Vec::new();
    if end <= source.certain() {
        values.reserve_exact(grid.len());
    }
    let (slope, intercept) = storage.scaling();
    let mut buffer = vec![0; BUFFER.min(bytes as usize)];
    while values.len() < grid.len() {
        let left = (grid.len() - values.len()) * storage.dtype.size();
        let chunk = &mut buffer[..BUFFER.min(left)];
        source.fill(chunk, "samples")?;
        let push = |stored: f64| {
            values.push(convert(slope * stored + intercept)?);
            Ok(())
        };
        decode(chunk, storage.dtype, endian, push).map_err(|message| source.error(message))?;
    }
    source.finish()?;
    Ok(values)
}

fn decode(
    bytes: &[u8],
    dtype: Dtype,
    endian: Endian,
    mut push: impl FnMut(f64) -> std::result::Result<(), String>,
) -> std::result::Result<(), String> {
    macro_rules! each {
        ($t:ty) => {{
            for &sample in bytes.as_chunks::<{ size_of::<$t>() }>().0 {
                push(match endian {
                    Endian::Little => <$t>::from_le_bytes(sample),
                    Endian::Big => <$t>::from_be_bytes(sample),
                } as f64)?;
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
    Ok(())
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
