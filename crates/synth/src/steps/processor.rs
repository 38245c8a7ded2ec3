//! What each step of a preset costs: processor time, and memory at its peak.
//!
//! `cargo test --release -p crossmod-synth processor -- --ignored --nocapture`

use std::fs;
use std::path::Path;
use std::time::Instant;

use crossmod_volume::io::read_labels;
use crossmod_volume::rng::Rng;

use super::Step;
use crate::{LabelScheme, Scene, SynthRecipe};

/// Seconds of all threads so far; Linux counts hundredths.
fn processor() -> f64 {
    let stat = fs::read_to_string("/proc/self/stat").expect("Linux");
    let after = stat.rsplit(')').next().expect("a command in brackets");
    let field = |n: usize| {
        after
            .split_whitespace()
            .nth(n)
            .and_then(|v| v.parse::<f64>().ok())
    };
    (field(11).expect("user time") + field(12).expect("system time")) / 100.0
}

/// MiB at most so far.
fn peak() -> f64 {
    let status = fs::read_to_string("/proc/self/status").expect("Linux");
    let line = status
        .lines()
        .find(|l| l.starts_with("VmHWM"))
        .expect("a peak");
    let kib = line
        .split_whitespace()
        .nth(1)
        .and_then(|v| v.parse::<f64>().ok());
    kib.expect("a number") / 1024.0
}

/// A 256³ head of SynthSeg's at 1 mm.
fn head() -> Option<Scene> {
    let data = std::env::var_os("CROSSMOD_TEST_DATA")?;
    let path = Path::new(&data).join("synthseg_labels/training_seg_01.nii.gz");
    let labels = read_labels(&path).expect("a label map");
    LabelScheme::freesurfer().scene(labels, None).ok()
}

#[test]
#[ignore = "measures time"]
fn processor_time_of_each_step() {
    let Some(scene) = head() else {
        eprintln!("skipped: CROSSMOD_TEST_DATA is not set");
        return;
    };
    eprintln!("{:?}, {:.0} MiB before", scene.grid().shape(), peak());
    let recipe = SynthRecipe::load("synthseg", &[]).expect("a preset");
    let times = 10;
    let mut spent = vec![[0.0; 2]; recipe.steps.len()];
    for number in 0..times {
        let mut scene = scene.clone();
        for (step, spent) in recipe.steps.iter().zip(&mut spent) {
            let (start, clock) = (processor(), Instant::now());
            let mut step: Step = step.clone();
            step.load().expect("ranges");
            let mut rng = Rng::new(1, number, 0);
            let draw = step.draw(&scene, &mut rng).expect("a draw");
            draw.apply(&mut scene).expect("applied");
            spent[0] += processor() - start;
            spent[1] += clock.elapsed().as_secs_f64();
        }
    }
    let mut sum = [0.0; 2];
    for (step, [busy, wall]) in recipe.steps.iter().zip(spent) {
        let name = serde_json::to_value(step).expect("a step")["step"].clone();
        let each = |seconds: f64| 1e3 * seconds / times as f64;
        eprintln!(
            "{name}: {:.0} ms of processor, {:.0} ms",
            each(busy),
            each(wall)
        );
        sum = [sum[0] + each(busy), sum[1] + each(wall)];
    }
    eprintln!(
        "sum: {:.0} ms of processor, {:.0} ms, peak {:.0} MiB",
        sum[0],
        sum[1],
        peak()
    );
}
