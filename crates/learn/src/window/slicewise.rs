//! A net over every slice of a prepared volume.

use burn::tensor::{Device, Tensor, TensorData};

use crate::batch::{Prepared, pad_to};
use crate::ops;

/// The smallest side a net is given: reflection padding needs a few pixels at its lowest level.
pub(super) const MIN_SIDE: usize = 32;

/// Runs `net` on each slice, extended to sides of a multiple of `multiple` and cropped back; gives
/// the planes `[channels][height × width]` of each slice in turn.
pub(super) fn run(
    prepared: &Prepared,
    multiple: usize,
    device: &Device,
    net: impl Fn(Tensor<4>) -> Tensor<4>,
    mut each: impl FnMut(usize, Vec<Vec<f32>>),
) {
    let shape = prepared.image.grid().shape();
    let size = [shape[0], shape[1]];
    let padded = size.map(|s| s.max(MIN_SIDE).next_multiple_of(multiple));
    for z in 0..shape[2] {
        let slice = pad_to(prepared.image.slice_z(z), size, padded);
        let x = Tensor::from_data(TensorData::new(slice, [1, 1, padded[1], padded[0]]), device);
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
