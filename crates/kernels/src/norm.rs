//! Instance normalisation with scale, shift, residual and activation in one.
//!
//! Ulyanov et al. 2016, arXiv:1607.08022: each channel of each sample is brought to mean 0 and
//! variance 1 (biased variance, plus eps) over its spatial elements. Tensors are
//! `[batch][channel][spatial]`.
//!
//! An instance is worked on in chunks of fixed size whose partial sums are joined in their order,
//! so that few large instances keep all threads busy and no result depends on their number. The
//! forward pass reads `x` twice, the backward pass its inputs twice; nothing else is kept between
//! them than a mean and a deviation per instance.

mod backward;
mod forward;
mod statistics;
#[cfg(test)]
mod tests;

use crate::simd::Level;

/// What is applied after the normalisation.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Activation {
    /// Nothing.
    None,
    /// `max(z, 0)`.
    Relu,
    /// `z` where positive, else the slope times `z`.
    LeakyRelu(f32),
}

impl Activation {
    /// The slope for negative values; for the others it is 1.
    fn slope(self) -> f32 {
        match self {
            Self::None => 1.0,
            Self::Relu => 0.0,
            Self::LeakyRelu(slope) => slope,
        }
    }
}

/// The geometry and constants of an instance normalisation of `[batch][channel][spatial]`.
#[derive(Debug, Clone, PartialEq)]
pub struct InstanceNorm {
    /// Samples times channels.
    pub instances: usize,
    /// Channels.
    pub channels: usize,
    /// Spatial elements of an instance.
    pub spatial: usize,
    /// Added to the variance.
    pub eps: f32,
    /// Applied last.
    pub activation: Activation,
}

impl InstanceNorm {
    /// `y = activation(gamma * (x - mean) * inv_std + beta)`; `affine` is `(gamma, beta)`, one each
    /// per channel. `mean` and `inv_std`, one each per instance, are written for the backward pass.
    ///
    /// # Panics
    ///
    /// Where a length does not fit.
    pub fn forward(
        &self,
        x: &[f32],
        affine: Option<(&[f32], &[f32])>,
        y: &mut [f32],
        mean: &mut [f32],
        inv_std: &mut [f32],
    ) {
        forward::forward(Level::best(), self, x, None, affine, y, mean, inv_std);
    }

    /// As [`InstanceNorm::forward`], with a `residual` of the size of `x` added before the
    /// activation: `y = activation(gamma * (x - mean) * inv_std + beta + residual)`.
    ///
    /// # Panics
    ///
    /// Where a length does not fit.
    pub fn forward_add(
        &self,
        x: &[f32],
        residual: &[f32],
        affine: Option<(&[f32], &[f32])>,
        y: &mut [f32],
        mean: &mut [f32],
        inv_std: &mut [f32],
    ) {
        let residual = Some(residual);
        forward::forward(Level::best(), self, x, residual, affine, y, mean, inv_std);
    }

    /// The gradient `dx` of the input, and of `(gamma, beta)` if asked for, from the gradient `dy`
    /// of the output; `x`, `mean`, `inv_std` and `affine` as in [`InstanceNorm::forward`].
    ///
    /// # Panics
    ///
    /// Where a length does not fit.
    #[allow(clippy::too_many_arguments, reason = "the arrays of a backward pass")]
    pub fn backward(
        &self,
        x: &[f32],
        mean: &[f32],
        inv_std: &[f32],
        affine: Option<(&[f32], &[f32])>,
        dy: &[f32],
        dx: &mut [f32],
        dgamma_dbeta: Option<(&mut [f32], &mut [f32])>,
    ) {
        let saved = backward::Saved {
            x,
            y: None,
            mean,
            inv_std,
            affine,
        };
        backward::backward(Level::best(), self, saved, dy, dx, None, dgamma_dbeta);
    }

    /// The gradients of [`InstanceNorm::forward_add`]. The side of the activation is read from its
    /// output `y`, so the residual need not be kept; its gradient goes to `dresidual` if asked for
    /// (with [`Activation::None`] that is `dy` itself: hand that on instead of asking).
    ///
    /// # Panics
    ///
    /// Where a length does not fit, or the slope of the activation is negative: `y` would not tell
    /// the side.
    #[allow(clippy::too_many_arguments, reason = "the arrays of a backward pass")]
    pub fn backward_add(
        &self,
        x: &[f32],
        y: &[f32],
        mean: &[f32],
        inv_std: &[f32],
        affine: Option<(&[f32], &[f32])>,
        dy: &[f32],
        dx: &mut [f32],
        dresidual: Option<&mut [f32]>,
        dgamma_dbeta: Option<(&mut [f32], &mut [f32])>,
    ) {
        let saved = backward::Saved {
            x,
            y: Some(y),
            mean,
            inv_std,
            affine,
        };
        backward::backward(Level::best(), self, saved, dy, dx, dresidual, dgamma_dbeta);
    }

    /// Gamma and beta of an instance.
    fn pair(&self, affine: Option<(&[f32], &[f32])>, instance: usize) -> (f32, f32) {
        let channel = instance % self.channels;
        affine.map_or((1.0, 0.0), |(gamma, beta)| (gamma[channel], beta[channel]))
    }

    fn check(
        &self,
        x: usize,
        y: usize,
        mean: usize,
        inv_std: usize,
        affine: Option<(&[f32], &[f32])>,
    ) {
        let len = self.instances * self.spatial;
        assert!(x == len && y == len, "{x} and {y} elements for {self:?}");
        assert!(
            mean == self.instances && inv_std == mean,
            "a mean and deviation per instance"
        );
        assert!(
            self.channels > 0 && self.instances.is_multiple_of(self.channels),
            "instances are samples times channels"
        );
        if let Some((gamma, beta)) = affine {
            assert!(
                [gamma.len(), beta.len()] == [self.channels; 2],
                "gamma and beta per channel"
            );
        }
    }
}
