use std::fs;

use crossmod_volume::io::{Storage, write_image, write_labels};
use crossmod_volume::{Grid, Image};
use tempfile::TempDir;

use super::*;

/// Folders of tiny files, four voxels in a row.
struct Trial(TempDir);

impl Trial {
    fn new() -> Self {
        Self(tempfile::tempdir().expect("a temporary folder"))
    }

    fn path(&self, name: &str) -> PathBuf {
        let path = self.0.path().join(name);
        fs::create_dir_all(path.parent().expect("a folder")).expect("a writable folder");
        path
    }

    /// Labels in a row of a spacing.
    fn labels(&self, name: &str, values: [u16; 4], spacing: f64) {
        let labels = Labels::new(grid(spacing), values.to_vec()).expect("labels");
        write_labels(&self.path(name), &labels).expect("a write");
    }

    fn scan(&self, name: &str, spacing: f64) {
        let image = Image::new(grid(spacing), vec![0.5; 4]).expect("an image");
        write_image(&self.path(name), &image, &Storage::default()).expect("a write");
    }

    fn open(&self) -> LabelSource {
        LabelSource::open(self.0.path()).expect("label maps")
    }

    fn error(&self) -> String {
        LabelSource::open(self.0.path())
            .expect_err("a refusal")
            .to_string()
    }
}

fn grid(spacing: f64) -> Grid {
    Grid::with_spacing([4, 1, 1], [spacing, 1.0, 1.0]).expect("a grid")
}

fn ids(source: &LabelSource) -> Vec<&str> {
    source.cases.iter().map(|case| case.id.as_str()).collect()
}

/// The names of files, of the scan in the end.
fn names(case: &LabelCase) -> Vec<String> {
    let name = |path: &PathBuf| {
        path.file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned()
    };
    case.files().iter().map(name).collect()
}

#[test]
fn a_folder_of_label_maps_is_a_case_each() {
    let trial = Trial::new();
    trial.labels("case_1_seg.nii.gz", [0, 1, 2, 2], 1.0);
    trial.labels("case_2_seg.nrrd", [0, 1, 1, 7], 1.0);
    fs::write(trial.path("readme.txt"), "x").expect("a write");
    let source = trial.open();
    assert_eq!(ids(&source), ["case_1", "case_2"]);
    assert_eq!(
        source
            .scene(&source.cases[1])
            .expect("a scene")
            .labels
            .data(),
        [0, 1, 1, 7]
    );
    // Nothing names the values: they were read.
    let values: Vec<u16> = source.scheme().structures().keys().copied().collect();
    assert_eq!(values, [0, 1, 2, 7]);
    assert!(source.may_hold(7) && !source.may_hold(8));
    let one = LabelSource::open(&trial.path("case_2_seg.nrrd")).expect("a file");
    assert_eq!(ids(&one), ["case_2_seg"]);
}

#[test]
fn scans_among_label_maps_go_with_the_grid_they_lie_on() {
    let trial = Trial::new();
    trial.labels("example_seg.nii.gz", [0, 1, 2, 2], 1.0);
    trial.labels("example_seg_2.nii.gz", [0, 1, 2, 2], 2.0);
    trial.scan("example_ct.nii.gz", 2.0);
    trial.scan("example_ct_sm.nii.gz", 1.0);
    let source = trial.open();
    assert_eq!(ids(&source), ["example", "example_seg_2"]);
    assert_eq!(
        names(&source.cases[0]),
        ["example_seg.nii.gz", "example_ct_sm.nii.gz"]
    );
    assert_eq!(
        names(&source.cases[1]),
        ["example_seg_2.nii.gz", "example_ct.nii.gz"]
    );
    assert!(source.notes[0].contains("2 of 2"), "{:?}", source.notes);
    let pairs: Vec<_> = source
        .pairs()
        .collect::<Result<_>>()
        .expect("readable files");
    assert_eq!(pairs.len(), 2);
    assert!(
        pairs
            .iter()
            .all(|(image, labels)| image.grid() == labels.grid())
    );

    // Two scans on one grid, named equally like it: none is guessed.
    trial.scan("example_mr_sm.nii.gz", 1.0);
    let source = trial.open();
    assert_eq!(source.cases[0].scan, None);
    assert!(
        source.notes[0].contains("expected one scan for example"),
        "{:?}",
        source.notes
    );
}

#[test]
fn scans_of_another_folder_go_by_name_then_by_grid() {
    let trial = Trial::new();
    trial.labels("labels/a.nii.gz", [0, 1, 2, 2], 1.0);
    trial.labels("labels/b.nii.gz", [0, 1, 2, 2], 1.0);
    trial.labels("labels/c.nii.gz", [0, 1, 2, 2], 3.0);
    trial.scan("scans/a_0000.nii.gz", 1.0);
    trial.scan("scans/b.nii.gz", 1.0);
    trial.scan("scans/other.nii.gz", 3.0);
    let open = |images: &str| {
        let options = SourceOptions {
            images: Some(trial.path(images)),
            ..SourceOptions::default()
        };
        LabelSource::open_as(&trial.path("labels"), &options)
    };
    let source = open("scans").expect("cases with scans");
    let scans: Vec<String> = source
        .cases
        .iter()
        .map(|case| names(case)[1].clone())
        .collect();
    assert_eq!(scans, ["a_0000.nii.gz", "b.nii.gz", "other.nii.gz"]);

    // What was said to be the scans must be.
    trial.scan("wrong/b.nii.gz", 1.5);
    let message = open("wrong").expect_err("another grid").to_string();
    assert!(
        message.contains("expected the scan of b on the grid"),
        "{message}"
    );
    trial.scan("foreign/x.nii.gz", 1.5);
    let message = open("foreign").expect_err("nobody's").to_string();
    assert!(message.contains("found 1 that are neither"), "{message}");
    trial.scan("several/x.nii.gz", 1.0);
    trial.scan("several/y.nii.gz", 1.0);
    let message = open("several").expect_err("ambiguous").to_string();
    assert!(message.contains("expected one scan for a"), "{message}");
}

#[test]
fn totalsegmentators_folders_are_cases_of_masks() {
    let trial = Trial::new();
    for case in ["s0001", "s0002"] {
        trial.scan(&format!("{case}/ct.nii.gz"), 1.0);
        trial.labels(
            &format!("{case}/segmentations/spleen.nii.gz"),
            [0, 1, 1, 0],
            1.0,
        );
    }
    trial.labels("s0002/segmentations/kidney_left.nii.gz", [1, 1, 0, 0], 1.0);
    trial.labels("s0002/segmentations/kidney_right.nii.gz", [0, 0, 0, 1], 1.0);
    let source = trial.open();
    assert_eq!(ids(&source), ["s0001", "s0002"]);
    let names: Vec<&str> = [1, 2, 3]
        .map(|v| source.scheme().structures()[&v].name.as_str())
        .into();
    assert_eq!(names, ["kidney_left", "kidney_right", "spleen"]);
    assert_eq!(source.scheme().of(1).mirror, Some(2));
    let [one, two] = [0, 1].map(|i| source.cases[i].scene(source.scheme()).expect("a scene"));
    assert_eq!((one.0.labels.data(), one.1), (&[0, 3, 3, 0][..], 0));
    // The later name wins where two overlap.
    assert_eq!((two.0.labels.data(), two.1), (&[1, 3, 3, 2][..], 1));
    assert!(two.0.scan.is_some());

    let alone = LabelSource::open(&trial.path("s0001")).expect("one case");
    assert_eq!(ids(&alone), ["s0001"]);
    trial.labels("s0002/segmentations/liver.nii.gz", [0, 0, 0, 1], 1.5);
    let source = trial.open();
    let message = source
        .scene(&source.cases[1])
        .expect_err("two grids")
        .to_string();
    assert!(message.contains("masks of a case on one grid"), "{message}");
    assert!(message.ends_with("liver.nii.gz"), "{message}");
}

#[test]
fn each_rater_of_a_case_is_a_case_unless_one_is_named() {
    let trial = Trial::new();
    for rater in ["oncologist", "radiographer"] {
        for case in ["017", "057"] {
            trial.labels(&format!("{case}/{rater}/Lung-Lt.nrrd"), [0, 1, 1, 0], 1.0);
            trial.labels(&format!("{case}/{rater}/Lung-Rt.nrrd"), [1, 0, 0, 0], 1.0);
        }
    }
    let source = trial.open();
    let all = [
        "017_oncologist",
        "017_radiographer",
        "057_oncologist",
        "057_radiographer",
    ];
    assert_eq!(ids(&source), all);
    let options = |only: &str| SourceOptions {
        only: Some(only.to_owned()),
        ..SourceOptions::default()
    };
    let one = LabelSource::open_as(trial.0.path(), &options("oncologist")).expect("one rater");
    assert_eq!(ids(&one), ["017_oncologist", "057_oncologist"]);
    assert_eq!(
        one.scene(&one.cases[0]).expect("a scene").labels.data(),
        [2, 1, 1, 0]
    );
    let none = LabelSource::open_as(trial.0.path(), &options("nurse")).expect_err("nobody");
    assert!(
        none.to_string().contains("with \"nurse\" in their paths"),
        "{none}"
    );
    // One rater's folder by itself holds the organs of one case.
    let leaf = LabelSource::open(&trial.path("017/oncologist")).expect("one case");
    assert_eq!(ids(&leaf), ["oncologist"]);
    assert_eq!(leaf.cases[0].files().len(), 2);
    // Several values each: label maps, whatever they are called.
    trial.labels("maps/old.nrrd", [0, 1, 2, 0], 1.0);
    trial.labels("maps/new.nrrd", [0, 1, 1, 0], 1.0);
    let maps = LabelSource::open(&trial.path("maps")).expect("two cases");
    assert_eq!(ids(&maps), ["new", "old"]);
}

#[test]
fn case_folders_may_hold_a_scan_and_a_label_map() {
    let trial = Trial::new();
    for case in ["case_1", "case_2"] {
        trial.scan(&format!("{case}/imaging.nii.gz"), 1.0);
        trial.labels(&format!("{case}/segmentation.nii.gz"), [0, 1, 2, 0], 1.0);
    }
    let source = trial.open();
    assert_eq!(ids(&source), ["case_1", "case_2"]);
    assert_eq!(
        names(&source.cases[1]),
        ["segmentation.nii.gz", "imaging.nii.gz"]
    );
    assert_eq!(
        source
            .scene(&source.cases[0])
            .expect("a scene")
            .labels
            .data(),
        [0, 1, 2, 0]
    );
}

#[test]
fn datasets_give_names_and_scans() {
    let trial = Trial::new();
    let json = r#"{"channel_names": {"0": "CT"}, "labels": {"background": 0, "left lung": 1,
        "right lung": 2, "ignore": 3}, "file_ending": ".nii.gz"}"#;
    fs::write(trial.path("dataset.json"), json).expect("a write");
    trial.labels("labelsTr/a.nii.gz", [0, 1, 2, 3], 1.0);
    for with_scans in [false, true] {
        if with_scans {
            trial.scan("imagesTr/a_0000.nii.gz", 1.0);
            trial.scan("imagesTr/b_0000.nii.gz", 1.0);
        }
        let source = trial.open();
        assert_eq!(ids(&source), ["a"]);
        assert_eq!(source.cases[0].scan.is_some(), with_scans);
        assert_eq!(source.scheme().of(1).mirror, Some(2));
        assert_eq!(source.scheme().of(3).name, "ignore");
    }
}

#[test]
fn what_holds_no_label_maps_is_told() {
    let trial = Trial::new();
    assert!(trial.error().contains("expected label maps, found none"));
    let missing = LabelSource::open(Path::new("no/such"))
        .expect_err("missing")
        .to_string();
    assert!(
        missing.contains("found nothing") && missing.ends_with("no/such"),
        "{missing}"
    );
    trial.labels("a_1_seg.nii.gz", [0; 4], 1.0);
    trial.labels("a_1_seg.nrrd", [0; 4], 1.0);
    let message = trial.error();
    assert!(message.contains("expected each case once"), "{message}");
}
