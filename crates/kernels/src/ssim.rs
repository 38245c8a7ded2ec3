//! Structural similarity in a Gaussian window, and its gradient.
//!
//! Wang et al. 2004, doi:10.1109/TIP.2003.819861, equation 13: with weighted means m, variances s²
//! and covariance c of a window of both images,
//! `(2 mx my + C1)(2 c + C2) / ((mx² + my² + C1)(sx² + sy² + C2))`, `C1 = (0.01 L)²`,
//! `C2 = (0.03 L)²`, L the range of the values. The mean is taken over the windows that lie inside
//! the image, and over the planes.
//!
//! Planes are `[depth][row][column]`; images have depth 1 and a window of 1 along it. The weights
//! are a product of one Gaussian per axis, so are the sums. Of sx² and sy² only the sum is needed.
//! Second moments are taken of the values less the mean of their plane, so that an offset costs no
//! digits; what rounding could leave below 0 of a sum of variances counts as 0.

mod blur;
mod passes;
#[cfg(test)]
mod tests;

use crate::simd::Level;

/// The geometry and constants of a comparison of `[plane][depth][row][column]`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Ssim {
    /// Samples times channels.
    pub planes: usize,
    /// Depth, rows and columns.
    pub size: [usize; 3],
    /// Elements of the window along each axis.
    pub window: [usize; 3],
    /// Standard deviation of the Gaussian, in elements.
    pub sigma: f32,
    /// The range L of the values: 2 where they lie in -1 to 1.
    pub range: f32,
}

impl Ssim {
    /// The paper's window, 11 elements wide with a standard deviation of 1.5, along all axes that
    /// are not of length 1.
    #[must_use]
    pub fn new(planes: usize, size: [usize; 3], range: f32) -> Self {
        Self {
            planes,
            size,
            window: size.map(|n| if n == 1 { 1 } else { 11 }),
            sigma: 1.5,
            range,
        }
    }

    /// Windows along each axis.
    ///
    /// # Panics
    ///
    /// Where the window is larger than the image.
    #[must_use]
    pub fn windows(&self) -> [usize; 3] {
        [0, 1, 2].map(|axis| {
            let (n, window) = (self.size[axis], self.window[axis]);
            assert!((1..=n).contains(&window), "the window fits: {self:?}");
            n + 1 - window
        })
    }

    /// The mean similarity of `x` and `y`.
    ///
    /// # Panics
    ///
    /// Where a length does not fit, the window is larger than the image, or the range is not
    /// positive.
    #[must_use]
    pub fn mean(&self, x: &[f32], y: &[f32]) -> f64 {
        passes::mean(Level::best(), self, x, y)
    }

    /// The mean similarity of `x` and `y`, and the gradients of `scale` times it: `dx` with respect
    /// to `x`, `dy` with respect to `y` if asked for. Every element of them is written.
    ///
    /// # Panics
    ///
    /// As [`Ssim::mean`].
    pub fn gradient(
        &self,
        x: &[f32],
        y: &[f32],
        scale: f32,
        dx: &mut [f32],
        dy: Option<&mut [f32]>,
    ) -> f64 {
        passes::gradient(Level::best(), self, x, y, scale, dx, dy)
    }

    fn check(&self, x: usize, y: usize) {
        let len = self.planes * self.size.iter().product::<usize>();
        assert!(x == len && y == len, "{x} and {y} elements for {self:?}");
        assert!(len > 0, "images to compare");
        assert!(
            self.range > 0.0 && self.sigma > 0.0,
            "range and deviation are positive: {self:?}"
        );
    }

    /// The weights along an axis. The middle one makes the rounded ones sum to 1: an error of theirs
    /// would look like variance where there is none.
    fn weights(&self, axis: usize) -> Vec<f32> {
        let n = self.window[axis];
        let middle = (n as f64 - 1.0) / 2.0;
        let bell: Vec<f64> = (0..n)
            .map(|i| (-0.5 * ((i as f64 - middle) / f64::from(self.sigma)).powi(2)).exp())
            .collect();
        let total: f64 = bell.iter().sum();
        let mut weights: Vec<f32> = bell.iter().map(|v| (v / total) as f32).collect();
        let rest = 1.0 - weights.iter().map(|&w| f64::from(w)).sum::<f64>();
        weights[n / 2] = (f64::from(weights[n / 2]) + rest) as f32;
        weights
    }
}
