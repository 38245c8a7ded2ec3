//! `crossmod report`: one page on what runs did.

mod cases;
mod gather;
mod logs;
mod translations;

use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use anyhow::Context as _;
use crossmod_learn::Progress as _;
use crossmod_report::case::Keep;
use crossmod_report::page::Page;
use serde_json::json;

use crate::context::{Context, Outcome};
use crate::error::Usage;
use crate::progress::Bar;
use gather::Gathered;
use logs::Events;

/// Cases that can be looked at, unless it is said how many.
const CASES: usize = 12;
/// Cases of each modality that are translated for the page, unless it is said how many.
const TRANSLATED: usize = 4;
/// How often `--watch` looks at the log.
const LOOK: Duration = Duration::from_secs(5);

/// Writes one page on a run, or on several side by side: numbers with box plots and tests, every case
/// with its slices, a viewer, the curves of training, and how it was made. It needs no network and
/// can be sent to someone.
///
/// A run of `segment` is shown with its validation. For other cases, name the predictions of each run
/// and what they are to be measured against.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
    crossmod report runs/liver\n  \
    crossmod report runs/source-only runs/synseg --predictions out/source-only \
    --predictions out/synseg --truth data/labelsTs --images data/imagesTs\n  \
    crossmod report runs/liver --watch --tensorboard events")]
pub(crate) struct Args {
    /// The runs' folders
    #[arg(required = true, value_name = "RUN")]
    runs: Vec<PathBuf>,
    /// What a run predicted, in the order of the runs
    #[arg(long, value_name = "FOLDER")]
    predictions: Vec<PathBuf>,
    /// The true label maps of these cases
    #[arg(long, value_name = "FOLDER", requires = "predictions")]
    truth: Option<PathBuf>,
    /// The images of these cases
    #[arg(long, value_name = "FOLDER", requires = "predictions")]
    images: Option<PathBuf>,
    /// The page [default: report.html in the first run's folder]
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// How many cases can be looked at: three in four the worst, the others the best
    #[arg(long, value_name = "N", default_value_t = CASES)]
    cases: usize,
    /// Of a run with translators, how many cases of each modality are translated to be looked at
    #[arg(long, value_name = "N", default_value_t = TRANSLATED)]
    translations: usize,
    /// Put volumes into a folder beside the page rather than into it
    #[arg(long)]
    beside: bool,
    /// Leave out the viewer and its volumes
    #[arg(long, conflicts_with = "beside")]
    no_viewer: bool,
    /// Write the page again while the run trains, until Ctrl-C
    #[arg(long)]
    watch: bool,
    /// Write the curves of training as TensorBoard's event files, too, each run into a folder in this
    /// one; with --watch they grow as the run trains
    #[arg(long, value_name = "FOLDER")]
    tensorboard: Option<PathBuf>,
}

pub(crate) fn run(args: &Args, context: &Context) -> anyhow::Result<Outcome> {
    if !args.predictions.is_empty() && args.predictions.len() != args.runs.len() {
        return Err(Usage::error(format!(
            "expected --predictions for each of the {} runs, found {}",
            args.runs.len(),
            args.predictions.len()
        )));
    }
    let out = match (&args.out, args.runs.first()) {
        (Some(out), _) => out.clone(),
        (None, Some(run)) => run.join("report.html"),
        (None, None) => return Err(Usage::error("expected a run")),
    };
    let sources = Sources {
        runs: &args.runs,
        predictions: &args.predictions,
        truth: args.truth.as_deref(),
        images: args.images.as_deref(),
        cases: args.cases,
        keep: match (args.no_viewer, args.beside) {
            (true, _) => Keep::Nowhere,
            (false, true) => Keep::Beside,
            (false, false) => Keep::Inside,
        },
    };
    if let Some(folder) = out.parent() {
        std::fs::create_dir_all(folder)
            .with_context(|| format!("could not make the folder: {}", folder.display()))?;
    }
    let mut progress = context.progress()?;
    let (mut events, mut findings) = (Vec::new(), None);
    let (mut weights, mut pictures) = (Vec::new(), Vec::new());
    let logs = args.runs.iter().flat_map(|run| logs::places(run));
    let logs: Vec<PathBuf> = logs.map(|(_, log)| log).collect();
    loop {
        let seen = changed(&logs);
        let gathered = sources.gathered(&mut progress)?;
        if let Some(folder) = &args.tensorboard {
            write_events(&gathered, folder, &mut events)?;
        }
        let mut page = sources.page(&gathered, &mut progress)?;
        // The data stay as they are while a run trains.
        let found = || gather::findings(&gathered);
        page.findings.clone_from(findings.get_or_insert_with(found));
        let saved = modified(&logs, |log| log.with_file_name("weights"));
        if args.translations > 0 && saved != weights {
            weights = saved;
            let (most, processor) = (args.translations, context.processor()?);
            pictures = translations::sheets(&gathered, most, &processor, &mut progress)?;
        }
        page.pictures.clone_from(&pictures);
        page.refresh = args.watch.then_some(LOOK.as_secs() as u32 * 2);
        page.write(&out)?;
        if !args.watch {
            break;
        }
        progress.stage(&format!("{} is up to date; Ctrl-C ends", out.display()));
        while changed(&logs) == seen {
            std::thread::sleep(LOOK);
            if progress.cancelled() {
                return Ok(Outcome::Done);
            }
        }
    }
    drop(progress);
    let megabytes = out.metadata().map_or(0.0, |m| m.len() as f64 / 1e6);
    context.result(&json!({ "report": out, "megabytes": megabytes }), || {
        format!("{} ({megabytes:.1} MB)\n", out.display())
    })?;
    Ok(Outcome::Done)
}

/// When logs, and the results beside them, were written last.
fn changed(logs: &[PathBuf]) -> [Vec<Option<SystemTime>>; 2] {
    [
        modified(logs, Path::to_owned),
        modified(logs, |log| log.with_file_name("metrics.json")),
    ]
}

/// When what lies beside each log was written last.
fn modified(logs: &[PathBuf], beside: fn(&Path) -> PathBuf) -> Vec<Option<SystemTime>> {
    let time = |path: PathBuf| path.metadata().and_then(|m| m.modified()).ok();
    logs.iter().map(|log| time(beside(log))).collect()
}

/// Adds what is new in the logs of runs to TensorBoard's event files in `folder`.
fn write_events(runs: &[Gathered], folder: &Path, events: &mut Vec<Events>) -> anyhow::Result<()> {
    for run in runs {
        for log in &run.logs {
            match events.iter_mut().find(|events| events.are_of(log)) {
                Some(events) => events.update(log)?,
                None => {
                    let mut place = folder.join(&run.name);
                    place.extend(&log.stage);
                    events.push(Events::of(log, &place)?);
                }
            }
        }
    }
    Ok(())
}

/// What a page is made of.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sources<'a> {
    /// The runs' folders.
    pub(super) runs: &'a [PathBuf],
    /// What each run predicted; none: what it holds itself.
    pub(super) predictions: &'a [PathBuf],
    /// The truth of these cases.
    pub(super) truth: Option<&'a Path>,
    /// Their images.
    pub(super) images: Option<&'a Path>,
    /// How many cases can be looked at.
    pub(super) cases: usize,
    /// Where their volumes go.
    pub(super) keep: Keep,
}

impl Sources<'_> {
    /// Reads the runs and measures predictions where there is a truth.
    pub(super) fn gathered(&self, progress: &mut Bar) -> anyhow::Result<Vec<Gathered>> {
        progress.stage("reading runs");
        let runs = self.runs.iter().zip(distinct(self.runs)).enumerate();
        runs.map(|(i, (run, name))| {
            let predictions = self.predictions.get(i).map(PathBuf::as_path);
            Gathered::of(run, name, predictions, self.truth)
        })
        .collect()
    }

    /// A page on them, with the cases drawn; without findings about the data.
    pub(super) fn page(&self, gathered: &[Gathered], progress: &mut Bar) -> anyhow::Result<Page> {
        let mut page = gather::page(gathered);
        if self.cases > 0 {
            progress.stage("drawing cases");
            let files = cases::Files::of(gathered, self.images, self.truth)?;
            let chosen = files.chosen(&page.runs, self.cases);
            for (i, case) in chosen.iter().enumerate() {
                progress.update(i as f64 / chosen.len() as f64, case);
                let shown = files.shown(case, &page.label_names, self.keep)?;
                page.cases.push(shown);
            }
        }
        Ok(page)
    }
}

/// The folders' names, with those of the folders that they lie in where several have one name.
fn distinct(folders: &[PathBuf]) -> Vec<String> {
    let names: Vec<String> = folders.iter().map(|folder| name_of(folder)).collect();
    let folders = folders.iter().zip(&names);
    let whole = folders.map(|(folder, name)| {
        let several = names.iter().filter(|other| *other == name).count() > 1;
        match folder.canonicalize().as_deref().ok().and_then(Path::parent) {
            Some(parent) if several => format!("{}/{name}", name_of(parent)),
            _ => name.clone(),
        }
    });
    whole.collect()
}

/// A folder's name, for people.
fn name_of(folder: &Path) -> String {
    let whole = folder.canonicalize();
    let path = whole.as_deref().unwrap_or(folder);
    path.file_name().map_or_else(
        || folder.display().to_string(),
        |n| n.to_string_lossy().into_owned(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_of_one_name_are_told_apart() {
        let folder = tempfile::tempdir().expect("a folder");
        let run = |name: &str| {
            let run = folder.path().join(name);
            std::fs::create_dir_all(&run).expect("a folder");
            run
        };
        let runs = [run("a/teacher"), run("b/teacher"), run("b/student")];
        assert_eq!(distinct(&runs), ["a/teacher", "b/teacher", "student"]);
    }
}
