//! `crossmod view`: volumes in a browser.

use std::path::PathBuf;
use std::process::{Command, Stdio};

use crossmod_report::page::{CaseShown, Page, Run};
use crossmod_report::volumes::{CaseVolumes, Place, packed_image, packed_labels};
use crossmod_volume::dataset::stem_and_ending;
use crossmod_volume::io;
use serde_json::{Map, Value, json};

use crate::context::{Context, Outcome};
use crate::error::Usage;
use crate::output;
use crate::serve::{File, Files, Loopback};

/// Shows volumes, with labels over them, in the browser: a server on this machine alone gives them,
/// under an address that nobody can guess. Ctrl-C ends it.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
    crossmod view scan.nii.gz\n  \
    crossmod view scan.nii.gz --labels truth.nii.gz --labels prediction.nii.gz\n  \
    crossmod view a.nrrd b.mha --no-open")]
pub(crate) struct Args {
    /// Images, each a case of its own
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// A label map to lay over the images; may be repeated
    #[arg(long, value_name = "FILE")]
    labels: Vec<PathBuf>,
    /// The port to listen on [default: a free one]
    #[arg(long, value_name = "N", default_value_t = 0, hide_default_value = true)]
    port: u16,
    /// Do not open a browser
    #[arg(long)]
    no_open: bool,
}

pub(crate) fn run(args: &Args, context: &Context) -> anyhow::Result<Outcome> {
    let (page, files) = gather(args)?;
    let server = Loopback::listen(args.port)?;
    let mut all = Files::from([(
        String::new(),
        File {
            media: "text/html; charset=utf-8",
            bytes: page.html()?.into_bytes(),
        },
    )]);
    all.extend(files);
    let url = server.url();
    context.result(&json!({ "url": url }), || format!("{url}\n"))?;
    if !args.no_open && !opened(&url) {
        context.note("no browser could be started; open the address yourself");
    }
    if !context.quiet {
        output::stderr("Ctrl-C ends the viewer");
    }
    server.serve(&all)?;
    Ok(Outcome::Done)
}

/// Asks the desktop to open an address; gives whether it could be asked.
fn opened(url: &str) -> bool {
    let (program, first) = if cfg!(target_os = "macos") {
        ("open", None)
    } else if cfg!(windows) {
        ("rundll32", Some("url.dll,FileProtocolHandler"))
    } else {
        ("xdg-open", None)
    };
    let mut command = Command::new(program);
    let quiet = command.args(first).arg(url);
    quiet
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .is_ok()
}

/// The page, and the volumes that it asks for.
fn gather(args: &Args) -> anyhow::Result<(Page, Files)> {
    let mut files = Files::new();
    let mut serve = |name: String, bytes: Vec<u8>| {
        files.insert(
            name.clone(),
            File {
                media: "application/gzip",
                bytes,
            },
        );
        Place::Served(name)
    };
    let mut overlays = Vec::new();
    let mut values = Map::new();
    for (i, path) in args.labels.iter().enumerate() {
        let labels = io::read_labels(path)?;
        for value in labels.counts().into_keys().filter(|&v| v != 0) {
            values.insert(
                value.to_string(),
                json!({ "name": format!("label {value}") }),
            );
        }
        let place = serve(format!("labels-{i}.nii.gz"), packed_labels(&labels)?);
        overlays.push((stem(path)?, place));
    }
    let mut cases = Vec::new();
    for (i, path) in args.files.iter().enumerate() {
        let image = io::read_image(path)?;
        let place = serve(format!("image-{i}.nii.gz"), packed_image(&image)?);
        let name = stem(path)?;
        cases.push(CaseShown {
            // Files of one name in different folders are different cases.
            case: if cases.iter().any(|case: &CaseShown| case.case == name) {
                format!("{name} ({})", i + 1)
            } else {
                name
            },
            picture: None,
            volumes: Some(CaseVolumes {
                image: place,
                overlays: overlays.clone(),
            }),
        });
    }
    let page = Page {
        title: "crossmod view".into(),
        // The labels of a run that has measured nothing.
        runs: vec![Run {
            name: String::new(),
            curves: Vec::new(),
            evaluation: (!values.is_empty()).then(|| json!({ "labels": Value::Object(values) })),
        }],
        cases,
        ..Page::default()
    };
    Ok((page, files))
}

fn stem(path: &std::path::Path) -> anyhow::Result<String> {
    let name = stem_and_ending(path).map(|(stem, _)| stem.to_owned());
    let name = name.or_else(|| Some(path.file_name()?.to_string_lossy().into_owned()));
    name.ok_or_else(|| Usage::error(format!("expected a file: {}", path.display())))
}
