//! Masks of one case, merged into one label map.

use std::path::{Path, PathBuf};

use crossmod_volume::{Labels, io};
use rayon::prelude::*;

use super::scans::TOLERANCE_MM;
use crate::{Error, Result};

/// Masks held at a time.
const AT_A_TIME: usize = 4;

/// The label map that masks make, each painted over those before it, and how many voxels were painted
/// more than once. What is above 0 in a mask is inside.
pub(super) fn merge(masks: &[(u16, PathBuf)]) -> Result<(Labels, usize)> {
    let mut merged: Option<(Labels, &Path)> = None;
    let mut overlap = 0;
    for group in masks.chunks(AT_A_TIME) {
        let read: Vec<_> = group
            .par_iter()
            .map(|(_, path)| io::read_labels(path))
            .collect();
        for ((value, path), mask) in group.iter().zip(read) {
            let mut mask = mask?;
            let Some((labels, first)) = &mut merged else {
                for v in mask.data_mut() {
                    *v = if *v > 0 { *value } else { 0 };
                }
                merged = Some((mask, path));
                continue;
            };
            if !mask.grid().matches(labels.grid(), TOLERANCE_MM) {
                return Err(Error::file(
                    format!(
                        "expected masks of a case on one grid, that of {}, found {:?} instead of \
                         {:?} voxels or another place; resample it",
                        first.display(),
                        mask.grid().shape(),
                        labels.grid().shape()
                    ),
                    path,
                ));
            }
            for (label, _) in labels
                .data_mut()
                .iter_mut()
                .zip(mask.data())
                .filter(|(_, m)| **m > 0)
            {
                overlap += usize::from(*label > 0);
                *label = *value;
            }
        }
    }
    let merged = merged.map(|(labels, _)| (labels, overlap));
    merged.ok_or_else(|| Error::Recipe("expected at least one mask of a case, found none".into()))
}
