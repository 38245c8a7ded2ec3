//! `crossmod evaluate`: segmentations against the truth.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use crossmod_learn::fit::write_json;
use crossmod_measure::{Evaluation, evaluate_folders};
use crossmod_volume::dataset::{LabelTable, read_label_table};

use crate::context::{Context, Outcome};

/// Measures the overlap (Dice, IoU) of segmentations with the truth, per label and case. Regions
/// of dataset.json are measured as one, and voxels whose truth is its label to ignore not at all.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// A label map or a folder of them
    #[arg(value_name = "PRED")]
    prediction: PathBuf,
    /// The true label map, or a folder of those of the same names
    truth: PathBuf,
    /// The dataset.json that tells labels, regions and what to ignore [default: that of TRUTH's
    /// folder or of the one above]
    #[arg(long, value_name = "FILE")]
    dataset: Option<PathBuf>,
    /// Also write the result as JSON
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Also write every case and label as CSV
    #[arg(long, value_name = "FILE")]
    csv: Option<PathBuf>,
}

pub(crate) fn run(args: &Args, context: &Context) -> anyhow::Result<Outcome> {
    let table = args.dataset.as_deref().map(table_of).transpose()?;
    let evaluation = evaluate_folders(&args.prediction, &args.truth, table.as_ref())?;
    let json = evaluation.to_json();
    if let Some(path) = &args.out {
        write_json(path, &json)?;
    }
    if let Some(path) = &args.csv {
        evaluation.write_csv(path)?;
    }
    if !evaluation.unmatched.is_empty() {
        context.note(&format!(
            "{} predictions have no truth and were left out: {}",
            evaluation.unmatched.len(),
            evaluation.unmatched.join(", ")
        ));
    }
    context.result(&json, || {
        let cases = if context.verbose {
            per_case(&evaluation)
        } else {
            String::new()
        };
        format!("{cases}{}", evaluation.table())
    })?;
    Ok(Outcome::Done)
}

/// What a `dataset.json`, or that of a folder, says of labels.
fn table_of(path: &Path) -> anyhow::Result<LabelTable> {
    let file = if path.is_dir() {
        path.join("dataset.json")
    } else {
        path.to_owned()
    };
    read_label_table(&file)?.with_context(|| {
        format!(
            "expected a dataset.json with labels, found none in it; add them, or leave --dataset \
             out: {}",
            file.display()
        )
    })
}

/// Dice of each case and label, one line a case.
fn per_case(evaluation: &Evaluation) -> String {
    let width = evaluation
        .cases
        .iter()
        .map(|c| c.case.chars().count())
        .max()
        .unwrap_or(0);
    let mut text = String::new();
    for case in &evaluation.cases {
        text.push_str(&format!("{:<width$}", case.case));
        for &label in evaluation.names.keys() {
            let dice = case.labels.get(&label).and_then(|o| o.dice());
            let dice = dice.map_or("–".into(), |d| format!("{d:.3}"));
            text.push_str(&format!("  {} {dice}", evaluation.name(label)));
        }
        text.push('\n');
    }
    text.push('\n');
    text
}
