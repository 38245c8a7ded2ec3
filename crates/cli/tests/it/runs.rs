//! Trainings too short to learn anything, through every step that follows one.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::process::{Command, Stdio};

use crossmod_synth::phantom::{FieldOfView, PhantomConfig, StudyConfig, write_study};
use crossmod_volume::io;
use serde_json::json;

use crate::trial::Trial;

/// Nets of a few thousand weights.
const TINY: &str = "--set segmentor.kind=unet --set segmentor.unet.width=4 \
    --set segmentor.unet.levels=3 --set generator.width=4 --set generator.blocks=1 \
    --set discriminator.width=4 --set batch=1 --set plan.max_patch=32";

/// One patient of each kind, four slices of 32 × 32.
fn study() -> Trial {
    let trial = Trial::new();
    let view = FieldOfView {
        size: 32,
        slices: 4,
        spacing_mm: 11.0,
        slice_mm: 30.0,
    };
    let phantom = PhantomConfig {
        ct: view,
        mr: view,
        ..PhantomConfig::default()
    };
    let config = StudyConfig {
        source_cases: 1,
        target_cases: 1,
        test_cases: 1,
        phantom,
        ..Default::default()
    };
    write_study(trial.root(), &config).expect("a writable folder");
    trial
}

#[test]
fn a_run_is_trained_predicts_translates_and_is_measured() {
    let trial = study();
    let train = format!("train synseg --source ct --target mr --out run --steps 3 {TINY}");
    let said = trial.run(&format!("{train} --json")).exits(0);
    let json = said.json();
    assert_eq!((&json["run"], &json["steps"]), (&json!("run"), &json!(3)));
    assert!(json["seconds"].as_f64().is_some_and(|s| s > 0.0), "{json}");
    assert!(
        json["losses"].as_object().is_some_and(|l| !l.is_empty()),
        "{json}"
    );
    assert!(said.stderr.contains("training 100%"), "{said:?}");

    let said = trial.run("predict run mr/imagesTs pred --json -q").exits(0);
    assert_eq!(said.json(), json!({"written": 1, "out": "pred"}));
    assert!(said.stderr.is_empty(), "{said:?}");
    let json = trial
        .run("evaluate pred mr/labelsTs --json")
        .exits(0)
        .json();
    assert_eq!(json["cases"].as_array().map(Vec::len), Some(1));
    assert_eq!(json["labels"]["1"]["name"], "liver");

    trial.run("translate run ct/imagesTr like_mr").exits(0);
    let [before, after] = ["ct/imagesTr/p001_0000.nii.gz", "like_mr/p001_0000.nii.gz"]
        .map(|name| io::read_image(&trial.path(name)).expect("a volume"));
    assert!(before.grid().matches(after.grid(), 1e-3));
    assert_ne!(before.data(), after.data());

    let said = trial.run(&train).exits(1);
    assert!(said.stderr.contains("--resume"), "{said:?}");
}

#[test]
fn an_untrained_folder_and_a_missing_translator_are_told() {
    let trial = study();
    trial
        .run(&format!(
            "train source-only --source ct --out run --steps 1 {TINY}"
        ))
        .exits(0);
    let said = trial.run("translate run ct/imagesTr out").exits(1);
    assert!(said.stderr.contains("`synseg`"), "{said:?}");
    let said = trial.run("predict ct ct/imagesTr out").exits(1);
    assert!(said.stderr.contains("crossmod train"), "{said:?}");
    assert!(!trial.path("out").exists());
}

#[test]
fn resuming_keeps_recipe_and_data() {
    let trial = study();
    let train = format!("train source-only --source ct --out run {TINY}");
    trial.run(&format!("{train} --steps 1")).exits(0);
    let json = trial
        .run(&format!("{train} --steps 2 --resume --json"))
        .exits(0)
        .json();
    assert_eq!(json["steps"], 2);
    let said = trial
        .run(&format!("{train} --steps 3 --resume --set seed=9"))
        .exits(2);
    assert!(
        said.stderr.contains("leave RECIPE and --set out"),
        "{said:?}"
    );
    let said = trial
        .run("train --steps 3 --resume --out run --source mr")
        .exits(2);
    assert!(
        said.stderr.contains("--source the run was started with"),
        "{said:?}"
    );
    let json = trial
        .run("train --steps 3 --resume --out run --json")
        .exits(0)
        .json();
    assert_eq!(json["steps"], 3);
}

/// Ctrl-C saves, says how to continue, and continuing ends where an uninterrupted run would.
#[cfg(unix)]
#[test]
fn an_interrupted_run_continues() {
    let trial = study();
    let mut child = trial
        .command(&format!(
            "train source-only --source ct --out run --steps 1000000 {TINY}"
        ))
        .stderr(Stdio::piped())
        .spawn()
        .expect("the built program starts");
    let mut lines = BufReader::new(child.stderr.take().expect("piped"))
        .lines()
        .map_while(Result::ok);
    assert!(lines.any(|line| line.starts_with("training   0%")));
    let kill = Command::new("kill")
        .args(["-INT", &child.id().to_string()])
        .status();
    assert!(kill.expect("a kill command").success());
    let rest: Vec<String> = lines.collect();
    assert_eq!(child.wait().expect("an end").code(), Some(1), "{rest:?}");
    let last = rest.last().expect("a message");
    assert!(last.starts_with("error: interrupted at step"), "{rest:?}");
    assert!(last.contains("--resume"), "{rest:?}");

    let rows = || {
        fs::read_to_string(trial.path("run/log.jsonl"))
            .expect("a log")
            .lines()
            .count()
    };
    let done = rows();
    let more = done + 2;
    let json = trial
        .run(&format!("train --resume --out run --steps {more} --json"))
        .exits(0);
    assert_eq!(
        (json.json()["steps"].as_u64(), rows()),
        (Some(more as u64), more)
    );
    let predicted = trial
        .run("predict run ct/imagesTr/p001_0000.nii.gz p.nii.gz")
        .exits(0);
    assert!(predicted.stdout.contains("1 segmented"), "{predicted:?}");
}

/// A run that is killed before its first checkpoint still knows how long it was to last, and what it
/// was told since.
#[test]
fn a_killed_run_keeps_its_budget() {
    let trial = study();
    let planned = "--set plan.base_features=2 --set plan.max_features_2d=4 \
        --set plan.max_features_3d=4 --ram 2GB --fold all";
    for (recipe, sizes) in [("source-only", TINY), ("segment", planned)] {
        let run = format!("run-{recipe}");
        let kill = |arguments: &str| {
            let mut child = trial
                .command(arguments)
                .stdout(Stdio::null())
                .stderr(Stdio::piped())
                .spawn()
                .expect("the built program starts");
            let mut lines = BufReader::new(child.stderr.take().expect("piped"))
                .lines()
                .map_while(Result::ok);
            assert!(lines.any(|line| line.starts_with("training   0%")));
            child.kill().expect("killed");
            child.wait().expect("an end");
        };
        kill(&format!(
            "train {recipe} --source ct --out {run} --steps 1000000 {sizes}"
        ));
        assert!(!trial.path(&run).join("state").exists());
        let manifest = || {
            let text = fs::read_to_string(trial.path(&run).join("manifest.json"));
            let text = text.expect("a manifest");
            serde_json::from_str::<serde_json::Value>(&text).expect("JSON")
        };
        assert_eq!(manifest()["budget"], json!({"steps": 1_000_000}));
        kill(&format!("train --resume --out {run} --steps 100000"));
        assert_eq!(manifest()["budget"], json!({"steps": 100_000}));
        let text = manifest().to_string().replace("100000", "3");
        trial.write_text(&format!("{run}/manifest.json"), &text);
        let json = trial
            .run(&format!("train --resume --out {run} --json"))
            .exits(0)
            .json();
        assert_eq!(json["steps"], 3, "{recipe}");
    }
}

/// Inference alone, without the steps that take minutes on large volumes.
#[test]
fn inference_is_measured_without_training() {
    let trial = Trial::new();
    let arguments = "bench train --steps 0 --filter 40×56×40 --json -q";
    let json = trial.run(arguments).exits(0).json();
    let rows = json["rows"].as_array().expect("rows");
    assert_eq!(rows.len(), 1, "{json}");
    assert_eq!(rows[0]["pass"], "infer");
    assert!(rows[0]["ours_ms"].as_f64().is_some_and(|ms| ms > 0.0));
}

/// The demo makes all it promises, twice the same where steps are counted.
#[test]
fn the_demo_is_complete_and_repeatable() {
    let trial = Trial::new();
    let demo = || {
        trial
            .run("demo --out d --steps 1 --json --force")
            .exits(0)
            .json()
    };
    let (mut first, mut second) = (demo(), demo());
    for json in [&mut first, &mut second] {
        assert!(json["seconds"].as_f64().is_some_and(|s| s > 0.0), "{json}");
        json["seconds"].take();
        let arms = json["arms"].as_object_mut().expect("arms");
        let names: Vec<&str> = arms.keys().map(String::as_str).collect();
        assert_eq!(names, ["source-only", "synseg", "target-supervised"]);
        for arm in arms.values_mut() {
            assert!(
                arm["mean"]["dice"].is_f64() && arm["labels"]["5"]["dice"].is_object(),
                "{arm}"
            );
            arm["training_seconds"].take();
        }
    }
    assert_eq!(first, second);
    for name in [
        "study/ct/dataset.json",
        "study/mr/labelsTs/p017.nii.gz",
        "translated/p001_0000.nii.gz",
        "predictions/synseg/p019.nii.gz",
        "runs/target-supervised/metrics.json",
        "metrics.json",
        "sheet.png",
        "report.html",
    ] {
        assert!(trial.path("d").join(name).is_file(), "{name}");
    }
    let said = trial.run("demo --out d --steps 1").exits(2);
    assert!(said.stderr.contains("--force"), "{said:?}");
    let said = trial.run("demo --out . --steps 1 --force").exits(2);
    assert!(said.stderr.contains("something else"), "{said:?}");
}

/// One modality by its own labels.
#[test]
fn a_segmenter_plans_itself_and_is_used() {
    let trial = study();
    let tiny = "--set plan.base_features=2 --set plan.max_features_2d=4 \
        --set plan.max_features_3d=4 --ram 2GB";
    let train = format!("train segment --source ct --out run --steps 2 --fold all {tiny}");
    let said = trial.run(&format!("{train} --json")).exits(0);
    let json = said.json();
    assert_eq!((&json["run"], &json["steps"]), (&json!("run"), &json!(2)));
    assert!(json["patches_per_second"].as_f64().is_some_and(|p| p > 0.0));
    assert!(json["validation"].is_null(), "{json}");
    let predict = "predict run ct/imagesTr out --uncertainty --no-mirror --json -q";
    let said = trial.run(predict).exits(0);
    assert_eq!(said.json(), json!({"written": 1, "out": "out"}));
    let [labels, sure] = ["out/p001.nii.gz", "out/uncertainty/p001.nii.gz"]
        .map(|name| io::read_image(&trial.path(name)).expect("a volume"));
    let before = io::read_image(&trial.path("ct/imagesTr/p001_0000.nii.gz")).expect("a volume");
    for written in [labels, sure] {
        assert!(before.grid().matches(written.grid(), 1e-3));
    }
    let said = trial.run("train --resume --out run --steps 3").exits(0);
    assert!(said.stdout.contains("3 steps"), "{said:?}");

    for (wrong, part) in [
        ("train segment --target ct --out w --steps 1", "--source"),
        (
            "train segment --source ct --out w --steps 1 --fold 9",
            "fold",
        ),
        (
            "train segment --source ct --out w --steps 1 --set patchs.noise_p=0",
            "patches.noise_p",
        ),
        ("predict run ct/imagesTr w --domain source", "--domain"),
        (
            "train synseg --source ct --target mr --out w --plan p",
            "--plan",
        ),
    ] {
        let said = trial.run(wrong).exits(2);
        assert!(said.stderr.contains(part), "{wrong}: {said:?}");
        assert!(!trial.path("w").exists(), "{wrong}");
    }
    let said = trial
        .run("train segment --source mr --out w --steps 1")
        .exits(1);
    assert!(said.stderr.contains("label maps"), "{said:?}");
}
