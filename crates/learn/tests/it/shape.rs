//! Whole volumes: trained in stages, stopped and resumed, translated and segmented.

use std::cell::Cell;
use std::fs;
use std::path::Path;

use crossmod_learn::device::Processor;
use crossmod_learn::fit::{Budget, Row};
use crossmod_learn::plan::Domain;
use crossmod_learn::recipe::{AnyRecipe, AnyRequest, Task, resume_any, run_that, start_any};
use crossmod_learn::window::{Direction, Predictor, Translator};
use crossmod_learn::{Error, Silent};
use crossmod_volume::io;
use crossmod_volume::space::{Orientation, reorient_image, reorient_labels};

use crate::study::{self, StopAfter, curve};

/// Nets so small that a step takes milliseconds; labelled volumes of both modalities.
fn request(study: &Path, name: &str, out: &str, steps: u64, places: &[&str]) -> AnyRequest {
    let values = [
        "pool=2",
        "generator.width=1",
        "discriminator.width=1",
        "features=[1, 2]",
        "plan.spacing_mm=20",
        "guard_every=2",
    ];
    let of = |place: &&str| values.map(|value| format!("{place}{value}"));
    let overrides: Vec<String> = places.iter().flat_map(of).collect();
    AnyRequest {
        recipe: AnyRecipe::load(name, &overrides).expect("a recipe"),
        source: Some(study.join("ct")),
        target: Some(study.join("mr_labelled")),
        plan: None,
        out: study.join(out),
        budget: Some(Budget::Steps(steps)),
        processor: Processor::cpu(),
    }
}

fn weights(run: &Path) -> Vec<Vec<u8>> {
    [
        "to_target",
        "to_source",
        "segmentor_source",
        "segmentor_target",
        "judge_source",
    ]
    .map(|n| fs::read(run.join("weights").join(format!("{n}.safetensors"))).expect("weights"))
    .into()
}

#[test]
fn a_stopped_run_ends_as_one_that_was_not() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    study::write(folder.path());
    let of = |out| request(folder.path(), "shape-consistency-joint", out, 5, &[""]);
    start_any(&of("whole"), &mut Silent).expect("trained");
    let [whole, cut] = ["whole", "cut"].map(|name| folder.path().join(name));
    let mut stop = StopAfter { left: Cell::new(3) };
    let end = start_any(&of("cut"), &mut stop);
    assert!(
        matches!(end, Err(Error::Interrupted { step: 3 })),
        "{end:?}"
    );
    resume_any(&cut, None, &Processor::cpu(), &mut Silent).expect("resumed");
    assert_eq!(curve(&cut), curve(&whole));
    // The guard looks at every second step.
    let looked = |row: &Row| row.losses.contains_key("guard_change_target");
    let looks: Vec<bool> = curve(&whole).iter().map(looked).collect();
    assert_eq!(looks, [false, true, false, true, false]);
    assert_eq!(weights(&cut), weights(&whole));
}

/// Segmentors, then translators, then all: each takes over what the one before has learnt.
#[test]
fn the_published_stages_follow_each_other() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    study::write(folder.path());
    let places = ["segmentors", "translators", "joint"].map(|s| format!("stage.{s}.recipe."));
    let places: Vec<&str> = places.iter().map(String::as_str).collect();
    let request = request(folder.path(), "shape-consistency", "run", 6, &places);
    start_any(&request, &mut Silent).expect("trained");
    let names = |stage: &str| -> Vec<String> {
        let rows = curve(&request.out.join(stage));
        rows[0].losses.keys().cloned().collect()
    };
    assert_eq!(
        names("segmentors"),
        ["segmentation_source", "segmentation_target"]
    );
    let translators = names("translators");
    assert!(
        translators.contains(&"shape_target".to_owned()),
        "{translators:?}"
    );
    assert!(
        !translators
            .iter()
            .any(|name| name.starts_with("segmentation"))
    );
    assert_eq!(names("joint").len(), 10);
    let file = |stage: &str, net: &str| {
        let path = request
            .out
            .join(stage)
            .join(format!("weights/{net}.safetensors"));
        fs::read(path)
    };
    assert!(file("segmentors", "to_target").is_err());
    assert!(file("translators", "segmentor_target").is_err());
    let run = run_that(Task::Translate, &request.out).expect("translators");
    assert_eq!(run, request.out.join("joint"));

    // Results lie on the input's grid, whichever way its axes run.
    let cpu = Processor::cpu();
    let path = folder.path().join("mr/imagesTs");
    let mut files = fs::read_dir(path).expect("listed");
    let path = files.next().expect("one").expect("one").path();
    let image = io::read_image(&path).expect("an image");
    let predictor = Predictor::load(&run, Some(Domain::Target), &cpu).expect("a segmentor");
    let translator = Translator::load(&run, Direction::TargetToSource, &cpu).expect("one");
    assert_eq!(translator.to(), "CT");
    let labels = predictor.segment(image.clone()).expect("segmented");
    let translated = translator.translate(image.clone()).expect("translated");
    assert_eq!(
        (labels.grid(), translated.grid()),
        (image.grid(), image.grid())
    );
    let back = Orientation::of(image.grid());
    let other = reorient_image(&image, "PIR".parse().expect("an orientation"));
    let again = reorient_labels(&predictor.segment(other.clone()).expect("segmented"), back);
    assert_eq!(again.data(), labels.data());
    let again = reorient_image(&translator.translate(other).expect("translated"), back);
    assert_eq!(again.data(), translated.data());
}
