//! `crossmod bench scan`: projection, reconstruction and whole scans.

use std::path::PathBuf;

use crossmod_learn::Progress as _;
use crossmod_learn::fit::write_json;
use serde::Serialize;

use super::train::{Scratch, Side};
use crate::bench::machine::Machine;
use crate::bench::process::PeerCommand;
use crate::bench::scan::{self, Line, PARTS, Tool};
use crate::context::{Context, Outcome};
use crate::error::Usage;

/// Measures how fast and how exactly volumes are projected and reconstructed and, with --peer, how RTK
/// and XCIST do it in the same run.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Only the part with this in its name: projection, reconstruction, dose, whole
    #[arg(long, value_name = "TEXT", default_value = "")]
    filter: String,
    /// A Python interpreter with RTK and XCIST, to measure beside; benches/peers/scan.sh makes one
    #[arg(long, value_name = "PYTHON")]
    peer: Option<PathBuf>,
    /// The peers' server
    #[arg(
        long,
        value_name = "FILE",
        default_value = "benches/peers/scan.py",
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

#[derive(Debug, Serialize)]
struct Report {
    version: &'static str,
    machine: Machine,
    lines: Vec<Line>,
}

pub(super) fn run(args: &Args, context: &Context) -> anyhow::Result<Outcome> {
    if let Some(Side::Ours) = args.side {
        // The program that started this one is who stops it.
        let _quiet = context.progress()?;
        scan::serve()?;
        return Ok(Outcome::Done);
    }
    let parts: Vec<&str> = PARTS
        .into_iter()
        .filter(|part| part.contains(&args.filter))
        .collect();
    if parts.is_empty() {
        return Err(Usage::error(format!(
            "expected a --filter that is part of a name ({}), found {}",
            PARTS.join(", "),
            args.filter
        )));
    }
    let machine = super::machine(context);
    let scratch = Scratch::new()?;
    let mut tools = Vec::new();
    if let Some(python) = &args.peer {
        for tool in ["rtk", "xcist"] {
            tools.push(Tool::start(&PeerCommand {
                python,
                script: &args.peer_script,
                threads: machine.threads,
                options: &[format!("--tool={tool}")],
            })?);
        }
    }
    let mut progress = context.progress()?;
    progress.stage("bench scan");
    let mut lines = Vec::new();
    for (i, part) in parts.iter().enumerate() {
        progress.update(i as f64 / parts.len() as f64, part);
        lines.extend(match *part {
            "projection" => scan::projection(&mut tools, &scratch.0)?,
            // RTK has no reconstruction of a helix.
            "reconstruction" => scan::reconstruction(tools.get_mut(1), &scratch.0)?,
            "dose" => scan::dose(tools.get_mut(1), &scratch.0)?,
            _ => scan::whole(machine.threads, &progress)?,
        });
    }
    progress.update(1.0, "done");
    drop(progress);
    let report = Report {
        version: env!("CARGO_PKG_VERSION"),
        machine,
        lines,
    };
    if let Some(path) = &args.out {
        write_json(path, &report)?;
    }
    context.result(&report, || text(&report))?;
    Ok(Outcome::Done)
}

/// The table for people.
fn text(report: &Report) -> String {
    let machine = &report.machine;
    let mut text = format!(
        "{}, {} threads, {}\n",
        machine.cpu, machine.threads, machine.instructions
    );
    for line in &report.lines {
        let unit = line.unit;
        text.push_str(&format!(
            "\n{:<44} {:>10} {unit}",
            line.what,
            figure(line.ours)
        ));
        if let (Some(peer), Some(theirs), Some(better)) = (&line.peer, line.theirs, line.better) {
            let (theirs, better) = (figure(theirs), figure(better));
            text.push_str(&format!(", {peer} {theirs}: {better} times better"));
        }
    }
    text
}

/// Three figures or more.
fn figure(value: f64) -> String {
    match value.abs() {
        v if v >= 100.0 => format!("{value:.0}"),
        v if v >= 10.0 => format!("{value:.1}"),
        v if v >= 0.01 => format!("{value:.3}"),
        _ => format!("{value:.2e}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_have_three_digits_or_more() {
        let said = [1234.5, 12.34, 0.5, 0.00123].map(figure);
        assert_eq!(said, ["1234", "12.3", "0.500", "1.23e-3"]);
    }
}
