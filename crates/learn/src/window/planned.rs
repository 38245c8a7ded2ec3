//! Segmentation of whole volumes by a plan's nets.
//!
//! A case's channels are read, [prepared](crate::segment::prepare), shown to the nets window by
//! window ([`sliding`](super::sliding)), and the probabilities become labels slab by slab on the
//! grid of the files, so that neither ever exists for all classes and the whole volume at once.
//! Where the probabilities themselves are asked for, they go to a scratch file beside the result
//! and from there, class by class, onto the grid of the files.

use std::fs;
use std::path::{Path, PathBuf};

use crossmod_volume::io::{self, Dtype, Storage};
use crossmod_volume::space::{Certainty, Decision};
use crossmod_volume::{Image, Labels};

use super::files::{CaseJob, case_jobs};
use super::sliding::{OnWindows, PatchNet, Scratch, Sliding, WindowConfig};
use crate::segment::plan::SegmentationPlan;
use crate::segment::postprocess::Postprocessing;
use crate::segment::prepare::{Prepared, read_channels};
use crate::{Error, Progress, Result};

/// A plan and its trained nets, ready for cases.
pub struct PlannedPredictor {
    plan: SegmentationPlan,
    nets: Vec<Box<dyn PatchNet>>,
    windows: WindowConfig,
    postprocessing: Postprocessing,
}

/// What to tell besides the labels.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Wanted {
    /// How certain they are.
    pub certainty: Certainty,
    /// Whether the probabilities of every class are written.
    pub probabilities: bool,
}

/// A segmented case, on the grid of its files.
#[derive(Debug, Clone, PartialEq)]
pub struct Outcome {
    /// The labels, post-processed.
    pub labels: Labels,
    /// How certain they were before that, where asked for.
    pub certainty: Option<Image>,
}

impl PlannedPredictor {
    /// The nets, whose probabilities are averaged, must be ones of the plan.
    #[must_use]
    pub fn new(
        plan: SegmentationPlan,
        nets: Vec<Box<dyn PatchNet>>,
        windows: WindowConfig,
        postprocessing: Postprocessing,
    ) -> Self {
        Self {
            plan,
            nets,
            windows,
            postprocessing,
        }
    }

    /// The plan.
    #[must_use]
    pub fn plan(&self) -> &SegmentationPlan {
        &self.plan
    }

    /// Segments a case, given one file per channel. With `probabilities`, writes those of each class
    /// to `NAME.nii.gz` in that folder: `u16` in steps of 1/65535.
    ///
    /// # Errors
    /// What reading, preparing, the nets, `on_windows` and writing give.
    pub fn segment(
        &self,
        channels: &[PathBuf],
        certainty: Certainty,
        probabilities: Option<&Path>,
        on_windows: &mut OnWindows<'_>,
    ) -> Result<Outcome> {
        let case = channels.first().cloned().unwrap_or_default();
        let images = read_channels(channels)?;
        let mut prepared = self.plan.prepare(images).map_err(|e| named(e, &case))?;
        let shown = std::mem::take(&mut prepared.channels);
        let mut scratch = match probabilities {
            Some(folder) => {
                make_folder(folder)?;
                let [nx, ny, nz] = prepared.grid().shape();
                Some(Scratch::new(folder, nz, nx * ny)?)
            }
            None => None,
        };
        let outputs = self.outputs().len();
        let mut sliding = Sliding::new(
            &self.plan,
            &self.windows,
            (&case, &shown),
            (outputs, &self.nets),
            on_windows,
        )?;
        if let Some(scratch) = &mut scratch {
            sliding = sliding.keep(scratch);
        }
        // Moved there, so that its slices are gone before labels are turned back.
        let decided = prepared.decide(&self.plan, certainty, move |output, slices, out| {
            sliding.read(output, slices, out)
        })?;
        drop(shown);
        if let (Some(scratch), Some(folder)) = (&mut scratch, probabilities) {
            self.write_probabilities(&prepared, scratch, folder)?;
        }
        let Decision {
            mut labels,
            certainty,
        } = decided;
        self.postprocessing.apply(&mut labels)?;
        Ok(Outcome { labels, certainty })
    }

    /// The classes that the nets have outputs for: where they are regions, all but background.
    fn outputs(&self) -> &[crate::segment::plan::Class] {
        let all = &self.plan.classes;
        if self.plan.has_regions() {
            &all[1..]
        } else {
            all
        }
    }

    fn write_probabilities(
        &self,
        prepared: &Prepared,
        scratch: &mut Scratch,
        folder: &Path,
    ) -> Result<()> {
        let storage = Storage {
            dtype: Dtype::U16,
            slope: 1.0 / 65535.0,
            ..Storage::default()
        };
        let outputs = self.outputs();
        for (output, class) in outputs.iter().enumerate() {
            let outside = if class.value == 0 { 1.0 } else { 0.0 };
            let image = prepared.restore(scratch.read(output)?, outside)?;
            let mut name = file_name(&class.name);
            let same = |other: &crate::segment::plan::Class| file_name(&other.name) == name;
            if outputs.iter().filter(|other| same(other)).count() > 1 {
                name = format!("{name}_{}", class.value);
            }
            io::write_image(&folder.join(format!("{name}.nii.gz")), &image, &storage)?;
        }
        Ok(())
    }
}

/// Segments a case or every case of a folder; returns how many. `output` is a file for one case,
/// or a folder, in which what is `wanted` goes to `uncertainty/CASE.nii.gz` and
/// `probabilities/CASE/CLASS.nii.gz`.
///
/// # Errors
/// What reading, the nets and writing give; [`Error::Interrupted`] where the caller cancels, the
/// files written so far being whole.
pub fn predict_planned(
    predictor: &PlannedPredictor,
    input: &Path,
    output: &Path,
    wanted: Wanted,
    progress: &mut dyn Progress,
) -> Result<usize> {
    let jobs = case_jobs(input, output, predictor.plan.channels.len())?;
    progress.stage("segmenting");
    for (i, job) in jobs.iter().enumerate() {
        let CaseJob {
            case,
            inputs,
            output,
        } = job;
        let beside = |folder: &str| output.with_file_name(folder);
        let probabilities = wanted
            .probabilities
            .then(|| beside("probabilities").join(case));
        let mut on_windows = |done: usize, all: usize| {
            if progress.cancelled() {
                return Err(Error::Interrupted { step: i as u64 });
            }
            let share = (i as f64 + done as f64 / all as f64) / jobs.len() as f64;
            progress.update(share, case);
            Ok(())
        };
        let outcome = predictor.segment(
            inputs,
            wanted.certainty,
            probabilities.as_deref(),
            &mut on_windows,
        )?;
        if let Some(certainty) = &outcome.certainty {
            let folder = beside("uncertainty");
            make_folder(&folder)?;
            let path = folder.join(format!("{case}.nii.gz"));
            io::write_image(&path, certainty, &Storage::default())?;
        }
        io::write_labels(output, &outcome.labels)?;
    }
    Ok(jobs.len())
}

/// A class's name as a file's: letters, digits, `-`, `_` and `.` stay.
fn file_name(class: &str) -> String {
    let plain = |c: char| c.is_alphanumeric() || matches!(c, '-' | '_' | '.');
    let name: String = class
        .chars()
        .map(|c| if plain(c) { c } else { '_' })
        .collect();
    match name.trim_start_matches('.') {
        "" => "class".to_owned(),
        name => name.to_owned(),
    }
}

/// The error with the case's file, where it names none.
fn named(error: Error, case: &Path) -> Error {
    match error {
        Error::Volume(crossmod_volume::Error::Geometry(message)) => Error::data(message, case),
        error => error,
    }
}

fn make_folder(folder: &Path) -> Result<()> {
    fs::create_dir_all(folder).map_err(|e| Error::io("make the output folder", e, folder))
}

#[cfg(test)]
mod tests;
