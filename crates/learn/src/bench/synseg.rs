//! The step of SynSeg-Net on one image of each domain.

use std::path::Path;

use burn::module::Module as _;
use crossmod_volume::rng::{Rng, case_id};

use super::{Subject, classes_array, expect, image_array, infer, write};
use crate::Result;
use crate::batch::Batch;
use crate::device::Processor;
use crate::fit::Losses;
use crate::net::weights::{Named, collect};
use crate::net::{PatchGanConfig, ResNet, ResNetConfig, Segmentor, SegmentorConfig};
use crate::recipe::{Learner, Recipe};

pub(super) struct Synseg {
    learner: Learner,
    rate: f32,
    source: Batch,
    target: Batch,
    steps: u64,
    processor: Processor,
}

const SEGMENTS: &str = "SynSeg-Net has a segmentor";

impl Synseg {
    pub(super) fn new(
        net: ResNetConfig,
        classes: usize,
        size: [usize; 2],
        seed: u64,
        processor: Processor,
    ) -> Result<Self> {
        let width = net.width;
        let [rows, columns] = size;
        let suits = rows == columns
            && rows.is_multiple_of(ResNet::MULTIPLE)
            && rows >= PatchGanConfig::MIN_SIDE;
        let what = "a square size of multiples of 4, at least 24";
        expect(suits, what, size)?;
        expect(width > 0, "a width of at least 1", width)?;
        expect((2..=256).contains(&classes), "2 to 256 classes", classes)?;
        let recipe = Recipe {
            seed,
            batch: 1,
            // Until a pool is full, it gives back what it is given.
            pool: 0,
            generator: net.clone(),
            discriminator: PatchGanConfig { width },
            segmentor: SegmentorConfig {
                resnet: net,
                ..SegmentorConfig::default()
            },
            ..Recipe::default()
        };
        let batch = |name, labelled: bool| {
            let mut rng = Rng::new(seed, case_id(name), 0);
            let area = rows * columns;
            Batch {
                images: (0..area).map(|_| rng.uniform(-1.0, 1.0)).collect(),
                classes: labelled.then(|| (0..area).map(|_| rng.below(classes) as u8).collect()),
                len: 1,
                channels: 1,
                shape: [1, rows, columns],
            }
        };
        Ok(Self {
            learner: Learner::new(&recipe, [1, classes], &processor),
            rate: recipe.optimizer.learning_rate,
            source: batch("source", true),
            target: batch("target", false),
            steps: 0,
            processor,
        })
    }

    fn weights(&self) -> Vec<Named> {
        let segmentor = match self.learner.segmentor().expect(SEGMENTS) {
            Segmentor::ResNet(net) => collect(net),
            Segmentor::UNet(net) => collect(net),
        };
        let [judge_target, judge_source] = self.learner.judges();
        let nets = [
            ("to_target", collect(self.learner.to_target())),
            ("to_source", collect(self.learner.to_source())),
            ("segmentor", segmentor),
            ("judge_target", collect(judge_target)),
            ("judge_source", collect(judge_source)),
        ];
        let named = |(net, arrays): (&str, Vec<Named>)| {
            let full = |array: Named| Named {
                name: format!("{net}.{}", array.name),
                ..array
            };
            arrays.into_iter().map(full).collect::<Vec<_>>()
        };
        nets.into_iter().flat_map(named).collect()
    }
}

impl Subject for Synseg {
    fn save(&self, weights: &Path, inputs: &Path) -> Result<()> {
        let [_, rows, columns] = self.source.shape;
        let size = [rows, columns];
        let classes = self.source.classes.iter().flatten().map(|&c| c.into());
        let arrays = vec![
            image_array("source", &size, &self.source.images),
            image_array("target", &size, &self.target.images),
            classes_array(&size, classes),
        ];
        write((weights, self.weights()), (inputs, arrays))
    }

    fn step(&mut self) -> Result<Losses> {
        self.steps += 1;
        let (step, rate) = (self.steps - 1, self.rate);
        Ok(self
            .learner
            .step([&self.source, &self.target], None, step, rate))
    }

    fn infer(&mut self) -> Result<()> {
        let [_, rows, columns] = self.target.shape;
        let net = self.learner.segmentor().expect(SEGMENTS).valid();
        let shape = [1, 1, rows, columns];
        infer(
            |x| net.forward(x),
            &self.target.images,
            shape,
            &self.processor,
        )
    }
}
