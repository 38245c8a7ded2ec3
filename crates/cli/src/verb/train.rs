//! `crossmod train`: a run from a recipe, or an interrupted run continued.

use std::path::{Path, PathBuf};
use std::time::Duration;

use crossmod_learn::fit::{Budget, Manifest, RunFolder, Summary};
use crossmod_learn::recipe::{self, AnyRecipe, AnyRequest, AnySummary};
use serde::Serialize;

use crate::context::{Context, Outcome};
use crate::error::Usage;
use crate::progress::duration;

/// Trains a run. A run is a folder with the resolved recipe, the plan, weights, a log and all
/// that is needed to continue.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
    crossmod train synseg-small --source ct/ --target mr/ --out runs/synseg --minutes 60\n  \
    crossmod train segment --source ct/ --out runs/ct --fold 0 --minutes 600\n  \
    crossmod train segment --source maps/ --synth synthseg --out runs/maps --minutes 600\n  \
    crossmod train --resume --out runs/synseg")]
pub(crate) struct Args {
    /// segment, labels-only, synseg, two-stage, cyclegan, cut, cut-two-stage, essnet-liver,
    /// ssim-prostate, shape-consistency, self-train, source-only, target-supervised; most also as
    /// NAME-small for two CPU cores; or a TOML file
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
    /// With segment: train by this plan, as `crossmod plan` wrote it or edited since
    #[arg(long, value_name = "FILE", conflicts_with = "resume")]
    plan: Option<PathBuf>,
    /// With segment: make images of the source's label maps while training, by this synthesis
    /// recipe, as `crossmod synth` does; the source needs no images then
    #[arg(long, value_name = "RECIPE", conflicts_with = "resume")]
    synth: Option<String>,
    /// With segment: the fold kept for validation, 0 to 4, or all [default: 0]
    #[arg(long, value_name = "K", conflicts_with = "resume")]
    fold: Option<String>,
    /// With segment: the memory that training may take, such as 8GB or 500MB [default: 8GB]
    #[arg(long, value_name = "SIZE", value_parser = super::plan::megabytes,
          conflicts_with = "resume")]
    ram: Option<usize>,
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
struct Report<'a, S> {
    run: std::borrow::Cow<'a, str>,
    #[serde(flatten)]
    summary: &'a S,
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
    context.result(&report, || text(&report.run, &summary))?;
    Ok(Outcome::Done)
}

fn start(args: &Args, context: &Context) -> anyhow::Result<AnySummary> {
    let name = args.recipe.as_deref().unwrap_or_default();
    let recipe = AnyRecipe::load(name, &overrides(args))?;
    match recipe {
        AnyRecipe::Segment(_) => check_one_side(args)?,
        _ if args.plan.is_some() => {
            return Err(Usage::error(format!(
                "expected --plan with the recipe segment only, found it with {name}; leave it \
                 out, or edit plan.toml in the run"
            )));
        }
        _ => {}
    }
    let request = AnyRequest {
        recipe,
        source: args.source.clone(),
        target: args.target.clone(),
        plan: args.plan.clone(),
        out: args.out.clone(),
        budget: budget(args),
        processor: context.processor()?,
    };
    let mut progress = context.progress()?;
    Ok(recipe::start_any(&request, &mut progress)?)
}

fn resume(args: &Args, context: &Context) -> anyhow::Result<AnySummary> {
    let run = RunFolder::open(&args.out)?;
    check_recipe(args, &run, &AnyRecipe::of_run(&run)?)?;
    check_data(args, &run)?;
    let processor = context.processor()?;
    let mut progress = context.progress()?;
    let budget = budget(args);
    Ok(recipe::resume_any(
        &args.out,
        budget,
        &processor,
        &mut progress,
    )?)
}

/// The changes to the recipe, those with flags of their own among them.
fn overrides(args: &Args) -> Vec<String> {
    let fold = args.fold.iter().map(|fold| format!("fold={fold}"));
    let ram = args.ram.iter().map(|ram| format!("plan.ram_mb={ram}"));
    let synth = args.synth.iter().map(|name| format!("synth={name}"));
    let flags = fold.chain(ram).chain(synth);
    args.set.iter().cloned().chain(flags).collect()
}

/// A segmenter's dataset has one side only.
fn check_one_side(args: &Args) -> anyhow::Result<()> {
    match (&args.source, &args.target) {
        (Some(_), None) => Ok(()),
        _ => Err(Usage::error(
            "expected --source DATASET (labelled scans) and no --target, as the recipe segment \
             trains on one modality"
                .to_owned(),
        )),
    }
}

fn text(run: &str, summary: &AnySummary) -> String {
    match summary {
        AnySummary::Training(training) => training_text(run, training),
        AnySummary::Segment(summary) => {
            let mut text = training_text(run, &summary.training);
            text.push_str(&format!(
                "  {:.2} patches a second\n",
                summary.patches_per_second
            ));
            for line in summary.validation.iter().flat_map(|v| v.lines()) {
                text.push_str(&format!("  {line}\n"));
            }
            text
        }
        AnySummary::Pseudo(summary) => format!(
            "{run}: {} cases labelled, {} left out, {:.0} % of the foreground judged\n",
            summary.kept.len(),
            summary.left_out.len(),
            100.0 * summary.judged
        ),
        AnySummary::Stages(summary) => {
            let mut text = String::new();
            for stage in &summary.stages {
                text.push_str(&format!("{run}/{}: done\n", stage.name));
            }
            text
        }
    }
}

fn training_text(run: &str, summary: &Summary) -> String {
    let time = duration(Duration::from_secs_f64(summary.seconds));
    let mut text = format!("{run}: {} steps in {time}\n", summary.steps);
    for (name, value) in &summary.losses {
        text.push_str(&format!("  {name} {value:.4}\n"));
    }
    text
}

fn budget(args: &Args) -> Option<Budget> {
    args.steps
        .map(Budget::Steps)
        .or(args.minutes.map(Budget::Minutes))
}

/// A run keeps its recipe; one that is given again must be the same.
fn check_recipe(args: &Args, run: &RunFolder, own: &AnyRecipe) -> anyhow::Result<()> {
    if args.recipe.is_none() && args.set.is_empty() {
        return Ok(());
    }
    let given = args
        .recipe
        .as_deref()
        .map(|name| AnyRecipe::load(name, &args.set))
        .transpose()?;
    if given.as_ref() == Some(own) {
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
    let manifest = Manifest::load(run)?;
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
