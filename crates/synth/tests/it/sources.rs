//! The layouts of real collections, from the folder that `CROSSMOD_TEST_DATA` names.

use std::path::PathBuf;

use crossmod_synth::{LabelSource, SourceOptions};

fn data(test: &str) -> Option<PathBuf> {
    let folder = std::env::var_os("CROSSMOD_TEST_DATA").map(PathBuf::from);
    if folder.is_none() {
        println!("skipping {test}: CROSSMOD_TEST_DATA is not set");
    }
    folder
}

#[test]
fn head_and_neck_masks_are_cases_of_21_organs_by_each_rater() {
    let Some(data) = data("hn_ct_masks") else {
        return;
    };
    let options = SourceOptions {
        only: Some("oncologist".into()),
        ..SourceOptions::default()
    };
    let source = LabelSource::open_as(&data.join("hn_ct_masks"), &options).expect("masks");
    let ids: Vec<&str> = source.cases.iter().map(|case| case.id.as_str()).collect();
    assert_eq!(
        ids,
        [
            "0522c0017_oncologist",
            "0522c0057_oncologist",
            "0522c0161_oncologist"
        ]
    );
    let scheme = source.scheme().structures();
    assert_eq!(scheme.len(), 22);
    let value = |name: &str| {
        let found = scheme.iter().find(|(_, structure)| structure.name == name);
        *found.expect(name).0
    };
    assert_eq!(scheme[&value("Lung-Lt")].mirror, Some(value("Lung-Rt")));
    let (labels, overlap) = source.cases[0].labels().expect("readable masks");
    // ITK counts 556870 voxels of the brain; some of them have a later name too.
    let lost = 556_870 - labels.counts()[&value("Brain")];
    assert!(lost <= overlap, "{lost} {overlap}");
    assert!(overlap < 10_000, "{overlap}");
}

#[test]
fn flat_folders_of_label_maps_and_scans_are_understood() {
    let Some(data) = data("flat folders") else {
        return;
    };
    let source = LabelSource::open(&data.join("totalseg")).expect("label maps");
    let found: Vec<(&str, String)> = source
        .cases
        .iter()
        .map(|case| {
            let scan = case
                .scan
                .as_ref()
                .and_then(|path| path.file_name())
                .unwrap_or_default();
            (case.id.as_str(), scan.to_string_lossy().into_owned())
        })
        .collect();
    let expected = [
        ("example", "example_ct_sm.nii.gz".to_owned()),
        (
            "example_seg_fast_force_split",
            "example_ct.nii.gz".to_owned(),
        ),
    ];
    assert_eq!(found, expected);
    let source = LabelSource::open(&data.join("msd_hippocampus")).expect("a dataset");
    assert_eq!(source.cases.len(), 166);
    assert!(source.cases.iter().all(|case| case.scan.is_some()));
    let options = SourceOptions {
        // Known without reading 16 heads.
        scheme: Some(crossmod_synth::LabelScheme::freesurfer()),
        ..SourceOptions::default()
    };
    let source = LabelSource::open_as(&data.join("synthseg_labels"), &options).expect("label maps");
    assert_eq!(source.cases.len(), 16);
    assert!(source.cases.iter().all(|case| case.scan.is_none()));
}
