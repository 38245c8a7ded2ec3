//! One operation, one pass: our kernels and the peer in turns.

use std::time::Instant;

use crossmod_learn::Progress;
use serde_json::json;

use super::compare::{Side, Turns, median};
use super::machine::Machine;
use super::ops::{Op, Pass};
use super::ours::{self, Work};
use super::process::{Peer, Process, milliseconds};
use super::report::Row;

/// Turns of each side where calls are short.
const ROUNDS: usize = 5;

/// Turns of each side where a few calls take all the time there is.
const FEW_ROUNDS: usize = 3;

/// Calls a turn at most.
const MOST_CALLS: f64 = 10_000.0;

struct Ours<'a> {
    work: &'a mut dyn Work,
    pass: Pass,
}

impl Side for Ours<'_> {
    fn sample(&mut self, calls: usize) -> anyhow::Result<Vec<f64>> {
        // The caches are full of what others did.
        self.work.run(self.pass);
        let mut once = || {
            let start = Instant::now();
            self.work.run(self.pass);
            start.elapsed().as_secs_f64() * 1e3
        };
        Ok((0..calls).map(|_| once()).collect())
    }
}

struct Theirs<'a> {
    process: &'a mut Process,
    op: &'a Op,
    pass: Pass,
}

impl Side for Theirs<'_> {
    fn sample(&mut self, calls: usize) -> anyhow::Result<Vec<f64>> {
        let request = json!({ "op": self.op, "pass": self.pass.name(), "repeat": calls });
        milliseconds(&self.process.ask(&request)?)
    }
}

/// The rows of an operation, `seconds` of timing a side and row.
pub(crate) fn rows(
    op: &Op,
    passes: &[Pass],
    seconds: f64,
    peer: Option<&mut Peer>,
    machine: &Machine,
    progress: &dyn Progress,
) -> anyhow::Result<Vec<Row>> {
    let mut work = ours::build(op);
    let mut peer = peer;
    passes
        .iter()
        .map(|&pass| {
            let peer = peer.as_deref_mut().filter(|_| pass.has_peer());
            let mut ours = Ours {
                work: &mut *work,
                pass,
            };
            row(op, &mut ours, seconds, peer, machine, progress)
        })
        .collect()
}

fn row(
    op: &Op,
    ours: &mut Ours<'_>,
    seconds: f64,
    peer: Option<&mut Peer>,
    machine: &Machine,
    progress: &dyn Progress,
) -> anyhow::Result<Row> {
    let pass = ours.pass;
    let (name, processes) = match peer {
        Some(peer) => (Some(peer.name.clone()), peer.processes.as_mut_slice()),
        None => (None, Default::default()),
    };
    let allocators: Vec<String> = processes.iter().map(|(a, _)| a.clone()).collect();
    let mut theirs: Vec<Theirs<'_>> = processes
        .iter_mut()
        .map(|(_, process)| Theirs { process, op, pass })
        .collect();
    let mut sides: Vec<&mut dyn Side> = vec![ours];
    sides.extend(theirs.iter_mut().map(|side| side as &mut dyn Side));

    let times = measure(&mut sides, seconds, progress)?;
    let (ours_ms, peer_times) = times.split_first().unwrap_or((&f64::NAN, &[]));
    let best = allocators
        .into_iter()
        .zip(peer_times)
        .min_by(|a, b| a.1.total_cmp(b.1));
    let gflops = op.flops(pass).map(|flops| flops / ours_ms / 1e6);
    Ok(Row {
        name: op.name(),
        pass: pass.name(),
        ours_ms: *ours_ms,
        gflops,
        of_peak: gflops.map(|gflops| gflops / machine.fma_peak_gflops),
        peer: name,
        peer_ms: best.as_ref().map(|&(_, &ms)| ms),
        ratio: best.as_ref().map(|(_, ms)| *ms / ours_ms),
        peer_allocator: best.map(|(allocator, _)| allocator),
        ..Row::default()
    })
}

/// The median time of each side.
fn measure(
    sides: &mut [&mut dyn Side],
    seconds: f64,
    progress: &dyn Progress,
) -> anyhow::Result<Vec<f64>> {
    let first = Turns::new(1).take(sides, &vec![1; sides.len()], progress)?;
    let first: Vec<f64> = first.into_iter().flatten().collect();
    let slowest = first.iter().copied().fold(0.0, f64::max);
    let rounds = if slowest * ROUNDS as f64 > seconds * 1e3 {
        FEW_ROUNDS
    } else {
        ROUNDS
    };
    let per_turn = seconds * 1e3 / rounds as f64;
    let calls: Vec<usize> = first
        .iter()
        .map(|ms| (per_turn / ms).clamp(1.0, MOST_CALLS) as usize)
        .collect();
    let times = Turns::new(rounds).take(sides, &calls, progress)?;
    Ok(times
        .iter()
        .map(|t| median(t).unwrap_or(f64::NAN))
        .collect())
}
