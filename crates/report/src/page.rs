//! One self-contained page on one or several runs.
//!
//! Tables are in the page as text; charts, the list of cases and the viewer are drawn by the scripts
//! in it from the JSON in it. Nothing is fetched, so the page can be sent to someone and opened
//! without a network. It follows the reader's light or dark setting and prints. The viewer is NiiVue
//! (BSD-2-Clause, `vendor/niivue`).

use std::path::Path;

use crossmod_volume::io::write_atomic;
use minijinja::{Environment, context, value::Value as Content};
use serde::Serialize;
use serde_json::{Value, json};

use crate::evaluated::{self, Evaluated};
use crate::tile::colour;
use crate::volumes::{CaseVolumes, Place};
use crate::{Result, base64};

const TEMPLATE: &str = include_str!("page/page.html");
const CSS: &str = include_str!("page/page.css");
const CHARTS: &str = include_str!("page/charts.js");
const CASES: &str = include_str!("page/cases.js");
const VIEWER: &str = include_str!("page/viewer.js");
/// NiiVue as one script, compressed by gzip.
const NIIVUE: &[u8] = include_bytes!("../vendor/niivue/niivue.umd.js.gz");
/// Points of a curve that a page holds at most; of longer ones it has means.
const MOST_POINTS: usize = 4000;

/// What a page shows; what is empty is left out.
#[derive(Debug, Clone, Default)]
pub struct Page {
    /// Heading.
    pub title: String,
    /// A sentence or two on what was done; plain text.
    pub summary: String,
    /// What a reader should look at before anything else.
    pub findings: Vec<Finding>,
    /// The runs, in the order of their colours.
    pub runs: Vec<Run>,
    /// Tests between runs.
    pub comparisons: Vec<Comparison>,
    /// What was watched of translators.
    pub guards: Vec<Guard>,
    /// Names of label values where the runs' evaluations have none.
    pub label_names: Vec<(u16, String)>,
    /// Cases that can be looked at; others are in the table alone.
    pub cases: Vec<CaseShown>,
    /// Sheets.
    pub pictures: Vec<Picture>,
    /// How it was made: groups of names and values.
    pub facts: Vec<Facts>,
    /// Files that say how it was made: titles and texts, folded away.
    pub texts: Vec<(String, String)>,
    /// Command lines that repeat it.
    pub commands: Vec<String>,
    /// Seconds after which a browser loads the page again, while a run trains.
    pub refresh: Option<u32>,
}

/// One run.
#[derive(Debug, Clone, Default)]
pub struct Run {
    /// Its name.
    pub name: String,
    /// Losses and the like, over steps.
    pub curves: Vec<Curve>,
    /// What `crossmod evaluate` said of it, as in its JSON.
    pub evaluation: Option<Value>,
}

/// A quantity over training.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Curve {
    /// Its name.
    pub name: String,
    /// Step and value.
    pub points: Vec<[f64; 2]>,
}

/// Something to look at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// `error`, `warning` or `note`.
    pub severity: String,
    /// What was found; plain text.
    pub text: String,
    /// A command line that repairs it.
    pub repair: Option<String>,
    /// What it is about, as a PNG's bytes.
    pub picture: Option<Vec<u8>>,
}

/// Two runs compared on the same cases.
#[derive(Debug, Clone, PartialEq)]
pub struct Comparison {
    /// What was compared, such as `Dice, liver`.
    pub what: String,
    /// The runs.
    pub runs: [String; 2],
    /// Cases that both have.
    pub cases: usize,
    /// Median of the differences, second run less first.
    pub difference: Option<f64>,
    /// Two-sided p of the test that `what` or the page's summary names.
    pub p: Option<f64>,
}

/// What a guard of translators says.
#[derive(Debug, Clone, PartialEq)]
pub struct Guard {
    /// The run, with its stage where it has several.
    pub run: String,
    /// The figure's name in the log.
    pub figure: String,
    /// What it is.
    pub meaning: String,
    /// What it should be.
    pub wanted: String,
    /// At the last look.
    pub last: f32,
    /// Where weights are chosen by consistency: at the look that is most consistent.
    pub at_best: Option<f32>,
    /// Whether the last is bad.
    pub bad: bool,
}

/// A case that can be looked at.
#[derive(Debug, Clone, Default)]
pub struct CaseShown {
    /// Its name, as in the runs' evaluations.
    pub case: String,
    /// Its slices as a PNG's bytes.
    pub picture: Option<Vec<u8>>,
    /// Its volumes, for the viewer.
    pub volumes: Option<CaseVolumes>,
}

/// A picture.
#[derive(Debug, Clone)]
pub struct Picture {
    /// Heading.
    pub title: String,
    /// A sentence below it; plain text.
    pub text: String,
    /// A PNG's bytes.
    pub png: Vec<u8>,
}

/// Names and values.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Facts {
    /// What they are about; may be empty.
    pub name: String,
    /// The names and values.
    pub facts: Vec<(String, String)>,
}

impl Page {
    /// The page as HTML.
    ///
    /// # Errors
    /// [`Error::Page`](crate::Error::Page) where the page cannot be put together.
    pub fn html(&self) -> Result<String> {
        let mut environment = Environment::new();
        // The ending turns on HTML escaping.
        environment.add_template("page.html", TEMPLATE)?;
        let evaluated = Evaluated::of(&self.runs, &self.label_names);
        let mut volumes = Vec::new();
        let cases = self.case_list(&evaluated, &mut volumes);
        let viewer = self.cases.iter().any(|case| case.volumes.is_some());
        let niivue = viewer.then(|| base64::encode(NIIVUE));
        let pictures = self.pictures.iter().map(|picture| {
            context! {
                title => picture.title.as_str(),
                text => picture.text.as_str(),
                png => base64::encode(&picture.png),
            }
        });
        let shown = |table: evaluated::Table| {
            context! { caption => table.caption, head => table.head, rows => table.rows }
        };
        let tables: Vec<Content> = evaluated
            .tables()
            .into_iter()
            .chain(evaluated::comparison_table(&self.comparisons))
            .map(shown)
            .collect();
        let findings = self.findings.iter().map(|finding| {
            context! {
                severity => finding.severity.as_str(),
                text => finding.text.as_str(),
                repair => finding.repair.clone(),
                picture => finding.picture.as_deref().map(base64::encode),
            }
        });
        let texts = self
            .texts
            .iter()
            .map(|(title, text)| context! { title => title.as_str(), text => text.as_str() });
        let facts = self.facts.iter().map(|group| {
            context! { name => group.name.as_str(), facts => group.facts.clone() }
        });
        Ok(environment.get_template("page.html")?.render(context! {
            title => self.title.as_str(),
            summary => self.summary.as_str(),
            refresh => self.refresh,
            findings => findings.collect::<Vec<_>>(),
            tables,
            cases => !cases.is_empty(),
            agreement => evaluated.has_volumes(),
            guards => evaluated::guard_table(&self.guards).map(shown),
            curves => self.runs.iter().any(|run| !run.curves.is_empty()),
            pictures => pictures.collect::<Vec<_>>(),
            facts => facts.collect::<Vec<_>>(),
            texts => texts.collect::<Vec<_>>(),
            commands => self.commands.clone(),
            data => self.data(&evaluated, &cases),
            volumes,
            viewer,
            niivue,
            css => CSS,
            charts => CHARTS,
            cases_js => CASES,
            viewer_js => VIEWER,
        })?)
    }

    /// Writes the page, and what it has beside it.
    ///
    /// # Errors
    /// As [`Page::html`], and [`Error::Volume`](crate::Error::Volume) where a file cannot be written.
    pub fn write(&self, path: &Path) -> Result<()> {
        let page = self.html()?;
        for volumes in self.cases.iter().filter_map(|case| case.volumes.as_ref()) {
            volumes.write_beside(path)?;
        }
        Ok(write_atomic(path, |file| file.write_all(page.as_bytes()))?)
    }

    /// Every case that is measured or shown, as the scripts want it; the volumes that are to be in the
    /// page go to `inside`.
    fn case_list(&self, evaluated: &Evaluated, inside: &mut Vec<Content>) -> Vec<Value> {
        let mut names = evaluated.cases();
        let shown = self.cases.iter().map(|case| case.case.clone());
        names.extend(
            shown
                .filter(|name| !names.contains(name))
                .collect::<Vec<_>>(),
        );
        let mut where_is = |place: &Place| match place {
            Place::Inside(gzip) => {
                let id = format!("volume-{}", inside.len());
                inside.push(context! { id => id.as_str(), base64 => base64::encode(gzip) });
                json!({ "id": id })
            }
            Place::Beside { script, .. } => json!({ "script": script }),
            Place::Served(url) => json!({ "url": url }),
        };
        let mut list = Vec::new();
        for name in names {
            let shown = self.cases.iter().find(|case| case.case == name);
            let picture = shown.and_then(|case| case.picture.as_deref());
            let volumes = shown.and_then(|case| case.volumes.as_ref());
            let volumes = volumes.map(|volumes| {
                let image = where_is(&volumes.image);
                let overlays = volumes.overlays.iter();
                let overlays: Vec<Value> = overlays
                    .map(|(name, place)| json!({ "name": name, "where": where_is(place) }))
                    .collect();
                json!({ "image": image, "overlays": overlays })
            });
            list.push(json!({
                "case": name,
                "picture": picture.map(base64::encode),
                "volumes": volumes,
            }));
        }
        list
    }

    /// The JSON that the scripts read, safe inside a `script` element.
    fn data(&self, evaluated: &Evaluated, cases: &[Value]) -> String {
        let runs: Vec<Value> = self
            .runs
            .iter()
            .map(|run| {
                let curves: Vec<Curve> = run.curves.iter().map(Curve::thinned).collect();
                let cases = run.evaluation.as_ref().and_then(|e| e.get("cases"));
                json!({
                    "name": run.name,
                    "curves": curves,
                    "cases": cases.cloned().unwrap_or_else(|| json!([])),
                })
            })
            .collect();
        let labels: Vec<Value> = evaluated
            .labels
            .iter()
            .map(|(value, name)| {
                let colour = colour(*value);
                json!({ "value": value.to_string(), "name": name, "colour": colour })
            })
            .collect();
        let metrics: Vec<Value> = evaluated
            .metrics
            .iter()
            .map(|key| json!({ "key": key, "name": evaluated::metric_name(key) }))
            .collect();
        let data = json!({
            "runs": runs, "labels": labels, "metrics": metrics, "cases": cases,
        });
        data.to_string().replace('<', "\\u003c")
    }
}

impl Curve {
    /// The curve with at most [`MOST_POINTS`] points, each the mean of its neighbours.
    fn thinned(&self) -> Self {
        let together = self.points.len().div_ceil(MOST_POINTS).max(1);
        let mean = |points: &[[f64; 2]]| {
            let sum = points
                .iter()
                .fold([0.0; 2], |s, p| [s[0] + p[0], s[1] + p[1]]);
            sum.map(|v| v / points.len() as f64)
        };
        Self {
            name: self.name.clone(),
            points: self.points.chunks(together).map(mean).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page() -> Page {
        let evaluation = |dice: f64| {
            json!({
                "cases": [{"case": "p<1>", "labels": {"1": {
                    "dice": dice, "volume_prediction_ml": 9.0, "volume_truth_ml": 10.0,
                }}}],
                "labels": {"1": {"name": "liver", "dice": {"mean": dice, "sd": null, "n": 1}}},
                "mean": {"dice": dice},
            })
        };
        let run = |name: &str, dice| Run {
            name: name.into(),
            curves: vec![Curve {
                name: "loss".into(),
                points: (0..10_000).map(|i| [f64::from(i), 1.0]).collect(),
            }],
            evaluation: Some(evaluation(dice)),
        };
        Page {
            title: "CT to MR <demo>".into(),
            summary: "Two arms & a picture".into(),
            runs: vec![
                run("source-only", 0.3124),
                run("<script>alert(1)</script>", 0.8765),
            ],
            pictures: vec![Picture {
                title: "Slices".into(),
                text: String::new(),
                png: b"foobar".to_vec(),
            }],
            findings: vec![Finding {
                severity: "warning".into(),
                text: "one case lacks a label".into(),
                repair: Some("crossmod convert a b".into()),
                picture: Some(b"foobaz".to_vec()),
            }],
            facts: vec![Facts {
                name: "run".into(),
                facts: vec![("seed".into(), "42".into())],
            }],
            commands: vec!["crossmod demo".into()],
            ..Page::default()
        }
    }

    #[test]
    fn the_page_holds_the_numbers_the_picture_and_the_facts() {
        let page = page().html().expect("a page");
        for text in [
            "0.312",
            "0.876",
            "liver",
            "data:image/png;base64,Zm9vYmFy",
            "data:image/png;base64,Zm9vYmF6",
            "seed",
            "42",
            "crossmod convert a b",
            "id=\"agreement\"",
            "id=\"curves\"",
        ] {
            assert!(page.contains(text), "{text} is missing");
        }
        for fetched in [
            "src=\"http",
            "href=",
            "https:",
            "http-equiv",
            "@import",
            "url(http",
        ] {
            assert!(!page.contains(fetched), "{fetched} is there");
        }
        assert!(!page.contains("id=\"viewer\""));
    }

    #[test]
    fn names_are_escaped_in_text_and_in_the_json() {
        let page = page().html().expect("a page");
        assert!(
            page.contains("CT to MR &lt;demo&gt;") && page.contains("Two arms &amp; a picture")
        );
        assert!(!page.contains("<script>alert") && page.contains("\\u003cscript>alert(1)"));
        assert!(page.contains("p\\u003c1>"));
    }

    #[test]
    fn long_curves_are_thinned_to_their_means() {
        let curve = Curve {
            name: "loss".into(),
            points: (0..9001)
                .map(|i| [f64::from(i), f64::from(i % 3)])
                .collect(),
        };
        let thin = curve.thinned();
        assert_eq!(thin.points.len(), 3001);
        assert_eq!(thin.points[1], [4.0, 1.0]);
        assert_eq!(thin.points[3000], [9000.0, 0.0]);
    }

    #[test]
    fn the_viewer_and_its_volumes_are_in_the_page_or_beside_it() {
        let mut page = page();
        let volumes = |image, labels| CaseVolumes {
            image,
            overlays: vec![("truth".into(), labels)],
        };
        page.cases = vec![
            CaseShown {
                case: "p<1>".into(),
                picture: None,
                volumes: Some(volumes(Place::Inside(vec![1]), Place::Inside(vec![2]))),
            },
            CaseShown {
                case: "p2".into(),
                picture: None,
                volumes: Some(volumes(
                    Place::beside("p2-image", &[3]),
                    Place::beside("p2-truth", &[4]),
                )),
            },
        ];
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("report.html");
        page.write(&path).expect("a page");
        let html = std::fs::read_to_string(&path).expect("the page");
        assert_eq!(html, page.html().expect("a page"));
        for text in ["id=\"volume-0\">AQ==<", "id=\"niivue\">H4s", "p2-truth.js"] {
            assert!(html.contains(text), "{text} is missing");
        }
        let beside = folder.path().join("volumes/p2-truth.js");
        let script = std::fs::read_to_string(beside).expect("the volume");
        assert!(script.contains("\"volumes/p2-truth.js\"") && script.contains("\"BA==\""));
    }
}
