//! The overlap of many cases, summed up per label, and its JSON.
//!
//! ```json
//! {"cases": [{"case": "p01", "labels": {"1": {"dice": 0.9, "iou": 0.82, "tp": 90, "fp": 10,
//!   "fn": 10, "volume_prediction_ml": 0.1, "volume_truth_ml": 0.1}}}],
//!  "labels": {"1": {"name": "liver",
//!   "dice": {"mean": 0.9, "sd": null, "median": 0.9, "n": 1, "pooled": 0.9}, "iou": {}}},
//!  "mean": {"dice": 0.9, "iou": 0.82}}
//! ```
//!
//! `mean` is over foreground labels of their means over cases. `unmatched` lists predictions
//! without a truth and is left out where there are none.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;
use serde_json::{Map, Value, json};

use crate::Overlap;
use crate::summary::{Summary, mean};

/// One case's overlap.
#[derive(Debug, Clone, PartialEq)]
pub struct CaseOverlap {
    /// The case's name.
    pub case: String,
    /// Each label's overlap. A label that is not here was in neither map.
    pub labels: BTreeMap<u16, Overlap>,
}

/// The overlap of all cases.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Evaluation {
    /// In the order they were given.
    pub cases: Vec<CaseOverlap>,
    /// The labels evaluated and their names, where known.
    pub names: BTreeMap<u16, Option<String>>,
    /// Files among the predictions that no truth belongs to.
    pub unmatched: Vec<String>,
}

/// One label's metrics over all cases.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct LabelSummary {
    /// From `dataset.json`; `label N` where it is not known.
    pub name: String,
    /// Dice coefficient.
    pub dice: Summary,
    /// Intersection over union.
    pub iou: Summary,
}

/// Means over foreground labels of their means over cases; `None` where no label has one.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Mean {
    /// Dice coefficient.
    pub dice: Option<f64>,
    /// Intersection over union.
    pub iou: Option<f64>,
}

impl Evaluation {
    /// An evaluation of these cases. The labels are those of `names` and of the cases, background
    /// left out.
    #[must_use]
    pub fn new(cases: Vec<CaseOverlap>, names: &BTreeMap<u16, String>) -> Self {
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
        }
    }

    /// Name of a label, `label N` where it is not known.
    #[must_use]
    pub fn name(&self, label: u16) -> String {
        let name = self.names.get(&label).cloned().flatten();
        name.unwrap_or_else(|| format!("label {label}"))
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
        let overlaps: Vec<Overlap> = self
            .cases
            .iter()
            .map(|c| c.labels.get(&label).copied().unwrap_or_default())
            .collect();
        let mut pooled = Overlap::default();
        overlaps.iter().for_each(|&overlap| pooled += overlap);
        LabelSummary {
            name: self.name(label),
            dice: Summary::of(overlaps.iter().map(Overlap::dice), pooled.dice()),
            iou: Summary::of(overlaps.iter().map(Overlap::iou), pooled.iou()),
        }
    }

    /// Means over foreground labels of their means over cases.
    #[must_use]
    pub fn mean(&self) -> Mean {
        Self::mean_of(&self.labels())
    }

    pub(crate) fn mean_of(labels: &BTreeMap<u16, LabelSummary>) -> Mean {
        Mean {
            dice: mean(labels.values().filter_map(|label| label.dice.mean)),
            iou: mean(labels.values().filter_map(|label| label.iou.mean)),
        }
    }

    /// The whole as JSON: `cases`, `labels` and `mean`, undefined values `null`.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let labels = self.labels();
        let mean = Self::mean_of(&labels);
        let cases: Vec<Value> = self
            .cases
            .iter()
            .map(|case| {
                let of = |label: &u16| case.labels.get(label).copied().unwrap_or_default();
                let labels: Map<String, Value> = self
                    .names
                    .keys()
                    .map(|l| (l.to_string(), overlap_json(of(l))))
                    .collect();
                json!({"case": case.case, "labels": labels})
            })
            .collect();
        let labels: Map<String, Value> = labels
            .iter()
            .map(|(label, summary)| (label.to_string(), json!(summary)))
            .collect();
        let mut value = json!({"cases": cases, "labels": labels, "mean": mean});
        if !self.unmatched.is_empty() {
            value["unmatched"] = json!(self.unmatched);
        }
        value
    }

    /// Adds the slices or parts of one case: cases of one name become one, their voxels pooled,
    /// in the order of their first parts.
    #[must_use]
    pub fn pool(parts: Vec<CaseOverlap>) -> Vec<CaseOverlap> {
        let mut cases: Vec<CaseOverlap> = Vec::new();
        let mut index: BTreeMap<String, usize> = BTreeMap::new();
        for part in parts {
            let at = *index.entry(part.case.clone()).or_insert_with(|| {
                cases.push(CaseOverlap {
                    case: part.case.clone(),
                    labels: BTreeMap::new(),
                });
                cases.len() - 1
            });
            for (label, overlap) in part.labels {
                *cases[at].labels.entry(label).or_default() += overlap;
            }
        }
        cases
    }
}

fn overlap_json(overlap: Overlap) -> Value {
    json!({
        "dice": overlap.dice(),
        "iou": overlap.iou(),
        "tp": overlap.true_positive,
        "fp": overlap.false_positive,
        "fn": overlap.false_negative,
        "volume_prediction_ml": overlap.volume_prediction_ml,
        "volume_truth_ml": overlap.volume_truth_ml,
    })
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

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

    fn case(name: &str, labels: &[(u16, Overlap)]) -> CaseOverlap {
        CaseOverlap {
            case: name.into(),
            labels: labels.iter().copied().collect(),
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
        Evaluation::new(cases, &names.map(|(v, n)| (v, n.to_owned())).into())
    }

    #[test]
    fn cases_weigh_alike_in_means_and_voxels_in_pooled_values() {
        let labels = two_cases().labels();
        assert_eq!(labels.keys().copied().collect::<Vec<_>>(), [1, 2, 3]);
        let liver = &labels[&1];
        assert_eq!((&*liver.name, liver.dice.n), ("liver", 2));
        assert_eq!(
            (liver.dice.mean, liver.dice.median),
            (Some(0.75), Some(0.75))
        );
        assert!((liver.dice.sd.expect("two cases") - 0.125f64.sqrt()).abs() < 1e-12);
        assert_eq!(liver.dice.pooled, Some(108.0 / 208.0));
        assert_eq!(liver.iou.pooled, Some(54.0 / 154.0));
        assert_eq!(liver.iou.mean, Some((1.0 + 1.0 / 3.0) / 2.0));
    }

    #[test]
    fn undefined_cases_and_labels_are_left_out_of_means() {
        let evaluation = two_cases();
        let labels = evaluation.labels();
        assert_eq!((labels[&2].dice.n, labels[&2].dice.mean), (1, Some(0.0)));
        assert_eq!(labels[&2].name, "label 2");
        assert_eq!(labels[&3].dice, Summary::default());
        assert_eq!(evaluation.mean().dice, Some((0.75 + 0.0) / 2.0));
        assert_eq!(
            Evaluation::default().mean(),
            Mean {
                dice: None,
                iou: None
            }
        );
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
        assert_eq!(cases[0].labels[&1].dice(), Some(2.0 / 5.0));
        assert_eq!(cases[0].labels[&2].true_positive, 3);
    }
}
