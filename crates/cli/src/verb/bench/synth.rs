//! `crossmod bench synth`: images made of a label map.

use std::path::PathBuf;

use crossmod_learn::Progress as _;
use crossmod_learn::fit::write_json;

use super::train::{Scratch, Side};
use crate::bench::process::PeerCommand;
use crate::bench::report::Report;
use crate::bench::synth::{self, LIBRARIES, Plan};
use crate::context::{Context, Outcome};

/// Measures how fast images are made of a label map by SynthSeg's steps and, with --peer, how fast
/// pipelines of TorchIO and MONAI make them in the same run.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The label map to paint [default: a phantom of 160×160×160]
    #[arg(long, value_name = "FILE")]
    labels: Option<PathBuf>,
    /// Images of each side, the first of which is not timed
    #[arg(long, value_name = "N", default_value_t = 6,
          value_parser = clap::value_parser!(u16).range(2..))]
    images: u16,
    /// A Python interpreter with TorchIO and MONAI, to measure beside; benches/peers/synth.sh adds
    /// them to the peers' environment
    #[arg(long, value_name = "PYTHON")]
    peer: Option<PathBuf>,
    /// The peers' server
    #[arg(
        long,
        value_name = "FILE",
        default_value = "benches/peers/synth.py",
        requires = "peer"
    )]
    peer_script: PathBuf,
    /// Also write the result as JSON
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Be one side: answer requests on stdin
    #[arg(long, value_enum, hide = true)]
    side: Option<Side>,
}

pub(super) fn run(args: &Args, context: &Context) -> anyhow::Result<Outcome> {
    if let Some(Side::Ours) = args.side {
        // The program that started this one is who stops it.
        let _quiet = context.progress()?;
        synth::serve()?;
        return Ok(Outcome::Done);
    }
    let machine = super::machine(context);
    let mut progress = context.progress()?;
    progress.stage("bench synth");
    let scratch = Scratch::new()?;
    let labels = match &args.labels {
        Some(labels) => labels.clone(),
        None => {
            let file = scratch.0.join("labels.nii.gz");
            synth::phantom_labels(&file)?;
            file
        }
    };
    let options = LIBRARIES.map(|library| [format!("--library={library}")]);
    let peers: Vec<Option<PeerCommand<'_>>> = match &args.peer {
        Some(python) => options
            .iter()
            .map(|options| {
                Some(PeerCommand {
                    python,
                    script: &args.peer_script,
                    threads: machine.threads,
                    options,
                })
            })
            .collect(),
        None => vec![None],
    };
    let mut rows = Vec::new();
    for (i, peer) in peers.iter().enumerate() {
        progress.update(i as f64 / peers.len() as f64, "synthseg");
        let plan = Plan {
            images: args.images.into(),
            threads: machine.threads,
            peer: *peer,
            labels: &labels,
        };
        rows.push(synth::row(&plan, &progress)?);
    }
    progress.update(1.0, "done");
    drop(progress);
    let report = Report::new(machine, rows);
    if let Some(path) = &args.out {
        write_json(path, &report)?;
    }
    context.result(&report, || report.text())?;
    Ok(Outcome::Done)
}
