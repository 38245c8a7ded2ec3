//! Synthetic images against real ones of the same patient: MAE, PSNR and SSIM inside a mask.
//!
//! - **MAE**, the mean absolute difference, in the images' units (HU of CT);
//! - **PSNR** 10 log₁₀(range² / mean squared difference), dB; undefined where the images are the same;
//! - **SSIM**, structural similarity (Wang et al. 2004, doi:10.1109/TIP.2003.819861) under a Gaussian
//!   window of σ 1.5 voxels, in three dimensions, or within planes where an axis has fewer than 11
//!   voxels; the range's lower end counts as 0.
//!
//! The range should be fixed for a study, as PSNR and SSIM of different ranges cannot be compared:
//! both images are then clipped to it. Without one it goes from the least to the greatest sample of the
//! real image in the mask. The mask is what is above 0 of a label map; SSIM's windows look beyond it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crossmod_volume::{Image, Labels, io};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::folders::side_by_side;
use crate::overlap::expect_one_grid;
use crate::pairs::{Pair, files, pair};
use crate::ssim::mean_ssim;
use crate::summary::Summary;
use crate::table::{aligned, cell, number};
use crate::{Bootstrap, Error, Result};

/// How images are compared.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ImageSettings {
    /// The range that both images are clipped to; see [the module](self).
    pub range: Option<[f32; 2]>,
    /// Intervals of the means over cases, where they are wanted.
    pub bootstrap: Option<Bootstrap>,
}

/// How far an image is from the real one.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct ImageErrors {
    /// Mean absolute difference, in the images' units.
    pub mae: f64,
    /// Peak signal-to-noise ratio, dB; `None` where the images are the same or the range is empty.
    pub psnr_db: Option<f64>,
    /// Structural similarity; `None` where no voxel has its window within the volume.
    pub ssim: Option<f64>,
    /// Voxels inside the mask.
    pub voxels: usize,
}

/// One case's.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ImageCase {
    /// The case's name.
    pub case: String,
    /// What was measured.
    #[serde(flatten)]
    pub errors: ImageErrors,
}

/// All cases'.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct ImageEvaluation {
    /// In order of names.
    pub cases: Vec<ImageCase>,
    /// Images that no real one belongs to.
    pub unmatched: Vec<String>,
    /// How they were compared.
    pub settings: ImageSettings,
}

/// Compares an image with the real one, in a mask or everywhere.
///
/// # Errors
/// [`Error::Grids`] where the three do not lie on one grid, the mask is empty, a sample in it is not
/// finite, or the range has no size.
pub fn image_errors(
    image: &Image,
    real: &Image,
    mask: Option<&Labels>,
    settings: &ImageSettings,
) -> Result<ImageErrors> {
    expect_one_grid(image.grid(), real.grid())?;
    if let Some(mask) = mask {
        expect_one_grid(mask.grid(), real.grid())?;
    }
    let inside = |i: usize| mask.is_none_or(|mask| mask.data()[i] > 0);
    let [low, high] = match settings.range {
        Some(range) => range,
        None => range_of(real, inside),
    };
    if !(high - low).is_finite() || high < low || (settings.range.is_some() && high <= low) {
        return Err(Error::Grids(format!(
            "expected finite samples in the mask, and a range from a lower to a higher value, found \
             {low} to {high}; check the images, the mask and the range"
        )));
    }
    let clipped = |v: f32| {
        if settings.range.is_some() {
            v.clamp(low, high)
        } else {
            v
        }
    };
    let slice = real.grid().shape()[0] * real.grid().shape()[1];
    let of_slice = |z: usize| {
        let (mut absolute, mut squared, mut n, mut wild) = (0.0, 0.0, 0usize, 0usize);
        for i in (z * slice..(z + 1) * slice).filter(|&i| inside(i)) {
            let (a, b) = (image.data()[i], real.data()[i]);
            let difference = f64::from(clipped(a)) - f64::from(clipped(b));
            absolute += difference.abs();
            squared += difference * difference;
            n += 1;
            wild += usize::from(!a.is_finite() || !b.is_finite());
        }
        (absolute, squared, n, wild)
    };
    let slices: Vec<_> = (0..real.grid().shape()[2])
        .into_par_iter()
        .map(of_slice)
        .collect();
    let sum = |a: (f64, f64, usize, usize), b: &(f64, f64, usize, usize)| {
        (a.0 + b.0, a.1 + b.1, a.2 + b.2, a.3 + b.3)
    };
    let (absolute, squared, voxels, wild) = slices.iter().fold((0.0, 0.0, 0, 0), sum);
    if wild > 0 || voxels == 0 {
        return Err(Error::Grids(format!(
            "expected finite samples in a mask that is not empty, found {wild} that are not finite \
             of {voxels}; check the images and the mask"
        )));
    }
    let range = f64::from(high) - f64::from(low);
    let mean_squared = squared / voxels as f64;
    let psnr = 10.0 * (range * range / mean_squared).log10();
    // What lies outside the mask may be anything.
    let scaled = |v: f32| {
        if v.is_finite() {
            (clipped(v) - low) / (high - low)
        } else {
            0.0
        }
    };
    let sample = |i: usize| [scaled(image.data()[i]), scaled(real.data()[i])];
    let ssim = if range > 0.0 {
        mean_ssim(real.grid().shape(), sample, inside)?
    } else {
        None
    };
    Ok(ImageErrors {
        mae: absolute / voxels as f64,
        psnr_db: psnr.is_finite().then_some(psnr),
        ssim,
        voxels,
    })
}

fn range_of(image: &Image, inside: impl Fn(usize) -> bool) -> [f32; 2] {
    let samples = image.data().iter().enumerate().filter(|(i, _)| inside(*i));
    samples.fold(
        [f32::INFINITY, f32::NEG_INFINITY],
        |[low, high], (_, &v)| [low.min(v), high.max(v)],
    )
}

/// Compares an image with the real one, both files or both folders, paired as
/// [`evaluate_folders`](crate::evaluate_folders) does; `mask` is a file for a file and else a folder
/// with one for each real image, of the same stem. PNG slices are cases of their own.
///
/// # Errors
/// [`Error::Files`] where a real image has no counterpart or no mask, or one of [`image_errors`];
/// [`Error::Volume`] where a file cannot be read.
pub fn compare_images(
    images: &Path,
    real: &Path,
    mask: Option<&Path>,
    settings: &ImageSettings,
) -> Result<ImageEvaluation> {
    let pairs = pair(images, real)?;
    let masks = mask.map(|mask| masks_of(mask, &pairs.found)).transpose()?;
    let jobs: Vec<(&Pair, Option<PathBuf>)> = match masks {
        Some(masks) => pairs
            .found
            .iter()
            .zip(masks.into_iter().map(Some))
            .collect(),
        None => pairs.found.iter().map(|pair| (pair, None)).collect(),
    };
    let measure = |(pair, mask): &(&Pair, Option<PathBuf>)| {
        let image = io::read_image(&pair.prediction)?;
        let real = io::read_image(&pair.truth)?;
        let mask = mask.as_deref().map(io::read_labels).transpose()?;
        let errors = image_errors(&image, &real, mask.as_ref(), settings)
            .map_err(|error| error.about(&pair.prediction))?;
        Ok(ImageCase {
            case: pair.id.clone(),
            errors,
        })
    };
    Ok(ImageEvaluation {
        cases: side_by_side(&jobs, |(pair, _)| &pair.truth, measure)?,
        unmatched: pairs.unmatched,
        settings: *settings,
    })
}

/// The mask of each pair.
fn masks_of(mask: &Path, pairs: &[Pair]) -> Result<Vec<PathBuf>> {
    if mask.is_file() && pairs.len() == 1 {
        return Ok(vec![mask.to_owned()]);
    }
    let found: BTreeMap<String, PathBuf> = if mask.is_dir() {
        files(mask)?
    } else {
        BTreeMap::new()
    };
    let one = |pair: &Pair| {
        found.get(&pair.id).cloned().ok_or_else(|| {
            let message = format!(
                "expected a mask named as each real image, found none for {}; name a folder that \
                 has them all",
                pair.id
            );
            Error::files(message, mask)
        })
    };
    pairs.iter().map(one).collect()
}

impl ImageEvaluation {
    /// Each number over all cases, by its name in JSON.
    #[must_use]
    pub fn summaries(&self) -> [(&'static str, Summary); 3] {
        let of = |value: fn(&ImageErrors) -> Option<f64>| {
            let values = self.cases.iter().map(|case| value(&case.errors));
            Summary::of(values, None, self.settings.bootstrap.as_ref())
        };
        [
            ("mae", of(|errors| Some(errors.mae))),
            ("psnr_db", of(|errors| errors.psnr_db)),
            ("ssim", of(|errors| errors.ssim)),
        ]
    }

    /// The whole as JSON: `cases`, the summary of each number, and `mean`.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let summaries = self.summaries();
        let mean: Map<String, Value> = summaries
            .iter()
            .map(|(key, summary)| ((*key).into(), json!(summary.mean)))
            .collect();
        let mut value = json!({"cases": self.cases, "mean": mean, "settings": self.settings});
        for (key, summary) in summaries {
            value[key] = json!(summary);
        }
        if !self.unmatched.is_empty() {
            value["unmatched"] = json!(self.unmatched);
        }
        value
    }

    /// A plain-text table: a row per case, then the means with their intervals or SDs.
    #[must_use]
    pub fn table(&self) -> String {
        let mut rows = vec![
            ["case", "MAE", "PSNR dB", "SSIM"]
                .map(str::to_owned)
                .to_vec(),
        ];
        for ImageCase { case, errors } in &self.cases {
            let numbers = [Some(errors.mae), errors.psnr_db, errors.ssim].map(number);
            rows.push([vec![case.clone()], numbers.to_vec()].concat());
        }
        let means = self.summaries().map(|(_, summary)| cell(&summary));
        rows.push([vec!["mean".to_owned()], means.to_vec()].concat());
        aligned(&rows)
    }

    /// Writes one row per case: `case,mae,psnr_db,ssim,voxels`; undefined values are empty.
    ///
    /// # Errors
    /// [`Error::Volume`] where the file cannot be written.
    pub fn write_csv(&self, path: &Path) -> Result<()> {
        io::write_atomic(path, |file| {
            let mut csv = csv::Writer::from_writer(file);
            csv.write_record(["case", "mae", "psnr_db", "ssim", "voxels"])?;
            for ImageCase { case, errors } in &self.cases {
                let told = |v: Option<f64>| v.map(|v| v.to_string()).unwrap_or_default();
                csv.write_record([
                    case.clone(),
                    errors.mae.to_string(),
                    told(errors.psnr_db),
                    told(errors.ssim),
                    errors.voxels.to_string(),
                ])?;
            }
            csv.flush()
        })?;
        Ok(())
    }
}

#[cfg(test)]
mod tests;
