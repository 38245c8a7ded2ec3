//! Segmentation of whole volumes.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::path::{Path, PathBuf};

use burn::tensor::{Device, Tensor, activation};
use crossmod_volume::space::{Interpolation, Orientation, reorient_image, resample_image};
use crossmod_volume::{Grid, Image, Labels, io};

use super::files::each;
use super::jobs;
use super::stack::Stack;
use super::volume::VolumePredictor;
use crate::batch::prepare;
use crate::device::Processor;
use crate::fit::RunFolder;
use crate::net::Segmentor;
use crate::net::weights::fill;
use crate::plan::{Class, Domain, Modality, Plan};
use crate::recipe::{AnyRecipe, Recipe};
use crate::segment::Postprocessing;
use crate::segment::plan::Dims;
use crate::{Error, Progress, Result};
use crossmod_volume::rng::Rng;

/// The segmentors of one run or several, ready for volumes of one modality.
#[derive(Debug)]
pub struct Predictor {
    nets: Vec<Box<dyn Finds>>,
    classes: Vec<Class>,
    rules: Postprocessing,
}

/// A segmentor, ready for volumes of one modality.
pub(super) trait Finds: Debug + Send + Sync {
    /// The probabilities of the classes in one volume.
    ///
    /// # Errors
    /// What resampling gives.
    fn find(&self, image: Image) -> Result<Found>;

    /// The classes it tells apart, in the order of its channels.
    fn classes(&self) -> &[Class];
}

/// A segmentor of slices (`D` = 4) or of blocks of them (`D` = 5).
#[derive(Debug)]
struct SlicePredictor<const D: usize> {
    segmentor: Segmentor<D>,
    plan: Plan,
    modality: Modality,
    /// Image sides must be multiples of this.
    multiple: usize,
    device: Device,
}

/// What a net finds in an image: the probability of each class at its own resolution.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) planes: Vec<Image>,
    /// The image's voxels as the net sees them.
    pub(super) upright: Grid,
}

impl Found {
    /// The probability of a class at the image's voxels. Probabilities, not classes, are brought back
    /// to its resolution, one class at a time.
    fn class(&self, class: usize, stored: Orientation) -> Vec<f32> {
        let way = Interpolation::Linear;
        let upright = resample_image(&self.planes[class], &self.upright, way, 0.0);
        reorient_image(&upright, stored).into_parts().1
    }
}

/// A run's segmentor.
fn load(root: &Path, domain: Option<Domain>, processor: &Processor) -> Result<Box<dyn Finds>> {
    let run = RunFolder::open(root)?;
    if matches!(AnyRecipe::of_run(&run)?, AnyRecipe::Shape(_)) {
        return Ok(Box::new(VolumePredictor::load(root, domain, processor)?));
    }
    let made = Recipe::of_run(&run)?;
    Ok(match made.1.dims {
        Dims::Three => Box::new(SlicePredictor::<5>::load(&run, made, domain, processor)?),
        Dims::Two | Dims::TwoAndHalf { .. } => {
            Box::new(SlicePredictor::<4>::load(&run, made, domain, processor)?)
        }
    })
}

impl Predictor {
    /// Loads a run's segmentor for images of `domain`; without one, of the target, or of the
    /// source where the run has no target.
    ///
    /// # Errors
    /// [`Error::Run`] where the folder is no trained run or does not know the domain.
    pub fn load(root: &Path, domain: Option<Domain>, processor: &Processor) -> Result<Self> {
        let net = load(root, domain, processor)?;
        Ok(Self {
            classes: net.classes().to_vec(),
            nets: vec![net],
            rules: Postprocessing::of_run(&RunFolder::open(root)?)?,
        })
    }

    /// With another run of the same labels: probabilities are the mean of all runs', and
    /// post-processing is what all of them have.
    ///
    /// # Errors
    /// As [`Predictor::load`]; [`Error::Run`] where the labels are others.
    pub fn with(
        mut self,
        root: &Path,
        domain: Option<Domain>,
        processor: &Processor,
    ) -> Result<Self> {
        let net = load(root, domain, processor)?;
        let values = |classes: &[Class]| classes.iter().map(|c| c.value).collect::<Vec<_>>();
        if values(net.classes()) != values(&self.classes) {
            return Err(Error::run(
                format!(
                    "expected a run of the labels {:?} as the first one, found {:?}",
                    values(&self.classes),
                    values(net.classes())
                ),
                root,
            ));
        }
        self.nets.push(net);
        let other = Postprocessing::of_run(&RunFolder::open(root)?)?;
        self.rules.keep_shared(&other);
        Ok(self)
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
        let (grid, stored) = (image.grid().clone(), Orientation::of(image.grid()));
        let found = self.nets.iter().map(|net| net.find(image.clone()));
        let found = found.collect::<Result<Vec<_>>>()?;
        // The most probable class so far is all that is kept.
        let mut best = vec![f32::NEG_INFINITY; grid.len()];
        let mut values = vec![0u16; grid.len()];
        for (channel, class) in self.classes.iter().enumerate() {
            let mut sum = vec![0.0; grid.len()];
            for found in &found {
                for (sum, p) in sum.iter_mut().zip(found.class(channel, stored)) {
                    *sum += p;
                }
            }
            for ((best, value), p) in best.iter_mut().zip(&mut values).zip(sum) {
                if p > *best {
                    (*best, *value) = (p, class.value);
                }
            }
        }
        for best in &mut best {
            *best /= found.len() as f32;
        }
        let mut labels = Labels::new(grid.clone(), values)?;
        self.rules.apply(&mut labels)?;
        Ok((labels, Image::new(grid, best)?))
    }

    /// The labels it can give and their names.
    #[must_use]
    pub fn classes(&self) -> BTreeMap<u16, String> {
        let named = self
            .classes
            .iter()
            .map(|class| (class.value, class.name.clone()));
        named.collect()
    }
}

impl<const D: usize> SlicePredictor<D> {
    /// That of a run of this recipe and plan.
    fn load(
        run: &RunFolder,
        (recipe, plan): (Recipe, Plan),
        domain: Option<Domain>,
        processor: &Processor,
    ) -> Result<Self> {
        let root = run.root();
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
}

impl<const D: usize> Finds for SlicePredictor<D> {
    fn find(&self, image: Image) -> Result<Found> {
        let prepared = prepare(image, &self.modality, &self.plan)?;
        let working = prepared.image.grid().clone();
        let area = working.shape()[0] * working.shape()[1];
        let mut planes = vec![vec![0.0; working.len()]; self.plan.classes.len()];
        let net = |x: Tensor<D>| activation::softmax(self.segmentor.forward(x), 1);
        let plan = (&self.plan, self.multiple);
        Stack::of(&prepared).run(plan, &self.device, net, |z, slice| {
            for (class, plane) in planes.iter_mut().zip(slice) {
                class[z * area..(z + 1) * area].copy_from_slice(&plane);
            }
        });
        let planes = planes
            .into_iter()
            .map(|plane| Image::new(working.clone(), plane));
        Ok(Found {
            planes: planes.collect::<std::result::Result<_, _>>()?,
            upright: prepared.upright,
        })
    }

    fn classes(&self) -> &[Class] {
        &self.plan.classes
    }
}

/// Segments a file or every image of a folder with a run, or the mean of several; returns how many.
///
/// # Errors
/// What loading the runs and reading or writing the files give; [`Error::Interrupted`] where the
/// caller cancels, the files written so far being whole.
pub fn predict(
    roots: &[PathBuf],
    input: &Path,
    output: &Path,
    domain: Option<Domain>,
    processor: &Processor,
    progress: &mut dyn Progress,
) -> Result<usize> {
    let Some((first, others)) = roots.split_first() else {
        return Err(Error::Recipe("expected a run, found none".into()));
    };
    let mut predictor = Predictor::load(first, domain, processor)?;
    for other in others {
        predictor = predictor.with(other, domain, processor)?;
    }
    let jobs = jobs(input, output, false)?;
    progress.stage("segmenting");
    each(&jobs, progress, |job| {
        let labels = predictor.segment(io::read_image(&job.input)?)?;
        Ok(io::write_labels(&job.output, &labels)?)
    })
}
