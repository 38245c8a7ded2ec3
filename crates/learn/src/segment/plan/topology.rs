//! Where a net halves its maps, and its kernels, for a spacing and a patch.
//!
//! nnU-Net's rule: at each stage halve the axes whose spacing is less than twice the finest, while
//! they are at least twice the smallest edge long; so thick slices are left alone until in-plane
//! pixels have become as large. A kernel is 1 across slices that are still thick, and 3 from then on.
//! A single axis is not halved alone unless three times the smallest edge is left. The patch is then
//! enlarged to a multiple of what the halvings divide by.

/// A net's halvings and kernels, and the patch they ask for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Topology {
    pub(super) patch: [usize; 3],
    pub(super) strides: Vec<[usize; 3]>,
    pub(super) kernels: Vec<[usize; 3]>,
    /// What the patch's sides are multiples of.
    pub(super) multiples: [usize; 3],
}

impl Topology {
    /// The topology of at most `stages` for patches of about `patch` voxels that extend along `axes`
    /// only.
    pub(super) fn of(
        spacing_mm: [f64; 3],
        patch: [usize; 3],
        axes: &[usize],
        min_edge: usize,
        stages: usize,
    ) -> Self {
        let mut spacing = spacing_mm;
        let mut size = patch;
        let mut kernel = [1; 3];
        let mut multiples = [1; 3];
        let mut strides = vec![[1; 3]];
        let mut kernels = Vec::new();
        while strides.len() < stages {
            let long: Vec<usize> = axes
                .iter()
                .copied()
                .filter(|&a| size[a] >= 2 * min_edge)
                .collect();
            let finest = long
                .iter()
                .map(|&a| spacing[a])
                .fold(f64::INFINITY, f64::min);
            let halved: Vec<usize> = long
                .into_iter()
                .filter(|&a| spacing[a] / finest < 2.0)
                .collect();
            match *halved {
                [] => break,
                [alone] if size[alone] < 3 * min_edge => break,
                _ => {}
            }
            let finest = axes
                .iter()
                .map(|&a| spacing[a])
                .fold(f64::INFINITY, f64::min);
            for &axis in axes {
                if spacing[axis] / finest < 2.0 {
                    kernel[axis] = 3;
                }
            }
            kernels.push(kernel);
            let mut stride = [1; 3];
            for axis in halved {
                stride[axis] = 2;
                multiples[axis] *= 2;
                spacing[axis] *= 2.0;
                size[axis] = size[axis].div_ceil(2);
            }
            strides.push(stride);
        }
        let mut last = [1; 3];
        axes.iter().for_each(|&a| last[a] = 3);
        kernels.push(last);
        Self {
            patch: [0, 1, 2].map(|a| patch[a].next_multiple_of(multiples[a])),
            strides,
            kernels,
            multiples,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: [usize; 3] = [0, 1, 2];

    /// Worked by hand: 36 → 18 → 9 → 5 and 50 → 25 → 13 → 7, after which both are below 8.
    #[test]
    fn isotropic_crops() {
        let found = Topology::of([1.0; 3], [36, 50, 35], &ALL, 4, 99);
        assert_eq!(found.patch, [40, 56, 40]);
        assert_eq!(found.strides, [[1; 3], [2; 3], [2; 3], [2; 3]]);
        assert_eq!(found.kernels, [[3; 3]; 4]);
        assert_eq!(found.multiples, [8; 3]);
    }

    /// As nnU-Net's plan for ACDC: in-plane first, then all, then in-plane again as 5 slices are
    /// left.
    #[test]
    fn anisotropic_cardiac() {
        let found = Topology::of([5.0, 1.5625, 1.5625], [18, 237, 208], &ALL, 4, 99);
        assert_eq!(found.patch, [20, 256, 224]);
        let strides = [
            [1, 1, 1],
            [1, 2, 2],
            [2, 2, 2],
            [2, 2, 2],
            [1, 2, 2],
            [1, 2, 2],
        ];
        assert_eq!(found.strides, strides);
        assert_eq!(found.kernels[0], [1, 3, 3]);
        assert!(
            found.kernels[1..].iter().all(|k| *k == [3; 3]),
            "{:?}",
            found.kernels
        );
    }

    /// Two slices: never halved across, and a kernel of 1 until pixels are as large.
    #[test]
    fn a_few_thick_slices() {
        let found = Topology::of([10.0, 1.0, 1.0], [3, 64, 64], &ALL, 4, 99);
        assert!(found.strides.iter().all(|s| s[0] == 1));
        let across: Vec<usize> = found.kernels.iter().map(|k| k[0]).collect();
        // Spacings 1, 2, 4, 8 in-plane: 10 / 8 is below 2 at the fourth stage.
        assert_eq!(across, [1, 1, 1, 3, 3]);
    }

    #[test]
    fn slices_have_no_depth() {
        let found = Topology::of([9.0, 0.9765625, 0.9765625], [1, 448, 448], &[1, 2], 4, 99);
        assert_eq!(found.strides.len(), 7);
        assert_eq!(found.strides[6], [1, 2, 2]);
        assert_eq!(found.kernels, [[1, 3, 3]; 7]);
        assert_eq!((found.patch, found.multiples), ([1, 448, 448], [1, 64, 64]));
    }

    /// 12 voxels may be halved alone, 11 may not.
    #[test]
    fn an_axis_alone_needs_three_edges() {
        let strides = |n| Topology::of([1.0; 3], [n, 4, 4], &ALL, 4, 99).strides.len();
        assert_eq!((strides(12), strides(11)), (2, 1));
    }
}
