//! `crossmod evaluate`: segmentations against the truth.

use std::path::PathBuf;

use crossmod_learn::fit::write_json;
use crossmod_measure::{Evaluation, evaluate_folders};

use crate::context::{Context, Outcome};

/// Measures the overlap (Dice, IoU) of segmentations with the truth, per label and case.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// A label map or a folder of them
    #[arg(value_name = "PRED")]
    prediction: PathBuf,
    /// The true label map, or a folder of those of the same names
    truth: PathBuf,
    /// Also write the result as JSON
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Also write every case and label as CSV
    #[arg(long, value_name = "FILE")]
    csv: Option<PathBuf>,
}

pub(crate) fn run(args: &Args, context: &Context) -> anyhow::Result<Outcome> {
    let evaluation = evaluate_folders(&args.prediction, &args.truth, None)?;
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
