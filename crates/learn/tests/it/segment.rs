//! Segmenters that plan themselves, on tiny phantom studies: trained, stopped, resumed, used.

use std::cell::Cell;
use std::fs;
use std::path::{Path, PathBuf};

use crossmod_learn::device::Processor;
use crossmod_learn::fit::Budget;
use crossmod_learn::recipe::AnyRecipe;
use crossmod_learn::segment::{
    Changes, SegmentRecipe, SegmentRequest, predict_runs, resume_segment, start_segment,
};
use crossmod_learn::window::Wanted;
use crossmod_learn::{Error, Silent};
use crossmod_synth::phantom::{FieldOfView, PhantomConfig, StudyConfig, write_study};
use crossmod_volume::io;
use crossmod_volume::space::Certainty;

use crate::study::{StopAfter, curve};

/// Four CT of 12 slices of 32².
fn study() -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let small = FieldOfView {
        size: 32,
        slices: 12,
        spacing_mm: 11.0,
        slice_mm: 12.0,
    };
    let phantom = PhantomConfig {
        ct: small,
        mr: small,
        ..PhantomConfig::default()
    };
    let config = StudyConfig {
        source_cases: 4,
        target_cases: 1,
        test_cases: 1,
        phantom,
        ..StudyConfig::default()
    };
    write_study(folder.path(), &config).expect("a study");
    folder
}

/// Nets so small that a step takes milliseconds.
fn recipe(more: &[&str]) -> SegmentRecipe {
    let mut overrides: Vec<String> = [
        "folds=2",
        "average=0.9",
        "plan.base_features=2",
        "plan.max_features_3d=8",
        "plan.max_features_2d=8",
        "patches.elastic_p=0.5",
        "validate=false",
    ]
    .map(String::from)
    .to_vec();
    overrides.extend(more.iter().map(|&s| s.to_owned()));
    match AnyRecipe::load("segment", &overrides).expect("a recipe") {
        AnyRecipe::Segment(recipe) => *recipe,
        other => panic!("expected a recipe that segments, found {other:?}"),
    }
}

fn request(study: &Path, name: &str, steps: u64, more: &[&str]) -> SegmentRequest {
    SegmentRequest {
        recipe: recipe(more),
        source: study.join("ct"),
        plan: None,
        out: study.join(name),
        budget: Some(Budget::Steps(steps)),
        processor: Processor::cpu(),
    }
}

fn weights(run: &Path) -> Vec<u8> {
    fs::read(run.join("weights/segmenter.safetensors")).expect("weights")
}

#[test]
fn a_stopped_run_ends_as_one_that_was_not() {
    let study = study();
    // Checked, so that stopping early is carried over as well.
    let more = ["stop.patience=3", "stop.every=2", "stop.batches=1"];
    let whole = request(study.path(), "whole", 7, &more);
    start_segment(&whole, &mut Silent).expect("trained");
    assert_eq!(curve(&whole.out).len(), 7);
    let cut = request(study.path(), "cut", 7, &more);
    // Preparing the cases asks, too, so that some stops come before the first step.
    let mut reached = Vec::new();
    for left in (6..).step_by(2) {
        let mut stop = StopAfter {
            left: Cell::new(left),
        };
        let end = if cut.out.join("recipe.toml").exists() {
            let budget = Some(Budget::Steps(7));
            resume_segment(&cut.out, budget, &cut.processor, &mut stop)
        } else {
            start_segment(&cut, &mut stop)
        };
        match end {
            Err(Error::Interrupted { step }) => reached.push(step),
            end => {
                end.expect("trained");
                break;
            }
        }
    }
    let midway = reached.iter().filter(|step| (1..7).contains(*step));
    assert!(midway.count() > 0, "{reached:?}");
    assert_eq!(curve(&cut.out), curve(&whole.out));
    assert_eq!(weights(&cut.out), weights(&whole.out));
    assert!(
        !cut.out.join("cache").exists(),
        "prepared cases are removed"
    );
}

#[test]
fn weights_do_not_depend_on_threads_or_on_memory() {
    let study = study();
    let train = |name: &str, threads: usize, more: &[&str]| {
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(threads)
            .build()
            .expect("a pool");
        let mut request = request(study.path(), name, 3, more);
        request.plan = Some(study.path().join("one/plan.toml")).filter(|plan| plan.exists());
        pool.install(|| start_segment(&request, &mut Silent))
            .expect("trained");
        weights(&request.out)
    };
    let one = train("one", 1, &[]);
    assert!(one == train("two", 2, &[]));
    let plan = fs::read_to_string(study.path().join("one/plan.toml")).expect("a plan");
    let line = plan.lines().find_map(|line| line.strip_prefix("ram_mb = "));
    let ram: usize = line.and_then(|mb| mb.parse().ok()).expect("megabytes");
    // Two megabytes beside the training's own: cases are read from their files.
    let tight = format!("plan.ram_mb={}", ram + 2);
    assert!(one == train("tight", 2, &[&tight]));
    let mut breach = request(study.path(), "breach", 3, &[&format!("plan.ram_mb={ram}")]);
    breach.plan = Some(study.path().join("one/plan.toml"));
    let error = start_segment(&breach, &mut Silent).expect_err("too little");
    assert!(error.to_string().contains("ram"), "{error}");
}

/// Every kind of net, slices and volumes: trained, validated, and used with another run.
#[test]
fn nets_of_every_plan_are_trained_and_used() {
    let study = study();
    let inputs = study.path().join("ct/imagesTr");
    let kinds = [
        ("plain-conv", "3d"),
        ("residual-encoder", "3d"),
        ("res-unet", "2.5d"),
        ("norm-free", "2d"),
        ("resnet9", "2d"),
    ];
    for (kind, dims) in kinds {
        let net = format!("plan.kind={kind}");
        let dims_key = format!("plan.dims.kind={dims}");
        let context = "plan.dims.context=1";
        let mut more = vec![
            net.as_str(),
            &dims_key,
            "validate=true",
            "window.mirror=false",
        ];
        if dims == "2.5d" {
            more.push(context);
        }
        let run = request(study.path(), kind, 2, &more);
        let summary = start_segment(&run, &mut Silent).expect(kind);
        let validation = summary.validation.expect("two validation cases");
        assert!(validation.lines().len() > 2, "{kind}");
        let outs = study.path().join(format!("{kind}-out"));
        let wanted = Wanted {
            certainty: Certainty::Entropy,
            probabilities: dims == "3d",
        };
        // A run twice is its own mean.
        let both: Vec<PathBuf> = vec![run.out.clone(), run.out.clone()];
        let single = study.path().join(format!("{kind}-single"));
        for (roots, out) in [(&both[..], &outs), (&both[..1], &single)] {
            let written = predict_runs(
                roots,
                (&inputs, out),
                (wanted, Changes::default()),
                &run.processor,
                &mut Silent,
            );
            assert_eq!(written.expect(kind), 4);
        }
        let read = |folder: &Path| io::read_labels(&folder.join("p001.nii.gz")).expect("labels");
        let labels = read(&outs);
        let image = io::read_image(&inputs.join("p001_0000.nii.gz")).expect("an image");
        assert!(labels.grid().matches(image.grid(), 1e-3));
        assert_eq!(labels, read(&single), "{kind}");
        let sure = io::read_image(&outs.join("uncertainty/p001.nii.gz")).expect("uncertainty");
        assert!(sure.data().iter().all(|v| *v >= 0.0) && sure.data().iter().any(|v| *v > 0.0));
        if wanted.probabilities {
            let folder = outs.join("probabilities/p001");
            let files: Vec<_> = fs::read_dir(folder).expect("probabilities").collect();
            assert_eq!(files.len(), 6, "background and five organs");
        }
    }
}

/// Slices and volumes together, but never runs of other labels.
#[test]
fn runs_of_different_plans_are_averaged() {
    let study = study();
    let volumes = request(study.path(), "3d", 2, &[]);
    let slices = request(study.path(), "2d", 2, &["plan.dims.kind=2d"]);
    for request in [&volumes, &slices] {
        start_segment(request, &mut Silent).expect("trained");
    }
    let predict = |roots: &[&Path], out: &str| {
        let wanted = Wanted {
            certainty: Certainty::None,
            probabilities: true,
        };
        let roots: Vec<PathBuf> = roots.iter().map(|root| root.to_path_buf()).collect();
        predict_runs(
            &roots,
            (&study.path().join("ct/imagesTr"), &study.path().join(out)),
            (wanted, Changes::default()),
            &Processor::cpu(),
            &mut Silent,
        )
    };
    let [volumes, slices] = [&volumes.out, &slices.out];
    for (roots, out) in [
        (&[volumes.as_path()][..], "one"),
        (&[slices], "other"),
        (&[volumes, slices, volumes], "all"),
    ] {
        assert_eq!(predict(roots, out).expect(out), 4);
    }
    let liver = |out: &str| {
        let path = format!("{out}/probabilities/p002/liver.nii.gz");
        io::read_image(&study.path().join(path)).expect("probabilities")
    };
    let [one, other, all] = ["one", "other", "all"].map(liver);
    assert_ne!(one, other);
    for (i, &p) in all.data().iter().enumerate() {
        let mean = (2.0 * one.data()[i] + other.data()[i]) / 3.0;
        assert!((p - mean).abs() < 1e-4, "{i}: {p} for {mean}");
    }

    let plan = slices.join("plan.toml");
    let text = fs::read_to_string(&plan).expect("a plan");
    fs::write(&plan, text.replace("\"liver\"", "\"hepar\"")).expect("written");
    let message = predict(&[volumes, slices], "none")
        .expect_err("other labels")
        .to_string();
    assert!(
        message.contains("hepar") && message.contains("liver"),
        "{message}"
    );
    assert!(message.ends_with("plan.toml"), "{message}");
}

/// Synthetic cases beside real ones: their share of the patches is theirs.
#[test]
fn other_datasets_are_mixed_in() {
    let study = study();
    let mut request = request(study.path(), "mixed", 2, &["fold=all"]);
    request.recipe.mix = vec![crossmod_learn::segment::Mix {
        dataset: study.path().join("ct"),
        share: 0.5,
        synth: None,
        translate: None,
    }];
    start_segment(&request, &mut Silent).expect("trained");
    let manifest = fs::read_to_string(request.out.join("manifest.json")).expect("a manifest");
    assert!(manifest.contains("mix0/"), "{manifest}");
    request.recipe.mix[0].dataset = study.path().join("none");
    request.out = study.path().join("mixed-none");
    assert!(start_segment(&request, &mut Silent).is_err());
    assert!(!request.out.exists());
}
