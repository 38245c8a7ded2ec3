//! Normal numbers on a small grid, grown linearly to an image's: smooth fields.

use crossmod_volume::rng::Rng;
use crossmod_volume::space::{Interpolation, grid_with_shape, resample_image};
use crossmod_volume::{Grid, Image};
use serde::{Deserialize, Serialize};

use crate::Result;

/// Independent normal numbers on a small grid.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Lattice {
    /// Points along (x, y, z).
    shape: [usize; 3],
    /// Standard deviation.
    sd: f32,
    /// The numbers are those of this stream.
    seed: u64,
}

impl Lattice {
    /// A small grid of `scale` times an image's sides, rounded up.
    pub(super) fn draw(image: [usize; 3], scale: f32, sd: f32, rng: &mut Rng) -> Self {
        let shape = image.map(|n| ((n as f32 * scale).ceil() as usize).max(1));
        let seed = u64::from(rng.bits()) << 32 | u64::from(rng.bits());
        Self { shape, sd, seed }
    }

    /// The field on a grid of a shape, both covering the same extent.
    pub(super) fn grown(&self, shape: [usize; 3]) -> Result<Vec<f32>> {
        let small = Grid::with_spacing(self.shape, [1.0; 3])?;
        let mut rng = Rng::new(self.seed, 0, 0);
        let numbers = (0..small.len()).map(|_| self.sd * rng.normal()).collect();
        let target = grid_with_shape(&small, shape)?;
        let field = resample_image(
            &Image::new(small, numbers)?,
            &target,
            Interpolation::Linear,
            0.0,
        );
        Ok(field.into_parts().1)
    }
}
