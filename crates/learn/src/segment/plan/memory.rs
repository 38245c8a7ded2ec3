//! Bytes and operations of a training step on the CPU.
//!
//! The step's tape is laid out as the nets record it: each operation keeps its input until its
//! backward pass has run, which needs the gradient of its output and makes that of its input. The
//! largest sum on the way back is the peak; to it come the parameters with their gradients and
//! momenta, and the kernels' working memory: copies of input and output where a convolution is summed
//! directly (stride 2, transposed, few channels), transformed weights where it goes by Winograd's
//! way. One figure is fitted, what the program takes before there is a net; see the tests for how
//! far estimates lie from measured peaks.

use super::{Net, NetKind};

/// What the program takes without a net, bytes.
const BASE: f64 = 45e6;

/// Points of a tile in Winograd's way, each a copy of the weights.
const POINTS: f64 = 36.0;

/// Bytes that bands of transformed tiles take.
const BANDS: f64 = 16e6;

/// Channels on both sides from which Winograd's way is taken.
const WINOGRAD: usize = 12;

/// What a training step takes.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub struct Cost {
    /// Peak of the step's memory, bytes.
    pub bytes: f64,
    /// Of these, what a batch of no samples would take.
    pub fixed_bytes: f64,
    /// Multiply-adds as two operations each, forward and backward.
    pub operations: f64,
    /// Parameters.
    pub parameters: f64,
}

/// The cost of training `net` from `channels[0]` channels to `channels[1]` classes.
pub(crate) fn cost(net: &Net, channels: [usize; 2], patch: [usize; 3], batch: usize) -> Cost {
    let tape = Tape::of(net, channels, patch);
    let samples = batch as f64;
    Cost {
        bytes: tape.fixed() + samples * tape.sample(),
        fixed_bytes: tape.fixed(),
        operations: 6.0 * samples * tape.multiply_adds,
        parameters: tape.parameters,
    }
}

/// The sum of feature maps that nnU-Net estimates a card's memory by: one for each convolution's
/// output, and the logits.
pub(super) fn feature_maps(net: &Net, channels: [usize; 2], patch: [usize; 3]) -> f64 {
    Tape::of(net, channels, patch).convolved
}

/// An operation on the way forward; elements of one sample.
#[derive(Debug, Clone, Copy)]
enum Op {
    /// Keeps its input.
    Step { input: f64, output: f64 },
    /// Joins a skip to what comes from below; keeps nothing.
    Join { below: f64, skip: f64 },
    /// Where a skip leaves: its gradient waits from the join to here.
    Leave { skip: f64 },
    /// A sum of two ways, whose gradient goes along both.
    Sum { output: f64 },
}

/// The operations of one sample's step.
struct Tape {
    ops: Vec<Op>,
    size: [usize; 3],
    features: usize,
    parameters: f64,
    multiply_adds: f64,
    /// Outputs of convolutions.
    convolved: f64,
    /// The most working memory of a convolution, elements, that grows with the batch and that does
    /// not.
    scratch: f64,
    weights_scratch: f64,
    /// Whether norms have a scale and a shift.
    affine: bool,
}

fn volume(size: [usize; 3]) -> f64 {
    size.iter().map(|&s| s as f64).product()
}

impl Tape {
    fn of(net: &Net, [channels, classes]: [usize; 2], patch: [usize; 3]) -> Self {
        let mut tape = Self {
            ops: Vec::new(),
            size: patch,
            features: channels,
            parameters: 0.0,
            multiply_adds: 0.0,
            convolved: 0.0,
            scratch: 0.0,
            weights_scratch: 0.0,
            affine: !(net.kind.is_bare() || net.kind == NetKind::Resnet9),
        };
        tape.encoder(net);
        tape.decoder(net, classes);
        tape
    }

    fn encoder(&mut self, net: &Net) {
        if net.kind == NetKind::ResidualEncoder {
            self.conv(net.features[0], net.kernels[0], [1; 3]);
        }
        for (stage, &features) in net.features.iter().enumerate() {
            let (kernel, mut stride) = (net.kernels[stage], net.strides[stage]);
            if stage > 0 && net.kind != NetKind::Resnet9 {
                let skip = self.elements();
                self.ops.push(Op::Leave { skip });
            }
            if net.kind.is_bare() && stride != [1; 3] {
                self.resize(|size, axis| size / stride[axis]);
                stride = [1; 3];
            }
            for _ in 0..net.convs_per_stage[stage] {
                match net.kind {
                    NetKind::ResidualEncoder | NetKind::ResUnet => {
                        self.residual(features, kernel, stride);
                    }
                    NetKind::Resnet9 if stage + 1 == net.features.len() && stride == [1; 3] => {
                        self.residual(features, kernel, stride);
                    }
                    _ => self.conv(features, kernel, stride),
                }
                stride = [1; 3];
            }
        }
    }

    fn decoder(&mut self, net: &Net, classes: usize) {
        let stages = net.features.len();
        for (from_below, &convs) in net.convs_per_stage_decoder.iter().enumerate() {
            let stage = stages - 2 - from_below;
            let (features, stride) = (net.features[stage], net.strides[stage + 1]);
            if net.kind == NetKind::NormFree {
                self.resize(|size, axis| size * stride[axis]);
            } else {
                let wide = net.kind == NetKind::Resnet9;
                let kernel = stride.map(|s| if wide && s == 2 { 3 } else { s });
                self.transposed(features, kernel, stride);
            }
            if net.kind == NetKind::Resnet9 {
                // The norm.
                self.step(self.elements(), self.elements());
            } else {
                let (below, skip) = (self.elements(), features as f64 * volume(self.size));
                self.ops.push(Op::Join { below, skip });
                self.features += features;
            }
            for _ in 0..convs {
                if net.kind == NetKind::ResUnet {
                    self.residual(features, net.kernels[stage], [1; 3]);
                } else {
                    self.conv(features, net.kernels[stage], [1; 3]);
                }
            }
            if stage > 0 && net.supervises(stage) {
                // Logits of this stage's size, their gradient beside the stage's own.
                let (features, before) = (self.features, self.convolved);
                self.plain(classes, net.head_kernel(), [1; 3]);
                self.step(self.elements(), 0.0);
                self.features = features;
                self.convolved = before;
            }
        }
        self.plain(classes, net.head_kernel(), [1; 3]);
        // The loss.
        self.step(self.elements(), 0.0);
    }

    /// Elements of the maps as they are now.
    fn elements(&self) -> f64 {
        self.features as f64 * volume(self.size)
    }

    fn step(&mut self, input: f64, output: f64) {
        self.ops.push(Op::Step { input, output });
    }

    /// Pooling or upsampling.
    fn resize(&mut self, to: impl Fn(usize, usize) -> usize) {
        let input = self.elements();
        self.size = [0, 1, 2].map(|axis| to(self.size[axis], axis).max(1));
        self.step(input, self.elements());
    }

    /// A convolution alone.
    fn plain(&mut self, features: usize, kernel: [usize; 3], stride: [usize; 3]) {
        let (from, input, padded) = (self.features, self.elements(), self.padded(kernel));
        self.size = [0, 1, 2].map(|a| self.size[a].div_ceil(stride[a]));
        self.features = features;
        let output = self.elements();
        let taps = volume(kernel);
        let pairs = (from * features) as f64;
        self.parameters += pairs * taps + features as f64;
        self.multiply_adds += pairs * taps * volume(self.size);
        self.convolved += output;
        self.step(input, output);
        if kernel == [1; 3] && stride == [1; 3] {
            return;
        }
        let tiles = kernel[1..] == [3, 3] && stride == [1; 3];
        if tiles && from.min(features) >= WINOGRAD {
            let weights = 2.0 * POINTS * pairs * kernel[0] as f64;
            self.weights_scratch = self.weights_scratch.max(weights);
        } else {
            self.scratch = self.scratch.max(padded + output);
        }
    }

    /// Elements of a copy with its border.
    fn padded(&self, kernel: [usize; 3]) -> f64 {
        let size = [0, 1, 2].map(|a| self.size[a] + kernel[a] - 1);
        self.features as f64 * volume(size)
    }

    /// A convolution with norm and activation.
    fn conv(&mut self, features: usize, kernel: [usize; 3], stride: [usize; 3]) {
        self.plain(features, kernel, stride);
        self.step(self.elements(), self.elements());
        if self.affine {
            self.parameters += 2.0 * features as f64;
        }
    }

    /// Two convolutions and what goes around them: a mean over blocks where they are strided, a
    /// pointwise convolution where features change.
    fn residual(&mut self, features: usize, kernel: [usize; 3], stride: [usize; 3]) {
        let (from, size) = (self.features, self.size);
        let skip = self.elements();
        self.ops.push(Op::Leave { skip });
        self.conv(features, kernel, stride);
        self.conv(features, kernel, [1; 3]);
        let inner = self.size;
        // The way around is on the tape after the way through.
        (self.features, self.size) = (from, size);
        if stride != [1; 3] {
            self.resize(|size, axis| size.div_ceil(stride[axis]));
        }
        if from != features {
            self.conv(features, [1; 3], [1; 3]);
        } else if stride != [1; 3] {
            // nnU-Net counts a map for the way around here, too.
            self.convolved += self.elements();
        }
        (self.features, self.size) = (features, inner);
        let output = self.elements();
        self.ops.push(Op::Sum { output });
        // The activation.
        self.step(output, output);
    }

    /// A transposed convolution.
    fn transposed(&mut self, features: usize, kernel: [usize; 3], stride: [usize; 3]) {
        let (from, input, small) = (self.features, self.elements(), volume(self.size));
        self.size = [0, 1, 2].map(|a| self.size[a] * stride[a]);
        self.features = features;
        let output = self.elements();
        let taps = volume(kernel);
        self.parameters += (from * features) as f64 * taps + features as f64;
        self.multiply_adds += (from * features) as f64 * taps * small;
        self.convolved += output;
        self.step(input, output);
        self.scratch = self.scratch.max(input + output);
    }

    /// Bytes that do not grow with the batch.
    fn fixed(&self) -> f64 {
        BASE + BANDS + 4.0 * (3.0 * self.parameters + self.weights_scratch)
    }

    /// Bytes of a sample.
    fn sample(&self) -> f64 {
        4.0 * (self.peak() + self.scratch)
    }

    /// The most elements alive at once on the way back.
    fn peak(&self) -> f64 {
        let kept = |op: &Op| match *op {
            Op::Step { input, .. } => input,
            Op::Join { .. } | Op::Leave { .. } | Op::Sum { .. } => 0.0,
        };
        let mut live: f64 = self.ops.iter().map(kept).sum();
        let mut gradients = 0.0f64;
        let mut peak = live;
        for op in self.ops.iter().rev() {
            match *op {
                Op::Step { input, output } => {
                    peak = peak.max(live + gradients + input);
                    gradients = (gradients + input - output).max(input);
                    live -= input;
                }
                // The gradient is cut in two; the skip's stays until its stage.
                Op::Join { below, skip } => peak = peak.max(live + gradients + below + skip),
                Op::Sum { output } => gradients += output,
                // Two gradients become their sum.
                Op::Leave { skip } => {
                    peak = peak.max(live + gradients + skip);
                    gradients = (gradients - skip).max(skip);
                }
            }
        }
        peak
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The U-Net of `crossmod bench train`: pooled, nearest, here without norm's parameters.
    fn pooled(features: &[usize], patch: [usize; 3], classes: usize) -> Tape {
        let stages = features.len();
        let net = Net {
            kind: NetKind::NormFree,
            features: features.to_vec(),
            strides: [vec![[1; 3]], vec![[2; 3]; stages - 1]].concat(),
            kernels: vec![[3; 3]; stages],
            convs_per_stage: vec![2; stages],
            convs_per_stage_decoder: vec![2; stages - 1],
            deep_supervision: false,
        };
        Tape::of(&net, [1, classes], patch)
    }

    /// Measured peaks of whole steps in processes of their own, MB: three of `doc/performance.md`, and
    /// three more of the same program: estimates lie 4 to 10 % above.
    #[test]
    fn measured_peaks_are_met() {
        let measured: [(&[usize], [usize; 3], usize, f64); 6] = [
            (&[16, 32, 64, 128], [64; 3], 6, 355.0),
            (&[16, 32, 64, 128], [80, 112, 112], 6, 1151.0),
            (&[32, 64, 128, 256], [96; 3], 6, 1978.0),
            (&[32, 64, 128, 256], [40, 56, 40], 3, 353.0),
            (&[32, 64, 128, 256, 320], [64; 3], 3, 876.0),
            (&[32, 64, 128, 256], [48, 64, 64], 40, 589.0),
        ];
        for (features, patch, classes, mb) in measured {
            let tape = pooled(features, patch, classes);
            let ratio = (tape.fixed() + tape.sample()) / (mb * 1e6);
            assert!(
                (1.0..1.12).contains(&ratio),
                "{features:?} {patch:?}: {ratio:.3}"
            );
        }
    }

    /// Counted by hand in `net/unet3d.rs`, without scale and shift.
    #[test]
    fn parameters_and_operations() {
        let tape = pooled(&[16, 32, 64, 128], [64; 3], 6);
        let level = |ci: usize, co: usize| 27 * (ci * co + co * co) + 2 * co;
        let encoder = level(1, 16) + level(16, 32) + level(32, 64) + level(64, 128);
        let decoder = level(128 + 64, 64) + level(64 + 32, 32) + level(32 + 16, 16);
        assert_eq!(tape.parameters, (encoder + decoder + 16 * 6 + 6) as f64);
        let voxels = [1.0, 8.0, 64.0, 512.0].map(|d| 64f64.powi(3) / d);
        let macs = |ci: usize, co: usize| 27.0 * (ci * co + co * co) as f64;
        let encoder = macs(1, 16) * voxels[0]
            + macs(16, 32) * voxels[1]
            + macs(32, 64) * voxels[2]
            + macs(64, 128) * voxels[3];
        let decoder =
            macs(192, 64) * voxels[2] + macs(96, 32) * voxels[1] + macs(48, 16) * voxels[0];
        let expected = encoder + decoder + 96.0 * voxels[0];
        assert!((tape.multiply_adds / expected - 1.0).abs() < 1e-12);
    }

    /// nnU-Net's own sum for its hippocampus net, worked by hand: two maps a stage going down; going
    /// up the transposed one and two more; three classes.
    #[test]
    fn feature_maps_of_nnunet() {
        let net = Net {
            kind: NetKind::PlainConv,
            features: vec![32, 64, 128, 256],
            strides: vec![[1; 3], [2; 3], [2; 3], [2; 3]],
            kernels: vec![[3; 3]; 4],
            convs_per_stage: vec![2; 4],
            convs_per_stage_decoder: vec![2; 3],
            deep_supervision: true,
        };
        let v = 40.0 * 56.0 * 40.0;
        let down = 2.0 * v * (32.0 + 64.0 / 8.0 + 128.0 / 64.0 + 256.0 / 512.0);
        let up = 3.0 * v * (32.0 + 64.0 / 8.0 + 128.0 / 64.0);
        assert_eq!(
            feature_maps(&net, [1, 3], [40, 56, 40]),
            down + up + 3.0 * v
        );
    }

    /// A net of one convolution: its input, the map before and after the norm and the logits are
    /// kept; the largest moment is the head's.
    #[test]
    fn the_peak_of_a_small_tape() {
        let net = Net {
            kind: NetKind::PlainConv,
            features: vec![4],
            strides: vec![[1; 3]],
            kernels: vec![[3; 3]],
            convs_per_stage: vec![1],
            convs_per_stage_decoder: Vec::new(),
            deep_supervision: false,
        };
        let tape = Tape::of(&net, [1, 2], [10; 3]);
        // Kept: 1 + 4 + 4 + 2. The loss adds its gradient of 2; the head, logits freed, 2 + 4; the
        // norm, the head's input freed, 4 + 4 on top of 1 + 4: 11 + 2 = 13, 9 + 6 = 15, 5 + 8 = 13.
        assert_eq!(tape.peak(), 15e3);
    }

    #[test]
    fn costs_grow_with_the_batch_alone_in_what_is_not_fixed() {
        let net = Net {
            kind: NetKind::ResidualEncoder,
            features: vec![8, 16],
            strides: vec![[1; 3], [1, 2, 2]],
            kernels: vec![[1, 3, 3]; 2],
            convs_per_stage: vec![1, 3],
            convs_per_stage_decoder: vec![1],
            deep_supervision: true,
        };
        let of = |batch| cost(&net, [1, 2], [4, 16, 16], batch);
        let (one, three) = (of(1), of(3));
        let sample = one.bytes - one.fixed_bytes;
        assert!((three.bytes - three.fixed_bytes - 3.0 * sample).abs() < 1.0);
        assert_eq!(three.operations, 3.0 * one.operations);
        assert_eq!(three.parameters, one.parameters);
    }
}
