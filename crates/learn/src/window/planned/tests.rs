//! Files in, files out, with a net that tells bright from dark.

use super::*;
use crate::Silent;
use crate::segment::plan::{Channel, Class, Dims};
use crate::window::sliding::{WindowBatch, tests::plan};
use crossmod_volume::Grid;
use crossmod_volume::intensity::Normalise;

/// The organ where the channels' sum is above 0.5, the more certain the further.
fn threshold() -> Box<dyn PatchNet> {
    Box::new(|batch: &WindowBatch| {
        let voxels: usize = batch.shape.iter().product();
        let mut out = Vec::new();
        for window in batch.values.chunks(voxels * batch.channels) {
            let sum = |i: usize| -> f32 { window[i..].iter().step_by(voxels).sum() };
            let p = (0..voxels).map(|i| sum(i).clamp(0.0, 1.0));
            out.extend(p.clone().map(|p| 1.0 - p));
            out.extend(p);
        }
        Ok(out)
    })
}

/// Two channels of which the sum is 0.9 in a box, 0.3 in a speck and 0.1 elsewhere.
fn channels(grid: &Grid) -> [Image; 2] {
    let [nx, ny, _] = grid.shape();
    let value = |i: usize| {
        let at = [i % nx, i / nx % ny, i / (nx * ny)];
        let within = |low: usize, high: usize| at.iter().all(|v| (low..high).contains(v));
        if within(3, 9) {
            0.9
        } else if within(11, 12) {
            0.8
        } else {
            0.1
        }
    };
    [0.25, 0.75].map(|share| {
        let data = (0..grid.len()).map(|i| share * value(i)).collect();
        Image::new(grid.clone(), data).expect("an image")
    })
}

fn two_channels() -> SegmentationPlan {
    let mut plan = plan(Dims::Three, [8, 8, 8], &[0, 1, 2]);
    plan.channels = ["a", "b"]
        .map(|name| Channel {
            name: name.into(),
            normalisation: Normalise::None,
        })
        .to_vec();
    plan.classes = vec![Class::new(0, "background"), Class::new(3, "left/organ")];
    plan
}

#[test]
fn a_folder_of_cases_is_segmented_with_all_that_is_wanted() {
    let folder = tempfile::tempdir().expect("a folder");
    let (input, output) = (folder.path().join("in"), folder.path().join("out"));
    fs::create_dir(&input).expect("made");
    let grid = Grid::with_spacing([14, 13, 12], [1.0, 1.0, 1.0]).expect("a grid");
    let images = channels(&grid);
    for case in ["a", "b"] {
        for (i, image) in images.iter().enumerate() {
            let path = input.join(format!("{case}_000{i}.nii.gz"));
            io::write_image(&path, image, &Storage::default()).expect("written");
        }
    }
    let postprocessing: Postprocessing =
        toml::from_str("[[classes]]\nvalue = 3\nkeep_largest = true\n").expect("rules");
    let predictor = |postprocessing| {
        let nets = vec![threshold(), threshold()];
        PlannedPredictor::new(
            two_channels(),
            nets,
            WindowConfig::default(),
            postprocessing,
        )
    };
    let wanted = Wanted {
        certainty: Certainty::Entropy,
        probabilities: true,
    };
    let done = predict_planned(
        &predictor(postprocessing),
        &input,
        &output,
        wanted,
        &mut Silent,
    );
    assert_eq!(done.expect("predicted"), 2);

    let labels = io::read_labels(&output.join("b.nii.gz")).expect("labels");
    assert_eq!(labels.grid(), &grid);
    // The speck at 11 is gone.
    assert_eq!(labels.counts().get(&3), Some(&216));
    let box_alone = |i: usize| {
        let [x, y, z] = [i % 14, i / 14 % 13, i / (14 * 13)];
        [x, y, z].iter().all(|v| (3..9).contains(v))
    };
    assert!(
        labels
            .data()
            .iter()
            .enumerate()
            .all(|(i, &l)| (l == 3) == box_alone(i))
    );

    let image = |path: &str| io::read_image(&output.join(path)).expect("an image");
    let entropy = image("uncertainty/b.nii.gz");
    let organ = image("probabilities/b/left_organ.nii.gz");
    let background = image("probabilities/b/background.nii.gz");
    for i in 0..grid.len() {
        let p = images[0].data()[i] + images[1].data()[i];
        assert!((organ.data()[i] - p).abs() < 1e-4);
        assert!((background.data()[i] + p - 1.0).abs() < 1e-4);
        let nats = -p * p.ln() - (1.0 - p) * (1.0 - p).ln();
        assert!((entropy.data()[i] - nats).abs() < 1e-3, "{i}");
    }
    let mut left: Vec<_> = fs::read_dir(output.join("probabilities/b"))
        .expect("a folder")
        .flatten()
        .map(|entry| entry.file_name())
        .collect();
    left.sort();
    assert_eq!(left, ["background.nii.gz", "left_organ.nii.gz"]);

    let plain = predictor(Postprocessing::default());
    let one = folder.path().join("one.nii");
    let done = predict_planned(
        &plain,
        &input.join("a_0000.nii.gz"),
        &one,
        Wanted::default(),
        &mut Silent,
    );
    assert_eq!(done.expect("predicted"), 1);
    let labels = io::read_labels(&one).expect("labels");
    assert_eq!(labels.counts().get(&3), Some(&217));
    assert!(!folder.path().join("uncertainty").exists());
}

/// Regions have no output for the background.
#[test]
fn regions_that_overlap_have_files_of_their_own() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("a_0000.nii");
    let grid = Grid::with_spacing([9, 8, 7], [1.0; 3]).expect("a grid");
    let data = (0..grid.len())
        .map(|i| if i % 9 < 4 { 0.9 } else { 0.6 })
        .collect();
    let image = Image::new(grid, data).expect("an image");
    io::write_image(&path, &image, &Storage::default()).expect("written");
    let mut plan = plan(Dims::Three, [8, 8, 8], &[]);
    let [mut whole, core] = [Class::new(2, "whole"), Class::new(1, "core")];
    whole.values = vec![1, 2];
    plan.classes = vec![Class::new(0, "background"), whole, core];
    // "Whole" by the value itself, "core" by 1.3 less than twice.
    let net = |batch: &WindowBatch| -> Result<Vec<f32>> {
        let mut all = Vec::new();
        for window in batch.values.chunks(batch.shape.iter().product()) {
            all.extend(window);
            all.extend(window.iter().map(|v| (2.0 * v - 1.1).clamp(0.0, 1.0)));
        }
        Ok(all)
    };
    let windows = WindowConfig::default();
    let slices = SegmentationPlan {
        dims: Dims::Two,
        patch: [1, 8, 8],
        ..plan.clone()
    };
    let alone = || {
        let net: Box<dyn PatchNet> = Box::new(net);
        PlannedPredictor::new(plan.clone(), vec![net], windows, Postprocessing::default())
    };
    let to = folder.path().join("p");
    let segment = |predictor: PlannedPredictor| {
        let files = std::slice::from_ref(&path);
        let outcome = predictor.segment(files, Certainty::Winner, Some(&to), &mut |_, _| Ok(()));
        outcome.expect("an outcome")
    };
    // What volumes and slices have in common is what each of them gives.
    let both = alone().with(slices, vec![Box::new(net)], windows);
    let both = segment(both.expect("the same labels"));
    let outcome = segment(alone());
    assert_eq!(both.labels, outcome.labels);
    assert!(
        outcome
            .labels
            .data()
            .iter()
            .enumerate()
            .all(|(i, &l)| l == if i % 9 < 4 { 1 } else { 2 })
    );
    let winner = outcome.certainty.expect("asked for");
    assert!((winner.data()[0] - 0.7).abs() < 1e-4 && (winner.data()[8] - 0.6).abs() < 1e-4);
    let core = io::read_image(&to.join("core.nii.gz")).expect("an image");
    assert!((core.data()[0] - 0.7).abs() < 1e-4 && (core.data()[8] - 0.1).abs() < 1e-4);
    assert!(!to.join("background.nii.gz").exists());
}

/// Slices, volumes of coarse voxels by two nets, and volumes turned otherwise: the mean of what each
/// gives alone.
#[test]
fn nets_of_several_plans_are_averaged_on_the_grid_of_the_files() {
    let folder = tempfile::tempdir().expect("a folder");
    let grid = Grid::with_spacing([15, 12, 11], [1.0, 1.25, 1.5]).expect("a grid");
    // A border of 0 is cut away.
    let mut images = channels(&grid);
    for image in &mut images {
        for (i, v) in image.data_mut().iter_mut().enumerate() {
            let x = i % 15;
            *v = if x < 2 { 0.0 } else { *v + 0.02 * x as f32 };
        }
    }
    let files: Vec<PathBuf> = images
        .iter()
        .enumerate()
        .map(|(i, image)| {
            let path = folder.path().join(format!("a_000{i}.nii.gz"));
            io::write_image(&path, image, &Storage::default()).expect("written");
            path
        })
        .collect();
    let slices = SegmentationPlan {
        dims: Dims::Two,
        patch: [1, 8, 8],
        spacing_mm: [1.5, 1.6, 1.0],
        mirror_axes: vec![1],
        ..two_channels()
    };
    let coarse = SegmentationPlan {
        spacing_mm: [2.0, 2.0, 1.7],
        ..two_channels()
    };
    let mut turned = two_channels();
    turned.transpose.forward = [2, 0, 1];
    turned.transpose.orientation = Some("PSR".parse().expect("an orientation"));
    // Of less and less trust in what they see.
    let net = |share: f32| -> Box<dyn PatchNet> {
        let sure = threshold();
        Box::new(move |batch: &WindowBatch| {
            let mut all = Vec::new();
            sure.run(batch, &mut |_, values| {
                all.extend(values.iter().map(|p| 0.5 + share * (p - 0.5)));
                Ok(())
            })?;
            Ok(all)
        })
    };
    let predict = |predictor: PlannedPredictor, name: &str, certainty| {
        let mut told = Vec::new();
        let mut on_windows = |done, all| {
            told.push((done, all));
            Ok(())
        };
        let to = folder.path().join(name);
        let outcome = predictor
            .scratch_in(&folder.path().join("scratch"))
            .segment(&files, certainty, Some(&to), &mut on_windows)
            .expect("segmented");
        assert!(
            told.last().is_some_and(|(done, all)| done == all),
            "{told:?}"
        );
        assert!(told.is_sorted());
        let read = |name: &str| io::read_image(&to.join(name)).expect("probabilities");
        (outcome, read("left_organ.nii.gz"))
    };
    let alone = |plan: &SegmentationPlan, nets| {
        let windows = WindowConfig::default();
        PlannedPredictor::new(plan.clone(), nets, windows, Postprocessing::default())
    };
    let mut expected = vec![0.0; grid.len()];
    for (plan, shares, name) in [
        (&slices, &[1.0][..], "slices"),
        (&coarse, &[0.8, 0.4], "coarse"),
        (&turned, &[0.6], "turned"),
    ] {
        let nets = shares.iter().map(|&share| net(share)).collect();
        let (_, organ) = predict(alone(plan, nets), name, Certainty::None);
        let weight = shares.len() as f32 / 4.0;
        for (sum, p) in expected.iter_mut().zip(organ.data()) {
            *sum += weight * p;
        }
    }
    let windows = WindowConfig::default();
    let together = alone(&slices, vec![net(1.0)])
        .with(coarse.clone(), vec![net(0.8), net(0.4)], windows)
        .and_then(|p| p.with(turned.clone(), vec![net(0.6)], windows))
        .expect("the same labels");
    let (outcome, organ) = predict(together, "together", Certainty::Winner);
    assert_eq!(organ.grid(), &grid);
    let sure = outcome.certainty.expect("asked for");
    let mut organs = 0;
    for (i, &p) in expected.iter().enumerate() {
        assert!((organ.data()[i] - p).abs() < 1e-4, "{i}");
        assert!((sure.data()[i] - p.max(1.0 - p)).abs() < 1e-4, "{i}");
        if (p - 0.5).abs() > 1e-4 {
            assert_eq!(outcome.labels.data()[i] == 3, p > 0.5, "{i}");
            organs += usize::from(p > 0.5);
        }
    }
    assert!((50..1000).contains(&organs), "{organs}");
    let left = fs::read_dir(folder.path().join("scratch")).expect("a folder");
    assert_eq!(left.count(), 0);

    let mut other = coarse;
    other.classes[1] = Class::new(3, "right/organ");
    let refused = alone(&slices, vec![net(1.0)]).with(other, vec![net(1.0)], windows);
    let message = refused.err().expect("refused").to_string();
    assert!(message.contains("3 right/organ"), "{message}");
}

#[test]
fn errors_and_interrupts_leave_nothing_behind() {
    let folder = tempfile::tempdir().expect("a folder");
    let input = folder.path().join("a_0000.nii.gz");
    let grid = Grid::with_spacing([9, 8, 7], [1.0; 3]).expect("a grid");
    let image = Image::new(grid.clone(), vec![1.0; grid.len()]).expect("an image");
    io::write_image(&input, &image, &Storage::default()).expect("written");
    let predictor = PlannedPredictor::new(
        plan(Dims::Three, [8, 8, 8], &[]),
        vec![threshold()],
        WindowConfig::default(),
        Postprocessing::default(),
    );
    struct Stop;
    impl Progress for Stop {
        fn stage(&mut self, _: &str) {}
        fn update(&mut self, _: f64, _: &str) {}
        fn note(&mut self, _: &str) {}
        fn cancelled(&self) -> bool {
            true
        }
    }
    let output = folder.path().join("out");
    let wanted = Wanted {
        certainty: Certainty::Winner,
        probabilities: true,
    };
    let stopped = predict_planned(&predictor, &input, &output, wanted, &mut Stop);
    assert!(matches!(stopped, Err(Error::Interrupted { step: 0 })));
    let left = fs::read_dir(output.join("probabilities/a"))
        .expect("a folder")
        .count();
    assert_eq!(left, 0);
    assert!(!output.join("a.nii.gz").exists());
    // One channel too many is told with the file.
    let twice = [input.clone(), input.clone()];
    let error = predictor.segment(&twice, Certainty::None, None, &mut |_, _| Ok(()));
    let error = error.expect_err("refused").to_string();
    assert!(
        error.contains("expected 1 channels") && error.ends_with("a_0000.nii.gz"),
        "{error}"
    );
    assert_eq!(file_name("../a b"), "_a_b");
    assert_eq!(file_name("..."), "class");
}
