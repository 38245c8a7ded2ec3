//! Labels of regions that may overlap: each output is decided for itself.

use std::ops::Range;

use rayon::prelude::*;

use super::{Certainty, Decision, Place, slabs};
use crate::space::aligned::{refuse_cubic, taps_between};
use crate::space::resample::Interpolation;
use crate::{Error, Grid, Image, Labels};

/// The labels on `target` of the probabilities of `regions` that may overlap, on `source`, whose
/// axes are parallel: 1 + the last region whose interpolated probability is above ½, 0 where none
/// is, as nnU-Net has it (Isensee et al. 2021, doi:10.1038/s41592-020-01008-z).
///
/// `read(region, slices, out)` is as [`argmax_onto`](super::argmax_onto)'s, each range once. Being
/// certain is here: for [`Certainty::Winner`] the least of the regions' max(p, 1 − p), for
/// [`Certainty::Entropy`] the sum of −p ln p − (1 − p) ln(1 − p) over them.
///
/// # Errors
/// As [`argmax_onto`](super::argmax_onto).
pub fn regions_onto<E: From<Error>>(
    source: &Grid,
    target: &Grid,
    interpolation: [Interpolation; 3],
    regions: usize,
    certainty: Certainty,
    mut read: impl FnMut(usize, Range<usize>, &mut [f32]) -> Result<(), E>,
) -> Result<Decision, E> {
    refuse_cubic(interpolation, "probabilities")?;
    if regions == 0 || regions > usize::from(u16::MAX) {
        return Err(
            Error::geometry(format!("expected 1 to 65535 regions, found {regions}")).into(),
        );
    }
    let taps = taps_between(source, target, interpolation)?;
    let [nx, ny, _] = source.shape();
    let [tx, ty, _] = target.shape();
    let (xs, source_xs) = (0..tx, taps[0].span(0..tx));

    let mut labels = vec![0u16; target.len()];
    let sure = if certainty == Certainty::Winner {
        1.0
    } else {
        0.0
    };
    let wanted = certainty != Certainty::None;
    let mut told = vec![sure; if wanted { target.len() } else { 0 }];
    // Rows of no samples where nothing is to be told.
    let step = if wanted { tx } else { 0 };
    let mut slab = Vec::new();
    for zs in slabs(&taps[2], tx * ty) {
        let needed = taps[2].span(zs.clone());
        let place = Place {
            shape: [nx, ny],
            first_slice: needed.start,
        };
        slab.resize(nx * ny * needed.len(), 0.0);
        for region in 0..regions {
            read(region, needed.clone(), &mut slab)?;
            let label = region as u16 + 1;
            let mut told_slices: Vec<&mut [f32]> = if wanted {
                let slices = &mut told[zs.start * tx * ty..zs.end * tx * ty];
                slices.chunks_mut(tx * ty).collect()
            } else {
                zs.clone().map(|_| Default::default()).collect()
            };
            labels[zs.start * tx * ty..zs.end * tx * ty]
                .par_chunks_mut(tx * ty)
                .zip(&mut told_slices)
                .zip(zs.clone())
                .for_each_init(
                    || (vec![0.0; source_xs.len()], vec![0.0; tx]),
                    |(sum, row), ((slice, told), z)| {
                        for (y, labels) in slice.chunks_mut(tx).enumerate() {
                            place.interpolate(&slab, &taps, [y, z], (&xs, &source_xs), sum, row);
                            for (to, &p) in labels.iter_mut().zip(&*row) {
                                *to = if p > 0.5 { label } else { *to };
                            }
                            tell(row, &mut told[y * step..(y + 1) * step], certainty);
                        }
                    },
                );
        }
    }
    Ok(Decision {
        labels: Labels::new(target.clone(), labels)?,
        certainty: if wanted {
            Some(Image::new(target.clone(), told)?)
        } else {
            None
        },
    })
}

fn tell(row: &[f32], told: &mut [f32], certainty: Certainty) {
    let nats = |p: f32| if p > 0.0 { -p * p.ln() } else { 0.0 };
    for (told, &p) in told.iter_mut().zip(row) {
        match certainty {
            Certainty::None => {}
            Certainty::Winner => *told = told.min(p.max(1.0 - p)),
            Certainty::Entropy => *told += nats(p) + nats(1.0 - p),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::Rng;
    use crate::space::{grid_with_shape, resample_aligned};

    #[test]
    fn as_when_every_region_is_resampled_whole() {
        let source = Grid::with_spacing([9, 8, 7], [1.5, 1.5, 4.0]).expect("a grid");
        // More than one slab.
        let target = grid_with_shape(&source, [700, 600, 15]).expect("a grid");
        let by = [Interpolation::Linear; 3];
        let mut rng = Rng::new(3, 0, 0);
        let volumes = [(); 3]
            .map(|()| -> Vec<f32> { (0..source.len()).map(|_| rng.uniform(0.0, 1.0)).collect() });
        let decide = |certainty| {
            let area = 72;
            regions_onto::<Error>(&source, &target, by, 3, certainty, |region, zs, out| {
                out.copy_from_slice(&volumes[region][zs.start * area..zs.end * area]);
                Ok(())
            })
            .expect("a decision")
        };
        let whole = volumes.clone().map(|v| {
            let image = Image::new(source.clone(), v).expect("an image");
            resample_aligned(image, &target, by).expect("parallel axes")
        });
        let plain = decide(Certainty::None);
        let winner = decide(Certainty::Winner);
        let entropy = decide(Certainty::Entropy);
        assert!(plain.certainty.is_none());
        assert_eq!(plain.labels, winner.labels);
        let (winner, entropy) = (winner.certainty, entropy.certainty);
        let (winner, entropy) = (winner.expect("asked for"), entropy.expect("asked for"));
        for i in 0..target.len() {
            let p: Vec<f32> = whole.iter().map(|w| w.data()[i]).collect();
            let label = usize::from(plain.labels.data()[i]);
            // Rounding may take a value that is ½ either way.
            let above = |&k: &usize| p[k] > 0.5 + 1e-6;
            let last = (0..3).rev().find(above).map_or(0, |k| k + 1);
            assert!(
                label >= last && (label == 0 || p[label - 1] > 0.5 - 1e-6),
                "{p:?}"
            );
            let least = p.iter().map(|p| p.max(1.0 - p)).fold(1.0, f32::min);
            assert!((winner.data()[i] - least).abs() < 1e-6);
            let nats = |p: f32| if p > 1e-9 { -p * p.ln() } else { 0.0 };
            let sum: f32 = p.iter().map(|&p| nats(p) + nats(1.0 - p)).sum();
            assert!((entropy.data()[i] - sum).abs() < 1e-5);
        }
        assert!(plain.labels.counts().len() == 4, "all regions occur");
    }
}
