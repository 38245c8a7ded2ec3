//! The net of a trained run, as windows are shown to it.

use burn::tensor::{Device, Tensor, TensorData, activation};
use crossmod_volume::rng::Rng;

use super::SegmentationPlan;
use super::recipe::SegmentRecipe;
use crate::device::Processor;
use crate::fit::RunFolder;
use crate::loss::PlannedLoss;
use crate::net::PlannedNet;
use crate::net::weights::fill;
use crate::window::sliding::Take;
use crate::window::{PatchNet, WindowBatch};
use crate::{Result, ops};

/// Probabilities made at a time: of many classes those of a whole window would take more than all
/// that the net itself needs.
const PIECE: usize = 1 << 24;

/// The name of the weights in a run.
pub(super) const WEIGHTS: &str = "segmenter";

/// A net that gives probabilities.
pub(crate) struct SegmentNet {
    net: PlannedNet,
    outputs: usize,
    answer: Answer,
    device: Device,
}

/// What the channels of a net stand for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Answer {
    /// Classes, the background first, of which one holds.
    Exclusive,
    /// Regions, each by itself.
    Regions,
    /// Classes but the background, each by itself; the background is what none of them is.
    Each,
}

impl SegmentNet {
    /// The trained net of a run.
    ///
    /// # Errors
    /// Where its weights are missing or of another net.
    pub(crate) fn load(
        run: &RunFolder,
        recipe: &SegmentRecipe,
        plan: &SegmentationPlan,
        processor: &Processor,
    ) -> Result<Self> {
        let device = processor.inference();
        let loss = PlannedLoss::new(&recipe.loss, plan);
        let channels = [plan.in_channels(), loss.outputs()];
        let net = plan.net.init(channels, &mut Rng::new(0, 0, 0), &device);
        let path = run.weights_path(WEIGHTS);
        let net = fill(net, &run.read_weights(WEIGHTS)?, &device, &path)?;
        Ok(Self {
            net,
            outputs: loss.outputs(),
            answer: match (plan.has_regions(), loss.is_binary()) {
                (true, _) => Answer::Regions,
                (false, true) => Answer::Each,
                (false, false) => Answer::Exclusive,
            },
            device,
        })
    }

    fn probabilities(&self, logits: Tensor<5>) -> Tensor<5> {
        match self.answer {
            Answer::Exclusive => activation::softmax(logits, 1),
            Answer::Regions => activation::sigmoid(logits),
            Answer::Each => {
                let each = activation::sigmoid(logits);
                let none = -each.clone().max_dim(1) + 1.0;
                Tensor::cat(vec![none, each], 1)
            }
        }
    }
}

impl PatchNet for SegmentNet {
    fn run(&self, windows: &WindowBatch, take: &mut Take<'_>) -> Result<()> {
        let [d, h, w] = windows.shape;
        let shape = [windows.len, windows.channels, d, h, w];
        let x = TensorData::new(windows.values.clone(), shape);
        let maps = self.net.maps(Tensor::from_data(x, &self.device));
        let slice = windows.len * self.outputs * h * w;
        let step = if self.net.head_is_flat() {
            (PIECE / slice).clamp(1, d)
        } else {
            d
        };
        for start in (0..d).step_by(step) {
            let len = step.min(d - start);
            let logits = self.net.head(maps.clone().narrow(2, start, len));
            let values = ops::values(self.probabilities(logits));
            take(start..start + len, &values)?;
        }
        Ok(())
    }
}
