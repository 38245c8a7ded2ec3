//! What a segmenter is trained on: labelled scans, translated ones, and label maps of which images
//! are made.

use std::fs;
use std::path::{Path, PathBuf};

use crossmod_synth::{Generator, LabelSource, Step, SynthRecipe, offline};
use crossmod_volume::dataset::{Case, Dataset, folds};

use super::recipe::Fold;
use super::{Fingerprint, PlanConfig, SegmentRecipe, SegmentationPlan};
use crate::batch::Synthetic;
use crate::device::Processor;
use crate::fit::RunFolder;
use crate::fit::manifest::Used;
use crate::window::{Direction, Translator};
use crate::{Error, Progress, Result};

/// Label maps of which examples are made, to plan from and to look at.
const EXAMPLES: usize = 8;

/// The datasets of a training, the cases it uses and those it is validated on.
pub(super) struct Data {
    /// What is planned from.
    dataset: Dataset,
    pub(super) training: Vec<Case>,
    pub(super) validation: Vec<Case>,
    /// How often each case is drawn, by the others: those trained on as they are, then those that
    /// images are made of.
    pub(super) weights: Vec<f64>,
    made: Vec<Made>,
    mixed: Vec<Dataset>,
    used: Vec<Used>,
}

/// Label maps of which images are made while training.
struct Made {
    /// Of the whole recipe.
    examples: Generator,
    /// Without the steps that bring label maps to a grid: the plan's is theirs already.
    generator: Generator,
    source: LabelSource,
}

/// What opening data needs beside their folders.
pub(super) struct Place<'a> {
    pub(super) run: &'a RunFolder,
    pub(super) processor: &'a Processor,
}

impl Data {
    /// Opens the source and the datasets beside it. What has to be made of them first is written into
    /// the run, and found there when it is resumed.
    pub(super) fn open(
        recipe: &SegmentRecipe,
        source: &Path,
        place: &Place<'_>,
        progress: &mut dyn Progress,
    ) -> Result<Self> {
        let mut data = match &recipe.synth {
            Some(name) => Self::made(name, recipe.seed, source, place, progress)?,
            None => Self::scans(recipe, source, place, progress)?,
        };
        let left = 1.0 - recipe.mix.iter().map(|mix| mix.share).sum::<f64>();
        let own = data.training.len() + data.made.iter().map(Made::len).sum::<usize>();
        let mut scans = vec![left.max(0.0) / own as f64; data.training.len()];
        let mut made = vec![left.max(0.0) / own as f64; own - data.training.len()];
        for (i, mix) in recipe.mix.iter().enumerate() {
            let name = format!("mix{i}");
            if let Some(synth) = &mix.synth {
                let part = Made::open(synth, recipe.seed, &mix.dataset, place.run, &name)?;
                made.extend(vec![mix.share / part.len() as f64; part.len()]);
                data.used.push(part.used(&name));
                data.made.push(part);
                continue;
            }
            let (other, mut cases) = labelled(&mix.dataset)?;
            data.used.push(Used::of(&name, &other, &cases));
            if let Some(run) = &mix.translate {
                let other = Translator::load(run, Direction::SourceToTarget, place.processor)?;
                cases = translated(&cases, &other, &name, place, progress)?;
            }
            scans.extend(vec![mix.share / cases.len() as f64; cases.len()]);
            // Cases of several datasets may be called alike.
            for case in &mut cases {
                case.id = format!("{name}-{}", case.id);
            }
            data.training.extend(cases);
            data.mixed.push(other);
        }
        data.weights = scans.into_iter().chain(made).collect();
        Ok(data)
    }

    /// Labelled scans, as they are or translated.
    fn scans(
        recipe: &SegmentRecipe,
        source: &Path,
        place: &Place<'_>,
        progress: &mut dyn Progress,
    ) -> Result<Self> {
        let (mut dataset, mut cases) = labelled(source)?;
        let used = Used::of("source", &dataset, &cases);
        // Before any case is left out, so that folds are the same whatever a translator loses.
        let held_out = match recipe.fold {
            Fold::All(_) => Vec::new(),
            Fold::Number(fold) => {
                let mut splits = folds(&cases, recipe.folds, recipe.seed)?;
                splits.swap_remove(fold).validation
            }
        };
        if let Some(run) = &recipe.translate {
            let other = Translator::load(run, Direction::SourceToTarget, place.processor)?;
            cases = translated(&cases, &other, "source", place, progress)?;
            dataset.training.clone_from(&cases);
            // Intensities are prepared as those of the modality they now are of.
            dataset.channels = vec![other.to().to_owned()];
        }
        let inside = |case: &Case| held_out.contains(&case.id);
        let (validation, training): (Vec<Case>, _) = cases.into_iter().partition(inside);
        let to_stop_by = recipe.stop.patience == 0 || !validation.is_empty();
        if training.is_empty() || !to_stop_by {
            let message = format!(
                "expected cases to train on and cases to validate on, found {} and {} whose classes \
                 survive translation; train the translator longer, or set fold=all",
                training.len(),
                validation.len()
            );
            return Err(Error::data(message, source));
        }
        Ok(Self {
            dataset,
            training,
            validation,
            weights: Vec::new(),
            made: Vec::new(),
            mixed: Vec::new(),
            used: vec![used],
        })
    }

    /// Label maps alone: examples of their images stand for a dataset.
    fn made(
        name: &str,
        seed: u64,
        source: &Path,
        place: &Place<'_>,
        progress: &mut dyn Progress,
    ) -> Result<Self> {
        let made = Made::open(name, seed, source, place.run, "source")?;
        for note in &made.source.notes {
            progress.note(note);
        }
        let folder = place.run.file("examples");
        let options = offline::Options {
            most: Some(EXAMPLES),
            shard: None,
        };
        offline::write(&made.examples, &made.source, &folder, &options, progress)?;
        Ok(Self {
            dataset: Dataset::open(&folder)?,
            training: Vec::new(),
            validation: Vec::new(),
            weights: Vec::new(),
            used: vec![made.used("source")],
            made: vec![made],
            mixed: Vec::new(),
        })
    }

    /// A plan for the data.
    pub(super) fn plan(
        &self,
        recipe: &SegmentRecipe,
        progress: &mut dyn Progress,
    ) -> Result<SegmentationPlan> {
        let mut fingerprint = Fingerprint::of(&self.dataset, progress)?;
        if !self.made.is_empty() {
            fingerprint.forget_scales();
        }
        // An eighth of the memory is kept for prepared cases.
        let config = PlanConfig {
            ram_mb: recipe.plan.ram_mb.map(|ram| ram - ram / 8),
            ..recipe.plan.clone()
        };
        SegmentationPlan::make(&fingerprint, &config)
    }

    /// Refuses a plan of other data, and losses of other classes.
    pub(super) fn check(&self, recipe: &SegmentRecipe, plan: &SegmentationPlan) -> Result<()> {
        let classes = plan.classes.len();
        let weights = recipe.loss.class_weights.len();
        if weights != 0 && weights != classes {
            return Err(Error::Recipe(format!(
                "expected loss.class_weights of {classes} classes, found {weights} weights"
            )));
        }
        for dataset in std::iter::once(&self.dataset).chain(&self.mixed) {
            if dataset.channels.len() != plan.channels.len() {
                return Err(Error::data(
                    format!(
                        "expected {} channels as in the plan, found {}",
                        plan.channels.len(),
                        dataset.channels.len()
                    ),
                    &dataset.root,
                ));
            }
        }
        Ok(())
    }

    /// What is trained on.
    pub(super) fn used(&self) -> &[Used] {
        &self.used
    }

    /// The label maps that images are made of, on the plan's grid; `None` where there are none.
    pub(super) fn synthetic(
        &self,
        plan: &SegmentationPlan,
        room: Option<u64>,
        progress: &mut dyn Progress,
    ) -> Result<Option<Synthetic>> {
        if self.made.is_empty() {
            return Ok(None);
        }
        progress.stage("reading label maps");
        let mut synthetic = Synthetic::new(plan)?;
        let all: usize = self.made.iter().map(Made::len).sum();
        for made in &self.made {
            let part = synthetic.begin(made.generator.clone());
            for case in &made.source.cases {
                if progress.cancelled() {
                    return Err(Error::Interrupted { step: 0 });
                }
                synthetic.add(part, &case.id, made.source.scene(case)?)?;
                if let Some(room) = room.filter(|&room| room < synthetic.bytes()) {
                    let message = format!(
                        "expected the label maps that images are made of within {:.1} MB, found \
                         {:.1} MB ({} bytes) up to {}; raise --ram",
                        room as f64 / 1e6,
                        synthetic.bytes() as f64 / 1e6,
                        synthetic.bytes(),
                        case.id
                    );
                    return Err(Error::data(message, &made.source.root));
                }
                let done = synthetic.len();
                progress.update(done as f64 / all as f64, &format!("{done} of {all}"));
            }
        }
        Ok(Some(synthetic))
    }
}

impl Made {
    /// The label maps of a folder and the recipe of their images, which the run keeps resolved.
    fn open(name: &str, seed: u64, labels: &Path, run: &RunFolder, part: &str) -> Result<Self> {
        let file = format!("synth-{part}.toml");
        let kept = run.file(&file);
        let recipe = if kept.exists() {
            SynthRecipe::load(&kept.to_string_lossy(), &[])?
        } else {
            let mut recipe = SynthRecipe::load(name, &[])?;
            recipe.seed = seed;
            run.write_toml(&file, &recipe)?;
            recipe
        };
        let mut on_grid = recipe.clone();
        on_grid.steps.retain(|step| !matches!(step, Step::Grid(_)));
        Ok(Self {
            examples: Generator::new(recipe)?,
            generator: Generator::new(on_grid)?,
            source: LabelSource::open(labels)?,
        })
    }

    fn len(&self) -> usize {
        self.source.cases.len()
    }

    fn used(&self, role: &str) -> Used {
        let files = self.source.cases.iter().flat_map(|case| case.files());
        Used {
            role: role.to_owned(),
            root: self.source.root.clone(),
            files: files.collect(),
        }
    }
}

/// A dataset and its labelled cases.
fn labelled(root: &Path) -> Result<(Dataset, Vec<Case>)> {
    let dataset = Dataset::open(root)?;
    let cases: Vec<Case> = dataset.labelled().into_iter().cloned().collect();
    if cases.is_empty() {
        let message = "expected label maps to train on, found none; put them in labelsTr";
        return Err(Error::data(message, &dataset.root));
    }
    Ok((dataset, cases))
}

/// The cases with their images as another run translates them, kept in this run while it trains.
fn translated(
    cases: &[Case],
    translator: &Translator,
    part: &str,
    place: &Place<'_>,
    progress: &mut dyn Progress,
) -> Result<Vec<Case>> {
    let folder = place.run.file("cache").join(format!("translated-{part}"));
    fs::create_dir_all(&folder).map_err(|e| Error::io("make the folder", e, &folder))?;
    progress.stage("translating");
    let mut done = Vec::with_capacity(cases.len());
    for (i, case) in cases.iter().enumerate() {
        if progress.cancelled() {
            return Err(Error::Interrupted { step: 0 });
        }
        let [image] = case.images.as_slice() else {
            return Err(Error::data(
                format!(
                    "expected cases of one channel, which is what a translator takes, found {} of \
                     {}; leave translate out",
                    case.images.len(),
                    case.id
                ),
                case.images.first().unwrap_or(&folder),
            ));
        };
        if let Some((class, kept)) = translator.lost_of(case)? {
            progress.note(&format!(
                "guard: {} is left out: {class} keeps {kept:.2} of its Dice in what comes back of \
                 its translation",
                case.id
            ));
            continue;
        }
        let name = image.file_name().unwrap_or_default();
        let path: PathBuf = folder.join(name);
        if !path.exists() {
            translator.translate_file(image, &path)?;
        }
        done.push(Case {
            images: vec![path],
            ..case.clone()
        });
        progress.update((i + 1) as f64 / cases.len() as f64, &case.id);
    }
    if done.is_empty() {
        return Err(Error::data(
            "expected cases whose classes survive translation, found none; train the translator \
             longer",
            &folder,
        ));
    }
    Ok(done)
}
