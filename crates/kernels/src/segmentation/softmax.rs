//! The softmax of a piece of the pixels of a sample, all classes.

use super::SegmentationLoss;
use crate::exponential::exp;

/// Pixels of a piece: with a few classes it stays in the first-level cache.
pub(super) const PIECE: usize = 256;

/// Pixels in one task. Fixed: the order of the sums follows from it.
pub(super) const CHUNK: usize = 32 * PIECE;

/// The label of a pixel that does not count.
const NONE: u32 = u32::MAX;

/// Room for a piece. What lies beyond the last pixel does not count.
pub(super) struct Piece {
    /// By class, the softmax; 0 where a pixel does not count.
    pub(super) p: Vec<[f32; PIECE]>,
    pub(super) truth: [u32; PIECE],
    /// The weight of the true class; 0 where a pixel does not count.
    pub(super) weight: [f32; PIECE],
    /// The true class's logit minus the largest.
    pub(super) at_truth: [f32; PIECE],
    /// The sum of the exponentials of the logits minus the largest.
    pub(super) sum: [f32; PIECE],
}

impl Piece {
    pub(super) fn new(classes: usize) -> Self {
        Self {
            p: vec![[0.0; PIECE]; classes],
            truth: [NONE; PIECE],
            weight: [0.0; PIECE],
            at_truth: [0.0; PIECE],
            sum: [1.0; PIECE],
        }
    }

    /// Takes the `len` pixels from `start` of a sample's logits and labels; the number that counts.
    #[inline(always)]
    pub(super) fn fill(
        &mut self,
        of: &SegmentationLoss,
        logits: &[f32],
        labels: &[u16],
        start: usize,
        len: usize,
    ) -> usize {
        let counted = self.read_labels(of, &labels[start..][..len]);
        let mut top = [f32::NEG_INFINITY; PIECE];
        for (class, p) in self.p.iter_mut().enumerate() {
            p[..len].copy_from_slice(&logits[class * of.spatial + start..][..len]);
            p[len..].fill(0.0);
            for (top, z) in top.iter_mut().zip(&*p) {
                *top = if *z > *top { *z } else { *top };
            }
        }
        self.sum.fill(0.0);
        self.weight.fill(0.0);
        self.at_truth.fill(0.0);
        for (class, p) in self.p.iter_mut().enumerate() {
            let weight = of.weight(class);
            for i in 0..PIECE {
                let z = p[i] - top[i];
                let here = self.truth[i] == class as u32;
                // Sums of one term: a choice would become a masked store, slow on some CPUs.
                self.at_truth[i] += if here { z } else { 0.0 };
                self.weight[i] += if here { weight } else { 0.0 };
                p[i] = exp(z);
                self.sum[i] += p[i];
            }
        }
        let mut inverse = [0.0; PIECE];
        for (inverse, (sum, truth)) in inverse.iter_mut().zip(self.sum.iter().zip(&self.truth)) {
            *inverse = if *truth == NONE { 0.0 } else { 1.0 / sum };
        }
        for p in &mut self.p {
            for (p, inverse) in p.iter_mut().zip(&inverse) {
                *p *= inverse;
            }
        }
        counted
    }

    #[inline(always)]
    fn read_labels(&mut self, of: &SegmentationLoss, labels: &[u16]) -> usize {
        let ignore = of.ignore.map_or(NONE, u32::from);
        self.truth.fill(NONE);
        let (mut counted, mut wrong) = (0u32, 0u32);
        for (truth, label) in self.truth.iter_mut().zip(labels) {
            let label = u32::from(*label);
            let counts = label != ignore;
            *truth = if counts { label } else { NONE };
            counted += u32::from(counts);
            wrong += u32::from(counts & (label >= of.classes as u32));
        }
        assert!(wrong == 0, "a label is not below {} classes", of.classes);
        counted as usize
    }
}
