//! Every slice of one modality in memory, ready to be cropped.

use crossmod_volume::dataset::Case;
use crossmod_volume::io;
use crossmod_volume::space::{reorient_labels, resample_labels_linear};
use rayon::prelude::*;

use super::case::{indices, labels_on, only_image};
use super::prepare::{pad_to, prepare, working_grid};
use crate::plan::{Modality, Plan};
use crate::{Error, Result};

/// Slices of side [`Plan::load`], with their classes where the cases are labelled. Each is a stack
/// of itself and [`Plan::context`] neighbours on either side; beyond a case's ends its outermost
/// slice is repeated.
#[derive(Debug, Clone)]
pub struct Slices {
    side: usize,
    context: usize,
    images: Vec<Vec<f32>>,
    classes: Option<Vec<Vec<u8>>>,
    /// Of each image the first and the last of its case.
    cases: Vec<[usize; 2]>,
    /// The images that are chosen from.
    kept: Vec<usize>,
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
            context: plan.context,
            images: Vec::new(),
            classes: labelled.then(Vec::new),
            cases: Vec::new(),
            kept: Vec::new(),
        };
        for (images, classes) in cut {
            let first = slices.images.len();
            let end = first + images.len();
            slices.cases.extend((first..end).map(|_| [first, end - 1]));
            slices.images.extend(images);
            if let (Some(all), Some(classes)) = (&mut slices.classes, classes) {
                all.extend(classes);
            }
        }
        slices.kept = (0..slices.images.len()).collect();
        Ok(slices)
    }

    /// Slices of side `side` without classes, each a case of its own.
    ///
    /// # Panics
    /// Where an image has another size.
    #[must_use]
    pub fn of(side: usize, images: Vec<Vec<f32>>) -> Self {
        let fits = images.iter().all(|image| image.len() == side * side);
        assert!(fits, "images of one size");
        Self {
            side,
            context: 0,
            cases: (0..images.len()).map(|i| [i, i]).collect(),
            kept: (0..images.len()).collect(),
            images,
            classes: None,
        }
    }

    /// Leaves out the slices that are not to be kept, by their stacks and classes. As neighbours of
    /// others they stay.
    pub fn keep(&mut self, mut keeps: impl FnMut(&[f32], Option<&[u8]>) -> bool) {
        let kept: Vec<usize> = (0..self.len())
            .filter(|&i| keeps(&self.stack(i), self.classes(i)))
            .map(|i| self.kept[i])
            .collect();
        self.kept = kept;
    }

    /// The same slices with other images, each made of its stack.
    ///
    /// # Panics
    /// Where an image has another size.
    #[must_use]
    pub fn map(self, image: impl Fn(&[f32]) -> Vec<f32>) -> Self {
        let change = |i: usize| {
            let new = image(&self.around(i).collect::<Vec<_>>().concat());
            assert_eq!(new.len(), self.images[i].len(), "an image of the same size");
            new
        };
        let images = (0..self.images.len()).map(change).collect();
        Self { images, ..self }
    }

    /// An image and its neighbours, from the first to the last.
    fn around(&self, image: usize) -> impl Iterator<Item = &[f32]> {
        neighbours(image, self.context, self.cases[image])
            .map(|place| self.images[place].as_slice())
    }

    /// The planes of slice `i`'s stack, itself in the middle: rows of `side` pixels in [-1, 1].
    pub fn planes(&self, i: usize) -> impl Iterator<Item = &[f32]> {
        self.around(self.kept[i])
    }

    /// The planes of slice `i`'s stack, one after the other.
    #[must_use]
    pub fn stack(&self, i: usize) -> Vec<f32> {
        self.planes(i).collect::<Vec<_>>().concat()
    }

    /// Planes of a stack.
    #[must_use]
    pub fn channels(&self) -> usize {
        2 * self.context + 1
    }

    /// Side of every slice, pixels.
    #[must_use]
    pub fn side(&self) -> usize {
        self.side
    }

    /// Number of slices.
    #[must_use]
    pub fn len(&self) -> usize {
        self.kept.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.kept.is_empty()
    }

    /// Classes of slice `i`, indices into the plan's.
    #[must_use]
    pub fn classes(&self, i: usize) -> Option<&[u8]> {
        self.classes.as_ref().map(|c| c[self.kept[i]].as_slice())
    }
}

/// The places of a slice and `context` neighbours on either side, in order; beyond the first and the
/// last slice of its case the outermost is repeated.
pub(crate) fn neighbours(
    slice: usize,
    context: usize,
    [first, last]: [usize; 2],
) -> impl Iterator<Item = usize> {
    // Counted from `context` before the slice, which may lie before zero.
    (slice..=slice + 2 * context).map(move |place| place.saturating_sub(context).clamp(first, last))
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

#[cfg(test)]
mod tests {
    use super::*;

    /// Two cases, of three and two slices of one pixel, with a neighbour on either side.
    fn two_cases(context: usize) -> Slices {
        Slices {
            side: 1,
            context,
            images: (0..5).map(|i| vec![i as f32]).collect(),
            classes: Some((0..5).map(|i| vec![i]).collect()),
            cases: vec![[0, 2], [0, 2], [0, 2], [3, 4], [3, 4]],
            kept: (0..5).collect(),
        }
    }

    #[test]
    fn stacks_end_with_their_case() {
        let stacks = |slices: &Slices| -> Vec<Vec<f32>> {
            (0..slices.len()).map(|i| slices.stack(i)).collect()
        };
        let alone = two_cases(0);
        assert_eq!(alone.channels(), 1);
        assert_eq!(stacks(&alone), [[0.0], [1.0], [2.0], [3.0], [4.0]]);
        let three = two_cases(1);
        assert_eq!(
            stacks(&three),
            [
                [0.0, 0.0, 1.0],
                [0.0, 1.0, 2.0],
                [1.0, 2.0, 2.0],
                [3.0, 3.0, 4.0],
                [3.0, 4.0, 4.0]
            ]
        );
        let five = two_cases(2);
        assert_eq!(five.stack(0), [0.0, 0.0, 0.0, 1.0, 2.0]);
        assert_eq!(five.stack(4), [3.0, 3.0, 4.0, 4.0, 4.0]);
    }

    /// A slice that is left out is still its neighbours' neighbour, and made anew like them.
    #[test]
    fn what_is_left_out_stays_a_neighbour() {
        let mut slices = two_cases(1);
        slices.keep(|stack, classes| {
            assert_eq!(classes, Some(&[stack[1] as u8][..]));
            stack[1] == 1.0 || stack[1] == 4.0
        });
        assert_eq!((slices.len(), slices.classes(1)), (2, Some(&[4u8][..])));
        let sums = slices.map(|stack| vec![stack.iter().sum()]);
        assert_eq!(sums.stack(0), [1.0, 3.0, 5.0]);
        assert_eq!(sums.stack(1), [10.0, 11.0, 11.0]);
    }
}
