//! Pseudo-labels: a dataset of unlabelled scans with what trained runs find in them, where they are
//! sure and agree. A segmenter trained on it is the next round of self-training (Lee, ICML workshop
//! 2013; the choice by agreement between copies after Sohn et al., arXiv:2001.07685).
//!
//! A voxel is left unjudged, by the label `ignore`, where the first run's winning class has a low
//! probability, where another opinion differs, or where it belongs to a part of its class other
//! than the largest. A case is left out where opinions agree little on the foreground. Opinions are
//! those of every run, on the image and on copies of it with other contrast. Background is kept
//! wherever it is sure.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use crossmod_volume::dataset::{Dataset, copy_image, result_ending, stem_and_ending};
use crossmod_volume::io::{self, Storage};
use crossmod_volume::shape::{Components, Neighbourhood};
use crossmod_volume::space::Certainty;
use crossmod_volume::{Image, Labels};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::{AnyRecipe, Readable, run_that, wrong};
use crate::batch::only_image;
use crate::device::Processor;
use crate::fit::RunFolder;
use crate::fit::manifest::{Manifest, Used};
use crate::recipe::Task;
use crate::segment::{Changes, predictor_of};
use crate::window::{PlannedPredictor, Predictor};
use crate::{Error, Progress, Result};

/// How pseudo-labels are chosen, resolved.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PseudoRecipe {
    /// `pseudo-label`.
    pub kind: PseudoKind,
    /// Only so that every recipe has one: nothing here is drawn.
    pub seed: u64,
    /// The runs whose opinions are asked for; the first one's labels are taken.
    pub runs: Vec<PathBuf>,
    /// The least probability of a voxel's class.
    pub confidence: f32,
    /// Powers of the intensities, brought to [0, 1], of the copies that are asked about as well.
    pub gamma: Vec<f32>,
    /// The least mean Dice of the foreground between the first opinion and each other one.
    pub agreement: f64,
    /// Whether parts of a class other than the largest are left unjudged.
    pub largest: bool,
}

/// The one kind there is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PseudoKind {
    /// Pseudo-labels.
    #[default]
    PseudoLabel,
}

impl Default for PseudoRecipe {
    /// Chosen.
    fn default() -> Self {
        Self {
            kind: PseudoKind::PseudoLabel,
            seed: 1,
            runs: Vec::new(),
            confidence: 0.8,
            gamma: vec![0.8, 1.25],
            agreement: 0.7,
            largest: true,
        }
    }
}

impl Readable for PseudoRecipe {
    fn template() -> Option<Self> {
        Some(Self::default())
    }

    fn check(self) -> Result<Self> {
        if self.runs.is_empty() {
            return Err(wrong("runs", "at least one trained run", "none"));
        }
        if !(0.0..1.0).contains(&self.confidence) {
            return Err(wrong(
                "confidence",
                "0 or more and below 1",
                self.confidence,
            ));
        }
        if !(0.0..=1.0).contains(&self.agreement) {
            return Err(wrong("agreement", "0 to 1", self.agreement));
        }
        if let Some(odd) = self.gamma.iter().find(|g| !(0.1..=10.0).contains(*g)) {
            return Err(wrong("gamma", "0.1 to 10 each", odd));
        }
        Ok(self)
    }
}

/// What became of the cases.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct PseudoSummary {
    /// Cases that are labelled.
    pub kept: Vec<String>,
    /// Cases that were left out, and the agreement they had.
    pub left_out: BTreeMap<String, f64>,
    /// The share of the kept cases' foreground that is judged.
    pub judged: f64,
}

/// A trained run's segmentor of either kind.
enum Segmenter {
    Own(Box<Predictor>),
    Planned(Box<PlannedPredictor>),
}

impl Segmenter {
    fn load(run: &Path, scratch: &Path, processor: &Processor) -> Result<Self> {
        let run = run_that(Task::Predict, run)?;
        Ok(match AnyRecipe::of_run(&RunFolder::open(&run)?)? {
            AnyRecipe::Segment(_) => {
                let changes = Changes::default();
                let predictor = predictor_of(&[run], changes, processor)?;
                Self::Planned(Box::new(predictor.scratch_in(scratch)))
            }
            _ => Self::Own(Box::new(Predictor::load(&run, None, processor)?)),
        })
    }

    /// The labels that it can give, by value.
    fn classes(&self) -> BTreeMap<u16, String> {
        match self {
            Self::Own(predictor) => predictor.classes(),
            Self::Planned(predictor) => {
                let classes = &predictor.plan().classes;
                classes.iter().map(|c| (c.value, c.name.clone())).collect()
            }
        }
    }

    /// The labels of an image and the probability of each voxel's.
    fn segment(&self, path: &Path) -> Result<(Labels, Image)> {
        match self {
            Self::Own(predictor) => predictor.segment_surely(io::read_image(path)?),
            Self::Planned(predictor) => {
                let channels = [path.to_owned()];
                let surely = Certainty::Winner;
                let outcome = predictor.segment(&channels, surely, None, &mut |_, _| Ok(()))?;
                let grid = outcome.labels.grid().clone();
                let sure = match outcome.certainty {
                    Some(certainty) => certainty,
                    None => Image::new(grid.clone(), vec![1.0; grid.len()])?,
                };
                Ok((outcome.labels, sure))
            }
        }
    }
}

/// Labels the training images of `source` into `out`, which becomes a dataset. After an interruption
/// it begins anew.
pub(super) fn label(
    recipe: &PseudoRecipe,
    source: &Path,
    out: &Path,
    processor: &Processor,
    progress: &mut dyn Progress,
) -> Result<PseudoSummary> {
    progress.stage("labelling");
    let dataset = Dataset::open(source)?;
    let run = if out.join("recipe.toml").exists() {
        RunFolder::open(out)?
    } else {
        let run = RunFolder::create(out)?;
        let used = [Used::of("source", &dataset, &dataset.training)];
        run.write_json("manifest.json", &Manifest::new(recipe, recipe.seed, &used)?)?;
        run.write_toml("recipe.toml", recipe)?;
        run
    };
    let [images, labels, copies] = ["imagesTr", "labelsTr", "cache"].map(|name| run.file(name));
    for folder in [&images, &labels, &copies] {
        fs::create_dir_all(folder).map_err(|e| Error::io("make the folder", e, folder))?;
    }
    let segmenters = recipe
        .runs
        .iter()
        .map(|run| Segmenter::load(run, &copies, processor))
        .collect::<Result<Vec<_>>>()?;
    let Some(classes) = segmenters.first().map(Segmenter::classes) else {
        return Err(wrong("runs", "at least one trained run", "none"));
    };
    let ignore = classes.keys().max().map_or(1, |most| most + 1);
    let mut summary = PseudoSummary {
        kept: Vec::new(),
        left_out: BTreeMap::new(),
        judged: 0.0,
    };
    let (mut foreground, mut ending) = ([0u64; 2], ".nii.gz");
    for (i, case) in dataset.training.iter().enumerate() {
        if progress.cancelled() {
            return Err(Error::Interrupted { step: 0 });
        }
        let path = only_image(case)?;
        let opinions = opinions(recipe, &segmenters, path, &copies)?;
        let Some(((first, sure), others)) = opinions.split_first() else {
            continue;
        };
        let agreements = others.iter().map(|(other, _)| agreement(first, other));
        let least = agreements.fold(1.0, f64::min);
        if least < recipe.agreement {
            progress.note(&format!(
                "{} is left out: opinions agree by {least:.2}",
                case.id
            ));
            summary.left_out.insert(case.id.clone(), least);
        } else {
            let others: Vec<&Labels> = others.iter().map(|(labels, _)| labels).collect();
            let judged = judge(recipe, first, sure, &others, ignore)?;
            for (&before, &after) in first.data().iter().zip(judged.data()) {
                foreground[1] += u64::from(before != 0);
                foreground[0] += u64::from(before != 0 && after != ignore);
            }
            // As the image is stored, so that the dataset is of one format.
            let (stem, found) = stem_and_ending(path).unwrap_or((&case.id, ending));
            ending = result_ending(found);
            copy_image(path, &images.join(format!("{stem}{ending}")))?;
            io::write_labels(&labels.join(format!("{}{ending}", case.id)), &judged)?;
            summary.kept.push(case.id.clone());
        }
        progress.update((i + 1) as f64 / dataset.training.len() as f64, &case.id);
    }
    fs::remove_dir_all(&copies).map_err(|e| Error::io("remove the cache", e, &copies))?;
    if summary.kept.is_empty() {
        let message = "expected cases on which opinions agree, found none; train the runs longer \
                       or lower agreement";
        return Err(Error::data(message, &dataset.root));
    }
    summary.judged = foreground[0] as f64 / foreground[1].max(1) as f64;
    let channel = dataset.channels.first().map_or("image", String::as_str);
    run.write_json(
        "dataset.json",
        &description((channel, ending), &classes, ignore, summary.kept.len()),
    )?;
    run.write_json("metrics.json", &summary)?;
    Ok(summary)
}

/// What each run finds in the image and in its copies.
fn opinions(
    recipe: &PseudoRecipe,
    segmenters: &[Segmenter],
    path: &Path,
    copies: &Path,
) -> Result<Vec<(Labels, Image)>> {
    let image = io::read_image(path)?;
    let mut paths = vec![path.to_owned()];
    for (i, gamma) in recipe.gamma.iter().enumerate() {
        let copy = copies.join(format!("copy{i}.nii.gz"));
        let changed = with_gamma(image.clone(), *gamma);
        io::write_image(&copy, &changed, &Storage::default())?;
        paths.push(copy);
    }
    let pairs = segmenters
        .iter()
        .flat_map(|s| paths.iter().map(move |path| (s, path)));
    pairs.map(|(s, path)| s.segment(path)).collect()
}

fn with_gamma(image: Image, gamma: f32) -> Image {
    let finite = |v: &&f32| v.is_finite();
    let values = image.data().iter().filter(finite);
    let (low, high) = values.fold((f32::MAX, f32::MIN), |(a, b), &v| (a.min(v), b.max(v)));
    let range = (high - low).max(f32::MIN_POSITIVE);
    image.map(|v| ((v - low) / range).clamp(0.0, 1.0).powf(gamma) * range + low)
}

/// Mean Dice over the classes but the background that either has; 1 where neither has one.
fn agreement(a: &Labels, b: &Labels) -> f64 {
    let mut counts = BTreeMap::<u16, [u64; 2]>::new();
    for (&a, &b) in a.data().iter().zip(b.data()) {
        counts.entry(a).or_default()[1] += 1;
        counts.entry(b).or_default()[1] += 1;
        if a == b {
            counts.entry(a).or_default()[0] += 1;
        }
    }
    counts.remove(&0);
    if counts.is_empty() {
        return 1.0;
    }
    let dice = counts
        .values()
        .map(|[both, sum]| 2.0 * *both as f64 / *sum as f64);
    dice.sum::<f64>() / counts.len() as f64
}

/// The labels with `ignore` where they are doubted.
fn judge(
    recipe: &PseudoRecipe,
    first: &Labels,
    sure: &Image,
    others: &[&Labels],
    ignore: u16,
) -> Result<Labels> {
    let mut values = first.data().to_vec();
    for (i, value) in values.iter_mut().enumerate() {
        let differs = || others.iter().any(|other| other.data()[i] != *value);
        if sure.data()[i] < recipe.confidence || differs() {
            *value = ignore;
        }
    }
    if recipe.largest {
        for class in first.counts().into_keys().filter(|class| *class != 0) {
            let parts = Components::of(first, |label| label == class, Neighbourhood::Corners);
            let largest = parts.largest().map_or(0, |part| part as u32 + 1);
            for (value, part) in values.iter_mut().zip(parts.map()) {
                if part != 0 && part != largest {
                    *value = ignore;
                }
            }
        }
    }
    Ok(Labels::new(first.grid().clone(), values)?)
}

fn description(
    (channel, ending): (&str, &str),
    classes: &BTreeMap<u16, String>,
    ignore: u16,
    cases: usize,
) -> Value {
    let mut labels: Map<String, Value> = classes
        .iter()
        .map(|(value, name)| (name.clone(), json!(value)))
        .collect();
    labels.insert("ignore".into(), json!(ignore));
    json!({
        "channel_names": {"0": channel},
        "labels": labels,
        "numTraining": cases,
        "file_ending": ending,
    })
}

#[cfg(test)]
mod tests {
    use crossmod_volume::Grid;

    use super::*;

    fn labels(values: &[u16]) -> Labels {
        let grid = Grid::with_spacing([values.len(), 1, 1], [1.0; 3]).expect("a grid");
        Labels::new(grid, values.to_vec()).expect("labels")
    }

    fn recipe() -> PseudoRecipe {
        PseudoRecipe {
            runs: vec!["run".into()],
            ..PseudoRecipe::default()
        }
    }

    #[test]
    fn agreement_by_hand() {
        let a = labels(&[0, 1, 1, 2, 2, 2]);
        assert_eq!(agreement(&a, &a), 1.0);
        // Class 1: 2·1/(2 + 1), class 2: 2·3/(3 + 4).
        let b = labels(&[0, 1, 2, 2, 2, 2]);
        let expected = (2.0 / 3.0 + 6.0 / 7.0) / 2.0;
        assert!((agreement(&a, &b) - expected).abs() < 1e-12);
        assert_eq!(agreement(&labels(&[0; 3]), &labels(&[0; 3])), 1.0);
    }

    /// Unsure, disputed and detached voxels are not judged.
    #[test]
    fn doubted_voxels_are_ignored() -> Result<()> {
        let first = labels(&[0, 1, 1, 1, 0, 1, 0, 0]);
        let mut sure = vec![0.9; 8];
        sure[1] = 0.6;
        sure[7] = 0.6;
        let sure = Image::new(first.grid().clone(), sure)?;
        let other = labels(&[0, 1, 1, 0, 0, 1, 0, 0]);
        let judged = judge(&recipe(), &first, &sure, &[&other], 9)?;
        assert_eq!(judged.data(), [0, 9, 1, 9, 0, 9, 0, 9]);
        let lenient = PseudoRecipe {
            confidence: 0.0,
            largest: false,
            ..recipe()
        };
        let judged = judge(&lenient, &first, &sure, &[&other], 9)?;
        assert_eq!(judged.data(), [0, 1, 1, 9, 0, 1, 0, 0]);
        Ok(())
    }

    #[test]
    fn copies_keep_the_range_and_the_order() {
        let grid = Grid::with_spacing([3, 1, 1], [1.0; 3]).expect("a grid");
        let image = Image::new(grid, vec![-100.0, 0.0, 300.0]).expect("an image");
        let copy = with_gamma(image, 2.0);
        assert_eq!(copy.data(), [-100.0, -75.0, 300.0]);
    }

    #[test]
    fn the_ignored_label_comes_last() {
        let classes = BTreeMap::from([(0, "background".to_owned()), (4, "a".to_owned())]);
        let value = description(("MR", ".png"), &classes, 5, 3);
        assert_eq!(value["labels"]["ignore"], 5);
        assert_eq!(value["labels"]["a"], 4);
        assert_eq!(value["file_ending"], ".png");
    }
}
