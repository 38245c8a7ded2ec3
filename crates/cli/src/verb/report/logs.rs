//! The logs of a run: its own, or one of each stage.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use crossmod_learn::fit::{Row, RunFolder, read_log};
use crossmod_learn::recipe::{AnyRecipe, verdicts};
use crossmod_report::page::{Curve, Guard};
use crossmod_report::tensorboard::EventFile;

/// The log of one training.
pub(super) struct Log {
    /// The stage, where a run has several.
    pub(super) stage: Option<String>,
    pub(super) path: PathBuf,
    pub(super) rows: Vec<Row>,
}

/// Where a run's logs are, or will be.
pub(super) fn places(run: &Path) -> Vec<(Option<String>, PathBuf)> {
    let file = |folder: &Path| folder.join("log.jsonl");
    let recipe = RunFolder::open(run).and_then(|run| AnyRecipe::of_run(&run));
    match recipe {
        Ok(AnyRecipe::Stages(recipe)) => {
            let stages = recipe.order.iter();
            stages
                .map(|stage| (Some(stage.clone()), file(&run.join(stage))))
                .collect()
        }
        _ => vec![(None, file(run))],
    }
}

impl Log {
    /// The logs of a run in the order of its stages; those that have not begun are left out.
    pub(super) fn of(run: &Path) -> anyhow::Result<Vec<Self>> {
        let places = places(run).into_iter().filter(|(_, path)| path.exists());
        places
            .map(|(stage, path)| {
                let rows = read_log(&path)?;
                Ok(Self { stage, path, rows })
            })
            .collect()
    }

    /// A name with that of the stage before it.
    pub(super) fn named(&self, name: &str) -> String {
        match &self.stage {
            Some(stage) => format!("{stage}: {name}"),
            None => name.to_owned(),
        }
    }

    /// Each loss, and the learning rate, over steps.
    pub(super) fn curves(&self) -> Vec<Curve> {
        let names: BTreeSet<&String> = self.rows.iter().flat_map(|r| r.losses.keys()).collect();
        let of = |name: &str, value: &dyn Fn(&Row) -> Option<f32>| Curve {
            name: self.named(name),
            points: self
                .rows
                .iter()
                .filter_map(|row| Some([row.step as f64, f64::from(value(row)?)]))
                .filter(|point| point[1].is_finite())
                .collect(),
        };
        let losses = names
            .into_iter()
            .map(|name| of(name, &|row| row.losses.get(name).copied()));
        let rate = of("learning rate", &|row| Some(row.learning_rate));
        losses
            .chain([rate])
            .filter(|curve| !curve.points.is_empty())
            .collect()
    }

    /// What the guards of its translators say.
    pub(super) fn guards(&self, run: &str) -> Vec<Guard> {
        let found = verdicts(&self.rows).into_iter();
        let guard = |verdict: crossmod_learn::recipe::Verdict| Guard {
            run: self.named_run(run),
            figure: verdict.figure,
            meaning: verdict.meaning.to_owned(),
            wanted: verdict.wanted,
            last: verdict.last,
            at_best: verdict.at_best,
            bad: verdict.bad,
        };
        found.map(guard).collect()
    }

    fn named_run(&self, run: &str) -> String {
        match &self.stage {
            Some(stage) => format!("{run}/{stage}"),
            None => run.to_owned(),
        }
    }
}

/// A log as TensorBoard's events, as far as it has been written.
pub(super) struct Events {
    log: PathBuf,
    file: EventFile,
    began: f64,
    written: usize,
}

impl Events {
    /// Begins a file of events for a log in `folder`, with all that the log holds.
    pub(super) fn of(log: &Log, folder: &Path) -> anyhow::Result<Self> {
        let modified = log.path.metadata().and_then(|m| m.modified()).ok();
        let now = modified.and_then(|time| time.duration_since(UNIX_EPOCH).ok());
        let trained = log.rows.last().map_or(0.0, |row| row.seconds);
        let began = now.map_or(0.0, |now| now.as_secs_f64() - trained);
        let mut events = Self {
            log: log.path.clone(),
            file: EventFile::create(folder, began)?,
            began,
            written: 0,
        };
        events.update(log)?;
        Ok(events)
    }

    /// Whether these are of a log.
    pub(super) fn are_of(&self, log: &Log) -> bool {
        self.log == log.path
    }

    /// Adds the rows that are new.
    pub(super) fn update(&mut self, log: &Log) -> anyhow::Result<()> {
        for row in log.rows.iter().skip(self.written) {
            let losses = row.losses.iter().map(|(name, v)| (name.clone(), *v));
            let rate = ("learning_rate".to_owned(), row.learning_rate);
            let values: Vec<(String, f32)> = losses.chain([rate]).collect();
            self.file
                .push(self.began + row.seconds, row.step, &values)?;
        }
        self.written = self.written.max(log.rows.len());
        Ok(self.file.flush()?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn curves_have_every_loss_and_leave_out_what_is_no_number() {
        let row = |step, value| Row {
            step,
            epoch: 1,
            learning_rate: 0.5,
            seconds: 0.0,
            losses: [("cycle".to_owned(), value)].into(),
        };
        let log = Log {
            stage: Some("translate".into()),
            path: PathBuf::new(),
            rows: vec![row(0, 2.0), row(1, f32::NAN), row(2, 1.0)],
        };
        let found = log.curves();
        assert_eq!(found[0].name, "translate: cycle");
        assert_eq!(found[0].points, [[0.0, 2.0], [2.0, 1.0]]);
        assert_eq!(
            (found[1].name.as_str(), found[1].points.len()),
            ("translate: learning rate", 3)
        );
    }

    #[test]
    fn events_are_added_as_the_log_grows() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("log.jsonl");
        std::fs::write(&path, "").expect("a log");
        let row = |step| Row {
            step,
            epoch: 1,
            learning_rate: 0.5,
            seconds: step as f64,
            losses: [("cycle".to_owned(), 1.0)].into(),
        };
        let mut log = Log {
            stage: None,
            path,
            rows: vec![row(0)],
        };
        let out = folder.path().join("events");
        let size = || -> u64 {
            let files = std::fs::read_dir(&out).expect("the folder");
            files
                .map(|f| f.and_then(|f| f.metadata()).expect("a file").len())
                .sum()
        };
        let mut events = Events::of(&log, &out).expect("events");
        let one = size();
        log.rows.push(row(1));
        events.update(&log).expect("more");
        let two = size();
        events.update(&log).expect("the same");
        assert!(two > one && size() == two, "{one} {two} {}", size());
    }
}
