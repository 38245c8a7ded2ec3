//! The samples of one frame: native or compressed, of 1 to 32 bits or float.
//!
//! Source: DICOM PS3.5, clause 8 and annex A.4. Overlays in unused bits are cut off; colours are
//! refused.

use super::{
    element::{DataSet, Element, Told},
    jpeg, jpeg2000, jpegls, rle,
    tags::{self, syntax},
};

/// Most pixels that some bytes of compressed frames are taken to hold: where nothing changes, some
/// codes take no bits, so that a size in the header needs another bound.
const PIXELS_PER_BYTE: usize = 4096;
/// So many pixels are always taken.
const SMALL: usize = 1 << 16;

/// How samples are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Layout {
    pub(super) rows: usize,
    pub(super) columns: usize,
    /// Bits of a sample in the file, of which some are used, up to the highest.
    pub(super) allocated: u32,
    pub(super) stored: u32,
    pub(super) high: u32,
    pub(super) signed: bool,
    pub(super) float: bool,
    pub(super) frames: usize,
}

impl Layout {
    pub(super) fn of(set: &DataSet<'_>) -> Told<Self> {
        let need = |tag: u32, what: &str| {
            set.short(tag)
                .ok_or_else(|| format!("expected {what} {}, found none", super::element::name(tag)))
        };
        let [rows, columns] = [(tags::ROWS, "rows"), (tags::COLUMNS, "columns")]
            .map(|(tag, what)| need(tag, what).map(usize::from));
        let (rows, columns) = (rows?, columns?);
        if rows == 0 || columns == 0 {
            return Err(format!("expected pixels, found {columns}×{rows} of them"));
        }
        let samples = set.short(tags::SAMPLES_PER_PIXEL).unwrap_or(1);
        let colours = set
            .text(tags::PHOTOMETRIC_INTERPRETATION)
            .unwrap_or_default();
        if samples != 1 || colours.starts_with("PALETTE") {
            return Err(format!(
                "expected one grey value for each pixel, found colours ({samples} samples, \
                 {colours}); convert it to grey first"
            ));
        }
        let float = set.get(tags::FLOAT_PIXEL_DATA).is_some()
            || set.get(tags::DOUBLE_FLOAT_PIXEL_DATA).is_some();
        let allocated = u32::from(need(tags::BITS_ALLOCATED, "bits allocated")?);
        let stored = set.short(tags::BITS_STORED).map_or(allocated, u32::from);
        let high = set
            .short(tags::HIGH_BIT)
            .map_or(stored.wrapping_sub(1), u32::from);
        if float {
            if !matches!(allocated, 32 | 64) {
                return Err(format!(
                    "expected floats of 32 or 64 bits, found {allocated}"
                ));
            }
        } else if !matches!(allocated, 1 | 8 | 16 | 32)
            || !(1..=allocated).contains(&stored)
            || !(stored..=allocated).contains(&high.wrapping_add(1))
        {
            return Err(format!(
                "expected samples of 1, 8, 16 or 32 bits, found {allocated} bits of which {stored} \
                 up to bit {high} are used"
            ));
        }
        let frames = match set.text(tags::NUMBER_OF_FRAMES) {
            None => 1,
            Some(text) => text
                .parse()
                .ok()
                .filter(|&n| n > 0)
                .ok_or_else(|| format!("expected a number of frames, found \"{text}\""))?,
        };
        Ok(Self {
            rows,
            columns,
            allocated,
            stored,
            high,
            signed: set.short(tags::PIXEL_REPRESENTATION) == Some(1),
            float,
            frames,
        })
    }

    pub(super) fn pixels(&self) -> usize {
        self.rows * self.columns
    }

    /// The number that a sample's bits stand for.
    fn value(&self, bits: u32) -> f64 {
        let used = bits >> (self.high + 1 - self.stored);
        let shift = 32 - self.stored;
        if self.signed {
            f64::from(((used << shift) as i32) >> shift)
        } else {
            f64::from(used << shift >> shift)
        }
    }
}

/// The frames of a file.
pub(super) struct Frames<'a> {
    layout: Layout,
    element: Element<'a>,
    /// The bytes of each frame that is compressed.
    packed: Option<Vec<Vec<&'a [u8]>>>,
    syntax: &'a str,
}

impl<'a> Frames<'a> {
    /// Checks that the file holds what it promises.
    pub(super) fn of(set: &DataSet<'a>, syntax: &'a str) -> Told<Self> {
        let layout = Layout::of(set)?;
        let tags = [
            tags::PIXEL_DATA,
            tags::FLOAT_PIXEL_DATA,
            tags::DOUBLE_FLOAT_PIXEL_DATA,
        ];
        let Some(&element) = tags.iter().find_map(|&tag| set.get(tag)) else {
            return Err("expected pixels, found none in this DICOM object".into());
        };
        let pixels = layout.frames.saturating_mul(layout.pixels());
        let mut packed = None;
        if element.undefined {
            let fragments = fragments(set, &element, layout.frames)?;
            let bytes: usize = element.value.len();
            if pixels > SMALL.max(bytes.saturating_mul(PIXELS_PER_BYTE)) {
                return Err(format!(
                    "expected {} frames of {}×{} pixels, found {bytes} bytes, which cannot hold \
                     them; the file is damaged",
                    layout.frames, layout.columns, layout.rows
                ));
            }
            packed = Some(fragments);
        } else {
            let bits = pixels.saturating_mul(layout.allocated as usize);
            if bits.div_ceil(8) > element.value.len() {
                return Err(format!(
                    "expected {} bytes of pixels, found {}; the file is truncated or its header \
                     is wrong, so fetch it again",
                    bits.div_ceil(8),
                    element.value.len()
                ));
            }
        }
        Ok(Self {
            layout,
            element,
            packed,
            syntax,
        })
    }

    pub(super) fn layout(&self) -> &Layout {
        &self.layout
    }

    /// Bytes that the frames take in the file.
    pub(super) fn bytes(&self) -> usize {
        self.element.value.len()
    }

    /// The stored values of a frame, row by row.
    pub(super) fn values(&self, frame: usize) -> Told<Vec<f64>> {
        let values = match &self.packed {
            Some(packed) => self.unpacked(packed.get(frame).map_or(&[][..], Vec::as_slice))?,
            None => self.native(frame),
        };
        if values.len() == self.layout.pixels() {
            return Ok(values);
        }
        Err(format!(
            "expected {} pixels in a frame, found {}",
            self.layout.pixels(),
            values.len()
        ))
    }

    fn unpacked(&self, fragments: &[&[u8]]) -> Told<Vec<f64>> {
        let layout = &self.layout;
        let joined;
        let bytes = match fragments {
            [one] => *one,
            several => {
                joined = several.concat();
                &joined
            }
        };
        let (rows, columns) = (layout.rows, layout.columns);
        let width = layout.allocated as usize / 8;
        let by_bits = |samples: Vec<u16>| {
            let values = samples.into_iter().map(|v| layout.value(u32::from(v)));
            values.collect()
        };
        let words = |bytes: Vec<u8>| -> Vec<f64> {
            let words = bytes.chunks_exact(width.max(1));
            words.map(|w| layout.value(little(w))).collect()
        };
        match self.syntax {
            syntax::RLE => rle::decode(bytes, layout.pixels(), width).map(words),
            syntax::JPEG_BASELINE
            | syntax::JPEG_EXTENDED
            | syntax::JPEG_LOSSLESS
            | syntax::JPEG_LOSSLESS_FIRST => jpeg::decode(bytes, rows, columns).map(by_bits),
            syntax::JPEG_LS | syntax::JPEG_LS_NEAR => {
                jpegls::decode(bytes, rows, columns).map(by_bits)
            }
            syntax::JPEG_2000_LOSSLESS | syntax::JPEG_2000 => {
                let samples = jpeg2000::decode(bytes, rows, columns)?;
                Ok(samples
                    .into_iter()
                    .map(|v| layout.value(v as u32))
                    .collect())
            }
            other => Err(format!(
                "expected pixels as they are, or compressed by RLE, JPEG (baseline, extended, \
                 lossless), JPEG-LS or JPEG 2000, found the transfer syntax \"{other}\"; \
                 decompress it first (gdcmconv --raw)"
            )),
        }
    }

    fn native(&self, frame: usize) -> Vec<f64> {
        let layout = &self.layout;
        let pixels = layout.pixels();
        let value = self.element.value;
        let encoding = self.element.encoding();
        let bytes = layout.allocated as usize / 8;
        let own = || {
            value[frame * pixels * bytes..]
                .chunks_exact(bytes.max(1))
                .take(pixels)
        };
        if layout.float {
            let eight = |b: &[u8]| f64::from_le_bytes(ordered(b, encoding.big));
            let four = |b: &[u8]| f64::from(f32::from_le_bytes(ordered(b, encoding.big)));
            return own()
                .map(|b| if bytes == 8 { eight(b) } else { four(b) })
                .collect();
        }
        match layout.allocated {
            // Frames follow each other without padding, the lowest bit first.
            1 => (frame * pixels..(frame + 1) * pixels)
                .map(|i| layout.value(u32::from(value[i / 8] >> (i % 8) & 1)))
                .collect(),
            // Words of two bytes, swapped.
            8 if encoding.big && self.element.vr == *b"OW" => (frame * pixels..)
                .take(pixels)
                .map(|i| layout.value(u32::from(value.get(i ^ 1).copied().unwrap_or(0))))
                .collect(),
            _ => own()
                .map(|b| layout.value(u32::from_le_bytes(ordered(b, encoding.big))))
                .collect(),
        }
    }
}

/// Bytes in little-endian order, with zeros above.
fn ordered<const N: usize>(bytes: &[u8], big: bool) -> [u8; N] {
    let mut array = [0; N];
    let n = bytes.len().min(N);
    array[..n].copy_from_slice(&bytes[..n]);
    if big {
        array[..n].reverse();
    }
    array
}

fn little(bytes: &[u8]) -> u32 {
    u32::from_le_bytes(ordered(bytes, false))
}

/// The fragments of each frame.
fn fragments<'a>(
    set: &DataSet<'a>,
    element: &Element<'a>,
    frames: usize,
) -> Told<Vec<Vec<&'a [u8]>>> {
    let items = element.items()?;
    let Some((table, fragments)) = items.split_first() else {
        return Err("expected compressed frames, found none; the file is truncated".into());
    };
    if frames == 1 {
        return Ok(vec![fragments.to_vec()]);
    }
    if fragments.len() == frames {
        return Ok(fragments.iter().map(|&one| vec![one]).collect());
    }
    let mut starts: Vec<u64> = set
        .very_longs(tags::EXTENDED_OFFSET_TABLE)
        .unwrap_or_default();
    if starts.is_empty() {
        let fours = table.as_chunks().0.iter();
        starts = fours.map(|&b| u64::from(u32::from_le_bytes(b))).collect();
    }
    if starts.len() != frames {
        return Err(format!(
            "expected {frames} compressed frames, found {} pieces and places of {}; the file is \
             damaged",
            fragments.len(),
            starts.len()
        ));
    }
    // A place counts from the first piece's item, which takes eight bytes before the piece.
    let mut found = vec![Vec::new(); frames];
    let mut place = 0u64;
    for &fragment in fragments {
        let frame = starts.partition_point(|&start| start <= place);
        if let Some(pieces) = frame.checked_sub(1).and_then(|i| found.get_mut(i)) {
            pieces.push(fragment);
        }
        place += fragment.len() as u64 + 8;
    }
    Ok(found)
}
