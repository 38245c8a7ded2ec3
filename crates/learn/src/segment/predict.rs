//! Segmentation of files by trained runs.

use std::path::{Path, PathBuf};

use super::net::SegmentNet;
use super::postprocess::Postprocessing;
use super::start::of_run;
use super::validate::POSTPROCESSING;
use super::{SegmentRecipe, SegmentationPlan};
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
/// See [`predict_planned`].
///
/// # Errors
/// [`Error::Run`] where a folder is no trained run, or runs were not trained by one plan; then as
/// [`predict_planned`].
pub fn predict_runs(
    roots: &[PathBuf],
    (input, output): (&Path, &Path),
    (wanted, changes): (Wanted, Changes),
    processor: &Processor,
    progress: &mut dyn Progress,
) -> Result<usize> {
    let mut nets: Vec<Box<dyn PatchNet>> = Vec::with_capacity(roots.len());
    let mut first: Option<(SegmentRecipe, SegmentationPlan, Postprocessing)> = None;
    for root in roots {
        let run = RunFolder::open(root)?;
        let (recipe, plan) = of_run(&run)?;
        nets.push(Box::new(SegmentNet::load(&run, &recipe, &plan, processor)?));
        let rules = rules_of(&run)?;
        match &mut first {
            None => first = Some((recipe, plan, rules)),
            Some((_, of_first, shared)) => {
                if let Some(key) = of_first.difference(&plan) {
                    return Err(Error::run(
                        format!(
                            "expected runs of one plan, found that {key} differs from the first \
                             run's; train both by one plan.toml (--plan), or segment with one"
                        ),
                        &run.file("plan.toml"),
                    ));
                }
                shared.classes.retain(|rule| {
                    let same = |other: &super::postprocess::Rules| rule.is_same(other);
                    rules.classes.iter().any(same)
                });
            }
        }
    }
    let Some((recipe, plan, rules)) = first else {
        return Err(Error::Recipe("expected a run, found none".into()));
    };
    let windows = WindowConfig {
        step: changes.step.unwrap_or(recipe.window.step),
        mirror: changes.mirror.unwrap_or(recipe.window.mirror),
        ..recipe.window
    };
    let predictor = PlannedPredictor::new(plan, nets, windows, rules);
    predict_planned(&predictor, input, output, wanted, progress)
}

/// The post-processing that a run's validation chose; none where there was no validation.
fn rules_of(run: &RunFolder) -> Result<Postprocessing> {
    if run.file(POSTPROCESSING).exists() {
        run.read_toml(POSTPROCESSING)
    } else {
        Ok(Postprocessing::default())
    }
}
