//! Convolution (cross-correlation, as nets use the word) in three dimensions and its gradients; two
//! dimensions are a depth of 1.
//!
//! The common method is direct convolution, without im2col: the input is copied once with its padding
//! (and, for stride 2, split by parity, so that what a vector reads is
//! contiguous), the weights once into the order they are read in; then a block of output channels
//! times a few vectors of neighbouring outputs stays in registers while the loop runs over input
//! channels and kernel taps. The shape of the loop follows the "direct convolution" literature
//! (Georganas et al., SC'18, doi:10.1109/SC.2018.00069). The gradient of the input is the same
//! loop over the output's gradient; the gradient of the weights keeps output channels times taps
//! in registers and runs over positions.
//!
//! The inner loops know only a list of vectors and a list of tap offsets, not dimensions.
//!
//! Four other ways are taken where they are faster, see `way`: `winograd` for kernels of 3 × 3 and 4 × 4,
//! `panels` (matrix products) for stride 2 and for the gradient of the weights, `columns` where one
//! or two channels are written, and `unrolled` where channels are many and positions few.

mod columns;
mod correlate;
mod forward;
mod grad_input;
mod grad_weight;
mod matrix;
mod pack;
mod pad;
mod panels;
mod sweep;
#[cfg(test)]
mod tests;
mod tile;
mod unrolled;
mod way;
mod window;
mod winograd;

use crate::simd::{Kernel, Lanes, Level};
use crate::sums;
use crate::threads;
use rayon::prelude::*;
use way::{Pass, Way};

/// What lies outside the image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Padding {
    /// Zeros.
    Zero,
    /// The image mirrored at the centre of its border elements: `c b | a b c | b a`.
    Reflect,
    /// The border element repeated: `a a | a b c | c c`.
    Replicate,
}

/// The geometry of a convolution. Three figures are those of depth, rows and columns; images have a
/// depth of 1, and so do their kernels, with a depth stride of 1 and no depth padding.
///
/// A transposed convolution is [`Conv::grad_input`] of the convolution that goes the other way,
/// `in_size` being the large side.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Conv {
    /// Samples.
    pub batch: usize,
    /// Channels of the input.
    pub in_channels: usize,
    /// Channels of the output.
    pub out_channels: usize,
    /// Size of the input.
    pub in_size: [usize; 3],
    /// Size of the kernel.
    pub kernel: [usize; 3],
    /// Step between outputs, in input elements: 1 or 2.
    pub stride: [usize; 3],
    /// Elements added on both sides.
    pub padding: [usize; 3],
    /// What the added elements are.
    pub mode: Padding,
}

impl Conv {
    /// Size of the output: `floor((in + 2 padding - kernel) / stride) + 1`.
    ///
    /// # Panics
    ///
    /// Where a stride is 0 or the kernel is larger than the padded input.
    #[must_use]
    pub fn out_size(&self) -> [usize; 3] {
        [0, 1, 2]
            .map(|i| (self.in_size[i] + 2 * self.padding[i] - self.kernel[i]) / self.stride[i] + 1)
    }

    /// Elements of the input.
    #[must_use]
    pub fn in_len(&self) -> usize {
        self.batch * self.in_channels * self.in_size.iter().product::<usize>()
    }

    /// Elements of the output.
    #[must_use]
    pub fn out_len(&self) -> usize {
        self.batch * self.out_channels * self.out_size().iter().product::<usize>()
    }

    /// Elements of the weights.
    #[must_use]
    pub fn weight_len(&self) -> usize {
        self.out_channels * self.in_channels * self.taps()
    }

    /// The output `y` of input `x` under weights `w`.
    ///
    /// # Panics
    ///
    /// Where a length does not fit the geometry, or the geometry is void (see the check's words).
    pub fn forward(&self, x: &[f32], w: &[f32], bias: Option<&[f32]>, y: &mut [f32]) {
        self.check(x.len(), w.len(), y.len());
        assert!(
            bias.is_none_or(|b| b.len() == self.out_channels),
            "one bias per output channel"
        );
        let way = Way::best(self, Pass::Forward);
        forward::forward(Level::best(), way, self, x, w, bias, y);
    }

    /// The gradient `dx` of the input from the gradient `dy` of the output: the exact adjoint of
    /// [`Conv::forward`] without bias. Every element of `dx` is written.
    ///
    /// # Panics
    ///
    /// As [`Conv::forward`].
    pub fn grad_input(&self, dy: &[f32], w: &[f32], dx: &mut [f32]) {
        self.check(dx.len(), w.len(), dy.len());
        let way = Way::best(self, Pass::Input);
        grad_input::grad_input(Level::best(), way, self, dy, w, dx);
    }

    /// The gradient `dw` of the weights from the input and the gradient `dy` of the output.
    ///
    /// # Panics
    ///
    /// As [`Conv::forward`].
    pub fn grad_weight(&self, x: &[f32], dy: &[f32], dw: &mut [f32]) {
        self.check(x.len(), dw.len(), dy.len());
        let way = Way::best(self, Pass::Weight);
        grad_weight::grad_weight(Level::best(), way, self, x, dy, dw);
    }

    fn taps(&self) -> usize {
        self.kernel.iter().product()
    }

    /// Whether every output is a sum over the channels of one input element, in the same order.
    fn pointwise(&self) -> bool {
        self.kernel == [1; 3] && self.stride == [1; 3] && self.padding == [0; 3]
    }

    fn check(&self, x: usize, w: usize, y: usize) {
        for i in [0, 1, 2] {
            assert!(
                self.stride[i] == 1 || self.stride[i] == 2,
                "a stride is 1 or 2: {self:?}"
            );
            assert!(
                self.kernel[i] > 0 && self.in_size[i] > 0,
                "no size is 0: {self:?}"
            );
            assert!(
                self.in_size[i] + 2 * self.padding[i] >= self.kernel[i],
                "the kernel fits into the padded input: {self:?}"
            );
        }
        assert_eq!(x, self.in_len(), "elements of the input of {self:?}");
        assert_eq!(w, self.weight_len(), "elements of the weights of {self:?}");
        assert_eq!(y, self.out_len(), "elements of the output of {self:?}");
    }
}

/// Every position of a box of `size`, row-major.
fn positions([depth, rows, cols]: [usize; 3]) -> impl Iterator<Item = [usize; 3]> {
    (0..depth).flat_map(move |a| (0..rows).flat_map(move |b| (0..cols).map(move |c| [a, b, c])))
}

/// The gradient `db` of a bias: the sum of `dy[batch][channel][spatial]` per channel.
///
/// # Panics
///
/// Where a length does not fit.
pub fn grad_bias(dy: &[f32], batch: usize, channels: usize, spatial: usize, db: &mut [f32]) {
    assert_eq!(dy.len(), batch * channels * spatial, "elements of dy");
    assert_eq!(db.len(), channels, "one gradient per channel");
    let level = Level::best();
    let least = threads::least(batch * spatial);
    db.par_iter_mut()
        .with_min_len(least)
        .enumerate()
        .for_each(|(channel, db)| {
            let sum: f64 = (0..batch)
                .map(|b| level.run(Sum(&dy[(b * channels + channel) * spatial..][..spatial])))
                .sum();
            *db = sum as f32;
        });
}

/// The sum of a slice.
struct Sum<'a>(&'a [f32]);

impl Kernel for Sum<'_> {
    type Output = f64;

    #[inline(always)]
    fn run<V: Lanes>(self) -> f64 {
        sums::of_pairs(self.0, self.0, |value, _| value)
    }
}
