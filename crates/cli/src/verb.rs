//! The verbs, one file each: its arguments and what it does.

mod bench;
mod check;
mod convert;
mod demo;
mod evaluate;
mod info;
mod plan;
mod predict;
mod report;
mod scan;
mod shell;
mod synth;
mod train;
mod translate;
mod view;

use std::path::Path;

use clap::Subcommand;

use crate::context::{Context, Outcome};
use crate::error::Usage;

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    /// Make a two-modality phantom study, adapt to it, measure and report
    Demo(demo::Args),
    /// Say what images, label maps and datasets hold
    Info(info::Args),
    /// Find what is wrong with a dataset before training does
    Check(check::Args),
    /// Decide how a dataset is to be segmented, and say why
    Plan(plan::Args),
    /// Turn, resample or change the format of a volume
    Convert(convert::Args),
    /// Make labelled images of label maps
    Synth(synth::Args),
    /// Scan volumes as a CT scanner does
    Scan(scan::Args),
    /// Train a run from a recipe, or continue one
    Train(train::Args),
    /// Translate images from one modality to the other
    Translate(translate::Args),
    /// Segment images
    Predict(predict::Args),
    /// Measure segmentations against the truth
    Evaluate(evaluate::Args),
    /// Write one page on runs: numbers, curves, cases and a viewer
    Report(report::Args),
    /// Look at volumes in the browser
    View(view::Args),
    /// Measure how fast this program is here, beside PyTorch where wanted
    Bench(bench::Args),
    /// Print completions for a shell, or write manual pages
    Shell(shell::Args),
}

impl Verb {
    pub(crate) fn run(&self, context: &Context) -> anyhow::Result<Outcome> {
        match self {
            Self::Demo(args) => demo::run(args, context),
            Self::Info(args) => info::run(args, context),
            Self::Check(args) => check::run(args, context),
            Self::Plan(args) => plan::run(args, context),
            Self::Convert(args) => convert::run(args, context),
            Self::Synth(args) => synth::run(args, context),
            Self::Scan(args) => scan::run(args, context),
            Self::Train(args) => train::run(args, context),
            Self::Translate(args) => translate::run(args, context),
            Self::Predict(args) => predict::run(args, context),
            Self::Evaluate(args) => evaluate::run(args, context),
            Self::Report(args) => report::run(args, context),
            Self::View(args) => view::run(args, context),
            Self::Bench(args) => bench::run(args, context),
            Self::Shell(args) => shell::run(args),
        }
    }
}

/// Refuses results that would land among their own inputs, where they could replace them.
fn refuse_same_place(input: &Path, output: &Path) -> anyhow::Result<()> {
    let place = |path: &Path| path.canonicalize().ok();
    let inputs = [
        place(input),
        input.is_file().then(|| place(input.parent()?)).flatten(),
    ];
    let folder = if output.is_dir() {
        &inputs[..]
    } else {
        &inputs[..1]
    };
    match place(output) {
        Some(output) if folder.iter().flatten().any(|input| *input == output) => {
            Err(Usage::error(format!(
                "expected OUT to be another place than IN, where it could replace the images: {}",
                output.display()
            )))
        }
        _ => Ok(()),
    }
}

/// An interruption of work that goes through files, said for that work.
fn after_files(error: crossmod_learn::Error) -> anyhow::Error {
    match error {
        crossmod_learn::Error::Interrupted { step } => anyhow::anyhow!(
            "interrupted after {step} images; those written are whole; run the command again to \
             make them all"
        ),
        other => other.into(),
    }
}
