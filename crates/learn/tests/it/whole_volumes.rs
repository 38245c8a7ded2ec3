//! Inference on whole volumes: the same numbers as in training, on the input's own grid.

use crossmod_learn::batch::{Slices, pad_to, prepare};
use crossmod_learn::device::Processor;
use crossmod_learn::recipe::{Recipe, start};
use crossmod_learn::segment::Postprocessing;
use crossmod_learn::window::{Direction, Predictor, Translator, predict, translate};
use crossmod_learn::{Silent, fit::RunFolder};
use crossmod_volume::dataset::Dataset;
use crossmod_volume::io;
use crossmod_volume::space::{Orientation, reorient_image, reorient_labels};

use crate::study::{self, recipe, request};

fn trained(folder: &std::path::Path, more: &[&str]) -> std::path::PathBuf {
    study::write(folder);
    let run = folder.join("run");
    let request = request(folder, run.clone(), recipe("synseg", more), 4);
    start(&request, &mut Silent).expect("trained");
    run
}

/// A slice is prepared for inference exactly as it is for training, whose patches are cropped
/// from it.
#[test]
fn training_and_inference_prepare_alike() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let run = trained(folder.path(), &[]);
    let (_, plan) = Recipe::of_run(&RunFolder::open(&run).expect("a run")).expect("read");
    let dataset = Dataset::open(&folder.path().join("mr")).expect("a dataset");
    let modality = plan.target.clone().expect("a target");
    let case = &dataset.training[0];
    let slices = Slices::load(std::slice::from_ref(case), &modality, &plan, false).expect("slices");
    let image = io::read_image(&case.images[0]).expect("an image");
    let prepared = prepare(image, &modality, &plan).expect("prepared");
    let [nx, ny, nz] = prepared.image.grid().shape();
    assert_eq!(slices.len(), nz);
    for z in 0..nz {
        let from = [nx, ny];
        let seen = pad_to(prepared.image.slice_z(z), from, [slices.side(); 2]);
        assert_eq!(slices.planes(z, 0).concat(), seen);
    }
}

#[test]
fn results_lie_on_the_inputs_grid_whatever_its_orientation() {
    for dims in ["2.5d", "3d"] {
        lie_on_the_inputs_grid(dims);
    }
}

fn lie_on_the_inputs_grid(dims: &str) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let run = trained(folder.path(), &[&format!("plan.dims.kind={dims}")]);
    let predictor = Predictor::load(&run, None, &Processor::cpu()).expect("a predictor");
    let translator =
        Translator::load(&run, Direction::TargetToSource, &Processor::cpu()).expect("a translator");
    let path = folder.path().join("mr/imagesTs");
    let file = std::fs::read_dir(path)
        .expect("listed")
        .next()
        .expect("one")
        .expect("one")
        .path();
    let image = io::read_image(&file).expect("an image");
    let labels = predictor.segment(image.clone()).expect("segmented");
    let translated = translator.translate(image.clone()).expect("translated");
    assert_eq!(labels.grid(), image.grid());
    assert_eq!(translated.grid(), image.grid());
    let turned: Orientation = "PIR".parse().expect("an orientation");
    let back = Orientation::of(image.grid());
    let other = reorient_image(&image, turned);
    let found = reorient_labels(&predictor.segment(other.clone()).expect("segmented"), back);
    assert_eq!(found.data(), labels.data());
    let found = reorient_image(&translator.translate(other).expect("translated"), back);
    assert_eq!(found.data(), translated.data());
}

/// A net of stacks makes a slice of its neighbours as well, a net of slices of itself alone, a net of
/// volumes of all slices.
#[test]
fn neighbours_are_seen_where_they_are_asked_for() {
    let cases = [
        ("2d", [false, false, false, true]),
        ("2.5d", [false, false, true, true]),
    ];
    for (dims, expected) in cases.into_iter().chain([("3d", [true; 4])]) {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let run = trained(folder.path(), &[&format!("plan.dims.kind={dims}")]);
        let way = Direction::SourceToTarget;
        let translator = Translator::load(&run, way, &Processor::cpu()).expect("a translator");
        let dataset = Dataset::open(&folder.path().join("ct")).expect("a dataset");
        let image = io::read_image(&dataset.training[0].images[0]).expect("an image");
        let mut other = image.clone();
        let area = image.grid().shape()[0] * image.grid().shape()[1];
        // The last slice in other HU, within the window.
        for value in &mut other.data_mut()[3 * area..] {
            *value = 200.0 - value.clamp(-100.0, 100.0);
        }
        let [a, b] = [image, other].map(|i| translator.translate(i).expect("translated"));
        let differs = |z: usize| a.slice_z(z) != b.slice_z(z);
        assert_eq!([0, 1, 2, 3].map(differs), expected, "{dims}");
    }
}

/// What a recipe states about parts is done to what its run segments, and to nothing else.
#[test]
fn stated_rules_are_applied_to_segmentations() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let run = trained(folder.path(), &["postprocess.keep_largest=[\"*\"]"]);
    let input = folder.path().join("mr/imagesTs");
    let file = std::fs::read_dir(input).expect("listed").next();
    let image = io::read_image(&file.expect("one").expect("one").path()).expect("an image");
    let segment = || {
        let predictor = Predictor::load(&run, None, &Processor::cpu()).expect("a predictor");
        predictor.segment(image.clone()).expect("segmented")
    };
    let after = segment();
    let rules = run.join("postprocessing.toml");
    let text = std::fs::read_to_string(&rules).expect("rules");
    std::fs::remove_file(&rules).expect("removed");
    let mut before = segment();
    assert_ne!(
        before.data(),
        after.data(),
        "nothing to remove after so short a training"
    );
    let rules: Postprocessing = toml::from_str(&text).expect("rules");
    rules.apply(&mut before).expect("applied");
    assert_eq!(before.data(), after.data());

    let wrong = recipe("synseg", &["postprocess.fill_holes=[\"livr\"]"]);
    let out = folder.path().join("wrong");
    let error = start(&request(folder.path(), out.clone(), wrong, 4), &mut Silent)
        .expect_err("no such label")
        .to_string();
    assert!(
        error.contains("livr") && error.contains("postprocess.fill_holes"),
        "{error}"
    );
    assert!(!out.exists());
}

/// Where two runs find the same, their mean is as sure as they are in the mean.
#[test]
fn several_runs_segment_by_their_mean() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (run, cpu) = (trained(folder.path(), &[]), Processor::cpu());
    let other = folder.path().join("other");
    let seeded = request(
        folder.path(),
        other.clone(),
        recipe("synseg", &["seed=2"]),
        4,
    );
    start(&seeded, &mut Silent).expect("trained");
    let input = folder.path().join("mr/imagesTs");
    let file = std::fs::read_dir(&input).expect("listed").next();
    let image = io::read_image(&file.expect("one").expect("one").path()).expect("an image");
    let load = |run: &std::path::Path| Predictor::load(run, None, &cpu).expect("a predictor");
    let surely = |predictor: &Predictor| {
        let (labels, sure) = predictor.segment_surely(image.clone()).expect("segmented");
        (labels.into_parts().1, sure.into_parts().1)
    };
    let [(a, pa), (b, pb)] = [&run, &other].map(|run| surely(&load(run)));
    let both = load(&run)
        .with(&other, None, &cpu)
        .expect("the same labels");
    let (c, pc) = surely(&both);
    let mut agreed = 0;
    for i in (0..a.len()).filter(|&i| a[i] == b[i]) {
        // Both are for it, so their mean is.
        assert_eq!(c[i], a[i]);
        assert!((pc[i] - 0.5 * (pa[i] + pb[i])).abs() < 1e-6);
        agreed += 1;
    }
    assert!(agreed > 0 && agreed < a.len(), "{agreed} of {}", a.len());
    let out = folder.path().join("p");
    let runs = [run.clone(), other];
    assert_eq!(
        predict(&runs, &input, &out, None, &cpu, &mut Silent).expect("predicted"),
        1
    );

    let text = std::fs::read_to_string(run.join("plan.toml")).expect("a plan");
    let changed = text.replace("value = 1\n", "value = 9\n");
    assert_ne!(changed, text);
    std::fs::write(run.join("plan.toml"), changed).expect("written");
    let error = predict(&runs, &input, &out, None, &cpu, &mut Silent).expect_err("other labels");
    let said = ["expected a run of the labels", "9", "other"];
    assert!(
        said.iter().all(|s| error.to_string().contains(s)),
        "{error}"
    );
}

#[test]
fn folders_are_segmented_and_translated() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let run = trained(folder.path(), &[]);
    let (input, out) = (folder.path().join("mr/imagesTs"), folder.path().join("out"));
    let cpu = Processor::cpu();
    assert_eq!(
        predict(
            std::slice::from_ref(&run),
            &input,
            &out.join("p"),
            None,
            &cpu,
            &mut Silent
        )
        .expect("predicted"),
        1
    );
    let direction = Direction::TargetToSource;
    assert_eq!(
        translate(&run, &input, &out.join("t"), direction, &cpu, &mut Silent).expect("done"),
        1
    );
    let truth = std::fs::read_dir(folder.path().join("mr/labelsTs")).expect("listed");
    for entry in truth {
        let name = entry.expect("a file").file_name();
        assert!(
            out.join("p").join(&name).is_file(),
            "{name:?} is predicted under the case's name"
        );
    }
    let source_only = folder.path().join("source-only");
    let request = request(
        folder.path(),
        source_only.clone(),
        recipe("source-only", &[]),
        1,
    );
    start(&request, &mut Silent).expect("trained");
    let error = Translator::load(&source_only, direction, &Processor::cpu())
        .expect_err("refused")
        .to_string();
    assert!(error.contains("synseg"), "{error}");
}
