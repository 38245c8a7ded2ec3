//! The step of a planned net on one volume.

use std::path::Path;

use burn::module::Module as _;
use crossmod_volume::rng::{Rng, case_id};

use super::{Subject, Volume, expect, infer, sgd_without_decay, write};
use crate::Result;
use crate::device::Processor;
use crate::fit::{Losses, NetGradients, Sgd};
use crate::loss::{PlannedLoss, Truth};
use crate::net::PlannedNet;
use crate::net::weights::collect;
use crate::recipe::scalar;
use crate::segment::plan::{Net, NetKind};

pub(super) struct Planned {
    net: PlannedNet,
    loss: PlannedLoss,
    sgd: Sgd,
    rate: f32,
    volume: Volume,
    processor: Processor,
}

impl Planned {
    pub(super) fn new(
        features: &[usize],
        classes: usize,
        size: [usize; 3],
        seed: u64,
        processor: Processor,
    ) -> Result<Self> {
        let stages = features.len();
        let levels = (2..=12).contains(&stages) && !features.contains(&0);
        expect(levels, "2 to 12 stages, each with features", features)?;
        let config = Net {
            kind: NetKind::PlainConv,
            features: features.to_vec(),
            strides: [vec![[1; 3]], vec![[2; 3]; stages - 1]].concat(),
            kernels: vec![[3; 3]; stages],
            convs_per_stage: vec![2; stages],
            convs_per_stage_decoder: vec![2; stages - 1],
            deep_supervision: true,
        };
        let multiples = config.multiples();
        let suits = (0..3).all(|a| size[a] > 0 && size[a].is_multiple_of(multiples[a]));
        expect(
            suits,
            &format!("sizes that are multiples of {multiples:?}"),
            size,
        )?;
        let limits = 2..=usize::from(u16::MAX);
        expect(limits.contains(&classes), "2 to 65535 classes", classes)?;

        let mut rng = Rng::new(seed, case_id("net"), 0);
        let net = config.init([1, classes], &mut rng, &processor.training());
        let sgd = sgd_without_decay();
        Ok(Self {
            sgd: Sgd::new(&sgd, &net),
            rate: sgd.learning_rate,
            net,
            loss: PlannedLoss::of_classes(classes),
            volume: Volume::new(size, classes, seed),
            processor,
        })
    }
}

impl Subject for Planned {
    fn save(&self, weights: &Path, inputs: &Path) -> Result<()> {
        write(
            (weights, collect(&self.net)),
            (inputs, self.volume.arrays()),
        )
    }

    fn step(&mut self) -> Result<Losses> {
        let device = self.processor.training();
        let logits = self.net.forward_deep(self.volume.tensor(&device));
        let truth = Truth {
            labels: &self.volume.classes,
            shape: self.volume.size,
            annotated: &[None],
        };
        let loss = self.loss.of(logits, truth);
        let losses = vec![("segmentation", scalar(&loss))];
        let grads = NetGradients::take(&self.net, loss.backward());
        let net = self.net.clone();
        self.net = self.sgd.step(net, grads, self.rate, &device);
        Ok(losses)
    }

    fn infer(&mut self) -> Result<()> {
        let net = self.net.valid();
        infer(
            |x| net.forward(x),
            &self.volume.image,
            self.volume.shape(),
            &self.processor,
        )
    }
}
