//! What every verb knows of how it was called, and how verbs end.

use std::process::ExitCode;

use crossmod_learn::device::{Kind, Processor};

use crate::error::FAILED;
use crate::output;
use crate::progress::Bar;

/// How the program was called.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Context {
    /// Where nets are to run.
    pub(crate) device: Kind,
    /// Results as one JSON object.
    pub(crate) json: bool,
    /// More detail.
    pub(crate) verbose: bool,
    /// No progress, no notes.
    pub(crate) quiet: bool,
    /// Progress in lines, without a bar.
    pub(crate) plain: bool,
}

/// How a verb ended, short of an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// Done.
    Done,
    /// Done, and something was found that needs repair.
    Findings,
}

impl From<Outcome> for ExitCode {
    fn from(outcome: Outcome) -> Self {
        match outcome {
            Outcome::Done => Self::SUCCESS,
            Outcome::Findings => Self::from(FAILED),
        }
    }
}

impl Context {
    /// The device nets run on; which one, if not the CPU, is noted.
    pub(crate) fn processor(&self) -> anyhow::Result<Processor> {
        let processor = Processor::find(self.device)?;
        if let Some(name) = processor.driver_name() {
            self.note(&format!("nets run on {name}"));
        }
        Ok(processor)
    }

    /// Progress on stderr; from here on Ctrl-C asks the work to stop instead of ending it.
    pub(crate) fn progress(&self) -> anyhow::Result<Bar> {
        Bar::new(self.quiet, self.plain)
    }

    /// Says something on stderr that is no result.
    pub(crate) fn note(&self, message: &str) {
        if !self.quiet {
            output::stderr(&format!("note: {message}"));
        }
    }

    /// Prints a result: `value` with `--json`, else `text`.
    pub(crate) fn result<T: serde::Serialize>(
        &self,
        value: &T,
        text: impl FnOnce() -> String,
    ) -> anyhow::Result<()> {
        if self.json {
            output::json(value)
        } else {
            output::text(&text())
        }
    }
}
