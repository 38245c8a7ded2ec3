//! Networks: the published ones by their published sizes, and one face for the segmentors.

mod conv;
mod generator3d;
mod level;
mod patchgan;
mod planned;
mod resnet;
mod segmentor;
mod unet;
mod unet3d;
pub mod weights;

pub use conv::{Conv, ConvTransposed, Init};
pub use generator3d::{Generator3d, Generator3dConfig};
pub use patchgan::{PatchGan, PatchGanConfig};
pub use planned::PlannedNet;
pub use resnet::{Head, ResNet, ResNetConfig};
pub use segmentor::{Segmentor, SegmentorConfig, SegmentorKind};
pub use unet::{UNet, UNetConfig};
pub use unet3d::{UNet3d, UNet3dConfig};

/// Standard deviation of CycleGAN's initial weights (Zhu et al., arXiv:1703.10593, §7.1).
pub const INIT_SD: f32 = 0.02;
