//! `crossmod predict`: images in, label maps on the same grids out.

use std::path::PathBuf;

use clap::ValueEnum;
use crossmod_learn::plan::Domain;
use crossmod_learn::window;
use serde_json::json;

use super::{after_files, refuse_same_place};
use crate::context::{Context, Outcome};

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
    let domain = args.domain.map(|side| match side {
        Side::Source => Domain::Source,
        Side::Target => Domain::Target,
    });
    let processor = context.processor()?;
    let mut progress = context.progress()?;
    let written = window::predict(
        &args.run,
        &args.input,
        &args.output,
        domain,
        &processor,
        &mut progress,
    )
    .map_err(after_files)?;
    drop(progress);
    let out = args.output.display();
    context.result(
        &json!({ "written": written, "out": out.to_string() }),
        || format!("{written} segmented: {out}"),
    )?;
    Ok(Outcome::Done)
}
