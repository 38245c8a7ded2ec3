//! Adam over a net's parameters, with a state that can be saved by name.

use std::path::Path;

use burn::module::{Module, ModuleMapper, Param};
use burn::tensor::{Device, Gradients, Tensor, TensorData};
use crossmod_kernels::Adam as AdamUpdate;
use serde::{Deserialize, Serialize};

use crate::net::weights::{Named, collect};
use crate::{Error, Result, ops};

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
    /// By parameter, in module order: its name and shape, and both moments.
    moments: Vec<Moments>,
}

#[derive(Debug, Clone)]
struct Moments {
    name: String,
    shape: Vec<usize>,
    m: Vec<f32>,
    v: Vec<f32>,
}

/// Prefixes of a parameter's name in the saved state.
const MEAN: &str = "m:";
const SQUARE: &str = "v:";
const UPDATES: &str = "updates";

impl Adam {
    /// An optimiser of `net` that has seen nothing.
    #[must_use]
    pub fn new<M: Module>(config: &AdamConfig, net: &M) -> Self {
        let moments = collect(net)
            .into_iter()
            .map(|p| Moments {
                m: vec![0.0; p.values.len()],
                v: vec![0.0; p.values.len()],
                name: p.name,
                shape: p.shape,
            })
            .collect();
        Self {
            config: config.clone(),
            updates: 0,
            moments,
        }
    }

    /// The net after one update; parameters without a gradient keep their value.
    ///
    /// # Panics
    /// Where the net is not the one the optimiser was made for.
    #[must_use]
    pub fn step<M: Module>(&mut self, net: M, grads: Gradients, rate: f32, device: &Device) -> M {
        self.updates += 1;
        let update = AdamUpdate {
            lr: rate,
            beta1: self.config.beta1,
            beta2: self.config.beta2,
            eps: self.config.epsilon,
            weight_decay: 0.0,
        };
        net.map(&mut Apply {
            update,
            step: self.updates,
            moments: self.moments.iter_mut(),
            grads,
            device,
        })
    }

    /// The moments and the number of updates, by name. Counts are exact up to 2²⁴.
    #[must_use]
    pub fn state(&self) -> Vec<Named> {
        let named = |prefix: &str, p: &Moments, values: &Vec<f32>| Named {
            name: format!("{prefix}{}", p.name),
            shape: p.shape.clone(),
            values: values.clone(),
        };
        let mut state: Vec<Named> = self
            .moments
            .iter()
            .flat_map(|p| [named(MEAN, p, &p.m), named(SQUARE, p, &p.v)])
            .collect();
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
    /// [`Error::Run`] where an array is missing or has another shape.
    pub fn restore(&mut self, state: &[Named], run: &Path) -> Result<()> {
        let find = |name: String, shape: &[usize]| {
            state
                .iter()
                .find(|a| a.name == name && a.shape == shape)
                .ok_or_else(|| {
                    Error::run(
                        format!("expected the optimiser's {name} of shape {shape:?}"),
                        run,
                    )
                })
        };
        for p in &mut self.moments {
            p.m.clone_from(&find(format!("{MEAN}{}", p.name), &p.shape)?.values);
            p.v.clone_from(&find(format!("{SQUARE}{}", p.name), &p.shape)?.values);
        }
        let halves = &find(UPDATES.into(), &[2])?.values;
        self.updates = (halves[0] as u32) << 16 | halves[1] as u32;
        Ok(())
    }
}

struct Apply<'a> {
    update: AdamUpdate,
    step: u32,
    moments: std::slice::IterMut<'a, Moments>,
    grads: Gradients,
    device: &'a Device,
}

impl ModuleMapper for Apply<'_> {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let moments = self
            .moments
            .next()
            .expect("the optimiser was made for this net");
        let tensor = param.val();
        let Some(grad) = tensor.grad_remove(&mut self.grads) else {
            return param;
        };
        drop(param);
        let shape = tensor.dims();
        let mut values = ops::values(tensor);
        let grad = ops::values(grad);
        self.update.update(
            &mut values,
            &grad,
            &mut moments.m,
            &mut moments.v,
            self.step,
        );
        Param::from_data(TensorData::new(values, shape), self.device)
    }
}

#[cfg(test)]
mod tests {
    use crossmod_volume::rng::Rng;

    use super::*;
    use crate::net::PatchGanConfig;

    #[test]
    fn a_first_update_moves_each_parameter_by_the_rate_against_its_gradient() {
        let device = crate::device::cpu_training();
        let net = PatchGanConfig { width: 1 }.init(&mut Rng::new(1, 0, 0), &device);
        let before = collect(&net);
        let mut adam = Adam::new(&AdamConfig::default(), &net);
        let x = Tensor::<4>::random([1, 1, 32, 32], burn::tensor::Distribution::Default, &device);
        let loss = net.forward(x).square().mean();
        let grads = loss.backward();
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
        let net = PatchGanConfig { width: 1 }.init(&mut Rng::new(1, 0, 0), &device);
        let mut adam = Adam::new(&AdamConfig::default(), &net);
        adam.updates = 70_001;
        adam.moments[0].m[0] = 3.0;
        adam.moments[1].v[0] = 4.0;
        let mut other = Adam::new(&AdamConfig::default(), &net);
        other.restore(&adam.state(), Path::new("run"))?;
        assert_eq!((other.updates, other.state()), (70_001, adam.state()));
        let small = PatchGanConfig { width: 2 }.init(&mut Rng::new(1, 0, 0), &device);
        let mut wrong = Adam::new(&AdamConfig::default(), &small);
        assert!(wrong.restore(&adam.state(), Path::new("run")).is_err());
        Ok(())
    }
}
