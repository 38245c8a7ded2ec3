//! PNG slices: 8 or 16 bit grey.
//!
//! Values are those stored: nothing is rescaled, gamma is ignored, alpha is dropped, and grey of
//! fewer than 8 bits keeps its small numbers. Palettes and RGB are read where red, green and blue
//! agree in every pixel. Source: the PNG specification, third edition
//! (<https://www.w3.org/TR/png-3/>).
//!
//! PNG holds no geometry. A slice gets voxels of 1 mm, x along its rows and y from its top row
//! down, with `world_from_voxel = diag(-1, -1, 1)`: shown as radiologists do (the patient's right
//! at the left, front at the top), it looks as in any picture viewer.

pub(super) mod stack;

use std::{fs::File, io::BufReader, path::Path};

use glam::{DMat4, DVec3};
use png::{BitDepth, ColorType, Decoder, DecodingError, Encoder, EncodingError, Limits, Reader};

use super::{Dtype, Storage, atomic::write_atomic};
use crate::{Error, Grid, Result};

pub(super) const SIGNATURE: [u8; 8] = *b"\x89PNG\r\n\x1a\n";

/// For the decoder's own buffers: rows, colour profiles, texts.
const DECODER_BYTES: usize = 64 << 20;

/// Deflate's best; see `nifti::source`.
const DEFLATE_RATIO: u64 = 1032;

type Pixels = Reader<BufReader<File>>;

pub(super) fn read_grid(path: &Path) -> Result<(Grid, Storage)> {
    let reader = open(path)?;
    let (width, height) = reader.info().size();
    let grid = grid(width, height, 1).map_err(|e| Error::format(e.to_string(), path))?;
    Ok((grid, storage(depth(&reader))))
}

pub(super) fn read<T>(
    path: &Path,
    convert: impl Fn(f64) -> std::result::Result<T, String>,
) -> Result<(Grid, Vec<T>, Storage)> {
    let slice = Slice::read(path)?;
    let data = slice.values.iter().map(|&v| convert(f64::from(v)));
    let data = data
        .collect::<std::result::Result<_, _>>()
        .map_err(|m| Error::format(m, path))?;
    let grid =
        grid(slice.width, slice.height, 1).map_err(|e| Error::format(e.to_string(), path))?;
    Ok((grid, data, storage(slice.dtype)))
}

pub(super) fn write<T: Copy + Into<f64>>(
    path: &Path,
    grid: &Grid,
    data: &[T],
    storage: &Storage,
) -> Result<()> {
    if grid.shape()[2] != 1 {
        return Err(Error::format(
            format!(
                "expected one slice for a PNG, found {}; name a folder (no extension) or .nii.gz",
                grid.shape()[2]
            ),
            path,
        ));
    }
    write_slice(path, grid, data, storage)
}

/// One slice as stored.
struct Slice {
    width: u32,
    height: u32,
    dtype: Dtype,
    values: Vec<u16>,
}

impl Slice {
    fn read(path: &Path) -> Result<Self> {
        let mut reader = open(path)?;
        let file_len = std::fs::metadata(path)
            .map_err(|e| Error::io("read", e, path))?
            .len();
        let promised = reader.info().raw_bytes() as u64;
        let Some(len) = reader
            .output_buffer_size()
            .filter(|_| promised <= file_len.saturating_mul(DEFLATE_RATIO))
        else {
            return Err(Error::format(
                format!(
                    "expected {promised} bytes of pixels by the header, found a file of \
                     {file_len} bytes, too small to hold them; fetch it again"
                ),
                path,
            ));
        };
        let mut bytes = vec![0; len];
        let frame = reader.next_frame(&mut bytes).map_err(|e| failed(e, path))?;
        reader.finish().map_err(|e| failed(e, path))?;

        let samples = frame.color_type.samples();
        let width = frame.width as usize * samples;
        let rows = bytes
            .chunks_exact(frame.line_size)
            .take(frame.height as usize);
        let mut values = Vec::with_capacity(frame.width as usize * frame.height as usize);
        for row in rows {
            match frame.bit_depth {
                BitDepth::Sixteen => {
                    let wide = row.as_chunks().0.iter().map(|&b| u16::from_be_bytes(b));
                    grey(wide.take(width), frame.color_type, &reader, &mut values)
                }
                depth => {
                    let narrow = unpack(row, depth as usize).map(u16::from);
                    grey(narrow.take(width), frame.color_type, &reader, &mut values)
                }
            }
            .map_err(|message| Error::format(message, path))?;
        }
        let dtype = depth(&reader);
        Ok(Self {
            width: frame.width,
            height: frame.height,
            dtype,
            values,
        })
    }
}

/// Samples of 1, 2, 4 or 8 bits, the highest bits of a byte first.
fn unpack(row: &[u8], bits: usize) -> impl Iterator<Item = u8> {
    row.iter().flat_map(move |&byte| {
        (1..=8 / bits)
            .map(move |i| (u16::from(byte) >> (8 - bits * i)) as u8 & (0xff >> (8 - bits)))
    })
}

/// Appends the grey values of one row of samples.
fn grey(
    mut row: impl Iterator<Item = u16>,
    color: ColorType,
    reader: &Pixels,
    values: &mut Vec<u16>,
) -> std::result::Result<(), String> {
    let coloured = || "expected a grey PNG, found colours; convert it to grey first".to_owned();
    let equal = |r: u16, g: u16, b: u16| {
        if r == g && g == b {
            Ok(r)
        } else {
            Err(coloured())
        }
    };
    let palette = reader.info().palette.as_deref().unwrap_or_default();
    while let Some(first) = row.next() {
        let mut next = || row.next().unwrap_or_default();
        values.push(match color {
            ColorType::Grayscale => first,
            ColorType::GrayscaleAlpha => {
                next();
                first
            }
            ColorType::Rgb => equal(first, next(), next())?,
            ColorType::Rgba => {
                let value = equal(first, next(), next())?;
                next();
                value
            }
            ColorType::Indexed => match palette.as_chunks::<3>().0.get(usize::from(first)) {
                Some(&[r, g, b]) => equal(r.into(), g.into(), b.into())?,
                None => return Err(format!("expected a colour for index {first}, found none")),
            },
        });
    }
    Ok(())
}

fn open(path: &Path) -> Result<Pixels> {
    let file = File::open(path).map_err(|e| Error::io("read", e, path))?;
    let limits = Limits {
        bytes: DECODER_BYTES,
    };
    Decoder::new_with_limits(BufReader::new(file), limits)
        .read_info()
        .map_err(|e| failed(e, path))
}

fn failed(e: DecodingError, path: &Path) -> Error {
    match e {
        DecodingError::IoError(e) if e.kind() == std::io::ErrorKind::UnexpectedEof => {
            Error::format(
                "expected a whole PNG, found its end too early; fetch it again",
                path,
            )
        }
        DecodingError::IoError(e) => Error::io("read", e, path),
        e => Error::format(
            format!("expected a PNG, found damage ({e}); fetch it again"),
            path,
        ),
    }
}

fn depth(reader: &Pixels) -> Dtype {
    if reader.info().bit_depth == BitDepth::Sixteen {
        Dtype::U16
    } else {
        Dtype::U8
    }
}

/// PNG has no patient to refer to, so both codes are 0.
fn storage(dtype: Dtype) -> Storage {
    Storage {
        dtype,
        qform_code: 0,
        sform_code: 0,
        ..Storage::default()
    }
}

fn grid(width: u32, height: u32, slices: usize) -> Result<Grid> {
    let affine = DMat4::from_scale(DVec3::new(-1.0, -1.0, 1.0));
    Grid::new([width as usize, height as usize, slices], affine)
}

/// Writes nx × ny values.
fn write_slice<T: Copy + Into<f64>>(
    path: &Path,
    grid: &Grid,
    data: &[T],
    storage: &Storage,
) -> Result<()> {
    let depth = match storage.dtype {
        Dtype::U8 if storage.is_unscaled() => BitDepth::Eight,
        Dtype::U16 if storage.is_unscaled() => BitDepth::Sixteen,
        other => {
            return Err(Error::format(
                format!(
                    "expected unscaled u8 or u16 samples for a PNG, found {other} (slope {}, \
                     intercept {}); choose one of them or write .nii.gz",
                    storage.slope, storage.intercept
                ),
                path,
            ));
        }
    };
    let [Ok(width), Ok(height)] = [0, 1].map(|axis| u32::try_from(grid.shape()[axis])) else {
        return Err(Error::format(
            format!("expected a slice that fits a PNG, found {:?}", grid.shape()),
            path,
        ));
    };
    let mut bytes = Vec::with_capacity(data.len() * storage.dtype.size());
    for &value in data {
        let value: f64 = value.into();
        // `as` from float saturates; NaN becomes 0.
        let whole = if value.is_finite() {
            value.round() as u16
        } else {
            0
        };
        match depth {
            BitDepth::Sixteen => bytes.extend_from_slice(&whole.to_be_bytes()),
            _ => bytes.push(u8::try_from(whole).unwrap_or(u8::MAX)),
        }
    }
    write_atomic(path, |out| {
        let failed = |e| match e {
            EncodingError::IoError(e) => e,
            e => std::io::Error::other(e),
        };
        let mut encoder = Encoder::new(out, width, height);
        encoder.set_color(ColorType::Grayscale);
        encoder.set_depth(depth);
        let mut writer = encoder.write_header().map_err(failed)?;
        writer.write_image_data(&bytes).map_err(failed)?;
        writer.finish().map_err(failed)
    })
}

#[cfg(test)]
mod tests;
