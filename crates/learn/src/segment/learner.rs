//! A planned net in training: the step, and the checks that may end it early.

use burn::tensor::{Device, Tensor, TensorData};
use crossmod_volume::rng::{Rng, case_id};

use super::check::Check;
use super::net::WEIGHTS;
use super::{SegmentRecipe, SegmentationPlan};
use crate::Result;
use crate::batch::{Ahead, PatchBatch, Patches};
use crate::device::Processor;
use crate::fit::{
    Average, Losses, NetGradients, Optimizer, RunFolder, State, Trainable, VALIDATION,
};
use crate::loss::{PlannedLoss, Truth};
use crate::net::PlannedNet;
use crate::net::weights::{Named, collect, fill};
use crate::recipe::scalar;

/// Which classes were annotated in each case of a store; all where there are none.
pub(super) type Annotated = Vec<Option<Vec<bool>>>;

/// What a segmenter is trained on.
pub(super) struct Sources {
    pub(super) training: Patches,
    pub(super) annotated: Annotated,
    /// The patches of validation cases, where training may end early.
    pub(super) validation: Option<Patches>,
}

/// A segmenter in training.
pub(super) struct Learner {
    net: PlannedNet,
    optimizer: Optimizer,
    average: Option<Average>,
    loss: PlannedLoss,
    clip: f32,
    patches: Patches,
    /// Made at the first step, which a resumed training knows only then.
    ahead: Option<Ahead>,
    annotated: Annotated,
    check: Option<Check>,
    device: Device,
}

impl Learner {
    pub(super) fn new(
        recipe: &SegmentRecipe,
        plan: &SegmentationPlan,
        sources: Sources,
        processor: &Processor,
    ) -> Self {
        let device = processor.training();
        let loss = PlannedLoss::new(&recipe.loss, plan);
        let channels = [plan.in_channels(), loss.outputs()];
        let mut rng = Rng::new(recipe.seed, case_id("segmenter"), 0);
        let net = plan.net.init(channels, &mut rng, &device);
        Self {
            optimizer: recipe.optimizer.init(&net),
            average: (recipe.average > 0.0).then(|| Average::new(recipe.average, &net)),
            check: sources
                .validation
                .map(|patches| Check::new(&recipe.stop, plan, &loss, patches, processor)),
            net,
            loss,
            clip: recipe.clip,
            patches: sources.training,
            ahead: None,
            annotated: sources.annotated,
            device,
        }
    }

    fn next(&mut self, step: u64) -> Result<PatchBatch> {
        self.ahead
            .get_or_insert_with(|| Ahead::new(self.patches.clone(), step))
            .next(step)
    }

    /// The weights that segment, as they are now.
    fn current(&self) -> Vec<Named> {
        match &self.average {
            Some(average) => average.weights().to_vec(),
            None => collect(&self.net),
        }
    }
}

impl Trainable for Learner {
    fn step(&mut self, step: u64, rate: f32) -> Result<Losses> {
        let batch = self.next(step)?;
        let x = images(&batch, &self.device);
        let annotated: Annotated = batch
            .cases
            .iter()
            .map(|&case| self.annotated[case].clone())
            .collect();
        let truth = Truth {
            labels: &batch.labels,
            shape: batch.shape,
            annotated: &annotated,
        };
        let loss = self.loss.of(self.net.forward_deep(x), truth);
        let mut losses = vec![("segmentation", scalar(&loss))];
        let grads = NetGradients::take(&self.net, loss.backward()).clipped(self.clip);
        self.net = self
            .optimizer
            .step(self.net.clone(), grads, rate, &self.device);
        if let Some(average) = &mut self.average {
            average.update(&self.net, step);
        }
        if self.check.as_ref().is_some_and(|check| check.is_due(step)) {
            let weights = self.current();
            if let Some(check) = &mut self.check {
                losses.push((VALIDATION, 1.0 - check.run(step, weights)?));
            }
        }
        Ok(losses)
    }

    fn weights(&self) -> Vec<(String, Vec<Named>)> {
        let best = self.check.as_ref().and_then(Check::best);
        let weights = best.map_or_else(|| self.current(), <[Named]>::to_vec);
        vec![(WEIGHTS.into(), weights)]
    }

    fn state(&self) -> Vec<(String, Vec<Named>)> {
        let mut state = vec![
            ("net".into(), collect(&self.net)),
            ("optimizer".into(), self.optimizer.state()),
        ];
        if let Some(average) = &self.average {
            state.push(("average".into(), average.weights().to_vec()));
        }
        if let Some(check) = &self.check {
            state.extend(check.state());
        }
        state
    }

    fn restore(&mut self, state: &State, run: &RunFolder) -> Result<()> {
        let root = run.root();
        let weights = state.arrays("net", root)?;
        self.net = fill(self.net.clone(), weights, &self.device, root)?;
        self.optimizer
            .restore(state.arrays("optimizer", root)?, root)?;
        if let Some(average) = &mut self.average {
            average.restore(state.arrays("average", root)?, root)?;
        }
        if let Some(check) = &mut self.check {
            check.restore(state, root)?;
        }
        Ok(())
    }

    fn finished(&self) -> bool {
        self.check.as_ref().is_some_and(Check::is_over)
    }
}

/// The images of a batch.
pub(super) fn images(batch: &PatchBatch, device: &Device) -> Tensor<5> {
    let [d, h, w] = batch.shape;
    let shape = [batch.len, batch.channels, d, h, w];
    Tensor::from_data(TensorData::new(batch.images.clone(), shape), device)
}
