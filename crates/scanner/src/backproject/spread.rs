//! From nodes to voxels: a column of voxels is the weighted sum of four columns of nodes.
#![allow(
    unsafe_code,
    reason = "vector instructions and unchecked reads of the innermost loop"
)]

use crate::simd::{Kernel, Lanes};

/// A pixel's place among the nodes.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Foot {
    /// Number of the node before it along t and s.
    pub(super) node: u32,
    /// Number of the pixel in its tile.
    pub(super) pixel: u32,
    /// Fractions towards the next nodes.
    pub(super) along_t: f32,
    pub(super) along_s: f32,
}

/// Adds to every pixel's column what the nodes hold at its foot.
pub(super) struct Spread<'a> {
    pub(super) feet: &'a [Foot],
    /// `[t][s][z]`.
    pub(super) nodes: &'a [f32],
    /// Nodes along s.
    pub(super) s_nodes: usize,
    /// Voxels of a column: a multiple of 16.
    pub(super) depth: usize,
    /// `[pixel][z]`.
    pub(super) out: &'a mut [f32],
}

impl Kernel for Spread<'_> {
    type Output = ();

    #[inline(always)]
    fn run<V: Lanes>(self) {
        let depth = self.depth;
        assert!(depth.is_multiple_of(V::LANES));
        for foot in self.feet {
            let near = foot.node as usize * depth;
            let far = near + self.s_nodes * depth;
            let near = &self.nodes[near..][..2 * depth];
            let far = &self.nodes[far..][..2 * depth];
            let out = &mut self.out[foot.pixel as usize * depth..][..depth];
            let (t, s) = (foot.along_t, foot.along_s);
            let shares = [(1.0 - t) * (1.0 - s), (1.0 - t) * s, t * (1.0 - s), t * s];
            // SAFETY: called through Level::run; all vectors lie within the slices above, whose
            // length is a multiple of the vectors'.
            unsafe {
                let [a, b, c, d] = shares.map(|share| V::splat(share));
                let (near, far, out) = (near.as_ptr(), far.as_ptr(), out.as_mut_ptr());
                let mut z = 0;
                while z < depth {
                    let sum = V::load(near.add(z)).mul_add(a, V::load(out.add(z)));
                    let sum = V::load(near.add(z + depth)).mul_add(b, sum);
                    let sum = V::load(far.add(z)).mul_add(c, sum);
                    let sum = V::load(far.add(z + depth)).mul_add(d, sum);
                    sum.store(out.add(z));
                    z += V::LANES;
                }
            }
        }
    }
}
