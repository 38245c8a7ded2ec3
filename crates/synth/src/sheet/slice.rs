//! A slice of a volume in LPS order, drawn in square pixels.

use crossmod_volume::intensity::percentiles;
use crossmod_volume::{Image, Labels};

/// Which way a volume is cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Plane {
    Axial,
    Coronal,
    Sagittal,
}

/// Samples as they are shown, row by row from the top.
#[derive(Debug, PartialEq)]
pub(super) struct Slice {
    /// Samples across and down.
    size: [usize; 2],
    /// Distance of samples across and down, mm.
    spacing_mm: [f64; 2],
    values: Vec<f32>,
    labels: Vec<u16>,
}

impl Plane {
    /// The axes that go across, down and through.
    fn axes(self) -> [usize; 3] {
        match self {
            Self::Axial => [0, 1, 2],
            Self::Coronal => [0, 2, 1],
            Self::Sagittal => [1, 2, 0],
        }
    }
}

impl Slice {
    /// The slice that has most to be learnt in it, the middle one where none has anything.
    pub(super) fn fullest(image: &Image, labels: &Labels, plane: Plane) -> Self {
        let [across, down, through] = plane.axes();
        let shape = image.grid().shape();
        let mut counts = vec![0usize; shape[through]];
        let strides = [1, shape[0], shape[0] * shape[1]];
        for (i, _) in labels.data().iter().enumerate().filter(|(_, l)| **l > 0) {
            counts[i / strides[through] % shape[through]] += 1;
        }
        let most = counts.iter().copied().max().unwrap_or(0);
        let fullest = counts.iter().position(|&n| n == most).unwrap_or(0);
        let at = if most == 0 {
            shape[through] / 2
        } else {
            fullest
        };
        // Seen from the front or the side, the head is at the top: the last slice comes first.
        let upside_down = plane != Plane::Axial;
        let places = (0..shape[down]).flat_map(|row| {
            let row = if upside_down {
                shape[down] - 1 - row
            } else {
                row
            };
            let start = at * strides[through] + row * strides[down];
            (0..shape[across]).map(move |column| start + column * strides[across])
        });
        let places: Vec<usize> = places.collect();
        let spacing = image.grid().spacing_mm();
        Self {
            size: [shape[across], shape[down]],
            spacing_mm: [spacing[across], spacing[down]],
            values: places.iter().map(|&i| image.data()[i]).collect(),
            labels: places.iter().map(|&i| labels.data()[i]).collect(),
        }
    }

    /// The range that is shown of an image without units.
    pub(super) fn window(&self) -> [f32; 2] {
        match percentiles(&self.values, &[0.5, 99.5])[..] {
            [low, high] if low < high => [low, high],
            _ => [0.0, 1.0],
        }
    }

    /// Pixels, red, green, blue, of a square with the slice in its middle, as large as it fits.
    pub(super) fn drawn(&self, side: usize, window: [f32; 2], contours: bool) -> Vec<u8> {
        let mm = [0, 1].map(|axis| self.size[axis] as f64 * self.spacing_mm[axis]);
        let mm_per_pixel = mm[0].max(mm[1]) / side as f64;
        // Sample, fractional, under the middle of a pixel.
        let sample = |axis: usize, pixel: usize| {
            let from_middle = (pixel as f64 + 0.5 - side as f64 / 2.0) * mm_per_pixel;
            (from_middle + mm[axis] / 2.0) / self.spacing_mm[axis] - 0.5
        };
        let at = |column, row| [sample(0, column), sample(1, row)];
        let mut pixels = Vec::with_capacity(side * side * 3);
        for row in 0..side {
            for column in 0..side {
                let place = at(column, row);
                let Some(label) = self.label(place) else {
                    pixels.extend([0; 3]);
                    continue;
                };
                let next = [at(column + 1, row), at(column, row + 1)];
                let other = next
                    .into_iter()
                    .filter_map(|next| self.label(next))
                    .find(|&next| contours && next != label);
                if let Some(other) = other {
                    pixels.extend(colour(label.max(other)));
                } else {
                    let grey = (self.value(place) - window[0]) / (window[1] - window[0]);
                    // `as` from float saturates; NaN becomes 0.
                    pixels.extend([(grey * 255.0).round() as u8; 3]);
                }
            }
        }
        pixels
    }

    /// The label nearest to a place; `None` outside.
    fn label(&self, place: [f64; 2]) -> Option<u16> {
        let [x, y] = [0, 1].map(|axis| {
            let nearest = place[axis].round();
            (nearest >= 0.0 && nearest < self.size[axis] as f64).then_some(nearest as usize)
        });
        self.labels.get(y? * self.size[0] + x?).copied()
    }

    /// The value at a place, linear between samples.
    fn value(&self, place: [f64; 2]) -> f32 {
        let [x, y] = [0, 1].map(|axis| {
            let last = self.size[axis] - 1;
            let place = place[axis].clamp(0.0, last as f64);
            let low = place as usize;
            (low, (low + 1).min(last), (place - low as f64) as f32)
        });
        let get = |x: usize, y: usize| self.values[y * self.size[0] + x];
        let row = |y: usize| get(x.0, y) * (1.0 - x.2) + get(x.1, y) * x.2;
        row(y.0) * (1.0 - y.2) + row(y.1) * y.2
    }
}

/// A colour for a label: hues a golden section apart, so that near values differ.
fn colour(label: u16) -> [u8; 3] {
    let hue = f64::from(label) * 0.618_034 % 1.0 * 6.0;
    [5.0, 3.0, 1.0].map(|shift| {
        let k = (shift + hue) % 6.0;
        (255.0 * (1.0 - k.min(4.0 - k).clamp(0.0, 1.0))) as u8
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crossmod_volume::Grid;

    /// Values count voxels; the one labelled voxel is (2, 1, 1).
    fn volume() -> (Image, Labels) {
        let grid = Grid::with_spacing([3, 2, 2], [1.0, 1.0, 2.0]).expect("a grid");
        let image = Image::new(grid.clone(), (0u8..12).map(f32::from).collect()).expect("an image");
        let mut labels = vec![0; 12];
        labels[11] = 1;
        (image, Labels::new(grid, labels).expect("labels"))
    }

    #[test]
    fn the_slice_with_most_labels_is_shown_upright() {
        let (image, labels) = volume();
        let values = |plane| Slice::fullest(&image, &labels, plane).values;
        assert_eq!(values(Plane::Axial), [6.0, 7.0, 8.0, 9.0, 10.0, 11.0]);
        assert_eq!(values(Plane::Coronal), [9.0, 10.0, 11.0, 3.0, 4.0, 5.0]);
        assert_eq!(values(Plane::Sagittal), [8.0, 11.0, 2.0, 5.0]);
    }

    #[test]
    fn pixels_are_square_and_outlines_coloured() {
        let (image, labels) = volume();
        let slice = Slice::fullest(&image, &labels, Plane::Axial);
        // 3 × 2 mm in 3 pixels: half a pixel is left at the top and at the bottom.
        let grey = slice.drawn(3, [6.0, 11.0], false);
        let red: Vec<u8> = grey.iter().step_by(3).copied().collect();
        for (found, expected) in red[3..6].iter().zip([76.5, 127.5, 178.5]) {
            assert!((f64::from(*found) - expected).abs() < 1.0, "{red:?}");
        }
        let drawn = slice.drawn(6, [6.0, 11.0], true);
        let coloured = drawn
            .chunks(3)
            .filter(|p| p[0] != p[1] || p[1] != p[2])
            .count();
        assert!((2..=4).contains(&coloured), "{coloured}");
        let [low, high] = Slice::fullest(&image, &labels, Plane::Sagittal).window();
        assert!((2.0..2.1).contains(&low) && (10.9..=11.0).contains(&high));
    }
}
