//! Measuring a prior from real scans with labels.
//!
//! For each class: the mean and standard deviation over scans of its labels' means and of their standard
//! deviations, as normal distributions, and 65 quantiles of its intensities, in which every label of every
//! scan has the same weight. "Learning CT segmentation from label masks only" (Tsanda et al., 2024) fits its
//! constants so, and matches its textures to such histograms.
//!
//! Of CT (scans that reach below −500) also what nobody segmented is measured, as the classes of
//! `unsegmented`, and all of the body as class `body`. One label in one scan has no spread: `sigma` is 0
//! then. Intensities are in the scans' unit.

use std::collections::BTreeMap;

use crossmod_volume::rng::Rng;
use crossmod_volume::{Image, Labels};

use crate::reference::{BODY, body_of};
use crate::steps::unsegmented::Unsegmented;
use crate::steps::{Apply, Random};
use crate::{Error, LabelScheme, Prior, PriorClass, QUANTILES, Quantiles, Result, Scene, Spread};

/// A scan that reaches below is a CT with air in it, HU.
const AIR_HU: f32 = -500.0;

/// Labels of fewer voxels in a scan are not measured.
const FEWEST: usize = 8;

/// Quantiles that stand for one label in one scan.
const OF_A_LABEL: usize = 1025;

/// What was measured of a class.
#[derive(Debug, Default)]
struct Measured {
    labels: Vec<u16>,
    means: Vec<f64>,
    sds: Vec<f64>,
    quantiles: Vec<f32>,
}

impl Measured {
    fn add(&mut self, values: Vec<f32>) {
        let finite = values.iter().copied().filter(|v| v.is_finite());
        let n = finite.clone().count();
        if n < FEWEST {
            return;
        }
        let mean = finite.clone().map(f64::from).sum::<f64>() / n as f64;
        let square = finite.map(|v| (f64::from(v) - mean).powi(2)).sum::<f64>() / n as f64;
        self.means.push(mean);
        self.sds.push(square.sqrt());
        if let Some(quantiles) = Quantiles::of(values, OF_A_LABEL) {
            self.quantiles.extend(quantiles.values());
        }
    }

    fn class(self, name: String) -> Option<PriorClass> {
        let quantiles = Quantiles::of(self.quantiles, QUANTILES)?;
        Some(PriorClass {
            name,
            labels: self.labels,
            mean: spread(&self.means),
            sd: spread(&self.sds),
            quantiles: Some(quantiles.into()),
        })
    }
}

fn spread(values: &[f64]) -> Spread {
    let n = values.len() as f64;
    let mu = values.iter().sum::<f64>() / n;
    let square: f64 = values.iter().map(|v| (v - mu).powi(2)).sum();
    Spread::Normal {
        mu: mu as f32,
        sigma: (square / (n - 1.0).max(1.0)).sqrt() as f32,
    }
}

/// The prior of scans, each with its labels on its grid.
///
/// # Errors
/// What a case that cannot be read gives; [`Error::Recipe`] where scan and labels do not lie on one
/// grid, or there is nothing to measure.
pub fn fit(
    cases: impl IntoIterator<Item = Result<(Image, Labels)>>,
    scheme: &LabelScheme,
) -> Result<Prior> {
    let mut classes: BTreeMap<String, Measured> = BTreeMap::new();
    let mut ct = true;
    for case in cases {
        let (scan, labels) = case?;
        let is_ct = scan.data().iter().any(|&v| v < AIR_HU);
        ct &= is_ct;
        let mut scene = scheme.scene(labels, Some(scan))?;
        let own: Vec<u16> = scene
            .labels
            .counts()
            .into_keys()
            .filter(|&v| v != 0)
            .collect();
        if is_ct {
            let draw = Unsegmented::default().draw(&scene, &mut Rng::new(0, 0, 0))?;
            draw.apply(&mut scene)?;
            if let Some(scan) = &scene.scan {
                classes
                    .entry(BODY.to_owned())
                    .or_default()
                    .add(body_of(scan)?);
            }
        }
        for (value, values) in by_label(&scene) {
            let measured = classes.entry(scene.structure(value).class).or_default();
            // Values that were made for what nobody segmented mean nothing elsewhere.
            if own.contains(&value) && !measured.labels.contains(&value) {
                measured.labels.push(value);
                measured.labels.sort_unstable();
            }
            measured.add(values);
        }
    }
    let classes: Vec<PriorClass> = classes
        .into_iter()
        .filter_map(|(name, measured)| measured.class(name))
        .collect();
    if classes.is_empty() {
        return Err(Error::Recipe(
            "expected scans with labels to measure, found none; name folders of images and labels \
             of the same cases"
                .into(),
        ));
    }
    Ok(Prior {
        unit: if ct { "HU".into() } else { String::new() },
        classes,
    })
}

/// The scan's values by label.
fn by_label(scene: &Scene) -> BTreeMap<u16, Vec<f32>> {
    let mut values: BTreeMap<u16, Vec<f32>> = BTreeMap::new();
    let scan = scene.scan.as_ref().map_or(&[][..], |scan| scan.data());
    let mut start = 0;
    for run in scene.labels.data().chunk_by(|a, b| a == b) {
        let end = (start + run.len()).min(scan.len());
        values.entry(run[0]).or_default().extend(&scan[start..end]);
        start = end;
    }
    values
}

#[cfg(test)]
mod tests {
    use super::*;
    use crossmod_volume::Grid;

    /// A CT of air, fat, muscle and two kidneys whose means are `kidneys`.
    fn case(kidneys: [f32; 2], seed: u64) -> Result<(Image, Labels)> {
        let shape = [40, 30, 10];
        let grid = Grid::with_spacing(shape, [3.0; 3])?;
        let mut rng = Rng::new(seed, 0, 0);
        let mut labels = vec![0; grid.len()];
        let mut scan = vec![0.0; grid.len()];
        for (i, (label, v)) in labels.iter_mut().zip(&mut scan).enumerate() {
            let (x, y) = (i % 40, i / 40 % 30);
            let mean = match (x, y) {
                (5..=9, 10..=19) => kidneys[0],
                (30..=34, 10..=19) => kidneys[1],
                (0..=1, _) | (38.., _) | (_, 0..=1) | (_, 28..) => -1000.0,
                (2..=3, _) | (36..=37, _) => -105.0,
                _ => 50.0,
            };
            if mean == kidneys[0] {
                *label = 1;
            } else if mean == kidneys[1] {
                *label = 2;
            }
            *v = mean + 10.0 * rng.normal();
        }
        Ok((Image::new(grid.clone(), scan)?, Labels::new(grid, labels)?))
    }

    #[test]
    fn means_spreads_and_quantiles_are_found_again() -> Result<()> {
        let names = BTreeMap::from([
            (1, "left kidney".to_owned()),
            (2, "right kidney".to_owned()),
        ]);
        let scheme = LabelScheme::named(&names);
        let cases = [[160.0, 170.0], [180.0, 190.0], [150.0, 200.0]];
        let cases = cases
            .iter()
            .zip(0..)
            .map(|(&kidneys, seed)| case(kidneys, seed));
        let prior = fit(cases, &scheme)?;
        let text = toml::to_string(&prior).expect("a text");
        assert_eq!(Prior::parse(&text)?, prior);
        assert_eq!(prior.unit, "HU");

        let kidney = prior.of("kidney", &[]).expect("measured");
        assert_eq!(kidney.labels, [1, 2]);
        let Spread::Normal { mu, sigma } = kidney.mean else {
            panic!("{kidney:?}")
        };
        // Six means: 160, 170, 180, 190, 150, 200.
        assert!(
            (mu - 175.0).abs() < 0.5 && (sigma - 18.71).abs() < 0.6,
            "{mu} {sigma}"
        );
        let Spread::Normal { mu, sigma } = kidney.sd else {
            panic!("{kidney:?}")
        };
        assert!((mu - 10.0).abs() < 0.5 && sigma < 0.6, "{mu} {sigma}");
        let quantiles = kidney.quantiles.as_ref().expect("quantiles");
        assert!((quantiles[32] - 175.0).abs() < 2.0, "{}", quantiles[32]);

        for (class, mean) in [("air", -1000.0), ("fat", -105.0), ("soft tissue", 50.0)] {
            let found = prior.of(class, &[]).expect(class);
            assert!((found.mean.centre() - mean).abs() < 1.0, "{class}");
            assert!(found.labels.is_empty());
        }
        let body = prior.of("body", &[]).expect("a body");
        assert!(
            body.quantiles
                .as_ref()
                .is_some_and(|q| q[0] > -200.0 && q[64] > 150.0)
        );
        Ok(())
    }

    #[test]
    fn nothing_to_measure_is_told() {
        assert!(fit([], &LabelScheme::default()).is_err());
    }
}
