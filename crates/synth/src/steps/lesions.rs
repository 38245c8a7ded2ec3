//! Lesions pasted into organs: rough ellipsoids with a look of their own.
//!
//! A lesion is an ellipsoid about a voxel of a chosen structure, turned at random; its surface lies at
//! the ellipsoid's times exp(roughness w), where w, about normal, is a sum of eight plane waves on the
//! sphere of directions. It ends where the structure ends. Draws whether there are any, how many, and
//! of each the place, the radii, the turn and the waves' seed. The form and all ranges are chosen; that
//! synthetic lesions teach a segmenter to meet real ones is the finding of, among others, Hu et al.
//! ("Label-free liver tumor segmentation", CVPR 2023, doi:10.1109/CVPR52729.2023.00717).
//!
//! ```
//! # let recipe = crossmod_synth::SynthRecipe::parse(r#"
//! [[steps]]
//! step = "lesions"
//! of = ["liver"]              # classes, names or values; none: all that is learnt
//! p = 0.5                     # probability that an image has any
//! count = [1, 6]
//! diameter_mm = [5.0, 40.0]   # of the ball of equal volume; its logarithm is drawn evenly
//! elongation = [1.0, 1.6]     # longest by shortest diameter
//! roughness = [0.05, 0.25]    # standard deviation of the radius's logarithm
//! class = "lesion"            # whose intensities a later step draws
//! target = "parent"           # what is learnt of it: "parent", "background" or a value
//! # "#, &[])?;
//! # Ok::<(), crossmod_synth::Error>(())
//! ```

use crossmod_volume::rng::Rng;
use glam::{Quat, Vec3};
use serde::{Deserialize, Serialize};

use super::chosen::chosen;
use super::parts::{Target, TargetWord, pasted};
use super::place::{turn, voxels_within, within_reach};
use super::{Apply, Random};
use crate::error::{counts, probability, range};
use crate::{Result, Scene};

/// Waves that make a surface rough.
const WAVES: usize = 8;

/// The waves' sum is kept within this many standard deviations.
const ROUGHEST: f32 = 2.5;

/// Where lesions are pasted, and what they are.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Lesions {
    /// Classes, names or values; none: all that is learnt.
    pub of: Vec<String>,
    /// Probability that an image has any.
    pub p: f32,
    /// Range of their number.
    pub count: [usize; 2],
    /// Range of the diameter of a ball of equal volume; its logarithm is drawn evenly.
    pub diameter_mm: [f32; 2],
    /// Range of the longest by the shortest diameter.
    pub elongation: [f32; 2],
    /// Range of the standard deviation of the radius's logarithm.
    pub roughness: [f32; 2],
    /// The class that they are of.
    pub class: String,
    /// What is learnt of them.
    pub target: Target,
}

impl Default for Lesions {
    /// Chosen.
    fn default() -> Self {
        Self {
            of: Vec::new(),
            p: 0.5,
            count: [1, 6],
            diameter_mm: [5.0, 40.0],
            elongation: [1.0, 1.6],
            roughness: [0.05, 0.25],
            class: "lesion".into(),
            target: Target::Word(TargetWord::Parent),
        }
    }
}

/// The lesions.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LesionsDraw {
    /// The values that they are pasted into.
    parents: Vec<u16>,
    class: String,
    target: Target,
    lesions: Vec<Lesion>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Lesion {
    /// Voxel (x, y, z).
    centre: [usize; 3],
    radii_mm: [f32; 3],
    /// World axes from the ellipsoid's own.
    turn: Quat,
    roughness: f32,
    seed: u64,
}

impl Random for Lesions {
    type Draw = LesionsDraw;

    fn load(&mut self) -> Result<()> {
        probability("lesions.p", self.p)?;
        counts("lesions.count", self.count, 0..=1000)?;
        range("lesions.diameter_mm", self.diameter_mm, 0.1..=500.0)?;
        range("lesions.elongation", self.elongation, 1.0..=10.0)?;
        range("lesions.roughness", self.roughness, 0.0..=1.0)
    }

    fn draw(&self, scene: &Scene, rng: &mut Rng) -> Result<LesionsDraw> {
        let given = rng.chance(self.p);
        let number = self.count[0] + rng.below(self.count[1] - self.count[0] + 1);
        let mut parents: Vec<u16> = chosen(&self.of, scene).into_values().flatten().collect();
        parents.sort_unstable();
        let places = if given && number > 0 {
            voxels_within(scene, &parents, number, rng)
        } else {
            Vec::new()
        };
        let lesions = places.into_iter().map(|centre| {
            let [low, high] = self.diameter_mm.map(f32::ln);
            let radius = 0.5 * rng.uniform(low, high).exp();
            // The middle diameter lies anywhere between the others; the volume stays.
            let elongation = rng.uniform(self.elongation[0], self.elongation[1]);
            let ratios = [1.0, elongation.powf(rng.unit()), elongation];
            let mean = (ratios[1] * ratios[2]).cbrt();
            Lesion {
                centre,
                radii_mm: ratios.map(|ratio| radius * ratio / mean),
                turn: turn(rng),
                roughness: rng.uniform(self.roughness[0], self.roughness[1]),
                seed: u64::from(rng.bits()) << 32 | u64::from(rng.bits()),
            }
        });
        let lesions = lesions.collect();
        Ok(LesionsDraw {
            parents,
            class: self.class.clone(),
            target: self.target,
            lesions,
        })
    }
}

impl Apply for LesionsDraw {
    fn apply(&self, scene: &mut Scene) -> Result<()> {
        if self.lesions.is_empty() {
            return Ok(());
        }
        let made = pasted(scene, &self.parents, &self.class, self.target)?;
        for lesion in &self.lesions {
            let surface = lesion.surface();
            let reach_mm = f64::from(lesion.reach_mm());
            within_reach(
                scene,
                lesion.centre.map(|v| v as f64),
                reach_mm,
                |at, label| {
                    if let Some(value) = made.get(label)
                        && surface.holds(at.as_vec3())
                    {
                        *label = *value;
                    }
                },
            );
        }
        Ok(())
    }
}

impl Lesion {
    fn reach_mm(&self) -> f32 {
        let longest = self.radii_mm.iter().fold(0.0f32, |a, &b| a.max(b));
        longest * (ROUGHEST * self.roughness).exp()
    }

    fn surface(&self) -> Surface {
        let mut rng = Rng::new(self.seed, 0, 0);
        Surface {
            own_from_world: self.turn.inverse(),
            radii_mm: Vec3::from_array(self.radii_mm),
            roughness: self.roughness,
            waves: [(); WAVES].map(|()| {
                let direction = turn(&mut rng) * Vec3::X;
                // Two to six radians from pole to centre: bumps of a third of the lesion and up.
                let wave = direction * rng.uniform(2.0, 6.0);
                (wave, rng.uniform(0.0, std::f32::consts::TAU))
            }),
        }
    }
}

struct Surface {
    own_from_world: Quat,
    radii_mm: Vec3,
    roughness: f32,
    waves: [(Vec3, f32); WAVES],
}

impl Surface {
    fn holds(&self, from_centre_mm: Vec3) -> bool {
        let own = self.own_from_world * from_centre_mm / self.radii_mm;
        let distance = own.length();
        let direction = own / distance.max(f32::MIN_POSITIVE);
        let waves = self
            .waves
            .iter()
            .map(|(k, phase)| (k.dot(direction) + phase).sin());
        // Each has a variance of a half.
        let sum: f32 = waves.sum::<f32>() * (2.0 / WAVES as f32).sqrt();
        distance <= (self.roughness * sum.clamp(-ROUGHEST, ROUGHEST)).exp()
    }
}

#[cfg(test)]
mod tests {
    use super::super::trial;
    use super::*;

    fn liver() -> Scene {
        trial::scene([60, 50, 40], [1.0, 1.0, 1.5], |[x, _, _]| u16::from(x >= 5))
    }

    fn one(diameter: f32, elongation: f32, roughness: f32) -> Lesions {
        Lesions {
            p: 1.0,
            count: [1, 1],
            diameter_mm: [diameter; 2],
            elongation: [elongation; 2],
            roughness: [roughness; 2],
            target: Target::Value(9),
            ..Lesions::default()
        }
    }

    #[test]
    fn a_smooth_one_has_the_volume_and_length_of_its_ellipsoid() {
        let mut whole = 0;
        for seed in 0..12 {
            let (draw, after) = trial::done(&one(16.0, 2.0, 0.0), &liver(), seed);
            let lesion = &draw.lesions[0];
            let [a, _, c] = lesion.radii_mm;
            assert!((c / a - 2.0).abs() < 1e-4);
            let volume: f32 = lesion.radii_mm.iter().product();
            assert!((volume.cbrt() - 8.0).abs() < 1e-3);
            let shape = [60, 50, 40];
            let far_from_edges = (0..3).all(|axis| {
                let margin = [17, 12, 9][axis];
                (margin..shape[axis] - margin).contains(&lesion.centre[axis])
            });
            let voxels = after.labels.data().iter();
            let count = voxels
                .filter(|&&label| after.structure(label).target == 9)
                .count();
            if far_from_edges {
                whole += 1;
                let expected = 4.0 / 3.0 * std::f64::consts::PI * 512.0 / 1.5;
                assert!(
                    (count as f64 / expected - 1.0).abs() < 0.04,
                    "{count} {expected}"
                );
            }
            let parent = after
                .labels
                .data()
                .iter()
                .zip(liver().labels.into_parts().1);
            assert!(
                parent
                    .filter(|(_, before)| *before == 0)
                    .all(|(now, _)| *now == 0)
            );
        }
        assert!(whole > 1, "{whole}");
    }

    #[test]
    fn a_rough_one_keeps_within_its_bounds_and_is_not_the_smooth_one() {
        let (draw, after) = trial::done(&one(20.0, 1.0, 0.2), &liver(), 4);
        let lesion = &draw.lesions[0];
        let centre = lesion.centre.map(|v| v as f64);
        let spacing = [1.0, 1.0, 1.5];
        let (mut inner, mut outer) = (0, 0);
        for (v, &label) in trial::voxels([60, 50, 40]).zip(after.labels.data()) {
            let r = (0..3).map(|k| ((v[k] as f64 - centre[k]) * spacing[k]).powi(2));
            let r = r.sum::<f64>().sqrt();
            let inside = after.structure(label).class == "lesion";
            assert!(!inside || r <= 10.0 * 0.5f64.exp() + 1e-3, "{r}");
            inner += usize::from(!inside && r < 9.0 && label == 1);
            outer += usize::from(inside && r > 11.0);
        }
        assert!(inner > 10 && outer > 10, "{inner} {outer}");
    }

    #[test]
    fn numbers_and_sizes_follow_their_ranges() {
        let scene = trial::scene([8, 8, 8], [1.0; 3], |_| 1);
        let step = Lesions::default();
        let (mut without, mut number, mut small, mut all) = (0, 0, 0, 0);
        for case in 0..2000 {
            let draw = step
                .draw(&scene, &mut Rng::new(3, case, 0))
                .expect("a draw");
            without += usize::from(draw.lesions.is_empty());
            number += draw.lesions.len();
            for lesion in &draw.lesions {
                let diameter = 2.0 * lesion.radii_mm.iter().product::<f32>().cbrt();
                assert!((4.99..40.01).contains(&diameter));
                small += usize::from(diameter < 200f32.sqrt());
                all += 1;
            }
        }
        assert!((930..1070).contains(&without), "{without}");
        let mean = number as f64 / (2000 - without) as f64;
        assert!((mean - 3.5).abs() < 0.2, "{mean}");
        // The median of an even logarithm is the geometric mean.
        assert!(
            (small as f64 / all as f64 - 0.5).abs() < 0.04,
            "{small} of {all}"
        );
    }
}
