//! `crossmod predict`: images in, label maps on the same grids out.

use std::path::PathBuf;

use clap::ValueEnum;
use crossmod_learn::plan::Domain;
use crossmod_learn::recipe::{self, Task};
use crossmod_learn::segment::{self, Changes};
use crossmod_learn::window::{self, Wanted};
use crossmod_volume::space::Certainty;
use serde_json::json;

use super::{after_files, refuse_same_place};
use crate::context::{Context, Outcome};
use crate::error::Usage;

/// Segments images with a trained run; each result lies on its image's own grid.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The folder of a trained run
    run: PathBuf,
    /// An image or a folder of images
    #[arg(value_name = "IN")]
    input: PathBuf,
    /// A file, or a folder to write to
    #[arg(value_name = "OUT")]
    output: PathBuf,
    /// Segment with the mean of RUN and this run of the same labels, such as another fold or a 2-D
    /// plan beside a 3-D one; may be repeated
    #[arg(long, value_name = "RUN")]
    with: Vec<PathBuf>,
    /// Also write how uncertain the labels are: entropy, in nats, to uncertainty/ beside OUT
    #[arg(long)]
    uncertainty: bool,
    /// Also write the probability of every class to probabilities/CASE/ beside OUT
    #[arg(long)]
    probabilities: bool,
    /// Do not segment mirrored copies as well: up to 8 times faster, a little less accurate
    #[arg(long)]
    no_mirror: bool,
    /// Distance between windows as a share of their sides [default: the run's, 0.5]
    #[arg(long, value_name = "SHARE", value_parser = super::train::positive)]
    step: Option<f64>,
    /// Which modality the images are of [default: target, or source where the run has no target]
    #[arg(long, value_enum, value_name = "DOMAIN")]
    domain: Option<Side>,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Side {
    /// The labelled modality
    Source,
    /// The modality to be segmented
    Target,
}

pub(crate) fn run(args: &Args, context: &Context) -> anyhow::Result<Outcome> {
    refuse_same_place(&args.input, &args.output)?;
    let run = recipe::run_that(Task::Predict, &args.run)?;
    if segment::is_segment_run(&run)? {
        return run_planned(args, run, context);
    }
    let planned = [
        ("--with", !args.with.is_empty()),
        ("--uncertainty", args.uncertainty),
        ("--probabilities", args.probabilities),
        ("--no-mirror", args.no_mirror),
        ("--step", args.step.is_some()),
    ];
    if let Some((flag, _)) = planned.into_iter().find(|(_, given)| *given) {
        return Err(Usage::error(format!(
            "expected {flag} with a run of the recipe segment only, found another run; leave it \
             out: {}",
            args.run.display()
        )));
    }
    let domain = args.domain.map(|side| match side {
        Side::Source => Domain::Source,
        Side::Target => Domain::Target,
    });
    let processor = context.processor()?;
    let mut progress = context.progress()?;
    let written = window::predict(
        &run,
        &args.input,
        &args.output,
        domain,
        &processor,
        &mut progress,
    )
    .map_err(after_files)?;
    drop(progress);
    tell(args, context, written)
}

fn run_planned(args: &Args, run: PathBuf, context: &Context) -> anyhow::Result<Outcome> {
    if args.domain.is_some() {
        return Err(Usage::error(format!(
            "expected --domain with a run of two modalities only, found one of one; leave it out: {}",
            args.run.display()
        )));
    }
    let others = args
        .with
        .iter()
        .map(|run| recipe::run_that(Task::Predict, run));
    let roots = std::iter::once(Ok(run))
        .chain(others)
        .collect::<Result<Vec<PathBuf>, _>>()?;
    let wanted = Wanted {
        certainty: if args.uncertainty {
            Certainty::Entropy
        } else {
            Certainty::None
        },
        probabilities: args.probabilities,
    };
    let changes = Changes {
        step: args.step,
        mirror: args.no_mirror.then_some(false),
    };
    let processor = context.processor()?;
    let mut progress = context.progress()?;
    let written = segment::predict_runs(
        &roots,
        (&args.input, &args.output),
        (wanted, changes),
        &processor,
        &mut progress,
    )
    .map_err(after_files)?;
    drop(progress);
    tell(args, context, written)
}

fn tell(args: &Args, context: &Context, written: usize) -> anyhow::Result<Outcome> {
    let out = args.output.display();
    context.result(
        &json!({ "written": written, "out": out.to_string() }),
        || format!("{written} segmented: {out}"),
    )?;
    Ok(Outcome::Done)
}
