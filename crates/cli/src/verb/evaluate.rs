//! `crossmod evaluate`: segmentations, or images, against the truth.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use clap::ValueEnum;
use crossmod_learn::fit::write_json;
use crossmod_measure::{
    Bootstrap, Evaluation, ImageSettings, Interval, Metric, Settings, Surface, compare_images,
    evaluate_folders, evaluate_organs,
};
use crossmod_volume::dataset::{LabelTable, read_label_table};

use super::train::positive;
use crate::context::{Context, Outcome};

/// Measures how well segmentations agree with the truth, per label and case: overlap, volumes and
/// the distances between surfaces. Regions of dataset.json are measured as one, and voxels whose
/// truth is its label to ignore not at all.
#[derive(Debug, clap::Args)]
#[command(after_long_help = HELP)]
pub(crate) struct Args {
    /// A label map or a folder of them
    #[arg(value_name = "PRED")]
    prediction: PathBuf,
    /// The true label map, or a folder of those of the same names
    truth: PathBuf,
    /// The metrics to tell, with commas between
    #[arg(long, value_name = "NAMES", value_delimiter = ',', value_enum,
          default_values = ["dice", "iou", "hd95", "assd", "nsd"], conflicts_with = "images")]
    metrics: Vec<Name>,
    /// The tolerance of NSD in mm
    #[arg(long, value_name = "MM", default_value_t = 1.0, value_parser = positive,
          allow_negative_numbers = true, conflicts_with = "images")]
    tolerance_mm: f64,
    /// What a surface is
    #[arg(long, value_enum, default_value_t = Kind::Elements, conflicts_with = "images")]
    surface: Kind,
    /// Each file is the mask of one structure: PRED and TRUTH are folders of such files, or of a
    /// folder for each case; a * may stand for a case's folder, as in 'study/*/rater'
    #[arg(long, conflicts_with_all = ["dataset", "images"])]
    organs: bool,
    /// Predictions of another run for the same truth: also tell how PRED differs from them
    #[arg(long, value_name = "OTHER", conflicts_with = "images")]
    against: Option<PathBuf>,
    /// The dataset.json that tells labels, regions and what to ignore [default: that of TRUTH's
    /// folder or of the one above]
    #[arg(long, value_name = "FILE", conflicts_with = "images")]
    dataset: Option<PathBuf>,
    /// PRED and TRUTH are images, synthetic and real: tell MAE, PSNR and SSIM
    #[arg(long)]
    images: bool,
    /// Where images are compared: a label map, or a folder with one for each image of TRUTH
    #[arg(long, value_name = "MASK", requires = "images")]
    mask: Option<PathBuf>,
    /// Clip images to this range, which PSNR and SSIM refer to, such as -1000,2000 [default: from
    /// the least to the greatest value of the real image]
    #[arg(long, value_name = "LOW,HIGH", value_parser = range, requires = "images",
          allow_hyphen_values = true)]
    range: Option<[f32; 2]>,
    /// Resamples of the cases that the 95 % intervals of means are made of; 0 for none
    #[arg(long, value_name = "N", default_value_t = Bootstrap::default().resamples)]
    bootstrap: u32,
    /// How intervals are made of them
    #[arg(long, value_enum, default_value_t = Rule::Percentile)]
    interval: Rule,
    /// Seed of the resamples
    #[arg(long, value_name = "N", default_value_t = Bootstrap::default().seed)]
    seed: u64,
    /// Also write the result as JSON
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Also write every case and label as CSV
    #[arg(long, value_name = "FILE")]
    csv: Option<PathBuf>,
}

const HELP: &str = "\
Empty masks: a label in neither map is undefined and left out of means (n counts the cases that \
remain); one in a single map has Dice, IoU and NSD 0, and no distance.

S-score (Zhang et al. 2018) of a translation: translate labelled images, segment the result with a \
segmenter that was trained on real images of that modality and stays as it is, and evaluate against \
the labels of the originals:
  crossmod translate RUN imagesTs translated
  crossmod predict SEGMENTER translated predicted
  crossmod evaluate predicted labelsTs

Examples:
  crossmod evaluate predictions dataset/labelsTs --metrics dice,nsd --tolerance-mm 2
  crossmod evaluate new dataset/labelsTs --against old
  crossmod evaluate --organs 'study/*/rater_a' 'study/*/rater_b'
  crossmod evaluate --images synthetic real --mask bodies --range -1000,2000";

/// [`Metric`] by its name on the command line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Name {
    Dice,
    Iou,
    Precision,
    Recall,
    /// Volume predicted too much, as a part of the truth's
    Volume,
    /// The same in ml
    VolumeMl,
    /// Greatest distance between the surfaces, mm
    Hausdorff,
    /// The distance within which 95 % of either surface lies, mm
    Hd95,
    /// Average symmetric surface distance, mm
    Assd,
    /// Normalised surface Dice: the part of the surfaces within the tolerance
    Nsd,
}

impl Name {
    fn metric(self) -> Metric {
        match self {
            Self::Dice => Metric::Dice,
            Self::Iou => Metric::Iou,
            Self::Precision => Metric::Precision,
            Self::Recall => Metric::Recall,
            Self::Volume => Metric::VolumeError,
            Self::VolumeMl => Metric::VolumeErrorMl,
            Self::Hausdorff => Metric::HausdorffMm,
            Self::Hd95 => Metric::Hd95Mm,
            Self::Assd => Metric::AssdMm,
            Self::Nsd => Metric::Nsd,
        }
    }
}

/// [`Surface`] on the command line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Kind {
    /// Pieces between voxels, weighed by area, as surface-distance has it
    Elements,
    /// Border voxels, as MONAI and MedPy have it
    Voxels,
}

/// [`Interval`] on the command line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Rule {
    /// The middle 95 % of the resamples' means
    Percentile,
    /// Corrected for bias and skewness
    Bca,
}

fn range(text: &str) -> Result<[f32; 2], String> {
    let numbers: Result<Vec<f32>, _> = text.split(',').map(|n| n.trim().parse()).collect();
    numbers
        .ok()
        .and_then(|n| <[f32; 2]>::try_from(n).ok())
        .filter(|[low, high]| low < high && (high - low).is_finite())
        .ok_or_else(|| "expected a lower and a higher number, such as -1000,2000".into())
}

impl Args {
    fn bootstrap(&self) -> Option<Bootstrap> {
        (self.bootstrap > 0).then(|| Bootstrap {
            resamples: self.bootstrap,
            seed: self.seed,
            interval: match self.interval {
                Rule::Percentile => Interval::Percentile,
                Rule::Bca => Interval::Bca,
            },
            ..Bootstrap::default()
        })
    }

    fn settings(&self) -> Settings {
        let mut metrics: Vec<Metric> = Vec::new();
        for name in &self.metrics {
            if !metrics.contains(&name.metric()) {
                metrics.push(name.metric());
            }
        }
        Settings {
            metrics,
            surface: match self.surface {
                Kind::Elements => Surface::Elements,
                Kind::Voxels => Surface::Voxels,
            },
            tolerance_mm: self.tolerance_mm,
            bootstrap: self.bootstrap(),
        }
    }

    /// Predictions against the truth.
    fn evaluate(&self, prediction: &Path, settings: &Settings) -> anyhow::Result<Evaluation> {
        if self.organs {
            return Ok(evaluate_organs(prediction, &self.truth, settings)?);
        }
        let table = self.dataset.as_deref().map(table_of).transpose()?;
        Ok(evaluate_folders(
            prediction,
            &self.truth,
            table.as_ref(),
            settings,
        )?)
    }
}

pub(crate) fn run(args: &Args, context: &Context) -> anyhow::Result<Outcome> {
    if args.images {
        return run_images(args, context);
    }
    let settings = args.settings();
    let evaluation = args.evaluate(&args.prediction, &settings)?;
    let other = args.against.as_deref();
    let other = other
        .map(|other| args.evaluate(other, &settings))
        .transpose()?;
    let comparison = other.map(|other| evaluation.against(&other));
    let mut json = evaluation.to_json();
    if let Some(comparison) = &comparison {
        json["against"] = comparison.to_json();
    }
    if let Some(path) = &args.out {
        write_json(path, &json)?;
    }
    if let Some(path) = &args.csv {
        evaluation.write_csv(path)?;
    }
    tell_unmatched(&evaluation.unmatched, context);
    context.result(&json, || {
        let mut text = String::new();
        if context.verbose {
            text.push_str(&per_case(&evaluation));
        }
        text.push_str(&evaluation.table());
        if let Some(comparison) = &comparison {
            text.push_str("\nPRED less OTHER, and p of Wilcoxon's signed-rank test:\n");
            text.push_str(&comparison.table());
        }
        text
    })?;
    Ok(Outcome::Done)
}

fn run_images(args: &Args, context: &Context) -> anyhow::Result<Outcome> {
    let settings = ImageSettings {
        range: args.range,
        bootstrap: args.bootstrap(),
    };
    let mask = args.mask.as_deref();
    let found = compare_images(&args.prediction, &args.truth, mask, &settings)?;
    let json = found.to_json();
    if let Some(path) = &args.out {
        write_json(path, &json)?;
    }
    if let Some(path) = &args.csv {
        found.write_csv(path)?;
    }
    tell_unmatched(&found.unmatched, context);
    context.result(&json, || found.table())?;
    Ok(Outcome::Done)
}

fn tell_unmatched(unmatched: &[String], context: &Context) {
    if !unmatched.is_empty() {
        context.note(&format!(
            "{} predictions have no truth and were left out: {}",
            unmatched.len(),
            unmatched.join(", ")
        ));
    }
}

/// What a `dataset.json`, or that of a folder, says of labels.
fn table_of(path: &Path) -> anyhow::Result<LabelTable> {
    let file = if path.is_dir() {
        path.join("dataset.json")
    } else {
        path.to_owned()
    };
    read_label_table(&file)?.with_context(|| {
        format!(
            "expected a dataset.json with labels, found none in it; add them, or leave --dataset \
             out: {}",
            file.display()
        )
    })
}

/// The first metric of each case and label, one line a case.
fn per_case(evaluation: &Evaluation) -> String {
    let Some(&metric) = evaluation.settings.metrics.first() else {
        return String::new();
    };
    let cases = evaluation.cases.iter();
    let width = cases.map(|c| c.case.chars().count()).max().unwrap_or(0);
    let mut text = format!("{}\n", metric.name());
    for case in &evaluation.cases {
        text.push_str(&format!("{:<width$}", case.case));
        for &label in evaluation.names.keys() {
            let value = evaluation.get(case, label, metric);
            let value = value.map_or("–".into(), |v| format!("{v:.3}"));
            text.push_str(&format!("  {} {value}", evaluation.name(label)));
        }
        text.push('\n');
    }
    text.push('\n');
    text
}
