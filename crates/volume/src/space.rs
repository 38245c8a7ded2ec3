//! Moving volumes between grids.

pub mod orient;
pub mod resample;

pub use orient::{Orientation, reorient_image, reorient_labels, reoriented_grid};
pub use resample::{
    Interpolation, grid_with_spacing, resample_image, resample_labels_linear,
    resample_labels_nearest,
};
