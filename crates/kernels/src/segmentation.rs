//! Softmax cross-entropy and soft Dice of class logits, together in one pass each way.
//!
//! Logits are `[batch][classes][spatial]`, labels `[batch][spatial]`. With p the softmax over the
//! classes and g the one-hot label,
//!
//! - cross-entropy is the sum of `-w[label] ln p[label]` over the counted pixels divided by their
//!   number, not by the sum of the weights w (Huo et al. 2019, doi:10.1109/TMI.2018.2876633);
//! - soft Dice is 1 minus the mean over classes of `(2 Σpg + a) / (Σp² + Σg + b)` or
//!   `(2 Σpg + a) / (Σp + Σg + b)` (Milletari et al. 2016, doi:10.1109/3DV.2016.79; Drozdzal et al.
//!   2016, doi:10.1007/978-3-319-46976-8_19).
//!
//! The backward pass computes the softmax again, in pieces that stay in the first-level cache,
//! rather than read one that was kept: an exponential costs less than a trip to memory.

mod backward;
mod forward;
mod softmax;
#[cfg(test)]
mod tests;

use crate::simd::Level;

/// The sums and means of a soft Dice.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SoftDice {
    /// Whether the sizes are sums of squared probabilities, not of probabilities.
    pub squared: bool,
    /// Whether every sample has its own sums, not the batch one for all.
    pub per_sample: bool,
    /// Whether class 0 counts.
    pub background: bool,
    /// Added to the numerator.
    pub smooth_numerator: f32,
    /// Added to the denominator; positive.
    pub smooth_denominator: f32,
}

impl SoftDice {
    /// `2 (Σpg + ε) / (Σp² + Σg + ε)` over the batch without class 0, ε = 1e-7: `DiceNorm` of the
    /// code of SynSeg-Net.
    pub const SYNSEG: Self = Self {
        squared: true,
        per_sample: false,
        background: false,
        smooth_numerator: 2e-7,
        smooth_denominator: 1e-7,
    };

    /// `(2 Σpg + ε) / (Σp + Σg + ε)` for each sample without class 0, ε = 1e-5: nnU-Net (Isensee et
    /// al. 2021, doi:10.1038/s41592-020-01008-z).
    pub const NNUNET: Self = Self {
        squared: false,
        per_sample: true,
        background: false,
        smooth_numerator: 1e-5,
        smooth_denominator: 1e-5,
    };
}

/// The geometry and options of the two losses.
#[derive(Debug, Clone, PartialEq)]
pub struct SegmentationLoss {
    /// Samples.
    pub batch: usize,
    /// Classes.
    pub classes: usize,
    /// Pixels of a sample.
    pub spatial: usize,
    /// A weight per class in the cross-entropy; 1 where there are none.
    pub weights: Option<Vec<f32>>,
    /// Pixels of this label count in neither loss.
    pub ignore: Option<u16>,
    /// The options of the soft Dice.
    pub dice: SoftDice,
}

/// The two losses of a batch, and what their gradient needs of it.
#[derive(Debug, Clone, PartialEq)]
pub struct SegmentationTerms {
    /// The cross-entropy; 0 where no pixel counts.
    pub cross_entropy: f64,
    /// 1 minus the mean soft Dice.
    pub dice: f64,
    /// Pixels that count.
    counted: u64,
    /// By sample (or once for all) and class: the slope of the Dice loss along a probability is the
    /// first where the label is the class, plus the second (times the probability, if squared).
    slopes: Vec<[f32; 2]>,
}

impl SegmentationLoss {
    /// Both losses.
    ///
    /// # Panics
    ///
    /// Where a length does not fit, a label is no class, or no class counts in the Dice.
    #[must_use]
    pub fn forward(&self, logits: &[f32], labels: &[u16]) -> SegmentationTerms {
        forward::forward(Level::best(), self, logits, labels)
    }

    /// The gradient `dlogits` of `cross_entropy` times the one loss plus `dice` times the other;
    /// `terms` is what [`SegmentationLoss::forward`] gave for the same logits and labels. Every
    /// element of `dlogits` is written.
    ///
    /// # Panics
    ///
    /// As [`SegmentationLoss::forward`].
    pub fn backward(
        &self,
        logits: &[f32],
        labels: &[u16],
        terms: &SegmentationTerms,
        [cross_entropy, dice]: [f32; 2],
        dlogits: &mut [f32],
    ) {
        let scale = [cross_entropy, dice];
        backward::backward(Level::best(), self, logits, labels, terms, scale, dlogits);
    }

    fn check(&self, logits: usize, labels: usize) {
        let pixels = self.batch * self.spatial;
        assert_eq!(labels, pixels, "labels for {self:?}");
        assert_eq!(logits, pixels * self.classes, "logits for {self:?}");
        assert!(
            self.weights
                .as_ref()
                .is_none_or(|w| w.len() == self.classes),
            "a weight per class"
        );
        assert!(
            self.classes > usize::from(!self.dice.background),
            "a class that counts in the Dice"
        );
    }

    fn weight(&self, class: usize) -> f32 {
        self.weights.as_ref().map_or(1.0, |w| w[class])
    }

    /// The first class that counts in the Dice.
    fn first_class(&self) -> usize {
        usize::from(!self.dice.background)
    }

    /// Samples that share their Dice sums, counted from 0.
    fn group(&self, sample: usize) -> usize {
        if self.dice.per_sample { sample } else { 0 }
    }

    fn groups(&self) -> usize {
        if self.dice.per_sample { self.batch } else { 1 }
    }
}
