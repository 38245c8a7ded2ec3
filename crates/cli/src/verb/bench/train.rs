//! `crossmod bench train`: whole training steps and inference.

use std::path::PathBuf;

use anyhow::Context as _;
use crossmod_learn::Progress as _;

use super::Common;
use crate::bench::report::Report;
use crate::bench::{serve, steps};
use crate::context::{Context, Outcome};
use crate::error::Usage;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    common: Common,
    /// Training steps of each side, the first of which is not timed; 0 measures inference alone
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = none_or_timed)]
    steps: u16,
    /// Have the peer take the steps in f64 too: tells what rounding alone does to the losses
    #[arg(long)]
    reference: bool,
    /// Be one side: answer requests on stdin
    #[arg(long, value_enum, hide = true)]
    side: Option<Side>,
}

/// The sides that this program can be by itself.
#[derive(Debug, Clone, Copy, clap::ValueEnum)]
pub(super) enum Side {
    Ours,
}

/// None, or enough that one is timed.
fn none_or_timed(text: &str) -> Result<u16, String> {
    match text.parse() {
        Ok(1) | Err(_) => Err("expected 0, or a number from 2 to 65535".into()),
        Ok(steps) => Ok(steps),
    }
}

pub(super) fn run(args: &Args, context: &Context) -> anyhow::Result<Outcome> {
    if let Some(Side::Ours) = args.side {
        // The program that started this one is who stops it.
        let _quiet = context.progress()?;
        serve::serve(context.processor()?)?;
        return Ok(Outcome::Done);
    }
    if args.reference && args.steps == 0 {
        return Err(Usage::error(
            "expected --reference with training steps, found --steps 0; leave one of them out"
                .to_owned(),
        ));
    }
    let chosen = args.common.choose(steps::list(), steps::name)?;
    let machine = super::machine(context).with_device(context.processor()?.driver_name());
    let mut progress = context.progress()?;
    progress.stage("bench train");
    let scratch = Scratch::new()?;
    let plan = steps::Plan {
        steps: args.steps.into(),
        threads: machine.threads,
        device: context.device,
        peer: args.common.peer(),
        reference: args.reference,
        scratch: &scratch.0,
    };
    let mut rows = Vec::new();
    for (i, config) in chosen.iter().enumerate() {
        progress.update(i as f64 / chosen.len() as f64, &steps::name(config));
        rows.extend(steps::rows(config, &plan, &progress)?);
    }
    progress.update(1.0, "done");
    drop(progress);
    args.common.report(&Report::new(machine, rows), context)
}

/// A folder of this process among the system's temporary ones; removed when dropped.
pub(super) struct Scratch(pub(super) PathBuf);

impl Scratch {
    pub(super) fn new() -> anyhow::Result<Self> {
        let name = format!("crossmod-bench-{}", std::process::id());
        let folder = std::env::temp_dir().join(name);
        std::fs::create_dir(&folder)
            .with_context(|| format!("could not make a folder: {}", folder.display()))?;
        Ok(Self(folder))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // Nobody to tell of a failure; the system clears its temporary folders.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
