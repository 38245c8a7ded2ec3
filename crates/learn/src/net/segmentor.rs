//! One face for the segmentors a recipe can name.

use burn::module::Module;
use burn::tensor::{Device, Tensor};
use crossmod_volume::rng::Rng;
use serde::{Deserialize, Serialize};

use super::{Head, ResNet, ResNetConfig, UNet, UNetConfig};

/// Which segmentor, and its size.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SegmentorConfig {
    /// `resnet9` as SynSeg-Net published it, or `unet`.
    pub kind: SegmentorKind,
    /// Size of `resnet9`.
    pub resnet: ResNetConfig,
    /// Whether `resnet9` ends in tanh. SynSeg-Net's published code does, which bounds the logits
    /// to [-1, 1] and so the cross-entropy from below: 0.594 with 7 classes.
    pub bounded_logits: bool,
    /// Size of `unet`.
    pub unet: UNetConfig,
}

/// The segmentors there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SegmentorKind {
    /// The 9-block ResNet of SynSeg-Net (Huo et al., doi:10.1109/TMI.2018.2876633).
    ResNet9,
    /// The instance-normalised U-Net.
    UNet,
}

impl Default for SegmentorConfig {
    /// As published by SynSeg-Net.
    fn default() -> Self {
        Self {
            kind: SegmentorKind::ResNet9,
            resnet: ResNetConfig::default(),
            bounded_logits: true,
            unet: UNetConfig::default(),
        }
    }
}

/// A net from images (`D` = 4) or volumes (`D` = 5) to class logits.
#[derive(Module, Debug)]
#[expect(
    clippy::large_enum_variant,
    reason = "a training holds one, and its parameters are elsewhere"
)]
pub enum Segmentor<const D: usize = 4> {
    /// See [`ResNet`].
    ResNet(ResNet<D>),
    /// See [`UNet`].
    UNet(UNet<D>),
}

impl SegmentorConfig {
    /// Builds the segmentor of images of so many channels, for so many classes, background included.
    #[must_use]
    pub fn init<const D: usize>(
        &self,
        channels: [usize; 2],
        rng: &mut Rng,
        device: &Device,
    ) -> Segmentor<D> {
        match self.kind {
            SegmentorKind::ResNet9 => {
                let head = if self.bounded_logits {
                    Head::Tanh
                } else {
                    Head::Linear
                };
                Segmentor::ResNet(self.resnet.init(channels, head, rng, device))
            }
            SegmentorKind::UNet => Segmentor::UNet(self.unet.init(channels, rng, device)),
        }
    }

    /// Image sides must be multiples of this.
    #[must_use]
    pub fn multiple(&self) -> usize {
        match self.kind {
            SegmentorKind::ResNet9 => ResNet::MULTIPLE,
            SegmentorKind::UNet => self.unet.multiple(),
        }
    }
}

impl<const D: usize> Segmentor<D> {
    /// # Shapes
    /// `[n, channels, (d,) h, w]` to logits `[n, classes, (d,) h, w]`.
    #[must_use]
    pub fn forward(&self, x: Tensor<D>) -> Tensor<D> {
        match self {
            Self::ResNet(net) => net.forward(x),
            Self::UNet(net) => net.forward(x),
        }
    }
}
