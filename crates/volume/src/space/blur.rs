//! Gaussian blur, axis by axis.
//!
//! The kernel is the Gaussian sampled at voxel centres up to 4 σ, with sum 1; beyond its ends the
//! image holds its edge. The same as `scipy.ndimage.gaussian_filter(mode="nearest", truncate=4)`.

use serde::{Deserialize, Serialize};

use super::taps::Taps;
use crate::{Error, Grid, Image, Result};

/// The kernel ends at this many σ.
const TRUNCATE: f64 = 4.0;

/// Largest σ, voxels: far beyond the size of any volume.
const LARGEST: f64 = 1e5;

/// The standard deviation of a Gaussian along (x, y, z); 0 leaves an axis as it is.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Sigma {
    /// In voxels.
    Vox([f64; 3]),
    /// In millimetres.
    Mm([f64; 3]),
}

impl Sigma {
    /// In voxels of a grid.
    #[must_use]
    pub fn vox(self, grid: &Grid) -> [f64; 3] {
        match self {
            Self::Vox(sigma) => sigma,
            Self::Mm(sigma) => {
                let spacing = grid.spacing_mm();
                [0, 1, 2].map(|axis| sigma[axis] / spacing[axis])
            }
        }
    }
}

/// The image blurred. Holds one more volume while it works.
///
/// # Errors
/// [`Error::Geometry`] where a standard deviation is below 0 or above 100,000 voxels.
pub fn blur(image: Image, sigma: Sigma) -> Result<Image> {
    let sigma_vox = sigma.vox(image.grid());
    if !sigma_vox.iter().all(|s| (0.0..=LARGEST).contains(s)) {
        return Err(Error::geometry(format!(
            "expected standard deviations of 0 to {LARGEST} voxels, found {sigma:?}"
        )));
    }
    let shape = image.grid().shape();
    let kernels = [0, 1, 2].map(|axis| gaussian(sigma_vox[axis], shape[axis]));
    Ok(convolve(image, [0, 1, 2].map(|axis| &*kernels[axis])))
}

/// The image filtered along (x, y, z), each sample becoming the sum of its neighbours weighed by a
/// kernel whose middle is its own; a kernel of `[1.0]` leaves an axis as it is. Beyond its ends the
/// image holds its edge. Holds one more volume while it works.
///
/// # Panics
/// Where a kernel has no middle: its length is even.
#[must_use]
pub fn convolve(image: Image, kernels: [&[f64]; 3]) -> Image {
    let (grid, mut data) = image.into_parts();
    let shape = grid.shape();
    for (axis, kernel) in kernels.into_iter().enumerate() {
        assert_eq!(kernel.len() % 2, 1, "a kernel with a middle");
        data = Taps::convolving(shape[axis], kernel).apply(data, shape, axis);
    }
    Image::new(grid, data).expect("as many samples as before")
}

/// The kernel for an axis of `n` voxels, its middle at σ 0.
fn gaussian(sigma_vox: f64, n: usize) -> Vec<f64> {
    let radius = (TRUNCATE * sigma_vox + 0.5).floor();
    let weight = |k: f64| (-0.5 * (k / sigma_vox) * (k / sigma_vox)).exp();
    // Voxels further than the axis is long all hold the same edge, so that a kernel wider than
    // that is summed there instead of stored.
    let reach = radius.min(n as f64);
    if reach < 1.0 {
        return vec![1.0];
    }
    let beyond: f64 = (reach as u64 + 1..=radius as u64)
        .map(|k| weight(k as f64))
        .sum();
    let reach = reach as i64;
    let mut kernel: Vec<f64> = (-reach..=reach).map(|k| weight(k as f64)).collect();
    if let [first, .., last] = &mut kernel[..] {
        *first += beyond;
        *last += beyond;
    }
    let sum: f64 = kernel.iter().sum();
    kernel.iter_mut().for_each(|w| *w /= sum);
    kernel
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(data: Vec<f32>) -> Image {
        let grid = Grid::with_spacing([data.len(), 1, 1], [2.0, 1.0, 1.0]).expect("a grid");
        Image::new(grid, data).expect("an image")
    }

    /// `scipy.ndimage.gaussian_filter1d([0, 0, 10, 0, 4, 4], s, mode="nearest")`, SciPy 1.17.1.
    #[test]
    fn as_scipy() {
        let expected = [
            (
                0.8,
                [0.219103, 2.28487, 5.076169, 3.285754, 3.216456, 3.915003],
            ),
            (
                2.0,
                [1.363793, 2.173315, 2.891654, 3.361408, 3.608824, 3.750692],
            ),
        ];
        for (sigma, expected) in expected {
            for sigma in [Sigma::Vox([sigma; 3]), Sigma::Mm([2.0 * sigma, 0.0, 0.0])] {
                let image = line(vec![0.0, 0.0, 10.0, 0.0, 4.0, 4.0]);
                let found = blur(image, sigma).expect("blurred");
                for (a, b) in found.data().iter().zip(expected) {
                    assert!((a - b).abs() < 1e-5, "{sigma:?} {:?}", found.data());
                }
            }
        }
    }

    #[test]
    fn a_point_becomes_a_gaussian_of_that_width_along_each_axis() {
        let shape = [41, 37, 33];
        let grid = Grid::with_spacing(shape, [1.0, 0.5, 2.0]).expect("a grid");
        let mut image = Image::new(grid.clone(), vec![0.0; grid.len()]).expect("an image");
        image.data_mut()[grid.index([20, 18, 16])] = 1.0;
        let sigma_mm = [1.5, 1.25, 4.0];
        let found = blur(image, Sigma::Mm(sigma_mm)).expect("blurred");
        let mut sum = 0.0;
        let mut second = [0.0; 3];
        for (i, &v) in found.data().iter().enumerate() {
            let at = [i % 41, i / 41 % 37, i / (41 * 37)];
            let from = [20.0, 18.0, 16.0];
            sum += f64::from(v);
            for axis in 0..3 {
                let mm = (at[axis] as f64 - from[axis]) * grid.spacing_mm()[axis];
                second[axis] += f64::from(v) * mm * mm;
            }
        }
        assert!((sum - 1.0).abs() < 1e-5);
        for axis in 0..3 {
            let sd = second[axis].sqrt();
            assert!((sd / sigma_mm[axis] - 1.0).abs() < 2e-3, "{axis} {sd}");
        }
    }

    #[test]
    fn no_width_changes_nothing_and_a_great_one_is_a_mean_of_the_ends() {
        let image = line(vec![1.0, 7.0, 3.0]);
        assert_eq!(
            blur(image.clone(), Sigma::Vox([0.0; 3])).expect("blurred"),
            image
        );
        let flat = blur(image.clone(), Sigma::Vox([1e4; 3])).expect("blurred");
        assert!(
            flat.data().iter().all(|v| (v - 2.0).abs() < 1e-2),
            "{:?}",
            flat.data()
        );
        for bad in [-1.0, f64::NAN, f64::INFINITY] {
            assert!(blur(image.clone(), Sigma::Vox([bad, 0.0, 0.0])).is_err());
        }
    }
}
