//! `crossmod bench measure` and `crossmod bench io`: a large volume.

use std::path::{Path, PathBuf};

use crossmod_learn::Progress as _;
use crossmod_learn::fit::write_json;

use super::train::{Scratch, Side};
use crate::bench::process::PeerCommand;
use crate::bench::report::Report;
use crate::bench::volumes::{self, Plan, Task};
use crate::context::{Context, Outcome};

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Voxels of the volume
    #[arg(long, value_name = "X,Y,Z", default_value = "512,512,300", value_parser = shape)]
    size: [usize; 3],
    /// Turns of each side, the first of which is not timed
    #[arg(long, value_name = "N", default_value_t = 3,
          value_parser = clap::value_parser!(u16).range(2..))]
    rounds: u16,
    /// A Python interpreter with the libraries to measure beside; benches/peers/measure.sh adds
    /// them to the peers' environment
    #[arg(long, value_name = "PYTHON")]
    peer: Option<PathBuf>,
    /// The peers' server
    #[arg(
        long,
        value_name = "FILE",
        default_value = "benches/peers/measure.py",
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

fn shape(text: &str) -> Result<[usize; 3], String> {
    let numbers: Result<Vec<usize>, _> = text.split(',').map(|n| n.trim().parse()).collect();
    numbers
        .ok()
        .and_then(|n| <[usize; 3]>::try_from(n).ok())
        .filter(|n| n.iter().all(|n| (8..=2048).contains(n)))
        .ok_or_else(|| "expected three numbers from 8 to 2048, such as 512,512,300".into())
}

/// Runs the tasks that `tasks` makes of a shape and a folder for files.
pub(super) fn run(
    args: &Args,
    name: &str,
    tasks: fn([usize; 3], &Path) -> anyhow::Result<Vec<Task>>,
    context: &Context,
) -> anyhow::Result<Outcome> {
    if let Some(Side::Ours) = args.side {
        // The program that started this one is who stops it.
        let _quiet = context.progress()?;
        volumes::serve()?;
        return Ok(Outcome::Done);
    }
    let machine = super::machine(context);
    let mut progress = context.progress()?;
    progress.stage(name);
    let scratch = Scratch::new()?;
    let mut tasks = tasks(args.size, &scratch.0)?;
    if args.peer.is_none() {
        tasks.dedup_by_key(|task| task.name.clone());
    }
    let mut rows = Vec::new();
    for (i, task) in tasks.iter().enumerate() {
        progress.update(i as f64 / tasks.len() as f64, &task.name);
        let options = [format!("--library={}", task.library)];
        let plan = Plan {
            rounds: args.rounds.into(),
            threads: machine.threads,
            peer: args.peer.as_deref().map(|python| PeerCommand {
                python,
                script: &args.peer_script,
                threads: machine.threads,
                options: &options,
            }),
        };
        rows.push(volumes::row(task, &plan, &progress)?);
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
