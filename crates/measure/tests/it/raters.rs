//! Two raters who drew the same organs, beside what surface-distance measures between them.

use std::path::{Path, PathBuf};

use crossmod_measure::{Evaluation, Metric, Settings, evaluate_organs};
use serde_json::Value;

fn golden() -> Vec<Value> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/raters.json");
    let text = std::fs::read_to_string(path).expect("a file of testdata");
    let Value::Array(rows) = serde_json::from_str(&text).expect("JSON") else {
        panic!("expected a list of rows");
    };
    rows
}

/// What is measured of an organ of a case, and the label it has.
fn found<'a>(evaluation: &'a Evaluation, row: &Value) -> &'a crossmod_measure::Measures {
    let case = evaluation
        .cases
        .iter()
        .find(|c| row["case"] == *c.case)
        .expect("the case");
    let mut names = evaluation.names.iter();
    let named = names.find(|(_, name)| name.as_deref() == row["organ"].as_str());
    &case.labels[named.expect("the organ").0]
}

#[test]
fn two_raters_differ_as_surface_distance_says() {
    let Some(data) = std::env::var_os("CROSSMOD_TEST_DATA").map(PathBuf::from) else {
        eprintln!("skipped: CROSSMOD_TEST_DATA is not set");
        return;
    };
    let data = data.join("hn_ct_masks/*");
    let settings = Settings {
        metrics: vec![
            Metric::Dice,
            Metric::HausdorffMm,
            Metric::Hd95Mm,
            Metric::AssdMm,
            Metric::Nsd,
        ],
        ..Settings::default()
    };
    let evaluation = evaluate_organs(
        &data.join("radiographer"),
        &data.join("oncologist"),
        &settings,
    )
    .expect("three cases of two raters");
    println!("{}", evaluation.table());
    let rows = golden();
    assert_eq!(rows.len(), 63);
    let mut greatest = [0.0f64; 6];
    for row in &rows {
        let found = found(&evaluation, row);
        let surface = found.surface.as_ref().expect("measured");
        let ours = [
            ("dice", found.overlap.dice()),
            ("hausdorff_mm", surface.hausdorff_mm()),
            ("hd95_mm", surface.hausdorff_share_mm(0.95)),
            ("prediction_to_truth_mm", surface.prediction.mean()),
            ("truth_to_prediction_mm", surface.truth.mean()),
            ("nsd", surface.nsd(1.0)),
        ];
        for ((key, value), greatest) in ours.into_iter().zip(&mut greatest) {
            let expected = row[key].as_f64().expect("a number");
            let error = (value.expect("defined") - expected).abs();
            *greatest = greatest.max(error);
            assert!(error < 1e-3, "{row} {key}: {value:?}");
        }
    }
    println!("greatest differences: Dice, HD, HD95, both ASDs, NSD: {greatest:?}");
}
