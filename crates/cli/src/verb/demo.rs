//! `crossmod demo`: the whole way on a phantom study, from nothing to a report.
//!
//! Three arms are trained on the same study: `source-only` (what happens without adaptation),
//! `synseg` (adapted) and `target-supervised` (what target labels would bring). All are measured
//! on the same unseen target patients.

mod folder;
mod pictures;

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crossmod_learn::device::Processor;
use crossmod_learn::fit::{Budget, Summary, write_json};
use crossmod_learn::recipe::{self, Recipe, Request};
use crossmod_learn::{Error, Progress, window};
use crossmod_measure::{Evaluation, Metric, Settings, evaluate_folders};
use crossmod_report::case::Keep;
use crossmod_report::page::{Page, Picture};
use crossmod_synth::phantom::{LABELS, Study, StudyConfig, write_study};
use crossmod_volume::io::write_atomic;
use serde_json::{Map, Value, json};

use super::report::Sources;
use super::train::positive;
use crate::context::{Context, Outcome};
use crate::progress::{Bar, duration};

/// One training of the demo.
struct Arm {
    /// The built-in recipe, and the arm's name.
    recipe: &'static str,
    /// Share of the demo's minutes.
    share: f64,
    /// Changes to the recipe, after [`COMMON`].
    set: &'static [&'static str],
}

/// The arms in the order they are shown. The adapted one trains all the time; beside it, on the
/// other half of the cores, the two yardsticks train one after the other. Nets this small are
/// quicker so than one after another on all cores.
const ARMS: [Arm; 3] = [
    Arm {
        recipe: "source-only",
        share: 0.5,
        set: &[],
    },
    Arm {
        recipe: ADAPTED,
        share: 1.0,
        set: &[],
    },
    Arm {
        recipe: "target-supervised",
        share: 0.5,
        set: &[],
    },
];

/// The arm that translates.
const ADAPTED: &str = "synseg";

/// Changes to every arm's recipe: nets small enough to learn in minutes on two cores. At this size
/// the number of steps decides, so the translators are as small as still tell tissues apart.
const COMMON: [&str; 14] = [
    "batch=1",
    "segmentor.kind=unet",
    "segmentor.unet.width=8",
    "segmentor.unet.max_width=64",
    "segmentor.unet.levels=4",
    "generator.width=8",
    "generator.blocks=1",
    "discriminator.width=16",
    "optimizer.learning_rate=2e-3",
    "loss.segmentation=cross-entropy-dice",
    "loss.lambda_cycle=3",
    "augment.rotation_deg=10",
    "augment.scale=1.1",
    "plan.max_patch=64",
];

/// Makes a study of phantoms, CT with labels and MR without; trains a segmentor on the CT alone,
/// one adapted to the MR, and one on the MR's own labels; measures all three on unseen MR; and
/// shows it.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
    crossmod demo\n  \
    crossmod demo --minutes 1 --out look\n  \
    crossmod demo --seed 2 --steps 500 --out repeatable")]
pub(crate) struct Args {
    /// The folder to make
    #[arg(long, value_name = "FOLDER", default_value = "demo")]
    out: PathBuf,
    /// Seed of the patients and the trainings
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
    /// Minutes of training
    #[arg(long, value_name = "M", default_value_t = 4.75, value_parser = positive,
          allow_negative_numbers = true)]
    minutes: f64,
    /// End each training after this many steps instead: the same seed then gives the same numbers
    #[arg(long, value_name = "N", conflicts_with = "minutes",
          value_parser = clap::value_parser!(u64).range(1..))]
    steps: Option<u64>,
    /// Replace an earlier demo in the folder
    #[arg(long)]
    force: bool,
}

/// An arm trained and measured.
struct Trained {
    name: &'static str,
    summary: Summary,
    evaluation: Evaluation,
}

pub(crate) fn run(args: &Args, context: &Context) -> anyhow::Result<Outcome> {
    let began = Instant::now();
    let minutes = args.steps.is_none().then_some(args.minutes);
    let asked = json!({"seed": args.seed, "minutes": minutes, "steps": args.steps});
    let processor = context.processor()?;
    folder::make(&args.out, args.force, &asked)?;
    let mut progress = context.progress()?;
    progress.stage("making the study");
    let config = StudyConfig {
        seed: args.seed,
        ..StudyConfig::default()
    };
    let study = write_study(&args.out.join("study"), &config)?;
    let arms = train_all(args, &study, &processor, &mut progress, context.verbose)
        .map_err(|failure| interrupted(failure, &args.out))?;
    progress.stage("drawing");
    let metrics = metrics(&arms, began.elapsed());
    let sheet = pictures::sheet(&study, &args.out)?;
    show(args, &study, &metrics, sheet, &mut progress)?;
    drop(progress);
    context.result(&metrics, || table(&arms, &args.out, began.elapsed()))?;
    Ok(Outcome::Done)
}

/// Trains the adapted arm and, beside it, the yardsticks; gives them in the order of [`ARMS`].
fn train_all(
    args: &Args,
    study: &Study,
    processor: &Processor,
    progress: &mut Bar,
    notes: bool,
) -> anyhow::Result<Vec<Trained>> {
    let failed = AtomicBool::new(false);
    let mut beside = progress.beside();
    let lane = |adapted: bool, bar: &mut Bar, threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(threads)
            .build()?;
        let arms = ARMS.iter().filter(|arm| (arm.recipe == ADAPTED) == adapted);
        let trained: anyhow::Result<Vec<Trained>> = pool.install(|| {
            arms.map(|arm| {
                let name = arm.recipe;
                let (inner, failed) = (&mut *bar, &failed);
                arm.train(
                    args,
                    study,
                    processor,
                    Named {
                        name,
                        inner,
                        notes,
                        failed,
                    },
                )
            })
            .collect()
        });
        if trained.is_err() {
            failed.store(true, Ordering::Relaxed);
        }
        trained
    };
    let threads = rayon::current_num_threads();
    let (adapted, yardsticks) = std::thread::scope(|scope| {
        let yardsticks = scope.spawn(|| lane(false, &mut beside, threads.div_ceil(2)));
        let adapted = lane(true, progress, threads.div_ceil(2));
        let yardsticks = yardsticks.join();
        (
            adapted,
            yardsticks.unwrap_or_else(|panic| std::panic::resume_unwind(panic)),
        )
    });
    // Where both failed, the adapted arm's reason comes first unless it only stopped for the other.
    let mut arms = match (adapted, yardsticks) {
        (Err(stopped), Err(reason)) if is_interruption(&stopped) => return Err(reason),
        (adapted, yardsticks) => {
            let mut arms = adapted?;
            arms.extend(yardsticks?);
            arms
        }
    };
    arms.sort_by_key(|trained| ARMS.iter().position(|arm| arm.recipe == trained.name));
    Ok(arms)
}

impl Arm {
    fn train(
        &self,
        args: &Args,
        study: &Study,
        processor: &Processor,
        mut progress: Named,
    ) -> anyhow::Result<Trained> {
        let run = args.out.join("runs").join(self.recipe);
        let recipe = self.resolve(args.seed)?;
        let target = if recipe.kind == recipe::Kind::TargetSupervised {
            study.mr_labelled.clone()
        } else {
            study.mr.clone()
        };
        let request = Request {
            recipe,
            source: Some(study.ct.clone()),
            target: Some(target),
            out: run.clone(),
            budget: Some(match args.steps {
                Some(steps) => Budget::Steps(steps),
                None => Budget::Minutes(args.minutes * self.share),
            }),
            processor: processor.clone(),
        };
        let summary = recipe::start(&request, &mut progress)?;
        let predictions = predictions(&args.out, self.recipe);
        window::predict(
            std::slice::from_ref(&run),
            &study.mr.join("imagesTs"),
            &predictions,
            None,
            processor,
            &mut progress,
        )?;
        if self.recipe == ADAPTED {
            let (from, to) = (study.ct.join("imagesTr"), translated(&args.out));
            window::translate(
                &run,
                &from,
                &to,
                window::Direction::SourceToTarget,
                processor,
                &mut progress,
            )?;
        }
        let truth = study.mr.join("labelsTs");
        let evaluation = evaluate_folders(&predictions, &truth, None, &Settings::default())?;
        Ok(Trained {
            name: self.recipe,
            summary,
            evaluation,
        })
    }

    fn resolve(&self, seed: u64) -> crossmod_learn::Result<Recipe> {
        let overrides = COMMON.iter().chain(self.set).map(|&text| text.to_owned());
        let overrides: Vec<String> = overrides.chain([format!("seed={seed}")]).collect();
        Recipe::load(self.recipe, &overrides)
    }
}

fn predictions(out: &Path, arm: &str) -> PathBuf {
    out.join("predictions").join(arm)
}

fn translated(out: &Path) -> PathBuf {
    out.join("translated")
}

/// What the demo came to, as `metrics.json` has it.
fn metrics(arms: &[Trained], time: Duration) -> Value {
    let arms: Map<String, Value> = arms
        .iter()
        .map(|arm| {
            let Value::Object(mut found) = arm.evaluation.to_json() else {
                return (arm.name.to_owned(), Value::Null);
            };
            found.insert("steps".into(), json!(arm.summary.steps));
            found.insert("training_seconds".into(), json!(arm.summary.seconds));
            (arm.name.to_owned(), Value::Object(found))
        })
        .collect();
    json!({ "arms": arms, "seconds": time.as_secs_f64() })
}

/// Writes `metrics.json`, `sheet.png` and `report.html`.
fn show(
    args: &Args,
    study: &Study,
    metrics: &Value,
    sheet: Vec<u8>,
    progress: &mut Bar,
) -> anyhow::Result<()> {
    write_json(&args.out.join("metrics.json"), metrics)?;
    write_atomic(&args.out.join("sheet.png"), |file| file.write_all(&sheet))?;
    let sources = Sources {
        runs: &ARMS.map(|arm| args.out.join("runs").join(arm.recipe)),
        predictions: &ARMS.map(|arm| predictions(&args.out, arm.recipe)),
        truth: Some(&study.mr.join("labelsTs")),
        images: Some(&study.mr.join("imagesTs")),
        cases: usize::MAX,
        keep: Keep::Inside,
    };
    let gathered = sources.gathered(progress)?;
    let page = Page {
        title: "crossmod demo".into(),
        summary: "Phantoms in two modalities: CT with labels, MR without. A segmentor trained on \
                  the CT alone, one adapted to the MR by SynSeg-Net, and one trained on the MR's \
                  own labels, measured on MR of unseen patients."
            .into(),
        pictures: vec![Picture {
            title: "From the source's labels to the target's".into(),
            text: "Source and target are different patients.".into(),
            png: sheet,
        }],
        commands: vec![format!("crossmod demo --seed {}", args.seed)],
        ..sources.page(&gathered, progress)?
    };
    Ok(page.write(&args.out.join("report.html"))?)
}

/// The labelled organs.
fn organs() -> impl Iterator<Item = (u16, &'static str)> {
    LABELS.into_iter().filter(|&(value, _)| value != 0)
}

/// Mean Dice of each organ and arm.
fn table(arms: &[Trained], out: &Path, time: Duration) -> String {
    let number = |v: Option<f64>| v.map_or("–".into(), |v| format!("{v:.3}"));
    let row = |name: &str, cells: Vec<String>| {
        let cells = arms.iter().zip(cells);
        let cells: String = cells
            .map(|(arm, c)| format!("  {c:>width$}", width = arm.name.len()))
            .collect();
        format!("{name:<14}{cells}\n")
    };
    let mut text = row("Dice", arms.iter().map(|arm| arm.name.to_owned()).collect());
    let labels: Vec<_> = arms.iter().map(|arm| arm.evaluation.labels()).collect();
    for (value, name) in organs() {
        let of = labels
            .iter()
            .map(|l| number(l.get(&value).and_then(|s| s.get(Metric::Dice).mean)));
        text.push_str(&row(&name.replace('_', " "), of.collect()));
    }
    let means = arms
        .iter()
        .map(|arm| number(arm.evaluation.mean(Metric::Dice)))
        .collect();
    text.push_str(&row("mean", means));
    text.push_str(&format!(
        "\n{} in {}: report.html, sheet.png\n",
        out.display(),
        duration(time)
    ));
    text
}

/// The progress of one arm, its stages named for it.
struct Named<'a> {
    name: &'static str,
    inner: &'a mut Bar,
    /// Whether to pass notes on: the plans of all arms are nearly the same.
    notes: bool,
    /// Set when the other lane has failed: there is nothing left to train for.
    failed: &'a AtomicBool,
}

impl Progress for Named<'_> {
    fn stage(&mut self, name: &str) {
        self.inner.stage(&format!("{}: {name}", self.name));
    }

    fn update(&mut self, fraction: f64, message: &str) {
        self.inner.update(fraction, message);
    }

    fn note(&mut self, message: &str) {
        if self.notes {
            self.inner.note(message);
        }
    }

    fn cancelled(&self) -> bool {
        self.inner.cancelled() || self.failed.load(Ordering::Relaxed)
    }
}

/// An interruption, said for the demo: it starts again rather than resuming.
fn interrupted(failure: anyhow::Error, out: &Path) -> anyhow::Error {
    if !is_interruption(&failure) {
        return failure;
    }
    anyhow::anyhow!(
        "interrupted; start again with `crossmod demo --force --out {}`",
        out.display()
    )
}

fn is_interruption(failure: &anyhow::Error) -> bool {
    matches!(failure.downcast_ref(), Some(Error::Interrupted { .. }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_arm_has_a_valid_recipe_and_both_lanes_take_the_whole_time() {
        for arm in &ARMS {
            let recipe = arm.resolve(7).expect("a valid recipe");
            assert_eq!(recipe.seed, 7);
        }
        let share = |adapted: bool| -> f64 {
            let arms = ARMS.iter().filter(|arm| (arm.recipe == ADAPTED) == adapted);
            arms.map(|arm| arm.share).sum()
        };
        assert_eq!((share(true), share(false)), (1.0, 1.0));
    }
}
