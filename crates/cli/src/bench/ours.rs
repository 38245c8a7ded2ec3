//! Our side of an operation: the kernels on buffers that are made once.
//!
//! Buffers are kept between calls, as a training keeps them between its steps.

use std::hint::black_box;

use crossmod_kernels::{
    Activation, Adam, Conv, InstanceNorm, Interpolation, Padding, Pool, SegmentationLoss, SoftDice,
    Ssim, Upsample, grad_bias,
};
use crossmod_volume::rng::Rng;
use rayon::prelude::*;

use super::ops::{Between, Border, ConvOp, Op, Pass};

/// An operation with its buffers.
pub(super) trait Work {
    /// Computes a pass; one that the operation does not have is the caller's mistake, and nothing.
    fn run(&mut self, pass: Pass);
}

/// Makes the buffers of an operation.
pub(super) fn build(op: &Op) -> Box<dyn Work> {
    match op {
        Op::Conv(conv) => Box::new(ConvWork::new(conv)),
        Op::Norm {
            batch,
            channels,
            size,
            affine,
            slope,
        } => Box::new(NormWork::new(
            [*batch, *channels, size.iter().product()],
            *affine,
            *slope,
        )),
        Op::Upsample {
            batch,
            channels,
            size,
            mode,
        } => {
            let upsample = Upsample {
                planes: batch * channels,
                size: three(size, 1),
                factor: three(&vec![2; size.len()], 1),
                interpolation: match mode {
                    Between::Nearest => Interpolation::Nearest,
                    Between::Linear => Interpolation::Linear,
                },
            };
            let len = |size: [usize; 3]| upsample.planes * size.iter().product::<usize>();
            let sizes = [len(upsample.size), len(upsample.out_size())];
            Box::new(Map::new(
                sizes,
                move |x, y| upsample.forward(x, y),
                move |_, dy, dx| upsample.backward(dy, dx),
            ))
        }
        Op::MaxPool {
            batch,
            channels,
            size,
        } => {
            let pool = Pool {
                planes: batch * channels,
                size: three(size, 1),
                factor: three(&vec![2; size.len()], 1),
            };
            let len = |size: [usize; 3]| pool.planes * size.iter().product::<usize>();
            let sizes = [len(pool.size), len(pool.out_size())];
            Box::new(Map::new(
                sizes,
                move |x, y| pool.max(x, y),
                move |x, dy, dx| pool.max_backward(x, dy, dx),
            ))
        }
        Op::CrossEntropyDice {
            batch,
            classes,
            size,
        } => Box::new(LossWork::new([*batch, *classes, size.iter().product()])),
        Op::Ssim {
            batch,
            channels,
            size,
            window,
            sigma,
        } => Box::new(SsimWork::new(Ssim {
            planes: batch * channels,
            size: three(size, 1),
            window: three(&vec![*window; size.len()], 1),
            sigma: *sigma,
            range: 1.0,
        })),
        Op::Adam { tensors } => Box::new(AdamWork::new(tensors.iter().sum())),
    }
}

/// Values between -1 and 1.
fn noise(elements: usize) -> Vec<f32> {
    let mut rng = Rng::new(1, elements as u64, 0);
    (0..elements).map(|_| rng.uniform(-1.0, 1.0)).collect()
}

/// A convolution, or the adjoint of one.
struct ConvWork {
    conv: Conv,
    transposed: bool,
    x: Vec<f32>,
    w: Vec<f32>,
    b: Vec<f32>,
    y: Vec<f32>,
    dx: Vec<f32>,
    dw: Vec<f32>,
    db: Vec<f32>,
    dy: Vec<f32>,
}

impl ConvWork {
    fn new(op: &ConvOp) -> Self {
        let mut conv = Conv {
            batch: op.batch,
            in_channels: op.in_channels,
            out_channels: op.out_channels,
            in_size: three(&op.size, 1),
            kernel: three(&op.kernel, 1),
            stride: three(&vec![op.stride; op.size.len()], 1),
            padding: three(&vec![op.padding; op.size.len()], 0),
            mode: match op.mode {
                Border::Zero => Padding::Zero,
                Border::Reflect => Padding::Reflect,
            },
        };
        if op.transposed {
            // The convolution that goes the other way.
            (conv.in_channels, conv.out_channels) = (op.out_channels, op.in_channels);
            conv.in_size = three(&op.out_size(), 1);
        }
        let (x, y) = if op.transposed {
            (conv.out_len(), conv.in_len())
        } else {
            (conv.in_len(), conv.out_len())
        };
        Self {
            x: noise(x),
            w: noise(conv.weight_len()),
            b: noise(op.out_channels),
            y: vec![0.0; y],
            dx: vec![0.0; x],
            dw: vec![0.0; conv.weight_len()],
            db: vec![0.0; op.out_channels],
            dy: noise(y),
            conv,
            transposed: op.transposed,
        }
    }

    fn forward(&mut self) {
        if !self.transposed {
            return self
                .conv
                .forward(&self.x, &self.w, Some(&self.b), &mut self.y);
        }
        self.conv.grad_input(&self.x, &self.w, &mut self.y);
        let channels = self.b.len();
        let plane = self.y.len() / (self.conv.batch * channels);
        let planes = self.y.par_chunks_mut(plane).enumerate();
        planes.for_each(|(i, plane)| plane.iter_mut().for_each(|y| *y += self.b[i % channels]));
    }

    fn grad_input(&mut self) {
        if self.transposed {
            self.conv.forward(&self.dy, &self.w, None, &mut self.dx);
        } else {
            self.conv.grad_input(&self.dy, &self.w, &mut self.dx);
        }
    }

    fn grad_weight(&mut self) {
        if self.transposed {
            self.conv.grad_weight(&self.dy, &self.x, &mut self.dw);
        } else {
            self.conv.grad_weight(&self.x, &self.dy, &mut self.dw);
        }
    }
}

impl Work for ConvWork {
    fn run(&mut self, pass: Pass) {
        match pass {
            Pass::Forward => self.forward(),
            Pass::GradInput => self.grad_input(),
            Pass::GradWeight => self.grad_weight(),
            Pass::Both => {
                self.forward();
                self.grad_input();
                self.grad_weight();
                let (batch, channels) = (self.conv.batch, self.db.len());
                let plane = self.dy.len() / (batch * channels);
                grad_bias(&self.dy, batch, channels, plane, &mut self.db);
            }
            Pass::Step => {}
        }
    }
}

/// Depth, rows and columns; an image's depth is `flat`.
fn three(of: &[usize], flat: usize) -> [usize; 3] {
    match *of {
        [depth, rows, cols] => [depth, rows, cols],
        [rows, cols] => [flat, rows, cols],
        _ => [flat; 3],
    }
}

/// Instance norm with its activation.
struct NormWork {
    norm: InstanceNorm,
    affine: Option<[Vec<f32>; 2]>,
    gradients: Option<[Vec<f32>; 2]>,
    x: Vec<f32>,
    y: Vec<f32>,
    mean: Vec<f32>,
    inv_std: Vec<f32>,
    dy: Vec<f32>,
    dx: Vec<f32>,
}

impl NormWork {
    fn new([batch, channels, spatial]: [usize; 3], affine: bool, slope: f32) -> Self {
        let instances = batch * channels;
        let elements = instances * spatial;
        Self {
            norm: InstanceNorm {
                instances,
                channels,
                spatial,
                eps: 1e-5,
                activation: if slope == 0.0 {
                    Activation::Relu
                } else {
                    Activation::LeakyRelu(slope)
                },
            },
            affine: affine.then(|| [vec![1.0; channels], vec![0.0; channels]]),
            gradients: affine.then(|| [vec![0.0; channels], vec![0.0; channels]]),
            x: noise(elements),
            y: vec![0.0; elements],
            mean: vec![0.0; instances],
            inv_std: vec![0.0; instances],
            dy: noise(elements),
            dx: vec![0.0; elements],
        }
    }
}

impl Work for NormWork {
    fn run(&mut self, pass: Pass) {
        let affine = self.affine.as_ref();
        let affine = affine.map(|[gamma, beta]| (gamma.as_slice(), beta.as_slice()));
        self.norm.forward(
            &self.x,
            affine,
            &mut self.y,
            &mut self.mean,
            &mut self.inv_std,
        );
        if pass == Pass::Both {
            let gradients = self.gradients.as_mut();
            self.norm.backward(
                &self.x,
                &self.mean,
                &self.inv_std,
                affine,
                &self.dy,
                &mut self.dx,
                gradients.map(|[gamma, beta]| (gamma.as_mut_slice(), beta.as_mut_slice())),
            );
        }
    }
}

/// A map without parameters: how it goes forward, and backward from its input and `dy`.
struct Map<F, B> {
    forward: F,
    backward: B,
    x: Vec<f32>,
    y: Vec<f32>,
    dy: Vec<f32>,
    dx: Vec<f32>,
}

impl<F: Fn(&[f32], &mut [f32]), B: Fn(&[f32], &[f32], &mut [f32])> Map<F, B> {
    fn new([x, y]: [usize; 2], forward: F, backward: B) -> Self {
        Self {
            forward,
            backward,
            x: noise(x),
            y: vec![0.0; y],
            dy: noise(y),
            dx: vec![0.0; x],
        }
    }
}

impl<F: Fn(&[f32], &mut [f32]), B: Fn(&[f32], &[f32], &mut [f32])> Work for Map<F, B> {
    fn run(&mut self, pass: Pass) {
        (self.forward)(&self.x, &mut self.y);
        if pass == Pass::Both {
            (self.backward)(&self.x, &self.dy, &mut self.dx);
        }
    }
}

/// Both losses of a segmentation at once.
struct LossWork {
    loss: SegmentationLoss,
    logits: Vec<f32>,
    labels: Vec<u16>,
    gradient: Vec<f32>,
}

impl LossWork {
    fn new([batch, classes, spatial]: [usize; 3]) -> Self {
        let mut rng = Rng::new(2, 0, 0);
        Self {
            loss: SegmentationLoss {
                batch,
                classes,
                spatial,
                weights: None,
                ignore: None,
                dice: SoftDice::NNUNET,
            },
            logits: noise(batch * classes * spatial),
            labels: (0..batch * spatial)
                .map(|_| rng.below(classes) as u16)
                .collect(),
            gradient: vec![0.0; batch * classes * spatial],
        }
    }
}

impl Work for LossWork {
    fn run(&mut self, pass: Pass) {
        let terms = black_box(self.loss.forward(&self.logits, &self.labels));
        if pass == Pass::Both {
            let gradient = &mut self.gradient;
            self.loss
                .backward(&self.logits, &self.labels, &terms, [1.0, 1.0], gradient);
        }
    }
}

/// Structural similarity; its gradient comes with the value.
struct SsimWork {
    ssim: Ssim,
    x: Vec<f32>,
    y: Vec<f32>,
    gradient: Vec<f32>,
}

impl SsimWork {
    fn new(ssim: Ssim) -> Self {
        let elements = ssim.planes * ssim.size.iter().product::<usize>();
        let image = |seed| {
            let mut rng = Rng::new(seed, 0, 0);
            (0..elements).map(|_| rng.uniform(0.0, 1.0)).collect()
        };
        Self {
            ssim,
            x: image(3),
            y: image(4),
            gradient: vec![0.0; elements],
        }
    }
}

impl Work for SsimWork {
    fn run(&mut self, pass: Pass) {
        black_box(if pass == Pass::Both {
            let gradient = &mut self.gradient;
            self.ssim.gradient(&self.x, &self.y, 1.0, gradient, None)
        } else {
            self.ssim.mean(&self.x, &self.y)
        });
    }
}

/// Adam on one flat buffer.
struct AdamWork {
    parameters: Vec<f32>,
    gradients: Vec<f32>,
    mean: Vec<f32>,
    square: Vec<f32>,
    step: u32,
}

impl AdamWork {
    fn new(elements: usize) -> Self {
        Self {
            parameters: noise(elements),
            gradients: noise(elements),
            mean: vec![0.0; elements],
            square: vec![0.0; elements],
            step: 0,
        }
    }
}

impl Work for AdamWork {
    fn run(&mut self, _: Pass) {
        self.step += 1;
        Adam::default().update(
            &mut self.parameters,
            &self.gradients,
            &mut self.mean,
            &mut self.square,
            self.step,
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn small(transposed: bool) -> ConvWork {
        let op = ConvOp {
            batch: 2,
            in_channels: 3,
            out_channels: 5,
            size: vec![6, 4],
            kernel: vec![3, 3],
            stride: 2,
            padding: 1,
            output_padding: usize::from(transposed),
            mode: Border::Zero,
            transposed,
        };
        ConvWork::new(&op)
    }

    /// What is timed as backward is the adjoint of what is timed as forward.
    #[test]
    fn backward_is_the_adjoint_of_forward() {
        for transposed in [false, true] {
            let mut work = small(transposed);
            work.b.fill(0.0);
            work.run(Pass::Both);
            let dot = |a: &[f32], b: &[f32]| -> f64 {
                a.iter().zip(b).map(|(a, b)| f64::from(a * b)).sum()
            };
            let [y, x, w] = [
                dot(&work.y, &work.dy),
                dot(&work.x, &work.dx),
                dot(&work.w, &work.dw),
            ];
            assert!((y - x).abs() < 1e-4 && (y - w).abs() < 1e-4, "{y} {x} {w}");
            let bias = work.db.iter().sum::<f32>() - work.dy.iter().sum::<f32>();
            assert!(bias.abs() < 1e-4);
        }
    }

    #[test]
    fn a_transposed_convolution_adds_its_bias() {
        let mut work = small(true);
        work.forward();
        let with = work.y.clone();
        let bias = std::mem::replace(&mut work.b, vec![0.0; 5]);
        work.forward();
        let plane = with.len() / 10;
        for (i, (a, b)) in with.iter().zip(&work.y).enumerate() {
            assert!((a - b - bias[i / plane % 5]).abs() < 1e-5);
        }
    }

    #[test]
    fn every_operation_of_the_list_can_be_built() {
        for op in super::super::ops::list() {
            drop(build(&op));
        }
    }
}
