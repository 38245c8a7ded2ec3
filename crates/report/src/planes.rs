//! The planes of a volume as a reader of images expects them.
//!
//! Axial, coronal and sagittal slices in the radiological view: the patient's right is on the left of
//! axial and coronal slices, the front on the left of sagittal ones, and what is up is up. Tiles know
//! the directions of their sides and the size of their pixels, so that sheets can say them.

use crossmod_volume::space::{Orientation, reorient_image, reorient_labels, reoriented_grid};
use crossmod_volume::{Grid, Image, Labels};

use crate::{Result, Tile};

/// A slice of fewer pixels along a side is not worth showing where another plane has more.
const LEAST_PIXELS: usize = 24;
/// How strongly labels tint an image.
const TINT: f32 = 0.45;

/// A plane through the body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Plane {
    /// Across the body, seen from the feet.
    Axial,
    /// From side to side, seen from the front.
    Coronal,
    /// From front to back, seen from the patient's left.
    Sagittal,
}

impl Plane {
    /// All three.
    pub const ALL: [Self; 3] = [Self::Axial, Self::Coronal, Self::Sagittal];

    /// The planes that volumes on a grid are worth showing in, the one of most pixels first: those with
    /// enough of them along both sides, or that one alone.
    ///
    /// # Errors
    /// [`Error::Volume`](crate::Error::Volume) where an orientation cannot be had.
    pub fn worth_showing(grid: &Grid) -> Result<Vec<Self>> {
        let mut sides = Vec::new();
        for plane in Self::ALL {
            let [width, height, _] = reoriented_grid(grid, plane.orientation()?).shape();
            sides.push((plane, [width, height]));
        }
        sides.sort_by_key(|(_, [width, height])| std::cmp::Reverse(width * height));
        let small = |(_, sides): &(Self, [usize; 2])| sides.iter().any(|n| *n < LEAST_PIXELS);
        let worth = sides.iter().position(small).unwrap_or(sides.len()).max(1);
        Ok(sides
            .into_iter()
            .take(worth)
            .map(|(plane, _)| plane)
            .collect())
    }

    /// Its name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Axial => "axial",
            Self::Coronal => "coronal",
            Self::Sagittal => "sagittal",
        }
    }

    /// The orientation in which x grows to a picture's right, y down, and z through the slices.
    fn orientation(self) -> Result<Orientation> {
        let letters = match self {
            Self::Axial => "LPS",
            Self::Coronal => "LIP",
            Self::Sagittal => "PIL",
        };
        Ok(letters.parse::<Orientation>()?)
    }

    /// Letters of the sides: left, right, top, bottom.
    fn sides(self) -> [char; 4] {
        match self {
            Self::Axial => ['R', 'L', 'A', 'P'],
            Self::Coronal => ['R', 'L', 'S', 'I'],
            Self::Sagittal => ['A', 'P', 'S', 'I'],
        }
    }
}

/// One volume, turned for a plane, and what lies on it.
#[derive(Debug)]
pub struct Stack {
    plane: Plane,
    image: Image,
    labels: Vec<Labels>,
}

impl Stack {
    /// Turns an image and label maps on its grid.
    ///
    /// # Errors
    /// [`Error::Volume`](crate::Error::Volume) where the orientation cannot be had.
    pub fn new(plane: Plane, image: &Image, labels: &[&Labels]) -> Result<Self> {
        let orientation = plane.orientation()?;
        let turned = labels.iter().map(|l| reorient_labels(l, orientation));
        Ok(Self {
            plane,
            image: reorient_image(image, orientation),
            labels: turned.collect(),
        })
    }

    /// Number of slices.
    #[must_use]
    pub fn len(&self) -> usize {
        self.image.grid().shape()[2]
    }

    /// Whether there is none; a grid has at least one.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The slice with most labelled voxels in any of the label maps; the middle one without labels.
    #[must_use]
    pub fn fullest(&self) -> usize {
        let filled = |z: usize| -> usize {
            let slices = self.labels.iter().map(|labels| labels.slice_z(z));
            slices.map(|s| s.iter().filter(|&&l| l != 0).count()).sum()
        };
        let counts: Vec<usize> = (0..self.len()).map(filled).collect();
        let most = counts.iter().max().copied().unwrap_or(0);
        if most == 0 {
            return self.len() / 2;
        }
        counts.iter().position(|&n| n == most).unwrap_or(0)
    }

    /// A slice, black and white at `window`, tinted by one of the label maps.
    ///
    /// # Errors
    /// [`Error::Picture`](crate::Error::Picture) where there is no such slice.
    pub fn tile(&self, z: usize, window: (f32, f32), labels: Option<usize>) -> Result<Tile> {
        let mut tile = Tile::from_slice(&self.image, z, window)?;
        if let Some(labels) = labels.and_then(|i| self.labels.get(i)) {
            tile = tile.overlay(labels, z, TINT)?;
        }
        let [_, height_mm, _] = self.image.grid().spacing_mm();
        Ok(tile.placed(self.plane.sides(), height_mm))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Eight voxels to the right, front and top of the origin; the one at the right, front and top is 1.
    fn corner() -> (Image, Labels) {
        let grid = Grid::with_spacing([2, 2, 2], [1.0, 2.0, 4.0]).expect("a grid");
        let mut data = vec![0.0; 8];
        data[7] = 1.0;
        let image = Image::new(grid.clone(), data).expect("an image");
        let labels = Labels::new(grid, vec![0, 0, 0, 0, 1, 0, 1, 1]).expect("labels");
        (image, labels)
    }

    #[test]
    fn each_plane_shows_the_corner_where_its_sides_say() {
        let (image, labels) = corner();
        for (plane, z, bright, pixel_mm) in [
            // Right is left, front is up.
            (Plane::Axial, 1, 0, 2.0),
            // Right is left, top is up; slices run to the back.
            (Plane::Coronal, 0, 0, 4.0),
            // Front is left, top is up; slices run to the left.
            (Plane::Sagittal, 0, 0, 4.0),
        ] {
            let stack = Stack::new(plane, &image, &[&labels]).expect("a stack");
            let tile = stack.tile(z, (0.0, 1.0), None).expect("a tile");
            let white = tile.pixels.iter().position(|p| *p == [255; 3]);
            assert_eq!(white, Some(bright), "{plane:?}");
            assert_eq!(tile.pixel_mm, Some(pixel_mm), "{plane:?}");
        }
    }

    #[test]
    fn a_stack_of_few_slices_is_shown_in_their_plane_alone() {
        let planes = |shape, code: &str| {
            let grid = Grid::with_spacing(shape, [1.0; 3]).expect("a grid");
            let code = code.parse().expect("an orientation");
            Plane::worth_showing(&reoriented_grid(&grid, code)).expect("planes")
        };
        assert_eq!(planes([192, 190, 10], "RAS"), [Plane::Axial]);
        // Axes to the right, front and top; few to the right.
        assert_eq!(planes([10, 192, 190], "PSR"), [Plane::Sagittal]);
        assert_eq!(planes([60, 50, 40], "RAS"), Plane::ALL);
        assert_eq!(planes([20, 18, 10], "RAS"), [Plane::Axial]);
    }

    #[test]
    fn the_fullest_slice_is_chosen_and_the_middle_without_labels() {
        let (image, labels) = corner();
        let stack = Stack::new(Plane::Axial, &image, &[&labels]).expect("a stack");
        assert_eq!((stack.fullest(), stack.len()), (1, 2));
        let bare = Stack::new(Plane::Axial, &image, &[]).expect("a stack");
        assert_eq!(bare.fullest(), 1);
        let tinted = stack.tile(1, (0.0, 1.0), Some(0)).expect("a tile");
        assert_ne!(tinted.pixels[0], [255; 3]);
    }
}
