//! What run folders hold, as a page shows it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use crossmod_learn::fit::{Budget, Manifest, RunFolder};
use crossmod_measure::{Bootstrap, Evaluation, Metric, Settings, evaluate_folders};
use crossmod_report::case::mosaic;
use crossmod_report::page::{Comparison, Facts, Finding, Page, Run};
use crossmod_volume::dataset::{self, Dataset, Severity};
use crossmod_volume::io;
use serde_json::Value;

use super::logs::Log;

/// Most findings about data that a page shows.
const MOST_FINDINGS: usize = 20;
/// And how many of them with a picture.
const MOST_PICTURES: usize = 4;

/// One run.
pub(in crate::verb) struct Gathered {
    pub(super) name: String,
    pub(super) folder: PathBuf,
    pub(super) manifest: Option<Manifest>,
    /// What it predicted, as label maps.
    pub(super) predictions: Option<PathBuf>,
    pub(super) logs: Vec<Log>,
    metrics: Option<Value>,
    /// What was measured now.
    measured: Option<Evaluation>,
    texts: Vec<(String, String)>,
}

impl Gathered {
    /// Reads a run under a name; `predictions` are measured against `truth` where both are given.
    pub(super) fn of(
        folder: &Path,
        name: String,
        predictions: Option<&Path>,
        truth: Option<&Path>,
    ) -> anyhow::Result<Self> {
        let run = RunFolder::open(folder)?;
        let manifest = run
            .file("manifest.json")
            .exists()
            .then(|| Manifest::load(&run));
        let metrics = std::fs::read(run.file("metrics.json")).ok();
        let metrics: Option<Value> = metrics.and_then(|bytes| serde_json::from_slice(&bytes).ok());
        let measured = match (predictions, truth) {
            (Some(predictions), Some(truth)) => {
                Some(evaluate_folders(predictions, truth, None, &settings())?)
            }
            _ => None,
        };
        let validation = folder.join("validation");
        let text = |file: &str| {
            let text = std::fs::read_to_string(folder.join(file)).ok()?;
            Some((format!("{name}: {file}"), text))
        };
        let texts = ["recipe.toml", "plan.toml"].into_iter().filter_map(text);
        let texts = texts.collect();
        Ok(Self {
            name,
            folder: folder.to_owned(),
            manifest: manifest.transpose()?,
            predictions: predictions
                .map(Path::to_owned)
                .or_else(|| validation.is_dir().then_some(validation)),
            logs: Log::of(folder)?,
            metrics,
            measured,
            texts,
        })
    }

    fn run(&self) -> Run {
        Run {
            name: self.name.clone(),
            curves: self.logs.iter().flat_map(Log::curves).collect(),
            evaluation: self.evaluation(),
        }
    }

    /// What was measured now, else what the run says of itself.
    fn evaluation(&self) -> Option<Value> {
        let measured = self.measured.as_ref().map(Evaluation::to_json);
        measured.or_else(|| evaluation_in(self.metrics.as_ref()?))
    }

    /// Steps, time, data and machine.
    fn facts(&self) -> Facts {
        let mut facts = Vec::new();
        let mut say = |name: &str, value: String| facts.push((name.to_owned(), value));
        let number = |key: &str| self.metrics.as_ref()?.get(key)?.as_f64();
        if let Some(kind) = self
            .metrics
            .as_ref()
            .and_then(|m| m.get("recipe")?.as_str())
        {
            say("recipe", kind.to_owned());
        }
        for log in &self.logs {
            if let Some(last) = log.rows.last() {
                let steps = number("steps").unwrap_or(last.step as f64 + 1.0);
                let seconds = number("seconds").unwrap_or(last.seconds);
                let time = crate::progress::duration(std::time::Duration::from_secs_f64(seconds));
                say(&log.named("trained"), format!("{steps} steps in {time}"));
            }
        }
        if let Some(rate) = number("patches_per_second") {
            say("patches per second", format!("{rate:.2}"));
        }
        if let Some(manifest) = &self.manifest {
            for (role, path) in [("source", &manifest.source), ("target", &manifest.target)] {
                if let Some(path) = path {
                    say(role, path.display().to_string());
                }
            }
            // Of several stages, each knows its own.
            if !manifest.data.is_empty() {
                say("files read", manifest.data.len().to_string());
            }
            say("seed", manifest.seed.to_string());
            say("machine", manifest.host.clone());
            say("crossmod", manifest.version.clone());
        }
        Facts {
            name: self.name.clone(),
            facts,
        }
    }

    /// The command that trains it again.
    fn command(&self) -> Option<String> {
        let manifest = self.manifest.as_ref()?;
        let mut command = format!(
            "crossmod train {}",
            quoted(&self.folder.join("recipe.toml"))
        );
        for (flag, path) in [
            ("--source", &manifest.source),
            ("--target", &manifest.target),
        ] {
            if let Some(path) = path {
                command.push_str(&format!(" {flag} {}", quoted(path)));
            }
        }
        // As many steps; those of several stages follow from what was asked for.
        let taken = match self.logs.as_slice() {
            [log] => log.rows.last().map(|last| Budget::Steps(last.step + 1)),
            _ => manifest.budget,
        };
        match taken {
            Some(Budget::Steps(steps)) => command.push_str(&format!(" --steps {steps}")),
            Some(Budget::Minutes(minutes)) => command.push_str(&format!(" --minutes {minutes}")),
            None => {}
        }
        command.push_str(&format!(" --out {}-again", quoted(&self.folder)));
        Some(command)
    }
}

/// A path as a shell takes it.
fn quoted(path: &Path) -> String {
    let text = path.display().to_string();
    let plain = |c: char| c.is_alphanumeric() || "/._-+:,=@%".contains(c);
    if text.chars().all(plain) {
        text
    } else {
        format!("'{}'", text.replace('\'', "'\\''"))
    }
}

/// Where a `metrics.json` has an evaluation: all of it, or under a key.
fn evaluation_in(metrics: &Value) -> Option<Value> {
    let evaluations = ["validation", "evaluation"].iter();
    let found = evaluations.filter_map(|key| metrics.get(key));
    std::iter::once(metrics)
        .chain(found)
        .find(|value| value.get("cases").is_some_and(Value::is_array))
        .cloned()
}

/// The page of some runs, without cases and findings.
pub(super) fn page(runs: &[Gathered]) -> Page {
    let names: Vec<&str> = runs.iter().map(|run| run.name.as_str()).collect();
    Page {
        title: names.join(", "),
        summary: match runs {
            [run] if run.evaluation().is_none() => {
                "Nothing has been measured of this run yet.".to_owned()
            }
            [_] => String::new(),
            _ => {
                "Runs side by side, measured on the same cases; p of Wilcoxon's signed-rank test, \
                  two-sided."
                    .to_owned()
            }
        },
        guards: runs
            .iter()
            .flat_map(|run| run.logs.iter().flat_map(|log| log.guards(&run.name)))
            .collect(),
        runs: runs.iter().map(Gathered::run).collect(),
        comparisons: comparisons(runs),
        label_names: label_names(runs),
        facts: runs.iter().map(Gathered::facts).collect(),
        texts: runs.iter().flat_map(|run| run.texts.clone()).collect(),
        commands: runs.iter().filter_map(Gathered::command).collect(),
        ..Page::default()
    }
}

/// What is measured of predictions: overlap and surfaces, with intervals.
fn settings() -> Settings {
    Settings {
        metrics: vec![
            Metric::Dice,
            Metric::Iou,
            Metric::Hd95Mm,
            Metric::AssdMm,
            Metric::Nsd,
        ],
        bootstrap: Some(Bootstrap::default()),
        ..Settings::default()
    }
}

/// The Dice of every later run against that of the first, over labels and by label.
fn comparisons(runs: &[Gathered]) -> Vec<Comparison> {
    let mut measured = runs
        .iter()
        .filter_map(|run| Some((run, run.measured.as_ref()?)));
    let Some((first, base)) = measured.next() else {
        return Vec::new();
    };
    let mut found = Vec::new();
    for (run, evaluation) in measured {
        let compared = evaluation.against(base);
        let labels = compared.labels.into_values();
        let rows = std::iter::once(("mean".to_owned(), compared.mean)).chain(labels);
        for (name, differences) in rows {
            let dice = differences
                .iter()
                .find(|(metric, _)| *metric == Metric::Dice);
            found.extend(dice.map(|(_, d)| Comparison {
                what: format!("Dice, {}", name.replace('_', " ")),
                runs: [first.name.clone(), run.name.clone()],
                cases: d.n,
                difference: d.median_difference,
                p: d.p,
            }));
        }
    }
    found
}

/// Names of label values that evaluations have.
fn label_names(runs: &[Gathered]) -> Vec<(u16, String)> {
    let evaluations: Vec<Value> = runs.iter().filter_map(Gathered::evaluation).collect();
    let labels = evaluations
        .iter()
        .filter_map(|e| e.get("labels")?.as_object());
    let names: BTreeMap<u16, String> = labels
        .flatten()
        .filter_map(|(value, label)| {
            let name = label.get("name")?.as_str()?.replace('_', " ");
            Some((value.parse().ok()?, name))
        })
        .collect();
    names.into_iter().collect()
}

/// What is wrong with the datasets that the runs were trained on and that are still there.
pub(super) fn findings(runs: &[Gathered]) -> Vec<Finding> {
    let manifests = runs.iter().filter_map(|run| run.manifest.as_ref());
    let folders: BTreeSet<&PathBuf> = manifests
        .flat_map(|m| m.source.iter().chain(&m.target))
        .collect();
    let datasets = folders
        .into_iter()
        .filter_map(|folder| Dataset::open(folder).ok());
    let mut found: Vec<Finding> = Vec::new();
    for dataset in datasets {
        for finding in dataset::check(&dataset) {
            let severity = match finding.severity {
                Severity::Error => "error",
                Severity::Warning => "warning",
                _ => continue,
            };
            let drawn = found.iter().filter(|f| f.picture.is_some()).count();
            let case = finding.case.as_deref();
            found.push(Finding {
                severity: severity.to_owned(),
                text: format!(
                    "{}{}: expected {}, found {}: {}",
                    case.map_or(String::new(), |case| format!("{case}: ")),
                    finding.field,
                    finding.expected,
                    finding.found,
                    finding.file.display()
                ),
                picture: case
                    .filter(|_| drawn < MOST_PICTURES)
                    .and_then(|case| picture(&dataset, case)),
                repair: (!finding.repair.is_empty()).then_some(finding.repair),
            });
        }
    }
    found.sort_by(|a, b| a.severity.cmp(&b.severity));
    let more = found.len().saturating_sub(MOST_FINDINGS);
    found.truncate(MOST_FINDINGS);
    if more > 0 {
        found.push(Finding {
            severity: "note".into(),
            text: format!("{more} more; `crossmod check` names them all"),
            repair: None,
            picture: None,
        });
    }
    found
}

/// Slices of a case with its labels, as far as its files can be read.
fn picture(dataset: &Dataset, case: &str) -> Option<Vec<u8>> {
    let mut cases = dataset.training.iter().chain(&dataset.test);
    let case = cases.find(|found| found.id == case)?;
    let image = io::read_image(case.images.first()?).ok()?;
    let labels = case.label.as_deref().and_then(|f| io::read_labels(f).ok());
    let names: Vec<(u16, String)> = dataset.labels.clone().into_iter().collect();
    mosaic(&image, labels.as_ref(), &names).ok()?.png().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn evaluations_are_found_where_verbs_put_them() {
        let evaluation = json!({"cases": [], "mean": {}});
        assert_eq!(evaluation_in(&evaluation), Some(evaluation.clone()));
        let inside = json!({"steps": 2, "validation": evaluation});
        assert_eq!(evaluation_in(&inside), Some(evaluation));
        assert_eq!(
            evaluation_in(&json!({"steps": 2, "validation": null})),
            None
        );
    }

    #[test]
    fn paths_are_quoted_for_a_shell() {
        assert_eq!(quoted(Path::new("runs/a-1")), "runs/a-1");
        assert_eq!(quoted(Path::new("my runs/it's")), "'my runs/it'\\''s'");
    }
}
