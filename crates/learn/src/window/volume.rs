//! Whole volumes through nets of volumes: padded to what the nets take, and cropped back.

use std::path::Path;

use burn::tensor::{Device, Tensor, TensorData, activation};
use crossmod_volume::intensity::unstandardise;
use crossmod_volume::rng::Rng;
use crossmod_volume::space::{Interpolation, Orientation, reorient_image, resample_image};
use crossmod_volume::{Grid, Image, Labels};

use super::Direction;
use super::predict::onto;
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

    /// What a net makes of an image, each channel on the upright grid, which is given too.
    fn run(
        &self,
        image: Image,
        beyond: f32,
        net: impl Fn(Tensor<5>) -> Tensor<5>,
        mut each: impl FnMut(Image),
    ) -> Result<Grid> {
        let prepared = prepare_volume(image, &self.modality, self.plan.spacing_mm)?;
        let working = prepared.image.grid().clone();
        let size = depth_first(&working);
        let padded = size.map(|s| s.next_multiple_of(self.multiple));
        let values = centred(prepared.image.data(), size, padded, -1.0);
        let [d, h, w] = padded;
        let x = Tensor::from_data(TensorData::new(values, [1, 1, d, h, w]), &self.device);
        let y = ops::values(net(x));
        for channel in y.chunks(d * h * w) {
            let cropped = centred(channel, padded, size, beyond);
            let image = Image::new(working.clone(), cropped)?;
            let way = Interpolation::Linear;
            each(resample_image(&image, &prepared.upright, way, beyond));
        }
        Ok(prepared.upright)
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

    /// Segments one volume; the result lies on its grid, in its orientation, and so do the
    /// probabilities of its voxels' classes.
    ///
    /// # Errors
    /// What resampling gives.
    pub(super) fn segment(&self, image: Image) -> Result<(Labels, Image)> {
        let (grid, stored) = (image.grid().clone(), Orientation::of(image.grid()));
        let mut best = vec![f32::NEG_INFINITY; grid.len()];
        let mut values = vec![0u16; grid.len()];
        let mut classes = self.frame.plan.classes.iter();
        let net = |x| activation::softmax(self.net.forward(x), 1);
        let upright = self.frame.run(image, 0.0, net, |probability| {
            let value = classes.next().map_or(0, |class| class.value);
            for ((best, found), &p) in best.iter_mut().zip(&mut values).zip(probability.data()) {
                if p > *best {
                    (*best, *found) = (p, value);
                }
            }
        })?;
        onto(upright, (values, best), stored, grid)
    }

    /// The classes it tells apart.
    pub(super) fn classes(&self) -> &[Class] {
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

    /// The name of the modality that images are translated to.
    pub(super) fn to(&self) -> &str {
        &self.to.name
    }

    /// Translates one volume; the result lies on its grid, in its orientation, on the scale of the
    /// other modality.
    ///
    /// # Errors
    /// What resampling gives.
    pub(super) fn translate(&self, image: Image) -> Result<Image> {
        let (grid, stored) = (image.grid().clone(), Orientation::of(image.grid()));
        let mut made = None;
        self.frame.run(
            image,
            -1.0,
            |x| self.net.forward(x),
            |image| made = Some(image),
        )?;
        let Some(upright) = made else {
            return Ok(Image::new(grid.clone(), vec![0.0; grid.len()])?);
        };
        let scaled = unstandardise(upright, self.to.typical_bounds);
        let (_, values) = reorient_image(&scaled, stored).into_parts();
        Ok(Image::new(grid, values)?)
    }
}
