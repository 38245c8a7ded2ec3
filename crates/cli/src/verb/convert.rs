//! `crossmod convert`: a volume turned, resampled or in another format.

use std::path::PathBuf;

use crossmod_volume::space::{
    Interpolation, Orientation, grid_with_spacing, reorient_image, reorient_labels, resample_image,
    resample_labels_linear,
};
use crossmod_volume::{Grid, io};
use serde_json::json;

use crate::context::{Context, Outcome};

/// Writes a volume turned, resampled or in another format. Geometry and type of samples are kept
/// where the format can hold them.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// A volume, or a folder of PNG slices
    #[arg(value_name = "IN")]
    input: PathBuf,
    /// A file (.nii.gz, .nii, .nrrd, .png), or a name without ending for a folder of PNG slices
    #[arg(value_name = "OUT")]
    output: PathBuf,
    /// Turn the axes to grow in these directions, such as RAS
    #[arg(long, value_name = "CODE", value_parser = orientation)]
    orient: Option<Orientation>,
    /// Resample to this spacing in mm along the axes of OUT, such as 1,1,1
    #[arg(long, value_name = "X,Y,Z", value_parser = spacing)]
    spacing: Option<[f64; 3]>,
    /// The volume is a label map: never mix its values
    #[arg(long)]
    labels: bool,
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

pub(crate) fn run(args: &Args, context: &Context) -> anyhow::Result<Outcome> {
    let target = |grid: &Grid| {
        args.spacing
            .map(|mm| grid_with_spacing(grid, mm))
            .transpose()
    };
    let grid = if args.labels {
        let mut labels = io::read_labels(&args.input)?;
        if let Some(orientation) = args.orient {
            labels = reorient_labels(&labels, orientation);
        }
        if let Some(grid) = target(labels.grid())? {
            labels = resample_labels_linear(&labels, &grid);
        }
        io::write_labels(&args.output, &labels)?;
        labels.grid().clone()
    } else {
        let (mut image, storage) = io::read_image_stored(&args.input)?;
        if let Some(orientation) = args.orient {
            image = reorient_image(&image, orientation);
        }
        if let Some(grid) = target(image.grid())? {
            image = resample_image(&image, &grid, Interpolation::Linear, 0.0);
        }
        io::write_image(&args.output, &image, &storage)?;
        image.grid().clone()
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
