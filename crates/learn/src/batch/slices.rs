//! Every slice of one modality in memory, ready to be cropped.

use crossmod_volume::dataset::Case;
use crossmod_volume::io;
use crossmod_volume::space::{reorient_labels, resample_labels_linear};
use rayon::prelude::*;

use super::case::{indices, labels_on, only_image};
use super::prepare::{pad_to, prepare, working_grid};
use crate::plan::{Modality, Plan};
use crate::{Error, Result};

/// Slices of side [`Plan::load`], with their classes where the cases are labelled.
#[derive(Debug, Clone)]
pub struct Slices {
    side: usize,
    images: Vec<Vec<f32>>,
    classes: Option<Vec<Vec<u8>>>,
}

impl Slices {
    /// Reads, prepares and cuts the cases; `labelled` asks for their classes too.
    ///
    /// # Errors
    /// [`Error::Data`] where a label is missing, lies on another grid or holds a value that the
    /// plan does not know; what reading gives.
    pub fn load(cases: &[Case], modality: &Modality, plan: &Plan, labelled: bool) -> Result<Self> {
        let cut: Vec<CaseSlices> = cases
            .par_iter()
            .map(|case| cut_case(case, modality, plan, labelled))
            .collect::<Result<_>>()?;
        let mut slices = Self {
            side: plan.load,
            images: Vec::new(),
            classes: labelled.then(Vec::new),
        };
        for (images, classes) in cut {
            slices.images.extend(images);
            if let (Some(all), Some(classes)) = (&mut slices.classes, classes) {
                all.extend(classes);
            }
        }
        Ok(slices)
    }

    /// Slices of side `side` without classes.
    ///
    /// # Panics
    /// Where an image has another size.
    #[must_use]
    pub fn of(side: usize, images: Vec<Vec<f32>>) -> Self {
        let fits = images.iter().all(|image| image.len() == side * side);
        assert!(fits, "images of one size");
        Self {
            side,
            images,
            classes: None,
        }
    }

    /// Leaves out the slices that are not to be kept, by their images and classes.
    pub fn keep(&mut self, mut keeps: impl FnMut(&[f32], Option<&[u8]>) -> bool) {
        let kept: Vec<bool> = (0..self.len())
            .map(|i| keeps(self.image(i), self.classes(i)))
            .collect();
        let mut flags = kept.iter();
        self.images.retain(|_| flags.next() == Some(&true));
        if let Some(classes) = &mut self.classes {
            let mut flags = kept.iter();
            classes.retain(|_| flags.next() == Some(&true));
        }
    }

    /// The same slices with other images.
    ///
    /// # Panics
    /// Where an image has another size.
    #[must_use]
    pub fn map(self, image: impl Fn(&[f32]) -> Vec<f32>) -> Self {
        let change = |old: Vec<f32>| {
            let new = image(&old);
            assert_eq!(new.len(), old.len(), "an image of the same size");
            new
        };
        let images = self.images.into_iter().map(change).collect();
        Self { images, ..self }
    }

    /// Side of every slice, pixels.
    #[must_use]
    pub fn side(&self) -> usize {
        self.side
    }

    /// Number of slices.
    #[must_use]
    pub fn len(&self) -> usize {
        self.images.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.images.is_empty()
    }

    /// Slice `i`, rows of `side` pixels in [-1, 1].
    #[must_use]
    pub fn image(&self, i: usize) -> &[f32] {
        &self.images[i]
    }

    /// Classes of slice `i`, indices into the plan's.
    #[must_use]
    pub fn classes(&self, i: usize) -> Option<&[u8]> {
        self.classes.as_ref().map(|c| c[i].as_slice())
    }
}

/// Image slices of a case, and its class slices where asked for.
type CaseSlices = (Vec<Vec<f32>>, Option<Vec<Vec<u8>>>);

fn cut_case(case: &Case, modality: &Modality, plan: &Plan, labelled: bool) -> Result<CaseSlices> {
    let path = only_image(case)?;
    let image = io::read_image(path)?;
    let grid = image.grid().clone();
    let prepared = prepare(image, modality, plan)?;
    let shape = prepared.image.grid().shape();
    let (from, to) = ([shape[0], shape[1]], [plan.load; 2]);
    let images = (0..shape[2])
        .map(|z| pad_to(prepared.image.slice_z(z), from, to))
        .collect();
    if !labelled {
        return Ok((images, None));
    }
    let Some(label_path) = &case.label else {
        return Err(Error::data(
            format!(
                "expected a label map for case {}, found none; run `crossmod check`",
                case.id
            ),
            path,
        ));
    };
    let labels = labels_on(&grid, label_path)?;
    let upright = reorient_labels(&labels, prepared.orientation);
    let working = resample_labels_linear(&upright, &working_grid(upright.grid(), plan)?);
    let classes = indices(working.data(), &plan.classes, label_path)?;
    let area = from[0] * from[1];
    let cut = classes
        .chunks(area)
        .map(|slice| pad_to(slice, from, to))
        .collect();
    Ok((images, Some(cut)))
}
