//! Whole validation cases: segmented, measured, and what helps them chosen as post-processing.

use std::collections::BTreeMap;
use std::fs;

use crossmod_measure::{CaseMeasures, Evaluation, Overlap, Settings, overlap_of};
use crossmod_volume::dataset::{Case, result_ending, stem_and_ending};
use crossmod_volume::space::Certainty;
use crossmod_volume::{Labels, io};
use serde::{Serialize, Serializer};

use super::SegmentationPlan;
use super::net::SegmentNet;
use super::postprocess::Postprocessing;
use super::start::of_run;
use crate::device::Processor;
use crate::fit::RunFolder;
use crate::window::PlannedPredictor;
use crate::{Error, Progress, Result};

/// How well the validation cases were segmented, post-processed.
#[derive(Debug, Clone)]
pub struct Validation(Evaluation);

impl Serialize for Validation {
    /// As `crossmod evaluate --json`.
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        self.0.to_json().serialize(serializer)
    }
}

impl Validation {
    /// The lines of a table: one a class.
    #[must_use]
    pub fn lines(&self) -> Vec<String> {
        self.0.table().lines().map(str::to_owned).collect()
    }
}

/// Segments the cases to `validation/` of the run, chooses its post-processing there unless the recipe
/// states it, applies it and measures.
///
/// # Errors
/// What reading, segmenting and writing give; [`Error::Interrupted`] where the caller cancels:
/// resumed, it begins here again.
pub(super) fn run(
    run: &RunFolder,
    cases: &[Case],
    processor: &Processor,
    progress: &mut dyn Progress,
) -> Result<Validation> {
    let (recipe, plan) = of_run(run)?;
    let net = SegmentNet::load(run, &recipe, &plan, processor)?;
    let predictor = PlannedPredictor::new(
        plan,
        vec![Box::new(net)],
        recipe.window,
        Postprocessing::default(),
    );
    let plan = predictor.plan();
    let folder = run.file("validation");
    fs::create_dir_all(&folder).map_err(|e| Error::io("make the folder", e, &folder))?;
    progress.stage("validating");
    let mut truths = Vec::with_capacity(cases.len());
    let mut predictions = Vec::with_capacity(cases.len());
    let mut names = Vec::with_capacity(cases.len());
    let mut drawn = Vec::with_capacity(cases.len());
    for (i, case) in cases.iter().enumerate() {
        let Some(truth) = &case.label else { continue };
        let mut on_windows = |done: usize, all: usize| {
            if progress.cancelled() {
                return Err(Error::Interrupted { step: i as u64 });
            }
            let share = (i as f64 + done as f64 / all as f64) / cases.len() as f64;
            progress.update(share, &case.id);
            Ok(())
        };
        let outcome = predictor.segment(&case.images, Certainty::None, None, &mut on_windows)?;
        let ending = stem_and_ending(truth).map_or(".nii.gz", |(_, ending)| result_ending(ending));
        let path = folder.join(format!("{}{ending}", case.id));
        io::write_labels(&path, &outcome.labels)?;
        predictions.push(path);
        truths.push(truth.clone());
        drawn.push(plan.annotated(case));
        // Slices are measured as the volume of their patient.
        names.push(if ending == ".png" {
            &case.subject
        } else {
            &case.id
        });
    }
    let pair = |i: usize| {
        Ok([
            io::read_labels(&predictions[i])?,
            io::read_labels(&truths[i])?,
        ])
    };
    let rules = if recipe.postprocess.is_none() {
        Postprocessing::choose(&plan.classes, plan.ignore, &drawn, pair)?
    } else {
        recipe.postprocess.rules(&plan.classes)?
    };
    rules.save(run)?;
    let mut measured = Vec::with_capacity(predictions.len());
    for (i, (path, truth)) in predictions.iter().zip(&truths).enumerate() {
        let mut labels = io::read_labels(path)?;
        rules.apply(&mut labels)?;
        io::write_labels(path, &labels)?;
        let found = overlaps(plan, drawn[i].as_deref(), &labels, &io::read_labels(truth)?)
            .map_err(|e| Error::data(e.to_string(), truth))?;
        measured.push(CaseMeasures {
            case: names[i].clone(),
            labels: found.into_iter().map(|(v, of)| (v, of.into())).collect(),
        });
    }
    let classes = plan.classes.iter().map(|c| (c.value, c.name.clone()));
    let cases = Evaluation::pool(measured);
    let found = Evaluation::new(cases, &classes.collect(), Settings::default());
    Ok(Validation(found))
}

/// The overlap of each class that was drawn in the case, regions with all their values; what is to
/// be ignored does not count.
fn overlaps(
    plan: &SegmentationPlan,
    drawn: Option<&[bool]>,
    prediction: &Labels,
    truth: &Labels,
) -> crossmod_measure::Result<BTreeMap<u16, Overlap>> {
    let classes = plan.classes.iter().enumerate();
    let judged = classes
        .filter(|(i, class)| class.value != 0 && drawn.is_none_or(|drawn| drawn[*i]))
        .map(|(_, class)| (class.value, class.members()));
    overlap_of(prediction, truth, &judged.collect::<Vec<_>>(), plan.ignore)
}

#[cfg(test)]
mod tests {
    use super::super::plan::Class;
    use super::*;
    use crate::segment::plan::Dims;
    use crate::window::sliding::tests::plan;
    use crossmod_volume::Grid;

    #[test]
    fn regions_are_unions_and_what_was_not_judged_does_not_count() {
        let mut plan = plan(Dims::Three, [8, 8, 8], &[]);
        let mut whole = Class::new(1, "whole");
        whole.values = vec![1, 2];
        plan.classes = vec![Class::new(0, "background"), whole, Class::new(2, "core")];
        plan.ignore = Some(3);
        let row = |data: [u16; 6]| {
            let grid = Grid::with_spacing([6, 1, 1], [1.0; 3]).expect("a grid");
            Labels::new(grid, data.to_vec()).expect("labels")
        };
        let prediction = row([1, 2, 2, 0, 1, 2]);
        let truth = row([2, 2, 1, 1, 3, 3]);
        let found = overlaps(&plan, None, &prediction, &truth).expect("one grid");
        let counts = |value: u16| {
            let overlap = found[&value];
            let negative = overlap.false_negative;
            [overlap.true_positive, overlap.false_positive, negative]
        };
        assert_eq!((counts(1), counts(2)), ([3, 0, 1], [1, 1, 1]));
        let drawn = [true, false, true];
        let partly = overlaps(&plan, Some(&drawn), &prediction, &truth).expect("one grid");
        assert_eq!(partly.keys().copied().collect::<Vec<_>>(), [2]);
        assert_eq!(partly[&2], found[&2]);
    }
}
