//! The numbers of evaluated runs, as tables.
//!
//! They come from the JSON of `crossmod evaluate`: `{"cases": [{"case": …, "labels": {VALUE: {METRIC:
//! number}}}], "labels": {VALUE: {"name": …, METRIC: {"mean": number, …}}}, "mean": {METRIC: number}}`.
//! Metrics are taken as they come, so that a new one shows without a change here.

use serde_json::{Map, Value};

use crate::page::{Comparison, Guard, Run};

/// Keys of a case's label that are counts or volumes, not measures of quality.
const COUNTS: [&str; 6] = [
    "tp",
    "fp",
    "fn",
    "tn",
    "volume_prediction_ml",
    "volume_truth_ml",
];

/// A table of text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Table {
    pub(crate) caption: String,
    pub(crate) head: Vec<String>,
    pub(crate) rows: Vec<Vec<String>>,
}

/// The evaluations of runs.
#[derive(Debug)]
pub(crate) struct Evaluated<'a> {
    runs: Vec<(&'a str, &'a Value)>,
    /// Label values and their names, background left out.
    pub(crate) labels: Vec<(u16, String)>,
    /// Metrics that cases have, the first the one that matters.
    pub(crate) metrics: Vec<String>,
}

impl<'a> Evaluated<'a> {
    pub(crate) fn of(runs: &'a [Run], names: &[(u16, String)]) -> Self {
        let runs: Vec<(&str, &Value)> = runs
            .iter()
            .filter_map(|run| Some((run.name.as_str(), run.evaluation.as_ref()?)))
            .collect();
        let tables = || runs.iter().filter_map(|(_, e)| object(e.get("labels")));
        let mut labels: Vec<(u16, String)> = Vec::new();
        for (key, label) in tables().flatten() {
            let Some(value) = key.parse().ok().filter(|&value: &u16| value != 0) else {
                continue;
            };
            if labels.iter().any(|(known, _)| *known == value) {
                continue;
            }
            let given = label.get("name").and_then(Value::as_str);
            let known = names.iter().find(|(v, _)| *v == value);
            let name = given.or(known.map(|(_, name)| name.as_str()));
            labels.push((
                value,
                name.map_or_else(|| key.clone(), |n| n.replace('_', " ")),
            ));
        }
        let mut metrics: Vec<String> = Vec::new();
        let measured = runs.iter().flat_map(|(_, e)| cases(e));
        for label in measured.filter_map(|case| object(case.get("labels"))) {
            for (key, value) in label.values().filter_map(Value::as_object).flatten() {
                let counts = COUNTS.contains(&key.as_str());
                if !counts && value.is_number() && !metrics.contains(key) {
                    metrics.push(key.clone());
                }
            }
        }
        Self {
            runs,
            labels,
            metrics,
        }
    }

    /// Names of all cases, in the order in which they first occur.
    pub(crate) fn cases(&self) -> Vec<String> {
        let mut names: Vec<String> = Vec::new();
        for case in self.runs.iter().flat_map(|(_, e)| cases(e)) {
            if let Some(name) = case.get("case").and_then(Value::as_str)
                && !names.iter().any(|known| known == name)
            {
                names.push(name.to_owned());
            }
        }
        names
    }

    /// Whether cases have volumes of prediction and truth.
    pub(crate) fn has_volumes(&self) -> bool {
        let mut labels = self
            .runs
            .iter()
            .flat_map(|(_, e)| cases(e))
            .filter_map(|case| object(case.get("labels")))
            .flat_map(Map::values);
        labels.any(|label| label.get("volume_truth_ml").is_some_and(Value::is_number))
    }

    /// A row for each run: its means; then a table for each label's summaries of the first metric.
    pub(crate) fn tables(&self) -> Vec<Table> {
        let mut tables = Vec::new();
        let means = |e: &'a Value| object(e.get("mean"));
        let metrics = keys(self.runs.iter().filter_map(|(_, e)| means(e)));
        let rows = self.runs.iter().map(|(name, e)| {
            let of = |metric: &&str| number(e.get("mean").and_then(|mean| mean.get(metric)));
            line(name, metrics.iter().map(|m| shown(of(m))))
        });
        tables.push(Table {
            caption: "Means over labels of their means over cases".into(),
            head: line("run", metrics.iter().map(|m| metric_name(m))),
            rows: rows.collect(),
        });
        if let Some(metric) = self.metrics.first() {
            let rows = self.runs.iter().map(|(name, e)| {
                let of = |value: u16| e.get("labels")?.get(value.to_string())?.get(metric);
                let cells = self.labels.iter().map(|(value, _)| summary(of(*value)));
                line(name, cells)
            });
            tables.push(Table {
                caption: format!(
                    "{} by label: mean ± standard deviation over cases, with the interval where \
                     there is one",
                    metric_name(metric)
                ),
                head: line("run", self.labels.iter().map(|(_, name)| name.clone())),
                rows: rows.collect(),
            });
        }
        tables.retain(|table| table.head.len() > 1 && !table.rows.is_empty());
        tables
    }
}

/// A row for each test.
pub(crate) fn comparison_table(comparisons: &[Comparison]) -> Option<Table> {
    let rows: Vec<Vec<String>> = comparisons
        .iter()
        .map(|c| {
            let p = c.p.map_or_else(
                || "–".to_owned(),
                |p| {
                    if p < 0.001 {
                        "< 0.001".to_owned()
                    } else {
                        format!("{p:.3}")
                    }
                },
            );
            let difference = c.difference.map(|d| format!("{d:+.3}"));
            vec![
                format!("{}: {} against {}", c.what, c.runs[1], c.runs[0]),
                c.cases.to_string(),
                difference.unwrap_or_else(|| "–".to_owned()),
                p,
            ]
        })
        .collect();
    (!rows.is_empty()).then(|| Table {
        caption: "Runs compared case by case".into(),
        head: ["measure", "cases", "median difference", "p"]
            .map(str::to_owned)
            .into(),
        rows,
    })
}

/// A row for each guard.
pub(crate) fn guard_table(guards: &[Guard]) -> Option<Table> {
    let best = guards.iter().any(|guard| guard.at_best.is_some());
    let figure = |value: Option<f32>| value.map_or("–".to_owned(), |v| format!("{v:.3}"));
    let rows: Vec<Vec<String>> = guards
        .iter()
        .map(|guard| {
            let verdict = if guard.bad { "bad" } else { "good" };
            let mut row = vec![
                guard.run.clone(),
                guard.figure.replace("guard_", "").replace('_', ", "),
                verdict.to_owned(),
                figure(Some(guard.last)),
            ];
            row.extend(best.then(|| figure(guard.at_best)));
            row.extend([guard.wanted.clone(), guard.meaning.clone()]);
            row
        })
        .collect();
    let mut head = vec!["run", "guard", "last look is", "last look"];
    head.extend(best.then_some("most consistent look"));
    head.extend(["wanted", "what it is"]);
    (!rows.is_empty()).then(|| Table {
        caption: "What was watched of the translators, on the same few patches".into(),
        head: head.into_iter().map(str::to_owned).collect(),
        rows,
    })
}

/// How a metric's key reads.
pub(crate) fn metric_name(key: &str) -> String {
    match key {
        "dice" => "Dice".into(),
        "iou" => "IoU".into(),
        "hausdorff_mm" => "Hausdorff, mm".into(),
        "hd95_mm" => "HD95, mm".into(),
        "assd_mm" => "ASSD, mm".into(),
        "nsd" => "NSD".into(),
        _ => key.replace('_', " "),
    }
}

fn cases(evaluation: &Value) -> impl Iterator<Item = &Value> {
    let cases = evaluation.get("cases").and_then(Value::as_array);
    cases.into_iter().flatten()
}

fn object(value: Option<&Value>) -> Option<&Map<String, Value>> {
    value.and_then(Value::as_object)
}

/// Keys of the objects in the order in which they first occur.
fn keys<'a>(objects: impl Iterator<Item = &'a Map<String, Value>>) -> Vec<&'a str> {
    let mut found: Vec<&str> = Vec::new();
    for key in objects.flat_map(Map::keys) {
        if !found.contains(&key.as_str()) {
            found.push(key);
        }
    }
    found
}

/// A number, or the mean of a summary.
fn number(value: Option<&Value>) -> Option<f64> {
    value.and_then(|v| v.as_f64().or_else(|| v.get("mean").and_then(Value::as_f64)))
}

fn shown(value: Option<f64>) -> String {
    value.map_or_else(|| "–".to_owned(), |v| format!("{v:.3}"))
}

/// A summary's mean, standard deviation and interval, as far as it has them.
fn summary(value: Option<&Value>) -> String {
    let mut text = shown(number(value));
    let part = |key: &str| value.and_then(|v| v.get(key));
    if let Some(sd) = part("sd").and_then(Value::as_f64) {
        text.push_str(&format!(" ± {sd:.3}"));
    }
    if let Some([low, high]) = part("ci").and_then(Value::as_array).map(Vec::as_slice)
        && let (Some(low), Some(high)) = (low.as_f64(), high.as_f64())
    {
        text.push_str(&format!(" [{low:.3}, {high:.3}]"));
    }
    text
}

fn line(first: &str, rest: impl Iterator<Item = String>) -> Vec<String> {
    std::iter::once(first.to_owned()).chain(rest).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn runs() -> Vec<Run> {
        let run = |name: &str, evaluation| Run {
            name: name.into(),
            curves: Vec::new(),
            evaluation,
        };
        vec![
            run(
                "a",
                Some(json!({
                    "cases": [
                        {"case": "p1", "labels": {"2": {"dice": 0.4, "tp": 3, "assd_mm": 12.5}}},
                        {"case": "p2", "labels": {"2": {"dice": null}}},
                    ],
                    "labels": {
                        "0": {"name": "background", "dice": {"mean": 1.0}},
                        "2": {"dice": {"mean": 0.2149, "sd": 0.1, "ci": [0.1, 0.3]}},
                    },
                    "mean": {"dice": 0.2149, "assd_mm": 12.5},
                })),
            ),
            run("untested", None),
            run("b", Some(json!({"mean": {"dice": 0.5}}))),
        ]
    }

    #[test]
    fn tables_have_a_row_for_each_evaluated_run() {
        let runs = runs();
        let evaluated = Evaluated::of(&runs, &[(2, "left_kidney".into())]);
        assert_eq!(evaluated.labels, [(2, "left kidney".to_owned())]);
        assert_eq!(evaluated.metrics, ["dice", "assd_mm"]);
        assert_eq!(evaluated.cases(), ["p1", "p2"]);
        assert!(!evaluated.has_volumes());
        let tables = evaluated.tables();
        assert_eq!(tables[0].head, ["run", "Dice", "ASSD, mm"]);
        assert_eq!(
            tables[0].rows,
            [["a", "0.215", "12.500"], ["b", "0.500", "–"]]
        );
        assert_eq!(tables[1].head, ["run", "left kidney"]);
        assert_eq!(
            tables[1].rows,
            [["a", "0.215 ± 0.100 [0.100, 0.300]"], ["b", "–"]]
        );
    }

    #[test]
    fn without_numbers_there_is_no_table() {
        let nothing = [Run::default()];
        assert!(Evaluated::of(&nothing, &[]).tables().is_empty());
        assert_eq!(comparison_table(&[]), None);
    }

    #[test]
    fn small_probabilities_are_bounded() {
        let mut comparison = Comparison {
            what: "Dice".into(),
            runs: ["a".into(), "b".into()],
            cases: 5,
            difference: Some(0.0214),
            p: Some(1e-9),
        };
        let row = |c: &Comparison| {
            let table = comparison_table(std::slice::from_ref(c));
            table.expect("a table").rows[0].clone()
        };
        assert_eq!(
            row(&comparison),
            ["Dice: b against a", "5", "+0.021", "< 0.001"]
        );
        comparison.p = None;
        assert_eq!(row(&comparison)[3], "–");
    }
}
