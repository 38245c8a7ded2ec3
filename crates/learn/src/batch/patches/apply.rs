//! Making a patch of what was drawn.
//!
//! The order is nnU-Net's: turned, stretched and bent at once, then noise, blur, brightness,
//! contrast, low resolution, the two gammas. Mirroring, which comes last there, is done while the
//! patch is cut, as nothing after it can tell the difference.

use crossmod_volume::intensity::vary;
use crossmod_volume::rng::{Rng, case_id};
use crossmod_volume::space::{
    Block, Deformation, Interpolation, Patch, Sigma, Warp, blur, grid_with_shape, resample_aligned,
};
use crossmod_volume::{Grid, Image};
use glam::{DMat3, DVec3};

use super::{ChannelDraw, PatchDraw};
use crate::Result;
use crate::segment::Store;
use crate::segment::store::OUTSIDE;

/// How patches of a plan are made.
#[derive(Debug, Clone)]
pub(super) struct Maker {
    /// Voxels along (x, y, z).
    pub(super) patch: [usize; 3],
    /// Slices of each channel; more than one for 2.5-D.
    pub(super) slices: usize,
    /// Axes (x, y, z) whose resolution is lowered.
    pub(super) lowered: [bool; 3],
    pub(super) interpolation: Interpolation,
    /// Labels that change places where a patch is mirrored along an axis (x, y, z).
    pub(super) swap: Option<(usize, Vec<[u16; 2]>)>,
}

impl Maker {
    /// Fills `images`, `[channels × slices][z][y][x]`, and `labels`, `[z][y][x]`.
    pub(super) fn make(
        &self,
        store: &Store,
        draw: &PatchDraw,
        images: &mut [f32],
        labels: &mut [u16],
    ) -> Result<()> {
        let masked = (0..store.channels()).any(|channel| store.masked(channel));
        let mut shown = vec![
            0;
            if masked {
                self.slices * labels.len()
            } else {
                0
            }
        ];
        self.cut(store, draw, images, labels, &mut shown)?;
        let [px, py, pz] = self.patch;
        let grid = Grid::with_spacing([px, py, pz * self.slices], [1.0; 3])?;
        let each = images.chunks_mut(grid.len()).zip(&draw.channels);
        for (channel, (values, changes)) in each.enumerate() {
            if let Some(noise) = draw.noise {
                let mut rng = Rng::new(u64::from(noise.seed), case_id("noise"), 0);
                vary::noise(values, noise.sd as f32, &mut rng);
            }
            self.change(changes, &grid, values)?;
            if store.masked(channel) {
                let hidden = values.iter_mut().zip(&shown);
                hidden
                    .filter(|(_, l)| **l == OUTSIDE)
                    .for_each(|(v, _)| *v = 0.0);
            }
        }
        if masked {
            let hidden = labels.iter_mut().filter(|label| **label == OUTSIDE);
            hidden.for_each(|label| *label = 0);
        }
        if let Some((axis, pairs)) = &self.swap
            && draw.mirrored[*axis]
        {
            for label in labels {
                if let Some([a, b]) = pairs.iter().find(|pair| pair.contains(label)) {
                    *label ^= a ^ b;
                }
            }
        }
        Ok(())
    }

    /// Cuts the patch out of the case; `shown` gets the labels of all slices where it has room.
    fn cut(
        &self,
        store: &Store,
        draw: &PatchDraw,
        images: &mut [f32],
        labels: &mut [u16],
        shown: &mut [u16],
    ) -> Result<()> {
        let voxels = labels.len();
        let grid = store.grid(draw.case);
        let sign = draw
            .mirrored
            .map(|mirrored| if mirrored { -1.0 } else { 1.0 });
        let deformation = Deformation {
            matrix: draw.deformation.matrix * DMat3::from_diagonal(DVec3::from_array(sign)),
            displacement: draw.deformation.displacement.clone(),
        };
        let masked = !shown.is_empty();
        let outside = if masked { OUTSIDE } else { 0 };
        let context = self.slices / 2;
        for slice in 0..self.slices {
            let mut centre = draw.centre;
            if context > 0 {
                let last = grid.shape()[2] as f64 - 1.0;
                centre[2] = (centre[2] + slice as f64 - context as f64).clamp(0.0, last);
            }
            let patch = Patch {
                centre,
                shape: self.patch,
            };
            let warp = Warp::new(&deformation, patch);
            let Some(frame) = warp.frame().within(grid) else {
                // Nothing of the case is near; images are 0 already.
                labels.fill(0);
                shown.fill(OUTSIDE);
                continue;
            };
            let of_channels = images.chunks_mut(voxels * self.slices);
            for (channel, values) in of_channels.enumerate() {
                let samples = store.image(draw.case, channel, frame)?;
                let block = Block::new(&samples, frame)?;
                let values = &mut values[slice * voxels..(slice + 1) * voxels];
                warp.image(&block, self.interpolation, 0.0, values);
            }
            if masked || slice == context {
                let values = store.labels(draw.case, frame)?;
                let block = Block::new(&values, frame)?;
                if slice == context {
                    warp.labels(&block, outside, labels);
                }
                if masked {
                    let shown = &mut shown[slice * voxels..(slice + 1) * voxels];
                    warp.labels(&block, outside, shown);
                }
            }
        }
        Ok(())
    }

    fn change(&self, changes: &ChannelDraw, grid: &Grid, values: &mut [f32]) -> Result<()> {
        if let Some(sigma) = changes.blur_vox {
            through(grid, values, |image| blur(image, Sigma::Vox(sigma)))?;
        }
        if let Some(factor) = changes.brightness {
            vary::brightness(values, factor as f32);
        }
        if let Some(factor) = changes.contrast {
            vary::contrast(values, factor as f32);
        }
        if let Some(share) = changes.low_resolution {
            let shape = grid.shape();
            let coarse = [0, 1, 2].map(|axis| {
                let fewer = (shape[axis] as f64 * share).round_ties_even().max(1.0);
                if self.lowered[axis] {
                    fewer as usize
                } else {
                    shape[axis]
                }
            });
            let coarse = grid_with_shape(grid, coarse)?;
            through(grid, values, |image| {
                let less = resample_aligned(image, &coarse, [Interpolation::Nearest; 3])?;
                resample_aligned(less, grid, [Interpolation::Linear; 3])
            })?;
        }
        if let Some(exponent) = changes.gamma_inverted {
            vary::gamma(values, exponent as f32, true);
        }
        if let Some(exponent) = changes.gamma {
            vary::gamma(values, exponent as f32, false);
        }
        Ok(())
    }
}

/// Takes values through a function of images.
fn through(
    grid: &Grid,
    values: &mut [f32],
    f: impl FnOnce(Image) -> crossmod_volume::Result<Image>,
) -> Result<()> {
    let image = f(Image::new(grid.clone(), values.to_vec())?)?;
    values.copy_from_slice(image.data());
    Ok(())
}
