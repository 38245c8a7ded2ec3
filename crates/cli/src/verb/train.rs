//! `crossmod train`: a run from a recipe, or an interrupted run continued.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context as _;
use crossmod_learn::fit::{Budget, Manifest, RunFolder, Summary};
use crossmod_learn::recipe::{self, Recipe, Request};
use serde::Serialize;

use crate::context::{Context, Outcome};
use crate::error::Usage;
use crate::progress::duration;

/// Trains a run. A run is a folder with the resolved recipe, the plan, weights, a log and all
/// that is needed to continue.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// synseg, source-only, target-supervised, or a TOML file
    #[arg(required_unless_present = "resume")]
    recipe: Option<String>,
    /// The labelled dataset
    #[arg(long, value_name = "DATASET")]
    source: Option<PathBuf>,
    /// The dataset of the modality to be segmented
    #[arg(long, value_name = "DATASET")]
    target: Option<PathBuf>,
    /// The run's folder
    #[arg(long, value_name = "RUN")]
    out: PathBuf,
    /// Change a value of the recipe, such as --set segmentor.kind=unet; may be repeated
    #[arg(long, value_name = "KEY=VALUE")]
    set: Vec<String>,
    /// End after this many steps [default: the recipe's epochs]
    #[arg(long, value_name = "N", conflicts_with = "minutes",
          value_parser = clap::value_parser!(u64).range(1..))]
    steps: Option<u64>,
    /// End after this many minutes of training
    #[arg(long, value_name = "M", value_parser = positive, allow_negative_numbers = true)]
    minutes: Option<f64>,
    /// Continue the run in RUN; needs no other argument
    #[arg(long)]
    resume: bool,
}

/// A number above 0.
pub(super) fn positive(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(value) if value.is_finite() && value > 0.0 => Ok(value),
        _ => Err("expected a number above 0".into()),
    }
}

/// The result in JSON.
#[derive(Serialize)]
struct Report<'a> {
    run: std::borrow::Cow<'a, str>,
    #[serde(flatten)]
    summary: &'a Summary,
}

pub(crate) fn run(args: &Args, context: &Context) -> anyhow::Result<Outcome> {
    let summary = if args.resume {
        resume(args, context)?
    } else {
        start(args, context)?
    };
    let report = Report {
        run: args.out.to_string_lossy(),
        summary: &summary,
    };
    context.result(&report, || {
        let time = duration(Duration::from_secs_f64(summary.seconds));
        let mut text = format!("{}: {} steps in {time}\n", report.run, summary.steps);
        for (name, value) in &summary.losses {
            text.push_str(&format!("  {name} {value:.4}\n"));
        }
        text
    })?;
    Ok(Outcome::Done)
}

fn start(args: &Args, context: &Context) -> anyhow::Result<Summary> {
    let name = args.recipe.as_deref().unwrap_or_default();
    let request = Request {
        recipe: Recipe::load(name, &args.set)?,
        source: args.source.clone(),
        target: args.target.clone(),
        out: args.out.clone(),
        budget: budget(args),
        processor: context.processor()?,
    };
    let mut progress = context.progress()?;
    Ok(recipe::start(&request, &mut progress)?)
}

fn resume(args: &Args, context: &Context) -> anyhow::Result<Summary> {
    let run = RunFolder::open(&args.out)?;
    check_recipe(args, &run)?;
    check_data(args, &run)?;
    let processor = context.processor()?;
    let mut progress = context.progress()?;
    let budget = budget(args);
    Ok(recipe::resume(
        &args.out,
        budget,
        &processor,
        &mut progress,
    )?)
}

fn budget(args: &Args) -> Option<Budget> {
    args.steps
        .map(Budget::Steps)
        .or(args.minutes.map(Budget::Minutes))
}

/// A run keeps its recipe; one that is given again must be the same.
fn check_recipe(args: &Args, run: &RunFolder) -> anyhow::Result<()> {
    if args.recipe.is_none() && args.set.is_empty() {
        return Ok(());
    }
    let (own, _) = Recipe::of_run(run)?;
    let given = args
        .recipe
        .as_deref()
        .map(|name| Recipe::load(name, &args.set))
        .transpose()?;
    if given.as_ref() == Some(&own) {
        return Ok(());
    }
    Err(Usage::error(format!(
        "expected the recipe the run was started with, found another; leave RECIPE and --set out \
         to continue with the run's own, or start a new run: {}",
        run.file("recipe.toml").display()
    )))
}

/// A run keeps its data; those given again must be the same folders.
fn check_data(args: &Args, run: &RunFolder) -> anyhow::Result<()> {
    if args.source.is_none() && args.target.is_none() {
        return Ok(());
    }
    let path = run.file("manifest.json");
    let read =
        || -> anyhow::Result<Manifest> { Ok(serde_json::from_slice(&std::fs::read(&path)?)?) };
    let manifest =
        read().with_context(|| format!("could not read the manifest: {}", path.display()))?;
    let place = |path: &Path| path.canonicalize().unwrap_or_else(|_| path.to_owned());
    let sides = [
        ("source", &args.source, &manifest.source),
        ("target", &args.target, &manifest.target),
    ];
    for (flag, given, own) in sides {
        let Some(given) = given else { continue };
        if own.as_deref().map(place) != Some(place(given)) {
            return Err(Usage::error(format!(
                "expected the --{flag} the run was started with ({}), found {}; leave it out to \
                 continue, or start a new run: {}",
                own.as_ref()
                    .map_or("none".into(), |p| p.display().to_string()),
                given.display(),
                run.root().display()
            )));
        }
    }
    Ok(())
}
