//! A discriminator in training, of images (`D` = 4) or volumes (`D` = 5).

use burn::tensor::{Device, Tensor, TensorData};
use crossmod_volume::rng::{Rng, case_id};

use super::synseg::scalar;
use crate::fit::{Adam, AdamConfig, ImagePool, NetGradients, RunFolder, State};
use crate::loss::least_squares;
use crate::net::PatchGan;
use crate::net::weights::{Named, collect, fill};
use crate::{Result, ops};

/// A discriminator, its optimiser, and the translations it may be shown again.
#[derive(Debug)]
pub(super) struct Judge<const D: usize> {
    pub(super) net: PatchGan<D>,
    pub(super) pool: ImagePool,
    adam: Adam,
}

impl<const D: usize> Judge<D> {
    /// A new discriminator with room for so many translations.
    pub(super) fn new(net: PatchGan<D>, optimizer: &AdamConfig, pool: usize) -> Self {
        Self {
            adam: Adam::new(optimizer, &net),
            net,
            pool: ImagePool::new(pool),
        }
    }

    /// One past or present translation for each new one, as a constant.
    pub(super) fn pooled(&mut self, fakes: Tensor<D>, rng: &mut Rng, device: &Device) -> Tensor<D> {
        let shape = fakes.dims();
        let values = ops::values(fakes);
        let shown: Vec<f32> = values
            .chunks(values.len() / shape[0])
            .flat_map(|image| self.pool.exchange(image.to_vec(), rng))
            .collect();
        Tensor::from_data(TensorData::new(shown, shape), device)
    }

    /// One update; returns the loss before it.
    pub(super) fn step(
        &mut self,
        real: Tensor<D>,
        fake: Tensor<D>,
        rate: f32,
        device: &Device,
    ) -> f32 {
        let loss = judge_loss(&self.net, real, fake);
        let value = scalar(&loss);
        let grads = NetGradients::take(&self.net, loss.backward());
        self.net = self.adam.step(self.net.clone(), grads, rate, device);
        value
    }

    /// All that [`Judge::restore`] needs, by name.
    pub(super) fn state(&self, of: &str) -> Vec<(String, Vec<Named>)> {
        let image = |(i, v): (usize, &Vec<f32>)| Named {
            name: format!("{i:04}"),
            shape: vec![v.len()],
            values: v.clone(),
        };
        let pool = self.pool.images().iter().enumerate().map(image).collect();
        vec![
            (format!("judge_{of}"), collect(&self.net)),
            (format!("adam_judge_{of}"), self.adam.state()),
            (format!("pool_{of}"), pool),
        ]
    }

    /// Puts back what [`Judge::state`] gave.
    ///
    /// # Errors
    /// Where the state is of another recipe.
    pub(super) fn restore(
        &mut self,
        of: &str,
        state: &State,
        run: &RunFolder,
        device: &Device,
    ) -> Result<()> {
        let root = run.root();
        let weights = state.arrays(&format!("judge_{of}"), root)?;
        self.net = fill(self.net.clone(), weights, device, root)?;
        let adam = state.arrays(&format!("adam_judge_{of}"), root)?;
        self.adam.restore(adam, root)?;
        let mut images = state.arrays(&format!("pool_{of}"), root)?.to_vec();
        images.sort_by(|a, b| a.name.cmp(&b.name));
        let images = images.into_iter().map(|image| image.values);
        self.pool.restore(images.collect());
        Ok(())
    }
}

/// ½ (D(real) → 1, D(fake) → 0), the fake detached.
pub(super) fn judge_loss<const D: usize>(
    judge: &PatchGan<D>,
    real: Tensor<D>,
    fake: Tensor<D>,
) -> Tensor<1> {
    let real = least_squares(judge.forward(real), 1.0);
    (real + least_squares(judge.forward(fake), 0.0)) * 0.5
}

/// What the weights of a discriminator are drawn from.
pub(super) fn first_draw(seed: u64, name: &str) -> Rng {
    Rng::new(seed, case_id(name), 0)
}
