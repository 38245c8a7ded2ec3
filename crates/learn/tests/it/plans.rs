//! What is planned for real shapes of data.

use std::collections::BTreeMap;

use crossmod_learn::plan::{Fit, Plan, PlanConfig, Sample, SliceAxis};
use crossmod_volume::dataset::Dataset;
use crossmod_volume::intensity::Standardise;

use crate::study;

#[test]
fn a_study_is_planned_for_its_coarser_and_smaller_side() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    study::write(folder.path());
    let [ct, mr] = ["ct", "mr"].map(|n| Dataset::open(&folder.path().join(n)).expect("a dataset"));
    let samples = [&ct, &mr].map(|dataset| Some(Sample::of(dataset)));
    let found = Plan::make(
        &PlanConfig::default(),
        samples[0],
        samples[1],
        &ct.labels,
        8,
    );
    let found = found.expect("a plan");
    // 32 pixels of 11 mm, slices of 36 mm: thick slices, at the spacing as it is.
    assert_eq!((found.spacing_mm, found.patch, found.load), (11.0, 32, 36));
    let (source, target) = (
        found.source.expect("a source"),
        found.target.expect("a target"),
    );
    assert_eq!(
        (source.slices, target.slices),
        (SliceAxis::Thickest, SliceAxis::Thickest)
    );
    assert!(matches!(source.standardise, Standardise::Window { .. }));
    assert!(matches!(
        target.standardise,
        Standardise::Percentiles { .. }
    ));
    assert!(target.typical_bounds.0 < target.typical_bounds.1);
    let values: Vec<u16> = found.classes.iter().map(|c| c.value).collect();
    assert_eq!(
        values,
        BTreeMap::keys(&ct.labels).copied().collect::<Vec<_>>()
    );
}

#[test]
fn real_cardiac_stacks_are_cut_across_their_thick_axis() {
    let Some(data) = std::env::var_os("CROSSMOD_TEST_DATA") else {
        eprintln!("skipped: CROSSMOD_TEST_DATA is not set");
        return;
    };
    let folder = std::path::PathBuf::from(data).join("mscmr");
    let [source, target] =
        ["bssfp", "lge"].map(|n| Dataset::open(&folder.join(n)).expect("a dataset"));
    let config = PlanConfig {
        max_patch: 128,
        ..PlanConfig::default()
    };
    let plan = Plan::make(
        &config,
        Some(Sample::of(&source)),
        Some(Sample::of(&target)),
        &source.labels,
        16,
    )
    .expect("a plan");
    // bSSFP is the coarser (1.19 to 1.25 mm), LGE the smaller (192 × 0.73 to 0.76 mm).
    assert_eq!((plan.spacing_mm, plan.patch), (1.25, 112));
    for modality in [plan.source, plan.target] {
        assert_eq!(modality.expect("planned").slices, SliceAxis::Thickest);
    }
}

#[test]
fn slices_can_be_scaled_to_one_size_whatever_their_spacing() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    study::write(folder.path());
    let dataset = Dataset::open(&folder.path().join("ct")).expect("a dataset");
    let config = PlanConfig {
        max_patch: 64,
        fit: Fit::Slice,
        ..PlanConfig::default()
    };
    let sample = Some(Sample::of(&dataset));
    let plan = Plan::make(&config, sample, None, &dataset.labels, 8).expect("a plan");
    assert_eq!((plan.patch, plan.load), (64, 72));
    let case = &dataset.training[0];
    let image = crossmod_volume::io::read_image(&case.images[0]).expect("an image");
    let modality = plan.source.clone().expect("a source");
    let prepared = crossmod_learn::batch::prepare(image, &modality, &plan).expect("prepared");
    assert_eq!(prepared.image.grid().shape(), [72, 72, 4]);
    // The same field of view: 32 pixels of 11 mm.
    let spacing = prepared.image.grid().spacing_mm();
    assert!((spacing[0] * 72.0 - 352.0).abs() < 1e-6, "{spacing:?}");
}
