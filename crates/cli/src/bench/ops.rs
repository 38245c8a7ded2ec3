//! The operations that are compared: those of the nets, at the sizes at which the nets have them.

use serde::Serialize;

/// An operation and its size, as it is said to the peer.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub(crate) enum Op {
    /// A convolution with bias.
    Conv(ConvOp),
    /// Instance norm and (leaky) ReLU; a slope of 0 is ReLU.
    Norm {
        batch: usize,
        channels: usize,
        size: Vec<usize>,
        affine: bool,
        slope: f32,
    },
    /// Twice the size.
    Upsample {
        batch: usize,
        channels: usize,
        size: Vec<usize>,
        mode: Between,
    },
    /// The maximum of blocks of 2.
    MaxPool {
        batch: usize,
        channels: usize,
        size: Vec<usize>,
    },
    /// The sum of cross-entropy and nnU-Net's soft Dice of logits.
    CrossEntropyDice {
        batch: usize,
        classes: usize,
        size: Vec<usize>,
    },
    /// Structural similarity in the published Gaussian window.
    Ssim {
        batch: usize,
        channels: usize,
        size: Vec<usize>,
        window: usize,
        sigma: f32,
    },
    /// One update by Adam of parameters in tensors of these numbers of elements.
    Adam { tensors: Vec<usize> },
}

/// A convolution in two or three dimensions, alike in all of them.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct ConvOp {
    pub(crate) batch: usize,
    pub(crate) in_channels: usize,
    pub(crate) out_channels: usize,
    /// Of the input.
    pub(crate) size: Vec<usize>,
    pub(crate) kernel: Vec<usize>,
    pub(crate) stride: usize,
    pub(crate) padding: usize,
    pub(crate) output_padding: usize,
    pub(crate) mode: Border,
    pub(crate) transposed: bool,
}

/// What a convolution is padded with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Border {
    Zero,
    Reflect,
}

/// How elements between elements are found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Between {
    Nearest,
    Linear,
}

/// What of an operation is timed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Pass {
    Forward,
    /// Forward, and the gradients to input and parameters.
    Both,
    /// The gradient to a convolution's input alone; of our side only.
    GradInput,
    /// The gradient to a convolution's weights alone; of our side only.
    GradWeight,
    /// An optimiser's update.
    Step,
}

impl Pass {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Forward => "fwd",
            Self::Both => "fwd+bwd",
            Self::GradInput => "dx",
            Self::GradWeight => "dw",
            Self::Step => "step",
        }
    }

    /// Whether a peer can be asked for it.
    pub(crate) fn has_peer(self) -> bool {
        !matches!(self, Self::GradInput | Self::GradWeight)
    }
}

impl Op {
    /// Such as `conv3d 32→32 64³ k3`.
    pub(crate) fn name(&self) -> String {
        match self {
            Self::Conv(conv) => conv.name(),
            Self::Norm {
                channels,
                size,
                slope,
                ..
            } => {
                let activation = if *slope == 0.0 { "ReLU" } else { "LeakyReLU" };
                format!("instance norm + {activation} {channels}×{}", power(size))
            }
            Self::Upsample {
                channels,
                size,
                mode,
                ..
            } => {
                let mode = match mode {
                    Between::Nearest => "nearest",
                    Between::Linear => "linear",
                };
                format!("upsample {mode} {channels}×{}", power(size))
            }
            Self::MaxPool { channels, size, .. } => format!("max pool {channels}×{}", power(size)),
            Self::CrossEntropyDice { classes, size, .. } => {
                format!("cross-entropy + Dice {classes}×{}", power(size))
            }
            Self::Ssim {
                batch,
                size,
                window,
                ..
            } => format!("SSIM {window} {batch}×{}", power(size)),
            Self::Adam { tensors } => {
                let millions = tensors.iter().sum::<usize>() as f64 / 1e6;
                format!("Adam, {millions:.1} M parameters")
            }
        }
    }

    /// What of it is timed; with `gradients` also each gradient alone.
    pub(crate) fn passes(&self, gradients: bool) -> Vec<Pass> {
        match self {
            Self::Adam { .. } => vec![Pass::Step],
            Self::Conv(_) if gradients => {
                vec![Pass::Forward, Pass::Both, Pass::GradInput, Pass::GradWeight]
            }
            _ => vec![Pass::Forward, Pass::Both],
        }
    }

    /// Operations of a pass, two a multiply-add; none where multiply-adds are not what it is about.
    pub(crate) fn flops(&self, pass: Pass) -> Option<f64> {
        let Self::Conv(conv) = self else { return None };
        let once = conv.flops();
        Some(if pass == Pass::Both { 3.0 * once } else { once })
    }
}

impl ConvOp {
    /// Size of the output.
    pub(crate) fn out_size(&self) -> Vec<usize> {
        let along = |(&size, &kernel): (&usize, &usize)| {
            if self.transposed {
                (size - 1) * self.stride + kernel + self.output_padding - 2 * self.padding
            } else {
                (size + 2 * self.padding - kernel) / self.stride + 1
            }
        };
        self.size.iter().zip(&self.kernel).map(along).collect()
    }

    fn flops(&self) -> f64 {
        // Each element of the small side meets every tap.
        let small = if self.transposed {
            self.size.clone()
        } else {
            self.out_size()
        };
        let product = |of: &[usize]| of.iter().product::<usize>() as f64;
        let channels = (self.batch * self.in_channels * self.out_channels) as f64;
        2.0 * channels * product(&self.kernel) * product(&small)
    }

    fn name(&self) -> String {
        let mut name = format!(
            "conv{}d{} {}→{} {} k{}",
            self.size.len(),
            if self.transposed { " transposed" } else { "" },
            self.in_channels,
            self.out_channels,
            power(&self.size),
            self.kernel[0]
        );
        if self.stride > 1 {
            name.push_str(&format!(" s{}", self.stride));
        }
        if self.mode == Border::Reflect {
            name.push_str(" reflect");
        }
        name
    }

    fn new<const D: usize>(channels: [usize; 2], size: [usize; D], kernel: usize) -> Self {
        Self {
            batch: 1,
            in_channels: channels[0],
            out_channels: channels[1],
            size: size.into(),
            kernel: vec![kernel; D],
            stride: 1,
            padding: kernel / 2,
            output_padding: 0,
            mode: Border::Zero,
            transposed: false,
        }
    }

    fn stride(self, stride: usize, padding: usize) -> Self {
        Self {
            stride,
            padding,
            ..self
        }
    }

    fn reflect(self) -> Self {
        Self {
            mode: Border::Reflect,
            ..self
        }
    }

    fn transposed(self, output_padding: usize) -> Self {
        Self {
            transposed: true,
            output_padding,
            ..self
        }
    }
}

/// `64³`, `256²`, `80×112×112`.
pub(crate) fn power(size: &[usize]) -> String {
    match size {
        [a, b] if a == b => format!("{a}²"),
        [a, b, c] if a == b && b == c => format!("{a}³"),
        _ => {
            let sides: Vec<String> = size.iter().map(usize::to_string).collect();
            sides.join("×")
        }
    }
}

/// All operations of the table.
pub(crate) fn list() -> Vec<Op> {
    let two = |channels, side, kernel| ConvOp::new(channels, [side; 2], kernel);
    let three = |channels, side, kernel| ConvOp::new(channels, [side; 3], kernel);
    let convs = [
        // The ResNet translator of CycleGAN and SynSeg-Net, 256² images.
        two([256, 256], 64, 3),
        two([256, 256], 64, 3).reflect(),
        two([64, 128], 256, 3).stride(2, 1),
        two([256, 128], 64, 3).stride(2, 1).transposed(1),
        two([1, 64], 256, 7),
        two([64, 1], 256, 7),
        two([64, 7], 256, 1),
        // Its discriminator.
        two([64, 128], 128, 4).stride(2, 1),
        two([256, 512], 31, 4).stride(1, 1),
        // 3-D U-Nets from the finest level to the coarsest.
        three([1, 16], 96, 3),
        three([16, 16], 64, 3),
        three([32, 32], 64, 3),
        three([64, 64], 32, 3),
        three([128, 128], 16, 3),
        three([256, 256], 8, 3),
        three([320, 320], 4, 3),
        three([32, 64], 64, 3).stride(2, 1),
        three([64, 32], 32, 2).stride(2, 0).transposed(0),
        three([16, 6], 64, 1),
    ];
    let norm = |channels, size: &[usize], affine, slope| Op::Norm {
        batch: 1,
        channels,
        size: size.into(),
        affine,
        slope,
    };
    let upsample = |mode| Op::Upsample {
        batch: 1,
        channels: 32,
        size: vec![32; 3],
        mode,
    };
    let mut all: Vec<Op> = convs.into_iter().map(Op::Conv).collect();
    all.extend([
        norm(32, &[64; 3], true, 0.01),
        norm(256, &[64; 2], false, 0.0),
        upsample(Between::Nearest),
        upsample(Between::Linear),
        Op::MaxPool {
            batch: 1,
            channels: 32,
            size: vec![64; 3],
        },
        Op::CrossEntropyDice {
            batch: 1,
            classes: 6,
            size: vec![64; 3],
        },
        Op::Ssim {
            batch: 4,
            channels: 1,
            size: vec![256; 2],
            window: 11,
            sigma: 1.5,
        },
        Op::Adam {
            tensors: resnet_tensors(64, 9),
        },
    ]);
    all
}

/// Elements of each parameter of CycleGAN's ResNet (arXiv:1703.10593, §7.2).
fn resnet_tensors(width: usize, blocks: usize) -> Vec<usize> {
    let w = width;
    let halving = [[w, 2 * w], [2 * w, 4 * w]].map(|c| (c, 3));
    let doubling = [[4 * w, 2 * w], [2 * w, w]].map(|c| (c, 3));
    let mut convs = vec![([1, w], 7)];
    convs.extend(halving);
    convs.extend(vec![([4 * w; 2], 3); 2 * blocks]);
    convs.extend(doubling);
    convs.push(([w, 1], 7));
    convs
        .into_iter()
        .flat_map(|([i, o], kernel)| [i * o * kernel * kernel, o])
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_short_and_differ() {
        let names: Vec<String> = list().iter().map(Op::name).collect();
        assert!(names.iter().any(|n| n == "conv2d 256→256 64² k3 reflect"));
        assert!(
            names
                .iter()
                .any(|n| n == "conv3d transposed 64→32 32³ k2 s2")
        );
        let mut unique = names.clone();
        unique.sort();
        unique.dedup();
        assert_eq!(unique.len(), names.len());
        assert_eq!(power(&[80, 112, 112]), "80×112×112");
    }

    #[test]
    fn transposed_convolutions_double_the_size() {
        for op in list() {
            if let Op::Conv(conv) = op {
                let doubled: Vec<usize> = conv.size.iter().map(|s| 2 * s).collect();
                assert_eq!(conv.out_size() == doubled, conv.transposed, "{conv:?}");
            }
        }
    }

    #[test]
    fn work_by_hand() {
        let conv = ConvOp::new([3, 5], [8; 2], 4).stride(2, 1);
        assert_eq!(conv.out_size(), [4, 4]);
        let op = Op::Conv(conv);
        assert_eq!(op.flops(Pass::Forward), Some(2.0 * 15.0 * 16.0 * 16.0));
        assert_eq!(op.flops(Pass::Both), Some(6.0 * 15.0 * 16.0 * 16.0));
    }

    #[test]
    fn the_optimiser_moves_a_published_net() {
        assert_eq!(resnet_tensors(64, 9).iter().sum::<usize>(), 11_365_633);
    }

    #[test]
    fn the_peer_is_told_the_kind() {
        let json = serde_json::to_value(&list()[1]).expect("JSON");
        assert_eq!(
            (json["kind"].as_str(), json["mode"].as_str()),
            (Some("conv"), Some("reflect"))
        );
        assert_eq!(json["size"], serde_json::json!([64, 64]));
    }
}
