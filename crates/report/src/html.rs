//! One self-contained page for a comparison of runs.
//!
//! The numbers are those of `metrics.json`: `{"arms": {NAME: {"mean": {METRIC: number},
//! "labels": {VALUE: {"name": …, METRIC: number or {"mean": number}}}}}}`. Text is escaped, the
//! picture is inlined, nothing is fetched; the page follows the reader's light or dark setting.

use std::path::Path;

use crossmod_volume::io::write_atomic;
use minijinja::{Environment, context, value::Value as Content};
use serde_json::{Map, Value};

use crate::{Result, base64};

const TEMPLATE: &str = include_str!("report.html");

/// What a page shows.
#[derive(Debug, Clone, Default)]
pub struct ReportInput {
    /// Heading.
    pub title: String,
    /// A sentence or two on what was compared; plain text.
    pub summary: String,
    /// The content of `metrics.json`.
    pub metrics: Value,
    /// Names of label values where `metrics` has none.
    pub label_names: Vec<(u16, String)>,
    /// A [sheet](crate::sheet::Sheet) as PNG bytes.
    pub sheet_png: Option<Vec<u8>>,
    /// What the run was: names and values, shown below the numbers.
    pub facts: Vec<(String, String)>,
}

/// Writes the page.
///
/// # Errors
/// [`Error::Volume`](crate::Error::Volume) where the file cannot be written.
pub fn write_comparison(path: &Path, input: &ReportInput) -> Result<()> {
    let page = page(input)?;
    Ok(write_atomic(path, |file| file.write_all(page.as_bytes()))?)
}

fn page(input: &ReportInput) -> Result<String> {
    let mut environment = Environment::new();
    // The ending turns on HTML escaping.
    environment.add_template("report.html", TEMPLATE)?;
    let arms = arms(&input.metrics);
    let tables = [mean_table(&arms), label_table(&arms, &input.label_names)];
    Ok(environment.get_template("report.html")?.render(context! {
        title => input.title.as_str(),
        summary => input.summary.as_str(),
        tables => tables.into_iter().flatten().collect::<Vec<_>>(),
        bars => bars(&arms),
        sheet => input.sheet_png.as_deref().map(base64::encode),
        facts => input.facts.clone(),
    })?)
}

/// The arms in the order of the file.
fn arms(metrics: &Value) -> Vec<(&str, &Value)> {
    let arms = metrics.get("arms").and_then(Value::as_object);
    arms.into_iter()
        .flatten()
        .map(|(name, arm)| (name.as_str(), arm))
        .collect()
}

/// A number, or the mean of a summary.
fn number(value: Option<&Value>) -> Option<f64> {
    value.and_then(|v| v.as_f64().or_else(|| v.get("mean").and_then(Value::as_f64)))
}

fn shown(value: Option<f64>) -> String {
    value.map_or_else(|| "–".to_owned(), |v| format!("{v:.3}"))
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

fn table(caption: &str, head: Vec<String>, rows: Vec<Vec<String>>) -> Option<Content> {
    let filled = head.len() > 1 && !rows.is_empty();
    filled.then(|| context! { caption, head, rows })
}

/// One row per arm, one column per metric.
fn mean_table(arms: &[(&str, &Value)]) -> Option<Content> {
    let mean = |arm: &'_ Value, metric: &str| number(arm.get("mean").and_then(|m| m.get(metric)));
    let metrics = keys(
        arms.iter()
            .filter_map(|(_, arm)| arm.get("mean").and_then(Value::as_object)),
    );
    let head = line("arm", metrics.iter().map(|m| (*m).to_owned()));
    let rows = arms
        .iter()
        .map(|(name, arm)| line(name, metrics.iter().map(|m| shown(mean(arm, m)))))
        .collect();
    table("Mean over labels and cases", head, rows)
}

/// One row per arm, one column per label: Dice.
fn label_table(arms: &[(&str, &Value)], names: &[(u16, String)]) -> Option<Content> {
    let of = |arm: &'_ Value| arm.get("labels").and_then(Value::as_object).cloned();
    let objects: Vec<Map<String, Value>> = arms.iter().filter_map(|(_, arm)| of(arm)).collect();
    let labels = keys(objects.iter());
    let given = |label: &str| {
        let named = objects
            .iter()
            .find_map(|o| o.get(label)?.get("name")?.as_str());
        let known = names.iter().find(|(value, _)| value.to_string() == label);
        named
            .or(known.map(|(_, name)| name.as_str()))
            .unwrap_or(label)
            .to_owned()
    };
    let dice = |arm: &Value, label: &str| {
        number(arm.get("labels").and_then(|l| l.get(label)?.get("dice")))
    };
    let head = line("arm", labels.iter().map(|label| given(label)));
    let rows = arms
        .iter()
        .map(|(name, arm)| line(name, labels.iter().map(|label| shown(dice(arm, label)))))
        .collect();
    table("Dice by label", head, rows)
}

fn line(first: &str, rest: impl Iterator<Item = String>) -> Vec<String> {
    std::iter::once(first.to_owned()).chain(rest).collect()
}

/// Mean Dice of each arm that has one, with the length of its bar in per cent.
fn bars(arms: &[(&str, &Value)]) -> Vec<Content> {
    let dice = |arm: &Value| number(arm.get("mean").and_then(|m| m.get("dice")));
    arms.iter()
        .filter_map(|(name, arm)| Some((name, dice(arm)?)))
        .map(|(name, dice)| {
            let width = format!("{:.1}", 100.0 * dice.clamp(0.0, 1.0));
            context! { name => *name, dice => shown(Some(dice)), width }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn input() -> ReportInput {
        ReportInput {
            title: "CT to MR <demo>".into(),
            summary: "Three arms & a picture".into(),
            metrics: json!({"arms": {
                "source-only": {
                    "mean": {"dice": 0.3124, "assd_mm": 12.5},
                    "labels": {"1": {"dice": 0.41}, "2": {"dice": {"mean": 0.2149, "sd": 0.1}}},
                },
                "<script>alert(1)</script>": {"mean": {"dice": 0.8765}},
            }}),
            label_names: vec![(1, "liver".into()), (2, "spleen".into())],
            sheet_png: Some(b"foobar".to_vec()),
            facts: vec![("seconds".into(), "42".into())],
        }
    }

    #[test]
    fn the_page_holds_the_numbers_the_picture_and_the_facts() {
        let page = page(&input()).expect("a page");
        for text in [
            "0.312",
            "12.500",
            "0.410",
            "0.215",
            "0.876",
            "liver",
            "spleen",
            "assd_mm",
            "data:image/png;base64,Zm9vYmFy",
            "seconds",
            "42",
            "width: 31.2%",
        ] {
            assert!(page.contains(text), "{text} is missing");
        }
    }

    #[test]
    fn names_are_escaped() {
        let page = page(&input()).expect("a page");
        assert!(!page.contains("<script>") && page.contains("&lt;script&gt;"));
        assert!(page.contains("CT to MR &lt;demo&gt;") && page.contains("arms &amp; a picture"));
    }

    #[test]
    fn missing_numbers_show_as_dashes_and_missing_parts_not_at_all() {
        let mut input = input();
        assert!(page(&input).expect("a page").contains("<td>–</td>"));
        input.metrics = json!({"cases": []});
        input.sheet_png = None;
        let page = page(&input).expect("a page");
        assert!(!page.contains("<table") && !page.contains("<img"));
    }

    #[test]
    fn the_file_is_the_page() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("report.html");
        write_comparison(&path, &input()).expect("a page");
        let written = std::fs::read_to_string(&path).expect("the page");
        assert_eq!(written, page(&input()).expect("a page"));
        assert!(write_comparison(&folder.path().join("no/report.html"), &input()).is_err());
    }
}
