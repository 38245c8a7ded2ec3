//! An evaluation for people: an aligned table for the terminal, and CSV for a spreadsheet.

use std::path::Path;

use crossmod_volume::io;

use crate::summary::Summary;
use crate::{Evaluation, Result};

impl Evaluation {
    /// A plain-text table: a row per label with mean ± SD, median and pooled value of Dice and
    /// IoU and the number of cases, then the mean over labels. Undefined values are `–`.
    #[must_use]
    pub fn table(&self) -> String {
        let mut rows: Vec<Vec<String>> = vec![
            [
                "label", "name", "Dice", "median", "pooled", "IoU", "median", "pooled", "n",
            ]
            .map(str::to_owned)
            .into(),
        ];
        let labels = self.labels();
        for (label, summary) in &labels {
            let mut row = vec![label.to_string(), summary.name.clone()];
            row.extend(cells(&summary.dice));
            row.extend(cells(&summary.iou));
            row.push(summary.dice.n.to_string());
            rows.push(row);
        }
        let mean = Self::mean_of(&labels);
        let blank = String::new;
        rows.push(vec![
            "mean".into(),
            blank(),
            number(mean.dice),
            blank(),
            blank(),
            number(mean.iou),
            blank(),
            blank(),
            blank(),
        ]);
        aligned(&rows)
    }

    /// Writes one row per case and label: `case,label,name,dice,iou,volume_prediction_ml,
    /// volume_truth_ml`; undefined values are empty.
    ///
    /// # Errors
    /// [`crate::Error::Volume`] where the file cannot be written.
    pub fn write_csv(&self, path: &Path) -> Result<()> {
        io::write_atomic(path, |file| {
            let mut csv = csv::Writer::from_writer(file);
            csv.write_record([
                "case",
                "label",
                "name",
                "dice",
                "iou",
                "volume_prediction_ml",
                "volume_truth_ml",
            ])?;
            for case in &self.cases {
                for &label in self.names.keys() {
                    let overlap = case.labels.get(&label).copied().unwrap_or_default();
                    let defined = |v: Option<f64>| v.map(|v| v.to_string()).unwrap_or_default();
                    csv.write_record([
                        case.case.clone(),
                        label.to_string(),
                        self.name(label),
                        defined(overlap.dice()),
                        defined(overlap.iou()),
                        overlap.volume_prediction_ml.to_string(),
                        overlap.volume_truth_ml.to_string(),
                    ])?;
                }
            }
            csv.flush()
        })?;
        Ok(())
    }
}

/// Mean ± SD, median, pooled.
fn cells(summary: &Summary) -> [String; 3] {
    let mean = match summary.sd {
        Some(sd) => format!("{} ± {sd:.3}", number(summary.mean)),
        None => number(summary.mean),
    };
    [mean, number(summary.median), number(summary.pooled)]
}

fn number(value: Option<f64>) -> String {
    value.map_or_else(|| "–".into(), |v| format!("{v:.3}"))
}

/// Columns two blanks apart, each as wide as its longest cell in characters, left aligned.
fn aligned(rows: &[Vec<String>]) -> String {
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
label  name     Dice           median  pooled  IoU            median  pooled  n
1      liver    0.750 ± 0.354  0.750   0.519   0.667 ± 0.471  0.667   0.351   2
2      label 2  0.000          0.000   0.000   0.000          0.000   0.000   1
3      spleen   –              –       –       –              –       –       0
mean            0.375                          0.333
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
