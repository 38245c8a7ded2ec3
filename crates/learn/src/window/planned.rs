//! Segmentation of whole volumes by a plan's nets.
//!
//! A case's channels are read, [prepared](crate::segment::prepare), shown to the nets window by
//! window ([`sliding`](super::sliding)), and the probabilities become labels slab by slab on the
//! grid of the files, so that neither ever exists for all classes and the whole volume at once.
//! Where the probabilities themselves are asked for, they go to a scratch file beside the result
//! and from there, class by class, onto the grid of the files.
//!
//! Nets of one plan are averaged window by window; those of several plans, where `mixed` brings them
//! to one grid.

use std::fs;
use std::path::{Path, PathBuf};

use crossmod_volume::io::{self, Dtype, Storage};
use crossmod_volume::space::{Certainty, Decision};
use crossmod_volume::{Image, Labels};

use super::files::{CaseJob, case_jobs};
use super::sliding::{OnWindows, PatchNet, Scratch, Sliding, WindowConfig};
use crate::segment::plan::{Class, SegmentationPlan};
use crate::segment::postprocess::Postprocessing;
use crate::segment::prepare::read_channels;
use crate::{Error, Progress, Result};

mod mixed;

/// Plans and their trained nets, ready for cases.
pub struct PlannedPredictor {
    /// Of the same channels and classes; at least one.
    parts: Vec<Part>,
    postprocessing: Postprocessing,
    scratch: PathBuf,
}

/// A plan, its nets, and how they are shown a case.
struct Part {
    plan: SegmentationPlan,
    nets: Vec<Box<dyn PatchNet>>,
    windows: WindowConfig,
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
        let part = Part {
            plan,
            nets,
            windows,
        };
        Self {
            parts: vec![part],
            postprocessing,
            scratch: std::env::temp_dir(),
        }
    }

    /// Segments with the mean of these nets, of another plan, as well.
    ///
    /// # Errors
    /// [`Error::Recipe`] where they are for other channels or give other classes.
    pub fn with(
        mut self,
        plan: SegmentationPlan,
        nets: Vec<Box<dyn PatchNet>>,
        windows: WindowConfig,
    ) -> Result<Self> {
        if let Some(message) = self.plan().cannot_join(&plan) {
            return Err(Error::Recipe(message));
        }
        self.parts.push(Part {
            plan,
            nets,
            windows,
        });
        Ok(self)
    }

    /// Keeps the probabilities of plans that turn volumes otherwise than the first in this folder
    /// while a case is decided, 2 bytes a class and voxel; the system's temporary one if not told.
    #[must_use]
    pub fn scratch_in(mut self, folder: &Path) -> Self {
        self.scratch = folder.to_owned();
        self
    }

    /// The plan, or the first of several.
    #[must_use]
    pub fn plan(&self) -> &SegmentationPlan {
        &self.parts[0].plan
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
        let outputs = self.outputs();
        let decided = if let [only] = &*self.parts {
            decide(
                only,
                outputs,
                channels,
                certainty,
                probabilities,
                on_windows,
            )?
        } else {
            let (prepared, decided, mean) = mixed::decide(
                (&self.parts, outputs),
                channels,
                certainty,
                (probabilities, &self.scratch),
                on_windows,
            )?;
            if let (Some(mut mean), Some(folder)) = (mean, probabilities) {
                write_probabilities(outputs, folder, |output, outside| {
                    prepared.restore_cut(mean.read(output)?, outside)
                })?;
            }
            decided
        };
        let Decision {
            mut labels,
            certainty,
        } = decided;
        self.postprocessing.apply(&mut labels)?;
        Ok(Outcome { labels, certainty })
    }

    /// The classes that the nets have outputs for: where they are regions, all but background.
    fn outputs(&self) -> &[Class] {
        let plan = self.plan();
        if plan.has_regions() {
            &plan.classes[1..]
        } else {
            &plan.classes
        }
    }
}

/// A case decided by the nets of one plan.
fn decide(
    part: &Part,
    outputs: &[Class],
    channels: &[PathBuf],
    certainty: Certainty,
    probabilities: Option<&Path>,
    on_windows: &mut OnWindows<'_>,
) -> Result<Decision> {
    let case = channels.first().cloned().unwrap_or_default();
    let images = read_channels(channels)?;
    let mut prepared = part.plan.prepare(images).map_err(|e| named(e, &case))?;
    let shown = std::mem::take(&mut prepared.channels);
    let mut scratch = match probabilities {
        Some(folder) => {
            make_folder(folder)?;
            let [nx, ny, nz] = prepared.grid().shape();
            Some(Scratch::new(folder, nz, nx * ny)?)
        }
        None => None,
    };
    let mut sliding = Sliding::new(
        &part.plan,
        &part.windows,
        (&case, &shown),
        (outputs.len(), &part.nets),
        on_windows,
    )?;
    if let Some(scratch) = &mut scratch {
        sliding = sliding.keep(scratch);
    }
    // Moved there, so that its slices are gone before labels are turned back.
    let decided = prepared.decide(&part.plan, certainty, move |output, slices, out| {
        sliding.read(output, slices, out)
    })?;
    drop(shown);
    if let (Some(scratch), Some(folder)) = (&mut scratch, probabilities) {
        write_probabilities(outputs, folder, |output, outside| {
            prepared.restore(scratch.read(output)?, outside)
        })?;
    }
    Ok(decided)
}

/// Writes the probabilities of each output; `restore` gives them on the grid of the files, given
/// what they are outside of what nets have seen.
fn write_probabilities(
    outputs: &[Class],
    folder: &Path,
    mut restore: impl FnMut(usize, f32) -> Result<Image>,
) -> Result<()> {
    let storage = Storage {
        dtype: Dtype::U16,
        slope: 1.0 / 65535.0,
        ..Storage::default()
    };
    for (output, class) in outputs.iter().enumerate() {
        let image = restore(output, outside(class))?;
        let mut name = file_name(&class.name);
        let same = |other: &Class| file_name(&other.name) == name;
        if outputs.iter().filter(|other| same(other)).count() > 1 {
            name = format!("{name}_{}", class.value);
        }
        io::write_image(&folder.join(format!("{name}.nii.gz")), &image, &storage)?;
    }
    Ok(())
}

/// A class's probability where no net has looked: all there is background.
fn outside(class: &Class) -> f32 {
    if class.value == 0 { 1.0 } else { 0.0 }
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
    let jobs = case_jobs(input, output, predictor.plan().channels.len())?;
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
