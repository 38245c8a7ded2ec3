//! Our side of whole steps, in a process of its own: the peer's protocol, answered by our nets.
//!
//! ```text
//! < {"start": {"kind": "unet3d", ...}, "weights": FILE, "inputs": FILE}   both files are written
//! > {}
//! < {"step": {"kind": "unet3d", ...}, "repeat": 10}
//! > {"ms": [...], "losses": [{"cross_entropy": 1.79}, ...], "peak_rss_mb": 1204.5}
//! < {"infer": {"kind": "unet3d", ...}, "repeat": 5}
//! > {"ms": [...], "peak_rss_mb": 1204.5}
//! ```

use std::io::BufRead as _;
use std::path::PathBuf;
use std::time::Instant;

use anyhow::Context as _;
use crossmod_learn::bench::{StepConfig, Subject, subject};
use crossmod_learn::device::Processor;
use crossmod_learn::fit::Losses;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::machine::{kib, read};
use crate::output;

/// Seed of weights and inputs.
const SEED: u64 = 1;

#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Request {
    Start {
        start: StepConfig,
        weights: PathBuf,
        inputs: PathBuf,
    },
    Step {
        step: StepConfig,
        repeat: usize,
    },
    Infer {
        infer: StepConfig,
        repeat: usize,
    },
}

/// Answers until the requests end.
pub(crate) fn serve(processor: Processor) -> anyhow::Result<()> {
    let mut server = Server {
        processor,
        held: None,
    };
    for line in std::io::stdin().lock().lines() {
        let answer = server
            .answer(&line?)
            .unwrap_or_else(|error| json!({ "error": format!("{error:#}") }));
        output::text(&answer.to_string())?;
    }
    Ok(())
}

struct Server {
    processor: Processor,
    held: Option<(StepConfig, Box<dyn Subject>)>,
}

impl Server {
    fn answer(&mut self, request: &str) -> anyhow::Result<Value> {
        let request: Request =
            serde_json::from_str(request).context("expected a request of `crossmod bench`")?;
        match request {
            Request::Start {
                start,
                weights,
                inputs,
            } => {
                self.held = None;
                let subject = subject(&start, SEED, &self.processor)?;
                subject.save(&weights, &inputs)?;
                self.held = Some((start, subject));
                Ok(json!({}))
            }
            Request::Step { step, repeat } => {
                let subject = self.subject(&step)?;
                let (ms, losses) = timed(repeat, || subject.step())?;
                let losses: Vec<Value> = losses.iter().map(named).collect();
                Ok(json!({ "ms": ms, "losses": losses, "peak_rss_mb": peak_rss_mb() }))
            }
            Request::Infer { infer, repeat } => {
                let subject = self.subject(&infer)?;
                let (ms, _) = timed(repeat, || subject.infer())?;
                Ok(json!({ "ms": ms, "peak_rss_mb": peak_rss_mb() }))
            }
        }
    }

    /// What was started, which must be what is asked for.
    fn subject(&mut self, config: &StepConfig) -> anyhow::Result<&mut Box<dyn Subject>> {
        match &mut self.held {
            Some((held, subject)) if held == config => Ok(subject),
            _ => anyhow::bail!("expected a `start` of the same configuration before"),
        }
    }
}

/// Milliseconds of each call, and what the calls gave.
fn timed<T>(
    repeat: usize,
    mut work: impl FnMut() -> crossmod_learn::Result<T>,
) -> anyhow::Result<(Vec<f64>, Vec<T>)> {
    let (mut times, mut results) = (Vec::new(), Vec::new());
    for _ in 0..repeat {
        let start = Instant::now();
        results.push(work()?);
        times.push(start.elapsed().as_secs_f64() * 1e3);
    }
    Ok((times, results))
}

fn named(losses: &Losses) -> Value {
    let pairs = losses
        .iter()
        .map(|&(name, loss)| (name.to_owned(), json!(loss)));
    Value::Object(pairs.collect::<Map<_, _>>())
}

/// The most memory this process has held, in units of 10⁶ bytes, where the system tells.
pub(crate) fn peak_rss_mb() -> Option<f64> {
    // Not getrusage, whose figure a process inherits from the one that started it.
    Some(kib(&read("/proc/self/status")?, "VmHWM")? * 1e3)
}
