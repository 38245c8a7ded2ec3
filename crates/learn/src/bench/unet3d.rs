//! The step of a 3-D U-Net on one volume.

use std::path::Path;

use burn::module::Module as _;
use crossmod_volume::rng::{Rng, case_id};

use super::{Subject, Volume, expect, infer, sgd_without_decay, write};
use crate::Result;
use crate::device::Processor;
use crate::fit::{Losses, NetGradients, Sgd};
use crate::loss::cross_entropy;
use crate::net::weights::collect;
use crate::net::{UNet3d, UNet3dConfig};
use crate::recipe::scalar;

pub(super) struct Unet3d {
    net: UNet3d,
    sgd: Sgd,
    rate: f32,
    volume: Volume,
    processor: Processor,
}

impl Unet3d {
    pub(super) fn new(
        features: &[usize],
        classes: usize,
        size: [usize; 3],
        seed: u64,
        processor: Processor,
    ) -> Result<Self> {
        let levels = (1..=16).contains(&features.len()) && !features.contains(&0);
        expect(levels, "1 to 16 levels, each with features", features)?;
        let config = UNet3dConfig {
            features: features.to_vec(),
        };
        let multiple = config.multiple();
        let suits = size.iter().all(|&s| s > 0 && s.is_multiple_of(multiple));
        expect(
            suits,
            &format!("sizes that are multiples of {multiple}"),
            size,
        )?;
        let limits = 2..=usize::from(u16::MAX);
        expect(limits.contains(&classes), "2 to 65535 classes", classes)?;

        let device = processor.training();
        let mut rng = Rng::new(seed, case_id("net"), 0);
        let net = config.init(classes, &mut rng, &device);
        let sgd = sgd_without_decay();
        Ok(Self {
            sgd: Sgd::new(&sgd, &net),
            rate: sgd.learning_rate,
            net,
            volume: Volume::new(size, classes, seed),
            processor,
        })
    }
}

impl Subject for Unet3d {
    fn save(&self, weights: &Path, inputs: &Path) -> Result<()> {
        write(
            (weights, collect(&self.net)),
            (inputs, self.volume.arrays()),
        )
    }

    fn step(&mut self) -> Result<Losses> {
        let device = self.processor.training();
        let logits = self.net.forward(self.volume.tensor(&device));
        let loss = cross_entropy(logits, self.volume.classes.clone(), &[]);
        let losses = vec![("cross_entropy", scalar(&loss))];
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
