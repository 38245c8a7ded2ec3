//! `crossmod convert`: a volume turned, resampled, repaired or in another format.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crossmod_volume::dataset::{Dataset, write_nnunet};
use crossmod_volume::space::{
    Interpolation, Orientation, grid_with_spacing, reorient_image, reorient_labels,
    resample_aligned, resample_image, resample_labels_aligned, resample_labels_linear,
};
use crossmod_volume::{Grid, Image, Labels, io};
use glam::{DMat4, DVec3};
use serde_json::json;

use super::info::labels;
use crate::context::{Context, Outcome};
use crate::dicom::{DicomArgs, ObjectArgs, is_dicom_name};
use crate::error::Usage;

/// Writes a volume turned, resampled, repaired or in another format; or a dataset in nnU-Net's
/// layout. Geometry and type of samples are kept where the format can hold them. OUT may be IN, which
/// is how `crossmod check` says to repair a file.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
    crossmod convert series/ scan.nii.gz\n  \
    crossmod convert scan.nrrd scan.nii.gz --orient LPS --spacing 1.5,1.5,1.5\n  \
    crossmod convert label.nii.gz label.nii.gz --labels --like scan.nii.gz\n  \
    crossmod convert wrong.nii.gz right.nii.gz --header scan.nii.gz\n  \
    crossmod convert found.nii.gz found.dcm --reference series/ --name 1=liver\n  \
    crossmod convert Task03_Liver/ Dataset003_Liver/")]
pub(crate) struct Args {
    /// A volume, a DICOM series, a folder of PNG slices, or the folder of a dataset
    #[arg(value_name = "IN")]
    input: PathBuf,
    /// A file (.nii.gz, .nii, .hdr, .nrrd, .mha, .mhd, .png; of labels .dcm), or a name without ending
    /// for a folder of PNG slices; of a dataset a new folder
    #[arg(value_name = "OUT")]
    output: PathBuf,
    /// Of a NIfTI file with several volumes, such as a series in time, the one of this number, from 0
    #[arg(long, value_name = "NUMBER", conflicts_with_all = ["labels", "series", "reference"])]
    volume: Option<u64>,
    /// Turn the axes to grow in these directions, such as RAS
    #[arg(long, value_name = "CODE", value_parser = orientation)]
    orient: Option<Orientation>,
    /// Resample to this spacing in mm along the axes of OUT, such as 1,1,1
    #[arg(long, value_name = "X,Y,Z", value_parser = spacing)]
    spacing: Option<[f64; 3]>,
    /// Resample onto the grid of another volume
    #[arg(long, value_name = "FILE", conflicts_with_all = ["spacing", "orient"])]
    like: Option<PathBuf>,
    /// Leave the samples alone and take the place of another volume of the same shape: repairs a
    /// wrong header
    #[arg(long, value_name = "FILE", conflicts_with = "like")]
    header: Option<PathBuf>,
    /// Leave the samples alone and make voxels so many times as large along the axes of IN, such as
    /// 0.6,0.6,1: repairs a header that states a wrong size
    #[arg(long, value_name = "X,Y,Z", value_parser = spacing, conflicts_with = "header")]
    scale: Option<[f64; 3]>,
    /// Write this value where a sample is not finite
    #[arg(long, value_name = "VALUE", allow_negative_numbers = true)]
    finite: Option<f32>,
    /// The volume is a label map: never mix its values
    #[arg(long)]
    labels: bool,
    /// Give labels other values, such as 7=1,8=0
    #[arg(long, value_name = "OLD=NEW", value_delimiter = ',', value_parser = renaming,
          requires = "labels")]
    map: Vec<(u16, u16)>,
    /// Round samples to the nearest label: repairs label maps that were resampled as images
    #[arg(long, requires = "labels", conflicts_with = "finite")]
    round: bool,
    /// The DICOM series that OUT (.dcm) belongs to and refers to
    #[arg(long, value_name = "SERIES_FOLDER")]
    reference: Option<PathBuf>,
    #[command(flatten)]
    object: ObjectArgs,
    #[command(flatten)]
    dicom: DicomArgs,
}

fn orientation(text: &str) -> Result<Orientation, String> {
    text.parse()
        .map_err(|e: crossmod_volume::Error| e.to_string())
}

fn spacing(text: &str) -> Result<[f64; 3], String> {
    let numbers: Result<Vec<f64>, _> = text.split(',').map(|n| n.trim().parse()).collect();
    numbers
        .ok()
        .and_then(|n| <[f64; 3]>::try_from(n).ok())
        .filter(|n| n.iter().all(|n| n.is_finite() && *n > 0.0))
        .ok_or_else(|| "expected three numbers above 0, such as 1,1,1".into())
}

fn renaming(text: &str) -> Result<(u16, u16), String> {
    let pair = text.split_once('=');
    pair.and_then(|(old, new)| Some((old.trim().parse().ok()?, new.trim().parse().ok()?)))
        .ok_or_else(|| "expected two labels from 0 to 65535, such as 7=1".into())
}

pub(crate) fn run(args: &Args, context: &Context) -> anyhow::Result<Outcome> {
    args.object.fit(&args.output)?;
    if is_dicom_name(&args.output) != args.reference.is_some() {
        return Err(Usage::error(format!(
            "expected --reference, the DICOM series of the patient, together with an OUT that ends in \
             .dcm, found one alone: {}",
            args.output.display()
        )));
    }
    if args.input.is_dir()
        && !io::holds_dicom(&args.input)
        && let Ok(dataset) = Dataset::open(&args.input)
    {
        return run_dataset(args, &dataset, context);
    }
    let grid = if args.labels || args.reference.is_some() {
        run_labels(args)?
    } else {
        run_image(args, context)?
    };
    let (out, code) = (args.output.display(), Orientation::of(&grid).to_string());
    let value = json!({
        "out": out.to_string(),
        "shape": grid.shape(),
        "spacing_mm": grid.spacing_mm(),
        "orientation": code,
    });
    context.result(&value, || {
        let ([x, y, z], [dx, dy, dz]) = (grid.shape(), grid.spacing_mm());
        format!("{x} × {y} × {z}, {dx:.4} × {dy:.4} × {dz:.4} mm, {code}: {out}")
    })?;
    Ok(Outcome::Done)
}

fn run_labels(args: &Args) -> anyhow::Result<Grid> {
    let options = args.dicom.options();
    let mut labels = match (args.round, &args.reference) {
        (true, _) => Labels::rounded(io::read_image_with(&args.input, &options)?.0),
        // Of a DICOM output, the options say how its series is read.
        (false, Some(_)) => io::read_labels(&args.input)?,
        (false, None) => io::read_labels_with(&args.input, &options)?,
    };
    if !args.map.is_empty() {
        let table: BTreeMap<u16, u16> = args.map.iter().copied().collect();
        labels = labels.renamed(&table);
    }
    if let Some(grid) = stated(args, labels.grid())? {
        labels = labels.placed(&grid)?;
    }
    if let Some(orientation) = args.orient {
        labels = reorient_labels(&labels, orientation);
    }
    if let Some(mm) = args.spacing {
        let grid = grid_with_spacing(labels.grid(), mm)?;
        labels = resample_labels_aligned(&labels, &grid, [Interpolation::Linear; 3])?;
    }
    if let Some(grid) = grid_of(args.like.as_deref())? {
        labels = resample_labels_linear(&labels, &grid);
    }
    match &args.reference {
        Some(series) => args.object.write(&args.output, &labels, series, &options)?,
        None => io::write_labels(&args.output, &labels)?,
    }
    Ok(labels.grid().clone())
}

fn run_image(args: &Args, context: &Context) -> anyhow::Result<Grid> {
    let (mut image, storage) = match args.volume {
        Some(number) => io::read_volume(&args.input, number)?,
        None => io::read_image_with(&args.input, &args.dicom.options())?,
    };
    if let Some(value) = args.finite {
        image = finite(image, value);
    }
    if let Some(grid) = stated(args, image.grid())? {
        image = image.placed(&grid)?;
    }
    if let Some(orientation) = args.orient {
        image = reorient_image(&image, orientation);
    }
    if (args.spacing.is_some() || args.like.is_some()) && labels(image.data()).is_some() {
        context.note(
            "the samples are few whole numbers, as label maps have; --labels keeps them from being mixed",
        );
    }
    if let Some(mm) = args.spacing {
        let grid = grid_with_spacing(image.grid(), mm)?;
        image = resample_aligned(image, &grid, [Interpolation::Linear; 3])?;
    }
    if let Some(grid) = grid_of(args.like.as_deref())? {
        image = resample_image(&image, &grid, Interpolation::Linear, 0.0);
    }
    io::write_image(&args.output, &image, &storage)?;
    Ok(image.grid().clone())
}

fn finite(image: Image, value: f32) -> Image {
    image.map(|v| if v.is_finite() { v } else { value })
}

/// The place that the options state for samples on a grid.
fn stated(args: &Args, grid: &Grid) -> anyhow::Result<Option<Grid>> {
    let Some(by) = args.scale else {
        return grid_of(args.header.as_deref());
    };
    let larger = grid.world_from_voxel() * DMat4::from_scale(DVec3::from_array(by));
    Ok(Some(Grid::new(grid.shape(), larger)?))
}

fn grid_of(file: Option<&Path>) -> anyhow::Result<Option<Grid>> {
    Ok(file.map(io::read_grid).transpose()?.map(|(grid, _)| grid))
}

fn run_dataset(args: &Args, dataset: &Dataset, context: &Context) -> anyhow::Result<Outcome> {
    let changes = args.orient.is_some()
        || args.spacing.is_some()
        || args.like.is_some()
        || args.header.is_some()
        || args.scale.is_some()
        || args.finite.is_some()
        || args.volume.is_some()
        || args.labels;
    if changes {
        return Err(Usage::error(format!(
            "expected a dataset to be converted as it is, found options that change volumes; \
             convert its files one by one: {}",
            args.input.display()
        )));
    }
    write_nnunet(dataset, &args.output)?;
    let (training, test) = (dataset.training.len(), dataset.test.len());
    let out = args.output.display();
    let value = json!({ "out": out.to_string(), "training": training, "test": test });
    context.result(&value, || {
        format!("{training} training and {test} test cases: {out}")
    })?;
    Ok(Outcome::Done)
}
