//! `crossmod predict`: images in, label maps on the same grids out.

use std::path::{Path, PathBuf};

use clap::ValueEnum;
use crossmod_learn::plan::Domain;
use crossmod_learn::recipe::{self, Task};
use crossmod_learn::segment::{self, Changes};
use crossmod_learn::window::{self, Wanted};
use crossmod_volume::io;
use crossmod_volume::space::Certainty;
use serde_json::json;

use super::{after_files, refuse_same_place};
use crate::context::{Context, Outcome};
use crate::dicom::{DicomArgs, ObjectArgs, Scratch, is_dicom_name};
use crate::error::Usage;

/// Segments images with a trained run; each result lies on its image's own grid.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
    crossmod predict runs/synseg mr/imagesTs predictions\n  \
    crossmod predict runs/fold0 scan.nii.gz organs.nii.gz --with runs/fold1 --uncertainty")]
pub(crate) struct Args {
    /// The folder of a trained run
    run: PathBuf,
    /// An image, a DICOM series or a folder of images
    #[arg(value_name = "IN")]
    input: PathBuf,
    /// A file (of a DICOM series also .dcm), or a folder to write to
    #[arg(value_name = "OUT")]
    output: PathBuf,
    /// Segment with the mean of RUN and this run of the same labels, such as another fold, another
    /// seed or a 2-D plan beside a 3-D one; may be repeated
    #[arg(long, value_name = "RUN")]
    with: Vec<PathBuf>,
    /// Also write how uncertain the labels are: entropy, in nats, to uncertainty/ beside OUT
    #[arg(long)]
    uncertainty: bool,
    /// Also write the probability of every class to probabilities/CASE/ beside OUT
    #[arg(long)]
    probabilities: bool,
    /// Do not segment mirrored copies as well: up to 8 times faster, a little less accurate
    #[arg(long)]
    no_mirror: bool,
    /// Distance between windows as a share of their sides [default: the run's, 0.5]
    #[arg(long, value_name = "SHARE", value_parser = super::train::positive)]
    step: Option<f64>,
    /// Which modality the images are of [default: target, or source where the run has no target]
    #[arg(long, value_enum, value_name = "DOMAIN")]
    domain: Option<Side>,
    #[command(flatten)]
    object: ObjectArgs,
    #[command(flatten)]
    dicom: DicomArgs,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Side {
    /// The labelled modality
    Source,
    /// The modality to be segmented
    Target,
}

pub(crate) fn run(args: &Args, context: &Context) -> anyhow::Result<Outcome> {
    refuse_same_place(&args.input, &args.output)?;
    args.object.fit(&args.output)?;
    if io::holds_dicom(&args.input) {
        return of_series(args, context);
    }
    if is_dicom_name(&args.output) {
        return Err(Usage::error(format!(
            "expected a DICOM series for an OUT that ends in .dcm, found other images: {}",
            args.input.display()
        )));
    }
    let written = segmented(args, (&args.input, &args.output), context)?;
    tell(args, context, written)
}

/// A DICOM series by way of a NIfTI file, which holds nothing of the patient; the result as that or
/// as a DICOM object that refers to the series.
fn of_series(args: &Args, context: &Context) -> anyhow::Result<Outcome> {
    let options = args.dicom.options();
    let scratch = Scratch::beside(&args.output)?;
    let series = series_name(&args.input);
    // The result in a folder ends as its image does.
    let ending = if is_dicom_name(&args.output) {
        "nii"
    } else {
        "nii.gz"
    };
    // With a channel's number, so that one in the series' name stays.
    let image = scratch.file(&format!("{series}_0000.{ending}"));
    let (read, storage) = io::read_image_with(&args.input, &options)?;
    io::write_image(&image, &read, &storage)?;
    drop(read);
    let written = if is_dicom_name(&args.output) {
        let labels = scratch.file("labels.nii");
        let written = segmented(args, (&image, &labels), context)?;
        let labels = io::read_labels(&labels)?;
        args.object
            .write(&args.output, &labels, &args.input, &options)?;
        written
    } else {
        segmented(args, (&image, &args.output), context)?
    };
    tell(args, context, written)
}

/// What the result of a series in a folder is called: as the series' folder or its only file.
fn series_name(input: &Path) -> String {
    let whole = input.canonicalize().unwrap_or_else(|_| input.to_owned());
    let name = if whole.is_file() && is_dicom_name(&whole) {
        whole.file_stem()
    } else {
        whole.file_name()
    };
    let name = name.unwrap_or_default().to_string_lossy();
    // Hidden files are no images.
    match name.trim_start_matches('.') {
        "" => "series".into(),
        name => name.to_owned(),
    }
}

/// Segments a file or a folder; how many.
fn segmented(
    args: &Args,
    (input, output): (&Path, &Path),
    context: &Context,
) -> anyhow::Result<usize> {
    let run = recipe::run_that(Task::Predict, &args.run)?;
    let others = args
        .with
        .iter()
        .map(|run| recipe::run_that(Task::Predict, run));
    let roots = std::iter::once(Ok(run))
        .chain(others)
        .collect::<Result<Vec<PathBuf>, _>>()?;
    let mut kinds = Vec::with_capacity(roots.len());
    for root in &roots {
        kinds.push(segment::is_segment_run(root)?);
    }
    if let Some(other) = kinds.iter().position(|kind| *kind != kinds[0]) {
        return Err(Usage::error(format!(
            "expected RUN and --with all of the recipe segment or all of others, found both: {} and {}",
            roots[0].display(),
            roots[other].display()
        )));
    }
    if kinds[0] {
        return planned(args, &roots, (input, output), context);
    }
    let planned = [
        ("--uncertainty", args.uncertainty),
        ("--probabilities", args.probabilities),
        ("--no-mirror", args.no_mirror),
        ("--step", args.step.is_some()),
    ];
    if let Some((flag, _)) = planned.into_iter().find(|(_, given)| *given) {
        return Err(Usage::error(format!(
            "expected {flag} with a run of the recipe segment only, found another run; leave it \
             out: {}",
            args.run.display()
        )));
    }
    let domain = args.domain.map(|side| match side {
        Side::Source => Domain::Source,
        Side::Target => Domain::Target,
    });
    let processor = context.processor()?;
    let mut progress = context.progress()?;
    let written = window::predict(&roots, input, output, domain, &processor, &mut progress)
        .map_err(after_files)?;
    Ok(written)
}

fn planned(
    args: &Args,
    roots: &[PathBuf],
    files: (&Path, &Path),
    context: &Context,
) -> anyhow::Result<usize> {
    if args.domain.is_some() {
        return Err(Usage::error(format!(
            "expected --domain with a run of two modalities only, found one of one; leave it out: {}",
            args.run.display()
        )));
    }
    let wanted = Wanted {
        certainty: if args.uncertainty {
            Certainty::Entropy
        } else {
            Certainty::None
        },
        probabilities: args.probabilities,
    };
    let changes = Changes {
        step: args.step,
        mirror: args.no_mirror.then_some(false),
    };
    let processor = context.processor()?;
    let mut progress = context.progress()?;
    let written = segment::predict_runs(roots, files, (wanted, changes), &processor, &mut progress)
        .map_err(after_files)?;
    Ok(written)
}

fn tell(args: &Args, context: &Context, written: usize) -> anyhow::Result<Outcome> {
    let out = args.output.display();
    context.result(
        &json!({ "written": written, "out": out.to_string() }),
        || format!("{written} segmented: {out}"),
    )?;
    Ok(Outcome::Done)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_series_gives_its_whole_name() {
        let folder = tempfile::tempdir().expect("a folder");
        let inner = folder.path().join("1.2.840");
        std::fs::create_dir(&inner).expect("a folder");
        std::fs::write(inner.join("slice.dcm"), "").expect("a file");
        assert_eq!(series_name(&inner), "1.2.840");
        assert_eq!(series_name(&inner.join(".")), "1.2.840");
        assert_eq!(series_name(&inner.join("slice.dcm")), "slice");
        assert!(!series_name(Path::new("..")).starts_with('.'));
        assert_eq!(series_name(Path::new("/")), "series");
    }
}
