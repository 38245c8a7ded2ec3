//! The perceptrons that features are compared behind.

use burn::module::Module;
use burn::tensor::{Device, Int, Tensor, TensorData};
use crossmod_volume::rng::Rng;

use crate::loss::unit_length;
use crate::net::{Conv, INIT_SD, Init};
use crate::ops::{self, Pointwise, Walk};

/// One perceptron of two layers for each tap, N(0, 0.02²) at first.
#[derive(Module, Debug)]
pub(super) struct Projector {
    first: Vec<Conv>,
    second: Vec<Conv>,
}

impl Projector {
    /// For taps of so many channels each.
    pub(super) fn new(channels: &[usize], features: usize, rng: &mut Rng, device: &Device) -> Self {
        let pointwise = Walk::zero(1, 0);
        let init = Init::Normal(INIT_SD);
        let mut layer = |from| Conv::new([from, features], 1, pointwise, init, rng, device);
        Self {
            first: channels.iter().map(|&c| layer(c)).collect(),
            second: channels.iter().map(|_| layer(features)).collect(),
        }
    }

    /// What some places of a tap are compared by, at length 1.
    ///
    /// # Shapes
    /// `[n, c, (d,) h, w]` and places of (d ×) h × w to `[n, features, places]`.
    pub(super) fn forward<const D: usize>(
        &self,
        tap: usize,
        maps: Tensor<D>,
        places: &[i32],
    ) -> Tensor<3> {
        let [n, c] = [maps.dims()[0], maps.dims()[1]];
        let size = maps.dims()[2..].iter().product::<usize>();
        let device = maps.device();
        let chosen = Tensor::<1, Int>::from_data(TensorData::from(places), &device);
        let some: Tensor<3> = maps.reshape([n, c, size]).select(2, chosen);
        // A place a pixel, so that the perceptron is two pointwise convolutions.
        let x = some.reshape([n, c, 1, places.len()]);
        let x = ops::pointwise(self.first[tap].forward(x), Pointwise::LeakyRelu(0.0));
        let y = self.second[tap].forward(x);
        let [n, features, _, places] = y.dims();
        unit_length(y.reshape([n, features, places]))
    }
}
