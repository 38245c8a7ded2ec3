//! The distance between voxels that all cases are brought to.
//!
//! nnU-Net's rule (doi:10.1038/s41592-020-01008-z, online methods): the median along each axis; where
//! one axis has more than three times the spacing and less than a third of the voxels of the others,
//! the 10th percentile along it, lest cases of thinner slices lose most of theirs.

use super::axes::Framed;
use super::why::figure;
use crate::segment::fingerprint::{median, percentile};

/// Ratio of spacings, and of voxels, from which an axis is of low resolution.
const ANISOTROPY: f64 = 3.0;

/// The target spacing in the frame of `cases`, mm, and why.
pub(super) fn target(cases: &[Framed]) -> ([f64; 3], String) {
    let along = |axis: usize| {
        cases
            .iter()
            .map(move |c| c.spacing_mm[axis])
            .collect::<Vec<f64>>()
    };
    let mut target = [0, 1, 2].map(|axis| median(&mut along(axis)));
    let size = [0, 1, 2].map(|axis| {
        let mut sizes: Vec<f64> = cases.iter().map(|c| c.shape[axis] as f64).collect();
        median(&mut sizes)
    });
    let worst = (0..3).fold(0, |best, a| if target[a] > target[best] { a } else { best });
    let others = || (0..3).filter(|&a| a != worst);
    let coarsest = others().map(|a| target[a]).fold(0.0, f64::max);
    let fewest = others().map(|a| size[a]).fold(f64::INFINITY, f64::min);
    let ratio = target[worst] / coarsest;
    let mut why = "the median of the cases along each axis".to_owned();
    if ratio > ANISOTROPY && size[worst] * ANISOTROPY < fewest {
        let median = target[worst];
        // Not finer than the other axes.
        target[worst] = percentile(&mut along(worst), 10.0).max(coarsest + 1e-5);
        let [found, median] = [target[worst], median].map(figure);
        why = if found == median {
            format!(
                "the median of the cases along each axis; slices are {ratio:.1} times as far apart \
                 as pixels"
            )
        } else {
            format!(
                "the median of the cases in-plane; across slices, {ratio:.1} times as far apart, the \
                 10th percentile of {found} instead of the median of {median}, so that cases of thin \
                 slices keep them"
            )
        };
    }
    (target.map(|s| (s * 1e5).round() / 1e5), why)
}

/// Voxels of a case brought to a spacing.
pub(super) fn resampled(case: &Framed, spacing_mm: [f64; 3]) -> [f64; 3] {
    [0, 1, 2].map(|axis| {
        let size = case.spacing_mm[axis] / spacing_mm[axis] * case.shape[axis] as f64;
        size.round_ties_even().max(1.0)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cases(of: &[([usize; 3], [f64; 3])]) -> Vec<Framed> {
        let framed = |&(shape, spacing_mm)| Framed { shape, spacing_mm };
        of.iter().map(framed).collect()
    }

    #[test]
    fn nearly_isotropic_takes_the_median() {
        let set = cases(&[
            ([100, 512, 512], [2.0, 0.7, 0.7]),
            ([300, 512, 512], [1.0, 0.8, 0.8]),
            ([400, 512, 512], [0.8, 0.9, 0.9]),
        ]);
        let (spacing, why) = target(&set);
        assert_eq!(spacing, [1.0, 0.8, 0.8]);
        assert!(why.contains("median"), "{why}");
        assert_eq!(resampled(&set[0], spacing), [200.0, 448.0, 448.0]);
    }

    /// As ACDC: slices of 5 to 10 mm.
    #[test]
    fn thick_slices_take_the_tenth_percentile() {
        let thick = |z| ([10, 256, 216], [z, 1.5, 1.5]);
        let (spacing, why) = target(&cases(&[
            thick(10.0),
            thick(10.0),
            thick(10.0),
            thick(10.0),
            thick(10.0),
            thick(10.0),
            thick(10.0),
            thick(10.0),
            thick(5.0),
            thick(6.0),
            thick(10.0),
        ]));
        // Ranks 0 to 10: the 10th percentile is the second smallest.
        assert_eq!(spacing, [6.0, 1.5, 1.5]);
        assert!(why.contains("10th percentile"), "{why}");
    }

    #[test]
    fn thick_slices_do_not_become_finer_than_the_others() {
        let mut set = cases(&[([10, 256, 256], [5.0, 1.0, 1.0]); 9]);
        set.extend(cases(&[([50, 256, 256], [0.2, 1.0, 1.0]); 2]));
        assert_eq!(target(&set).0, [1.00001, 1.0, 1.0]);
    }

    /// Thick, but as many slices as rows.
    #[test]
    fn many_thick_slices_take_the_median() {
        let set = cases(&[
            ([200, 256, 256], [4.0, 1.0, 1.0]),
            ([200, 256, 256], [6.0, 1.0, 1.0]),
        ]);
        assert_eq!(target(&set).0, [5.0, 1.0, 1.0]);
    }
}
