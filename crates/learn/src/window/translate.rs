//! Translation of whole volumes from one modality to the other.

use std::path::Path;

use burn::tensor::Device;
use crossmod_volume::Image;
use crossmod_volume::dataset::stem_and_ending;
use crossmod_volume::intensity::unstandardise;
use crossmod_volume::io::{self, Dtype, Storage};
use crossmod_volume::rng::Rng;
use crossmod_volume::space::{Interpolation, Orientation, reorient_image, resample_image};

use super::files::each;
use super::{jobs, slicewise};
use crate::batch::prepare;
use crate::device::Processor;
use crate::fit::RunFolder;
use crate::net::weights::fill;
use crate::net::{Head, ResNet};
use crate::plan::{Modality, Plan};
use crate::recipe::{Kind, Recipe};
use crate::{Error, Progress, Result};

/// Which way images are translated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// From the labelled modality to the other.
    SourceToTarget,
    /// From the other to the labelled one.
    TargetToSource,
}

/// A translator of a run, ready for volumes of one modality.
#[derive(Debug)]
pub struct Translator {
    net: ResNet,
    plan: Plan,
    from: Modality,
    to: Modality,
    device: Device,
}

impl Translator {
    /// Loads a run's translator.
    ///
    /// # Errors
    /// [`Error::Run`] where the run has none.
    pub fn load(root: &Path, direction: Direction, processor: &Processor) -> Result<Self> {
        let run = RunFolder::open(root)?;
        let (recipe, plan) = Recipe::of_run(&run)?;
        let modalities = (recipe.kind == Kind::Synseg)
            .then(|| plan.source.clone().zip(plan.target.clone()))
            .flatten();
        let Some((source, target)) = modalities else {
            return Err(Error::run(
                "expected a run with translators, such as one of `synseg`; this recipe has none",
                root,
            ));
        };
        let (name, from, to) = match direction {
            Direction::SourceToTarget => ("to_target", source, target),
            Direction::TargetToSource => ("to_source", target, source),
        };
        let device = processor.inference();
        let net = recipe
            .generator
            .init([1, 1], Head::Tanh, &mut Rng::new(0, 0, 0), &device);
        let net = fill(
            net,
            &run.read_weights(name)?,
            &device,
            &run.weights_path(name),
        )?;
        Ok(Self {
            net,
            plan,
            from,
            to,
            device,
        })
    }

    /// Translates one volume; the result lies on its grid, in its orientation, on the scale of the
    /// other modality.
    ///
    /// # Errors
    /// What orienting and resampling give.
    pub fn translate(&self, image: Image) -> Result<Image> {
        let (grid, stored) = (image.grid().clone(), Orientation::of(image.grid()));
        let prepared = prepare(image, &self.from, &self.plan)?;
        let working = prepared.image.grid().clone();
        let mut values = Vec::with_capacity(working.len());
        let net = |x| self.net.forward(x);
        slicewise::run(
            &prepared,
            ResNet::MULTIPLE,
            &self.device,
            net,
            |_, planes| {
                values.extend(planes.into_iter().flatten());
            },
        );
        let image = Image::new(working, values)?;
        let upright = resample_image(&image, &prepared.upright, Interpolation::Linear, -1.0);
        let scaled = unstandardise(upright, self.to.typical_bounds);
        let (_, values) = reorient_image(&scaled, stored).into_parts();
        Ok(Image::new(grid, values)?)
    }

    /// Translates a file to another.
    ///
    /// # Errors
    /// What reading, [`Translator::translate`] and writing give.
    pub fn translate_file(&self, input: &Path, output: &Path) -> Result<()> {
        let (image, stored) = io::read_image_stored(input)?;
        let translated = self.translate(image)?;
        Ok(io::write_image(
            output,
            &translated,
            &storage(output, &stored),
        )?)
    }
}

/// Translates a file or every image of a folder with a run; returns how many.
///
/// # Errors
/// As [`super::predict()`].
pub fn translate(
    root: &Path,
    input: &Path,
    output: &Path,
    direction: Direction,
    processor: &Processor,
    progress: &mut dyn Progress,
) -> Result<usize> {
    let translator = Translator::load(root, direction, processor)?;
    let jobs = jobs(input, output, true)?;
    progress.stage("translating");
    each(&jobs, progress, |job| {
        translator.translate_file(&job.input, &job.output)
    })
}

/// Floats, but for pictures, which keep the depth of the input.
fn storage(output: &Path, stored: &Storage) -> Storage {
    match stem_and_ending(output) {
        Some((_, ".png")) => {
            let dtype = if stored.dtype == Dtype::U16 {
                Dtype::U16
            } else {
                Dtype::U8
            };
            Storage {
                dtype,
                ..Storage::default()
            }
        }
        _ => Storage::default(),
    }
}
