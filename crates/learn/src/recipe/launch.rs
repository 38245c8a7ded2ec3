//! From a request to a trained run, for recipes that learn from two datasets in memory.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Serialize;

use super::{Readable, Recipe};
use crate::device::Processor;
use crate::fit::manifest::{self, Manifest, Used};
use crate::fit::{self, Budget, RunFolder, Schedule, State, Summary, Trainable};
use crate::plan::Class;
use crate::segment::{self, PostprocessConfig, Postprocessing};
use crate::{Progress, Result};

/// A training that is asked for.
#[derive(Debug, Clone)]
pub struct Request<R = Recipe> {
    /// What is trained.
    pub recipe: R,
    /// The labelled dataset.
    pub source: Option<PathBuf>,
    /// The dataset to be segmented.
    pub target: Option<PathBuf>,
    /// The run's folder.
    pub out: PathBuf,
    /// When it ends; the schedule's epochs where not given.
    pub budget: Option<Budget>,
    /// What the nets run on.
    pub processor: Processor,
}

/// What a recipe does at the start of its training.
pub(super) trait Launch: Readable {
    /// Its `kind`.
    type Kind: Serialize;
    /// The datasets and the cases it uses.
    type Data;
    /// What the data decide.
    type Plan: Serialize;

    /// Opens the datasets.
    fn open(&self, source: Option<&Path>, target: Option<&Path>) -> Result<Self::Data>;
    /// What is trained on.
    fn used(data: &Self::Data) -> Vec<Used>;
    /// Plans for the data.
    fn plan(&self, data: &Self::Data, processor: &Processor) -> Result<Self::Plan>;
    /// Why the plan is as it is.
    fn reasons(plan: &Self::Plan) -> &[String];
    /// What is done to what the run segments.
    fn rules(&self, plan: &Self::Plan) -> Result<Postprocessing>;
    /// Reads the data and builds the nets; `fresh` where no state will be put back.
    fn build(
        &self,
        data: &Self::Data,
        plan: &Self::Plan,
        processor: &Processor,
        fresh: bool,
    ) -> Result<Built>;
    /// The recipe and the plan of a run.
    fn saved(run: &RunFolder) -> Result<(Self, Self::Plan)>;
    /// What the loop needs to know.
    fn course(&self) -> Course<'_, Self::Kind>;
}

/// What of a recipe the loop needs to know.
pub(super) struct Course<'a, K> {
    pub(super) kind: K,
    pub(super) seed: u64,
    /// Samples a step from each domain.
    pub(super) batch: usize,
    pub(super) learning_rate: f32,
    pub(super) schedule: &'a Schedule,
    pub(super) checkpoint_minutes: f64,
}

/// A model ready to train.
pub(super) struct Built {
    pub(super) model: Box<dyn Trainable>,
    /// Slices or volumes of the larger domain: an epoch shows each once.
    pub(super) samples: usize,
}

impl<K> Course<'_, K> {
    /// All steps of the recipe's own epochs.
    fn steps(&self, built: &Built) -> Budget {
        let epoch = built.samples.div_ceil(self.batch) as u64;
        Budget::Steps(epoch * u64::from(self.schedule.epochs()))
    }
}

/// What a recipe states about parts and holes of these classes.
pub(super) fn rules(stated: &PostprocessConfig, classes: &[Class]) -> Result<Postprocessing> {
    let class = |class: &Class| segment::plan::Class::new(class.value, &class.name);
    stated.rules(&classes.iter().map(class).collect::<Vec<_>>())
}

/// Trains a new run.
///
/// # Errors
/// What reading the data gives, before anything is written; then as [`fit::train()`].
pub(super) fn launch<R: Launch>(
    request: &Request<R>,
    progress: &mut dyn Progress,
) -> Result<Summary> {
    if request.out.join("recipe.toml").exists() {
        // Said before the data are read, which can take long.
        RunFolder::create(&request.out)?;
    }
    progress.stage("reading the data");
    let recipe = &request.recipe;
    let course = recipe.course();
    let data = recipe.open(request.source.as_deref(), request.target.as_deref())?;
    let plan = recipe.plan(&data, &request.processor)?;
    let rules = recipe.rules(&plan)?;
    let mut built = recipe.build(&data, &plan, &request.processor, true)?;
    let manifest = Manifest::new(recipe, course.seed, &R::used(&data))?.ending(request.budget);
    let run = RunFolder::create(&request.out)?;
    run.write_toml("plan.toml", &plan)?;
    rules.begin(&run)?;
    run.write_json("manifest.json", &manifest)?;
    // Last of these: a folder with a recipe is a run.
    run.write_toml("recipe.toml", recipe)?;
    for reason in R::reasons(&plan) {
        progress.note(reason);
    }
    let budget = request.budget.unwrap_or(course.steps(&built));
    finish(&mut built, &run, &course, budget, None, progress)
}

/// Goes on with an interrupted run as if it had not stopped; `budget` replaces the run's own.
///
/// # Errors
/// [`crate::Error::Run`] where the folder is no run or its data are gone; then as
/// [`fit::train()`].
pub(super) fn relaunch<R: Launch>(
    root: &Path,
    budget: Option<Budget>,
    processor: &Processor,
    progress: &mut dyn Progress,
) -> Result<Summary> {
    let run = RunFolder::open(root)?;
    let (recipe, plan) = R::saved(&run)?;
    let course = recipe.course();
    let mut manifest = Manifest::load(&run)?;
    progress.stage("reading the data");
    let data = recipe.open(manifest.source.as_deref(), manifest.target.as_deref())?;
    if manifest::hashes(&R::used(&data))? != manifest.data {
        progress.note("the data differ from those the run was started with (manifest.json)");
    }
    let state = run.read_state()?;
    let mut built = recipe.build(&data, &plan, processor, state.is_none())?;
    if let Some(state) = &state {
        built.model.restore(state, &run)?;
        progress.note(&format!("resuming at step {}", state.step));
    }
    manifest.keep_budget(budget, &run)?;
    let budget = manifest
        .budget
        .or(state.as_ref().and_then(|s| s.budget))
        .unwrap_or(course.steps(&built));
    finish(&mut built, &run, &course, budget, state.as_ref(), progress)
}

fn finish<K: Serialize>(
    built: &mut Built,
    run: &RunFolder,
    course: &Course<'_, K>,
    budget: Budget,
    state: Option<&State>,
    progress: &mut dyn Progress,
) -> Result<Summary> {
    #[derive(Serialize)]
    struct Metrics<'a, K> {
        recipe: &'a K,
        training: &'a Summary,
    }
    progress.stage("training");
    let plan = fit::Plan {
        budget,
        learning_rate: course.learning_rate,
        decay: course.schedule,
        checkpoint: Duration::from_secs_f64((course.checkpoint_minutes * 60.0).min(1e9)),
    };
    let summary = fit::train(built.model.as_mut(), run, &plan, state, progress)?;
    let metrics = Metrics {
        recipe: &course.kind,
        training: &summary,
    };
    run.write_json("metrics.json", &metrics)?;
    Ok(summary)
}
