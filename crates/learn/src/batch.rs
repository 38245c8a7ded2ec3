//! From volumes to batches: slices in memory, random patches of them; and patches of whole volumes
//! for supervised segmentation ([`patches`]).

mod augment;
mod case;
pub mod patches;
mod prepare;
mod sampler;
mod slices;
mod volumes;

pub use augment::{AugmentConfig, AugmentDraw};
pub(crate) use case::only_image;
pub use patches::{Ahead, Drawn, PatchBatch, PatchConfig, PatchDraw, Patches, Synthetic};
pub use prepare::{Prepared, pad_to, prepare};
pub(crate) use sampler::tensor;
pub use sampler::{Batch, Order, Sampler};
pub use slices::{Excerpt, Slices};
pub(crate) use slices::{block, covering, neighbours};
pub(crate) use volumes::depth_first;
pub use volumes::{PreparedVolume, Volume, Volumes, centred, prepare_volume};
