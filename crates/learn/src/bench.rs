//! Whole training steps and inference on made-up data, to be timed and to be compared with those of
//! another program, which starts from the same weights and inputs.

#[cfg(all(test, feature = "gpu"))]
mod gpu;
mod planned;
mod synseg;
mod unet3d;

use std::path::Path;

use burn::tensor::{Device, Tensor, TensorData};
use crossmod_volume::rng::{Rng, case_id};
use serde::{Deserialize, Serialize};

use crate::device::Processor;
use crate::fit::{Losses, SgdConfig};
use crate::net::ResNetConfig;
use crate::net::weights::{Named, save};
use crate::{Error, Result};

/// What is trained, and its size; one sample a step.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
#[non_exhaustive]
pub enum StepConfig {
    /// The step of [`crate::recipe::SynSeg`] with the optimiser and losses of the published recipe
    /// and no history of translations.
    Synseg {
        /// First features of all five nets.
        width: usize,
        /// Residual blocks of translators and segmentor.
        blocks: usize,
        /// Classes, background included.
        classes: usize,
        /// Rows and columns, which must be alike.
        size: [usize; 2],
    },
    /// Cross-entropy of a [`crate::net::UNet3d`], SGD with Nesterov momentum as nnU-Net but without
    /// weight decay.
    Unet3d {
        /// Features of each level.
        features: Vec<usize>,
        /// Classes, background included.
        classes: usize,
        /// Slices, rows and columns.
        size: [usize; 3],
    },
    /// The net of nnU-Net's plans ([`crate::net::PlannedNet`], plain-conv), every axis halved at each
    /// stage: cross-entropy plus Dice with deep supervision, SGD with Nesterov momentum.
    Planned {
        /// Features of each stage.
        features: Vec<usize>,
        /// Classes, background included.
        classes: usize,
        /// Slices, rows and columns.
        size: [usize; 3],
    },
}

/// A training with its data.
pub trait Subject {
    /// Writes the parameters as they are now and the inputs of every step, both as safetensors.
    ///
    /// # Errors
    /// Where a file cannot be written.
    fn save(&self, weights: &Path, inputs: &Path) -> Result<()>;
    /// One training step; the data are always the same.
    ///
    /// # Errors
    /// Where the step cannot be taken.
    fn step(&mut self) -> Result<Losses>;
    /// The segmentation of one sample, without a tape.
    ///
    /// # Errors
    /// Where it cannot be computed.
    fn infer(&mut self) -> Result<()>;
}

/// Builds what `config` describes on a processor, weights and data drawn from `seed`.
///
/// # Errors
/// [`Error::Recipe`] where the sizes do not suit the nets.
pub fn subject(config: &StepConfig, seed: u64, processor: &Processor) -> Result<Box<dyn Subject>> {
    let processor = processor.clone();
    Ok(match *config {
        StepConfig::Synseg {
            width,
            blocks,
            classes,
            size,
        } => {
            let net = ResNetConfig { width, blocks };
            Box::new(synseg::Synseg::new(net, classes, size, seed, processor)?)
        }
        StepConfig::Unet3d {
            ref features,
            classes,
            size,
        } => Box::new(unet3d::Unet3d::new(
            features, classes, size, seed, processor,
        )?),
        StepConfig::Planned {
            ref features,
            classes,
            size,
        } => Box::new(planned::Planned::new(
            features, classes, size, seed, processor,
        )?),
    })
}

/// Refuses what the nets would not take.
fn expect(fits: bool, what: &str, found: impl std::fmt::Debug) -> Result<()> {
    if fits {
        return Ok(());
    }
    Err(Error::Recipe(format!("expected {what}, found {found:?}")))
}

/// The classes as they are written.
fn classes_array(shape: &[usize], classes: impl Iterator<Item = u16>) -> Named {
    Named {
        name: "classes".into(),
        shape: [&[1], shape].concat(),
        values: classes.map(f32::from).collect(),
    }
}

/// A sample as it is written.
fn image_array(name: &str, shape: &[usize], values: &[f32]) -> Named {
    Named {
        name: name.into(),
        shape: [&[1, 1], shape].concat(),
        values: values.to_vec(),
    }
}

/// A volume of noise and the class of each of its voxels.
struct Volume {
    size: [usize; 3],
    image: Vec<f32>,
    classes: Vec<u16>,
}

impl Volume {
    fn new(size: [usize; 3], classes: usize, seed: u64) -> Self {
        let voxels: usize = size.iter().product();
        let rng = |name| Rng::new(seed, case_id(name), 0);
        let (mut image, mut truth) = (rng("image"), rng("classes"));
        Self {
            size,
            image: (0..voxels).map(|_| image.normal()).collect(),
            classes: (0..voxels).map(|_| truth.below(classes) as u16).collect(),
        }
    }

    fn shape(&self) -> [usize; 5] {
        let [d, h, w] = self.size;
        [1, 1, d, h, w]
    }

    fn tensor(&self, device: &Device) -> Tensor<5> {
        Tensor::from_data(TensorData::new(self.image.clone(), self.shape()), device)
    }

    fn arrays(&self) -> Vec<Named> {
        vec![
            image_array("image", &self.size, &self.image),
            classes_array(&self.size, self.classes.iter().copied()),
        ]
    }
}

/// nnU-Net's optimiser without weight decay.
fn sgd_without_decay() -> SgdConfig {
    SgdConfig {
        weight_decay: 0.0,
        ..SgdConfig::default()
    }
}

/// Writes both files.
fn write(weights: (&Path, Vec<Named>), inputs: (&Path, Vec<Named>)) -> Result<()> {
    save(weights.0, &weights.1)?;
    save(inputs.0, &inputs.1)
}

/// Runs `net` on a sample, and waits for the end.
fn infer<const D: usize>(
    net: impl FnOnce(Tensor<D>) -> Tensor<D>,
    values: &[f32],
    shape: [usize; D],
    processor: &Processor,
) -> Result<()> {
    let device = processor.inference();
    let data = TensorData::new(values.to_vec(), shape);
    let _logits = net(Tensor::from_data(data, &device));
    device
        .sync()
        .map_err(|e| Error::DeviceFailed(e.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::weights::load;

    fn small() -> [StepConfig; 3] {
        [
            StepConfig::Synseg {
                width: 2,
                blocks: 1,
                classes: 3,
                size: [32; 2],
            },
            StepConfig::Unet3d {
                features: vec![2, 3],
                classes: 3,
                size: [4, 6, 8],
            },
            StepConfig::Planned {
                features: vec![2, 3, 4],
                classes: 3,
                size: [4, 8, 8],
            },
        ]
    }

    /// The files hold what the steps start from: the losses of a second subject are the first's.
    #[test]
    fn a_seed_gives_one_training() -> Result<()> {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = |name: &str| folder.path().join(name);
        for config in small() {
            let build = |seed| subject(&config, seed, &Processor::cpu());
            let (mut one, mut same, mut other) = (build(1)?, build(1)?, build(2)?);
            one.save(&path("weights"), &path("inputs"))?;
            let weights = || -> Result<Vec<Named>> {
                let mut weights = load(&path("weights"))?;
                weights.sort_by(|a, b| a.name.cmp(&b.name));
                Ok(weights)
            };
            let before = weights()?;
            let first = one.step()?;
            assert_eq!(first, same.step()?);
            assert_ne!(first, other.step()?);
            assert_ne!(first, one.step()?);
            one.infer()?;
            one.save(&path("weights"), &path("inputs"))?;
            let after = weights()?;
            assert!(before.iter().zip(&after).all(|(a, b)| a.name == b.name));
            assert_ne!(before, after);
        }
        Ok(())
    }

    #[test]
    fn sizes_that_do_not_fit_are_refused() {
        let [mut synseg, mut unet, mut planned] = small();
        if let StepConfig::Synseg { size, .. } = &mut synseg {
            *size = [32, 36];
        }
        if let StepConfig::Unet3d { size, .. } = &mut unet {
            *size = [4, 5, 8];
        }
        if let StepConfig::Planned { size, .. } = &mut planned {
            *size = [4, 6, 8];
        }
        for config in [synseg, unet, planned] {
            let refused = subject(&config, 1, &Processor::cpu());
            let error = refused.err().expect("refused").to_string();
            assert!(error.starts_with("expected"), "{error}");
        }
    }

    #[test]
    fn descriptions_are_the_peers() {
        let text = r#"{"kind":"unet3d","features":[2,3],"classes":3,"size":[4,6,8]}"#;
        let [synseg, unet, _] = small();
        assert_eq!(serde_json::to_string(&unet).expect("JSON"), text);
        let back: StepConfig = serde_json::from_str(text).expect("a description");
        assert_eq!(back, unet);
        let text = serde_json::to_string(&synseg).expect("JSON");
        assert!(text.contains(r#""kind":"synseg""#), "{text}");
    }
}
