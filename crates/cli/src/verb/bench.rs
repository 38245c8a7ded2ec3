//! `crossmod bench`: how fast the arithmetic is, beside a peer.

mod scan;
mod synth;
mod train;
mod volumes;

use std::path::PathBuf;

use clap::Subcommand;
use crossmod_learn::Progress as _;
use crossmod_learn::device::Kind;
use crossmod_learn::fit::write_json;

use super::train::positive;
use crate::bench::machine::Machine;
use crate::bench::ops::{self, Op};
use crate::bench::process::PeerCommand;
use crate::bench::report::Report;
use crate::bench::single;
use crate::bench::{io, measure};
use crate::context::{Context, Outcome};
use crate::error::Usage;

/// Measures how fast this program is here and, with --peer, how fast PyTorch is in the same run.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Single operations of the nets, forward and backward
    Ops(OpsArgs),
    /// Whole training steps and inference, with losses and memory compared
    Train(train::Args),
    /// Images made of a label map by SynthSeg's steps, beside TorchIO and MONAI
    Synth(synth::Args),
    /// All metrics of two label maps, beside surface-distance and MONAI
    Measure(volumes::Args),
    /// Reading, writing and resampling an image, beside nibabel, SimpleITK and SciPy
    Io(volumes::Args),
    /// Volumes projected and reconstructed as by a CT scanner, beside RTK and XCIST
    Scan(scan::Args),
}

#[derive(Debug, clap::Args)]
struct OpsArgs {
    #[command(flatten)]
    common: Common,
    /// Timed seconds for each row and side
    #[arg(long, value_name = "S", default_value_t = 1.0, value_parser = positive,
          allow_negative_numbers = true)]
    seconds: f64,
    /// Also time each gradient of the convolutions alone, ours only
    #[arg(long)]
    gradients: bool,
}

#[derive(Debug, clap::Args)]
struct Common {
    /// Only rows whose name contains this
    #[arg(long, value_name = "TEXT")]
    filter: Option<String>,
    /// A Python interpreter with PyTorch, to measure beside; benches/peers/install.sh makes one
    #[arg(long, value_name = "PYTHON")]
    peer: Option<PathBuf>,
    /// The peer's server
    #[arg(
        long,
        value_name = "FILE",
        default_value = "benches/peers/peer.py",
        requires = "peer"
    )]
    peer_script: PathBuf,
    /// An option for the peer, such as --peer-option=--device=cuda; may be repeated
    #[arg(long, value_name = "OPTION", requires = "peer")]
    peer_option: Vec<String>,
    /// Also write the result as JSON
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

impl Common {
    fn peer(&self) -> Option<PeerCommand<'_>> {
        self.peer.as_deref().map(|python| PeerCommand {
            python,
            script: &self.peer_script,
            threads: rayon::current_num_threads(),
            options: &self.peer_option,
        })
    }

    /// The items that `--filter` lets through.
    fn choose<T>(&self, all: Vec<T>, name: impl Fn(&T) -> String) -> anyhow::Result<Vec<T>> {
        let filter = self.filter.as_deref().unwrap_or_default().to_lowercase();
        let names: Vec<String> = all.iter().map(&name).collect();
        let chosen: Vec<T> = all
            .into_iter()
            .filter(|item| name(item).to_lowercase().contains(&filter))
            .collect();
        if chosen.is_empty() {
            return Err(Usage::error(format!(
                "expected a --filter that is part of a row's name, found {filter}; the rows are: {}",
                names.join(", ")
            )));
        }
        Ok(chosen)
    }

    /// Writes and prints.
    fn report(&self, report: &Report, context: &Context) -> anyhow::Result<Outcome> {
        if let Some(path) = &self.out {
            write_json(path, report)?;
        }
        context.result(report, || report.text())?;
        Ok(Outcome::Done)
    }
}

pub(crate) fn run(args: &Args, context: &Context) -> anyhow::Result<Outcome> {
    match &args.what {
        What::Ops(args) => run_ops(args, context),
        What::Train(args) => train::run(args, context),
        What::Synth(args) => synth::run(args, context),
        What::Measure(args) => volumes::run(args, "bench measure", measure::tasks, context),
        What::Io(args) => volumes::run(args, "bench io", io::tasks, context),
        What::Scan(args) => scan::run(args, context),
    }
}

/// The machine, and a word where it is busy with something else.
fn machine(context: &Context) -> Machine {
    let machine = Machine::here();
    if let Some(load) = machine.load.filter(|&load| load > 0.5) {
        context.note(&format!(
            "the machine is busy (load {load:.1}): these figures are not worth keeping, and a peer whose threads \
             wait by spinning suffers most"
        ));
    }
    machine
}

fn run_ops(args: &OpsArgs, context: &Context) -> anyhow::Result<Outcome> {
    if context.device != Kind::Cpu {
        return Err(Usage::error(format!(
            "expected --device cpu, whose kernels `bench ops` measures, found {}; `bench train` \
             measures any device",
            context.device.name()
        )));
    }
    let chosen = args.common.choose(ops::list(), Op::name)?;
    let machine = machine(context);
    let mut progress = context.progress()?;
    progress.stage("bench ops");
    let mut peer = args.common.peer().map(|p| p.start()).transpose()?;
    let mut rows = Vec::new();
    for (i, op) in chosen.iter().enumerate() {
        progress.update(i as f64 / chosen.len() as f64, &op.name());
        let passes = op.passes(args.gradients);
        let peer = peer.as_mut();
        rows.extend(single::rows(
            op,
            &passes,
            args.seconds,
            peer,
            &machine,
            &progress,
        )?);
    }
    progress.update(1.0, "done");
    drop(progress);
    args.common.report(&Report::new(machine, rows), context)
}
