//! An evaluation for people: an aligned table for the terminal, and CSV for a spreadsheet.

use std::path::Path;

use crossmod_volume::io;

use crate::summary::Summary;
use crate::{Evaluation, LabelSummary, Result};

impl Evaluation {
    /// A plain-text table: a row per label with the mean of each metric, its interval where there is
    /// one and else the SD, and the number of cases; then the mean over labels. Undefined values are
    /// `–`.
    #[must_use]
    pub fn table(&self) -> String {
        let metrics = &self.settings.metrics;
        let labels = self.labels();
        let names = metrics.iter().map(|metric| metric.name().to_owned());
        let head = ["label", "name"]
            .map(str::to_owned)
            .into_iter()
            .chain(names);
        let mut rows: Vec<Vec<String>> = vec![head.chain(["n".to_owned()]).collect()];
        for (label, summary) in &labels {
            let mut row = vec![label.to_string(), summary.name.clone()];
            row.extend(summary.metrics.iter().map(|(_, summary)| cell(summary)));
            row.push(cases(summary));
            rows.push(row);
        }
        let means = metrics
            .iter()
            .map(|&metric| number(Self::mean_of(&labels, metric)));
        rows.push(
            ["mean".to_owned(), String::new()]
                .into_iter()
                .chain(means)
                .collect(),
        );
        aligned(&rows)
    }

    /// Writes one row per case and label: `case,label,name`, the metrics that are told,
    /// `volume_prediction_ml,volume_truth_ml`; undefined values are empty.
    ///
    /// # Errors
    /// [`crate::Error::Volume`] where the file cannot be written.
    pub fn write_csv(&self, path: &Path) -> Result<()> {
        let metrics = &self.settings.metrics;
        let keys = metrics.iter().map(|metric| metric.key());
        let head = ["case", "label", "name"].into_iter().chain(keys);
        let head = head.chain(["volume_prediction_ml", "volume_truth_ml"]);
        io::write_atomic(path, |file| {
            let mut csv = csv::Writer::from_writer(file);
            csv.write_record(head)?;
            for case in &self.cases {
                for &label in self.names.keys() {
                    let mut row = vec![case.case.clone(), label.to_string(), self.name(label)];
                    row.extend(metrics.iter().map(|&metric| {
                        let value = self.get(case, label, metric);
                        value.map(|v| v.to_string()).unwrap_or_default()
                    }));
                    let overlap = case
                        .labels
                        .get(&label)
                        .map(|m| m.overlap)
                        .unwrap_or_default();
                    row.push(overlap.volume_prediction_ml.to_string());
                    row.push(overlap.volume_truth_ml.to_string());
                    csv.write_record(row)?;
                }
            }
            csv.flush()
        })?;
        Ok(())
    }
}

/// Mean and interval, or mean ± SD.
pub(crate) fn cell(summary: &Summary) -> String {
    let mean = number(summary.mean);
    match (summary.ci, summary.sd) {
        (Some([low, high]), _) => format!("{mean} [{low:.3}, {high:.3}]"),
        (None, Some(sd)) => format!("{mean} ± {sd:.3}"),
        (None, None) => mean,
    }
}

/// For how many cases each metric is defined; once where it is for as many.
fn cases(summary: &LabelSummary) -> String {
    let mut numbers: Vec<String> = summary
        .metrics
        .iter()
        .map(|(_, s)| s.n.to_string())
        .collect();
    numbers.dedup();
    numbers.join("/")
}

/// A number for people.
pub(crate) fn number(value: Option<f64>) -> String {
    value.map_or_else(|| "–".into(), |v| format!("{v:.3}"))
}

/// Columns two blanks apart, each as wide as its longest cell in characters, left aligned.
pub(crate) fn aligned(rows: &[Vec<String>]) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column: usize| {
        let lengths = rows
            .iter()
            .filter_map(|row| row.get(column))
            .map(|c| c.chars().count());
        lengths.max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let line = |row: &Vec<String>| {
        let cells: Vec<String> = row
            .iter()
            .zip(&widths)
            .map(|(cell, &width)| format!("{cell:<width$}"))
            .collect();
        cells.join("  ").trim_end().to_owned() + "\n"
    };
    rows.iter().map(line).collect()
}

#[cfg(test)]
mod tests {
    use crate::evaluation::tests::two_cases;

    #[test]
    fn the_table_is_aligned() {
        let expected = "\
label  name     Dice           IoU            n
1      liver    0.750 ± 0.354  0.667 ± 0.471  2
2      label 2  0.000          0.000          1
3      spleen   –              –              0
mean            0.375          0.333
";
        assert_eq!(two_cases().table(), expected);
    }

    #[test]
    fn the_csv_has_a_row_per_case_and_label() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("metrics.csv");
        let mut evaluation = two_cases();
        evaluation.cases[0].case = "a, \"the first\"".into();
        evaluation.write_csv(&path).expect("a writable folder");
        let expected = "\
case,label,name,dice,iou,volume_prediction_ml,volume_truth_ml
\"a, \"\"the first\"\"\",1,liver,1,1,0.004,0.004
\"a, \"\"the first\"\"\",2,label 2,,,0,0
\"a, \"\"the first\"\"\",3,spleen,,,0,0
b,1,liver,0.5,0.3333333333333333,0.1,0.1
b,2,label 2,0,0,0,0.008
b,3,spleen,,,0,0
";
        assert_eq!(std::fs::read_to_string(&path).expect("the file"), expected);
        assert_eq!(
            std::fs::read_dir(folder.path())
                .expect("the folder")
                .count(),
            1
        );
        let nowhere = folder.path().join("no/such/folder/metrics.csv");
        assert!(evaluation.write_csv(&nowhere).is_err());
    }
}
