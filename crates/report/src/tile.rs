//! One slice as colours, with its labels laid over.
//!
//! A [`Tile`] shows x to the right and y down as stored: pass volumes in LPS order for the
//! radiological view (the patient's right on the left, anterior on top). Labels are coloured by
//! the eight-colour palette of Okabe and Ito ("Color Universal Design", 2008), which readers with
//! any common colour-vision deficiency can tell apart; its black is left out.

use crossmod_volume::{Image, Labels};

use crate::{Error, Result};

/// Colours of labels 1, 2, …; label 8 begins anew.
pub const PALETTE: [[u8; 3]; 7] = [
    [230, 159, 0],
    [86, 180, 233],
    [0, 158, 115],
    [240, 228, 66],
    [213, 94, 0],
    [204, 121, 167],
    [0, 114, 178],
];

/// Colour of a label; background has none.
#[must_use]
pub fn colour(label: u16) -> Option<[u8; 3]> {
    label
        .checked_sub(1)
        .map(|i| PALETTE[usize::from(i) % PALETTE.len()])
}

/// One slice as colours.
#[derive(Debug, Clone, PartialEq)]
pub struct Tile {
    /// Pixels along x.
    pub width: usize,
    /// Pixels along y.
    pub height: usize,
    /// Colours, x fastest, from the top left.
    pub pixels: Vec<[u8; 3]>,
    /// Width of a pixel over its height in the patient.
    pub aspect: f64,
    /// Letters of the patient's sides at the left, right, top and bottom, where known.
    pub sides: Option<[char; 4]>,
    /// Height of a pixel in the patient, where known: a sheet then has a scale bar.
    pub pixel_mm: Option<f64>,
}

impl Tile {
    /// Slice `z` in grey, black at `window.0` and white at `window.1`; samples that are not
    /// numbers are black.
    ///
    /// # Errors
    /// [`Error::Picture`] where there is no such slice.
    pub fn from_slice(image: &Image, z: usize, window: (f32, f32)) -> Result<Self> {
        let [width, height, depth] = image.grid().shape();
        expect_slice(z, depth)?;
        let span = (window.1 - window.0).max(f32::MIN_POSITIVE);
        let grey = |v: &f32| [(((v - window.0) / span).clamp(0.0, 1.0) * 255.0).round() as u8; 3];
        let pixels = image.slice_z(z).iter().map(grey).collect();
        let [dx, dy, _] = image.grid().spacing_mm();
        Ok(Self {
            width,
            height,
            pixels,
            aspect: dx / dy,
            sides: None,
            pixel_mm: None,
        })
    }

    /// The tile with letters of its sides (left, right, top, bottom) and the height of its pixels, for a
    /// sheet to show.
    #[must_use]
    pub fn placed(mut self, sides: [char; 4], pixel_mm: f64) -> Self {
        self.sides = Some(sides);
        self.pixel_mm = Some(pixel_mm);
        self
    }

    /// Tints the labelled pixels of slice `z` with a share `alpha` of their colour, and the edge
    /// of each label with twice that.
    ///
    /// # Errors
    /// [`Error::Picture`] where the slice is missing or not of this tile's size.
    pub fn overlay(mut self, labels: &Labels, z: usize, alpha: f32) -> Result<Self> {
        let [width, height, depth] = labels.grid().shape();
        expect_slice(z, depth)?;
        if (width, height) != (self.width, self.height) {
            return Err(Error::Picture(format!(
                "expected labels of {} x {} pixels as the image, found {width} x {height}; \
                 resample the labels to the image",
                self.width, self.height
            )));
        }
        let slice = labels.slice_z(z);
        for (i, (&label, pixel)) in slice.iter().zip(&mut self.pixels).enumerate() {
            let Some(colour) = colour(label) else {
                continue;
            };
            let (x, y) = (i % width, i / width);
            let inside = x > 0
                && y > 0
                && x + 1 < width
                && y + 1 < height
                && [i - 1, i + 1, i - width, i + width]
                    .iter()
                    .all(|&j| slice[j] == label);
            let share = if inside { alpha } else { 2.0 * alpha }.clamp(0.0, 1.0);
            *pixel = [0, 1, 2].map(|c| {
                let (grey, tint) = (f32::from(pixel[c]), f32::from(colour[c]));
                (grey + (tint - grey) * share).round() as u8
            });
        }
        Ok(self)
    }

    /// Width when shown `height` pixels high.
    pub(crate) fn shown_width(&self, height: usize) -> usize {
        let width = self.width as f64 * self.aspect * height as f64 / self.height as f64;
        (width.round() as usize).max(1)
    }

    /// Resampled to `width` x `height` by a triangle filter as wide as the coarser of the grids:
    /// bilinear when enlarging, averaging when reducing.
    pub(crate) fn resized(&self, width: usize, height: usize) -> Vec<[u8; 3]> {
        let columns = weights(self.width, width);
        let rows = weights(self.height, height);
        let mut wide = vec![[0.0f32; 3]; width * self.height];
        for (line, source) in wide.chunks_mut(width).zip(self.pixels.chunks(self.width)) {
            for (out, taps) in line.iter_mut().zip(&columns) {
                for &(x, w) in taps {
                    for c in 0..3 {
                        out[c] += w * f32::from(source[x][c]);
                    }
                }
            }
        }
        let mut pixels = Vec::with_capacity(width * height);
        for taps in &rows {
            for x in 0..width {
                let mut sum = [0.0f32; 3];
                for &(y, w) in taps {
                    for c in 0..3 {
                        sum[c] += w * wide[y * width + x][c];
                    }
                }
                pixels.push(sum.map(|v| v.round() as u8));
            }
        }
        pixels
    }
}

fn expect_slice(z: usize, depth: usize) -> Result<()> {
    if z < depth {
        return Ok(());
    }
    Err(Error::Picture(format!(
        "expected a slice below {depth}, found slice {z}"
    )))
}

/// For each of `to` pixels the sources among `from` and their shares, which sum to 1.
fn weights(from: usize, to: usize) -> Vec<Vec<(usize, f32)>> {
    let step = from as f64 / to as f64;
    let reach = step.max(1.0);
    (0..to)
        .map(|i| {
            let centre = (i as f64 + 0.5) * step - 0.5;
            let first = (centre - reach).ceil().max(0.0) as usize;
            let last = ((centre + reach).floor().max(0.0) as usize).min(from - 1);
            let share = |s: usize| (1.0 - (s as f64 - centre).abs() / reach).max(0.0);
            let total: f64 = (first..=last).map(share).sum();
            (first..=last)
                .map(|s| (s, (share(s) / total) as f32))
                .collect()
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crossmod_volume::Grid;

    fn image() -> Image {
        let grid = Grid::with_spacing([40, 20, 3], [1.0, 2.0, 5.0]).expect("a grid");
        let data = (0..grid.len()).map(|i| (i % 40) as f32).collect();
        Image::new(grid, data).expect("an image")
    }

    fn labels(image: &Image) -> Labels {
        let inside = |i: usize| (10..20).contains(&(i % 40)) && (5..15).contains(&(i / 40 % 20));
        let data = (0..image.grid().len())
            .map(|i| u16::from(inside(i)) * 2)
            .collect();
        Labels::new(image.grid().clone(), data).expect("labels")
    }

    #[test]
    fn a_window_maps_to_black_and_white() {
        let tile = Tile::from_slice(&image(), 1, (10.0, 30.0)).expect("a slice");
        assert_eq!((tile.width, tile.height, tile.aspect), (40, 20, 0.5));
        assert_eq!(tile.pixels[5], [0; 3]);
        assert_eq!(tile.pixels[20], [128; 3]);
        assert_eq!(tile.pixels[35], [255; 3]);
        assert!(Tile::from_slice(&image(), 3, (0.0, 1.0)).is_err());
    }

    #[test]
    fn labels_are_tinted_and_their_edges_more() {
        let image = image();
        let grey = Tile::from_slice(&image, 0, (0.0, 40.0)).expect("a slice");
        let tile = grey
            .clone()
            .overlay(&labels(&image), 0, 0.5)
            .expect("an overlay");
        let at = |x: usize, y: usize| tile.pixels[x + 40 * y];
        assert_eq!(at(10, 10), PALETTE[1]);
        assert_eq!(at(30, 10), grey.pixels[30 + 400]);
        let (plain, tinted) = (grey.pixels[15 + 400], at(15, 10));
        for c in 0..3 {
            let half = (f32::from(plain[c]) + f32::from(PALETTE[1][c])) / 2.0;
            assert!((f32::from(tinted[c]) - half).abs() <= 1.0);
        }
    }

    #[test]
    fn an_overlay_of_another_size_is_refused() {
        let other = Grid::with_spacing([20, 40, 3], [1.0; 3]).expect("a grid");
        let labels = Labels::new(other.clone(), vec![0; other.len()]).expect("labels");
        let tile = Tile::from_slice(&image(), 0, (0.0, 1.0)).expect("a slice");
        let message = tile
            .overlay(&labels, 0, 0.5)
            .expect_err("unequal")
            .to_string();
        assert!(
            message.contains("40 x 20") && message.contains("20 x 40"),
            "{message}"
        );
    }

    #[test]
    fn resizing_keeps_constants_and_means() {
        let flat = Tile {
            width: 7,
            height: 5,
            pixels: vec![[90; 3]; 35],
            aspect: 1.0,
            sides: None,
            pixel_mm: None,
        };
        assert!(flat.resized(23, 3).iter().all(|p| *p == [90; 3]));
        let tile = Tile::from_slice(&image(), 0, (0.0, 40.0)).expect("a slice");
        let mean = |pixels: &[[u8; 3]]| {
            pixels.iter().map(|p| f64::from(p[0])).sum::<f64>() / pixels.len() as f64
        };
        let reduced = tile.resized(13, 10);
        assert!((mean(&reduced) - mean(&tile.pixels)).abs() < 2.0);
    }
}
