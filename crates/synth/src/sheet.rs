//! A sheet of slices of synthetic images, to be looked at.
//!
//! One image of a case after the other, as radiologists see them: the patient's right at the left, the
//! front at the top in axial slices, the head in the others. Of four rows two are axial, one coronal
//! and one sagittal; each slice is the one with most to be learnt. CT is shown between −160 and 240 HU,
//! other images between the 0.5th and the 99.5th percentile of the slice.

use std::path::Path;

use crossmod_volume::io::write_atomic;
use crossmod_volume::space::{Orientation, reorient_image, reorient_labels};

use crate::offline::is_ct;
use crate::{Error, Generator, LabelSource, Made, Progress, Result};
use slice::{Plane, Slice};

mod slice;

/// Window of CT, HU: soft tissue.
const CT_WINDOW: [f32; 2] = [-160.0, 240.0];

/// Pixels between slices.
const GAP: usize = 2;

/// Largest sheet, pixels.
const MOST_PIXELS: usize = 1 << 28;

/// How a sheet is laid out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SheetOptions {
    /// Slices, each of an image of its own.
    pub slices: usize,
    /// Slices side by side.
    pub columns: usize,
    /// Side of a slice, pixels.
    pub side: usize,
    /// Draw the outlines of what is to be learnt.
    pub contours: bool,
}

impl Default for SheetOptions {
    fn default() -> Self {
        Self {
            slices: 24,
            columns: 6,
            side: 256,
            contours: false,
        }
    }
}

/// Makes images, and writes a PNG of a slice of each.
///
/// # Errors
/// [`Error::Recipe`] for a layout without slices or of more than 2²⁸ pixels; [`Error::Interrupted`]
/// where the user asked to stop; what reading, making and writing give.
pub fn write(
    generator: &Generator,
    source: &LabelSource,
    path: &Path,
    options: &SheetOptions,
    progress: &mut dyn Progress,
) -> Result<()> {
    let columns = options.columns.min(options.slices);
    if columns == 0 || options.side == 0 {
        return Err(Error::Recipe(format!(
            "expected a sheet of at least one slice, column and pixel, found {}, {} and {}",
            options.slices, options.columns, options.side
        )));
    }
    let [step, width, height] = extent(options, columns).ok_or_else(|| {
        Error::Recipe(format!(
            "expected a sheet of at most {MOST_PIXELS} pixels, found {} slices of {}²",
            options.slices, options.side
        ))
    })?;
    let mut pixels = vec![0; width * height * 3];
    progress.stage("making a sheet");
    let cases = source.cases.len();
    let mut done = 0;
    // Case by case, so that each is read once.
    for (c, case) in source.cases.iter().enumerate().take(options.slices) {
        let scene = source.scene(case)?;
        for (number, index) in (c..options.slices).step_by(cases).enumerate() {
            if progress.cancelled() {
                return Err(Error::Interrupted { made: done });
            }
            let made = generator.make(&case.id, number as u32, scene.clone())?;
            let (row, column) = (index / columns, index % columns);
            let tile = tile(made, row, &generator.recipe().channel, options);
            for (y, line) in tile.chunks_exact(options.side * 3).enumerate() {
                let at = ((row * step + y) * width + column * step) * 3;
                pixels[at..at + line.len()].copy_from_slice(line);
            }
            done += 1;
            let message = format!("{done} of {}: {}", options.slices, case.id);
            progress.update(done as f64 / options.slices as f64, &message);
        }
    }
    save(path, width, height, &pixels)
}

/// Pixels from slice to slice, and of the whole across and down; `None` where it is too large.
fn extent(options: &SheetOptions, columns: usize) -> Option<[usize; 3]> {
    let step = options.side.checked_add(GAP)?;
    let width = step.checked_mul(columns)? - GAP;
    let height = step.checked_mul(options.slices.div_ceil(columns))? - GAP;
    let pixels = width.checked_mul(height)?;
    (pixels <= MOST_PIXELS).then_some([step, width, height])
}

/// The pixels, red, green, blue, of the slice of an image that goes into a row.
fn tile(made: Made, row: usize, channel: &str, options: &SheetOptions) -> Vec<u8> {
    let image = reorient_image(&made.image, Orientation::LPS);
    let labels = reorient_labels(&made.labels, Orientation::LPS);
    let flat = image.grid().shape()[2] == 1;
    let plane = match row % 4 {
        2 if !flat => Plane::Coronal,
        3 if !flat => Plane::Sagittal,
        _ => Plane::Axial,
    };
    let slice = Slice::fullest(&image, &labels, plane);
    let window = if is_ct(channel) {
        CT_WINDOW
    } else {
        slice.window()
    };
    slice.drawn(options.side, window, options.contours)
}

fn save(path: &Path, width: usize, height: usize, pixels: &[u8]) -> Result<()> {
    Ok(write_atomic(path, |out| {
        let failed = |e| match e {
            png::EncodingError::IoError(e) => e,
            e => std::io::Error::other(e),
        };
        let mut encoder = png::Encoder::new(out, width as u32, height as u32);
        encoder.set_color(png::ColorType::Rgb);
        encoder.set_depth(png::BitDepth::Eight);
        let mut writer = encoder.write_header().map_err(failed)?;
        writer.write_image_data(pixels).map_err(failed)?;
        writer.finish().map_err(failed)
    })?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn layouts_are_bounded() {
        let options = SheetOptions::default();
        assert_eq!(extent(&options, 6), Some([258, 6 * 258 - 2, 4 * 258 - 2]));
        for side in [usize::MAX, 1 << 40, 1 << 16] {
            assert_eq!(extent(&SheetOptions { side, ..options }, 6), None);
        }
    }
}
