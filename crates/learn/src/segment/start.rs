//! From a request to a trained segmenter.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use crossmod_volume::dataset::{Case, Dataset, folds};
use serde::Serialize;

use super::learner::{Learner, Sources};
use super::recipe::Fold;
use super::validate::{self, Validation};
use super::{Fingerprint, SegmentRecipe, SegmentationPlan, Store};
use crate::batch::{PatchConfig, Patches};
use crate::device::Processor;
use crate::fit::manifest::{self, Manifest, Used};
use crate::fit::{self, Budget, RunFolder, State, Summary, Trainable as _};
use crate::recipe::Readable as _;
use crate::{Error, Progress, Result};

/// A training that is asked for.
#[derive(Debug, Clone)]
pub struct SegmentRequest {
    /// What is trained.
    pub recipe: SegmentRecipe,
    /// The labelled dataset.
    pub source: PathBuf,
    /// A plan to train by; made from the data where not given.
    pub plan: Option<PathBuf>,
    /// The run's folder.
    pub out: PathBuf,
    /// When it ends; the schedule's epochs where not given.
    pub budget: Option<Budget>,
    /// What the net runs on.
    pub processor: Processor,
}

/// What a training came to.
#[derive(Debug, Clone, Serialize)]
pub struct SegmentSummary {
    /// Of the training itself.
    #[serde(flatten)]
    pub training: Summary,
    /// Patches seen in a second of it.
    pub patches_per_second: f64,
    /// Of whole validation cases.
    pub validation: Option<Validation>,
}

/// Trains a new run.
///
/// # Errors
/// What reading the data gives, before anything is written; then as [`fit::train()`].
pub fn start_segment(
    request: &SegmentRequest,
    progress: &mut dyn Progress,
) -> Result<SegmentSummary> {
    let recipe = &request.recipe;
    if request.out.join("recipe.toml").exists() {
        // Said before the data are read, which can take long.
        RunFolder::create(&request.out)?;
    }
    let data = Data::open(recipe, &request.source)?;
    let plan = match &request.plan {
        Some(path) => SegmentationPlan::load(path)?,
        None => data.plan(recipe, progress)?,
    };
    data.check(recipe, &plan)?;
    let room = store_bytes(recipe, &plan)?;
    let manifest = Manifest::new(recipe, recipe.seed, &data.used())?;
    let run = RunFolder::create(&request.out)?;
    plan.save(&run.file("plan.toml"))?;
    run.write_json("manifest.json", &manifest)?;
    // Last of these: a folder with a recipe is a run.
    run.write_toml("recipe.toml", recipe)?;
    for reason in &plan.reasons {
        progress.note(reason);
    }
    let job = Job {
        recipe,
        plan: &plan,
        data: &data,
        run: &run,
        room,
        processor: &request.processor,
    };
    job.train(request.budget, None, progress)
}

/// Goes on with an interrupted run as if it had not stopped; `budget` replaces the run's own.
///
/// # Errors
/// [`Error::Run`] where the folder is no run of a segmenter or its data are gone; then as
/// [`fit::train()`].
pub fn resume_segment(
    root: &Path,
    budget: Option<Budget>,
    processor: &Processor,
    progress: &mut dyn Progress,
) -> Result<SegmentSummary> {
    let run = RunFolder::open(root)?;
    let (recipe, plan) = of_run(&run)?;
    let manifest = Manifest::load(&run)?;
    let Some(source) = &manifest.source else {
        return Err(Error::run(
            "expected a source in manifest.json, found none",
            root,
        ));
    };
    let data = Data::open(&recipe, source)?;
    data.check(&recipe, &plan)?;
    if manifest::hashes(&data.used())? != manifest.data {
        progress.note("the data differ from those the run was started with (manifest.json)");
    }
    let room = store_bytes(&recipe, &plan)?;
    let state = run.read_state()?;
    let job = Job {
        recipe: &recipe,
        plan: &plan,
        data: &data,
        run: &run,
        room,
        processor,
    };
    job.train(budget, state.as_ref(), progress)
}

/// The recipe of a run.
///
/// # Errors
/// [`Error::Run`] where it is missing or holds values that cannot be.
pub fn recipe_of(run: &RunFolder) -> Result<SegmentRecipe> {
    Ok(of_run(run)?.0)
}

/// The recipe and the plan of a run.
///
/// # Errors
/// [`Error::Run`] where one is missing, cannot be read, or holds values that cannot be.
pub(crate) fn of_run(run: &RunFolder) -> Result<(SegmentRecipe, SegmentationPlan)> {
    let recipe: SegmentRecipe = run.read_toml("recipe.toml")?;
    let recipe = recipe
        .check()
        .map_err(|e| Error::run(e.to_string(), &run.file("recipe.toml")))?;
    Ok((recipe, SegmentationPlan::load(&run.file("plan.toml"))?))
}

/// Bytes that the prepared cases may take: what training leaves of the recipe's memory.
fn store_bytes(recipe: &SegmentRecipe, plan: &SegmentationPlan) -> Result<Option<u64>> {
    let Some(ram) = recipe.plan.ram_mb else {
        return Ok(None);
    };
    let training = plan.cost().bytes / 1e6;
    let left = ram as f64 - training;
    if left < 1.0 {
        return Err(Error::Recipe(format!(
            "expected training within plan.ram_mb = {ram}, found that the plan takes about \
             {training:.0} MB before any case is held; raise it, or make the patch or batch smaller"
        )));
    }
    Ok(Some((left * 1e6) as u64))
}

/// A training with all that decides it.
struct Job<'a> {
    recipe: &'a SegmentRecipe,
    plan: &'a SegmentationPlan,
    data: &'a Data,
    run: &'a RunFolder,
    room: Option<u64>,
    processor: &'a Processor,
}

impl Job<'_> {
    fn train(
        &self,
        budget: Option<Budget>,
        state: Option<&State>,
        progress: &mut dyn Progress,
    ) -> Result<SegmentSummary> {
        let recipe = self.recipe;
        let sources = self.sources(progress)?;
        let mut learner = Learner::new(recipe, self.plan, sources, self.processor);
        if let Some(state) = state {
            learner.restore(state, self.run)?;
            progress.note(&format!("resuming at step {}", state.step));
        }
        let epochs = u64::from(recipe.schedule.epochs) * recipe.steps_per_epoch;
        let budget = budget
            .or(state.and_then(|s| s.budget))
            .unwrap_or(Budget::Steps(epochs));
        progress.stage("training");
        let plan = fit::Plan {
            budget,
            learning_rate: recipe.optimizer.learning_rate(),
            decay: &recipe.schedule,
            checkpoint: Duration::from_secs_f64((recipe.checkpoint_minutes * 60.0).min(1e9)),
        };
        let training = fit::train(&mut learner, self.run, &plan, state, progress)?;
        drop(learner);
        let validation = if recipe.validate && !self.data.validation.is_empty() {
            Some(validate::run(
                self.run,
                &self.data.validation,
                self.processor,
                progress,
            )?)
        } else {
            None
        };
        let seen = training.steps as f64 * self.plan.batch as f64;
        let summary = SegmentSummary {
            patches_per_second: seen / training.seconds.max(f64::MIN_POSITIVE),
            training,
            validation,
        };
        #[derive(Serialize)]
        struct Metrics<'a> {
            recipe: super::recipe::SegmentKind,
            #[serde(flatten)]
            summary: &'a SegmentSummary,
        }
        self.run.write_json(
            "metrics.json",
            &Metrics {
                recipe: recipe.kind,
                summary: &summary,
            },
        )?;
        // Prepared cases are as large as the data and can be made again.
        let cache = self.run.file("cache");
        std::fs::remove_dir_all(&cache).map_err(|e| Error::io("remove the cache", e, &cache))?;
        Ok(summary)
    }

    fn sources(&self, progress: &mut dyn Progress) -> Result<Sources> {
        let (recipe, plan) = (self.recipe, self.plan);
        let cache = self.run.file("cache");
        let training = &self.data.training;
        let watched = recipe.stop.patience > 0;
        // Validation cases are few; they have a fifth of the room.
        let parts = if watched { [4, 1] } else { [1, 0] };
        let share = |part: u64| self.room.map(|room| room * part / (parts[0] + parts[1]));
        let make = |cases: &[Case], part, progress: &mut dyn Progress| {
            Store::make(plan, cases, &cache, share(part), progress).map(Arc::new)
        };
        let store = make(training, parts[0], progress)?;
        let validation = if watched {
            let store = make(&self.data.validation, parts[1], progress)?;
            let plain = PatchConfig {
                foreground: recipe.patches.foreground,
                ..PatchConfig::plain()
            };
            Some(Patches::new(
                store,
                plan,
                &plain,
                recipe.seed,
                "validation",
            )?)
        } else {
            None
        };
        let mut patches = Patches::new(store, plan, &recipe.patches, recipe.seed, "training")?;
        if !recipe.mix.is_empty() {
            patches = patches.weighted(&self.data.weights)?;
        }
        Ok(Sources {
            training: patches,
            annotated: training.iter().map(|case| plan.annotated(case)).collect(),
            validation,
        })
    }
}

/// The dataset of a training, the cases it uses and those it is validated on.
struct Data {
    dataset: Dataset,
    training: Vec<Case>,
    validation: Vec<Case>,
    /// How often each training case is drawn, by the others.
    weights: Vec<f64>,
    mixed: Vec<(Dataset, Vec<Case>)>,
}

impl Data {
    fn open(recipe: &SegmentRecipe, source: &Path) -> Result<Self> {
        let dataset = Dataset::open(source)?;
        let labelled: Vec<Case> = dataset.labelled().into_iter().cloned().collect();
        if labelled.is_empty() {
            let message = "expected label maps to train on, found none; put them in labelsTr";
            return Err(Error::data(message, &dataset.root));
        }
        let (mut training, validation) = match recipe.fold {
            Fold::All(_) => (labelled, Vec::new()),
            Fold::Number(fold) => {
                let splits = folds(&labelled, recipe.folds, recipe.seed)?;
                let inside = |case: &Case| splits[fold].validation.contains(&case.id);
                let (validation, training) = labelled.into_iter().partition(inside);
                (training, validation)
            }
        };
        let mut left = 1.0;
        let own = training.len();
        let mut weights = Vec::new();
        let mut mixed = Vec::new();
        for (i, mix) in recipe.mix.iter().enumerate() {
            let other = Dataset::open(&mix.dataset)?;
            let mut cases: Vec<Case> = other.labelled().into_iter().cloned().collect();
            if cases.is_empty() {
                let message = "expected label maps to train on, found none; put them in labelsTr";
                return Err(Error::data(message, &other.root));
            }
            weights.extend(cases.iter().map(|_| mix.share / cases.len() as f64));
            left -= mix.share;
            mixed.push((other, cases.clone()));
            // Cases of several datasets may be called alike.
            for case in &mut cases {
                case.id = format!("mix{i}-{}", case.id);
            }
            training.extend(cases);
        }
        let mut all = vec![left.max(0.0) / own as f64; own];
        all.extend(weights);
        Ok(Self {
            dataset,
            training,
            validation,
            weights: all,
            mixed,
        })
    }

    fn plan(
        &self,
        recipe: &SegmentRecipe,
        progress: &mut dyn Progress,
    ) -> Result<SegmentationPlan> {
        let fingerprint = Fingerprint::of(&self.dataset, progress)?;
        // An eighth of the memory is kept for prepared cases.
        let config = super::PlanConfig {
            ram_mb: recipe.plan.ram_mb.map(|ram| ram - ram / 8),
            ..recipe.plan.clone()
        };
        SegmentationPlan::make(&fingerprint, &config)
    }

    /// Refuses a plan of other data, and losses of other classes.
    fn check(&self, recipe: &SegmentRecipe, plan: &SegmentationPlan) -> Result<()> {
        let classes = plan.classes.len();
        let weights = recipe.loss.class_weights.len();
        if weights != 0 && weights != classes {
            return Err(Error::Recipe(format!(
                "expected loss.class_weights of {classes} classes, found {weights} weights"
            )));
        }
        let others = self.mixed.iter().map(|(dataset, _)| dataset);
        for dataset in std::iter::once(&self.dataset).chain(others) {
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
    fn used(&self) -> Vec<Used<'_>> {
        let own = self.training.len() - self.mixed.iter().map(|(_, c)| c.len()).sum::<usize>();
        let mut used = vec![Used {
            role: "source",
            dataset: &self.dataset,
            cases: &self.training[..own],
        }];
        used.extend(self.mixed.iter().map(|(dataset, cases)| Used {
            role: "mix",
            dataset,
            cases,
        }));
        used
    }
}
