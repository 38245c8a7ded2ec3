//! Translation of whole volumes from one modality to the other.

use std::fmt::Debug;
use std::path::Path;

use burn::tensor::{Device, Tensor};
use crossmod_volume::Image;
use crossmod_volume::dataset::{Case, stem_and_ending};
use crossmod_volume::intensity::unstandardise;
use crossmod_volume::io::{self, Dtype, Storage};
use crossmod_volume::rng::Rng;
use crossmod_volume::space::{Interpolation, Orientation, reorient_image, resample_image};

use super::files::each;
use super::jobs;
use super::stack::{MIN_SIDE, Stack};
use super::volume::VolumeTranslator;
use crate::batch::{Excerpt, Slices, pad_to, prepare, tensor};
use crate::device::Processor;
use crate::fit::RunFolder;
use crate::net::weights::fill;
use crate::net::{Head, ResNet};
use crate::plan::{Modality, Plan};
use crate::recipe::structure::{Counts, LOST, Structure};
use crate::recipe::{AnyRecipe, Kind, Recipe};
use crate::segment::plan::Dims;
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
pub struct Translator(Box<dyn Translates>);

/// A translator, whatever it is shown of a volume.
pub(super) trait Translates: Debug + Send + Sync {
    /// The name of the modality that images are translated to.
    fn to(&self) -> &str;

    /// See [`Translator::translate`].
    fn translate(&self, image: Image) -> Result<Image>;

    /// See [`Translator::lost_of`].
    fn lost_of(&self, _: &Case) -> Result<Option<(String, f64)>> {
        Ok(None)
    }
}

/// A translator of slices (`D` = 4) or of blocks of them (`D` = 5).
#[derive(Debug)]
pub(crate) struct SliceTranslator<const D: usize> {
    net: ResNet<D>,
    /// The way back and what tells whether classes survived it, where the run has both.
    check: Option<(ResNet<D>, Structure<D>)>,
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
        if matches!(AnyRecipe::of_run(&run)?, AnyRecipe::Shape(_)) {
            let net = VolumeTranslator::load(root, direction, processor)?;
            return Ok(Self(Box::new(net)));
        }
        Ok(Self(match Recipe::of_run(&run)?.1.dims {
            Dims::Three => Box::new(SliceTranslator::<5>::load(root, direction, processor)?),
            Dims::Two | Dims::TwoAndHalf { .. } => {
                Box::new(SliceTranslator::<4>::load(root, direction, processor)?)
            }
        }))
    }

    /// The name of the modality that images are translated to.
    #[must_use]
    pub fn to(&self) -> &str {
        self.0.to()
    }

    /// Translates one volume; the result lies on its grid, in its orientation, on the scale of the
    /// other modality.
    ///
    /// # Errors
    /// What orienting and resampling give.
    pub fn translate(&self, image: Image) -> Result<Image> {
        self.0.translate(image)
    }

    /// The class of a labelled case that is lost in translation, and how much of it is kept, where
    /// the run can tell.
    ///
    /// # Errors
    /// What reading the case gives.
    pub(crate) fn lost_of(&self, case: &Case) -> Result<Option<(String, f64)>> {
        self.0.lost_of(case)
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

impl<const D: usize> SliceTranslator<D> {
    /// Loads a run's translator of slices or blocks, as its plan has them.
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

    /// Translates the slices of a case, rows of `side` pixels in [-1, 1].
    ///
    /// # Panics
    /// Where a slice has another size.
    pub(crate) fn translate_slices(&self, slices: &[&[f32]], side: usize) -> Vec<Vec<f32>> {
        self.through(&Stack::new(slices.to_vec(), [side; 2]))
    }

    /// The slices of a volume as the net makes them anew.
    fn through(&self, slices: &Stack) -> Vec<Vec<f32>> {
        let mut made = Vec::new();
        let net = |x: Tensor<D>| self.net.forward(x);
        let plan = (&self.plan, ResNet::MULTIPLE);
        slices.run(plan, &self.device, net, |_, mut planes| {
            made.push(planes.swap_remove(self.plan.context()));
        });
        made
    }

    /// Whether the classes of excerpts, counted together, survive translation there and back; where
    /// the run cannot tell, they do.
    pub(crate) fn keeps(&self, excerpts: &[Excerpt], side: usize) -> bool {
        let Some([before, after]) = self.survey(excerpts, side) else {
            return true;
        };
        before.worst(&after).is_none_or(|(_, share)| share >= LOST)
    }

    /// What is found in excerpts and in what comes back of them; none where the run cannot tell.
    fn survey(&self, excerpts: &[Excerpt], side: usize) -> Option<[Counts; 2]> {
        let (back, structure) = self.check.as_ref()?;
        let counts = excerpts.iter().filter_map(|excerpt| {
            let classes = excerpt.classes.as_ref()?;
            let planes = &excerpt.planes;
            let again = self.anew(back, &self.anew(&self.net, planes, side), side);
            // Padded as in training, where sides are multiples of what its halvings divide by.
            let padded = side.next_multiple_of(ResNet::MULTIPLE);
            let classes = resized(classes, side, padded);
            let depth = classes.len() / (padded * padded);
            let counts = |planes: &[f32]| {
                let planes = resized(planes, side, padded);
                structure.counts(&planes, [depth, padded, padded], &classes)
            };
            Some([counts(planes), counts(&again)])
        });
        counts.reduce(|[a, b], [c, d]| [a.plus(&c), b.plus(&d)])
    }

    /// An excerpt as a net makes it anew.
    fn anew(&self, net: &ResNet<D>, planes: &[f32], side: usize) -> Vec<f32> {
        let padded = side.max(MIN_SIDE).next_multiple_of(ResNet::MULTIPLE);
        let channels = self.plan.channels();
        let depth = planes.len() / (channels * side * side);
        let values = resized(planes, side, padded);
        let shape = [depth, padded, padded];
        let x = tensor::<D>(values, [1, channels], shape, &self.device);
        resized(&ops::values(net.forward(x)), padded, side)
    }
}

impl<const D: usize> Translates for SliceTranslator<D> {
    fn to(&self) -> &str {
        &self.to.name
    }

    fn translate(&self, image: Image) -> Result<Image> {
        let (grid, stored) = (image.grid().clone(), Orientation::of(image.grid()));
        let prepared = prepare(image, &self.from, &self.plan)?;
        let values = self.through(&Stack::of(&prepared)).concat();
        let image = Image::new(prepared.image.grid().clone(), values)?;
        let upright = resample_image(&image, &prepared.upright, Interpolation::Linear, -1.0);
        let scaled = unstandardise(upright, self.to.typical_bounds);
        let (_, values) = reorient_image(&scaled, stored).into_parts();
        Ok(Image::new(grid, values)?)
    }

    /// As [`SliceTranslator::keeps`], of all that a case shows; says which class is lost and how much
    /// of it is kept.
    fn lost_of(&self, case: &Case) -> Result<Option<(String, f64)>> {
        if self.check.is_none() {
            return Ok(None);
        }
        let slices = Slices::load(std::slice::from_ref(case), &self.from, &self.plan, true)?;
        let excerpts: Vec<Excerpt> = (0..slices.len()).flat_map(|i| slices.excerpts(i)).collect();
        let sums = self.survey(&excerpts, slices.side());
        let worst = sums.and_then(|[before, after]| before.worst(&after));
        let lost = worst.filter(|(_, share)| *share < LOST);
        Ok(lost.map(|(class, share)| (self.plan.classes[class].name.clone(), share)))
    }
}

/// Every plane extended or cropped from one side to another.
fn resized<T: Copy>(planes: &[T], from: usize, to: usize) -> Vec<T> {
    let planes = planes.chunks_exact(from * from);
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
            spacing_mm: 1.0,
            patch: SIDE,
            load: SIDE,
            reasons: Vec::new(),
            dims: Dims::Two,
            block: None,
            classes: vec![class(0), class(1)],
            source: Some(modality("CT")),
            target: Some(modality("MR")),
        };
        run.write_toml("plan.toml", &plan)?;
        run.write_toml("recipe.toml", &recipe)?;
        let device = Processor::cpu().inference();
        let mut rng = Rng::new(1, 0, 0);
        let there: ResNet = recipe.generator.init([1, 1], Head::Tanh, &mut rng, &device);
        let there = collect(&there);
        let mut grey = there.clone();
        grey.iter_mut().for_each(|array| array.values.fill(0.0));
        let mut learning = Learning::<4>::new([1, 2], 1, &Processor::cpu().training());
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
            shape: [1, SIDE, SIDE],
        };
        let folder = tempfile::tempdir().expect("a temporary folder");
        let run = run(folder.path(), &square)?;
        let classes = square.classes.clone().expect("labelled");
        let load = |way| SliceTranslator::<4>::load(run.root(), way, &Processor::cpu());
        let keeps = |net: &SliceTranslator<4>, classes: &[u8]| {
            let excerpt = Excerpt {
                planes: square.images.clone(),
                classes: Some(classes.to_vec()),
            };
            net.keeps(&[excerpt], SIDE)
        };
        let translator = load(Direction::SourceToTarget)?;
        assert!(!keeps(&translator, &classes));
        // Of background alone there is nothing to lose.
        assert!(keeps(&translator, &vec![0; SIDE * SIDE]));
        std::fs::remove_file(run.weights_path("structure")).expect("removed");
        assert!(keeps(&load(Direction::SourceToTarget)?, &classes));
        Ok(())
    }
}
