//! Stopped anywhere and resumed, a run is the one that was never stopped.

use std::cell::Cell;
use std::fs;
use std::path::Path;

use crossmod_learn::device::Processor;
use crossmod_learn::recipe::{resume, start};
use crossmod_learn::{Error, Silent};

use crate::study::{self, StopAfter, curve, recipe, request};

const STEPS: u64 = 9;

fn weights(run: &Path) -> Vec<Vec<u8>> {
    ["to_target", "to_source", "segmentor"]
        .map(|n| fs::read(run.join("weights").join(format!("{n}.safetensors"))).expect("weights"))
        .into()
}

#[test]
fn interrupted_runs_end_as_uninterrupted_ones() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    study::write(folder.path());
    let whole = folder.path().join("whole");
    let of = |out: &Path| request(folder.path(), out.to_owned(), recipe("synseg", &[]), STEPS);
    start(&of(&whole), &mut Silent).expect("trained");
    let rows = curve(&whole);
    assert_eq!(rows.len(), STEPS as usize);
    // The guard looks at every third step, and asks at each whether structures survive.
    let looked = rows
        .iter()
        .filter(|row| row.losses.contains_key("guard_diversity"));
    assert_eq!(looked.map(|row| row.step).collect::<Vec<_>>(), [2, 5, 8]);
    assert!(rows.iter().all(|row| row.losses.contains_key("kept")));

    // Stops before the pool is full, after, and twice.
    for stops in [vec![1], vec![5], vec![2, 3]] {
        let cut = folder.path().join(format!("cut{stops:?}"));
        let mut done = 0;
        for (i, &left) in stops.iter().enumerate() {
            let mut stop = StopAfter {
                left: Cell::new(left),
            };
            let end = if i == 0 {
                start(&of(&cut), &mut stop)
            } else {
                resume(&cut, None, &Processor::cpu(), &mut stop)
            };
            done += u64::from(left);
            assert!(
                matches!(end, Err(Error::Interrupted { step }) if step == done),
                "{end:?}"
            );
        }
        resume(&cut, None, &Processor::cpu(), &mut Silent).expect("resumed");
        assert_eq!(curve(&cut), curve(&whole), "stopped at {stops:?}");
        assert_eq!(weights(&cut), weights(&whole), "stopped at {stops:?}");
    }
}

/// A kill leaves a checkpoint and a log that went on after it, its last line half-written.
#[test]
fn a_killed_run_goes_on_from_its_checkpoint() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    study::write(folder.path());
    let [whole, cut] = ["whole", "cut"].map(|n| folder.path().join(n));
    let of = |out: &Path| request(folder.path(), out.to_owned(), recipe("synseg", &[]), STEPS);
    start(&of(&whole), &mut Silent).expect("trained");
    let mut stop = StopAfter { left: Cell::new(4) };
    start(&of(&cut), &mut stop).expect_err("stopped");
    let full = fs::read_to_string(whole.join("log.jsonl")).expect("a log");
    let torn: String = full.chars().take(full.len() * 4 / 5).collect();
    fs::write(cut.join("log.jsonl"), torn).expect("written");
    fs::create_dir(cut.join("state.new")).expect("half a checkpoint");
    resume(&cut, None, &Processor::cpu(), &mut Silent).expect("resumed");
    assert_eq!(curve(&cut), curve(&whole));
    assert_eq!(weights(&cut), weights(&whole));
}

#[test]
fn supervised_runs_resume_too() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    study::write(folder.path());
    let [whole, cut] = ["whole", "cut"].map(|n| folder.path().join(n));
    let of = |out: &Path| request(folder.path(), out.to_owned(), recipe("source-only", &[]), 5);
    start(&of(&whole), &mut Silent).expect("trained");
    start(&of(&cut), &mut StopAfter { left: Cell::new(3) }).expect_err("stopped");
    resume(&cut, None, &Processor::cpu(), &mut Silent).expect("resumed");
    assert_eq!(curve(&cut), curve(&whole));
}

#[test]
fn a_run_does_not_depend_on_the_number_of_threads() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    study::write(folder.path());
    let train = |threads: usize| {
        let out = folder.path().join(threads.to_string());
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(threads)
            .build()
            .expect("a pool");
        let request = request(folder.path(), out.clone(), recipe("synseg", &[]), 3);
        pool.install(|| start(&request, &mut Silent))
            .expect("trained");
        (curve(&out), weights(&out))
    };
    assert_eq!(train(1), train(3));
}

#[test]
fn a_run_is_not_overwritten_and_needs_its_data() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    study::write(folder.path());
    let out = folder.path().join("run");
    let request = request(folder.path(), out.clone(), recipe("synseg", &[]), 1);
    start(&request, &mut Silent).expect("trained");
    let error = start(&request, &mut Silent)
        .expect_err("refused")
        .to_string();
    assert!(error.contains("--resume"), "{error}");
    fs::remove_dir_all(folder.path().join("mr")).expect("removed");
    let error = resume(&out, None, &Processor::cpu(), &mut Silent)
        .expect_err("refused")
        .to_string();
    assert!(error.contains("mr"), "{error}");
    let nowhere = folder.path().join("none");
    assert!(resume(&nowhere, None, &Processor::cpu(), &mut Silent).is_err());
    let missing = crossmod_learn::recipe::Request {
        out: nowhere.clone(),
        ..request
    };
    start(&missing, &mut Silent).expect_err("refused");
    assert!(
        !nowhere.exists(),
        "nothing is left of a training that could not start"
    );
}
