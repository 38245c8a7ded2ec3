//! Elastic displacements of the voxels of a patch.

use crossmod_volume::Grid;
use crossmod_volume::space::{Flow, Frame};
use rayon::prelude::*;

use crate::Result;
use crate::steps::lattice::{Between, Growth, Lattice};

/// SynthSeg's.
const SQUARINGS: u32 = 7;

/// Displacements on that part of the half-size grid which the patch needs.
pub(super) struct Elastic {
    flow: Flow,
    growth: Growth,
    /// Voxels of the scene by one of the half-size grid.
    voxels: [f32; 3],
}

impl Elastic {
    /// What following velocities, mm, on a lattice over the whole grid leads to in a frame of it.
    pub(super) fn new(velocities_mm: &Lattice, grid: &Grid, frame: Frame) -> Result<Self> {
        let (shape, spacing) = (grid.shape(), grid.spacing_mm());
        let small = velocities_mm.shape();
        let half = [0, 1, 2].map(|a| (shape[a] / 2).max(small[a]));
        let voxels = [0, 1, 2].map(|a| shape[a] as f64 / half[a] as f64);
        let components = [0, 1, 2].map(|axis| {
            let mm = spacing[axis] * voxels[axis];
            let mut numbers = velocities_mm.numbers(axis as u32);
            numbers.iter_mut().for_each(|v| *v /= mm as f32);
            numbers
        });
        // No point goes farther than the greatest velocity, so that what lies beyond it, and one more
        // point to be linear to, has no say.
        let there = [0, 1, 2].map(|a| {
            let farthest = components[a].iter().fold(0f32, |m, v| m.max(v.abs()));
            let margin = f64::from(farthest).ceil() + 2.0;
            let at = |voxel: f64| (voxel + 0.5) / voxels[a] - 0.5;
            let (first, last) = (frame.start[a] as f64, frame.shape[a] as f64 - 1.0);
            let held = |point: f64| point.clamp(0.0, (half[a] - 1) as f64) as usize;
            held(at(first) - margin)..held(at(first + last) + margin) + 1
        });
        let lattice: Vec<[f32; 4]> = (0..components[0].len())
            .map(|i| [components[0][i], components[1][i], components[2][i], 0.0])
            .collect();
        let along =
            [0, 1, 2].map(|a| Between::new(small[a], half[a], there[a].start, there[a].len()));
        let points = there.clone().map(|range| range.len());
        let grown = Growth {
            points: small,
            along,
        };
        let mut vectors = vec![[0.0; 4]; points.iter().product()];
        let slices = vectors.par_chunks_mut(points[0] * points[1]);
        slices
            .enumerate()
            .for_each(|(z, slice)| grown.slice(&lattice, z, slice));
        let along = [0, 1, 2].map(|a| {
            let (first, count) = (frame.start[a], frame.shape[a]);
            Between::shifted(half[a], there[a].clone(), shape[a], first, count)
        });
        Ok(Self {
            flow: Flow::new(points, vectors)?.followed(SQUARINGS),
            growth: Growth { points, along },
            voxels: voxels.map(|v| v as f32),
        })
    }

    /// Displacements, voxels of the scene, of slice `z` of the frame.
    pub(super) fn slice(&self, z: usize, out: &mut [[f32; 4]]) {
        self.growth.slice(self.flow.vectors(), z, out);
        for vector in out {
            for (v, by) in vector.iter_mut().zip(self.voxels) {
                *v *= by;
            }
        }
    }
}
