//! What lies around the chosen structures is cut away, as programs strip the skull from MR of the head.
//!
//! Voxels farther from what stays than a drawn margin become background, and black where an image has
//! been painted before; a margin below 0 cuts into what stays, as strippers do (distances between
//! centres, [`crossmod_volume::shape::signed_distance_mm`]). Draws whether, and the margin. The
//! ranges are chosen; from −1 mm to 3 mm is about how far brain masks of common programs lie apart.
//!
//! ```
//! # let recipe = crossmod_synth::SynthRecipe::parse(r#"
//! [[steps]]
//! step = "strip"
//! p = 0.5
//! of = []                    # classes, names or values that stay; none: all that is learnt
//! margin_mm = [-1.0, 3.0]    # stays, too
//! # "#, &[])?;
//! # Ok::<(), crossmod_synth::Error>(())
//! ```

use crossmod_volume::rng::Rng;
use crossmod_volume::shape::signed_distance_mm;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::chosen::{chosen, places};
use super::{Apply, Random};
use crate::error::{probability, range};
use crate::{Result, Scene};

/// How often, and how closely.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Strip {
    /// Probability.
    pub p: f32,
    /// Classes, names or values of what stays; none: all that is learnt.
    pub of: Vec<String>,
    /// Range of the distance about it that stays, too; below 0 so much of it goes.
    pub margin_mm: [f32; 2],
}

impl Default for Strip {
    /// Chosen.
    fn default() -> Self {
        Self {
            p: 0.5,
            of: Vec::new(),
            margin_mm: [-1.0, 3.0],
        }
    }
}

/// Whether, and how closely.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StripDraw {
    /// Of those values, where it happens.
    stay: Vec<u16>,
    /// `None` where nothing is cut away.
    margin_mm: Option<f32>,
}

impl Random for Strip {
    type Draw = StripDraw;

    fn load(&mut self) -> Result<()> {
        probability("strip.p", self.p)?;
        range("strip.margin_mm", self.margin_mm, -1000.0..=1000.0)
    }

    fn draw(&self, scene: &Scene, rng: &mut Rng) -> Result<StripDraw> {
        let given = rng.chance(self.p);
        let margin = rng.uniform(self.margin_mm[0], self.margin_mm[1]);
        let stay: Vec<u16> = chosen(&self.of, scene).into_values().flatten().collect();
        let margin_mm = (given && !stay.is_empty()).then_some(margin);
        Ok(StripDraw { stay, margin_mm })
    }
}

impl Apply for StripDraw {
    fn apply(&self, scene: &mut Scene) -> Result<()> {
        let Some(margin_mm) = self.margin_mm else {
            return Ok(());
        };
        let stays = places([&self.stay[..]]);
        let distance = signed_distance_mm(&scene.labels, |label| stays[usize::from(label)] != 0);
        let labels = scene.labels.data_mut().par_iter_mut();
        labels.zip(distance.data()).for_each(|(label, &distance)| {
            if distance > margin_mm {
                *label = 0;
            }
        });
        if let Some(image) = &mut scene.image {
            let image = image.data_mut().par_iter_mut();
            image.zip(distance.data()).for_each(|(v, &distance)| {
                if distance > margin_mm {
                    *v = 0.0;
                }
            });
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::trial;
    use super::*;

    /// A brain of radius 8 in a skull of radius 14, all of it bright.
    fn head() -> Scene {
        let mut scene = trial::scene([41, 41, 21], [1.0, 1.0, 2.0], |v| match radius(v) {
            r if r <= 8.0 => 1,
            r if r <= 14.0 => 3,
            _ => 0,
        });
        scene.structures.get_mut(&3).expect("a skull").target = 0;
        scene.image = Some(trial::image(&scene, |_| 7.0));
        scene
    }

    fn radius([x, y, z]: [usize; 3]) -> f64 {
        let d = [x as f64 - 20.0, y as f64 - 20.0, 2.0 * (z as f64 - 10.0)];
        d.iter().map(|v| v * v).sum::<f64>().sqrt()
    }

    fn stripped(margin_mm: f32) -> Scene {
        let step = Strip {
            p: 1.0,
            margin_mm: [margin_mm; 2],
            ..Strip::default()
        };
        trial::done(&step, &head(), 1).1
    }

    #[test]
    fn the_skull_goes_and_the_margin_stays() {
        for margin in [0.0, 3.0, -2.0] {
            let scene = stripped(margin);
            let image = scene.image.as_ref().expect("an image").data();
            let all = trial::voxels([41, 41, 21]).zip(scene.labels.data()).zip(image);
            for ((v, &label), &value) in all {
                let r = radius(v);
                // The brain's outermost voxels lie up to a voxel's diagonal within its radius.
                let gone = r > 8.0 + f64::from(margin) && (margin >= 0.0 || r > 8.0);
                let stays = r <= 8.0 + f64::from(margin) - 2.5;
                let expected = if r <= 8.0 { 1 } else { 3 };
                if gone {
                    assert_eq!((label, value), (0, 0.0), "{margin} {v:?}");
                } else if stays {
                    assert_eq!((label, value), (expected, 7.0), "{margin} {v:?}");
                }
            }
        }
    }

    #[test]
    fn without_luck_or_anything_that_stays_nothing_goes() {
        let never = Strip {
            p: 0.0,
            ..Strip::default()
        };
        let unknown = Strip {
            p: 1.0,
            of: vec!["spleen".into()],
            ..Strip::default()
        };
        for step in [never, unknown] {
            let (_, scene) = trial::done(&step, &head(), 1);
            assert_eq!(scene.labels, head().labels);
            assert_eq!(scene.image, head().image);
        }
    }
}
