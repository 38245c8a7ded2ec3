use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use crossmod_synth::phantom::{LABELS, Modality, PhantomConfig, PhantomDraw, StudyConfig};
use crossmod_synth::phantom::{render, write_study};
use crossmod_volume::io::{read_image_stored, read_labels};

/// A study of four small patients.
fn config(seed: u64) -> StudyConfig {
    let mut phantom = PhantomConfig::default();
    for fov in [&mut phantom.ct, &mut phantom.mr] {
        fov.size /= 2;
        fov.slices /= 2;
        fov.spacing_mm *= 2.0;
        fov.slice_mm *= 2.0;
    }
    StudyConfig {
        seed,
        source_cases: 2,
        target_cases: 1,
        test_cases: 1,
        phantom,
    }
}

fn files(root: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut found = BTreeMap::new();
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).expect("a folder") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let name = path
                .strip_prefix(root)
                .expect("inside")
                .to_string_lossy()
                .into_owned();
            found.insert(name, fs::read(&path).expect("a file"));
        }
    }
    found
}

fn written(seed: u64) -> BTreeMap<String, Vec<u8>> {
    let folder = tempfile::tempdir().expect("a folder");
    write_study(folder.path(), &config(seed)).expect("a study");
    files(folder.path())
}

#[test]
fn a_study_holds_what_training_and_measuring_need() {
    let found = written(1);
    let names: Vec<&str> = found.keys().map(String::as_str).collect();
    assert_eq!(
        names,
        [
            "ct/dataset.json",
            "ct/imagesTr/p001_0000.nii.gz",
            "ct/imagesTr/p002_0000.nii.gz",
            "ct/labelsTr/p001.nii.gz",
            "ct/labelsTr/p002.nii.gz",
            "draws/p001.json",
            "draws/p002.json",
            "draws/p003.json",
            "draws/p004.json",
            "mr/dataset.json",
            "mr/imagesTr/p003_0000.nii.gz",
            "mr/imagesTs/p004_0000.nii.gz",
            "mr/labelsTs/p004.nii.gz",
            "mr_labelled/dataset.json",
            "mr_labelled/imagesTr/p003_0000.nii.gz",
            "mr_labelled/labelsTr/p003.nii.gz",
        ]
    );
    assert_eq!(
        found["mr/imagesTr/p003_0000.nii.gz"],
        found["mr_labelled/imagesTr/p003_0000.nii.gz"]
    );
    let json: serde_json::Value =
        serde_json::from_slice(&found["ct/dataset.json"]).expect("valid JSON");
    assert_eq!(json["channel_names"]["0"], "CT");
    assert_eq!(json["numTraining"], 2);
    for (value, name) in LABELS {
        assert_eq!(json["labels"][name], value);
    }
}

#[test]
fn the_same_seed_gives_the_same_bytes_and_another_does_not() {
    let (first, again, other) = (written(1), written(1), written(2));
    assert_eq!(first, again);
    let scan = "ct/imagesTr/p001_0000.nii.gz";
    assert_ne!(first[scan], other[scan]);
}

/// What is read back is what the record beside it renders, in the world as in value.
#[test]
fn files_hold_what_their_records_describe() {
    let folder = tempfile::tempdir().expect("a folder");
    let study = write_study(folder.path(), &config(1)).expect("a study");
    for (name, modality, image, label) in [
        (
            "p001",
            Modality::Ct,
            study.ct.join("imagesTr"),
            study.ct.join("labelsTr"),
        ),
        (
            "p004",
            Modality::Mr,
            study.mr.join("imagesTs"),
            study.mr.join("labelsTs"),
        ),
    ] {
        let text = fs::read(study.draws.join(format!("{name}.json"))).expect("a record");
        let record: PhantomDraw = serde_json::from_slice(&text).expect("a record");
        let (expected, expected_labels) = render(&record, modality).expect("a scan");
        let (image, _) =
            read_image_stored(&image.join(format!("{name}_0000.nii.gz"))).expect("an image");
        let labels = read_labels(&label.join(format!("{name}.nii.gz"))).expect("labels");
        assert_eq!(image.data(), expected.data());
        assert_eq!(labels.data(), expected_labels.data());
        assert!(image.grid().matches(expected.grid(), 0.01));
        assert!(labels.grid().matches(expected.grid(), 0.01));
    }
}

#[test]
fn impossible_studies_are_refused_before_anything_is_written() {
    let folder = tempfile::tempdir().expect("a folder");
    let config = StudyConfig {
        test_cases: 0,
        ..config(1)
    };
    let error = write_study(folder.path(), &config)
        .expect_err("no test case")
        .to_string();
    assert!(
        error.contains("test_cases") && error.contains("found 0"),
        "{error}"
    );
    assert!(files(folder.path()).is_empty());
}
