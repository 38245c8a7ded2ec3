//! What the intensities of labelled voxels are, over a whole dataset.
//!
//! nnU-Net's fingerprint (Isensee et al. 2021, doi:10.1038/s41592-020-01008-z): from each case up to
//! 10,000 foreground voxels are drawn, and of all of them together the statistics are taken. The
//! draw depends on the generator alone, which should be keyed by (seed, case), not on the order
//! of cases.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::percentiles;
use crate::rng::Rng;
use crate::{Error, Image, Labels, Result};

/// Most voxels taken of one case; nnU-Net's.
pub const PER_CASE: usize = 10_000;

/// Intensities of up to `most` voxels whose label `of` says yes to, in order of storage, drawn
/// without putting back (Floyd's method; Bentley and Floyd 1987, doi:10.1145/30401.315746); all of
/// them where there are no more. Voxels that are not finite do not count.
///
/// # Errors
/// [`Error::Geometry`] where the image and the label map differ in shape.
pub fn sample_foreground(
    image: &Image,
    labels: &Labels,
    of: impl Fn(u16) -> bool,
    most: usize,
    rng: &mut Rng,
) -> Result<Vec<f32>> {
    let shapes = [image.grid().shape(), labels.grid().shape()];
    if shapes[0] != shapes[1] {
        return Err(Error::geometry(format!(
            "expected an image of the label map's shape {:?}, found {:?}",
            shapes[1], shapes[0]
        )));
    }
    let foreground = || {
        let pairs = image.data().iter().zip(labels.data());
        pairs
            .filter(|&(v, &label)| v.is_finite() && of(label))
            .map(|(&v, _)| v)
    };
    let count = foreground().count();
    if count <= most {
        return Ok(foreground().collect());
    }
    let mut chosen = BTreeSet::new();
    for last in count - most..count {
        let rank = rng.below(last + 1);
        if !chosen.insert(rank) {
            chosen.insert(last);
        }
    }
    let mut all = foreground().enumerate();
    let mut pick = |rank: &usize| all.find(|(i, _)| i == rank).map(|(_, v)| v);
    Ok(chosen.iter().filter_map(&mut pick).collect())
}

/// Statistics of intensities.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Statistics {
    /// Mean.
    pub mean: f32,
    /// Standard deviation, over all values as the population.
    pub sd: f32,
    /// Least value.
    pub min: f32,
    /// Percentile 0.5.
    pub percentile_00_5: f32,
    /// Percentile 50.
    pub median: f32,
    /// Percentile 99.5.
    pub percentile_99_5: f32,
    /// Greatest value.
    pub max: f32,
}

impl Statistics {
    /// The statistics of the finite values; `None` where there are none.
    #[must_use]
    pub fn of(values: &[f32]) -> Option<Self> {
        let finite = || {
            values
                .iter()
                .filter(|v| v.is_finite())
                .map(|&v| f64::from(v))
        };
        let count = finite().count();
        if count == 0 {
            return None;
        }
        let mean = finite().sum::<f64>() / count as f64;
        let variance = finite().map(|v| (v - mean) * (v - mean)).sum::<f64>() / count as f64;
        let at = percentiles(values, &[0.0, 0.5, 50.0, 99.5, 100.0]);
        Some(Self {
            mean: mean as f32,
            sd: variance.sqrt() as f32,
            min: at[0],
            percentile_00_5: at[1],
            median: at[2],
            percentile_99_5: at[3],
            max: at[4],
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Grid;

    fn pair(n: usize) -> (Image, Labels) {
        let grid = Grid::with_spacing([n, 1, 1], [1.0; 3]).expect("a grid");
        let data = (0..n).map(|i| i as f32).collect();
        let image = Image::new(grid.clone(), data).expect("an image");
        let labels = (0..n).map(|i| [0, 1, 2][i % 3]).collect();
        (image, Labels::new(grid, labels).expect("labels"))
    }

    #[test]
    fn each_foreground_voxel_is_as_likely_and_none_comes_twice() {
        let (mut image, labels) = pair(300);
        image.data_mut()[1] = f32::NAN;
        let mut hits = vec![0i32; 300];
        for case in 0..2000 {
            let mut rng = Rng::new(9, case, 0);
            let draw = |rng: &mut Rng| {
                sample_foreground(&image, &labels, |l| l == 1, 20, rng).expect("same shape")
            };
            let found = draw(&mut rng);
            assert_eq!(found.len(), 20);
            assert!(found.windows(2).all(|w| w[0] < w[1]));
            assert_eq!(found, draw(&mut Rng::new(9, case, 0)));
            found.iter().for_each(|&v| hits[v as usize] += 1);
        }
        // 99 voxels, each drawn 2000 * 20 / 99 = 404 times, standard deviation 18.
        for (i, &n) in hits.iter().enumerate() {
            let expected = if i % 3 == 1 && i != 1 { 404 } else { 0 };
            assert!((n - expected).abs() <= expected.min(90), "{i} {n}");
        }
    }

    #[test]
    fn few_voxels_are_all_taken_and_shapes_must_agree() {
        let (image, labels) = pair(9);
        let mut rng = Rng::new(1, 0, 0);
        let all = sample_foreground(&image, &labels, |l| l != 0, 6, &mut rng);
        assert_eq!(all.expect("same shape"), [1.0, 2.0, 4.0, 5.0, 7.0, 8.0]);
        let (other, _) = pair(10);
        assert!(sample_foreground(&other, &labels, |l| l != 0, 6, &mut rng).is_err());
    }

    /// NumPy: `v = numpy.r_[0:1001] ** 2`; `v.mean(), v.std()`, `numpy.percentile(v, …)`.
    #[test]
    fn as_numpy() {
        let mut values: Vec<f32> = (0..=1000).map(|i| (i * i) as f32).collect();
        values.push(f32::NAN);
        let found = Statistics::of(&values).expect("values");
        let expected = [333_500.0, 298_459.01, 0.0, 25.0, 250_000.0, 990_025.0, 1e6];
        let found = [
            found.mean,
            found.sd,
            found.min,
            found.percentile_00_5,
            found.median,
            found.percentile_99_5,
            found.max,
        ];
        for (a, b) in found.iter().zip(expected) {
            assert!((a - b).abs() <= 1e-6 * b, "{found:?}");
        }
        assert_eq!(Statistics::of(&[f32::INFINITY]), None);
    }
}
