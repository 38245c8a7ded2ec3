//! Taking each voxel of a patch from where it lies in the scene.

use crossmod_volume::space::Frame;
use glam::{DMat3, DVec3};
use rayon::prelude::*;

use super::elastic::Elastic;

/// Where voxels are taken from: voxels of the scene.
pub(super) struct Pull {
    pub(super) shape: [usize; 3],
    pub(super) frame: Frame,
    pub(super) matrix: DMat3,
    pub(super) centre: DVec3,
    pub(super) shift: DVec3,
    pub(super) elastic: Option<Elastic>,
    pub(super) hold_edges: bool,
}

impl Pull {
    /// The patch of a label map: the nearest voxel's value, 0 as background.
    pub(super) fn labels(&self, data: &[u16]) -> Vec<u16> {
        let [nx, ny, _] = self.shape;
        let near = |v: f32| (v + 0.5) as u32 as usize;
        self.filled(0, |[x, y, z, _]| {
            data[near(x) + nx * (near(y) + ny * near(z))]
        })
    }

    /// The patch of an image, linear between its voxels; its least value as background.
    pub(super) fn image(&self, data: &[f32]) -> Vec<f32> {
        let least = |a: f32, b: f32| if b < a { b } else { a };
        let background = data.par_iter().copied().reduce(|| f32::INFINITY, least);
        let [nx, ny, _] = self.shape;
        let mix = |a: f32, b: f32, share: f32| a + (b - a) * share;
        let split = |v: f32, stride: usize| {
            let low = v as u32;
            let share = v - low as f32;
            (
                low as usize * stride,
                if share > 0.0 { stride } else { 0 },
                share,
            )
        };
        self.filled(background, |[x, y, z, _]| {
            let (x, up_x, share_x) = split(x, 1);
            let (y, up_y, share_y) = split(y, nx);
            let (z, up_z, share_z) = split(z, nx * ny);
            let start = x + y + z;
            let (corner, edge) = (start + up_y + up_z, start + up_z);
            let a = mix(data[start], data[start + up_x], share_x);
            let b = mix(data[start + up_y], data[start + up_y + up_x], share_x);
            let c = mix(data[edge], data[edge + up_x], share_x);
            let d = mix(data[corner], data[corner + up_x], share_x);
            mix(mix(a, b, share_y), mix(c, d, share_y), share_z)
        })
    }

    /// Each voxel by its position in the scene, which lies between voxel centres.
    fn filled<T: Copy + Send + Sync>(
        &self,
        background: T,
        at: impl Fn([f32; 4]) -> T + Sync,
    ) -> Vec<T> {
        let [nx, ny, nz] = self.frame.shape;
        let mut out = vec![background; nx * ny * nz];
        let [to_x, to_y, to_z] = self
            .matrix
            .to_cols_array_2d()
            .map(|c| lanes(DVec3::from_array(c)));
        let centre = lanes(self.centre);
        let origin = lanes(self.centre + self.shift);
        let last = lanes(DVec3::from_array(self.shape.map(|n| (n - 1) as f64)));
        // A voxel's own box, or all of space.
        let beyond = if self.hold_edges { f32::INFINITY } else { 0.5 };
        let within = [0, 1, 2].map(|a| self.inside(a));
        let offset = |axis: usize, i: usize| {
            let voxel = self.frame.start[axis] + i as i64;
            voxel as f32 - centre[axis]
        };
        let along_x: Vec<f32> = (0..nx).map(|x| offset(0, x)).collect();
        let slices = out.par_chunks_mut(nx * ny).enumerate();
        slices.for_each_init(Vec::new, |moved, (z, slice)| {
            if !within[2].contains(&z) {
                return;
            }
            moved.resize(nx * ny, [0.0; 4]);
            if let Some(elastic) = &self.elastic {
                elastic.slice(z, moved);
            }
            let dz = offset(2, z);
            for y in within[1].clone() {
                let dy = offset(1, y);
                let row = within[0].start + y * nx..within[0].end + y * nx;
                let along_x = &along_x[within[0].clone()];
                let voxels = slice[row.clone()].iter_mut().zip(&moved[row]).zip(along_x);
                for ((value, u), dx) in voxels {
                    let p = add(origin, scaled(to_x, dx + u[0]));
                    let p = add(p, scaled(to_y, dy + u[1]));
                    let p = add(p, scaled(to_z, dz + u[2]));
                    let held = [
                        held(p[0], last[0]),
                        held(p[1], last[1]),
                        held(p[2], last[2]),
                        0.0,
                    ];
                    let off = |a: usize| (p[a] - held[a]).abs() <= beyond;
                    if off(0) && off(1) && off(2) {
                        *value = at(held);
                    }
                }
            }
        });
        out
    }

    /// The voxels of the frame along an axis that lie in the scene.
    fn inside(&self, axis: usize) -> std::ops::Range<usize> {
        let (start, n) = (self.frame.start[axis], self.frame.shape[axis]);
        let held = |voxel: i64| voxel.clamp(0, n as i64) as usize;
        held(-start)..held(self.shape[axis] as i64 - start)
    }
}

// Four numbers, the last of no meaning: what processors work on at once. Written out, since maps over
// arrays may stay calls.

fn lanes(v: DVec3) -> [f32; 4] {
    [v.x as f32, v.y as f32, v.z as f32, 0.0]
}

#[inline(always)]
fn add(a: [f32; 4], b: [f32; 4]) -> [f32; 4] {
    [a[0] + b[0], a[1] + b[1], a[2] + b[2], a[3] + b[3]]
}

#[inline(always)]
fn scaled(a: [f32; 4], by: f32) -> [f32; 4] {
    [a[0] * by, a[1] * by, a[2] * by, a[3] * by]
}

/// From 0 to `last`.
#[inline(always)]
fn held(v: f32, last: f32) -> f32 {
    let v = if v > 0.0 { v } else { 0.0 };
    if v < last { v } else { last }
}
