//! Brings an image to 0 to 1 and bends its contrast by a power.
//!
//! As SynthSeg (Billot et al., Medical Image Analysis 86:102789, 2023,
//! doi:10.1016/j.media.2023.102789) and its code: intensities are clipped to 0 to 300, the least
//! becomes 0 and the greatest 1, then x becomes x^exp(N(0, sd)). Draws the exponent.
//!
//! ```
//! # let recipe = crossmod_synth::SynthRecipe::parse(r#"
//! [[steps]]
//! step = "gamma"
//! clip = [0.0, 300.0]
//! sd = 0.5             # of the exponent's logarithm
//! # "#, &[])?;
//! # Ok::<(), crossmod_synth::Error>(())
//! ```

use crossmod_volume::elementary::power;
use crossmod_volume::rng::Rng;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::{Apply, Random};
use crate::error::range;
use crate::{Result, Scene};

/// How much.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Gamma {
    /// What intensities are clipped to first.
    pub clip: [f32; 2],
    /// Standard deviation of the exponent's logarithm; 0 leaves the contrast as it is.
    pub sd: f32,
}

impl Default for Gamma {
    /// SynthSeg's values.
    fn default() -> Self {
        Self {
            clip: [0.0, 300.0],
            sd: 0.5,
        }
    }
}

/// Which power.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GammaDraw {
    clip: [f32; 2],
    exponent: f32,
}

/// Voxels that are worked on at a time.
const PART: usize = 1 << 16;

impl Random for Gamma {
    type Draw = GammaDraw;

    fn load(&mut self) -> Result<()> {
        range("gamma.clip", self.clip, -1e6..=1e6)?;
        range("gamma.sd", [self.sd; 2], 0.0..=5.0)
    }

    fn draw(&self, _: &Scene, rng: &mut Rng) -> Result<GammaDraw> {
        Ok(GammaDraw {
            clip: self.clip,
            exponent: (self.sd * rng.normal()).exp(),
        })
    }
}

impl Apply for GammaDraw {
    fn apply(&self, scene: &mut Scene) -> Result<()> {
        let [low, high] = self.clip;
        let clipped = |v: f32| {
            if v < low {
                low
            } else if v > high {
                high
            } else {
                v
            }
        };
        let image = scene.painted()?;
        let parts = image.data().par_chunks(PART).map(|part| {
            let ends = (f32::INFINITY, f32::NEG_INFINITY);
            part.iter().fold(ends, |(least, most), &v| {
                let v = clipped(v);
                (
                    if v < least { v } else { least },
                    if v > most { v } else { most },
                )
            })
        });
        let ends = |a: (f32, f32), b: (f32, f32)| (a.0.min(b.0), a.1.max(b.1));
        let (least, most) = parts.reduce(|| (f32::INFINITY, f32::NEG_INFINITY), ends);
        // All alike become 0.
        let by = if most > least {
            1.0 / (most - least)
        } else {
            0.0
        };
        let parts = image.data_mut().par_chunks_mut(PART);
        parts.for_each(|part| bend(part, self.clip, least, by, self.exponent));
        Ok(())
    }
}

/// Every number clipped, stretched and raised. By itself and in groups, so that the compiler turns it
/// into vectors.
#[inline(never)]
fn bend(part: &mut [f32], [low, high]: [f32; 2], least: f32, by: f32, exponent: f32) {
    let bent = |v: &mut f32| {
        let clipped = if *v < low { low } else { *v };
        let clipped = if clipped > high { high } else { clipped };
        *v = power((clipped - least) * by, exponent);
    };
    let mut groups = part.chunks_exact_mut(16);
    groups
        .by_ref()
        .for_each(|group| group.iter_mut().for_each(bent));
    groups.into_remainder().iter_mut().for_each(bent);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::steps::trial;

    fn made(gamma: &Gamma, value: impl Fn(usize) -> f32) -> (GammaDraw, Vec<f32>) {
        let mut scene = trial::scene([50, 2, 1], [1.0; 3], |_| 0);
        scene.image = Some(trial::image(&scene, |[x, _, _]| value(x)));
        let (draw, scene) = trial::done(gamma, &scene, 5);
        (draw, scene.image.expect("an image").into_parts().1)
    }

    #[test]
    fn intensities_are_clipped_stretched_and_bent() {
        let (draw, found) = made(&Gamma::default(), |x| 10.0 * x as f32 - 50.0);
        assert_eq!(
            (found[0], found[5], found[35], found[49]),
            (0.0, 0.0, 1.0, 1.0)
        );
        for (x, v) in found.iter().enumerate().take(35).skip(6) {
            let expected = ((10.0 * x as f64 - 50.0) / 300.0).powf(f64::from(draw.exponent));
            assert!((f64::from(*v) - expected).abs() < 1e-6, "{x}");
        }
        assert!((draw.exponent - 1.0).abs() > 1e-3);
        let (_, flat) = made(&Gamma::default(), |_| 7.0);
        assert!(flat.iter().all(|&v| v == 0.0));
    }

    #[test]
    fn the_exponents_logarithm_is_normal() {
        let scene = trial::scene([1, 1, 1], [1.0; 3], |_| 0);
        let n = 4000;
        let drawn = |i| {
            Gamma::default()
                .draw(&scene, &mut Rng::new(2, i, 0))
                .expect("a draw")
        };
        let logs: Vec<f64> = (0..n).map(|i| f64::from(drawn(i).exponent).ln()).collect();
        let mean = logs.iter().sum::<f64>() / n as f64;
        let sd = (logs.iter().map(|v| v * v).sum::<f64>() / n as f64).sqrt();
        // Five standard errors.
        assert!(mean.abs() < 0.04 && (sd - 0.5).abs() < 0.028, "{mean} {sd}");
    }

    #[test]
    fn there_must_be_an_image() {
        let mut scene = trial::scene([1, 1, 1], [1.0; 3], |_| 0);
        let draw = GammaDraw {
            clip: [0.0, 1.0],
            exponent: 1.0,
        };
        assert!(draw.apply(&mut scene).is_err());
    }
}
