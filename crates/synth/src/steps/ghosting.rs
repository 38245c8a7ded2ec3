//! Ghosts in MR: copies of the image along the phase direction, from what repeats during the scan.
//!
//! Breath and pulse change every n-th line of k-space alike, and n faint copies of the image appear at
//! n-ths of the field of view. As TorchIO's `RandomGhosting` (Pérez-García et al., Computer Methods and
//! Programs in Biomedicine 208:106236, 2021, doi:10.1016/j.cmpb.2021.106236), whose values are the
//! defaults: every n-th line is weakened, the middle of k-space is kept. Lines are counted from the
//! middle here, so that k and -k are alike and the image stays real; it is given as a magnitude.
//!
//! Draws whether, the phase axis, n and by how much lines are weakened.
//!
//! ```
//! # let recipe = crossmod_synth::SynthRecipe::parse(r#"
//! [[steps]]
//! step = "ghosting"
//! p = 0.1
//! ghosts = [4, 10]
//! weaker = [0.5, 1.0]     # share of a line's signal that is lost
//! centre = 0.0            # share of k-space about its middle, besides the middle line, that is kept
//! # "#, &[])?;
//! # Ok::<(), crossmod_synth::Error>(())
//! ```

use crossmod_volume::rng::Rng;
use rayon::prelude::*;
use realfft::RealFftPlanner;
use serde::{Deserialize, Serialize};

use super::encoding::Encoding;
use super::{Apply, Random};
use crate::error::{counts, probability, range};
use crate::{Result, Scene};

/// When, and how much.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Ghosting {
    /// Probability of ghosts.
    pub p: f32,
    /// Range of their number.
    pub ghosts: [usize; 2],
    /// Range of the share of a line's signal that is lost.
    pub weaker: [f32; 2],
    /// Share of k-space about its middle, besides the middle line, that is kept.
    pub centre: f32,
}

impl Default for Ghosting {
    /// TorchIO's values. How often is chosen.
    fn default() -> Self {
        Self {
            p: 0.1,
            ghosts: [4, 10],
            weaker: [0.5, 1.0],
            centre: 0.0,
        }
    }
}

/// The ghosts, if any.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GhostingDraw {
    ghosts: Option<Ghosts>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Ghosts {
    encoding: Encoding,
    number: usize,
    weaker: f32,
    centre: f32,
}

impl Random for Ghosting {
    type Draw = GhostingDraw;

    fn load(&mut self) -> Result<()> {
        probability("ghosting.p", self.p)?;
        counts("ghosting.ghosts", self.ghosts, 1..=1000)?;
        range("ghosting.weaker", self.weaker, 0.0..=1.0)?;
        probability("ghosting.centre", self.centre)
    }

    fn draw(&self, _: &Scene, rng: &mut Rng) -> Result<GhostingDraw> {
        let given = rng.chance(self.p);
        let ghosts = Ghosts {
            encoding: Encoding::draw(rng),
            number: self.ghosts[0] + rng.below(self.ghosts[1] - self.ghosts[0] + 1),
            weaker: rng.uniform(self.weaker[0], self.weaker[1]),
            centre: self.centre,
        };
        Ok(GhostingDraw {
            ghosts: given.then_some(ghosts),
        })
    }
}

impl Apply for GhostingDraw {
    fn apply(&self, scene: &mut Scene) -> Result<()> {
        let image = scene.painted()?;
        let Some(ghosts) = &self.ghosts else {
            return Ok(());
        };
        let mut scanned = ghosts.encoding.scan(image);
        let [_, reads, phases] = scanned.shape;
        let mut planner = RealFftPlanner::<f32>::new();
        let (forward, inverse) = (
            planner.plan_fft_forward(phases),
            planner.plan_fft_inverse(phases),
        );
        let gains = ghosts.gains(phases);
        scanned
            .data
            .par_chunks_mut(reads * phases)
            .for_each(|plane| {
                let mut spectrum = forward.make_output_vec();
                let mut scratch = forward.make_scratch_vec();
                scratch.resize(scratch.len().max(inverse.get_scratch_len()), spectrum[0]);
                for line in plane.chunks_mut(phases) {
                    forward
                        .process_with_scratch(line, &mut spectrum, &mut scratch)
                        .expect("the lengths that were planned");
                    spectrum
                        .iter_mut()
                        .zip(&gains)
                        .for_each(|(v, gain)| *v *= gain);
                    inverse
                        .process_with_scratch(&mut spectrum, line, &mut scratch)
                        .expect("the lengths that were planned");
                    line.iter_mut().for_each(|v| *v = v.abs());
                }
            });
        scanned.put(image);
        Ok(())
    }
}

impl Ghosts {
    /// The gain of each wave from 0 up, with the transforms' own factor.
    fn gains(&self, phases: usize) -> Vec<f32> {
        let kept = 0.5 * self.centre * phases as f32;
        let weakened =
            |wave: usize| wave > 0 && wave as f32 > kept && wave.is_multiple_of(self.number.max(1));
        (0..=phases / 2)
            .map(|wave| if weakened(wave) { 1.0 - self.weaker } else { 1.0 } / phases as f32)
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::super::trial;
    use super::*;

    fn ghosts(number: usize, weaker: f32) -> Ghosting {
        Ghosting {
            p: 1.0,
            ghosts: [number; 2],
            weaker: [weaker; 2],
            centre: 0.0,
        }
    }

    #[test]
    fn a_line_gets_copies_at_even_parts_of_the_field_of_view() {
        // 60 is divided by 5 along any axis.
        let bright = |[x, y, z]: [usize; 3]| [x, y, z].iter().all(|v| (20..24).contains(v));
        let mut scene = trial::scene([60; 3], [1.0; 3], |_| 1);
        scene.image = Some(trial::image(
            &scene,
            |v| if bright(v) { 100.0 } else { 10.0 },
        ));
        let (draw, after) = trial::done(&ghosts(5, 0.75), &scene, 2);
        let encoding = draw.ghosts.expect("ghosts").encoding;
        let before = encoding.scan(&scene.image.expect("an image"));
        let after = encoding.scan(&after.image.expect("an image"));
        let lines = before.data.chunks(60).zip(after.data.chunks(60));
        for (before, after) in lines {
            let mean = before.iter().sum::<f32>() / 60.0;
            for (i, found) in after.iter().enumerate() {
                // Every fifth wave alone is a fifth of the line and its four copies.
                let copies: f32 = (0..5).map(|j| before[(i + 12 * j) % 60]).sum::<f32>() / 5.0;
                let expected = (before[i] - 0.75 * (copies - mean)).abs();
                assert!((found - expected).abs() < 1e-3, "{found} {expected}");
            }
        }
    }

    #[test]
    fn nothing_weaker_changes_nothing_and_the_centre_is_kept() {
        let mut scene = trial::scene([11, 8, 9], [1.0; 3], |_| 1);
        scene.image = Some(trial::image(&scene, |[x, y, z]| (x * y + 3 * z) as f32));
        let (_, after) = trial::done(&ghosts(4, 0.0), &scene, 3);
        let before = scene.image.expect("an image");
        let found = after.image.expect("an image");
        let pairs = found.data().iter().zip(before.data());
        assert!(pairs.clone().all(|(a, b)| (a - b).abs() < 1e-3));
        let kept = Ghosts {
            encoding: Encoding::draw(&mut Rng::new(1, 0, 0)),
            number: 2,
            weaker: 1.0,
            centre: 0.5,
        };
        let gains: Vec<f32> = kept.gains(16).iter().map(|gain| gain * 16.0).collect();
        assert_eq!(gains, [1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 0.0, 1.0, 0.0]);
    }
}
