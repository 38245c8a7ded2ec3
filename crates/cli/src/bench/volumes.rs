//! Measuring, reading, writing and resampling a large volume: this program and libraries of Python in
//! turns, each in processes of their own.
//!
//! ```text
//! < {"measure": {"prediction": "p.nii.gz", "truth": "t.nii.gz"}, "repeat": 1}
//! < {"read": "image.nii.gz", "repeat": 1}
//! < {"write": "image.nii.gz", "repeat": 1}
//! < {"resample": "image.nii.gz", "repeat": 1}
//! > {"ms": [...], "cpu_ms": [...], "peak_rss_mb": 97.5}
//! ```
//!
//! The first request for a file reads it, which is not timed but for `read`.

use std::io::BufRead as _;
use std::path::PathBuf;
use std::time::Instant;

use anyhow::Context as _;
use crossmod_learn::Progress;
use crossmod_learn::device::Kind;
use serde::Deserialize;
use serde_json::{Value, json};

use super::io::Held as HeldImage;
use super::machine::processor_ms;
use super::measure::Held as HeldPair;
use super::process::{PeerCommand, Process};
use super::report::Row;
use super::serve::peak_rss_mb;
use super::steps::{compare, runners};
use crate::output;

/// What is timed.
#[derive(Debug, Clone)]
pub(crate) struct Task {
    /// The row's name.
    pub(crate) name: String,
    /// What is done: the request's key.
    pub(crate) what: &'static str,
    /// With which files.
    pub(crate) with: Value,
    /// Which library of `benches/peers/measure.py` does the same.
    pub(crate) library: &'static str,
}

/// How it is timed.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Plan<'a> {
    /// Turns of each side, the first of which is not timed.
    pub(crate) rounds: usize,
    pub(crate) threads: usize,
    pub(crate) peer: Option<PeerCommand<'a>>,
}

/// A row of this program beside one library; without a peer, of this program alone.
pub(crate) fn row(task: &Task, plan: &Plan<'_>, progress: &dyn Progress) -> anyhow::Result<Row> {
    let mut ours = Process::ours("io", plan.threads, Kind::Cpu)?;
    let mut peer = plan.peer.map(|peer| peer.start()).transpose()?;
    let (name, processes) = match peer.as_mut() {
        Some(peer) => (Some(peer.name.clone()), peer.processes.as_mut_slice()),
        None => (None, Default::default()),
    };
    let (names, mut sides) = runners(&mut ours, processes, task.what, &task.with);
    let row = compare(&names, &mut sides, [plan.rounds, 1], progress)?;
    Ok(Row {
        name: task.name.clone(),
        pass: task.what,
        peer: name,
        ..row
    })
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
enum What {
    Measure { prediction: PathBuf, truth: PathBuf },
    Read(PathBuf),
    Write(PathBuf),
    Resample(PathBuf),
}

#[derive(Debug, Deserialize)]
struct Request {
    #[serde(flatten)]
    what: What,
    repeat: usize,
}

/// What was read for requests before.
#[derive(Default)]
struct Held {
    pair: Option<HeldPair>,
    image: Option<HeldImage>,
}

impl Held {
    /// Reads what is not to be timed.
    fn prepare(&mut self, what: &What) -> anyhow::Result<()> {
        match what {
            What::Measure { prediction, truth } => {
                let held = self.pair.as_ref();
                if held.is_none_or(|held| !held.is_of(prediction, truth)) {
                    self.pair = Some(HeldPair::read(prediction, truth)?);
                }
            }
            What::Write(path) | What::Resample(path) => {
                if self.image.as_ref().is_none_or(|held| held.path != *path) {
                    self.image = Some(HeldImage::read(path)?);
                }
            }
            What::Read(_) => {}
        }
        Ok(())
    }

    /// Does once what was prepared.
    fn work(&self, what: &What) -> anyhow::Result<()> {
        let image = self.image.as_ref().context("expected an image");
        match what {
            What::Measure { .. } => self.pair.as_ref().context("expected label maps")?.measure(),
            What::Read(path) => HeldImage::read(path).map(drop),
            What::Write(_) => image?.write(),
            What::Resample(_) => image?.resample(),
        }
    }
}

/// Answers requests on stdin until they end.
pub(crate) fn serve() -> anyhow::Result<()> {
    let mut held = Held::default();
    for line in std::io::stdin().lock().lines() {
        let answer = answer(&line?, &mut held)
            .unwrap_or_else(|error| json!({ "error": format!("{error:#}") }));
        output::text(&answer.to_string())?;
    }
    Ok(())
}

fn answer(request: &str, held: &mut Held) -> anyhow::Result<Value> {
    let Request { what, repeat } =
        serde_json::from_str(request).context("expected a request of `crossmod bench io`")?;
    held.prepare(&what)?;
    let (mut wall, mut processor) = (Vec::new(), Vec::new());
    for _ in 0..repeat {
        let (start, before) = (Instant::now(), processor_ms());
        held.work(&what)?;
        wall.push(start.elapsed().as_secs_f64() * 1e3);
        processor.extend(
            processor_ms()
                .zip(before)
                .map(|(after, before)| after - before),
        );
    }
    Ok(json!({ "ms": wall, "cpu_ms": processor, "peak_rss_mb": peak_rss_mb() }))
}
