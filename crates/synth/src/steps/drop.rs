//! Structures are left out, with even odds: patients without a liver.
//!
//! As "Learning CT segmentation from label masks only" (Tsanda et al., 2024) augments its images. Each
//! value that is learnt is drawn by itself; all structures of that target go together. Their voxels become 0, which a later step may fill (`unsegmented`, `cylinder`); or,
//! where unsegmented voxels already have classes, the class that borders on them most often among those
//! that are not learnt. Draws the targets that go; no units.
//!
//! ```
//! # let recipe = crossmod_synth::SynthRecipe::parse(r#"
//! [[steps]]
//! step = "drop"
//! p = 0.5
//! of = []            # classes, names or values; none: all that are learnt
//! # "#, &[])?;
//! # Ok::<(), crossmod_synth::Error>(())
//! ```

use std::collections::{BTreeMap, BTreeSet};

use crossmod_volume::rng::Rng;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::chosen::chosen;
use super::{Apply, Random};
use crate::error::probability;
use crate::{Result, Scene};

/// How often, and what.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Drop {
    /// Probability of each target to be left out.
    pub p: f32,
    /// Classes, names or values of which targets are drawn; none: all that are learnt.
    pub of: Vec<String>,
}

impl Default for Drop {
    /// The paper's.
    fn default() -> Self {
        Self {
            p: 0.5,
            of: Vec::new(),
        }
    }
}

/// What goes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DropDraw {
    /// Targets that are left out.
    targets: BTreeSet<u16>,
}

impl Random for Drop {
    type Draw = DropDraw;

    fn load(&mut self) -> Result<()> {
        probability("drop.p", self.p)
    }

    fn draw(&self, scene: &Scene, rng: &mut Rng) -> Result<DropDraw> {
        let values = chosen(&self.of, scene).into_values().flatten();
        let all: BTreeSet<u16> = values.map(|value| scene.structure(value).target).collect();
        let learnt = all.into_iter().filter(|&target| target != 0);
        Ok(DropDraw {
            targets: learnt.filter(|_| rng.chance(self.p)).collect(),
        })
    }
}

impl Apply for DropDraw {
    fn apply(&self, scene: &mut Scene) -> Result<()> {
        if self.targets.is_empty() {
            return Ok(());
        }
        let goes = of_values(scene, |target| self.targets.contains(&target));
        let behind = surroundings(scene, &goes);
        for value in scene.labels.data_mut() {
            if goes[usize::from(*value)] {
                *value = behind.get(value).copied().unwrap_or(0);
            }
        }
        Ok(())
    }
}

/// What is so of every value's target.
fn of_values(scene: &Scene, is_so: impl Fn(u16) -> bool) -> Vec<bool> {
    let target = |value| scene.structures.get(&value).map_or(value, |s| s.target);
    (0..=u16::MAX).map(|value| is_so(target(value))).collect()
}

/// For each value that goes, the value that borders on it most often among those that are not learnt.
fn surroundings(scene: &Scene, goes: &[bool]) -> BTreeMap<u16, u16> {
    let learnt = of_values(scene, |target| target != 0);
    let shape @ [nx, ny, nz] = scene.grid().shape();
    let data = scene.labels.data();
    let strides = [1, nx, nx * ny];
    let in_slice = |z: usize| {
        let mut counts: BTreeMap<(u16, u16), u64> = BTreeMap::new();
        let mut count = |value: u16, other: u16| {
            if goes[usize::from(value)] && !learnt[usize::from(other)] {
                *counts.entry((value, other)).or_default() += 1;
            }
        };
        for y in 0..ny {
            for x in 0..nx {
                let at = [x, y, z];
                let i = x + nx * (y + ny * z);
                for axis in 0..3 {
                    if at[axis] + 1 < shape[axis] {
                        let (here, there) = (data[i], data[i + strides[axis]]);
                        if here != there {
                            count(here, there);
                            count(there, here);
                        }
                    }
                }
            }
        }
        counts
    };
    let counts = (0..nz)
        .into_par_iter()
        .map(in_slice)
        .reduce(BTreeMap::new, |mut a, b| {
            b.into_iter()
                .for_each(|(pair, n)| *a.entry(pair).or_default() += n);
            a
        });
    let mut best: BTreeMap<u16, (u64, u16)> = BTreeMap::new();
    for ((value, other), n) in counts {
        let most = best.entry(value).or_insert((n, other));
        if n > most.0 {
            *most = (n, other);
        }
    }
    best.into_iter()
        .map(|(value, (_, other))| (value, other))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::super::trial;
    use super::*;

    #[test]
    fn each_target_goes_half_of_the_time_by_itself() {
        let scene = trial::scene([4, 1, 1], [1.0; 3], |[x, _, _]| x as u16);
        let step = Drop::default();
        let n = 4000;
        let (mut first, mut both) = (0, 0);
        for seed in 0..n {
            let draw = step
                .draw(&scene, &mut Rng::new(seed, 0, 0))
                .expect("a draw");
            assert!(!draw.targets.contains(&0));
            first += u64::from(draw.targets.contains(&1));
            both += u64::from(draw.targets.contains(&1) && draw.targets.contains(&3));
        }
        let share = |k: u64| k as f64 / n as f64;
        assert!((share(first) - 0.5).abs() < 0.03, "{first}");
        assert!((share(both) - 0.25).abs() < 0.03, "{both}");
    }

    #[test]
    fn what_goes_becomes_what_surrounds_it_and_is_not_learnt() -> Result<()> {
        // An organ (1) in class 9 that is not learnt, beside organ 2, which is.
        let mut scene = trial::scene([9, 5, 5], [1.0; 3], |[x, y, z]| match x {
            0 => 0,
            3..6 if (1..4).contains(&y) && (1..4).contains(&z) => 1,
            6..8 => 2,
            _ => 9,
        });
        scene.structures.entry(9).and_modify(|s| s.target = 0);
        let always = Drop {
            p: 1.0,
            of: vec!["left organ".into()],
        };
        let (draw, after) = trial::done(&always, &scene, 1);
        assert_eq!(draw.targets, BTreeSet::from([1]));
        let counts = after.labels.counts();
        assert_eq!(
            (counts.get(&1), counts[&2]),
            (None, scene.labels.counts()[&2])
        );
        assert_eq!(counts[&9], scene.labels.counts()[&9] + 27);
        let never = Drop {
            p: 0.0,
            of: Vec::new(),
        };
        assert_eq!(trial::done(&never, &scene, 1).1, scene);
        Ok(())
    }
}
