//! What was measured of many cases, summed up per label, and its JSON.
//!
//! ```json
//! {"cases": [{"case": "p01", "labels": {"1": {"dice": 0.9, "iou": 0.82, "hd95_mm": 2.5, "tp": 90,
//!   "fp": 10, "fn": 10, "volume_prediction_ml": 0.1, "volume_truth_ml": 0.1}}}],
//!  "labels": {"1": {"name": "liver",
//!   "dice": {"mean": 0.9, "sd": null, "median": 0.9, "n": 1, "pooled": 0.9, "ci": [0.8, 0.95]},
//!   "hd95_mm": {}}},
//!  "mean": {"dice": 0.9, "hd95_mm": 2.5},
//!  "settings": {"metrics": ["dice", "hd95_mm"], "surface": "elements", "tolerance_mm": 1.0,
//!   "bootstrap": {"resamples": 2000, "level": 0.95, "seed": 1, "interval": "percentile"}}}
//! ```
//!
//! `mean` is over foreground labels of their means over cases. `unmatched` lists predictions
//! without a truth and is left out where there are none; `ci` and `settings` are there where intervals
//! or surfaces were asked for.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::summary::{Summary, mean};
use crate::{Bootstrap, Measures, Metric, Surface};

/// What is measured, and how it is summed up.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// The metrics that are told.
    pub metrics: Vec<Metric>,
    /// What a surface is.
    pub surface: Surface,
    /// The tolerance of [`Metric::Nsd`], mm.
    pub tolerance_mm: f64,
    /// Intervals of the means over cases, where they are wanted.
    pub bootstrap: Option<Bootstrap>,
}

impl Default for Settings {
    /// Overlap alone, without intervals.
    fn default() -> Self {
        Self {
            metrics: vec![Metric::Dice, Metric::Iou],
            surface: Surface::Elements,
            tolerance_mm: 1.0,
            bootstrap: None,
        }
    }
}

impl Settings {
    /// Whether a metric of surfaces is among those told.
    #[must_use]
    pub fn needs_surfaces(&self) -> bool {
        self.metrics.iter().any(|metric| metric.of_surfaces())
    }
}

/// What was measured of one case.
#[derive(Debug, Clone, PartialEq)]
pub struct CaseMeasures {
    /// The case's name.
    pub case: String,
    /// Each label's. A label that is not here was in neither map.
    pub labels: BTreeMap<u16, Measures>,
}

/// What was measured of all cases.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Evaluation {
    /// In the order they were given.
    pub cases: Vec<CaseMeasures>,
    /// The labels evaluated and their names, where known.
    pub names: BTreeMap<u16, Option<String>>,
    /// Files among the predictions that no truth belongs to.
    pub unmatched: Vec<String>,
    /// What is told of it.
    pub settings: Settings,
}

/// One label's metrics over all cases.
#[derive(Debug, Clone, PartialEq)]
pub struct LabelSummary {
    /// From `dataset.json`; `label N` where it is not known.
    pub name: String,
    /// Those that are told, in their order.
    pub metrics: Vec<(Metric, Summary)>,
}

impl LabelSummary {
    /// A metric that is told; of any other everything is undefined.
    #[must_use]
    pub fn get(&self, metric: Metric) -> Summary {
        let found = self.metrics.iter().find(|(told, _)| *told == metric);
        found.map_or_else(Summary::default, |(_, summary)| *summary)
    }
}

impl Evaluation {
    /// An evaluation of these cases. The labels are those of `names` and of the cases, background
    /// left out.
    #[must_use]
    pub fn new(
        cases: Vec<CaseMeasures>,
        names: &BTreeMap<u16, String>,
        settings: Settings,
    ) -> Self {
        let values: BTreeSet<u16> = cases
            .iter()
            .flat_map(|c| c.labels.keys())
            .chain(names.keys())
            .copied()
            .collect();
        let names = values
            .into_iter()
            .filter(|&value| value != 0)
            .map(|value| (value, names.get(&value).cloned()))
            .collect();
        Self {
            cases,
            names,
            unmatched: Vec::new(),
            settings,
        }
    }

    /// Name of a label, `label N` where it is not known.
    #[must_use]
    pub fn name(&self, label: u16) -> String {
        let name = self.names.get(&label).cloned().flatten();
        name.unwrap_or_else(|| format!("label {label}"))
    }

    /// A metric of a label of one case; `None` where it is undefined.
    #[must_use]
    pub fn get(&self, case: &CaseMeasures, label: u16, metric: Metric) -> Option<f64> {
        let measures = case.labels.get(&label)?;
        measures.get(metric, self.settings.tolerance_mm)
    }

    /// Each label's metrics over all cases.
    #[must_use]
    pub fn labels(&self) -> BTreeMap<u16, LabelSummary> {
        self.names
            .keys()
            .map(|&label| (label, self.label(label)))
            .collect()
    }

    fn label(&self, label: u16) -> LabelSummary {
        let mut pooled = Measures::default();
        let found = self.cases.iter().filter_map(|c| c.labels.get(&label));
        found.for_each(|measures| pooled.pool(measures));
        let summary = |&metric: &Metric| {
            let values = self.cases.iter().map(|case| self.get(case, label, metric));
            let pooled = pooled.get(metric, self.settings.tolerance_mm);
            let summary = Summary::of(values, pooled, self.settings.bootstrap.as_ref());
            (metric, summary)
        };
        LabelSummary {
            name: self.name(label),
            metrics: self.settings.metrics.iter().map(summary).collect(),
        }
    }

    /// The mean over foreground labels of their means over cases; `None` where no label has one or
    /// the metric is not told.
    #[must_use]
    pub fn mean(&self, metric: Metric) -> Option<f64> {
        Self::mean_of(&self.labels(), metric)
    }

    pub(crate) fn mean_of(labels: &BTreeMap<u16, LabelSummary>, metric: Metric) -> Option<f64> {
        mean(labels.values().filter_map(|label| label.get(metric).mean))
    }

    /// The whole as JSON: `cases`, `labels` and `mean`, undefined values `null`.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let labels = self.labels();
        let means = self.settings.metrics.iter();
        let means =
            means.map(|&metric| (metric.key().into(), json!(Self::mean_of(&labels, metric))));
        let means: Map<String, Value> = means.collect();
        let cases: Vec<Value> = self
            .cases
            .iter()
            .map(|case| {
                let of = |label: &u16| case.labels.get(label).cloned().unwrap_or_default();
                let labels: Map<String, Value> = self
                    .names
                    .keys()
                    .map(|l| (l.to_string(), self.measures_json(&of(l))))
                    .collect();
                json!({"case": case.case, "labels": labels})
            })
            .collect();
        let labels: Map<String, Value> = labels
            .iter()
            .map(|(label, summary)| {
                let mut of_label = Map::new();
                of_label.insert("name".into(), json!(summary.name));
                let metrics = summary.metrics.iter();
                of_label.extend(metrics.map(|(metric, s)| (metric.key().into(), json!(s))));
                (label.to_string(), of_label.into())
            })
            .collect();
        let mut value = json!({"cases": cases, "labels": labels, "mean": means});
        if self.settings.needs_surfaces() || self.settings.bootstrap.is_some() {
            value["settings"] = json!(self.settings);
        }
        if !self.unmatched.is_empty() {
            value["unmatched"] = json!(self.unmatched);
        }
        value
    }

    /// The metrics that are told, Dice and IoU in any case, and the counts they are made of.
    fn measures_json(&self, measures: &Measures) -> Value {
        let told = &self.settings.metrics;
        let of = Metric::ALL
            .into_iter()
            .filter(|metric| matches!(metric, Metric::Dice | Metric::Iou) || told.contains(metric));
        let mut json: Map<String, Value> = of
            .map(|metric| {
                let value = measures.get(metric, self.settings.tolerance_mm);
                (metric.key().to_owned(), json!(value))
            })
            .collect();
        let overlap = &measures.overlap;
        json.insert("tp".into(), json!(overlap.true_positive));
        json.insert("fp".into(), json!(overlap.false_positive));
        json.insert("fn".into(), json!(overlap.false_negative));
        json.insert(
            "volume_prediction_ml".into(),
            json!(overlap.volume_prediction_ml),
        );
        json.insert("volume_truth_ml".into(), json!(overlap.volume_truth_ml));
        json.into()
    }

    /// Adds the slices or parts of one case: cases of one name become one, their voxels and surfaces
    /// pooled, in the order of their first parts.
    #[must_use]
    pub fn pool(parts: Vec<CaseMeasures>) -> Vec<CaseMeasures> {
        let mut cases: Vec<CaseMeasures> = Vec::new();
        let mut index: BTreeMap<String, usize> = BTreeMap::new();
        for part in parts {
            let at = *index.entry(part.case.clone()).or_insert_with(|| {
                cases.push(CaseMeasures {
                    case: part.case.clone(),
                    labels: BTreeMap::new(),
                });
                cases.len() - 1
            });
            for (label, measures) in part.labels {
                cases[at].labels.entry(label).or_default().pool(&measures);
            }
        }
        cases
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::Overlap;

    fn counts(true_positive: u64, false_positive: u64, false_negative: u64) -> Overlap {
        let volume = |n: u64| n as f64 / 1000.0;
        Overlap {
            true_positive,
            false_positive,
            false_negative,
            volume_prediction_ml: volume(true_positive + false_positive),
            volume_truth_ml: volume(true_positive + false_negative),
        }
    }

    fn case(name: &str, labels: &[(u16, Overlap)]) -> CaseMeasures {
        let labels = labels
            .iter()
            .map(|&(label, overlap)| (label, overlap.into()));
        CaseMeasures {
            case: name.into(),
            labels: labels.collect(),
        }
    }

    /// Label 1: Dice 1 (4 voxels) and 0.5 (of 100 and 100). Label 2: absent in a, missed in b.
    /// Label 3: in neither.
    pub(crate) fn two_cases() -> Evaluation {
        let cases = vec![
            case("a", &[(0, counts(9, 9, 9)), (1, counts(4, 0, 0))]),
            case("b", &[(1, counts(50, 50, 50)), (2, counts(0, 0, 8))]),
        ];
        let names = [(0, "background"), (1, "liver"), (3, "spleen")];
        let names = names.map(|(v, n)| (v, n.to_owned())).into();
        Evaluation::new(cases, &names, Settings::default())
    }

    #[test]
    fn cases_weigh_alike_in_means_and_voxels_in_pooled_values() {
        let labels = two_cases().labels();
        assert_eq!(labels.keys().copied().collect::<Vec<_>>(), [1, 2, 3]);
        let liver = &labels[&1];
        let (dice, iou) = (liver.get(Metric::Dice), liver.get(Metric::Iou));
        assert_eq!((&*liver.name, dice.n), ("liver", 2));
        assert_eq!((dice.mean, dice.median), (Some(0.75), Some(0.75)));
        assert!((dice.sd.expect("two cases") - 0.125f64.sqrt()).abs() < 1e-12);
        assert_eq!(dice.pooled, Some(108.0 / 208.0));
        assert_eq!(iou.pooled, Some(54.0 / 154.0));
        assert_eq!(iou.mean, Some((1.0 + 1.0 / 3.0) / 2.0));
        assert_eq!(liver.get(Metric::Nsd), Summary::default());
    }

    #[test]
    fn undefined_cases_and_labels_are_left_out_of_means() {
        let evaluation = two_cases();
        let labels = evaluation.labels();
        let dice = |label: u16| labels[&label].get(Metric::Dice);
        assert_eq!((dice(2).n, dice(2).mean), (1, Some(0.0)));
        assert_eq!(labels[&2].name, "label 2");
        assert_eq!(dice(3), Summary::default());
        assert_eq!(evaluation.mean(Metric::Dice), Some((0.75 + 0.0) / 2.0));
        assert_eq!(Evaluation::default().mean(Metric::Dice), None);
    }

    #[test]
    fn json_is_as_promised() {
        let mut evaluation = two_cases();
        let json = evaluation.to_json();
        assert_eq!(json["cases"][0]["case"], "a");
        assert_eq!(json["cases"][1]["labels"]["1"]["dice"], 0.5);
        assert_eq!(json["cases"][1]["labels"]["1"]["fn"], 50);
        assert_eq!(json["cases"][1]["labels"]["1"]["volume_truth_ml"], 0.1);
        assert_eq!(json["cases"][0]["labels"]["2"]["dice"], Value::Null);
        assert_eq!(
            json["cases"][0]["labels"].as_object().map(Map::len),
            Some(3)
        );
        assert_eq!(
            json["labels"]["2"],
            json!({
                "name": "label 2",
                "dice": {"mean": 0.0, "sd": null, "median": 0.0, "n": 1, "pooled": 0.0},
                "iou": {"mean": 0.0, "sd": null, "median": 0.0, "n": 1, "pooled": 0.0},
            })
        );
        assert_eq!(json["mean"]["dice"], 0.375);
        let keys = |v: &Value| v.as_object().map(|o| o.keys().cloned().collect::<Vec<_>>());
        assert_eq!(
            keys(&json),
            Some(vec!["cases".into(), "labels".into(), "mean".into()])
        );
        evaluation.unmatched.push("c".into());
        assert_eq!(evaluation.to_json()["unmatched"], json!(["c"]));
    }

    #[test]
    fn parts_of_one_case_are_pooled() {
        let parts = vec![
            case("16", &[(1, counts(1, 0, 0))]),
            case("2", &[(1, counts(5, 5, 5))]),
            case("16", &[(1, counts(0, 1, 2)), (2, counts(3, 0, 0))]),
        ];
        let cases = Evaluation::pool(parts);
        assert_eq!(
            cases.iter().map(|c| &*c.case).collect::<Vec<_>>(),
            ["16", "2"]
        );
        assert_eq!(cases[0].labels[&1].overlap.dice(), Some(2.0 / 5.0));
        assert_eq!(cases[0].labels[&2].overlap.true_positive, 3);
    }
}
