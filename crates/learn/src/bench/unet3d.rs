//! The step of a 3-D U-Net on one volume.

use std::path::Path;

use burn::module::Module as _;
use burn::tensor::{Tensor, TensorData};
use crossmod_volume::rng::{Rng, case_id};

use super::{Subject, classes_array, expect, image_array, infer, write};
use crate::Result;
use crate::device::Processor;
use crate::fit::{Losses, NetGradients, Sgd, SgdConfig};
use crate::loss::cross_entropy;
use crate::net::weights::collect;
use crate::net::{UNet3d, UNet3dConfig};
use crate::recipe::scalar;

pub(super) struct Unet3d {
    net: UNet3d,
    sgd: Sgd,
    rate: f32,
    size: [usize; 3],
    image: Vec<f32>,
    classes: Vec<u16>,
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
        let rng = |name| Rng::new(seed, case_id(name), 0);
        let net = config.init(classes, &mut rng("net"), &device);
        let sgd = SgdConfig {
            weight_decay: 0.0,
            ..SgdConfig::default()
        };
        let voxels: usize = size.iter().product();
        let (mut image, mut truth) = (rng("image"), rng("classes"));
        Ok(Self {
            sgd: Sgd::new(&sgd, &net),
            rate: sgd.learning_rate,
            net,
            size,
            image: (0..voxels).map(|_| image.normal()).collect(),
            classes: (0..voxels).map(|_| truth.below(classes) as u16).collect(),
            processor,
        })
    }

    fn shape(&self) -> [usize; 5] {
        let [d, h, w] = self.size;
        [1, 1, d, h, w]
    }
}

impl Subject for Unet3d {
    fn save(&self, weights: &Path, inputs: &Path) -> Result<()> {
        let arrays = vec![
            image_array("image", &self.size, &self.image),
            classes_array(&self.size, self.classes.iter().copied()),
        ];
        write((weights, collect(&self.net)), (inputs, arrays))
    }

    fn step(&mut self) -> Result<Losses> {
        let data = TensorData::new(self.image.clone(), self.shape());
        let device = self.processor.training();
        let logits = self.net.forward(Tensor::from_data(data, &device));
        let loss = cross_entropy(logits, self.classes.clone(), &[]);
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
            &self.image,
            self.shape(),
            &self.processor,
        )
    }
}
