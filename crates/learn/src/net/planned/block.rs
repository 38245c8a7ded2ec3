//! What stages are made of: convolutions with their norm and activation, alone or in residual pairs.

use burn::module::{Module, Param};
use burn::tensor::{Device, Tensor};
use crossmod_volume::rng::Rng;

use crate::net::conv::{Conv, Init};
use crate::ops::{self, Activation, Padding, Pointwise, Walk};
use crate::segment::plan::NetKind;

/// nnU-Net's LeakyReLU.
const SLOPE: f32 = 0.01;

/// What follows convolutions, and what lies beyond their maps' borders.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Style {
    /// Instance norm with affine, LeakyReLU; zeros.
    Affine,
    /// Instance norm without affine, ReLU, none after a sum; reflected (CycleGAN).
    Plain,
    /// ReLU; zeros.
    Free,
}

impl Style {
    pub(super) fn of(kind: NetKind) -> Self {
        match kind {
            NetKind::PlainConv | NetKind::ResidualEncoder | NetKind::ResUnet => Self::Affine,
            NetKind::NormFree | NetKind::ClassicUnet => Self::Free,
            NetKind::Resnet9 => Self::Plain,
        }
    }

    /// Sizes kept but for the stride. CycleGAN's strided convolutions are padded with zeros.
    pub(super) fn walk(self, kernel: [usize; 3], stride: [usize; 3]) -> Walk {
        let reflected = self == Self::Plain && stride == [1; 3];
        Walk {
            stride,
            padding: kernel.map(|k| k / 2),
            mode: if reflected {
                Padding::Reflect
            } else {
                Padding::Zero
            },
        }
    }

    /// What comes after a transposed convolution that no skip joins.
    pub(super) fn end(self, x: Tensor<5>) -> Tensor<5> {
        ops::instance_norm(x, Activation::Relu)
    }
}

/// A convolution with what follows it.
#[derive(Module, Debug)]
pub(super) struct NormedConv {
    conv: Conv<5>,
    affine: Option<Affine>,
    #[module(skip)]
    style: Kept,
}

#[derive(Module, Debug)]
struct Affine {
    gamma: Param<Tensor<1>>,
    beta: Param<Tensor<1>>,
}

#[derive(Debug, Clone)]
struct Kept(Style);

impl NormedConv {
    pub(super) fn new(
        style: Style,
        channels: [usize; 2],
        kernel: [usize; 3],
        stride: [usize; 3],
        rng: &mut Rng,
        device: &Device,
    ) -> Self {
        let walk = style.walk(kernel, stride);
        Self {
            conv: Conv::along(channels, kernel, walk, Init::He, rng, device),
            affine: (style == Style::Affine).then(|| Affine {
                gamma: Param::from_tensor(Tensor::ones([channels[1]], device)),
                beta: Param::from_tensor(Tensor::zeros([channels[1]], device)),
            }),
            style: Kept(style),
        }
    }

    pub(super) fn forward(&self, x: Tensor<5>) -> Tensor<5> {
        let y = self.conv.forward(x);
        match (self.style.0, &self.affine) {
            (_, Some(affine)) => affine.forward(y, Activation::LeakyRelu(SLOPE)),
            (Style::Free, None) => ops::pointwise(y, Pointwise::LeakyRelu(0.0)),
            (_, None) => ops::instance_norm(y, Activation::Relu),
        }
    }

    /// Without the activation, plus `around`.
    fn forward_sum(&self, x: Tensor<5>, around: Tensor<5>) -> Tensor<5> {
        match &self.affine {
            Some(_) => self.forward_linear(x) + around,
            None => ops::instance_norm_add(self.conv.forward(x), around),
        }
    }

    /// Without the activation.
    fn forward_linear(&self, x: Tensor<5>) -> Tensor<5> {
        let y = self.conv.forward(x);
        match &self.affine {
            Some(affine) => affine.forward(y, Activation::None),
            None => ops::instance_norm(y, Activation::None),
        }
    }
}

impl Affine {
    fn forward(&self, x: Tensor<5>, activation: Activation) -> Tensor<5> {
        ops::instance_norm_affine(x, self.gamma.val(), self.beta.val(), activation)
    }
}

/// One convolution, or two with a way around them.
#[derive(Module, Debug)]
#[expect(
    clippy::large_enum_variant,
    reason = "a net has a few, and their parameters are elsewhere"
)]
pub(super) enum Block {
    Conv(NormedConv),
    Residual(Residual),
}

/// Two convolutions whose result is added to what went in (He et al., arXiv:1512.03385). Around
/// strided ones go means over blocks, and a pointwise convolution where the features change
/// (nnU-Net's residual encoder, after He et al., arXiv:1812.01187).
#[derive(Module, Debug)]
pub(super) struct Residual {
    first: NormedConv,
    second: NormedConv,
    around: Option<NormedConv>,
    #[module(skip)]
    pool: Factor,
}

#[derive(Debug, Clone)]
struct Factor([usize; 3]);

impl Block {
    pub(super) fn residual(
        style: Style,
        channels: [usize; 2],
        kernel: [usize; 3],
        stride: [usize; 3],
        rng: &mut Rng,
        device: &Device,
    ) -> Self {
        let last = [channels[1]; 2];
        let mut conv = |channels, kernel, stride| {
            NormedConv::new(style, channels, kernel, stride, rng, device)
        };
        Self::Residual(Residual {
            first: conv(channels, kernel, stride),
            second: conv(last, kernel, [1; 3]),
            around: (channels[0] != channels[1]).then(|| conv(channels, [1; 3], [1; 3])),
            pool: Factor(stride),
        })
    }

    pub(super) fn forward(&self, x: Tensor<5>) -> Tensor<5> {
        match self {
            Self::Conv(conv) => conv.forward(x),
            Self::Residual(residual) => residual.forward(x),
        }
    }
}

impl Residual {
    fn forward(&self, x: Tensor<5>) -> Tensor<5> {
        let inner = self.first.forward(x.clone());
        let mut around = x;
        if self.pool.0 != [1; 3] {
            around = ops::average_pool(around, self.pool.0);
        }
        if let Some(conv) = &self.around {
            around = conv.forward_linear(around);
        }
        let sum = self.second.forward_sum(inner, around);
        match self.first.style.0 {
            Style::Affine => ops::pointwise(sum, Pointwise::LeakyRelu(SLOPE)),
            // CycleGAN's blocks end in the sum.
            Style::Plain | Style::Free => sum,
        }
    }
}
