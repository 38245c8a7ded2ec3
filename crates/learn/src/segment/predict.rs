//! Segmentation of files by trained runs.

use std::path::{Path, PathBuf};

use crossmod_volume::dataset::stem_and_ending;

use super::SegmentationPlan;
use super::net::SegmentNet;
use super::postprocess::Postprocessing;
use super::start::of_run;
use crate::device::Processor;
use crate::fit::RunFolder;
use crate::window::{PatchNet, PlannedPredictor, Wanted, WindowConfig, predict_planned};
use crate::{Error, Progress, Result};

/// Whether a run is that of a segmenter that planned itself.
///
/// # Errors
/// [`Error::Run`] where the folder is no run.
pub fn is_segment_run(root: &Path) -> Result<bool> {
    let recipe: toml::Table = RunFolder::open(root)?.read_toml("recipe.toml")?;
    Ok(recipe.get("kind").and_then(toml::Value::as_str) == Some("segment"))
}

/// What is otherwise as the run's recipe says.
#[derive(Debug, Clone, Copy, Default)]
pub struct Changes {
    /// Step between windows.
    pub step: Option<f64>,
    /// Whether mirrored copies are segmented as well.
    pub mirror: Option<bool>,
}

/// Segments a case or every case of a folder with one run or the mean of several; returns how many.
/// Runs may be of different plans where they are for the same channels and labels. Post-processing
/// is what all of them chose. See [`predict_planned`].
///
/// # Errors
/// [`Error::Run`] where a folder is no trained run, or runs are for other channels or labels; then as
/// [`predict_planned`].
pub fn predict_runs(
    roots: &[PathBuf],
    (input, output): (&Path, &Path),
    (wanted, changes): (Wanted, Changes),
    processor: &Processor,
    progress: &mut dyn Progress,
) -> Result<usize> {
    let folder = match stem_and_ending(output) {
        Some(_) => output.parent().filter(|folder| *folder != Path::new("")),
        None => Some(output),
    };
    let predictor =
        predictor_of(roots, changes, processor)?.scratch_in(folder.unwrap_or(Path::new(".")));
    predict_planned(&predictor, input, output, wanted, progress)
}

/// One run's predictor or the mean of several; see [`predict_runs`].
pub(crate) fn predictor_of(
    roots: &[PathBuf],
    changes: Changes,
    processor: &Processor,
) -> Result<PlannedPredictor> {
    let mut groups: Vec<Group> = Vec::new();
    let mut shared: Option<Postprocessing> = None;
    for root in roots {
        let run = RunFolder::open(root)?;
        let (recipe, plan) = of_run(&run)?;
        if let Some(message) = groups.first().and_then(|g| g.plan.cannot_join(&plan)) {
            return Err(Error::run(message, &run.file("plan.toml")));
        }
        let net = Box::new(SegmentNet::load(&run, &recipe, &plan, processor)?);
        let rules = Postprocessing::of_run(&run)?;
        match &mut shared {
            None => shared = Some(rules),
            Some(shared) => shared.keep_shared(&rules),
        }
        match groups.iter_mut().find(|g| g.plan.suits_nets_of(&plan)) {
            Some(group) => group.nets.push(net),
            None => groups.push(Group {
                windows: WindowConfig {
                    step: changes.step.unwrap_or(recipe.window.step),
                    mirror: changes.mirror.unwrap_or(recipe.window.mirror),
                    ..recipe.window
                },
                plan,
                nets: vec![net],
            }),
        }
    }
    let mut groups = groups.into_iter();
    let (Some(first), Some(rules)) = (groups.next(), shared) else {
        return Err(Error::Recipe("expected a run, found none".into()));
    };
    let mut predictor = PlannedPredictor::new(first.plan, first.nets, first.windows, rules);
    for group in groups {
        predictor = predictor.with(group.plan, group.nets, group.windows)?;
    }
    Ok(predictor)
}

/// Runs of one plan.
struct Group {
    plan: SegmentationPlan,
    nets: Vec<Box<dyn PatchNet>>,
    windows: WindowConfig,
}
