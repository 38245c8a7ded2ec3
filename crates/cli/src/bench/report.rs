//! The table of a comparison, for people and for machines.

use serde::Serialize;

use super::compare::geometric_mean;
use super::machine::Machine;

/// One line of the table.
#[derive(Debug, Clone, Default, Serialize)]
pub(crate) struct Row {
    pub(crate) name: String,
    pub(crate) pass: &'static str,
    pub(crate) ours_ms: f64,
    /// Our arithmetic a second, of operations that consist of multiply-adds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) gflops: Option<f64>,
    /// Its share of the measured peak.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) of_peak: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) peer: Option<String>,
    /// The peer's time with the allocator that suits it best here.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) peer_ms: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) peer_allocator: Option<String>,
    /// The peer's time over ours.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) ratio: Option<f64>,
    /// Processor time of our process, all threads together.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) ours_cpu_ms: Option<f64>,
    /// That of the peer's process.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) peer_cpu_ms: Option<f64>,
    /// Peak memory of our process, in units of 10⁶ bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) ours_rss_mb: Option<f64>,
    /// That of the peer's process whose time counts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) peer_rss_mb: Option<f64>,
    /// The largest difference of a loss between the sides, from the same weights and inputs:
    /// absolute below 1, relative above.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) loss_difference: Option<f64>,
    /// The same between our side and the peer computing in f64.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) ours_from_f64: Option<f64>,
    /// The same between the peer and itself computing in f64: what rounding alone does.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) peer_from_f64: Option<f64>,
}

/// A whole comparison.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    /// Version of this program.
    version: &'static str,
    machine: Machine,
    rows: Vec<Row>,
    /// Geometric mean of the ratios.
    geomean: Option<f64>,
    /// The smallest ratio.
    worst: Option<f64>,
    passes: Vec<PassSummary>,
}

/// The ratios of one kind of pass.
#[derive(Debug, Serialize)]
struct PassSummary {
    pass: &'static str,
    rows: usize,
    geomean: f64,
    worst: f64,
    worst_name: String,
}

impl Report {
    pub(crate) fn new(machine: Machine, rows: Vec<Row>) -> Self {
        let ratios: Vec<f64> = rows.iter().filter_map(|row| row.ratio).collect();
        let mut kinds: Vec<&'static str> = Vec::new();
        for row in &rows {
            if !kinds.contains(&row.pass) {
                kinds.push(row.pass);
            }
        }
        Self {
            version: env!("CARGO_PKG_VERSION"),
            machine,
            geomean: geometric_mean(&ratios),
            worst: ratios.iter().copied().reduce(f64::min),
            passes: kinds
                .into_iter()
                .filter_map(|kind| PassSummary::of(kind, &rows))
                .collect(),
            rows,
        }
    }

    /// The table and its summary.
    pub(crate) fn text(&self) -> String {
        let machine = &self.machine;
        let mut text = format!(
            "{}, {} threads, {}, FMA peak {:.0} GFLOP/s\n",
            machine.cpu, machine.threads, machine.instructions, machine.fma_peak_gflops
        );
        if let Some(device) = &machine.device {
            text.push_str(&format!("our nets run on {device}\n"));
        }
        text.push('\n');
        text.push_str(&table(&self.rows));
        for summary in &self.passes {
            text.push_str(&format!(
                "\n{}: geometric mean {:.2}, worst {:.2} ({})",
                summary.pass, summary.geomean, summary.worst, summary.worst_name
            ));
        }
        text
    }
}

impl PassSummary {
    fn of(pass: &'static str, rows: &[Row]) -> Option<Self> {
        let rows: Vec<(&Row, f64)> = rows
            .iter()
            .filter(|row| row.pass == pass)
            .filter_map(|row| Some((row, row.ratio?)))
            .collect();
        let ratios: Vec<f64> = rows.iter().map(|&(_, ratio)| ratio).collect();
        let (row, worst) = rows.iter().min_by(|a, b| a.1.total_cmp(&b.1))?;
        Some(Self {
            pass,
            rows: ratios.len(),
            geomean: geometric_mean(&ratios)?,
            worst: *worst,
            worst_name: row.name.clone(),
        })
    }
}

/// A column: its head, and what it says of a row.
type Column = (&'static str, fn(&Row) -> Option<String>);

const COLUMNS: [Column; 14] = [
    ("pass", |row| Some(row.pass.into())),
    ("ours ms", |row| Some(time(row.ours_ms))),
    ("GFLOP/s", |row| Some(format!("{:.0}", row.gflops?))),
    ("% peak", |row| Some(format!("{:.0}", 100.0 * row.of_peak?))),
    ("peer ms", |row| Some(time(row.peer_ms?))),
    ("ratio", |row| Some(format!("{:.2}", row.ratio?))),
    ("ours CPU ms", |row| Some(time(row.ours_cpu_ms?))),
    ("peer CPU ms", |row| Some(time(row.peer_cpu_ms?))),
    ("allocator", |row| row.peer_allocator.clone()),
    ("ours MB", |row| Some(format!("{:.0}", row.ours_rss_mb?))),
    ("peer MB", |row| Some(format!("{:.0}", row.peer_rss_mb?))),
    ("loss Δ", |row| {
        Some(format!("{:.1e}", row.loss_difference?))
    }),
    ("ours–f64", |row| {
        Some(format!("{:.1e}", row.ours_from_f64?))
    }),
    ("peer–f64", |row| {
        Some(format!("{:.1e}", row.peer_from_f64?))
    }),
];

/// The rows in columns; those that say nothing of any row are left out.
fn table(rows: &[Row]) -> String {
    let mut columns = vec![column("", rows, |row| Some(row.name.clone()))];
    for (head, cell) in COLUMNS {
        if rows.iter().any(|row| cell(row).is_some()) {
            columns.push(column(head, rows, cell));
        }
    }
    let mut text = String::new();
    for line in 0..=rows.len() {
        let cells: Vec<String> = columns
            .iter()
            .enumerate()
            .map(|(i, (width, cells))| match i {
                0 => format!("{:<width$}", cells[line]),
                _ => format!("{:>width$}", cells[line]),
            })
            .collect();
        text.push_str(cells.join("  ").trim_end());
        text.push('\n');
    }
    text
}

/// A column's width and cells, its head first.
fn column(head: &str, rows: &[Row], cell: fn(&Row) -> Option<String>) -> (usize, Vec<String>) {
    let mut cells = vec![head.to_owned()];
    cells.extend(rows.iter().map(|row| cell(row).unwrap_or_default()));
    let width = cells.iter().map(|c| c.chars().count()).max();
    (width.unwrap_or(0), cells)
}

/// Three figures or more.
fn time(ms: f64) -> String {
    let decimals = 2usize.saturating_sub(ms.max(1.0).log10() as usize);
    format!("{ms:.decimals$}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report() -> Report {
        let row = |name: &str, pass, ours_ms: f64, peer_ms: Option<f64>| Row {
            name: name.into(),
            pass,
            ours_ms,
            peer_ms,
            ratio: peer_ms.map(|peer| peer / ours_ms),
            ..Row::default()
        };
        let rows = vec![
            row("conv 1→64", "fwd", 2.0, Some(8.0)),
            row("conv 1→64", "fwd+bwd", 100.0, Some(50.0)),
            row("pool", "fwd", 0.5, Some(0.5)),
            row("pool", "dx", 12.34, None),
        ];
        let machine = Machine::here();
        Report::new(machine, rows)
    }

    #[test]
    fn the_summary_counts_rows_with_a_peer() {
        let report = report();
        let json = serde_json::to_value(&report).expect("JSON");
        assert!((report.geomean.expect("ratios") - 2f64.powf(1.0 / 3.0)).abs() < 1e-12);
        assert_eq!(json["worst"], 0.5);
        assert_eq!(json["passes"][0]["pass"], "fwd");
        assert_eq!(json["passes"][0]["geomean"], 2.0);
        assert_eq!(json["passes"][0]["worst_name"], "pool");
        assert_eq!(json["passes"].as_array().map(Vec::len), Some(2));
        assert!(json["rows"][3].get("peer_ms").is_none());
    }

    #[test]
    fn columns_without_a_word_are_left_out() {
        let text = report().text();
        let head = text.lines().nth(2).unwrap_or_default();
        let words: Vec<&str> = head.split("  ").filter(|w| !w.is_empty()).collect();
        assert_eq!(
            words.iter().map(|w| w.trim()).collect::<Vec<_>>(),
            ["pass", "ours ms", "peer ms", "ratio"]
        );
        assert!(
            text.contains("conv 1→64      fwd     2.00     8.00   4.00\n"),
            "{text}"
        );
    }

    #[test]
    fn times_have_three_figures() {
        let said = [0.5, 2.0, 12.34, 123.4, 5_678.0].map(time);
        assert_eq!(said, ["0.50", "2.00", "12.3", "123", "5678"]);
    }
}
