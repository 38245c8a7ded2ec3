//! Recipes of several trainings: stopped anywhere and resumed, and used as one run.

use std::cell::Cell;
use std::fs;
use std::path::Path;

use crossmod_learn::device::Processor;
use crossmod_learn::fit::{Budget, RunFolder};
use crossmod_learn::recipe::{
    AnyRecipe, AnyRequest, Recipe, Task, resume_any, run_that, start_any,
};
use crossmod_learn::segment::{Changes, predict_runs};
use crossmod_learn::window::{Direction, Wanted, predict, translate};
use crossmod_learn::{Error, Silent};
use crossmod_volume::dataset::Dataset;

use crate::study::{self, StopAfter, curve};

/// Nets so small that a step takes milliseconds.
fn request(study: &Path, name: &str, out: &str, steps: u64, more: &[&str]) -> AnyRequest {
    let overrides: Vec<String> = more.iter().map(|&s| s.to_owned()).collect();
    AnyRequest {
        recipe: AnyRecipe::load(name, &overrides).expect("a recipe"),
        source: Some(study.join("ct")),
        target: Some(study.join("mr")),
        plan: None,
        out: study.join(out),
        budget: Some(Budget::Steps(steps)),
        processor: Processor::cpu(),
    }
}

/// The values of tiny translators and segmentors in some stages.
fn tiny(stages: &[&str]) -> Vec<String> {
    let values = [
        "batch=1",
        "pool=2",
        "generator.width=2",
        "generator.blocks=1",
        "discriminator.width=2",
        "segmentor.kind=unet",
        "segmentor.unet.width=2",
        "segmentor.unet.levels=3",
        "plan.max_patch=32",
        "guard.every=2",
        "guard.patches=2",
    ];
    let of = |stage: &&str| values.map(|value| format!("stage.{stage}.recipe.{value}"));
    stages.iter().flat_map(of).collect()
}

/// The values of tiny planned segmenters in some stages.
fn planned(stages: &[&str]) -> Vec<String> {
    let values = [
        "folds=2",
        "plan.base_features=2",
        "plan.max_features_2d=8",
        "validate=false",
    ];
    let of = |stage: &&str| values.map(|value| format!("stage.{stage}.recipe.{value}"));
    stages.iter().flat_map(of).collect()
}

fn words(values: &[String]) -> Vec<&str> {
    values.iter().map(String::as_str).collect()
}

#[test]
fn two_stages_stopped_anywhere_end_as_if_they_were_not() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    study::write(folder.path());
    let mut values = tiny(&["translate", "segment"]);
    // In 2.5-D, which the second stage takes from the first one's plan.
    values.push("stage.translate.recipe.plan.dims.kind=2.5d".to_owned());
    let of = |out| request(folder.path(), "two-stage", out, 8, &words(&values));
    start_any(&of("whole"), &mut Silent).expect("trained");
    let (whole, cut) = (folder.path().join("whole"), folder.path().join("cut"));
    for stage in ["translate", "segment"] {
        assert_eq!(curve(&whole.join(stage)).len(), 4);
    }
    let mut stops = 0;
    loop {
        let mut stop = StopAfter { left: Cell::new(3) };
        let end = if cut.join("recipe.toml").exists() {
            resume_any(&cut, None, &Processor::cpu(), &mut stop)
        } else {
            start_any(&of("cut"), &mut stop)
        };
        match end {
            Err(Error::Interrupted { .. }) => stops += 1,
            end => {
                end.expect("trained");
                break;
            }
        }
    }
    assert!(stops >= 2, "{stops}");
    for stage in ["translate", "segment"] {
        assert_eq!(curve(&cut.join(stage)), curve(&whole.join(stage)));
    }
    let weights = |run: &Path| fs::read(run.join("segment/weights/segmentor.safetensors"));
    assert_eq!(
        weights(&cut).expect("weights"),
        weights(&whole).expect("weights")
    );

    // The whole is used as one run.
    let cpu = Processor::cpu();
    let (input, out) = (folder.path().join("mr/imagesTs"), folder.path().join("out"));
    let segmenter = run_that(Task::Predict, &whole).expect("a segmentor");
    assert_eq!(segmenter, whole.join("segment"));
    predict(
        &[segmenter],
        &input,
        &out.join("p"),
        None,
        &cpu,
        &mut Silent,
    )
    .expect("segmented");
    let translator = run_that(Task::Translate, &whole).expect("translators");
    let input = folder.path().join("ct/imagesTr");
    let way = Direction::SourceToTarget;
    let count = translate(&translator, &input, &out.join("t"), way, &cpu, &mut Silent);
    assert_eq!(count.expect("translated"), 2);
    let error = predict(&[translator], &input, &out, None, &cpu, &mut Silent);
    assert!(
        error
            .expect_err("no segmentor")
            .to_string()
            .contains("translate")
    );
}

/// Volumes are translated whole, and the second stage learns on blocks of them.
#[test]
fn two_stages_of_volumes_follow_each_other() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    study::write(folder.path());
    let mut values = tiny(&["translate", "segment"]);
    values.push("stage.translate.recipe.plan.dims.kind=3d".to_owned());
    let of = |out| request(folder.path(), "two-stage", out, 4, &words(&values));
    start_any(&of("run"), &mut Silent).expect("trained");
    let run = folder.path().join("run/segment");
    let (_, plan) = Recipe::of_run(&RunFolder::open(&run).expect("a run")).expect("read");
    // 144 mm in 24 slices, the fewest there may be.
    let block = plan.block.expect("blocks");
    assert_eq!((block.slices, block.spacing_mm), (24, 6.0));
    let input = folder.path().join("mr/imagesTs");
    let out = folder.path().join("out");
    let found = predict(&[run], &input, &out, None, &Processor::cpu(), &mut Silent);
    assert_eq!(found.expect("segmented"), 1);
}

/// The second stage sees what the first translates, three slices at a time.
#[test]
fn synthetic_ct_trains_a_segmenter_of_neighbouring_slices() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    study::write(folder.path());
    let mut values = tiny(&["translate"]);
    values.extend(planned(&["segment"]));
    let request = request(folder.path(), "ssim-prostate", "run", 4, &words(&values));
    start_any(&request, &mut Silent).expect("trained");
    let plan = fs::read_to_string(request.out.join("segment/plan.toml")).expect("a plan");
    assert!(plan.contains("2.5d") && plan.contains("res-unet"), "{plan}");
    assert_eq!(curve(&request.out.join("translate")).len(), 3);
    let input = folder.path().join("mr/imagesTs");
    let wanted = (Wanted::default(), Changes::default());
    let out = folder.path().join("out");
    let run = run_that(Task::Predict, &request.out).expect("a segmenter");
    predict_runs(
        &[run],
        (&input, &out),
        wanted,
        &Processor::cpu(),
        &mut Silent,
    )
    .expect("segmented");
}

/// Twice as many slices of equal size take twice as many steps to be seen as often.
#[test]
fn equal_epochs_take_more_steps_where_there_are_more_slices() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    study::write(folder.path());
    let mut values = tiny(&["essnet"]);
    values.extend(planned(&["real", "equal-steps", "equal-epochs"]));
    let stages = ["essnet", "real", "equal-steps", "equal-epochs"];
    let mut request = request(folder.path(), "essnet-liver", "run", 14, &words(&values));
    request.target = Some(folder.path().join("mr_labelled"));
    start_any(&request, &mut Silent).expect("trained");
    let steps = stages.map(|stage| curve(&request.out.join(stage)).len());
    assert_eq!(steps, [6, 2, 2, 4]);
}

/// A teacher's sure labels train a student, whose labels train the next.
#[test]
fn rounds_of_self_training_follow_each_other() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    study::write(folder.path());
    let mut values = tiny(&["teacher"]);
    values.extend(planned(&["student-1", "student-2"]));
    // Untrained nets are never sure and agree on nothing.
    for stage in ["labels-1", "labels-2"] {
        values.push(format!("stage.{stage}.recipe.confidence=0"));
        values.push(format!("stage.{stage}.recipe.agreement=0"));
    }
    values.push("stage.teacher.recipe.guard.every=0".into());
    let request = request(folder.path(), "self-train", "run", 6, &words(&values));
    start_any(&request, &mut Silent).expect("trained");
    for round in ["labels-1", "labels-2"] {
        let dataset = Dataset::open(&request.out.join(round)).expect("a dataset");
        assert_eq!(dataset.labelled().len(), 2);
        assert!(dataset.ignore.is_some());
    }
    let student = run_that(Task::Predict, &request.out).expect("a segmenter");
    assert_eq!(student, request.out.join("student-2"));
    let unsure = AnyRecipe::load("self-train", &["stage.labels-1.recipe.runs=[]".to_owned()]);
    assert!(unsure.expect_err("refused").to_string().contains("runs"));
}
