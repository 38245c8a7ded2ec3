//! Every slice of one modality in memory, ready to be cropped.

use crossmod_volume::dataset::Case;
use crossmod_volume::io;
use crossmod_volume::space::{reorient_labels, resample_labels_linear};
use rayon::prelude::*;

use super::case::{indices, labels_on, only_image};
use super::prepare::{pad_to, prepare, working_grid};
use crate::plan::{Modality, Plan};
use crate::{Error, Result};

/// The slices of all cases, of side [`Plan::load`], with their classes where the cases are labelled,
/// and the samples that are made of them, as the plan's dims say:
///
/// | dims | a sample |
/// |---|---|
/// | 2-D | a slice |
/// | 2.5-D | a slice and its neighbours as channels, with the slice's own classes |
/// | 3-D | consecutive slices of a case, all with their classes |
///
/// Beyond a case's ends its outermost slice is repeated.
#[derive(Debug, Clone)]
pub struct Slices {
    side: usize,
    /// Neighbours on either side that are channels.
    context: usize,
    /// Slices of a block; none where samples are slices.
    block: Option<usize>,
    images: Vec<Vec<f32>>,
    classes: Option<Vec<Vec<u8>>>,
    /// Of each image the first and the last of its case.
    cases: Vec<[usize; 2]>,
    /// What is chosen from: images, or the first image of each case that blocks are cut of.
    kept: Vec<usize>,
}

/// A sample as it lies in its case, uncropped.
#[derive(Debug, Clone, PartialEq)]
pub struct Excerpt {
    /// Its planes one after the other, in [-1, 1].
    pub planes: Vec<f32>,
    /// The class of every pixel of its middle plane, or of all of a block's, where it is labelled.
    pub classes: Option<Vec<u8>>,
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
            context: plan.context(),
            block: plan.block.as_ref().map(|block| block.slices),
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
        let is_sample = |&i: &usize| slices.block.is_none() || slices.cases[i][0] == i;
        slices.kept = (0..slices.images.len()).filter(is_sample).collect();
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
            block: None,
            cases: (0..images.len()).map(|i| [i, i]).collect(),
            kept: (0..images.len()).collect(),
            images,
            classes: None,
        }
    }

    /// The same as blocks of `slices` of one case that all of them are.
    #[cfg(test)]
    pub(crate) fn in_blocks(self, slices: usize) -> Self {
        let last = self.images.len().saturating_sub(1);
        Self {
            block: Some(slices),
            cases: vec![[0, last]; self.images.len()],
            kept: self.kept.into_iter().take(1).collect(),
            ..self
        }
    }

    /// Leaves out what is not to be kept, by its samples: the one of a slice, or blocks that together
    /// show the whole of a case. What is left out stays its neighbours' neighbour.
    pub fn keep(&mut self, mut keeps: impl FnMut(&[Excerpt]) -> bool) {
        let kept: Vec<usize> = (0..self.len())
            .filter(|&i| keeps(&self.excerpts(i)))
            .map(|i| self.kept[i])
            .collect();
        self.kept = kept;
    }

    /// The same slices with other images, made case by case of all its slices.
    ///
    /// # Panics
    /// Where images have another size or another number.
    #[must_use]
    pub fn map(self, case: impl Fn(&[&[f32]]) -> Vec<Vec<f32>>) -> Self {
        let mut images: Vec<Vec<f32>> = Vec::with_capacity(self.images.len());
        while let Some(&[first, last]) = self.cases.get(images.len()) {
            let old: Vec<&[f32]> = (first..=last).map(|i| self.images[i].as_slice()).collect();
            let new = case(&old);
            let same = new
                .iter()
                .map(Vec::len)
                .eq(old.iter().map(|image| image.len()));
            assert!(same, "as many images of the same size");
            images.extend(new);
        }
        Self { images, ..self }
    }

    /// How many places sample `i` can be cut at: of a slice one, of a block as many as it can begin at
    /// within its case.
    #[must_use]
    pub fn places(&self, i: usize) -> usize {
        let [first, last] = self.cases[self.kept[i]];
        self.block
            .map_or(1, |block| (last + 2 - first).saturating_sub(block).max(1))
    }

    /// The images that sample `i` cut at a place is made of.
    fn shown(&self, i: usize, place: usize) -> Vec<usize> {
        let (image, case) = (self.kept[i], self.cases[self.kept[i]]);
        match self.block {
            Some(slices) => block(place, slices, case).collect(),
            None => neighbours(image, self.context, case).collect(),
        }
    }

    /// The planes of sample `i` cut at a place: rows of `side` pixels in [-1, 1].
    #[must_use]
    pub fn planes(&self, i: usize, place: usize) -> Vec<&[f32]> {
        let shown = self.shown(i, place).into_iter();
        shown.map(|image| self.images[image].as_slice()).collect()
    }

    /// The classes of sample `i` cut at a place, plane by plane, indices into the plan's; none where
    /// the cases are not labelled.
    #[must_use]
    pub fn classes(&self, i: usize, place: usize) -> Option<Vec<&[u8]>> {
        let all = self.classes.as_ref()?;
        let labelled = match self.block {
            Some(_) => self.shown(i, place),
            None => vec![self.kept[i]],
        };
        let labelled = labelled.into_iter();
        Some(labelled.map(|image| all[image].as_slice()).collect())
    }

    /// The excerpts that together show all of sample `i`: of a slice one, of a case as many blocks as
    /// it takes.
    #[must_use]
    pub fn excerpts(&self, i: usize) -> Vec<Excerpt> {
        let slices = self.block.unwrap_or(1);
        let at = |place| Excerpt {
            planes: self.planes(i, place).concat(),
            classes: self.classes(i, place).map(|planes| planes.concat()),
        };
        covering(self.places(i), slices).map(at).collect()
    }

    /// Planes of a sample that are its channels.
    #[must_use]
    pub fn channels(&self) -> usize {
        2 * self.context + 1
    }

    /// Slices of a block; 1 where samples are slices.
    #[must_use]
    pub fn depth(&self) -> usize {
        self.block.unwrap_or(1)
    }

    /// Side of every slice, pixels.
    #[must_use]
    pub fn side(&self) -> usize {
        self.side
    }

    /// Number of samples: slices, or cases that blocks are cut of.
    #[must_use]
    pub fn len(&self) -> usize {
        self.kept.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.kept.is_empty()
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

/// The places of a block of `slices` whose first is the case's `at`-th; a case of fewer slices lies in
/// the middle of it, its outermost ones repeated.
pub(crate) fn block(
    at: usize,
    slices: usize,
    [first, last]: [usize; 2],
) -> impl Iterator<Item = usize> {
    let before = slices.saturating_sub(last + 1 - first) / 2;
    (0..slices).map(move |i| (first + at + i).saturating_sub(before).clamp(first, last))
}

/// Where blocks of `slices` begin that together show a case of so many `places` to begin at: half a
/// block apart at most.
pub(crate) fn covering(places: usize, slices: usize) -> impl Iterator<Item = usize> {
    let last = places - 1;
    let step = (slices / 2).max(1);
    let steps = last.div_ceil(step);
    (0..=steps).map(move |i| (i * step).min(last))
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

    /// Two cases, of three and two slices of one pixel.
    fn two_cases(context: usize, block: Option<usize>) -> Slices {
        Slices {
            side: 1,
            context,
            block,
            images: (0..5).map(|i| vec![i as f32]).collect(),
            classes: Some((0..5).map(|i| vec![i]).collect()),
            cases: vec![[0, 2], [0, 2], [0, 2], [3, 4], [3, 4]],
            kept: match block {
                Some(_) => vec![0, 3],
                None => (0..5).collect(),
            },
        }
    }

    #[test]
    fn stacks_end_with_their_case() {
        let stacks = |slices: &Slices| -> Vec<Vec<f32>> {
            let stack = |i| slices.planes(i, 0).concat();
            (0..slices.len()).map(stack).collect()
        };
        let alone = two_cases(0, None);
        assert_eq!(alone.channels(), 1);
        assert_eq!(stacks(&alone), [[0.0], [1.0], [2.0], [3.0], [4.0]]);
        let three = two_cases(1, None);
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
        let five = two_cases(2, None);
        assert_eq!(stacks(&five)[0], [0.0, 0.0, 0.0, 1.0, 2.0]);
        assert_eq!(stacks(&five)[4], [3.0, 3.0, 4.0, 4.0, 4.0]);
    }

    /// Blocks of two slices begin at either of three slices' first two, and show all with their
    /// classes; of two slices there is one; a longer block repeats a case's ends.
    #[test]
    fn blocks_lie_within_their_case() {
        let pairs = two_cases(0, Some(2));
        assert_eq!((pairs.len(), pairs.channels(), pairs.depth()), (2, 1, 2));
        assert_eq!((pairs.places(0), pairs.places(1)), (2, 1));
        assert_eq!(pairs.planes(0, 1).concat(), [1.0, 2.0]);
        assert_eq!(pairs.classes(0, 1).map(|c| c.concat()), Some(vec![1, 2]));
        assert_eq!(pairs.planes(1, 0).concat(), [3.0, 4.0]);
        let long = two_cases(0, Some(6));
        assert_eq!((long.places(0), long.places(1)), (1, 1));
        assert_eq!(long.planes(0, 0).concat(), [0.0, 0.0, 1.0, 2.0, 2.0, 2.0]);
        assert_eq!(long.planes(1, 0).concat(), [3.0, 3.0, 3.0, 4.0, 4.0, 4.0]);
    }

    #[test]
    fn blocks_cover_a_case() {
        let begins = |places, slices| covering(places, slices).collect::<Vec<_>>();
        assert_eq!(begins(1, 8), [0]);
        // 12 slices in blocks of 8.
        assert_eq!(begins(5, 8), [0, 4]);
        assert_eq!(begins(7, 8), [0, 4, 6]);
        assert_eq!(begins(3, 1), [0, 1, 2]);
    }

    /// A slice that is left out is still its neighbours' neighbour, and made anew like them.
    #[test]
    fn what_is_left_out_stays_a_neighbour() {
        let mut slices = two_cases(1, None);
        slices.keep(|samples| {
            let middle = samples[0].planes[1];
            assert_eq!(samples.len(), 1);
            assert_eq!(samples[0].classes, Some(vec![middle as u8]));
            middle == 1.0 || middle == 4.0
        });
        let classes = slices.classes(1, 0).map(|c| c.concat());
        assert_eq!((slices.len(), classes), (2, Some(vec![4])));
        let sums = slices.map(|case| {
            let sum = case.iter().map(|image| image[0]).sum::<f32>();
            case.iter().map(|image| vec![sum + image[0]]).collect()
        });
        assert_eq!(sums.planes(0, 0).concat(), [3.0, 4.0, 5.0]);
        assert_eq!(sums.planes(1, 0).concat(), [10.0, 11.0, 11.0]);
    }

    /// Of a case all blocks are looked at before it is left out.
    #[test]
    fn cases_are_left_out_whole() {
        let mut slices = two_cases(0, Some(2));
        let mut seen = Vec::new();
        slices.keep(|samples| {
            seen.push(samples.iter().map(|s| s.planes.clone()).collect::<Vec<_>>());
            samples.len() == 1
        });
        assert_eq!(seen[0], [[0.0, 1.0], [1.0, 2.0]]);
        assert_eq!((seen.len(), slices.len()), (2, 1));
        assert_eq!(slices.planes(0, 0).concat(), [3.0, 4.0]);
    }
}
