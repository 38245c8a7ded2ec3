//! Translation of whole volumes from one modality to the other.

use std::path::Path;

use burn::tensor::{Device, Tensor, TensorData};
use crossmod_volume::Image;
use crossmod_volume::dataset::{Case, stem_and_ending};
use crossmod_volume::intensity::unstandardise;
use crossmod_volume::io::{self, Dtype, Storage};
use crossmod_volume::rng::Rng;
use crossmod_volume::space::{Interpolation, Orientation, reorient_image, resample_image};

use super::files::each;
use super::volume::VolumeTranslator;
use super::{jobs, slicewise};
use crate::batch::{Slices, pad_to, prepare};
use crate::device::Processor;
use crate::fit::RunFolder;
use crate::net::weights::fill;
use crate::net::{Head, ResNet};
use crate::plan::{Modality, Plan};
use crate::recipe::structure::{Counts, LOST, Structure};
use crate::recipe::{AnyRecipe, Kind, Recipe};
use crate::{Error, Progress, Result, ops};

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
pub struct Translator(Net);

#[derive(Debug)]
enum Net {
    Slices(Box<SliceTranslator>),
    Volumes(Box<VolumeTranslator>),
}

/// A translator of slices.
#[derive(Debug)]
pub(crate) struct SliceTranslator {
    net: ResNet,
    /// The way back and what tells whether classes survived it, where the run has both.
    check: Option<(ResNet, Structure)>,
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
        let recipe = AnyRecipe::of_run(&RunFolder::open(root)?)?;
        Ok(Self(if matches!(recipe, AnyRecipe::Shape(_)) {
            Net::Volumes(Box::new(VolumeTranslator::load(
                root, direction, processor,
            )?))
        } else {
            Net::Slices(Box::new(SliceTranslator::load(root, direction, processor)?))
        }))
    }

    /// The name of the modality that images are translated to.
    #[must_use]
    pub fn to(&self) -> &str {
        match &self.0 {
            Net::Slices(net) => &net.to.name,
            Net::Volumes(net) => net.to(),
        }
    }

    /// Translates one volume; the result lies on its grid, in its orientation, on the scale of the
    /// other modality.
    ///
    /// # Errors
    /// What orienting and resampling give.
    pub fn translate(&self, image: Image) -> Result<Image> {
        match &self.0 {
            Net::Slices(net) => net.translate(image),
            Net::Volumes(net) => net.translate(image),
        }
    }

    /// The class of a labelled case that is lost in translation, and how much of it is kept, where
    /// the run can tell.
    ///
    /// # Errors
    /// What reading the case gives.
    pub(crate) fn lost_of(&self, case: &Case) -> Result<Option<(String, f64)>> {
        match &self.0 {
            Net::Slices(net) => net.lost_of(case),
            Net::Volumes(_) => Ok(None),
        }
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

impl SliceTranslator {
    /// Loads a run's translator of slices.
    ///
    /// # Errors
    /// [`Error::Run`] where the run has none.
    pub(crate) fn load(root: &Path, direction: Direction, processor: &Processor) -> Result<Self> {
        let run = RunFolder::open(root)?;
        let (recipe, plan) = Recipe::of_run(&run)?;
        let modalities = recipe
            .kind
            .translates()
            .then(|| plan.source.clone().zip(plan.target.clone()))
            .flatten();
        let Some((source, target)) = modalities else {
            return Err(Error::run(
                "expected a run with translators, such as one of `synseg` or `cyclegan`; this recipe has none",
                root,
            ));
        };
        if recipe.kind == Kind::Cut && direction == Direction::TargetToSource {
            return Err(Error::run(
                "expected a run that translates to the source, found one of `cut`, which learns \
                 the other direction alone; exchange --source and --target to train it",
                root,
            ));
        }
        let (name, from, to) = match direction {
            Direction::SourceToTarget => ("to_target", source, target),
            Direction::TargetToSource => ("to_source", target, source),
        };
        let device = processor.inference();
        let net = recipe.generator.init(
            [plan.channels(); 2],
            Head::Tanh,
            &mut Rng::new(0, 0, 0),
            &device,
        );
        let net = fill(
            net,
            &run.read_weights(name)?,
            &device,
            &run.weights_path(name),
        )?;
        let mut check = None;
        if direction == Direction::SourceToTarget && recipe.kind != Kind::Cut {
            let structure = Structure::load(&run, [plan.channels(), plan.classes.len()], &device)?;
            if let Some(structure) = structure {
                let back = recipe.generator.init(
                    [plan.channels(); 2],
                    Head::Tanh,
                    &mut Rng::new(0, 0, 0),
                    &device,
                );
                let path = run.weights_path("to_source");
                let back = fill(back, &run.read_weights("to_source")?, &device, &path)?;
                check = Some((back, structure));
            }
        }
        Ok(Self {
            net,
            check,
            plan,
            from,
            to,
            device,
        })
    }

    /// As [`Translator::translate`].
    fn translate(&self, image: Image) -> Result<Image> {
        let (grid, stored) = (image.grid().clone(), Orientation::of(image.grid()));
        let prepared = prepare(image, &self.from, &self.plan)?;
        let working = prepared.image.grid().clone();
        let mut values = Vec::with_capacity(working.len());
        let context = self.plan.context;
        let net = |x| self.net.forward(x);
        slicewise::run(
            &prepared,
            (ResNet::MULTIPLE, context),
            &self.device,
            net,
            |_, planes| values.extend_from_slice(&planes[context]),
        );
        let image = Image::new(working, values)?;
        let upright = resample_image(&image, &prepared.upright, Interpolation::Linear, -1.0);
        let scaled = unstandardise(upright, self.to.typical_bounds);
        let (_, values) = reorient_image(&scaled, stored).into_parts();
        Ok(Image::new(grid, values)?)
    }

    /// How the run's images are prepared.
    pub(crate) fn plan(&self) -> &Plan {
        &self.plan
    }

    /// Translates a prepared slice, which stands in the middle of a stack of planes: rows of `side`
    /// pixels in [-1, 1].
    ///
    /// # Panics
    /// Where the stack has another size.
    pub(crate) fn translate_slice(&self, stack: &[f32], side: usize) -> Vec<f32> {
        let area = side * side;
        let translated = self.through(&self.net, stack, side);
        translated[self.plan.context * area..][..area].to_vec()
    }

    /// A stack as a net makes it anew.
    fn through(&self, net: &ResNet, stack: &[f32], side: usize) -> Vec<f32> {
        let padded = side
            .max(slicewise::MIN_SIDE)
            .next_multiple_of(ResNet::MULTIPLE);
        let values = resized(stack, side, padded);
        let x = TensorData::new(values, [1, self.plan.channels(), padded, padded]);
        let y = ops::values(net.forward(Tensor::from_data(x, &self.device)));
        resized(&y, padded, side)
    }

    /// Whether the classes of a stack's middle survive translation there and back; where the run cannot tell,
    /// they do.
    pub(crate) fn keeps(&self, stack: &[f32], side: usize, classes: &[u8]) -> bool {
        let Some([before, after]) = self.survey(stack, side, classes) else {
            return true;
        };
        before.worst(&after).is_none_or(|(_, share)| share >= LOST)
    }

    /// As [`SliceTranslator::keeps`], of all slices of a case together; says which class is lost
    /// and how much of it is kept.
    pub(crate) fn lost_of(&self, case: &Case) -> Result<Option<(String, f64)>> {
        if self.check.is_none() {
            return Ok(None);
        }
        let slices = Slices::load(std::slice::from_ref(case), &self.from, &self.plan, true)?;
        let mut sums: Option<[Counts; 2]> = None;
        for i in 0..slices.len() {
            let Some(classes) = slices.classes(i) else {
                continue;
            };
            let counts = self.survey(&slices.stack(i), slices.side(), classes);
            sums = match (sums, counts) {
                (Some([a, b]), Some([c, d])) => Some([a.plus(&c), b.plus(&d)]),
                (sums, counts) => sums.or(counts),
            };
        }
        let worst = sums.and_then(|[before, after]| before.worst(&after));
        let lost = worst.filter(|(_, share)| *share < LOST);
        Ok(lost.map(|(class, share)| (self.plan.classes[class].name.clone(), share)))
    }

    /// What is found in a stack's middle and in what comes back of it.
    fn survey(&self, stack: &[f32], side: usize, classes: &[u8]) -> Option<[Counts; 2]> {
        let (back, structure) = self.check.as_ref()?;
        let fake = self.through(&self.net, stack, side);
        let again = self.through(back, &fake, side);
        // Padded as in training, where sides are multiples of what its halvings divide by.
        let padded = side.next_multiple_of(4);
        let counts = |image: &[f32]| {
            let image = resized(image, side, padded);
            let classes = pad_to(classes, [side; 2], [padded; 2]);
            structure.counts(&image, padded, &classes)
        };
        Some([counts(stack), counts(&again)])
    }
}

/// Every plane of a stack extended or cropped from one side to another.
fn resized(stack: &[f32], from: usize, to: usize) -> Vec<f32> {
    let planes = stack.chunks_exact(from * from);
    planes
        .flat_map(|plane| pad_to(plane, [from; 2], [to; 2]))
        .collect()
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::batch::Batch;
    use crate::net::ResNetConfig;
    use crate::net::weights::collect;
    use crate::plan::{Class, Fit, SliceAxis};
    use crate::recipe::structure::Learning;
    use crossmod_volume::intensity::Standardise;

    const SIDE: usize = 32;

    /// A run whose way back makes everything grey, and which knows a bright square when it sees one.
    fn run(root: &Path, square: &Batch) -> Result<RunFolder> {
        let run = RunFolder::create(root)?;
        let recipe = Recipe {
            kind: Kind::Cyclegan,
            generator: ResNetConfig {
                width: 2,
                blocks: 1,
            },
            ..Recipe::default()
        };
        let modality = |name: &str| Modality {
            name: name.to_owned(),
            slices: SliceAxis::Axial,
            standardise: Standardise::Window {
                low: -1.0,
                high: 1.0,
            },
            typical_bounds: (-1.0, 1.0),
        };
        let class = |value| Class {
            value,
            name: format!("class {value}"),
        };
        let plan = Plan {
            fit: Fit::Spacing,
            context: 0,
            spacing_mm: 1.0,
            patch: SIDE,
            load: SIDE,
            reasons: Vec::new(),
            classes: vec![class(0), class(1)],
            source: Some(modality("CT")),
            target: Some(modality("MR")),
        };
        run.write_toml("plan.toml", &plan)?;
        run.write_toml("recipe.toml", &recipe)?;
        let device = Processor::cpu().inference();
        let mut rng = Rng::new(1, 0, 0);
        let there = collect(&recipe.generator.init([1, 1], Head::Tanh, &mut rng, &device));
        let mut grey = there.clone();
        grey.iter_mut().for_each(|array| array.values.fill(0.0));
        let mut learning = Learning::new([1, 2], 1, &Processor::cpu().training());
        (0..60).for_each(|_| {
            learning.learn(square);
        });
        let nets = [("to_target".into(), there), ("to_source".into(), grey)];
        run.write_weights(&nets)?;
        run.write_weights(&[learning.weights()])?;
        Ok(run)
    }

    /// What comes back grey has lost its classes, as far as the run can tell.
    #[test]
    fn slices_that_lose_their_classes_are_not_kept() -> Result<()> {
        let inside = |i: usize| (8..20).contains(&(i % SIDE)) && (8..20).contains(&(i / SIDE));
        let pixels = 0..SIDE * SIDE;
        let square = Batch {
            images: pixels
                .clone()
                .map(|i| if inside(i) { 0.8 } else { -0.8 })
                .collect(),
            classes: Some(pixels.map(|i| u8::from(inside(i))).collect()),
            len: 1,
            channels: 1,
            patch: SIDE,
        };
        let folder = tempfile::tempdir().expect("a temporary folder");
        let run = run(folder.path(), &square)?;
        let classes = square.classes.clone().expect("labelled");
        let load = |way| SliceTranslator::load(run.root(), way, &Processor::cpu());
        let keeps =
            |net: &SliceTranslator, classes: &[u8]| net.keeps(&square.images, SIDE, classes);
        let translator = load(Direction::SourceToTarget)?;
        assert!(!keeps(&translator, &classes));
        // Of background alone there is nothing to lose.
        assert!(keeps(&translator, &vec![0; SIDE * SIDE]));
        std::fs::remove_file(run.weights_path("structure")).expect("removed");
        assert!(keeps(&load(Direction::SourceToTarget)?, &classes));
        Ok(())
    }
}
