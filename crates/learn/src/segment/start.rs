//! From a request to a trained segmenter.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use crossmod_volume::dataset::Case;
use serde::Serialize;

use super::data::{Data, Place};
use super::learner::{Annotated, Learner, Sources};
use super::validate::{self, Validation};
use super::{SegmentRecipe, SegmentationPlan, Store};
use crate::batch::{PatchConfig, Patches, Synthetic};
use crate::device::Processor;
use crate::fit::manifest::{self, Manifest};
use crate::fit::{self, Budget, RunFolder, State, Summary, Trainable as _};
use crate::recipe::Readable as _;
use crate::{Error, Progress, Result};

/// A training that is asked for.
#[derive(Debug, Clone)]
pub struct SegmentRequest {
    /// What is trained.
    pub recipe: SegmentRecipe,
    /// The labelled dataset, or a folder of label maps where the recipe says how images are made.
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
    // Without a recipe it is no run yet.
    let run = RunFolder::create(&request.out)?;
    let place = Place {
        run: &run,
        processor: &request.processor,
    };
    let found = Data::open(recipe, &request.source, &place, progress).and_then(|data| {
        let plan = match &request.plan {
            Some(path) => SegmentationPlan::load(path)?,
            None => data.plan(recipe, progress)?,
        };
        data.check(recipe, &plan)?;
        let rules = recipe.postprocess.rules(&plan.classes)?;
        let room = store_bytes(recipe, &plan)?;
        let manifest = Manifest::new(recipe, recipe.seed, data.used())?.ending(request.budget);
        Ok((data, plan, rules, room, manifest))
    });
    let (data, plan, rules, room, manifest) = found.inspect_err(|_| run.remove_if_empty())?;
    plan.save(&run.file("plan.toml"))?;
    rules.begin(&run)?;
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
    let mut manifest = Manifest::load(&run)?;
    let Some(source) = &manifest.source else {
        return Err(Error::run(
            "expected a source in manifest.json, found none",
            root,
        ));
    };
    let place = Place {
        run: &run,
        processor,
    };
    let data = Data::open(&recipe, source, &place, progress)?;
    data.check(&recipe, &plan)?;
    if manifest::hashes(data.used())? != manifest.data {
        progress.note("the data differ from those the run was started with (manifest.json)");
    }
    let room = store_bytes(&recipe, &plan)?;
    let state = run.read_state()?;
    manifest.keep_budget(budget, &run)?;
    let job = Job {
        recipe: &recipe,
        plan: &plan,
        data: &data,
        run: &run,
        room,
        processor,
    };
    job.train(manifest.budget, state.as_ref(), progress)
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
        let synthetic = self.data.synthetic(plan, self.room, progress)?;
        let taken = synthetic.as_ref().map_or(0, Synthetic::bytes);
        let left = self.room.map(|room| room - taken);
        let share = |part: u64| left.map(|room| room * part / (parts[0] + parts[1]));
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
        let mut annotated: Annotated = training.iter().map(|c| plan.annotated(c)).collect();
        if let Some(synthetic) = synthetic {
            annotated.resize(training.len() + synthetic.len(), None);
            patches = patches.with_synthetic(Arc::new(synthetic));
        }
        if !recipe.mix.is_empty() {
            patches = patches.weighted(&self.data.weights)?;
        }
        Ok(Sources {
            training: patches,
            annotated,
            validation,
        })
    }
}
