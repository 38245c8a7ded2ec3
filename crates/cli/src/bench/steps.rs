//! Whole training steps and inference: this program and the peer in turns, each in processes of
//! their own, from the same weights and inputs.
//!
//! Our side is this same program, started once more, so that its peak memory is that of the
//! training. A row's processes are fresh; both sides hold their nets at the same time, so the
//! memory must suffice for two.

use std::path::Path;

use anyhow::Context as _;
use crossmod_learn::Progress;
use crossmod_learn::bench::StepConfig;
use crossmod_learn::device::Kind;
use serde::Serialize;
use serde_json::{Map, Value, json};

use super::compare::{Side, Turns, median};
use super::ops::power;
use super::process::{PeerCommand, Process, milliseconds};
use super::report::Row;

/// Turns of inference, and passes of a turn, which follow each other as those over a scan do.
const INFERENCES: [usize; 2] = [3, 4];

/// The steps of the table.
pub(crate) fn list() -> Vec<StepConfig> {
    let synseg = |width, side| StepConfig::Synseg {
        width,
        blocks: 9,
        classes: 7,
        size: [side; 2],
    };
    let unet = |features: [usize; 4], size| StepConfig::Unet3d {
        features: features.into(),
        classes: 6,
        size,
    };
    let planned = |features: &[usize], size, classes| StepConfig::Planned {
        features: features.into(),
        classes,
        size,
    };
    vec![
        synseg(32, 128),
        synseg(64, 128),
        synseg(32, 256),
        unet([16, 32, 64, 128], [64; 3]),
        unet([16, 32, 64, 128], [80, 112, 112]),
        unet([32, 64, 128, 256], [96; 3]),
        planned(&[32, 64, 128, 256], [40, 56, 40], 3),
        planned(&[32, 64, 128, 256, 320, 320], [128; 3], 6),
    ]
}

/// Such as `synseg width 32, 128²`.
pub(crate) fn name(config: &StepConfig) -> String {
    match config {
        StepConfig::Synseg { width, size, .. } => format!("synseg width {width}, {}", power(size)),
        StepConfig::Unet3d { features, size, .. } => {
            format!("3-D U-Net {}, {}", joined(features), power(size))
        }
        StepConfig::Planned { features, size, .. } => {
            format!("planned net {}, {}", joined(features), power(size))
        }
        _ => format!("{config:?}"),
    }
}

fn joined(features: &[usize]) -> String {
    let features: Vec<String> = features.iter().map(usize::to_string).collect();
    features.join("-")
}

/// By step, the losses by name.
type Trajectory = Vec<Map<String, Value>>;

/// A process that trains or infers.
pub(super) struct Runner<'a> {
    process: &'a mut Process,
    request: Value,
    losses: Trajectory,
    /// Of each call, where the side tells.
    cpu_ms: Vec<f64>,
    peak_rss_mb: Option<f64>,
}

impl<'a> Runner<'a> {
    fn new(process: &'a mut Process, what: &str, config: Value) -> Self {
        Self {
            process,
            request: json!({ what: config }),
            losses: Vec::new(),
            cpu_ms: Vec::new(),
            peak_rss_mb: None,
        }
    }
}

impl Side for Runner<'_> {
    fn sample(&mut self, calls: usize) -> anyhow::Result<Vec<f64>> {
        self.request["repeat"] = calls.into();
        let answer = self.process.ask(&self.request)?;
        let losses = answer["losses"].as_array().into_iter().flatten();
        self.losses
            .extend(losses.filter_map(|step| step.as_object().cloned()));
        let cpu = answer["cpu_ms"].as_array().into_iter().flatten();
        self.cpu_ms.extend(cpu.filter_map(Value::as_f64));
        self.peak_rss_mb = answer["peak_rss_mb"].as_f64();
        milliseconds(&answer)
    }
}

/// What is measured of every configuration.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Plan<'a> {
    /// Training steps of each side; none for inference alone.
    pub(crate) steps: usize,
    /// Threads of each side.
    pub(crate) threads: usize,
    /// What our side runs on.
    pub(crate) device: Kind,
    pub(crate) peer: Option<PeerCommand<'a>>,
    /// Whether the peer takes the steps in f64 too, by which both sides are judged.
    pub(crate) reference: bool,
    /// A folder for weights and inputs.
    pub(crate) scratch: &'a Path,
}

/// The rows of a configuration: training, where there are steps, and inference.
pub(crate) fn rows(
    config: &StepConfig,
    plan: &Plan<'_>,
    progress: &dyn Progress,
) -> anyhow::Result<Vec<Row>> {
    let [weights, inputs] =
        ["weights", "inputs"].map(|name| plan.scratch.join(format!("{name}.safetensors")));
    let from = |config: &Value| json!({ "step": config, "weights": weights, "inputs": inputs, "repeat": 0 });
    let mut ours = Process::ours("train", plan.threads, plan.device)?;
    ours.ask(&json!({ "start": config, "weights": weights, "inputs": inputs }))?;
    let mut peer = plan.peer.map(|peer| peer.start()).transpose()?;
    let peers = peer.as_mut();
    let (peer_name, processes) = match peers {
        Some(peer) => (Some(peer.name.clone()), peer.processes.as_mut_slice()),
        None => (None, Default::default()),
    };
    for (_, process) in &mut *processes {
        process.ask(&from(&json!(config)))?;
    }
    let mut measure = |what, turns| -> anyhow::Result<(Row, Vec<Trajectory>)> {
        let (names, mut runners) = runners(&mut ours, processes, what, config);
        let row = compare(&names, &mut runners, turns, progress)?;
        let row = Row {
            name: name(config),
            peer: peer_name.clone(),
            ..row
        };
        Ok((row, runners.into_iter().map(|r| r.losses).collect()))
    };
    let trained = if plan.steps > 0 {
        Some(measure("step", [plan.steps, 1])?)
    } else {
        None
    };
    let (mut inference, _) = measure("infer", INFERENCES)?;
    inference.pass = "infer";
    let Some((mut training, losses)) = trained else {
        return Ok(vec![inference]);
    };
    training.pass = "train";
    // The processes have trained before: their peak is not that of the inference.
    (inference.ours_rss_mb, inference.peer_rss_mb) = (None, None);

    // Room for nets of twice the size.
    drop((ours, peer));
    if let (true, Some(peer), [ours, peers, ..]) = (plan.reference, plan.peer, losses.as_slice()) {
        let mut process = peer.start_plain()?;
        let mut double = json!(config);
        double["double"] = true.into();
        process.ask(&from(&double))?;
        let mut exact = Runner::new(&mut process, "step", double);
        exact.sample(plan.steps)?;
        training.ours_from_f64 = difference(ours, &exact.losses);
        training.peer_from_f64 = difference(peers, &exact.losses);
    }
    Ok(vec![training, inference])
}

/// Ours first, then the peer's with their allocators.
pub(super) fn runners<'a>(
    ours: &'a mut Process,
    peers: &'a mut [(String, Process)],
    what: &str,
    config: &impl Serialize,
) -> (Vec<String>, Vec<Runner<'a>>) {
    let mut names = vec![String::new()];
    let mut runners = vec![Runner::new(ours, what, json!(config))];
    for (allocator, process) in peers {
        names.push(allocator.clone());
        runners.push(Runner::new(process, what, json!(config)));
    }
    (names, runners)
}

/// A row without a name, of so many turns and calls of a turn: medians, the peer with the allocator
/// that suits it best. The first call of every turn, or with single calls the first of all, is not
/// timed: it makes buffers and fills caches that the others find.
pub(super) fn compare(
    names: &[String],
    runners: &mut [Runner<'_>],
    [rounds, calls]: [usize; 2],
    progress: &dyn Progress,
) -> anyhow::Result<Row> {
    let every = vec![calls; runners.len()];
    let mut sides: Vec<&mut dyn Side> = runners.iter_mut().map(|r| r as &mut dyn Side).collect();
    let times = Turns::new(rounds).take(&mut sides, &every, progress)?;
    let turn = if calls > 1 { calls } else { rounds };
    let timed = |times: &[f64]| -> Vec<f64> {
        let turns = times.chunks(turn.max(1));
        turns.flat_map(|turn| &turn[1..]).copied().collect()
    };
    let medians: Vec<f64> = times
        .iter()
        .map(|times| median(&timed(times)).unwrap_or(f64::NAN))
        .collect();
    let (ours, peers) = runners.split_first().context("our side takes part")?;
    let best = (1..medians.len()).min_by(|&a, &b| medians[a].total_cmp(&medians[b]));
    let differences = peers
        .iter()
        .map(|peer| difference(&ours.losses, &peer.losses));
    let cpu = |runner: &Runner<'_>| median(&timed(&runner.cpu_ms));
    Ok(Row {
        ours_ms: medians[0],
        peer_ms: best.map(|i| medians[i]),
        peer_allocator: best.map(|i| names[i].clone()),
        ratio: best.map(|i| medians[i] / medians[0]),
        ours_cpu_ms: cpu(ours),
        peer_cpu_ms: best.and_then(|i| cpu(&peers[i - 1])),
        ours_rss_mb: ours.peak_rss_mb,
        peer_rss_mb: best.and_then(|i| peers[i - 1].peak_rss_mb),
        loss_difference: differences.flatten().reduce(f64::max),
        ..Row::default()
    })
}

/// The largest difference of a loss at any step; absolute below 1, relative above. None where no
/// step has losses, not a number where the sides do not have the same ones.
fn difference(ours: &[Map<String, Value>], peers: &[Map<String, Value>]) -> Option<f64> {
    let mut largest = None;
    for (ours, peers) in ours.iter().zip(peers) {
        for (name, loss) in ours {
            let [a, b] = [Some(loss), peers.get(name)].map(|v| v.and_then(Value::as_f64));
            let apart = match (a, b) {
                (Some(a), Some(b)) => (a - b).abs() / b.abs().max(1.0),
                _ => return Some(f64::NAN),
            };
            largest = Some(apart.max(largest.unwrap_or(0.0)));
        }
    }
    largest
}

#[cfg(test)]
mod tests {
    use super::*;

    fn losses(of: &[(f64, f64)]) -> Trajectory {
        let map = |&(a, b): &(f64, f64)| {
            let value = json!({ "gan": a, "cycle": b });
            value.as_object().cloned().unwrap_or_default()
        };
        of.iter().map(map).collect()
    }

    #[test]
    fn the_largest_difference_counts() {
        let ours = losses(&[(0.5, 10.0), (0.25, 20.0)]);
        let peer = losses(&[(0.5, 10.0), (0.2501, 20.004)]);
        let found = difference(&ours, &peer).expect("losses");
        assert!((found - 0.004 / 20.004).abs() < 1e-9, "{found}");
        assert_eq!(difference(&[], &peer), None);
    }

    #[test]
    fn losses_of_other_names_are_no_agreement() {
        let mut peer = losses(&[(1.0, 1.0)]);
        peer[0].remove("gan");
        assert!(difference(&losses(&[(1.0, 1.0)]), &peer).is_some_and(f64::is_nan));
    }

    #[test]
    fn names_tell_the_sizes() {
        let names: Vec<String> = list().iter().map(name).collect();
        assert_eq!(names[0], "synseg width 32, 128²");
        assert_eq!(names[4], "3-D U-Net 16-32-64-128, 80×112×112");
    }
}
