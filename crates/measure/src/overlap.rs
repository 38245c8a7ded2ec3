//! Counting the voxels in which a prediction and the truth agree, label by label.

use std::collections::BTreeMap;
use std::ops::AddAssign;

use crossmod_volume::{Grid, Labels};
use rayon::prelude::*;

use crate::{Error, Result};

/// Grids whose corners differ by more than this do not hold the same voxels, mm.
pub const TOLERANCE_MM: f64 = 0.01;

/// Voxels counted at a time by one thread.
const BLOCK: usize = 1 << 20;

/// How one label's prediction and truth overlap: counts of voxels and volumes.
///
/// The default, nothing in either, is the overlap of two empty masks.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Overlap {
    /// Voxels in both.
    pub true_positive: u64,
    /// Voxels in the prediction alone.
    pub false_positive: u64,
    /// Voxels in the truth alone.
    pub false_negative: u64,
    /// Volume of the prediction, ml (cm³). PNG files have voxels of 1 mm³ by convention, so of
    /// slices it counts thousands of pixels.
    pub volume_prediction_ml: f64,
    /// Volume of the truth, ml.
    pub volume_truth_ml: f64,
}

impl Overlap {
    fn counted([true_positive, false_positive, false_negative]: [u64; 3], voxel_mm3: f64) -> Self {
        let ml = |voxels: u64| voxels as f64 * voxel_mm3 / 1000.0;
        Self {
            true_positive,
            false_positive,
            false_negative,
            volume_prediction_ml: ml(true_positive + false_positive),
            volume_truth_ml: ml(true_positive + false_negative),
        }
    }

    /// Dice coefficient 2 TP / (2 TP + FP + FN); `None` where both masks are empty.
    #[must_use]
    pub fn dice(&self) -> Option<f64> {
        ratio(
            2 * self.true_positive,
            self.false_positive + self.false_negative,
        )
    }

    /// Precision (positive predictive value) TP / (TP + FP); `None` where the prediction is empty.
    #[must_use]
    pub fn precision(&self) -> Option<f64> {
        ratio(self.true_positive, self.false_positive)
    }

    /// Recall (sensitivity) TP / (TP + FN); `None` where the truth is empty.
    #[must_use]
    pub fn recall(&self) -> Option<f64> {
        ratio(self.true_positive, self.false_negative)
    }

    /// The volume predicted too much, ml; too little where below 0. `None` where both are empty.
    #[must_use]
    pub fn volume_error_ml(&self) -> Option<f64> {
        let any = self.true_positive + self.false_positive + self.false_negative > 0;
        any.then_some(self.volume_prediction_ml - self.volume_truth_ml)
    }

    /// The volume predicted too much as a part of the truth's; `None` where the truth is empty.
    #[must_use]
    pub fn volume_error(&self) -> Option<f64> {
        let truth = self.true_positive + self.false_negative;
        let error = self.false_positive as f64 - self.false_negative as f64;
        (truth > 0).then(|| error / truth as f64)
    }

    /// Intersection over union (Jaccard index) TP / (TP + FP + FN); `None` where both masks are
    /// empty.
    #[must_use]
    pub fn iou(&self) -> Option<f64> {
        ratio(
            self.true_positive,
            self.false_positive + self.false_negative,
        )
    }
}

/// `hit / (hit + miss)`.
fn ratio(hit: u64, miss: u64) -> Option<f64> {
    (hit + miss > 0).then(|| hit as f64 / (hit + miss) as f64)
}

/// Pools the voxels of two parts, such as slices of one patient or cases of one study.
impl AddAssign for Overlap {
    fn add_assign(&mut self, other: Self) {
        self.true_positive += other.true_positive;
        self.false_positive += other.false_positive;
        self.false_negative += other.false_negative;
        self.volume_prediction_ml += other.volume_prediction_ml;
        self.volume_truth_ml += other.volume_truth_ml;
    }
}

/// The overlap of each of `labels`; other values count as background.
///
/// # Errors
/// As [`overlap_of`].
pub fn overlap(
    prediction: &Labels,
    truth: &Labels,
    labels: &[u16],
) -> Result<BTreeMap<u16, Overlap>> {
    let classes: Vec<(u16, &[u16])> = labels
        .iter()
        .map(|label| (*label, std::slice::from_ref(label)))
        .collect();
    overlap_of(prediction, truth, &classes, None)
}

/// The overlap of each of `classes`, each the value that it is told by and the values that it is
/// made of in either map; classes may overlap. Voxels whose truth is `ignore` are left out of every
/// count, volumes included.
///
/// # Errors
/// [`Error::Grids`] where the two do not lie on one grid: their shapes differ, or a corner is
/// more than [`TOLERANCE_MM`] away from its counterpart.
pub fn overlap_of(
    prediction: &Labels,
    truth: &Labels,
    classes: &[(u16, &[u16])],
    ignore: Option<u16>,
) -> Result<BTreeMap<u16, Overlap>> {
    expect_one_grid(prediction.grid(), truth.grid())?;
    let classes: BTreeMap<u16, &[u16]> = classes.iter().copied().collect();
    let sets = Sets::new(classes.values().copied());
    let empty = || vec![[0u64; 3]; classes.len()];
    let counts = prediction
        .data()
        .par_chunks(BLOCK)
        .zip(truth.data().par_chunks(BLOCK))
        .fold(empty, |mut counts, (prediction, truth)| {
            let mut at = 0;
            while at < truth.len() {
                let (p, t) = (prediction[at], truth[at]);
                // Voxels come in runs of one label: their classes are looked up once a run.
                let here = prediction[at..].iter().zip(&truth[at..]);
                let run = here.take_while(|&(a, b)| (*a, *b) == (p, t)).count();
                if Some(t) != ignore {
                    sets.count(p, t, run as u64, &mut counts);
                }
                at += run;
            }
            counts
        })
        .reduce(empty, |mut a, b| {
            for (a, b) in a.iter_mut().zip(b) {
                (0..3).for_each(|i| a[i] += b[i]);
            }
            a
        });
    let voxel_mm3 = truth.grid().voxel_volume_mm3();
    let overlaps = counts
        .into_iter()
        .map(|counts| Overlap::counted(counts, voxel_mm3));
    Ok(classes.into_keys().zip(overlaps).collect())
}

/// Which classes each value belongs to.
pub(crate) struct Sets {
    /// By value, where its classes are in `classes`; those of no class share an empty one.
    slot_of: Vec<u32>,
    classes: Vec<Vec<usize>>,
}

impl Sets {
    pub(crate) fn new<'a>(members: impl Iterator<Item = &'a [u16]>) -> Self {
        let mut slot_of = vec![0u32; usize::from(u16::MAX) + 1];
        let mut classes: Vec<Vec<usize>> = vec![Vec::new()];
        for (class, members) in members.enumerate() {
            for &value in members {
                let slot = &mut slot_of[usize::from(value)];
                if *slot == 0 {
                    *slot = classes.len() as u32;
                    classes.push(Vec::new());
                }
                let of_value = &mut classes[*slot as usize];
                if of_value.last() != Some(&class) {
                    of_value.push(class);
                }
            }
        }
        Self { slot_of, classes }
    }

    pub(crate) fn of(&self, value: u16) -> &[usize] {
        &self.classes[self.slot_of[usize::from(value)] as usize]
    }

    /// Adds voxels predicted as `p` that are `t` to the counts of each class: in both, in the
    /// prediction alone, in the truth alone.
    fn count(&self, p: u16, t: u16, voxels: u64, counts: &mut [[u64; 3]]) {
        let (predicted, true_) = (self.of(p), self.of(t));
        for class in predicted {
            let alone = usize::from(!true_.contains(class));
            counts[*class][alone] += voxels;
        }
        for class in true_.iter().filter(|class| !predicted.contains(class)) {
            counts[*class][2] += voxels;
        }
    }
}

/// Refuses what does not lie on the grid of the truth.
pub(crate) fn expect_one_grid(ours: &Grid, theirs: &Grid) -> Result<()> {
    if ours.shape() != theirs.shape() {
        return Err(Error::Grids(format!(
            "expected a prediction of the truth's shape {:?}, found {:?}; resample the prediction \
             onto the grid of the truth, by nearest neighbour",
            theirs.shape(),
            ours.shape()
        )));
    }
    if ours.matches(theirs, TOLERANCE_MM) {
        return Ok(());
    }
    let place = |grid: &Grid| {
        let list = |v: [f64; 3]| v.map(|x| format!("{x:.3}")).join(", ");
        format!(
            "first voxel at ({}) mm and spacing ({}) mm",
            list(grid.world([0.0; 3])),
            list(grid.spacing_mm())
        )
    };
    Err(Error::Grids(format!(
        "expected a prediction that lies where the truth does (to {TOLERANCE_MM} mm), with {}, \
         found {}; resample the prediction onto the grid of the truth, or, where only its \
         header is wrong, copy the header of the truth",
        place(theirs),
        place(ours)
    )))
}

#[cfg(test)]
mod tests {
    use crossmod_volume::rng::Rng;

    use super::*;

    fn labels(shape: [usize; 3], spacing_mm: [f64; 3], data: Vec<u16>) -> Labels {
        Labels::new(Grid::with_spacing(shape, spacing_mm).expect("a grid"), data).expect("labels")
    }

    fn square(data: [u16; 4]) -> Labels {
        labels([2, 2, 1], [10.0, 5.0, 2.0], data.to_vec())
    }

    #[test]
    fn four_voxels_by_hand() {
        let found =
            overlap(&square([1, 1, 2, 0]), &square([1, 2, 2, 2]), &[1, 2, 3]).expect("one grid");
        // Voxels of 100 mm³ are 0.1 ml.
        let by_hand = |tp, fp, fn_, prediction, truth| Overlap {
            true_positive: tp,
            false_positive: fp,
            false_negative: fn_,
            volume_prediction_ml: prediction,
            volume_truth_ml: truth,
        };
        assert_eq!(found[&1], by_hand(1, 1, 0, 0.2, 0.1));
        assert_eq!(found[&2].true_positive, 1);
        assert_eq!(found[&2].false_negative, 2);
        assert!((found[&2].volume_truth_ml - 0.3).abs() < 1e-12);
        assert_eq!(found[&3], Overlap::default());
        assert_eq!(found[&1].dice(), Some(2.0 / 3.0));
        assert_eq!(found[&1].iou(), Some(0.5));
        assert_eq!(found[&2].dice(), Some(0.5));
        assert_eq!(found[&2].iou(), Some(1.0 / 3.0));
    }

    #[test]
    fn empty_masks_are_undefined_and_one_sided_ones_are_zero() {
        let found =
            overlap(&square([1, 0, 0, 0]), &square([2, 0, 0, 0]), &[1, 2, 3]).expect("one grid");
        for one_sided in [1, 2] {
            assert_eq!(found[&one_sided].dice(), Some(0.0));
            assert_eq!(found[&one_sided].iou(), Some(0.0));
        }
        assert_eq!((found[&3].dice(), found[&3].iou()), (None, None));
    }

    /// Against one pass per label over random volumes of more than one block.
    #[test]
    fn counts_are_those_of_brute_force() {
        let shape = [128, 128, 70];
        let random = |case| {
            let mut rng = Rng::new(5, case, 0);
            let data = (0..shape.iter().product())
                .map(|_| rng.below(5) as u16 * 1000)
                .collect();
            labels(shape, [1.0; 3], data)
        };
        let (prediction, truth) = (random(0), random(1));
        let found = overlap(&prediction, &truth, &[3000, 1000, 1000, 77]).expect("one grid");
        assert_eq!(found.keys().copied().collect::<Vec<_>>(), [77, 1000, 3000]);
        for (label, overlap) in found {
            let count = |p, t| {
                let pairs = prediction.data().iter().zip(truth.data());
                pairs
                    .filter(|(a, b)| (**a == label) == p && (**b == label) == t)
                    .count() as u64
            };
            assert_eq!(overlap.true_positive, count(true, true));
            assert_eq!(overlap.false_positive, count(true, false));
            assert_eq!(overlap.false_negative, count(false, true));
            if let (Some(dice), Some(iou)) = (overlap.dice(), overlap.iou()) {
                assert!((iou - dice / (2.0 - dice)).abs() < 1e-12);
            }
        }
    }

    /// Against one pass per region; a part of the truth is not judged.
    #[test]
    fn regions_overlap_and_what_is_ignored_does_not_count() {
        let shape = [40, 30, 20];
        let random = |case, values| {
            let mut rng = Rng::new(6, case, 0);
            let data = (0..shape.iter().product()).map(|_| rng.below(values) as u16);
            labels(shape, [1.0, 2.0, 3.0], data.collect())
        };
        let (prediction, truth) = (random(0, 4), random(1, 5));
        let regions: [(u16, &[u16]); 3] = [(7, &[1, 2, 3]), (1, &[2, 3, 3]), (2, &[3])];
        let found = overlap_of(&prediction, &truth, &regions, Some(4)).expect("one grid");
        assert_eq!(found.keys().copied().collect::<Vec<_>>(), [1, 2, 7]);
        for (value, members) in regions {
            let pairs = || {
                let pairs = prediction.data().iter().zip(truth.data());
                pairs
                    .filter(|(_, t)| **t != 4)
                    .map(|(p, t)| (members.contains(p), members.contains(t)))
            };
            let count = |pair| pairs().filter(|found| *found == pair).count() as u64;
            let overlap = found[&value];
            assert_eq!(overlap.true_positive, count((true, true)));
            assert_eq!(overlap.false_positive, count((true, false)));
            assert_eq!(overlap.false_negative, count((false, true)));
            let judged = pairs().filter(|(p, _)| *p).count() as f64;
            assert!((overlap.volume_prediction_ml - judged * 6.0 / 1000.0).abs() < 1e-9);
        }
    }

    #[test]
    fn background_can_be_asked_for() {
        let found = overlap(&square([0, 0, 3, 1]), &square([0, 1, 0, 3]), &[0]).expect("one grid");
        let background = found[&0];
        assert_eq!(background.true_positive, 1);
        assert_eq!(
            (background.false_positive, background.false_negative),
            (1, 1)
        );
    }

    #[test]
    fn grids_that_differ_are_refused() {
        let truth = square([0; 4]);
        let longer = labels([4, 1, 1], [10.0, 5.0, 2.0], vec![0; 4]);
        let message = overlap(&longer, &truth, &[1])
            .expect_err("another shape")
            .to_string();
        assert!(message.contains("[2, 2, 1], found [4, 1, 1]"), "{message}");
        let wider = labels([2, 2, 1], [10.02, 5.0, 2.0], vec![0; 4]);
        let message = overlap(&wider, &truth, &[1])
            .expect_err("another spacing")
            .to_string();
        assert!(
            message.contains("10.020") && message.contains("resample"),
            "{message}"
        );
        let close = labels([2, 2, 1], [10.005, 5.0, 2.0], vec![0; 4]);
        assert!(overlap(&close, &truth, &[1]).is_ok());
    }
}
