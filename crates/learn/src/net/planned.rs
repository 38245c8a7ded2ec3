//! The segmenters that a plan describes, of slices and volumes alike: slices have a depth of 1.
//!
//! | kind | stages |
//! |---|---|
//! | plain-conv | convolution, instance norm with affine, LeakyReLU 0.01; strided down, transposed up (Isensee et al., doi:10.1038/s41592-020-01008-z) |
//! | residual-encoder | residual blocks down, one convolution a stage up (Isensee et al., arXiv:2404.09556) |
//! | res-unet | residual blocks down and up (after Drozdzal et al., arXiv:1608.04117) |
//! | norm-free | convolution and ReLU; max pool down, nearest up (Zhang, Yang and Zheng, CVPR 2018) |
//! | classic-unet | convolution and ReLU; max pool down, transposed up (Ronneberger et al., arXiv:1505.04597) |
//! | resnet9 | CycleGAN's translator, one output a class (arXiv:1703.10593, §7.2) |

mod block;

use burn::module::Module;
use burn::tensor::{Device, Tensor};
use crossmod_volume::rng::Rng;

use super::conv::{Conv, ConvTransposed, Init};
use crate::ops::{self, Interpolation, Padding, Walk};
use crate::segment::plan::{Net, NetKind};
use block::{Block, NormedConv, Style};

/// A net built from a plan, with He's initial weights.
#[derive(Module, Debug)]
pub struct PlannedNet {
    stem: Option<NormedConv>,
    /// The finest stage first.
    encoder: Vec<Stage>,
    /// The coarsest first.
    decoder: Vec<Rise>,
    /// The finest first.
    heads: Vec<Conv<5>>,
    #[module(skip)]
    route: Route,
}

/// What the maps of one size go through.
#[derive(Module, Debug)]
struct Stage {
    blocks: Vec<Block>,
}

/// From one size to the next finer one.
#[derive(Module, Debug)]
struct Rise {
    up: Option<ConvTransposed<5>>,
    stage: Stage,
}

/// What of a net is not learnt.
#[derive(Debug, Clone)]
struct Route {
    style: Style,
    skips: bool,
    flat_head: bool,
    strides: Vec<[usize; 3]>,
}

impl Net {
    /// Builds the net for `channels[0]` channels in and `channels[1]` logits out.
    #[must_use]
    pub fn init(&self, channels: [usize; 2], rng: &mut Rng, device: &Device) -> PlannedNet {
        let style = Style::of(self.kind);
        let mut maker = Maker {
            style,
            features: channels[0],
            rng,
            device,
        };
        let stem = (self.kind == NetKind::ResidualEncoder)
            .then(|| maker.conv(self.features[0], self.kernels[0], [1; 3]));
        let encoder = self.encoder(&mut maker);
        let (decoder, heads) = self.decoder(&mut maker, channels[1]);
        PlannedNet {
            stem,
            encoder,
            decoder,
            heads,
            route: Route {
                style,
                skips: self.kind != NetKind::Resnet9,
                flat_head: self.head_kernel()[0] == 1,
                strides: self.strides.clone(),
            },
        }
    }

    fn encoder(&self, maker: &mut Maker<'_>) -> Vec<Stage> {
        let stages = self.features.len();
        let mut encoder = Vec::with_capacity(stages);
        for stage in 0..stages {
            let (features, kernel) = (self.features[stage], self.kernels[stage]);
            // Nets without norm are pooled instead.
            let pooled = self.kind.is_bare();
            let mut stride = if pooled { [1; 3] } else { self.strides[stage] };
            let mut blocks = Vec::new();
            for place in 0..self.convs_per_stage[stage] {
                let residual = match self.kind {
                    NetKind::ResidualEncoder | NetKind::ResUnet => true,
                    NetKind::Resnet9 => stage + 1 == stages && place > 0,
                    NetKind::PlainConv | NetKind::NormFree | NetKind::ClassicUnet => false,
                };
                blocks.push(maker.block(residual, features, kernel, stride));
                stride = [1; 3];
            }
            encoder.push(Stage { blocks });
        }
        encoder
    }

    fn decoder(&self, maker: &mut Maker<'_>, classes: usize) -> (Vec<Rise>, Vec<Conv<5>>) {
        let stages = self.features.len();
        let (mut decoder, mut heads) = (Vec::new(), Vec::new());
        for (from_below, &convs) in self.convs_per_stage_decoder.iter().enumerate() {
            let stage = stages - 2 - from_below;
            let (features, kernel) = (self.features[stage], self.kernels[stage]);
            let up = (self.kind != NetKind::NormFree)
                .then(|| maker.up(features, self.strides[stage + 1]));
            if self.kind != NetKind::Resnet9 {
                maker.features += features;
            }
            let residual = self.kind == NetKind::ResUnet;
            let blocks = (0..convs)
                .map(|_| maker.block(residual, features, kernel, [1; 3]))
                .collect();
            decoder.push(Rise {
                up,
                stage: Stage { blocks },
            });
            if self.supervises(stage) {
                heads.push(maker.head(classes, self.head_kernel()));
            }
        }
        if decoder.is_empty() {
            heads.push(maker.head(classes, self.head_kernel()));
        }
        heads.reverse();
        (decoder, heads)
    }
}

/// Makes layers one after the other.
struct Maker<'a> {
    style: Style,
    /// Of the maps so far.
    features: usize,
    rng: &'a mut Rng,
    device: &'a Device,
}

impl Maker<'_> {
    fn conv(&mut self, features: usize, kernel: [usize; 3], stride: [usize; 3]) -> NormedConv {
        let channels = [std::mem::replace(&mut self.features, features), features];
        NormedConv::new(self.style, channels, kernel, stride, self.rng, self.device)
    }

    fn block(
        &mut self,
        residual: bool,
        features: usize,
        kernel: [usize; 3],
        stride: [usize; 3],
    ) -> Block {
        if !residual {
            return Block::Conv(self.conv(features, kernel, stride));
        }
        let channels = [std::mem::replace(&mut self.features, features), features];
        Block::residual(self.style, channels, kernel, stride, self.rng, self.device)
    }

    /// Twice as large where the stride is 2; features of CycleGAN's translator go through a kernel
    /// of 3, the others' through one as long as the stride.
    fn up(&mut self, features: usize, stride: [usize; 3]) -> ConvTransposed<5> {
        let channels = [std::mem::replace(&mut self.features, features), features];
        let wide = self.style == Style::Plain;
        let walk = Walk {
            stride,
            padding: stride.map(|s| usize::from(wide && s == 2)),
            mode: Padding::Zero,
        };
        let kernel = stride.map(|s| if wide && s == 2 { 3 } else { s });
        ConvTransposed::along(channels, kernel, walk, Init::He, self.rng, self.device)
    }

    fn head(&mut self, classes: usize, kernel: [usize; 3]) -> Conv<5> {
        let walk = self.style.walk(kernel, [1; 3]);
        let channels = [self.features, classes];
        Conv::along(channels, kernel, walk, Init::He, self.rng, self.device)
    }
}

impl Stage {
    fn forward(&self, x: Tensor<5>) -> Tensor<5> {
        self.blocks.iter().fold(x, |x, block| block.forward(x))
    }
}

impl PlannedNet {
    /// # Shapes
    /// `[n, channels, d, h, w]`, sizes multiples of [`Net::multiples`], to logits
    /// `[n, classes, d, h, w]`.
    #[must_use]
    pub fn forward(&self, x: Tensor<5>) -> Tensor<5> {
        self.head(self.maps(x))
    }

    /// The finest maps, which [`PlannedNet::head`] turns into logits.
    ///
    /// # Shapes
    /// `[n, channels, d, h, w]` to `[n, features, d, h, w]`.
    #[must_use]
    pub(crate) fn maps(&self, x: Tensor<5>) -> Tensor<5> {
        self.decoded(x).swap_remove(0)
    }

    /// Logits of the finest maps, or, where [`PlannedNet::head_is_flat`], of some of their slices.
    #[must_use]
    pub(crate) fn head(&self, maps: Tensor<5>) -> Tensor<5> {
        self.heads[0].forward(maps)
    }

    /// Whether the logits of a slice are made of that slice alone.
    #[must_use]
    pub(crate) fn head_is_flat(&self) -> bool {
        self.route.flat_head
    }

    /// The logits of every size that is supervised, the finest first: each following one of the
    /// next stage's size.
    ///
    /// # Shapes
    /// As [`PlannedNet::forward`], the sizes of each stage.
    #[must_use]
    pub fn forward_deep(&self, x: Tensor<5>) -> Vec<Tensor<5>> {
        let maps = self.decoded(x).into_iter();
        maps.zip(&self.heads)
            .map(|(x, head)| head.forward(x))
            .collect()
    }

    /// The maps that go into the heads, the finest first.
    fn decoded(&self, x: Tensor<5>) -> Vec<Tensor<5>> {
        let route = &self.route;
        let pooled = route.style == Style::Free;
        let mut skips = Vec::with_capacity(self.encoder.len());
        let mut x = self.stem.iter().fold(x, |x, stem| stem.forward(x));
        for (i, stage) in self.encoder.iter().enumerate() {
            if i > 0 {
                if route.skips {
                    skips.push(x.clone());
                }
                if pooled {
                    x = ops::max_pool(x, route.strides[i]);
                }
            }
            x = stage.forward(x);
        }
        let coarsest = self.decoder.len() - self.heads.len().min(self.decoder.len());
        let mut maps = Vec::with_capacity(self.heads.len());
        for (i, rise) in self.decoder.iter().enumerate() {
            x = match &rise.up {
                Some(up) => up.forward(x),
                None => {
                    let stride = route.strides[self.encoder.len() - 1 - i];
                    ops::upsample(x, stride, Interpolation::Nearest)
                }
            };
            x = match skips.pop() {
                Some(skip) => Tensor::cat(vec![x, skip], 1),
                None => route.style.end(x),
            };
            x = rise.stage.forward(x);
            if i >= coarsest {
                maps.push(x.clone());
            }
        }
        if maps.is_empty() {
            maps.push(x);
        }
        maps.reverse();
        maps
    }
}

#[cfg(test)]
mod tests;
