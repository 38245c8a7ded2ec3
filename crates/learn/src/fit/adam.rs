//! Adam over a net's parameters, with a state that can be saved by name.

use std::path::Path;

use burn::module::Module;
use burn::tensor::Device;
use crossmod_kernels::Adam as AdamUpdate;
use serde::{Deserialize, Serialize};

use super::NetGradients;
use super::slots::{Slots, find};
use crate::Result;
use crate::net::weights::Named;

/// The optimiser's constants.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AdamConfig {
    /// Learning rate before the schedule.
    pub learning_rate: f32,
    /// Decay of the mean of the gradients.
    pub beta1: f32,
    /// Decay of the mean of their squares.
    pub beta2: f32,
    /// Added to the root of the squares' mean.
    pub epsilon: f32,
}

impl Default for AdamConfig {
    /// CycleGAN's and SynSeg-Net's 2e-4, β 0.5 and 0.999 (arXiv:1703.10593, §7.1); PyTorch's ε.
    fn default() -> Self {
        Self {
            learning_rate: 2e-4,
            beta1: 0.5,
            beta2: 0.999,
            epsilon: 1e-8,
        }
    }
}

/// Adam (Kingma & Ba, arXiv:1412.6980) for one net.
#[derive(Debug, Clone)]
pub struct Adam {
    config: AdamConfig,
    /// Updates made.
    updates: u32,
    /// Means of the gradients and of their squares.
    moments: Slots<2>,
}

const UPDATES: &str = "updates";

impl Adam {
    /// An optimiser of `net` that has seen nothing.
    #[must_use]
    pub fn new<M: Module>(config: &AdamConfig, net: &M) -> Self {
        Self {
            config: config.clone(),
            updates: 0,
            moments: Slots::new(["m:", "v:"], net),
        }
    }

    /// The net after one update; parameters without a gradient keep their value.
    ///
    /// # Panics
    /// Where the net is not the one the optimiser was made for.
    #[must_use]
    pub fn step<M: Module>(
        &mut self,
        net: M,
        grads: NetGradients,
        rate: f32,
        device: &Device,
    ) -> M {
        self.updates += 1;
        let update = AdamUpdate {
            lr: rate,
            beta1: self.config.beta1,
            beta2: self.config.beta2,
            eps: self.config.epsilon,
            weight_decay: 0.0,
        };
        let step = self.updates;
        self.moments
            .apply(net, grads, device, |values, grad, [mean, square]| {
                update.update(values, grad, mean, square, step);
            })
    }

    /// The moments and the number of updates, by name. Counts are exact up to 2²⁴.
    #[must_use]
    pub fn state(&self) -> Vec<Named> {
        let mut state = self.moments.state();
        // In two halves of 16 bits, each exact as f32.
        let halves = [self.updates >> 16, self.updates & 0xffff].map(|h| h as f32);
        state.push(Named {
            name: UPDATES.into(),
            shape: vec![2],
            values: halves.to_vec(),
        });
        state
    }

    /// Puts back what [`Adam::state`] gave.
    ///
    /// # Errors
    /// [`crate::Error::Run`] where an array is missing or has another shape.
    pub fn restore(&mut self, state: &[Named], run: &Path) -> Result<()> {
        self.moments.restore(state, run)?;
        let halves = find(state, UPDATES, &[2], run)?;
        self.updates = (halves[0] as u32) << 16 | halves[1] as u32;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::{Distribution, Tensor};
    use crossmod_volume::rng::Rng;

    use super::*;
    use crate::net::weights::collect;
    use crate::net::{PatchGan, PatchGanConfig};

    /// A net, and the gradients of a loss of it.
    fn net(width: usize, device: &Device) -> (PatchGan, NetGradients) {
        let net = PatchGanConfig { width }.init::<4>(1, &mut Rng::new(1, 0, 0), device);
        let x = Tensor::<4>::random([1, 1, 32, 32], Distribution::Default, device);
        let grads = net.forward(x).square().mean().backward();
        let grads = NetGradients::take(&net, grads);
        (net, grads)
    }

    #[test]
    fn a_first_update_moves_each_parameter_by_the_rate_against_its_gradient() {
        let device = crate::device::cpu_training();
        let (net, grads) = net(1, &device);
        let before = collect(&net);
        let mut adam = Adam::new(&AdamConfig::default(), &net);
        let after = collect(&adam.step(net, grads, 0.5, &device));
        let last = before.len() - 1;
        // The last bias has a gradient far from zero, so m/√v is ±1 on the first update.
        let moved = (after[last].values[0] - before[last].values[0]).abs();
        assert!((moved - 0.5).abs() < 1e-3, "{moved}");
        assert_eq!(adam.updates, 1);
    }

    #[test]
    fn the_state_comes_back() -> Result<()> {
        let device = crate::device::cpu_training();
        let (one, grads) = net(1, &device);
        let mut adam = Adam::new(&AdamConfig::default(), &one);
        adam.updates = 70_000;
        let one = adam.step(one, grads, 0.5, &device);
        let mut other = Adam::new(&AdamConfig::default(), &one);
        assert_ne!(other.state(), adam.state());
        other.restore(&adam.state(), Path::new("run"))?;
        assert_eq!((other.updates, other.state()), (70_001, adam.state()));
        let mut wrong = Adam::new(&AdamConfig::default(), &net(2, &device).0);
        assert!(wrong.restore(&adam.state(), Path::new("run")).is_err());
        Ok(())
    }
}
