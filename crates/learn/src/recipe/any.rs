//! One front door for recipes of every kind: a run is started, resumed and asked for alike.

use std::path::{Path, PathBuf};

use serde::Serialize;

use super::pseudo::{self, PseudoSummary};
use super::stages::{self, StagesSummary};
use super::{AnyRecipe, Request, resume, resume_shape, start, start_shape};
use crate::device::Processor;
use crate::fit::{Budget, Manifest, RunFolder, Summary};
use crate::segment::{SegmentRequest, SegmentSummary, resume_segment, start_segment};
use crate::{Error, Progress, Result};

/// A training of any recipe that is asked for.
#[derive(Debug, Clone)]
pub struct AnyRequest {
    /// What is trained.
    pub recipe: AnyRecipe,
    /// The labelled dataset.
    pub source: Option<PathBuf>,
    /// The dataset to be segmented; none for a recipe that knows one modality.
    pub target: Option<PathBuf>,
    /// A plan to segment by.
    pub plan: Option<PathBuf>,
    /// The run's folder.
    pub out: PathBuf,
    /// When it ends; the recipe's epochs where not given.
    pub budget: Option<Budget>,
    /// What the nets run on.
    pub processor: Processor,
}

/// What a training came to.
#[derive(Debug, Clone, Serialize)]
#[serde(untagged)]
pub enum AnySummary {
    /// Of a segmenter that plans itself.
    Segment(SegmentSummary),
    /// Of several trainings.
    Stages(StagesSummary),
    /// Of pseudo-labels.
    Pseudo(PseudoSummary),
    /// Of any other.
    Training(Summary),
}

/// What a run is wanted for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Task {
    /// To segment.
    Predict,
    /// To translate.
    Translate,
}

/// Trains a new run.
///
/// # Errors
/// What reading the data gives, before anything is written; then as [`crate::fit::train()`].
pub fn start_any(request: &AnyRequest, progress: &mut dyn Progress) -> Result<AnySummary> {
    let AnyRequest {
        recipe,
        source,
        target,
        plan,
        out,
        budget,
        processor,
    } = request.clone();
    if let (Some(plan), false) = (&plan, matches!(recipe, AnyRecipe::Segment(_))) {
        return Err(Error::Recipe(format!(
            "expected a plan with the recipe segment only, found {}; leave it out",
            plan.display()
        )));
    }
    Ok(match recipe {
        AnyRecipe::Adapt(recipe) => {
            let request = Request {
                recipe: *recipe,
                source,
                target,
                out,
                budget,
                processor,
            };
            AnySummary::Training(start(&request, progress)?)
        }
        AnyRecipe::Segment(recipe) => {
            let (Some(source), None) = (source, target) else {
                return Err(Error::Recipe(
                    "expected a source (labelled scans) and no target, as the recipe segment \
                     trains on one modality"
                        .into(),
                ));
            };
            let request = SegmentRequest {
                recipe: *recipe,
                source,
                plan,
                out,
                budget,
                processor,
            };
            AnySummary::Segment(start_segment(&request, progress)?)
        }
        AnyRecipe::Shape(recipe) => {
            let request = Request {
                recipe: *recipe,
                source,
                target,
                out,
                budget,
                processor,
            };
            AnySummary::Training(start_shape(&request, progress)?)
        }
        AnyRecipe::Pseudo(recipe) => {
            let Some(source) = source else {
                return Err(Error::Recipe(
                    "expected a source, the scans to be labelled, found none".into(),
                ));
            };
            AnySummary::Pseudo(pseudo::label(&recipe, &source, &out, &processor, progress)?)
        }
        AnyRecipe::Stages(recipe) => {
            let data = [source, target];
            let summary = stages::start(&recipe, data, &out, budget, &processor, progress)?;
            AnySummary::Stages(summary)
        }
    })
}

/// Goes on with an interrupted run as if it had not stopped; `budget` replaces the run's own.
///
/// # Errors
/// [`Error::Run`] where the folder is no run or its data are gone; then as
/// [`crate::fit::train()`].
pub fn resume_any(
    root: &Path,
    budget: Option<Budget>,
    processor: &Processor,
    progress: &mut dyn Progress,
) -> Result<AnySummary> {
    Ok(match AnyRecipe::of_run(&RunFolder::open(root)?)? {
        AnyRecipe::Adapt(_) => AnySummary::Training(resume(root, budget, processor, progress)?),
        AnyRecipe::Segment(_) => {
            AnySummary::Segment(resume_segment(root, budget, processor, progress)?)
        }
        AnyRecipe::Shape(_) => {
            AnySummary::Training(resume_shape(root, budget, processor, progress)?)
        }
        AnyRecipe::Pseudo(recipe) => {
            let run = RunFolder::open(root)?;
            let Some(source) = Manifest::load(&run)?.source else {
                let message = "expected a source in manifest.json, found none";
                return Err(Error::run(message, root));
            };
            AnySummary::Pseudo(pseudo::label(&recipe, &source, root, processor, progress)?)
        }
        AnyRecipe::Stages(recipe) => {
            AnySummary::Stages(stages::resume(&recipe, root, budget, processor, progress)?)
        }
    })
}

/// The run that does what is wanted: the folder itself, or, of a run in several stages, the one
/// that its recipe names.
///
/// # Errors
/// [`Error::Run`] where the folder is no run, or none of its stages does it.
pub fn run_that(task: Task, root: &Path) -> Result<PathBuf> {
    match AnyRecipe::of_run(&RunFolder::open(root)?)? {
        AnyRecipe::Stages(recipe) => recipe.run_that(task, root),
        _ => Ok(root.to_owned()),
    }
}
