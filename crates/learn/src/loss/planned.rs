//! The loss of a planned net: of exclusive classes or overlapping regions, at every supervised size,
//! where some voxels or some classes may be unknown.
//!
//! - Exclusive classes: softmax; cross-entropy plus soft Dice of the foreground, as nnU-Net
//!   (Isensee et al., doi:10.1038/s41592-020-01008-z). Regions: the sigmoid of each one's own channel,
//!   binary cross-entropy plus soft Dice.
//! - Deep supervision: the output of the stage i halvings down has the weight 2⁻ⁱ, the weights
//!   summing to 1; its truth is the label at the middle of each of its voxels.
//! - A case in which only some classes were annotated: the others may be hidden in its background, so
//!   their probabilities are added to that of the background before the loss is taken (the marginal
//!   loss of Shi et al., doi:10.1016/j.media.2021.101979); of regions, their channels do not count.

use burn::tensor::{Tensor, TensorData, activation};
use serde::{Deserialize, Serialize};

use crate::ops::{self, Segmentation, SoftDice};
use crate::segment::SegmentationPlan;

/// What a deviation of a planned net costs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PlannedLossConfig {
    /// On the cross-entropy.
    pub lambda_cross_entropy: f32,
    /// On 1 minus the soft Dice.
    pub lambda_dice: f32,
    /// Whether each class is told from all else by itself (sigmoid) also where classes exclude each
    /// other; regions always are.
    pub binary: bool,
    /// Weight of each class in the cross-entropy, in the plan's order, background first; all 1
    /// where empty.
    pub class_weights: Vec<f32>,
}

impl Default for PlannedLossConfig {
    /// nnU-Net's (doi:10.1038/s41592-020-01008-z).
    fn default() -> Self {
        Self {
            lambda_cross_entropy: 1.0,
            lambda_dice: 1.0,
            binary: false,
            class_weights: Vec::new(),
        }
    }
}

/// What is known of a batch.
#[derive(Debug, Clone, Copy)]
pub struct Truth<'a> {
    /// Label values as they are stored, `[sample][z][y][x]`.
    pub labels: &'a [u16],
    /// Voxels of a sample.
    pub shape: [usize; 3],
    /// For each sample which classes of the plan were annotated; all where there are none.
    pub annotated: &'a [Option<Vec<bool>>],
}

/// The loss of a plan's net.
#[derive(Debug, Clone)]
pub struct PlannedLoss {
    config: PlannedLossConfig,
    classes: usize,
    binary: bool,
    /// The class of each label value; [`IGNORED`] where it does not count.
    class_of: Vec<u16>,
    /// The label values of each class but the background.
    regions: Vec<Vec<u16>>,
    ignore: Option<u16>,
    dice: SoftDice,
}

/// The class of voxels that do not count.
const IGNORED: u16 = u16::MAX;

impl PlannedLoss {
    /// The loss of `plan`'s classes.
    #[must_use]
    pub fn new(config: &PlannedLossConfig, plan: &SegmentationPlan) -> Self {
        let mut class_of = vec![0; usize::from(u16::MAX) + 1];
        for (class, number) in plan.classes.iter().zip(0..) {
            for &value in class.members() {
                class_of[usize::from(value)] = number;
            }
        }
        if let Some(ignore) = plan.ignore {
            class_of[usize::from(ignore)] = IGNORED;
        }
        let regions = plan.classes.iter().skip(1);
        Self {
            config: config.clone(),
            classes: plan.classes.len(),
            binary: config.binary || plan.has_regions(),
            class_of,
            regions: regions.map(|class| class.members().to_vec()).collect(),
            ignore: plan.ignore,
            dice: SoftDice {
                per_sample: !plan.batch_dice,
                ..SoftDice::NNUNET
            },
        }
    }

    /// The loss with all defaults of `classes` classes, each of the label value of its number.
    #[must_use]
    pub(crate) fn of_classes(classes: usize) -> Self {
        Self {
            config: PlannedLossConfig::default(),
            classes,
            binary: false,
            class_of: (0..=u16::MAX).collect(),
            regions: Vec::new(),
            ignore: None,
            dice: SoftDice::NNUNET,
        }
    }

    /// Channels that the net gives: of regions none for the background.
    #[must_use]
    pub fn outputs(&self) -> usize {
        self.classes - usize::from(self.binary)
    }

    /// Whether each channel's sigmoid is a probability of its own, rather than all channels'
    /// softmax.
    #[must_use]
    pub fn is_binary(&self) -> bool {
        self.binary
    }

    /// Whether voxels of a label value do not count.
    #[must_use]
    pub fn ignores(&self, value: u16) -> bool {
        self.ignore == Some(value)
    }

    /// Whether a label value belongs to what a channel of the net stands for.
    #[must_use]
    pub fn is_of(&self, channel: usize, value: u16) -> bool {
        if self.binary {
            self.regions[channel].contains(&value)
        } else {
            usize::from(self.class_of[usize::from(value)]) == channel
        }
    }

    /// The loss of the logits of every supervised size, the finest first.
    ///
    /// # Shapes
    /// Each `[n, outputs, d, h, w]`, sizes that divide the truth's; a scalar `[1]`.
    ///
    /// # Panics
    /// Where there are no logits, or shapes do not fit.
    #[must_use]
    pub fn of(&self, logits: Vec<Tensor<5>>, truth: Truth<'_>) -> Tensor<1> {
        let sizes = logits.len() as i32;
        let total: f32 = (0..sizes).map(|i| 0.5f32.powi(i)).sum();
        let weighed = logits.into_iter().zip(0..).map(|(logits, i)| {
            let [.., d, h, w] = logits.dims();
            let labels = thinned(truth.labels, truth.shape, [d, h, w]);
            let loss = if self.binary {
                self.sigmoid(logits, &labels, truth.annotated)
            } else {
                self.softmax(logits, &labels, truth.annotated)
            };
            loss * (0.5f32.powi(i) / total)
        });
        weighed.reduce(|a, b| a + b).expect("logits of a size")
    }

    fn softmax(
        &self,
        logits: Tensor<5>,
        labels: &[u16],
        annotated: &[Option<Vec<bool>>],
    ) -> Tensor<1> {
        let classes: Vec<u16> = labels
            .iter()
            .map(|&value| self.class_of[usize::from(value)])
            .collect();
        let all: Vec<usize> = (0..self.classes).collect();
        if annotated.iter().all(Option::is_none) {
            return self.exclusive(logits, classes, &all);
        }
        let samples = logits.dims()[0];
        let voxels = labels.len() / samples;
        let each = (0..samples).map(|i| {
            let own = logits.clone().narrow(0, i, 1);
            let truth = &classes[i * voxels..(i + 1) * voxels];
            let Some(annotated) = &annotated[i] else {
                return self.exclusive(own, truth.to_vec(), &all);
            };
            let known: Vec<usize> = (0..self.classes)
                .filter(|&c| c == 0 || annotated[c])
                .collect();
            let place = |&class: &u16| match class {
                IGNORED => IGNORED,
                class => {
                    let found = known.iter().position(|&k| k == usize::from(class));
                    found.unwrap_or(0) as u16
                }
            };
            let truth = truth.iter().map(place).collect();
            self.exclusive(merged(own, &known), truth, &known)
        });
        let sum = each.reduce(|a, b| a + b).expect("a sample");
        sum / samples as f32
    }

    /// The loss of logits of the classes `known`.
    fn exclusive(&self, logits: Tensor<5>, labels: Vec<u16>, known: &[usize]) -> Tensor<1> {
        let weights = &self.config.class_weights;
        let dice = if known.len() > 1 {
            self.config.lambda_dice
        } else {
            0.0
        };
        let of = Segmentation {
            labels,
            ignore: Some(IGNORED),
            weights: (!weights.is_empty()).then(|| known.iter().map(|&c| weights[c]).collect()),
            dice: SoftDice {
                background: known.len() == 1,
                ..self.dice
            },
            factors: [self.config.lambda_cross_entropy, dice],
        };
        ops::segmentation_loss(logits, of)
    }

    fn sigmoid(
        &self,
        logits: Tensor<5>,
        labels: &[u16],
        annotated: &[Option<Vec<bool>>],
    ) -> Tensor<1> {
        let [samples, regions, ..] = logits.dims();
        let voxels = labels.len() / samples;
        let mut truth = Vec::with_capacity(samples * regions * voxels);
        let mut counts = Vec::with_capacity(truth.capacity());
        let mut known = Vec::with_capacity(samples * regions);
        for (i, labels) in labels.chunks(voxels).enumerate() {
            for (region, members) in self.regions.iter().enumerate() {
                let asked = annotated.get(i).and_then(Option::as_ref);
                let here = asked.is_none_or(|annotated| annotated[region + 1]);
                known.push(f32::from(u8::from(here)));
                for value in labels {
                    truth.push(f32::from(u8::from(members.contains(value))));
                    let counted = here && self.ignore != Some(*value);
                    counts.push(f32::from(u8::from(counted)));
                }
            }
        }
        let device = logits.device();
        let shape = [samples, regions, voxels];
        let x = logits.reshape(shape);
        let truth = Tensor::from_data(TensorData::new(truth, shape), &device);
        let counted: f32 = counts.iter().sum();
        let counts = Tensor::<3>::from_data(TensorData::new(counts, shape), &device);
        let known = Tensor::<3>::from_data(TensorData::new(known, [samples, regions, 1]), &device);
        // ln(1 + eˣ) - x t, so that nothing overflows.
        let entropy = activation::relu(x.clone()) - x.clone() * truth.clone()
            + (-x.clone().abs()).exp().log1p();
        let entropy = match &self.config.class_weights[..] {
            [] => entropy,
            [_, weights @ ..] => {
                let weights = TensorData::new(weights.to_vec(), [1, regions, 1]);
                entropy * Tensor::from_data(weights, &device)
            }
        };
        let entropy = (entropy * counts.clone()).sum() / counted.max(1.0);
        let p = activation::sigmoid(x) * counts.clone();
        let truth = truth * counts;
        let (both, size) = (
            (p.clone() * truth.clone()).sum_dim(2),
            (p + truth).sum_dim(2),
        );
        let (both, size, known) = if self.dice.per_sample {
            (both, size, known)
        } else {
            let any = known.sum_dim(0).clamp(0.0, 1.0);
            (both.sum_dim(0), size.sum_dim(0), any)
        };
        let scores =
            (both * 2.0 + self.dice.smooth_numerator) / (size + self.dice.smooth_denominator);
        let misses = (-scores + 1.0) * known.clone();
        let dice = misses.sum() / known.sum().clamp_min(1.0);
        entropy * self.config.lambda_cross_entropy + dice * self.config.lambda_dice
    }
}

/// The labels at the middles of larger voxels: of two, nnU-Net takes the second.
fn thinned(labels: &[u16], shape: [usize; 3], size: [usize; 3]) -> Vec<u16> {
    if shape == size {
        return labels.to_vec();
    }
    let step = [0, 1, 2].map(|a| shape[a] / size[a]);
    let voxels: usize = shape.iter().product();
    let mut thin = Vec::with_capacity(labels.len() / step.iter().product::<usize>());
    for sample in labels.chunks(voxels) {
        for z in 0..size[0] {
            for y in 0..size[1] {
                let [z, y] = [(z, 0), (y, 1)].map(|(i, a)| i * step[a] + step[a] / 2);
                let row = &sample[(z * shape[1] + y) * shape[2]..][..shape[2]];
                thin.extend(row.iter().skip(step[2] / 2).step_by(step[2]));
            }
        }
    }
    thin
}

/// Logits of the classes `known`, the first one the background with all that is not known in it.
fn merged(logits: Tensor<5>, known: &[usize]) -> Tensor<5> {
    let classes = logits.dims()[1];
    let channel = |c: usize| logits.clone().narrow(1, c, 1);
    let hidden: Vec<Tensor<5>> = (0..classes)
        .filter(|c| *c == 0 || !known.contains(c))
        .map(channel)
        .collect();
    let hidden = Tensor::cat(hidden, 1);
    let greatest = hidden.clone().detach().max_dim(1);
    let background = (hidden - greatest.clone()).exp().sum_dim(1).log() + greatest;
    let rest = known.iter().filter(|&&c| c != 0).map(|&c| channel(c));
    Tensor::cat(std::iter::once(background).chain(rest).collect(), 1)
}

#[cfg(test)]
mod tests;
