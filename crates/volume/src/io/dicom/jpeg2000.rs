//! JPEG 2000 of one component, by `hayro-jpeg2000`, which holds no unsafe code.
//!
//! The size and sign that the code stream tells of itself (ITU-T T.800, annex A.5.1) are read here
//! first: the decoder takes memory by the one and knows nothing of the other.

use hayro_jpeg2000::{DecodeSettings, DecoderContext, Image};

use super::element::Told;

/// Start of code stream, and size, which follows at once.
const START: [u8; 4] = [0xff, 0x4f, 0xff, 0x51];

struct Size {
    columns: u32,
    rows: u32,
    tiles: u64,
    signed: bool,
    precision: u32,
}

impl Size {
    fn of(bytes: &[u8]) -> Told<Self> {
        let short = || "expected a JPEG 2000 code stream, found too little of it".to_owned();
        let at = bytes
            .windows(4)
            .position(|w| w == START)
            .ok_or_else(short)?;
        let field = bytes.get(at + 8..at + 42).ok_or_else(short)?;
        let [x1, y1, x0, y0, width, height, left, top]: [u32; 8] = std::array::from_fn(|i| {
            field[4 * i..]
                .first_chunk()
                .map_or(0, |&b| u32::from_be_bytes(b))
        });
        let components = u16::from_be_bytes([field[32], field[33]]);
        let &depth = bytes.get(at + 42).ok_or_else(short)?;
        if components != 1 {
            return Err(format!(
                "expected one component, found {components}: colours"
            ));
        }
        if width == 0 || height == 0 {
            return Err("expected tiles of some size, found none; the file is damaged".into());
        }
        let across = u64::from(x1.saturating_sub(left)).div_ceil(u64::from(width));
        let down = u64::from(y1.saturating_sub(top)).div_ceil(u64::from(height));
        Ok(Self {
            columns: x1.saturating_sub(x0),
            rows: y1.saturating_sub(y0),
            tiles: across.saturating_mul(down),
            signed: depth & 0x80 != 0,
            precision: u32::from(depth & 0x7f) + 1,
        })
    }
}

/// The samples of a frame that must have this size.
pub(super) fn decode(bytes: &[u8], rows: usize, columns: usize) -> Told<Vec<i32>> {
    let size = Size::of(bytes)?;
    if (size.rows as usize, size.columns as usize) != (rows, columns) {
        return Err(format!(
            "expected JPEG 2000 of {columns}×{rows} pixels, found {}×{}",
            size.columns, size.rows
        ));
    }
    if size.tiles > bytes.len() as u64 || size.precision > 24 {
        return Err(format!(
            "expected tiles that hold samples of at most 24 bits, found {} of {} bits in {} bytes",
            size.tiles,
            size.precision,
            bytes.len()
        ));
    }
    let damaged = |e| format!("expected JPEG 2000, found damage ({e}); fetch the file again");
    let settings = DecodeSettings {
        resolve_palette_indices: false,
        strict: true,
        target_resolution: None,
    };
    let image = Image::new(bytes, &settings).map_err(damaged)?;
    let mut context = DecoderContext::default();
    let decoded = image.decode(&mut context).map_err(damaged)?;
    let component = decoded.components().first();
    let samples = component
        .map(|c| c.samples())
        .filter(|samples| samples.len() == rows * columns)
        .ok_or("expected one sample for each pixel, found another number")?;
    // The decoder shifts signed samples as if they were not.
    let middle = if size.signed {
        1 << (size.precision - 1)
    } else {
        0
    };
    Ok(samples.iter().map(|v| v.round() as i32 - middle).collect())
}
