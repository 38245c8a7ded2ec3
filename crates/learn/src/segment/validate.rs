//! Whole validation cases: segmented, measured, and what helps them chosen as post-processing.

use std::collections::BTreeMap;
use std::fs;

use crossmod_measure::{CaseOverlap, Evaluation, Overlap, overlap};
use crossmod_volume::dataset::{Case, stem_and_ending};
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

/// The file of a run that says how its segmentations are post-processed.
pub(crate) const POSTPROCESSING: &str = "postprocessing.toml";

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

/// Segments the cases to `validation/` of the run, chooses its post-processing there, applies it and
/// measures.
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
        let ending = stem_and_ending(truth).map_or(".nii.gz", |(_, ending)| ending);
        let path = folder.join(format!("{}{ending}", case.id));
        io::write_labels(&path, &outcome.labels)?;
        predictions.push(path);
        truths.push(truth.clone());
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
    let rules = Postprocessing::choose(&plan.classes, plan.ignore, predictions.len(), pair)?;
    run.write_toml(POSTPROCESSING, &rules)?;
    let mut measured = Vec::with_capacity(predictions.len());
    for ((path, truth), name) in predictions.iter().zip(&truths).zip(names) {
        let mut labels = io::read_labels(path)?;
        rules.apply(&mut labels)?;
        io::write_labels(path, &labels)?;
        measured.push(CaseOverlap {
            case: name.clone(),
            labels: overlaps(plan, &labels, &io::read_labels(truth)?)
                .map_err(|e| Error::data(e.to_string(), truth))?,
        });
    }
    let classes = plan.classes.iter().map(|c| (c.value, c.name.clone()));
    let found = Evaluation::new(Evaluation::pool(measured), &classes.collect());
    Ok(Validation(found))
}

/// The overlap of each class, regions with all their values; what is to be ignored does not count.
fn overlaps(
    plan: &SegmentationPlan,
    prediction: &Labels,
    truth: &Labels,
) -> crossmod_measure::Result<BTreeMap<u16, Overlap>> {
    let mut found = BTreeMap::new();
    for class in plan.classes.iter().filter(|class| class.value != 0) {
        let only = |labels: &Labels| {
            let mask = labels.data().iter().zip(truth.data());
            let own = mask.map(|(value, truth)| {
                let counts = class.members().contains(value) && plan.ignore != Some(*truth);
                if counts { class.value } else { 0 }
            });
            Labels::new(labels.grid().clone(), own.collect())
        };
        let pair: [Labels; 2] = [only(prediction)?, only(truth)?];
        let occurs = pair
            .iter()
            .any(|labels| labels.data().contains(&class.value));
        if occurs {
            found.extend(overlap(&pair[0], &pair[1], &[class.value])?);
        }
    }
    Ok(found)
}
