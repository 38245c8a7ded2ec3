//! Stochastic gradient descent with Nesterov momentum over a net's parameters.

use std::path::Path;

use burn::module::Module;
use burn::tensor::Device;
use crossmod_kernels::Sgd as SgdUpdate;
use serde::{Deserialize, Serialize};

use super::NetGradients;
use super::slots::Slots;
use crate::Result;
use crate::net::weights::Named;

/// The optimiser's constants.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SgdConfig {
    /// Learning rate before the schedule.
    pub learning_rate: f32,
    /// Decay of the sum of the gradients.
    pub momentum: f32,
    /// Added to the gradient as this times the parameter.
    pub weight_decay: f32,
}

impl Default for SgdConfig {
    /// nnU-Net's (Isensee et al., doi:10.1038/s41592-020-01008-z).
    fn default() -> Self {
        Self {
            learning_rate: 1e-2,
            momentum: 0.99,
            weight_decay: 3e-5,
        }
    }
}

/// SGD for one net, the momentum as PyTorch has it (see [`crossmod_kernels::Sgd`]).
#[derive(Debug, Clone)]
pub struct Sgd {
    config: SgdConfig,
    momenta: Slots<1>,
}

impl Sgd {
    /// An optimiser of `net` that has seen nothing.
    #[must_use]
    pub fn new<M: Module>(config: &SgdConfig, net: &M) -> Self {
        Self {
            config: config.clone(),
            momenta: Slots::new(["m:"], net),
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
        let update = SgdUpdate {
            lr: rate,
            momentum: self.config.momentum,
            weight_decay: self.config.weight_decay,
        };
        self.momenta
            .apply(net, grads, device, |values, grad, [momentum]| {
                update.update(values, grad, momentum);
            })
    }

    /// The momenta, by name.
    #[must_use]
    pub fn state(&self) -> Vec<Named> {
        self.momenta.state()
    }

    /// Puts back what [`Sgd::state`] gave.
    ///
    /// # Errors
    /// [`crate::Error::Run`] where an array is missing or has another shape.
    pub fn restore(&mut self, state: &[Named], run: &Path) -> Result<()> {
        self.momenta.restore(state, run)
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::Tensor;
    use crossmod_volume::rng::Rng;

    use super::*;
    use crate::net::{PatchGan, PatchGanConfig, weights::collect};

    /// Two steps with what was saved between them are two steps in a row.
    #[test]
    fn the_momentum_comes_back() -> Result<()> {
        let device = crate::device::cpu_training();
        let net = PatchGanConfig { width: 1 }.init::<4>(1, &mut Rng::new(1, 0, 0), &device);
        let x = Tensor::<4>::random([1, 1, 32, 32], burn::tensor::Distribution::Default, &device);
        let step = |sgd: &mut Sgd, net: PatchGan| {
            let grads = net.forward(x.clone()).square().mean().backward();
            let grads = NetGradients::take(&net, grads);
            sgd.step(net, grads, 1e-2, &device)
        };
        let config = SgdConfig::default();
        let mut sgd = Sgd::new(&config, &net);
        let once = step(&mut sgd, net);
        let [mut restored, mut forgetful] = [(); 2].map(|()| Sgd::new(&config, &once));
        restored.restore(&sgd.state(), Path::new("run"))?;
        let twice = collect(&step(&mut sgd, once.clone()));
        assert_eq!(collect(&step(&mut restored, once.clone())), twice);
        assert_ne!(collect(&step(&mut forgetful, once)), twice);
        Ok(())
    }
}
