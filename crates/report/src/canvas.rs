//! Pixels to paint on.

use crate::{Error, Result, font};

/// Screen pixels per pixel of the font.
const TEXT_SCALE: usize = 2;
/// Height of a line of text, pixels.
pub(crate) const TEXT_HEIGHT: usize = font::HEIGHT * TEXT_SCALE;
/// From one character to the next, pixels.
pub(crate) const CHARACTER: usize = font::ADVANCE * TEXT_SCALE;
/// Largest picture, pixels.
const LARGEST: usize = 1 << 28;
/// Of text.
pub(crate) const INK: [u8; 3] = [230, 230, 230];
/// Of what nothing is painted on.
pub(crate) const PAPER: [u8; 3] = [16, 16, 16];

/// A picture, 8-bit RGB, from the top left.
pub(crate) struct Canvas {
    width: usize,
    height: usize,
    pixels: Vec<[u8; 3]>,
}

impl Canvas {
    pub(crate) fn new(width: usize, height: usize) -> Result<Self> {
        match width.checked_mul(height) {
            Some(n) if n <= LARGEST => Ok(Self {
                width,
                height,
                pixels: vec![PAPER; n],
            }),
            _ => Err(Error::Picture(format!(
                "expected a picture of at most {LARGEST} pixels, found {width} x {height}; show less"
            ))),
        }
    }

    /// Text from its top left corner; what does not fit is left out.
    pub(crate) fn text(&mut self, left: usize, top: usize, text: &str) {
        font::ink(text, |x, y| {
            let (x, y) = (left + x * TEXT_SCALE, top + y * TEXT_SCALE);
            self.fill(x, y, [TEXT_SCALE; 2], INK);
        });
    }

    /// A rectangle of one colour; what does not fit is left out.
    pub(crate) fn fill(&mut self, left: usize, top: usize, size: [usize; 2], colour: [u8; 3]) {
        let [width, height] = size;
        let right = (left + width).min(self.width);
        for y in top..(top + height).min(self.height) {
            if left < right {
                self.pixels[y * self.width + left..y * self.width + right].fill(colour);
            }
        }
    }

    pub(crate) fn paste(&mut self, left: usize, top: usize, width: usize, pixels: &[[u8; 3]]) {
        for (y, line) in pixels.chunks(width).enumerate() {
            let start = (top + y) * self.width + left;
            self.pixels[start..start + width].copy_from_slice(line);
        }
    }

    /// The picture as a PNG file's bytes.
    pub(crate) fn png(&self) -> Result<Vec<u8>> {
        let size = |n: usize| {
            u32::try_from(n).map_err(|_| Error::Picture(format!("a picture {n} pixels wide")))
        };
        let mut bytes = Vec::new();
        let mut encoder = png::Encoder::new(&mut bytes, size(self.width)?, size(self.height)?);
        encoder.set_color(png::ColorType::Rgb);
        encoder.set_depth(png::BitDepth::Eight);
        let mut writer = encoder.write_header()?;
        writer.write_image_data(self.pixels.as_flattened())?;
        writer.finish()?;
        Ok(bytes)
    }
}
