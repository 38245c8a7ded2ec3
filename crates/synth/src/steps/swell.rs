//! Structures grown or shrunk by some millimetres: swelling, wasting, and borders drawn elsewhere.
//!
//! A structure grows over voxels nearer to it than what is drawn, where those are of classes that it may
//! take; it shrinks by its voxels nearer to the outside, which become the value that borders on it most
//! (distances between centres, [`crossmod_volume::shape::signed_distance_mm`]). Each value has a draw of
//! its own, so that sides differ. Draws whether and by how much. The range is chosen.
//!
//! ```
//! # let recipe = crossmod_synth::SynthRecipe::parse(r#"
//! [[steps]]
//! step = "swell"
//! of = ["ventricle"]       # classes, names or values; none: all that is learnt
//! p = 0.5                  # for each value
//! by_mm = [-2.0, 3.0]      # below 0 shrinks
//! over = ["white matter"]  # what it may grow over; none: what is not learnt
//! # "#, &[])?;
//! # Ok::<(), crossmod_synth::Error>(())
//! ```

use std::collections::{BTreeMap, BTreeSet};

use crossmod_volume::rng::Rng;
use crossmod_volume::shape::signed_distance_mm;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::chosen::chosen;
use super::{Apply, Random};
use crate::error::{probability, range};
use crate::{Result, Scene};

/// What grows, and over what.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Swell {
    /// Classes, names or values; none: all that is learnt.
    pub of: Vec<String>,
    /// Probability, for each value.
    pub p: f32,
    /// Range of the growth; below 0 it shrinks.
    pub by_mm: [f32; 2],
    /// What it may grow over; none: what is not learnt.
    pub over: Vec<String>,
}

impl Default for Swell {
    /// Chosen.
    fn default() -> Self {
        Self {
            of: Vec::new(),
            p: 0.5,
            by_mm: [-2.0, 2.0],
            over: Vec::new(),
        }
    }
}

/// The structures that grow or shrink, in order.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SwellDraw {
    swollen: Vec<Swollen>,
    /// Values that may be grown over.
    over: BTreeSet<u16>,
}

#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Swollen {
    value: u16,
    by_mm: f32,
}

impl Random for Swell {
    type Draw = SwellDraw;

    fn load(&mut self) -> Result<()> {
        probability("swell.p", self.p)?;
        range("swell.by_mm", self.by_mm, -1000.0..=1000.0)
    }

    fn draw(&self, scene: &Scene, rng: &mut Rng) -> Result<SwellDraw> {
        let over = if self.over.is_empty() {
            let values = scene.labels.counts().into_keys();
            values.filter(|v| scene.structure(*v).target == 0).collect()
        } else {
            chosen(&self.over, scene).into_values().flatten().collect()
        };
        let values = chosen(&self.of, scene).into_values().flatten();
        let swollen = values.filter_map(|value| {
            let given = rng.chance(self.p);
            let by_mm = rng.uniform(self.by_mm[0], self.by_mm[1]);
            given.then_some(Swollen { value, by_mm })
        });
        Ok(SwellDraw {
            swollen: swollen.collect(),
            over,
        })
    }
}

impl Apply for SwellDraw {
    fn apply(&self, scene: &mut Scene) -> Result<()> {
        for &Swollen { value, by_mm } in &self.swollen {
            let Some(around) = around(scene, value) else {
                continue;
            };
            let distance = signed_distance_mm(&scene.labels, |label| label == value);
            let labels = scene.labels.data_mut().par_iter_mut();
            labels.zip(distance.data()).for_each(|(label, &d)| {
                if *label == value {
                    if d >= by_mm {
                        *label = around;
                    }
                } else if d <= by_mm && self.over.contains(label) {
                    *label = value;
                }
            });
        }
        Ok(())
    }
}

/// The value that shares most faces of voxels with another; `None` where nothing does.
fn around(scene: &Scene, value: u16) -> Option<u16> {
    let [nx, ny, _] = scene.grid().shape();
    let data = scene.labels.data();
    let mut faces: BTreeMap<u16, usize> = BTreeMap::new();
    for (i, &label) in data.iter().enumerate() {
        let next = [
            (i % nx + 1 < nx, 1),
            (i / nx % ny + 1 < ny, nx),
            (i + nx * ny < data.len(), nx * ny),
        ];
        for (_, step) in next.into_iter().filter(|(inside, _)| *inside) {
            let other = data[i + step];
            if (label == value) != (other == value) {
                *faces
                    .entry(if label == value { other } else { label })
                    .or_default() += 1;
            }
        }
    }
    // Of those that tie, the least.
    let most = faces.values().copied().max()?;
    faces
        .into_iter()
        .find(|(_, n)| *n == most)
        .map(|(other, _)| other)
}

#[cfg(test)]
mod tests {
    use super::super::trial;
    use super::*;

    fn ball(shape: [usize; 3]) -> Scene {
        trial::scene(shape, [1.0, 1.0, 2.0], |[x, y, z]| {
            match radius([x, y, z]) {
                r if r <= 8.0 => 1,
                // A wall that nothing may grow over.
                _ if x > 28 => 2,
                _ => 0,
            }
        })
    }

    fn radius([x, y, z]: [usize; 3]) -> f64 {
        let d = [x as f64 - 20.0, y as f64 - 20.0, 2.0 * (z as f64 - 10.0)];
        d.iter().map(|v| v * v).sum::<f64>().sqrt()
    }

    fn swollen(by_mm: f32) -> Scene {
        let step = Swell {
            of: vec!["left organ".into()],
            p: 1.0,
            by_mm: [by_mm; 2],
            ..Swell::default()
        };
        trial::done(&step, &ball([41, 41, 21]), 1).1
    }

    #[test]
    fn a_ball_grows_into_what_is_not_learnt_and_shrinks_to_what_is_about_it() {
        let (grown, shrunk) = (swollen(4.0), swollen(-3.0));
        let both = grown.labels.data().iter().zip(shrunk.labels.data());
        for (v, (&grown, &shrunk)) in trial::voxels([41, 41, 21]).zip(both) {
            let r = radius(v);
            // The surface lies up to a voxel's diagonal within the ball's radius.
            if v[0] > 28 {
                assert!(r <= 8.0 || (grown, shrunk) == (2, 2), "{v:?}");
                continue;
            }
            assert!(
                if r <= 9.0 {
                    grown == 1
                } else {
                    r <= 12.0 || grown == 0
                },
                "{v:?}"
            );
            assert!(
                if r <= 4.9 {
                    shrunk == 1
                } else {
                    r <= 7.5 || shrunk == 0
                },
                "{v:?}"
            );
        }
        let count = |scene: &Scene| scene.labels.counts()[&1];
        let whole = ball([41, 41, 21]);
        assert!(count(&grown) > count(&whole) && count(&whole) > count(&shrunk));
        assert_eq!(swollen(0.0), whole);
    }

    #[test]
    fn what_fills_the_volume_stays() {
        let scene = trial::scene([3, 3, 3], [1.0; 3], |_| 1);
        let step = Swell {
            p: 1.0,
            ..Swell::default()
        };
        assert_eq!(trial::done(&step, &scene, 1).1, scene);
    }
}
