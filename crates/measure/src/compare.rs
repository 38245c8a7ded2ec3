//! One run's evaluation against another's, case by case.
//!
//! ```json
//! {"labels": {"1": {"name": "liver", "dice": {"n": 12, "mean_difference": 0.02,
//!   "median_difference": 0.01, "ci": [0.005, 0.04], "statistic": 9.0, "p": 0.016}}},
//!  "mean": {"dice": {}}}
//! ```
//!
//! Differences are of this run less the other, of the cases where both are defined; `mean` is of each
//! case's mean over the labels that both define. The test is [`signed_rank`]; `p` is of one label and
//! metric alone: of twenty labels one comes out below 0.05 by chance.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::{Map, Value, json};

use crate::evaluation::{CaseMeasures, Evaluation};
use crate::summary::{Summary, mean};
use crate::table::{aligned, number};
use crate::wilcoxon::signed_rank;
use crate::{Bootstrap, Metric};

/// How two runs differ in one metric.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize)]
pub struct Difference {
    /// Cases where both are defined.
    pub n: usize,
    /// The mean of this run less that of the other.
    pub mean_difference: Option<f64>,
    /// The median of the differences.
    pub median_difference: Option<f64>,
    /// Interval of the mean difference, where asked for and there are cases enough.
    pub ci: Option<[f64; 2]>,
    /// The lesser sum of ranks; `None` where no case differs.
    pub statistic: Option<f64>,
    /// How probable such differences are where neither run is better.
    pub p: Option<f64>,
}

impl Difference {
    fn of(differences: &[f64], bootstrap: Option<&Bootstrap>) -> Self {
        let summary = Summary::of(differences.iter().copied().map(Some), None, bootstrap);
        let test = signed_rank(differences);
        Self {
            n: summary.n,
            mean_difference: summary.mean,
            median_difference: summary.median,
            ci: summary.ci,
            statistic: test.map(|test| test.statistic),
            p: test.map(|test| test.p),
        }
    }
}

/// How two runs differ.
#[derive(Debug, Clone, PartialEq)]
pub struct Comparison {
    /// By label: its name and each metric.
    pub labels: BTreeMap<u16, (String, Vec<(Metric, Difference)>)>,
    /// Of the means over labels.
    pub mean: Vec<(Metric, Difference)>,
}

impl Evaluation {
    /// How this run differs from another of the same cases, in the metrics that this one tells.
    #[must_use]
    pub fn against(&self, other: &Self) -> Comparison {
        let theirs: BTreeMap<&str, &CaseMeasures> =
            other.cases.iter().map(|case| (&*case.case, case)).collect();
        let pairs = self.cases.iter();
        let pairs: Vec<_> = pairs
            .filter_map(|case| Some((case, *theirs.get(&*case.case)?)))
            .collect();
        let both = |(ours, theirs): &(&CaseMeasures, &CaseMeasures), label, metric| {
            let ours = self.get(ours, label, metric)?;
            Some((ours, other.get(theirs, label, metric)?))
        };
        let bootstrap = self.settings.bootstrap.as_ref();
        let metrics = || self.settings.metrics.iter().copied();
        let of_label = |label: u16| {
            let one = |metric| {
                let found = pairs.iter().filter_map(|pair| both(pair, label, metric));
                let differences: Vec<f64> = found.map(|(a, b)| a - b).collect();
                (metric, Difference::of(&differences, bootstrap))
            };
            metrics().map(one).collect()
        };
        let labels = self.names.keys();
        let labels = labels.map(|&label| (label, (self.name(label), of_label(label))));
        let of_means = |metric| {
            let differences: Vec<f64> = pairs
                .iter()
                .filter_map(|pair| {
                    let labels = self.names.keys();
                    let found = labels.filter_map(|&label| both(pair, label, metric));
                    mean(found.map(|(a, b)| a - b))
                })
                .collect();
            (metric, Difference::of(&differences, bootstrap))
        };
        Comparison {
            labels: labels.collect(),
            mean: metrics().map(of_means).collect(),
        }
    }
}

impl Comparison {
    /// As JSON, undefined values `null`.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let metrics = |found: &[(Metric, Difference)]| -> Map<String, Value> {
            let found = found.iter();
            found
                .map(|(metric, d)| (metric.key().into(), json!(d)))
                .collect()
        };
        let labels: Map<String, Value> = self
            .labels
            .iter()
            .map(|(label, (name, found))| {
                let mut of_label = Map::new();
                of_label.insert("name".into(), json!(name));
                of_label.extend(metrics(found));
                (label.to_string(), of_label.into())
            })
            .collect();
        json!({"labels": labels, "mean": metrics(&self.mean)})
    }

    /// A plain-text table: a row per label with the mean difference of each metric and its p, the
    /// last of the means over labels.
    #[must_use]
    pub fn table(&self) -> String {
        let heads = self.mean.iter();
        let heads = heads.flat_map(|(metric, _)| [metric.name().to_owned(), "p".to_owned()]);
        let head = ["label", "name"]
            .map(str::to_owned)
            .into_iter()
            .chain(heads);
        let row = |label: String, name: String, found: &[(Metric, Difference)]| {
            let cells = found.iter().flat_map(|(_, d)| cells(d));
            [label, name].into_iter().chain(cells).collect::<Vec<_>>()
        };
        let mut rows: Vec<Vec<String>> = vec![head.collect()];
        for (label, (name, found)) in &self.labels {
            rows.push(row(label.to_string(), name.clone(), found));
        }
        rows.push(row("mean".into(), String::new(), &self.mean));
        aligned(&rows)
    }
}

/// The mean difference with its interval, and p.
fn cells(difference: &Difference) -> [String; 2] {
    let signed = |v: f64| format!("{v:+.3}");
    let mean = difference
        .mean_difference
        .map_or_else(|| number(None), signed);
    let mean = match difference.ci {
        Some([low, high]) => format!("{mean} [{low:+.3}, {high:+.3}]"),
        None => mean,
    };
    let p = match difference.p {
        Some(p) if p < 0.001 => "< 0.001".to_owned(),
        p => number(p),
    };
    [mean, p]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Overlap, Settings};

    /// Cases of one label each predicted with that many of ten voxels.
    fn run(hits: &[(&str, u64)]) -> Evaluation {
        let case = |&(name, hit): &(&str, u64)| {
            let overlap = Overlap {
                true_positive: hit,
                false_negative: 10 - hit,
                ..Overlap::default()
            };
            CaseMeasures {
                case: name.to_owned(),
                labels: BTreeMap::from([(2, overlap.into())]),
            }
        };
        let settings = Settings {
            metrics: vec![Metric::Recall],
            bootstrap: Some(Bootstrap::default()),
            ..Settings::default()
        };
        Evaluation::new(hits.iter().map(case).collect(), &BTreeMap::new(), settings)
    }

    #[test]
    fn cases_are_paired_by_name_and_differences_tested() {
        let ours = run(&[("a", 9), ("b", 8), ("c", 6), ("d", 7), ("only here", 1)]);
        let theirs = run(&[("d", 3), ("c", 4), ("b", 7), ("a", 6), ("only there", 9)]);
        let found = ours.against(&theirs);
        let [(metric, difference)] = found.labels[&2].1[..] else {
            panic!("one metric")
        };
        assert_eq!((metric, difference.n), (Metric::Recall, 4));
        assert!((difference.mean_difference.expect("cases") - 0.25).abs() < 1e-12);
        assert_eq!(
            (difference.statistic, difference.p),
            (Some(0.0), Some(0.125))
        );
        assert!(
            difference
                .ci
                .is_some_and(|[low, high]| low > 0.1 && high < 0.4)
        );
        assert_eq!(found.mean[0].1, difference);
        let json = found.to_json();
        assert_eq!(json["labels"]["2"]["recall"]["p"], 0.125);
        let table = found.table();
        assert!(
            table.contains("+0.250 [") && table.contains("0.125"),
            "{table}"
        );
        let same = ours.against(&ours);
        assert_eq!(same.mean[0].1.p, None);
        assert_eq!(same.mean[0].1.mean_difference, Some(0.0));
    }
}
