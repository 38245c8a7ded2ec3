//! Segmentation of whole volumes.

use std::collections::BTreeMap;
use std::path::Path;

use burn::tensor::{Device, activation};
use crossmod_volume::space::{
    Interpolation, Orientation, reorient_image, reorient_labels, resample_image,
};
use crossmod_volume::{Grid, Image, Labels, io};

use super::files::each;
use super::volume::VolumePredictor;
use super::{jobs, slicewise};
use crate::batch::prepare;
use crate::device::Processor;
use crate::fit::RunFolder;
use crate::net::Segmentor;
use crate::net::weights::fill;
use crate::plan::{Domain, Modality, Plan};
use crate::recipe::{AnyRecipe, Recipe};
use crate::segment::Postprocessing;
use crate::{Error, Progress, Result};
use crossmod_volume::rng::Rng;

/// The segmentor of a run, ready for volumes of one modality.
#[derive(Debug)]
pub struct Predictor {
    net: Net,
    rules: Postprocessing,
}

#[derive(Debug)]
enum Net {
    Slices(Box<SlicePredictor>),
    Volumes(Box<VolumePredictor>),
}

/// A segmentor of slices.
#[derive(Debug)]
struct SlicePredictor {
    segmentor: Segmentor,
    plan: Plan,
    modality: Modality,
    /// Image sides must be multiples of this.
    multiple: usize,
    device: Device,
}

impl Predictor {
    /// Loads a run's segmentor for images of `domain`; without one, of the target, or of the
    /// source where the run has no target.
    ///
    /// # Errors
    /// [`Error::Run`] where the folder is no trained run or does not know the domain.
    pub fn load(root: &Path, domain: Option<Domain>, processor: &Processor) -> Result<Self> {
        let run = RunFolder::open(root)?;
        let net = if matches!(AnyRecipe::of_run(&run)?, AnyRecipe::Shape(_)) {
            Net::Volumes(Box::new(VolumePredictor::load(root, domain, processor)?))
        } else {
            Net::Slices(Box::new(SlicePredictor::load(root, domain, processor)?))
        };
        let rules = Postprocessing::of_run(&run)?;
        Ok(Self { net, rules })
    }

    /// Segments one volume; the result lies on its grid, in its orientation.
    ///
    /// # Errors
    /// What orienting and resampling give.
    pub fn segment(&self, image: Image) -> Result<Labels> {
        Ok(self.segment_surely(image)?.0)
    }

    /// The same, and the probability of each voxel's class before post-processing.
    ///
    /// # Errors
    /// As [`Predictor::segment`].
    pub fn segment_surely(&self, image: Image) -> Result<(Labels, Image)> {
        let (mut labels, sure) = match &self.net {
            Net::Slices(net) => net.segment(image),
            Net::Volumes(net) => net.segment(image),
        }?;
        self.rules.apply(&mut labels)?;
        Ok((labels, sure))
    }

    /// The labels it can give and their names.
    #[must_use]
    pub fn classes(&self) -> BTreeMap<u16, String> {
        let classes = match &self.net {
            Net::Slices(net) => &net.plan.classes,
            Net::Volumes(net) => net.classes(),
        };
        let named = classes
            .iter()
            .map(|class| (class.value, class.name.clone()));
        named.collect()
    }
}

impl SlicePredictor {
    fn load(root: &Path, domain: Option<Domain>, processor: &Processor) -> Result<Self> {
        let run = RunFolder::open(root)?;
        let (recipe, plan) = Recipe::of_run(&run)?;
        if !recipe.kind.segments() {
            return Err(Error::run(
                "expected a run with a segmentor, such as one of `synseg`; this recipe has \
                 translators alone, which `crossmod translate` uses",
                root,
            ));
        }
        let found = match domain {
            Some(domain) => plan.modality(domain),
            None => plan.target.as_ref().or(plan.source.as_ref()),
        };
        let Some(modality) = found.cloned() else {
            return Err(Error::run(
                "expected the run to know the asked modality",
                root,
            ));
        };
        let device = processor.inference();
        let net = recipe.segmentor.init(
            [plan.channels(), plan.classes.len()],
            &mut Rng::new(0, 0, 0),
            &device,
        );
        let path = run.weights_path("segmentor");
        let segmentor = fill(net, &run.read_weights("segmentor")?, &device, &path)?;
        Ok(Self {
            segmentor,
            plan,
            modality,
            multiple: recipe.multiple(),
            device,
        })
    }

    fn segment(&self, image: Image) -> Result<(Labels, Image)> {
        let (grid, stored) = (image.grid().clone(), Orientation::of(image.grid()));
        let prepared = prepare(image, &self.modality, &self.plan)?;
        let working = prepared.image.grid().clone();
        let area = working.shape()[0] * working.shape()[1];
        let mut planes = vec![vec![0.0; working.len()]; self.plan.classes.len()];
        let net = |x| activation::softmax(self.segmentor.forward(x), 1);
        let stack = (self.multiple, self.plan.context);
        slicewise::run(&prepared, stack, &self.device, net, |z, slice| {
            for (class, plane) in planes.iter_mut().zip(slice) {
                class[z * area..(z + 1) * area].copy_from_slice(&plane);
            }
        });
        // Probabilities, not classes, are brought back to the input's resolution, one class at a
        // time: the most probable class so far is all that is kept.
        let mut best = vec![f32::NEG_INFINITY; prepared.upright.len()];
        let mut values = vec![0u16; best.len()];
        for (class, plane) in self.plan.classes.iter().zip(planes) {
            let probability = Image::new(working.clone(), plane)?;
            let probability =
                resample_image(&probability, &prepared.upright, Interpolation::Linear, 0.0);
            for ((best, value), &p) in best.iter_mut().zip(&mut values).zip(probability.data()) {
                if p > *best {
                    (*best, *value) = (p, class.value);
                }
            }
        }
        onto(prepared.upright, (values, best), stored, grid)
    }
}

/// Labels and their probabilities on an upright grid, as the image is stored.
pub(super) fn onto(
    upright: Grid,
    (values, probabilities): (Vec<u16>, Vec<f32>),
    stored: Orientation,
    grid: Grid,
) -> Result<(Labels, Image)> {
    let labels = Labels::new(upright.clone(), values)?;
    let sure = Image::new(upright, probabilities)?;
    let (_, values) = reorient_labels(&labels, stored).into_parts();
    let (_, probabilities) = reorient_image(&sure, stored).into_parts();
    let labels = Labels::new(grid.clone(), values)?;
    Ok((labels, Image::new(grid, probabilities)?))
}

/// Segments a file or every image of a folder with a run; returns how many.
///
/// # Errors
/// What loading the run and reading or writing the files give; [`Error::Interrupted`] where the
/// caller cancels, the files written so far being whole.
pub fn predict(
    root: &Path,
    input: &Path,
    output: &Path,
    domain: Option<Domain>,
    processor: &Processor,
    progress: &mut dyn Progress,
) -> Result<usize> {
    let predictor = Predictor::load(root, domain, processor)?;
    let jobs = jobs(input, output, false)?;
    progress.stage("segmenting");
    each(&jobs, progress, |job| {
        let labels = predictor.segment(io::read_image(&job.input)?)?;
        Ok(io::write_labels(&job.output, &labels)?)
    })
}
