//! The files of one case, as every recipe of one channel reads them.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crossmod_volume::dataset::Case;
use crossmod_volume::{Grid, Labels, io};

use crate::plan::Class;
use crate::{Error, Result};

/// The image of a case of one channel.
///
/// # Errors
/// [`Error::Data`] where there are more channels or none.
pub(crate) fn only_image(case: &Case) -> Result<&PathBuf> {
    let [path] = case.images.as_slice() else {
        let found = case.images.len();
        let first = case.images.first().cloned().unwrap_or_default();
        let message = format!("expected one channel in case {}, found {found}", case.id);
        return Err(Error::data(message, &first));
    };
    Ok(path)
}

/// The label map at `path` of an image on `grid`.
///
/// # Errors
/// [`Error::Data`] where it lies elsewhere; what reading gives.
pub(super) fn labels_on(grid: &Grid, path: &Path) -> Result<Labels> {
    let labels = io::read_labels(path)?;
    let finest = grid.spacing_mm().into_iter().fold(f64::MAX, f64::min);
    if labels.grid().matches(grid, 0.5 * finest) {
        return Ok(labels);
    }
    Err(Error::data(
        format!(
            "expected the grid of the image ({:?} voxels), found {:?} voxels or another place; run \
             `crossmod check` and resample the label map",
            grid.shape(),
            labels.grid().shape()
        ),
        path,
    ))
}

/// The place among `classes` of each value; `path` is where they come from.
///
/// # Errors
/// [`Error::Data`] where a value is of no class.
pub(super) fn indices(values: &[u16], classes: &[Class], path: &Path) -> Result<Vec<u8>> {
    let index: BTreeMap<u16, u8> = classes.iter().map(|c| c.value).zip(0..).collect();
    let found = values.iter().map(|v| index.get(v).copied().ok_or(*v));
    found
        .collect::<std::result::Result<_, u16>>()
        .map_err(|value| {
            let known: Vec<&u16> = index.keys().collect();
            let message = format!(
                "expected label values {known:?} as in dataset.json, found {value}; correct the \
                 file or add the label"
            );
            Error::data(message, path)
        })
}
