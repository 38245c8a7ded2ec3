//! A net over every slice of a prepared volume.

use burn::tensor::{Device, Tensor, TensorData};

use crate::batch::{Prepared, neighbours, pad_to};
use crate::ops;

/// The smallest side a net is given: reflection padding needs a few pixels at its lowest level.
pub(super) const MIN_SIDE: usize = 32;

/// Runs `net` on each slice with `context` neighbours on either side as channels, extended to sides
/// of a multiple of `multiple` and cropped back; gives the planes `[channels][height × width]` of
/// each slice in turn. Beyond the ends the outermost slice is repeated.
pub(super) fn run(
    prepared: &Prepared,
    (multiple, context): (usize, usize),
    device: &Device,
    net: impl Fn(Tensor<4>) -> Tensor<4>,
    mut each: impl FnMut(usize, Vec<Vec<f32>>),
) {
    let shape = prepared.image.grid().shape();
    let size = [shape[0], shape[1]];
    let padded = size.map(|s| s.max(MIN_SIDE).next_multiple_of(multiple));
    let channels = 2 * context + 1;
    for z in 0..shape[2] {
        let mut stack = Vec::with_capacity(channels * padded[0] * padded[1]);
        for slice in neighbours(z, context, [0, shape[2] - 1]) {
            stack.extend(pad_to(prepared.image.slice_z(slice), size, padded));
        }
        let shape = [1, channels, padded[1], padded[0]];
        let x = Tensor::from_data(TensorData::new(stack, shape), device);
        let y = ops::values(net(x));
        let area = padded[0] * padded[1];
        each(
            z,
            y.chunks(area)
                .map(|plane| pad_to(plane, padded, size))
                .collect(),
        );
    }
}
