//! The running mean of a net's weights over its steps.

use std::path::Path;

use burn::module::Module;

use crate::net::weights::{Named, collect};
use crate::{Error, Result};

/// An exponential moving average: after each step the mean moves by `1 - decay` towards the weights,
/// faster at the start (Polyak and Juditsky, doi:10.1137/0330046; the start as in TensorFlow's
/// `ExponentialMovingAverage`): by 9 / (9 + steps + 1) where that is more.
#[derive(Debug, Clone)]
pub struct Average {
    decay: f32,
    mean: Vec<Named>,
}

impl Average {
    /// The weights as they are.
    #[must_use]
    pub fn new<M: Module>(decay: f32, net: &M) -> Self {
        Self {
            decay,
            mean: collect(net),
        }
    }

    /// Takes in the weights after `steps` steps.
    ///
    /// # Panics
    /// Where the net is another one.
    pub fn update<M: Module>(&mut self, net: &M, steps: u64) {
        let n = steps as f32;
        let keep = self.decay.min((1.0 + n) / (10.0 + n));
        let weights = collect(net);
        assert_eq!(weights.len(), self.mean.len(), "parameters of one net");
        for (mean, new) in self.mean.iter_mut().zip(weights) {
            for (mean, new) in mean.values.iter_mut().zip(new.values) {
                *mean = keep * *mean + (1.0 - keep) * new;
            }
        }
    }

    /// The mean, by the parameters' names.
    #[must_use]
    pub fn weights(&self) -> &[Named] {
        &self.mean
    }

    /// Puts back what [`Average::weights`] gave.
    ///
    /// # Errors
    /// [`Error::Run`] where it is of another net.
    pub fn restore(&mut self, mean: &[Named], run: &Path) -> Result<()> {
        for own in &mut self.mean {
            let found = mean
                .iter()
                .find(|other| other.name == own.name && other.shape == own.shape);
            let Some(found) = found else {
                let message = format!("expected the mean of {} of shape {:?}", own.name, own.shape);
                return Err(Error::run(message, run));
            };
            own.values.clone_from(&found.values);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use crossmod_volume::rng::Rng;

    use super::*;
    use crate::net::PatchGanConfig;

    #[test]
    fn the_mean_follows_the_weights() -> Result<()> {
        let device = crate::device::cpu();
        let net =
            |seed| PatchGanConfig { width: 1 }.init::<4>(1, &mut Rng::new(seed, 0, 0), &device);
        let (from, to) = (net(1), net(2));
        let first = |named: &[Named]| named[0].values[0];
        let [a, b] = [&from, &to].map(|net| first(&collect(net)));
        let mut average = Average::new(0.9, &from);
        average.update(&to, 0);
        assert!((first(average.weights()) - (0.1 * a + 0.9 * b)).abs() < 1e-6);
        let mut late = Average::new(0.9, &from);
        late.update(&to, 1_000_000);
        assert!((first(late.weights()) - (0.9 * a + 0.1 * b)).abs() < 1e-6);
        late.restore(average.weights(), Path::new("run"))?;
        assert_eq!(late.weights(), average.weights());
        let wider = PatchGanConfig { width: 2 }.init::<4>(1, &mut Rng::new(1, 0, 0), &device);
        assert!(late.restore(&collect(&wider), Path::new("run")).is_err());
        Ok(())
    }
}
