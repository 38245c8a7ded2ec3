//! Contact sheets: slices with label overlays in a captioned grid, as a PNG.
//!
//! [Tiles](Tile) are scaled to a common height with the aspect of their voxels; captions are in a
//! small built-in font.

use std::path::Path;

use crossmod_volume::io::write_atomic;

use crate::canvas::{CHARACTER, Canvas, INK, TEXT_HEIGHT};
use crate::tile::{Tile, colour};
use crate::{Error, Result};

/// Height of a tile on the sheet where none is asked for, pixels.
const TILE_HEIGHT: usize = 160;
/// Greatest share of a tile's width that a scale bar takes.
const BAR: f64 = 1.0 / 3.0;
/// Room between tiles and about the sheet, pixels.
const GAP: usize = 6;
/// Longest caption of a row, characters.
const LONGEST_CAPTION: usize = 24;

/// A captioned grid of tiles.
#[derive(Debug, Clone)]
pub struct Sheet {
    columns: Vec<String>,
    rows: Vec<(String, Vec<Tile>)>,
    legend: Vec<(u16, String)>,
    tile_height: usize,
}

impl Sheet {
    /// An empty sheet with one caption per column.
    #[must_use]
    pub fn new(columns: &[&str]) -> Self {
        Self {
            columns: columns.iter().map(ToString::to_string).collect(),
            rows: Vec::new(),
            legend: Vec::new(),
            tile_height: TILE_HEIGHT,
        }
    }

    /// The sheet with tiles so many pixels high.
    #[must_use]
    pub fn tile_height(mut self, pixels: usize) -> Self {
        self.tile_height = pixels.max(1);
        self
    }

    /// Adds a row; it may hold fewer tiles than there are columns.
    #[must_use]
    pub fn row(mut self, caption: &str, tiles: Vec<Tile>) -> Self {
        self.rows.push((caption.to_owned(), tiles));
        self
    }

    /// Adds a legend of colours below the rows.
    #[must_use]
    pub fn legend(mut self, labels: &[(u16, &str)]) -> Self {
        let named = labels.iter().filter(|(label, _)| *label > 0);
        self.legend = named
            .map(|&(label, name)| (label, name.to_owned()))
            .collect();
        self
    }

    /// The sheet as a PNG file's bytes, 8-bit RGB.
    ///
    /// # Errors
    /// [`Error::Picture`] where a row has more tiles than there are columns, a tile's pixels are
    /// not its size, or the sheet is too large.
    pub fn png(&self) -> Result<Vec<u8>> {
        self.compose()?.png()
    }

    /// Writes the sheet as a PNG.
    ///
    /// # Errors
    /// As [`Sheet::png`], and [`Error::Volume`] where the file cannot be written.
    pub fn write_png(&self, path: &Path) -> Result<()> {
        let bytes = self.png()?;
        Ok(write_atomic(path, |file| file.write_all(&bytes))?)
    }

    fn compose(&self) -> Result<Canvas> {
        self.check()?;
        let tall = self.tile_height;
        let longest = self
            .rows
            .iter()
            .map(|(caption, _)| caption.chars().count())
            .max();
        let left = match longest.unwrap_or(0).min(LONGEST_CAPTION) {
            0 => GAP,
            characters => characters * CHARACTER + 2 * GAP,
        };
        let widths: Vec<usize> = (0..self.columns.len())
            .map(|column| {
                let tiles = self.rows.iter().filter_map(|(_, tiles)| tiles.get(column));
                tiles
                    .map(|tile| tile.shown_width(tall))
                    .max()
                    .unwrap_or(tall)
            })
            .collect();
        let head = if self.columns.iter().all(String::is_empty) {
            0
        } else {
            TEXT_HEIGHT + GAP
        };
        let foot = if self.legend.is_empty() {
            0
        } else {
            TEXT_HEIGHT + 2 * GAP
        };
        let (swatches, legend_width) = self.place_legend();
        let tiles_width = left + widths.iter().map(|w| w + GAP).sum::<usize>();
        let width = tiles_width.max(legend_width);
        let height = GAP + head + self.rows.len() * (tall + GAP) + foot;
        let mut canvas = Canvas::new(width, height)?;

        let mut x = left;
        for (caption, width) in self.columns.iter().zip(&widths) {
            let text = fit(caption, width / CHARACTER);
            let indent = (width - text.chars().count() * CHARACTER) / 2;
            canvas.text(x + indent, GAP, &text);
            x += width + GAP;
        }
        for (row, (caption, tiles)) in self.rows.iter().enumerate() {
            let y = GAP + head + row * (tall + GAP);
            let text = fit(caption, LONGEST_CAPTION);
            canvas.text(GAP, y + (tall - TEXT_HEIGHT) / 2, &text);
            let mut x = left;
            for (tile, column) in tiles.iter().zip(&widths) {
                let shown = tile.shown_width(tall);
                let pixels = tile.resized(shown, tall);
                let left = x + (column - shown) / 2;
                canvas.paste(left, y, shown, &pixels);
                mark(&mut canvas, tile, [left, y], [shown, tall]);
                x += column + GAP;
            }
        }
        for (x, label, name) in swatches {
            let y = height - TEXT_HEIGHT - GAP;
            let swatch = vec![colour(label).unwrap_or(INK); TEXT_HEIGHT * TEXT_HEIGHT];
            canvas.paste(x, y, TEXT_HEIGHT, &swatch);
            canvas.text(x + TEXT_HEIGHT + GAP, y, name);
        }
        Ok(canvas)
    }

    /// Where each entry of the legend begins, and where the last ends.
    fn place_legend(&self) -> (Vec<(usize, u16, &str)>, usize) {
        let mut x = GAP;
        let mut placed = Vec::new();
        for (label, name) in &self.legend {
            placed.push((x, *label, name.as_str()));
            x += TEXT_HEIGHT + GAP + name.chars().count() * CHARACTER + 2 * GAP;
        }
        (placed, x)
    }

    fn check(&self) -> Result<()> {
        for (caption, tiles) in &self.rows {
            if tiles.len() > self.columns.len() {
                return Err(Error::Picture(format!(
                    "expected at most {} tiles in row \"{caption}\", one per column, found {}",
                    self.columns.len(),
                    tiles.len()
                )));
            }
            for tile in tiles {
                let pixels = tile.width.checked_mul(tile.height);
                let sized = pixels == Some(tile.pixels.len()) && !tile.pixels.is_empty();
                let shaped = tile.aspect.is_finite() && (0.01..=100.0).contains(&tile.aspect);
                if !sized || !shaped {
                    return Err(Error::Picture(format!(
                        "expected {} x {} pixels of an aspect between 0.01 and 100 in row \
                         \"{caption}\", found {} of {}",
                        tile.width,
                        tile.height,
                        tile.pixels.len(),
                        tile.aspect
                    )));
                }
            }
        }
        Ok(())
    }
}

/// A caption of at most `most` characters; what is cut off leaves two dots.
fn fit(caption: &str, most: usize) -> String {
    if caption.chars().count() <= most {
        return caption.to_owned();
    }
    let kept: String = caption.chars().take(most.saturating_sub(2)).collect();
    kept + &".."[..most.min(2)]
}

/// The longest round length of at most `most_mm`, and how it is written.
fn bar(most_mm: f64) -> Option<(f64, String)> {
    let round = [500, 200, 100, 50, 20, 10, 5, 2, 1];
    let mm = round.into_iter().find(|&mm| f64::from(mm) <= most_mm)?;
    let text = if mm % 10 == 0 {
        format!("{} cm", mm / 10)
    } else {
        format!("{mm} mm")
    };
    Some((f64::from(mm), text))
}

/// Letters of the sides and a scale bar, over a tile shown with its corner at `[left, top]`.
fn mark(canvas: &mut Canvas, tile: &Tile, [left, top]: [usize; 2], [width, height]: [usize; 2]) {
    let margin = 3;
    if width < 8 * CHARACTER || height < 6 * TEXT_HEIGHT {
        return;
    }
    if let Some(sides) = tile.sides {
        let middle = [
            left + (width - CHARACTER) / 2,
            top + (height - TEXT_HEIGHT) / 2,
        ];
        let [right, bottom] = [
            left + width - CHARACTER - margin + 1,
            top + height - TEXT_HEIGHT - margin,
        ];
        let places = [
            [left + margin, middle[1]],
            [right, middle[1]],
            [middle[0], top + margin],
            [middle[0], bottom],
        ];
        for (side, [x, y]) in sides.into_iter().zip(places) {
            canvas.text(x, y, &side.to_string());
        }
    }
    let step_mm = tile
        .pixel_mm
        .map(|mm| mm * tile.height as f64 / height as f64);
    if let Some((length_mm, text)) = step_mm.and_then(|mm| bar(BAR * width as f64 * mm)) {
        let long = (length_mm / step_mm.unwrap_or(1.0)).round().max(1.0) as usize;
        let y = top + height - margin - 2;
        let right = left + width - margin;
        canvas.fill(right - long, y, [long, 2], INK);
        let wide = text.chars().count() * CHARACTER;
        canvas.text(
            right - wide.min(width - margin),
            y - TEXT_HEIGHT - margin,
            &text,
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::canvas::PAPER;
    use crate::tile::PALETTE;
    use crossmod_volume::{Grid, Image};

    fn image() -> Image {
        let grid = Grid::with_spacing([40, 20, 3], [1.0, 2.0, 5.0]).expect("a grid");
        let data = (0..grid.len()).map(|i| (i % 40) as f32).collect();
        Image::new(grid, data).expect("an image")
    }

    fn decode(bytes: &[u8]) -> (u32, u32, Vec<u8>) {
        let mut reader = png::Decoder::new(std::io::Cursor::new(bytes))
            .read_info()
            .expect("a PNG header");
        let mut data = vec![0; reader.output_buffer_size().expect("a size")];
        let info = reader.next_frame(&mut data).expect("an image");
        assert_eq!(info.color_type, png::ColorType::Rgb);
        (info.width, info.height, data)
    }

    #[test]
    fn a_sheet_decodes_to_its_tiles_and_captions() {
        let tile = Tile::from_slice(&image(), 0, (-200.0, -100.0)).expect("a slice");
        let sheet = Sheet::new(&["truth", "ours"])
            .row("case 1", vec![tile.clone(), tile.clone()])
            .row("two", vec![tile])
            .legend(&[(0, "background"), (1, "liver")]);
        let (width, height, data) = decode(&sheet.png().expect("a sheet"));
        // 40 x 20 pixels of aspect 1/2 are square; captions of 6 characters.
        let left = 6 * CHARACTER + 2 * GAP;
        assert_eq!(width as usize, left + 2 * (TILE_HEIGHT + GAP));
        let head = GAP + TEXT_HEIGHT + GAP;
        let rows = 2 * (TILE_HEIGHT + GAP);
        assert_eq!(height as usize, head + rows + TEXT_HEIGHT + 2 * GAP);
        let at = |x: usize, y: usize| &data[3 * (y * width as usize + x)..][..3];
        assert_eq!(at(left + 80, head + 80), [255; 3], "the tile is white");
        assert_eq!(
            at(left + TILE_HEIGHT + GAP + 80, head + TILE_HEIGHT + GAP + 80),
            PAPER
        );
        let written = (0..left).any(|x| (head..head + 160).any(|y| at(x, y) == INK));
        assert!(written, "the row has a caption");
        assert_eq!(
            at(GAP + 2, height as usize - GAP - 3),
            PALETTE[0],
            "the legend's swatch"
        );
    }

    /// A tile of 20 x 20 cm has letters at its sides and a bar of 5 cm.
    #[test]
    fn sides_and_scale_are_marked() {
        let plain = Tile::from_slice(&image(), 0, (1e3, 2e3)).expect("a slice");
        let tile = plain.clone().placed(['R', 'L', 'A', 'P'], 10.0);
        let sheet = |tile| Sheet::new(&[""]).row("", vec![tile]).png();
        let (width, _, bare) = decode(&sheet(plain).expect("a sheet"));
        let (_, _, data) = decode(&sheet(tile).expect("a sheet"));
        assert!(!bare.chunks(3).any(|p| p == INK));
        let inked = |x: usize, y: usize| data[3 * (y * width as usize + x)..][..3] == INK;
        let run = |y: usize| (100..width as usize).filter(|&x| inked(x, y)).count();
        // 160 pixels show 200 mm: 50 mm are 40 pixels, three above the tile's lower side.
        assert_eq!(run(GAP + 160 - 4), 40);
        let any = |xs: std::ops::Range<usize>, ys: std::ops::Range<usize>| {
            xs.into_iter()
                .any(|x| ys.clone().any(|y| inked(GAP + x, GAP + y)))
        };
        assert!(
            any(3..15, 73..87) && any(145..158, 73..87),
            "left and right"
        );
        assert!(
            any(74..86, 3..17) && any(74..86, 143..157),
            "top and bottom"
        );
    }

    #[test]
    fn bars_are_round() {
        assert_eq!(bar(66.0), Some((50.0, "5 cm".into())));
        assert_eq!(bar(7.0), Some((5.0, "5 mm".into())));
        assert_eq!(bar(0.3), None);
    }

    #[test]
    fn captions_are_cut_to_fit() {
        assert_eq!(fit("target-supervised", 8), "target..");
        assert_eq!(fit("ours", 4), "ours");
        assert_eq!(fit("ours", 1), ".");
    }

    #[test]
    fn malformed_sheets_are_refused() {
        let tile = Tile {
            width: 2,
            height: 2,
            pixels: vec![[0; 3]; 4],
            aspect: 1.0,
            sides: None,
            pixel_mm: None,
        };
        let crowded = Sheet::new(&["one"]).row("r", vec![tile.clone(), tile.clone()]);
        assert!(crowded.png().is_err());
        let short = Tile {
            pixels: vec![[0; 3]; 3],
            ..tile.clone()
        };
        assert!(Sheet::new(&["one"]).row("r", vec![short]).png().is_err());
        let thin = Tile {
            aspect: f64::NAN,
            ..tile
        };
        assert!(Sheet::new(&["one"]).row("r", vec![thin]).png().is_err());
    }
}
