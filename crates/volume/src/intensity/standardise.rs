//! Bringing intensities to [-1, 1].
//!
//! CT has a scale of its own, so a fixed window keeps tissues comparable between scans. MR has
//! none, so each volume's own percentiles set the range.
//!
//! ```
//! use crossmod_volume::intensity::Standardise;
//! let soft_tissue = Standardise::Window { low: -160.0, high: 240.0 };
//! assert_eq!(serde_json::to_string(&soft_tissue)?, r#"{"window":{"low":-160.0,"high":240.0}}"#);
//! # Ok::<(), serde_json::Error>(())
//! ```

use serde::{Deserialize, Serialize};

use super::percentiles;
use crate::Image;

/// Which intensities become -1 and 1. Those beyond are clipped.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Standardise {
    /// The same for every volume; for CT, HU.
    Window {
        /// Becomes -1.
        low: f32,
        /// Becomes 1.
        high: f32,
    },
    /// Percentiles of each volume.
    Percentiles {
        /// Percentile, 0 to 100, that becomes -1.
        low: f64,
        /// Percentile, 0 to 100, that becomes 1.
        high: f64,
    },
}

impl Default for Standardise {
    /// Percentiles 0.5 and 99.5, nnU-Net's clipping of CT (Isensee et al. 2021,
    /// doi:10.1038/s41592-020-01008-z), here of the whole volume.
    fn default() -> Self {
        Self::Percentiles {
            low: 0.5,
            high: 99.5,
        }
    }
}

impl Standardise {
    /// The intensities that become -1 and 1 in this image; NaN where it has no finite sample to
    /// take percentiles of.
    #[must_use]
    pub fn bounds(&self, image: &Image) -> (f32, f32) {
        match *self {
            Self::Window { low, high } => (low, high),
            Self::Percentiles { low, high } => {
                let found = percentiles(image.data(), &[low, high]);
                (found[0], found[1])
            }
        }
    }

    /// The image in [-1, 1], and the bounds it was brought there by. NaN becomes -1, and so does
    /// everything where the upper bound is not above the lower (a constant image).
    #[must_use]
    pub fn apply(&self, image: Image) -> (Image, (f32, f32)) {
        let bounds = self.bounds(&image);
        let (low, high) = (f64::from(bounds.0), f64::from(bounds.1));
        let width = high - low;
        if width.is_nan() || width <= 0.0 {
            return (image.map(|_| -1.0), bounds);
        }
        let scale = 2.0 / width;
        let image = image.map(|v| {
            let scaled = ((f64::from(v) - low) * scale - 1.0) as f32;
            if scaled.is_nan() {
                -1.0
            } else {
                scaled.clamp(-1.0, 1.0)
            }
        });
        (image, bounds)
    }
}

/// The image from [-1, 1] back to its bounds. What was clipped stays so; values beyond [-1, 1] go
/// beyond the bounds.
#[must_use]
pub fn unstandardise(image: Image, bounds: (f32, f32)) -> Image {
    let (low, high) = (f64::from(bounds.0), f64::from(bounds.1));
    image.map(|v| (low + (f64::from(v) + 1.0) / 2.0 * (high - low)) as f32)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Grid;

    fn image(data: &[f32]) -> Image {
        let grid = Grid::with_spacing([data.len(), 1, 1], [1.0; 3]).expect("a grid");
        Image::new(grid, data.to_vec()).expect("as many samples as voxels")
    }

    #[test]
    fn a_window_is_clipped_and_comes_back() {
        let window = Standardise::Window {
            low: -100.0,
            high: 300.0,
        };
        let odd = [-1000.0, -100.0, 0.0, 100.0, 300.0, f32::INFINITY, f32::NAN];
        let (scaled, bounds) = window.apply(image(&odd));
        assert_eq!(scaled.data(), [-1.0, -1.0, -0.5, 0.0, 1.0, 1.0, -1.0]);
        assert_eq!(bounds, (-100.0, 300.0));
        let back = unstandardise(scaled, bounds);
        assert_eq!(
            back.data(),
            [-100.0, -100.0, 0.0, 100.0, 300.0, 300.0, -100.0]
        );
    }

    #[test]
    fn percentiles_set_the_range_of_each_volume() {
        let ramp: Vec<f32> = (0..=100).map(|v| v as f32).collect();
        let (scaled, bounds) = Standardise::Percentiles {
            low: 10.0,
            high: 90.0,
        }
        .apply(image(&ramp));
        assert_eq!(bounds, (10.0, 90.0));
        assert_eq!(
            [scaled.data()[0], scaled.data()[50], scaled.data()[100]],
            [-1.0, 0.0, 1.0]
        );
    }

    #[test]
    fn constant_and_empty_images_become_the_lower_end() {
        for value in [7.0, f32::NAN] {
            let (scaled, _) = Standardise::default().apply(image(&[value; 4]));
            assert_eq!(scaled.data(), [-1.0; 4]);
        }
    }

    #[test]
    fn unknown_fields_are_refused() {
        let parse = serde_json::from_str::<Standardise>;
        assert!(parse(r#"{"window":{"low":0.0,"high":1.0}}"#).is_ok());
        assert!(parse(r#"{"window":{"low":0.0,"hihg":1.0}}"#).is_err());
        assert!(parse(r#"{"window":{"low":0.0,"high":1.0,"x":0}}"#).is_err());
    }
}
