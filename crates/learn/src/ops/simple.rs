//! Operations that need nothing but their inputs to be differentiated: lone activations, pooling,
//! upsampling, and the losses that are one kernel each.

use std::sync::Arc;

use burn_flex::FlexTensor;
use crossmod_kernels::{
    Distance, Interpolation, Pointwise, Pool, SegmentationLoss, SoftDice, Ssim, Target, Upsample,
};

use super::flex::{shape, tensor, vector};

/// An operation of one tensor.
#[derive(Debug, Clone)]
pub(crate) enum Unary {
    /// An activation that follows no normalisation.
    Pointwise(Pointwise),
    /// Maxima of blocks of so many elements.
    MaxPool([usize; 3]),
    /// Means of blocks of so many elements.
    AveragePool([usize; 3]),
    /// So many times larger.
    Upsample([usize; 3], Interpolation),
    /// The mean difference from a constant.
    Distance(Distance, f32),
    /// The loss of logits.
    Segmentation(Arc<Segmentation>),
}

/// An operation of two tensors of the same shape.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Binary {
    /// Their mean difference.
    Distance(Distance),
    /// Their mean structural similarity, the values spanning a range.
    Ssim(f32),
}

/// The true classes of a batch, and what a deviation costs.
#[derive(Debug, Clone, PartialEq)]
pub struct Segmentation {
    /// The class of every pixel, `[batch][pixel]`.
    pub labels: Vec<u16>,
    /// The label of pixels that count in neither loss.
    pub ignore: Option<u16>,
    /// A weight per class in the cross-entropy; 1 where there are none.
    pub weights: Option<Vec<f32>>,
    /// The options of the soft Dice.
    pub dice: SoftDice,
    /// Factors of the cross-entropy and of 1 minus the Dice.
    pub factors: [f32; 2],
}

impl Segmentation {
    fn kernel(&self, logits: &FlexTensor) -> SegmentationLoss {
        let (batch, classes, size) = shape(logits);
        SegmentationLoss {
            batch,
            classes,
            spatial: size.iter().product(),
            weights: self.weights.clone(),
            ignore: self.ignore,
            dice: self.dice,
        }
    }
}

impl Unary {
    pub(super) fn forward(&self, x: FlexTensor) -> FlexTensor {
        let x = x.to_contiguous();
        match self {
            Self::Pointwise(of) => {
                let (batch, channels, size) = shape(&x);
                let mut y = vec![0.0; batch * channels * size.iter().product::<usize>()];
                of.forward(x.storage(), &mut y);
                tensor(y, &x, [batch, channels], size)
            }
            &Self::MaxPool(factor) => pooled(&x, factor, Pool::max),
            &Self::AveragePool(factor) => pooled(&x, factor, Pool::average),
            &Self::Upsample(factor, interpolation) => {
                let (batch, channels, size) = shape(&x);
                let upsample = upsample(batch * channels, size, factor, interpolation);
                let size = upsample.out_size();
                let mut y = vec![0.0; batch * channels * size.iter().product::<usize>()];
                upsample.forward(x.storage(), &mut y);
                tensor(y, &x, [batch, channels], size)
            }
            Self::Distance(distance, target) => {
                let mean = distance.mean(x.storage(), Target::Constant(*target));
                vector(vec![mean as f32])
            }
            Self::Segmentation(of) => {
                let terms = of.kernel(&x).forward(x.storage(), &of.labels);
                let [entropy, dice] = of.factors.map(f64::from);
                let loss = entropy * terms.cross_entropy + dice * terms.dice;
                vector(vec![loss as f32])
            }
        }
    }

    pub(super) fn gradient(&self, x: FlexTensor, dy: FlexTensor) -> FlexTensor {
        let (x, dy) = (x.to_contiguous(), dy.to_contiguous());
        let (batch, channels, size) = shape(&x);
        let planes = batch * channels;
        let mut dx = vec![0.0; planes * size.iter().product::<usize>()];
        match self {
            Self::Pointwise(of) => of.backward(x.storage(), dy.storage(), &mut dx),
            &Self::MaxPool(factor) => {
                pool(&x, factor).max_backward(x.storage(), dy.storage(), &mut dx);
            }
            &Self::AveragePool(factor) => {
                pool(&x, factor).average_backward(dy.storage(), &mut dx);
            }
            &Self::Upsample(factor, interpolation) => {
                upsample(planes, size, factor, interpolation).backward(dy.storage(), &mut dx);
            }
            Self::Distance(distance, target) => {
                let target = Target::Constant(*target);
                distance.gradient(x.storage(), target, only(&dy), &mut dx);
            }
            Self::Segmentation(of) => {
                let kernel = of.kernel(&x);
                let terms = kernel.forward(x.storage(), &of.labels);
                let factors = of.factors.map(|factor| factor * only(&dy));
                kernel.backward(x.storage(), &of.labels, &terms, factors, &mut dx);
            }
        }
        tensor(dx, &x, [batch, channels], size)
    }
}

impl Binary {
    pub(super) fn forward(self, a: FlexTensor, b: FlexTensor) -> FlexTensor {
        let (a, b) = (a.to_contiguous(), b.to_contiguous());
        let value = match self {
            Self::Distance(distance) => distance.mean(a.storage(), Target::Values(b.storage())),
            Self::Ssim(range) => ssim(&a, range).mean(a.storage(), b.storage()),
        };
        vector(vec![value as f32])
    }

    /// The gradients to both.
    pub(super) fn gradient(
        self,
        a: FlexTensor,
        b: FlexTensor,
        dy: FlexTensor,
    ) -> (FlexTensor, FlexTensor) {
        let (a, b) = (a.to_contiguous(), b.to_contiguous());
        let (batch, channels, size) = shape(&a);
        let len = batch * channels * size.iter().product::<usize>();
        let (mut da, mut db) = (vec![0.0; len], vec![0.0; len]);
        match self {
            Self::Distance(distance) => {
                let target = Target::Values(b.storage());
                distance.gradient(a.storage(), target, only(&dy), &mut da);
                db.iter_mut().zip(&da).for_each(|(db, da)| *db = -da);
            }
            Self::Ssim(range) => {
                let (a_values, b_values) = (a.storage(), b.storage());
                ssim(&a, range).gradient(a_values, b_values, only(&dy), &mut da, Some(&mut db));
            }
        }
        let like = [batch, channels];
        (tensor(da, &a, like, size), tensor(db, &b, like, size))
    }
}

/// The value of a scalar.
fn only(scalar: &FlexTensor) -> f32 {
    scalar.storage::<f32>()[0]
}

fn pool(like: &FlexTensor, factor: [usize; 3]) -> Pool {
    let (batch, channels, size) = shape(like);
    Pool {
        planes: batch * channels,
        size,
        factor,
    }
}

fn pooled(
    x: &FlexTensor,
    factor: [usize; 3],
    pass: impl Fn(&Pool, &[f32], &mut [f32]),
) -> FlexTensor {
    let (batch, channels, _) = shape(x);
    let pool = pool(x, factor);
    let size = pool.out_size();
    let mut y = vec![0.0; pool.planes * size.iter().product::<usize>()];
    pass(&pool, x.storage(), &mut y);
    tensor(y, x, [batch, channels], size)
}

fn upsample(
    planes: usize,
    size: [usize; 3],
    factor: [usize; 3],
    interpolation: Interpolation,
) -> Upsample {
    Upsample {
        planes,
        size,
        factor,
        interpolation,
    }
}

fn ssim(like: &FlexTensor, range: f32) -> Ssim {
    let (batch, channels, size) = shape(like);
    Ssim::new(batch * channels, size, range)
}
