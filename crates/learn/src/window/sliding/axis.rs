//! Where windows lie along one axis, and how much each counts where.

/// The windows along one axis of a volume.
#[derive(Debug, Clone)]
pub(super) struct Axis {
    /// Voxels of the volume.
    pub(super) voxels: usize,
    /// Voxels of a window.
    pub(super) patch: usize,
    /// First voxel of each window; below 0 where the volume is smaller than one.
    pub(super) starts: Vec<i64>,
    /// For each window, the share of the result that each of its voxels has; those of one voxel of
    /// the volume sum to 1.
    pub(super) weights: Vec<Vec<f32>>,
}

impl Axis {
    /// Windows at most `step` of a window apart, the first and last flush with the volume's ends,
    /// the others evenly between (nnU-Net's sliding window). Where the volume is smaller than a
    /// window it lies in its middle; of an odd number of voxels beyond it, one more lies behind.
    pub(super) fn new(voxels: usize, patch: usize, step: f64) -> Self {
        if voxels <= patch {
            let before = (patch - voxels) / 2;
            let starts = vec![-(before as i64)];
            return Self::weighted(voxels, patch, starts);
        }
        let last = (voxels - patch) as f64;
        // Rounding must not make 2.0000001 steps three.
        let gaps = (last / (patch as f64 * step) - 1e-9).ceil().max(1.0);
        let starts = (0..=gaps as usize).map(|i| (last / gaps * i as f64).round_ties_even() as i64);
        let mut starts: Vec<i64> = starts.collect();
        starts.dedup();
        Self::weighted(voxels, patch, starts)
    }

    /// A window for each voxel.
    pub(super) fn of_slices(voxels: usize) -> Self {
        Self {
            voxels,
            patch: 1,
            starts: (0..voxels as i64).collect(),
            weights: vec![vec![1.0]; voxels],
        }
    }

    fn weighted(voxels: usize, patch: usize, starts: Vec<i64>) -> Self {
        let bell: Vec<f64> = (0..patch).map(|p| importance(p, patch)).collect();
        let mut totals = vec![0.0; voxels];
        let inside = |start: i64, p: usize| {
            let at = start + p as i64;
            usize::try_from(at).ok().filter(|&at| at < voxels)
        };
        for &start in &starts {
            for (p, weight) in bell.iter().enumerate() {
                if let Some(at) = inside(start, p) {
                    totals[at] += weight;
                }
            }
        }
        let share = |start: i64, p: usize| inside(start, p).map_or(0.0, |at| bell[p] / totals[at]);
        let weights = starts
            .iter()
            .map(|&start| (0..patch).map(|p| share(start, p) as f32).collect())
            .collect();
        Self {
            voxels,
            patch,
            starts,
            weights,
        }
    }

    /// The voxels of window `k` that lie in the volume, counted from its first one, and where the
    /// first of them lies in the volume.
    pub(super) fn inside(&self, k: usize) -> (std::ops::Range<usize>, usize) {
        let start = self.starts[k];
        let before = usize::try_from(-start).unwrap_or(0);
        let at = usize::try_from(start).unwrap_or(0);
        let end = self.patch.min(before + self.voxels - at);
        (before..end, at)
    }
}

/// A bell about the window's middle with a standard deviation of an eighth of the window, 1 at its
/// top.
pub(super) fn importance(p: usize, patch: usize) -> f64 {
    let sigma = patch as f64 / 8.0;
    let distance = (p as f64 - (patch / 2) as f64) / sigma;
    (-0.5 * distance * distance).exp()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `compute_steps_for_sliding_window` of nnU-Net, at step ½.
    #[test]
    fn windows_lie_where_nnunet_has_them() {
        let starts = |voxels, patch| Axis::new(voxels, patch, 0.5).starts;
        assert_eq!(starts(256, 128), [0, 64, 128]);
        assert_eq!(starts(533, 128), [0, 58, 116, 174, 231, 289, 347, 405]);
        assert_eq!(starts(129, 128), [0, 1]);
        assert_eq!(starts(110, 64), [0, 23, 46]);
        assert_eq!(starts(40, 40), [0]);
        assert_eq!(starts(35, 40), [-2]);
        assert_eq!(starts(3, 8), [-2]);
        assert_eq!(Axis::new(256, 128, 1.0).starts, [0, 128]);
        assert_eq!(Axis::of_slices(3).starts, [0, 1, 2]);
    }

    #[test]
    fn shares_of_a_voxel_sum_to_1() {
        for (voxels, patch, step) in [(50, 16, 0.5), (17, 16, 0.5), (9, 16, 0.5), (90, 7, 0.3)] {
            let axis = Axis::new(voxels, patch, step);
            let mut sums = vec![0.0; voxels];
            for (k, weights) in axis.weights.iter().enumerate() {
                let (inside, at) = axis.inside(k);
                assert!(weights[..inside.start].iter().all(|&w| w == 0.0));
                assert!(weights[inside.end..].iter().all(|&w| w == 0.0));
                for (sum, w) in sums[at..].iter_mut().zip(&weights[inside]) {
                    *sum += w;
                }
            }
            assert!(sums.iter().all(|s| (s - 1.0).abs() < 1e-6), "{sums:?}");
        }
    }

    #[test]
    fn windows_count_most_in_their_middle() {
        assert_eq!(importance(64, 128), 1.0);
        assert!((importance(0, 128) - (-8.0f64).exp()).abs() < 1e-12);
        assert!((importance(80, 128) - (-0.5f64).exp()).abs() < 1e-12);
    }
}
