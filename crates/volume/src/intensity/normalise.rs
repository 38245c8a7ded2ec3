//! Bringing intensities to about mean 0 and standard deviation 1, as nnU-Net does.
//!
//! Isensee et al. 2021, doi:10.1038/s41592-020-01008-z: CT, whose values mean the same in every
//! scan, by the statistics of the foreground of the whole dataset; all else by each image's own.
//!
//! ```
//! use crossmod_volume::intensity::Normalise;
//! let mut values = [2.0, 4.0, 0.0, 6.0];
//! Normalise::Rescale.apply(&mut values, None);
//! assert_eq!(values, [1.0 / 3.0, 2.0 / 3.0, 0.0, 1.0]);
//! let text = serde_json::to_string(&Normalise::ZScore { within_nonzero: true })?;
//! assert_eq!(text, r#"{"z_score":{"within_nonzero":true}}"#);
//! # Ok::<(), serde_json::Error>(())
//! ```

use serde::{Deserialize, Serialize};

use super::Statistics;

/// No smaller standard deviation or range is divided by; nnU-Net's.
const LEAST: f64 = 1e-8;

/// A way of normalising one channel of one case.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Normalise {
    /// Clip to percentiles 0.5 and 99.5 of the dataset's foreground, subtract its mean, divide by
    /// its standard deviation.
    Ct(Statistics),
    /// Subtract the mean and divide by the standard deviation of the image's own values.
    ZScore {
        /// Only of the voxels that are not 0; the others become 0. For images cut out of their
        /// background, as skull-stripped brains.
        within_nonzero: bool,
    },
    /// The least value becomes 0 and the greatest 1.
    Rescale,
    /// As it is.
    None,
}

impl Default for Normalise {
    /// By the image's own mean and standard deviation: nnU-Net's for all that is not CT.
    fn default() -> Self {
        Self::ZScore {
            within_nonzero: false,
        }
    }
}

impl Normalise {
    /// Normalises all values of a channel. `inside` says which voxels count as not 0, one for each
    /// value: in images of several channels, those not 0 in any, with their holes filled; without
    /// it, those not 0 in this one. Values that are not finite do not count, and become 0.
    ///
    /// # Panics
    /// Where `inside` is not as long as `values`.
    pub fn apply(&self, values: &mut [f32], inside: Option<&[bool]>) {
        if let Some(inside) = inside {
            assert_eq!(inside.len(), values.len(), "one for each value");
        }
        match *self {
            Self::Ct(of) => {
                let (low, high) = (of.percentile_00_5, of.percentile_99_5);
                let scale = 1.0 / f64::from(of.sd).max(LEAST);
                // Not `clamp`, which would refuse bounds of a hand-written file that cross.
                let clipped = |v: f32| f64::from(v.max(low).min(high));
                each(values, |v| (clipped(v) - f64::from(of.mean)) * scale);
            }
            Self::ZScore { within_nonzero } => {
                let counts = |i: usize, v: f32| match inside {
                    _ if !within_nonzero => true,
                    Some(inside) => inside[i],
                    None => v != 0.0,
                };
                let (mean, sd) = moments(values, counts);
                let scale = 1.0 / sd.max(LEAST);
                for (i, v) in values.iter_mut().enumerate() {
                    *v = if v.is_finite() && counts(i, *v) {
                        ((f64::from(*v) - mean) * scale) as f32
                    } else {
                        0.0
                    };
                }
            }
            Self::Rescale => {
                let finite = values.iter().copied().filter(|v| v.is_finite());
                let (low, high) = finite.fold((f32::INFINITY, f32::NEG_INFINITY), |(l, h), v| {
                    (l.min(v), h.max(v))
                });
                let low = f64::from(low);
                let scale = 1.0 / (f64::from(high) - low).max(LEAST);
                each(values, |v| (f64::from(v) - low) * scale);
            }
            Self::None => {}
        }
    }
}

fn each(values: &mut [f32], f: impl Fn(f32) -> f64) {
    for v in values {
        *v = if v.is_finite() { f(*v) as f32 } else { 0.0 };
    }
}

/// Mean and standard deviation of the finite values that count; 0 where there are none.
fn moments(values: &[f32], counts: impl Fn(usize, f32) -> bool) -> (f64, f64) {
    let counted = || {
        let values = values.iter().enumerate();
        values
            .filter(|&(i, v)| v.is_finite() && counts(i, *v))
            .map(|(_, &v)| f64::from(v))
    };
    let count = counted().count().max(1) as f64;
    let mean = counted().sum::<f64>() / count;
    let variance = counted().map(|v| (v - mean) * (v - mean)).sum::<f64>() / count;
    (mean, variance.sqrt())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn normalised(by: Normalise, values: &[f32], inside: Option<&[bool]>) -> Vec<f32> {
        let mut values = values.to_vec();
        by.apply(&mut values, inside);
        values
    }

    #[test]
    fn ct_is_clipped_and_scaled_by_the_dataset() {
        let mut of = Statistics::of(&[0.0, 1.0]).expect("values");
        (of.mean, of.sd) = (50.0, 20.0);
        (of.percentile_00_5, of.percentile_99_5) = (-10.0, 110.0);
        let values = [-1000.0, 50.0, 70.0, 3000.0, f32::NAN];
        let found = normalised(Normalise::Ct(of), &values, None);
        assert_eq!(found, [-3.0, 0.0, 1.0, 3.0, 0.0]);
        (of.percentile_00_5, of.percentile_99_5) = (110.0, -10.0);
        assert!(normalised(Normalise::Ct(of), &values, None)[1].is_finite());
    }

    #[test]
    fn z_scores_have_mean_0_and_deviation_1() {
        let values = [0.0, 2.0, 4.0, 6.0, 0.0];
        let all = normalised(Normalise::default(), &values, None);
        let mean = all.iter().sum::<f32>() / 5.0;
        let square = all.iter().map(|v| v * v).sum::<f32>() / 5.0;
        assert!(mean.abs() < 1e-6 && (square - 1.0).abs() < 1e-6);

        let within = Normalise::ZScore {
            within_nonzero: true,
        };
        let sd = (8.0f32 / 3.0).sqrt();
        let expected = [0.0, -2.0 / sd, 0.0, 2.0 / sd, 0.0];
        let own = normalised(within, &values, None);
        let given = normalised(within, &values, Some(&[false, true, true, true, false]));
        for (a, b) in own.iter().zip(expected) {
            assert!((a - b).abs() < 1e-6, "{own:?}");
        }
        assert_eq!(own, given);
        // A 0 that another channel shows to be inside counts.
        let wider = normalised(within, &values, Some(&[true, true, true, true, false]));
        assert!(wider[0] < -1.3 && wider[4] == 0.0);
    }

    #[test]
    fn constant_and_empty_channels_stay_finite() {
        for by in [
            Normalise::default(),
            Normalise::Rescale,
            Normalise::ZScore {
                within_nonzero: true,
            },
        ] {
            assert_eq!(normalised(by, &[7.0; 3], None), [0.0; 3]);
            assert_eq!(normalised(by, &[0.0, f32::INFINITY], None), [0.0; 2]);
            assert!(normalised(by, &[], None).is_empty());
        }
        assert_eq!(normalised(Normalise::None, &[7.0], None), [7.0]);
    }
}
