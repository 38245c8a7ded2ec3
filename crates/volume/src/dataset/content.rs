//! Whether two files show the same, whatever they are called.

use sha2::{Digest, Sha256};

use crate::Image;

/// What an image's samples and shape come to; equal for equal images, in whatever format, and for no
/// others that will ever be met.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Content([u8; 32]);

impl Content {
    /// `None` of an image that is the same everywhere, and so tells nothing.
    pub(super) fn of(image: &Image) -> Option<Self> {
        let first = image.data().first()?;
        if image.data().iter().all(|v| v == first) {
            return None;
        }
        let mut hash = Sha256::new();
        for n in image.grid().shape() {
            hash.update((n as u64).to_le_bytes());
        }
        let mut bytes = Vec::new();
        for part in image.data().chunks(1 << 14) {
            bytes.clear();
            bytes.extend(part.iter().flat_map(|v| v.to_bits().to_le_bytes()));
            hash.update(&bytes);
        }
        Some(Self(hash.finalize().into()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Grid;

    #[test]
    fn shape_and_samples_count_and_place_does_not() {
        let of = |shape, spacing, data: Vec<f32>| {
            let grid = Grid::with_spacing(shape, spacing).expect("a grid");
            Content::of(&Image::new(grid, data).expect("an image"))
        };
        let first = of([2, 1, 1], [1.0; 3], vec![1.0, 2.0]);
        assert_eq!(first, of([2, 1, 1], [3.0; 3], vec![1.0, 2.0]));
        assert_ne!(first, of([1, 2, 1], [1.0; 3], vec![1.0, 2.0]));
        assert_ne!(first, of([2, 1, 1], [1.0; 3], vec![1.0, 2.5]));
        assert_eq!(of([2, 1, 1], [1.0; 3], vec![0.0, 0.0]), None);
    }
}
