//! `crossmod translate`: images of one modality in, images like the other's out.

use std::path::PathBuf;

use clap::ValueEnum;
use crossmod_learn::recipe::{self, Task};
use crossmod_learn::window;
use serde_json::json;

use super::{after_files, refuse_same_place};
use crate::context::{Context, Outcome};

/// Translates images with a trained run; each result lies on its image's own grid.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
    crossmod translate runs/synseg ct/imagesTr like-mr\n  \
    crossmod translate runs/synseg mr.nii.gz like-ct.nii.gz --direction target-to-source")]
pub(crate) struct Args {
    /// The folder of a trained run that has translators
    run: PathBuf,
    /// An image or a folder of images
    #[arg(value_name = "IN")]
    input: PathBuf,
    /// A file, or a folder to write to
    #[arg(value_name = "OUT")]
    output: PathBuf,
    /// Which way
    #[arg(
        long,
        value_enum,
        value_name = "DIRECTION",
        default_value = "source-to-target"
    )]
    direction: Direction,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Direction {
    /// From the labelled modality to the other
    SourceToTarget,
    /// From the other to the labelled one
    TargetToSource,
}

pub(crate) fn run(args: &Args, context: &Context) -> anyhow::Result<Outcome> {
    refuse_same_place(&args.input, &args.output)?;
    let direction = match args.direction {
        Direction::SourceToTarget => window::Direction::SourceToTarget,
        Direction::TargetToSource => window::Direction::TargetToSource,
    };
    let processor = context.processor()?;
    let mut progress = context.progress()?;
    let run = recipe::run_that(Task::Translate, &args.run)?;
    let written = window::translate(
        &run,
        &args.input,
        &args.output,
        direction,
        &processor,
        &mut progress,
    )
    .map_err(after_files)?;
    drop(progress);
    let out = args.output.display();
    context.result(
        &json!({ "written": written, "out": out.to_string() }),
        || format!("{written} translated: {out}"),
    )?;
    Ok(Outcome::Done)
}
