//! One face for the optimisers that a recipe can name.

use std::path::Path;

use burn::module::Module;
use burn::tensor::Device;
use serde::{Deserialize, Serialize};

use super::{Adam, AdamConfig, NetGradients, Sgd, SgdConfig};
use crate::Result;
use crate::net::weights::Named;

/// Which optimiser, and its constants.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct OptimizerConfig {
    /// Which.
    pub kind: OptimizerKind,
    /// Constants of `sgd`.
    pub sgd: SgdConfig,
    /// Constants of `adam`.
    pub adam: AdamConfig,
}

/// The optimisers there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OptimizerKind {
    /// [`Sgd`] with Nesterov momentum: nnU-Net's.
    #[default]
    Sgd,
    /// [`Adam`].
    Adam,
}

/// An optimiser of one net.
#[derive(Debug, Clone)]
pub enum Optimizer {
    /// See [`Sgd`].
    Sgd(Sgd),
    /// See [`Adam`].
    Adam(Adam),
}

impl OptimizerConfig {
    /// Builds the optimiser.
    #[must_use]
    pub fn init<M: Module>(&self, net: &M) -> Optimizer {
        match self.kind {
            OptimizerKind::Sgd => Optimizer::Sgd(Sgd::new(&self.sgd, net)),
            OptimizerKind::Adam => Optimizer::Adam(Adam::new(&self.adam, net)),
        }
    }

    /// Learning rate before the schedule.
    #[must_use]
    pub fn learning_rate(&self) -> f32 {
        match self.kind {
            OptimizerKind::Sgd => self.sgd.learning_rate,
            OptimizerKind::Adam => self.adam.learning_rate,
        }
    }
}

impl Optimizer {
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
        match self {
            Self::Sgd(sgd) => sgd.step(net, grads, rate, device),
            Self::Adam(adam) => adam.step(net, grads, rate, device),
        }
    }

    /// What [`Optimizer::restore`] needs, by name.
    #[must_use]
    pub fn state(&self) -> Vec<Named> {
        match self {
            Self::Sgd(sgd) => sgd.state(),
            Self::Adam(adam) => adam.state(),
        }
    }

    /// Puts back what [`Optimizer::state`] gave.
    ///
    /// # Errors
    /// [`crate::Error::Run`] where an array is missing or has another shape.
    pub fn restore(&mut self, state: &[Named], run: &Path) -> Result<()> {
        match self {
            Self::Sgd(sgd) => sgd.restore(state, run),
            Self::Adam(adam) => adam.restore(state, run),
        }
    }
}
