//! Networks: the published ones by their published sizes, and one face for the segmentors.

mod conv;
mod patchgan;
mod resnet;
mod segmentor;
mod unet;
pub mod weights;

pub use conv::{Conv, ConvTransposed};
pub use patchgan::{PatchGan, PatchGanConfig};
pub use resnet::{Head, ResNet, ResNetConfig};
pub use segmentor::{Segmentor, SegmentorConfig, SegmentorKind};
pub use unet::{UNet, UNetConfig};

/// Standard deviation of CycleGAN's initial weights (Zhu et al., arXiv:1703.10593, §7.1).
pub const INIT_SD: f32 = 0.02;
