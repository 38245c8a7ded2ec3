//! A bias field: the image times a smooth field, as of a receive coil.
//!
//! As SynthSeg's (Billot et al., Medical Image Analysis 86:102789, 2023,
//! doi:10.1016/j.media.2023.102789) and lab2im's code: the logarithm of the field is normal on a small
//! grid, grown linearly to the image's. Draws whether, the standard deviation and the small grid's
//! seed. Intensities are taken as proportions: 0 stays 0.
//!
//! ```
//! # let recipe = crossmod_synth::SynthRecipe::parse(r#"
//! [[steps]]
//! step = "bias"
//! p = 0.95
//! sd = [0.0, 0.7]      # of the field's logarithm
//! scale = 0.025        # the small grid's side by the image's
//! # "#, &[])?;
//! # Ok::<(), crossmod_synth::Error>(())
//! ```

use crossmod_volume::elementary::exp;
use crossmod_volume::rng::Rng;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::lattice::Lattice;
use super::{Apply, Random};
use crate::error::{probability, range};
use crate::{Result, Scene};

/// When and how much.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Bias {
    /// Probability of a field.
    pub p: f32,
    /// Range of the standard deviation of the field's logarithm.
    pub sd: [f32; 2],
    /// Side of the small grid by the image's.
    pub scale: f32,
}

impl Default for Bias {
    /// SynthSeg's values.
    fn default() -> Self {
        Self {
            p: 0.95,
            sd: [0.0, 0.7],
            scale: 0.025,
        }
    }
}

/// A field, if any.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BiasDraw {
    field: Option<Lattice>,
}

impl Random for Bias {
    type Draw = BiasDraw;

    fn load(&mut self) -> Result<()> {
        probability("bias.p", self.p)?;
        range("bias.sd", self.sd, 0.0..=10.0)?;
        range("bias.scale", [self.scale; 2], 1e-3..=1.0)
    }

    fn draw(&self, scene: &Scene, rng: &mut Rng) -> Result<BiasDraw> {
        let given = rng.chance(self.p);
        let sd = rng.uniform(self.sd[0], self.sd[1]);
        let field = Lattice::draw(scene.grid().shape(), self.scale, sd, rng);
        Ok(BiasDraw {
            field: given.then_some(field),
        })
    }
}

impl Apply for BiasDraw {
    fn apply(&self, scene: &mut Scene) -> Result<()> {
        let image = scene.painted()?;
        let Some(field) = &self.field else {
            return Ok(());
        };
        let shape = image.grid().shape();
        let (numbers, growth) = (field.numbers(0), field.growth(shape));
        let slices = image.data_mut().par_chunks_mut(shape[0] * shape[1]);
        slices
            .enumerate()
            .for_each_init(Vec::new, |log, (z, slice)| {
                log.resize(slice.len(), 0.0);
                growth.slice(&numbers, z, log);
                for (v, &log) in slice.iter_mut().zip(&*log) {
                    *v *= exp(log);
                }
            });
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::steps::trial;

    fn ones(shape: [usize; 3]) -> Scene {
        let mut scene = trial::scene(shape, [1.0; 3], |_| 0);
        scene.image = Some(trial::image(&scene, |_| 1.0));
        scene
    }

    fn field(bias: &Bias, seed: u64) -> Vec<f32> {
        let mut scene = ones([40, 30, 20]);
        let draw = bias
            .draw(&scene, &mut Rng::new(seed, 0, 0))
            .expect("a draw");
        draw.apply(&mut scene).expect("applied");
        scene.image.expect("an image").into_parts().1
    }

    #[test]
    fn the_logarithm_has_the_drawn_deviation_and_is_smooth() {
        let bias = Bias {
            p: 1.0,
            sd: [0.5, 0.5],
            scale: 0.2,
        };
        let (mut squares, mut n, mut steepest) = (0.0, 0, 0f32);
        for seed in 0..40 {
            let logs: Vec<f32> = field(&bias, seed).iter().map(|v| v.ln()).collect();
            // At the middle of each cell of 5 voxels lies a point of the lattice.
            let at = |x: usize, y: usize, z: usize| logs[x + 40 * (y + 30 * z)];
            for (x, y, z) in [(2, 2, 2), (17, 12, 7), (37, 27, 17)] {
                squares += at(x, y, z).powi(2);
                n += 1;
            }
            let steps = logs.windows(2).enumerate().filter(|(i, _)| i % 40 != 39);
            steepest = steps.fold(steepest, |m, (_, w)| m.max((w[1] - w[0]).abs()));
        }
        let sd = (squares / n as f32).sqrt();
        assert!((sd - 0.5).abs() < 0.1, "{sd}");
        // A fifth of the difference of two points of the lattice.
        assert!(steepest > 0.05 && steepest < 0.8, "{steepest}");
    }

    #[test]
    fn draws_follow_their_ranges_and_none_changes_nothing() {
        let scene = ones([8; 3]);
        let drawn = |i| {
            Bias::default()
                .draw(&scene, &mut Rng::new(3, i, 0))
                .expect("a draw")
        };
        let given = (0..2000).filter(|&i| drawn(i).field.is_some()).count();
        // Five standard deviations about 1900.
        assert!((1850..=1950).contains(&given), "{given}");
        let never = Bias {
            p: 0.0,
            ..Bias::default()
        };
        assert!(field(&never, 1).iter().all(|&v| v == 1.0));
    }
}
