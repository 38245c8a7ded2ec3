//! Moving volumes between grids.

pub mod aligned;
pub mod argmax;
pub mod blur;
pub mod crop;
pub mod orient;
pub mod resample;
mod spline;
mod taps;
pub mod transform;
pub mod velocity;
pub mod warp;

pub use aligned::{aligned_interpolation, resample_aligned, resample_labels_aligned};
pub use argmax::{AlignedSlices, Certainty, Decision, argmax_onto, regions_onto};
pub use blur::{Sigma, blur, convolve};
pub use crop::{Cut, Frame};
pub use orient::{Orientation, reorient_image, reorient_labels, reoriented_grid};
pub use resample::{
    Interpolation, grid_with_shape, grid_with_spacing, resample_image, resample_labels_linear,
    resample_labels_nearest,
};
pub use transform::Transform;
pub use velocity::Flow;
pub use warp::{Block, Deformation, Displacement, Patch, Warp};
