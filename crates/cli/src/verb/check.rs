//! `crossmod check`: what is wrong with a dataset, each finding with its repair.

use std::path::{Path, PathBuf};

use crossmod_volume::dataset::{self, Dataset, Finding, Severity};
use serde_json::json;

use crate::context::{Context, Outcome};

/// Opens every image and label map of a dataset and tells what would go wrong later. Exits with
/// 1 where there are errors.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
    crossmod check ct/\n  \
    crossmod check mr/ --against ct/")]
pub(crate) struct Args {
    /// The dataset's folder
    dataset: PathBuf,
    /// The dataset it will be adapted to: also find patients who are in both, and labels that
    /// differ
    #[arg(long, value_name = "TARGET")]
    against: Option<PathBuf>,
}

pub(crate) fn run(args: &Args, context: &Context) -> anyhow::Result<Outcome> {
    let opened = Dataset::open(&args.dataset)?;
    let other = args.against.as_deref().map(Dataset::open).transpose()?;
    let mut findings = dataset::check(&opened);
    findings.extend(
        other
            .iter()
            .flat_map(|other| dataset::check_pair(&opened, other)),
    );
    context.result(&json!({ "findings": findings }), || {
        text(&findings, &opened)
    })?;
    let errors = findings.iter().any(|f| f.severity == Severity::Error);
    Ok(if errors {
        Outcome::Findings
    } else {
        Outcome::Done
    })
}

fn text(findings: &[Finding], dataset: &Dataset) -> String {
    let mut text = String::new();
    for finding in findings {
        text.push_str(&paragraph(finding, &dataset.root));
    }
    let count = |severity| findings.iter().filter(|f| f.severity == severity).count();
    let some = |n: usize, what: &str| format!("{n} {what}{}", if n == 1 { "" } else { "s" });
    text.push_str(&format!(
        "{}, {}, {} in {} training and {} test cases: {}\n",
        some(count(Severity::Error), "error"),
        some(count(Severity::Warning), "warning"),
        some(count(Severity::Note), "note"),
        dataset.training.len(),
        dataset.test.len(),
        dataset.root.display()
    ));
    text
}

fn paragraph(finding: &Finding, root: &Path) -> String {
    let severity = match finding.severity {
        Severity::Error => "error",
        Severity::Warning => "warning",
        Severity::Note => "note",
    };
    let file = finding
        .file
        .strip_prefix(root)
        .unwrap_or(&finding.file)
        .display();
    let case = finding
        .case
        .as_ref()
        .map_or(String::new(), |case| format!("{case}: "));
    format!(
        "{severity}: {case}{}: {file}\n  found     {}\n  expected  {}\n  means     {}\n  repair    {}\n\n",
        finding.field, finding.found, finding.expected, finding.means, finding.repair
    )
}
