//! Whole volumes through nets of volumes: padded to what the nets take, and cropped back.

use std::path::Path;

use burn::tensor::{Device, Tensor, TensorData, activation};
use crossmod_volume::Image;
use crossmod_volume::intensity::unstandardise;
use crossmod_volume::rng::Rng;
use crossmod_volume::space::{Interpolation, Orientation, reorient_image, resample_image};

use super::Direction;
use super::predict::{Finds, Found};
use super::translate::Translates;
use crate::batch::{centred, depth_first, prepare_volume};
use crate::device::Processor;
use crate::fit::RunFolder;
use crate::net::weights::fill;
use crate::net::{Generator3d, PlannedNet};
use crate::plan::{Class, Domain, Modality};
use crate::recipe::{ShapeRecipe, VolumePlan};
use crate::{Result, ops};

/// What is the same for segmentation and translation of volumes.
#[derive(Debug)]
struct Frame {
    plan: VolumePlan,
    modality: Modality,
    multiple: usize,
    device: Device,
}

/// A segmentor of volumes of one modality.
#[derive(Debug)]
pub(super) struct VolumePredictor {
    net: PlannedNet,
    frame: Frame,
}

/// A translator of volumes of one modality.
#[derive(Debug)]
pub(super) struct VolumeTranslator {
    net: Generator3d,
    to: Modality,
    frame: Frame,
}

impl Frame {
    fn new(recipe: &ShapeRecipe, plan: VolumePlan, domain: Domain, processor: &Processor) -> Self {
        let modality = match domain {
            Domain::Source => plan.source.clone(),
            Domain::Target => plan.target.clone(),
        };
        Self {
            modality,
            multiple: recipe.multiple(),
            plan,
            device: processor.inference(),
        }
    }

    /// What a net makes of an image: each channel at the nets' resolution, with `beyond` where the
    /// volume was cropped.
    fn run(
        &self,
        image: Image,
        beyond: f32,
        net: impl Fn(Tensor<5>) -> Tensor<5>,
    ) -> Result<Found> {
        let prepared = prepare_volume(image, &self.modality, self.plan.spacing_mm)?;
        let working = prepared.image.grid().clone();
        let size = depth_first(&working);
        let padded = size.map(|s| s.next_multiple_of(self.multiple));
        let values = centred(prepared.image.data(), size, padded, -1.0);
        let [d, h, w] = padded;
        let x = Tensor::from_data(TensorData::new(values, [1, 1, d, h, w]), &self.device);
        let y = ops::values(net(x));
        let planes = y.chunks(d * h * w).map(|channel| {
            let cropped = centred(channel, padded, size, beyond);
            Image::new(working.clone(), cropped)
        });
        Ok(Found {
            planes: planes.collect::<std::result::Result<_, _>>()?,
            upright: prepared.upright,
        })
    }
}

impl VolumePredictor {
    /// The segmentor of a run for images of `domain`, the target where none is named.
    ///
    /// # Errors
    /// [`crate::Error::Run`] where the run has none.
    pub(super) fn load(root: &Path, domain: Option<Domain>, processor: &Processor) -> Result<Self> {
        let run = RunFolder::open(root)?;
        let (recipe, plan) = ShapeRecipe::of_run(&run)?;
        let domain = domain.unwrap_or(Domain::Target);
        let name = match domain {
            Domain::Source => "segmentor_source",
            Domain::Target => "segmentor_target",
        };
        let channels = [1, plan.classes.len()];
        let frame = Frame::new(&recipe, plan, domain, processor);
        let net = recipe
            .segmentor_net()
            .init(channels, &mut Rng::new(0, 0, 0), &frame.device);
        let weights = run.read_weights(name)?;
        let net = fill(net, &weights, &frame.device, &run.weights_path(name))?;
        Ok(Self { net, frame })
    }
}

impl Finds for VolumePredictor {
    fn find(&self, image: Image) -> Result<Found> {
        let net = |x| activation::softmax(self.net.forward(x), 1);
        self.frame.run(image, 0.0, net)
    }

    fn classes(&self) -> &[Class] {
        &self.frame.plan.classes
    }
}

impl VolumeTranslator {
    /// The translator of a run.
    ///
    /// # Errors
    /// [`crate::Error::Run`] where the run has none.
    pub(super) fn load(root: &Path, direction: Direction, processor: &Processor) -> Result<Self> {
        let run = RunFolder::open(root)?;
        let (recipe, plan) = ShapeRecipe::of_run(&run)?;
        let (name, domain, to) = match direction {
            Direction::SourceToTarget => ("to_target", Domain::Source, plan.target.clone()),
            Direction::TargetToSource => ("to_source", Domain::Target, plan.source.clone()),
        };
        let frame = Frame::new(&recipe, plan, domain, processor);
        let net = recipe.generator.init(&mut Rng::new(0, 0, 0), &frame.device);
        let weights = run.read_weights(name)?;
        let net = fill(net, &weights, &frame.device, &run.weights_path(name))?;
        Ok(Self { net, to, frame })
    }
}

impl Translates for VolumeTranslator {
    fn to(&self) -> &str {
        &self.to.name
    }

    fn translate(&self, image: Image) -> Result<Image> {
        let (grid, stored) = (image.grid().clone(), Orientation::of(image.grid()));
        let made = self.frame.run(image, -1.0, |x| self.net.forward(x))?;
        let way = Interpolation::Linear;
        let upright = resample_image(&made.planes[0], &made.upright, way, -1.0);
        let scaled = unstandardise(upright, self.to.typical_bounds);
        let (_, values) = reorient_image(&scaled, stored).into_parts();
        Ok(Image::new(grid, values)?)
    }
}
