//! `log.jsonl`: one row a step, cut back to the checkpoint on resume.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::{BufWriter, Write as _};
use std::path::{Path, PathBuf};

use crossmod_volume::io::write_atomic;
use serde::{Deserialize, Serialize};

use super::Losses;
use crate::{Error, Result};

/// One step of a training.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Row {
    /// Steps done before this one.
    pub step: u64,
    /// Epoch of the schedule, from 1.
    pub epoch: u32,
    /// Learning rate of the step.
    pub learning_rate: f32,
    /// Seconds of training before the step, interruptions not counted.
    pub seconds: f64,
    /// Losses by name, each before its weight.
    pub losses: BTreeMap<String, f32>,
}

impl Row {
    pub(super) fn new(step: u64, epoch: u32, rate: f32, seconds: f64, losses: &Losses) -> Self {
        let losses = losses
            .iter()
            .map(|&(name, value)| (name.to_owned(), value))
            .collect();
        Self {
            step,
            epoch,
            learning_rate: rate,
            seconds,
            losses,
        }
    }
}

/// The log of a run, open for appending.
#[derive(Debug)]
pub(super) struct Log {
    out: BufWriter<File>,
    path: PathBuf,
}

impl Log {
    /// Opens the log, keeping only the rows before `step`.
    pub(super) fn open(path: &Path, step: u64) -> Result<Self> {
        let kept = if step > 0 && path.exists() {
            read(path)?
        } else {
            Vec::new()
        };
        write_atomic(path, |out| {
            for row in kept.iter().filter(|row| row.step < step) {
                serde_json::to_writer(&mut *out, row)?;
                out.write_all(b"\n")?;
            }
            Ok(())
        })?;
        let file = OpenOptions::new()
            .append(true)
            .open(path)
            .map_err(|e| Error::io("open the log", e, path))?;
        Ok(Self {
            out: BufWriter::new(file),
            path: path.to_owned(),
        })
    }

    pub(super) fn push(&mut self, row: &Row) -> Result<()> {
        let written = serde_json::to_writer(&mut self.out, row).map_err(std::io::Error::from);
        written
            .and_then(|()| self.out.write_all(b"\n"))
            .map_err(|e| Error::io("write the log", e, &self.path))
    }

    pub(super) fn flush(&mut self) -> Result<()> {
        self.out
            .flush()
            .map_err(|e| Error::io("write the log", e, &self.path))
    }
}

/// Every complete row of a log; a half-written last line, as a kill leaves it, is dropped.
///
/// # Errors
/// Where the file cannot be read.
pub fn read(path: &Path) -> Result<Vec<Row>> {
    let text = std::fs::read_to_string(path).map_err(|e| Error::io("read the log", e, path))?;
    Ok(text
        .lines()
        .map_while(|line| serde_json::from_str(line).ok())
        .collect())
}
