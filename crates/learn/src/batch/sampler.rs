//! Which slice or block of slices a step sees, and its random patch: keyed by the step, so nothing needs saving.

use burn::tensor::{Device, Tensor, TensorData};
use crossmod_volume::rng::{Rng, case_id};

use super::{AugmentConfig, Slices};

/// In which order slices come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// Each once an epoch, shuffled anew each epoch.
    Shuffled,
    /// Drawn independently: CycleGAN's second domain, so that pairs never repeat.
    Random,
}

/// Makes the batches of one domain.
#[derive(Debug)]
pub struct Sampler {
    slices: Slices,
    order: Order,
    augment: AugmentConfig,
    patch: usize,
    seed: u64,
    name: &'static str,
    /// The epoch whose order is held, and the order.
    epoch: Option<(u64, Vec<usize>)>,
}

/// Patches of one domain.
#[derive(Debug, Clone, PartialEq)]
pub struct Batch {
    /// `[n, channels, depth, height, width]`, in [-1, 1].
    pub images: Vec<f32>,
    /// `[n, depth, height, width]` class indices, where the domain is labelled.
    pub classes: Option<Vec<u8>>,
    /// Number of patches.
    pub len: usize,
    /// Slices that are channels: one and its neighbours.
    pub channels: usize,
    /// Depth, height and width of a patch; the depth of slices is 1.
    pub shape: [usize; 3],
}

impl Sampler {
    /// A sampler of `slices`; `name` keeps its random draws apart from other samplers'.
    #[must_use]
    pub fn new(
        slices: Slices,
        order: Order,
        augment: AugmentConfig,
        patch: usize,
        seed: u64,
        name: &'static str,
    ) -> Self {
        Self {
            slices,
            order,
            augment,
            patch,
            seed,
            name,
            epoch: None,
        }
    }

    /// Slices to choose from.
    #[must_use]
    pub fn slices(&self) -> &Slices {
        &self.slices
    }

    /// The `n` patches of `step`.
    ///
    /// # Panics
    /// Where there are no slices; recipes refuse empty data before training.
    pub fn batch(&mut self, step: u64, n: usize) -> Batch {
        let (side, patch) = (self.slices.side(), self.patch);
        let (channels, depth) = (self.slices.channels(), self.slices.depth());
        let mut images = Vec::with_capacity(n * channels * depth * patch * patch);
        let mut classes = Vec::new();
        for i in 0..n as u64 {
            let item = step * n as u64 + i;
            let mut rng = Rng::new(self.seed, case_id(self.name) ^ item >> 32, item as u32);
            let index = self.choose(item, &mut rng);
            let draw = self.augment.draw(side, patch, &mut rng);
            let place = match self.slices.places(index) {
                1 => 0,
                places => rng.below(places),
            };
            for plane in self.slices.planes(index, place) {
                images.extend(draw.image(plane, side, patch));
            }
            for plane in self.slices.classes(index, place).into_iter().flatten() {
                classes.extend(draw.classes(plane, side, patch));
            }
        }
        let classes = (!classes.is_empty()).then_some(classes);
        Batch {
            images,
            classes,
            len: n,
            channels,
            shape: [depth, patch, patch],
        }
    }

    fn choose(&mut self, item: u64, rng: &mut Rng) -> usize {
        let n = self.slices.len();
        if self.order == Order::Random {
            return rng.below(n);
        }
        let (epoch, place) = (item / n as u64, (item % n as u64) as usize);
        if self.epoch.as_ref().is_none_or(|(held, _)| *held != epoch) {
            let key = case_id(self.name).rotate_left(32);
            let order = Rng::new(self.seed, key, epoch as u32).permutation(n);
            self.epoch = Some((epoch, order));
        }
        self.epoch.as_ref().map_or(place, |(_, order)| order[place])
    }
}

impl Batch {
    /// The images on a device: `[n, channels, height, width]`, or as volumes (`D` = 5)
    /// `[n, channels, depth, height, width]`.
    ///
    /// # Panics
    /// Where images have more than one slice, which are no channels.
    #[must_use]
    pub fn tensor<const D: usize>(&self, device: &Device) -> Tensor<D> {
        tensor(
            self.images.clone(),
            [self.len, self.channels],
            self.shape,
            device,
        )
    }

    /// Pixels of a patch of one channel.
    pub(crate) fn area(&self) -> usize {
        self.shape.iter().product()
    }

    /// The class of every pixel of every patch.
    #[must_use]
    pub fn truth(&self) -> Option<Vec<u16>> {
        let classes = self.classes.as_ref()?;
        Some(classes.iter().map(|&class| u16::from(class)).collect())
    }
}

/// Images on a device, of so many channels and so many planes, rows and columns each: as images
/// (`D` = 4) of one plane, or as volumes (`D` = 5).
///
/// # Panics
/// Where the values are not as many.
pub(crate) fn tensor<const D: usize>(
    values: Vec<f32>,
    [n, channels]: [usize; 2],
    shape: [usize; 3],
    device: &Device,
) -> Tensor<D> {
    let mut dims = [n; D];
    dims[1] = channels;
    dims[2..].copy_from_slice(&shape[5 - D..]);
    Tensor::from_data(TensorData::new(values, dims), device)
}
