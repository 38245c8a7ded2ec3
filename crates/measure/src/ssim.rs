//! Structural similarity of two images (Wang et al. 2004, doi:10.1109/TIP.2003.819861).
//!
//! Means, variances and covariance are under a Gaussian window of σ 1.5 voxels, cut off at 5, in
//! three dimensions; along an axis of fewer than 11 voxels the window is one voxel wide, so that
//! slices and thick stacks are compared within their planes. K₁ = 0.01 and K₂ = 0.03. Voxels whose
//! window reaches beyond the volume do not count. This is `structural_similarity(…,
//! gaussian_weights=True, sigma=1.5, use_sample_covariance=False)` of scikit-image.

use crossmod_volume::space::convolve;
use crossmod_volume::{Grid, Image};
use rayon::prelude::*;

use crate::Result;

/// Voxels that the window reaches to each side.
const REACH: usize = 5;
const SIGMA_VOX: f64 = 1.5;
const C1: f32 = 0.01 * 0.01;
const C2: f32 = 0.03 * 0.03;

/// Slices that are compared at a time; the maps of no more are held.
const SLAB: usize = 32;

/// The mean similarity of the voxels that `counts` says yes to (by place in storage) of two images of
/// one shape whose range is 0 to 1; `None` where no voxel counts.
pub(crate) fn mean_ssim(
    shape: [usize; 3],
    sample: impl Fn(usize) -> [f32; 2] + Sync,
    counts: impl Fn(usize) -> bool + Sync,
) -> Result<Option<f64>> {
    let [nx, ny, nz] = shape;
    let reach = shape.map(|n| if n > 2 * REACH { REACH } else { 0 });
    let kernels = reach.map(window);
    let kernels = [0, 1, 2].map(|axis| &*kernels[axis]);
    let whole = |at: usize, axis: usize| at >= reach[axis] && at + reach[axis] < shape[axis];
    let slice = nx * ny;
    let (mut sum, mut n) = (0.0, 0);
    for start in (reach[2]..nz - reach[2]).step_by(SLAB) {
        let end = (start + SLAB).min(nz - reach[2]);
        let (low, high) = (start - reach[2], end + reach[2]);
        let grid = Grid::with_spacing([nx, ny, high - low], [1.0; 3])?;
        let filtered = |of: fn([f32; 2]) -> f32| -> Result<Vec<f32>> {
            let samples = (low * slice..high * slice).into_par_iter();
            let image = Image::new(grid.clone(), samples.map(|i| of(sample(i))).collect())?;
            Ok(convolve(image, kernels).into_parts().1)
        };
        let a = filtered(|[a, _]| a)?;
        let b = filtered(|[_, b]| b)?;
        let aa = filtered(|[a, _]| a * a)?;
        let bb = filtered(|[_, b]| b * b)?;
        let ab = filtered(|[a, b]| a * b)?;
        let at = |i: usize| {
            let luminance = (2.0 * a[i] * b[i] + C1) / (a[i] * a[i] + b[i] * b[i] + C1);
            let (of_a, of_b) = (aa[i] - a[i] * a[i], bb[i] - b[i] * b[i]);
            luminance * (2.0 * (ab[i] - a[i] * b[i]) + C2) / (of_a + of_b + C2)
        };
        let in_slice = |z: usize| {
            let (mut sum, mut n) = (0.0, 0usize);
            for y in (0..ny).filter(|&y| whole(y, 1)) {
                for x in (0..nx).filter(|&x| whole(x, 0)) {
                    let i = x + nx * (y + ny * z);
                    if counts(i) {
                        sum += f64::from(at(i - low * slice));
                        n += 1;
                    }
                }
            }
            (sum, n)
        };
        // Summed in order, so that the result does not depend on threads.
        let found: Vec<(f64, usize)> = (start..end).into_par_iter().map(in_slice).collect();
        for (of_slice, voxels) in found {
            sum += of_slice;
            n += voxels;
        }
    }
    Ok((n > 0).then(|| sum / n as f64))
}

fn window(reach: usize) -> Vec<f64> {
    let reach = reach as i32;
    let weight = |k: i32| (-0.5 * (f64::from(k) / SIGMA_VOX).powi(2)).exp();
    let sum: f64 = (-reach..=reach).map(weight).sum();
    (-reach..=reach).map(|k| weight(k) / sum).collect()
}
