//! Parts of organs by their depth, mm: layers like a kidney's cortex, a heart's wall, a bone's shell.
//!
//! A voxel's depth is the distance to the nearest voxel of another class, between centres
//! ([`crossmod_volume::shape::depth_mm`]); both sides of a class count as one, so that halves that
//! touch have no layer between them. Draws whether, how many layers, and how thick each is. The core
//! keeps value and class, the layers become `<class>, shell 2` (the outermost) and on; what is learnt
//! stays.
//!
//! ```
//! # let recipe = crossmod_synth::SynthRecipe::parse(r#"
//! [[steps]]
//! step = "shells"
//! of = ["kidney"]            # classes, names or values; none: all that is learnt
//! p = 1.0
//! shells = [1, 1]            # layers about the core
//! thickness_mm = [4.0, 9.0]  # of each
//! # "#, &[])?;
//! # Ok::<(), crossmod_synth::Error>(())
//! ```

use crossmod_volume::Labels;
use crossmod_volume::rng::Rng;
use crossmod_volume::shape::depth_mm;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::chosen::{chosen, places};
use super::parts::split_class;
use super::{Apply, Random};
use crate::error::{counts, probability, range};
use crate::{Result, Scene};

/// What is layered, and how.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Shells {
    /// Classes, names or values; none: all that is learnt.
    pub of: Vec<String>,
    /// Probability, for each class.
    pub p: f32,
    /// Range of the number of layers about the core.
    pub shells: [usize; 2],
    /// Range of the thickness of each.
    pub thickness_mm: [f32; 2],
}

impl Default for Shells {
    /// Chosen.
    fn default() -> Self {
        Self {
            of: Vec::new(),
            p: 1.0,
            shells: [1, 2],
            thickness_mm: [2.0, 8.0],
        }
    }
}

/// The classes that are layered.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ShellsDraw {
    classes: Vec<Layered>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Layered {
    values: Vec<u16>,
    /// Where each layer ends, from the outermost.
    depths_mm: Vec<f32>,
}

impl Random for Shells {
    type Draw = ShellsDraw;

    fn load(&mut self) -> Result<()> {
        probability("shells.p", self.p)?;
        counts("shells.shells", self.shells, 0..=16)?;
        range("shells.thickness_mm", self.thickness_mm, 0.0..=1000.0)
    }

    fn draw(&self, scene: &Scene, rng: &mut Rng) -> Result<ShellsDraw> {
        let mut classes = Vec::new();
        for values in chosen(&self.of, scene).into_values() {
            let layered = rng.chance(self.p);
            let layers = self.shells[0] + rng.below(self.shells[1] - self.shells[0] + 1);
            let mut depth = 0.0;
            let depths_mm: Vec<f32> = (0..layers)
                .map(|_| {
                    depth += rng.uniform(self.thickness_mm[0], self.thickness_mm[1]);
                    depth
                })
                .collect();
            if layered && layers > 0 {
                classes.push(Layered { values, depths_mm });
            }
        }
        Ok(ShellsDraw { classes })
    }
}

impl Apply for ShellsDraw {
    fn apply(&self, scene: &mut Scene) -> Result<()> {
        if self.classes.is_empty() {
            return Ok(());
        }
        let places = places(self.classes.iter().map(|class| &class.values[..]));
        let of_class = |label: &u16| places[usize::from(*label)];
        let classes = scene.labels.data().par_iter().map(of_class).collect();
        let depth = depth_mm(&Labels::new(scene.grid().clone(), classes)?);

        let mut layers = vec![None; usize::from(u16::MAX) + 1];
        for class in &self.classes {
            let all = split_class(scene, &class.values, class.depths_mm.len() + 1, "shell")?;
            for (&value, all) in class.values.iter().zip(all) {
                layers[usize::from(value)] = Some((&class.depths_mm, all));
            }
        }
        let labels = scene.labels.data_mut().par_iter_mut();
        labels.zip(depth.data()).for_each(|(label, depth)| {
            if let Some((ends, all)) = &layers[usize::from(*label)] {
                // The core is the first part, the outermost layer the second.
                let layer = ends.iter().position(|end| depth <= end);
                *label = all[layer.map_or(0, |layer| layer + 1)];
            }
        });
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::trial;
    use super::*;

    #[test]
    fn a_ball_gets_layers_of_the_drawn_thickness() {
        let (shape, spacing) = ([41, 41, 21], [1.0, 1.0, 2.0]);
        let radius = |[x, y, z]: [usize; 3]| {
            let d = [x as f64 - 20.0, y as f64 - 20.0, 2.0 * (z as f64 - 10.0)];
            d.iter().map(|v| v * v).sum::<f64>().sqrt()
        };
        // The halves are of one class, and have no layer where they touch.
        let ball = trial::scene(shape, spacing, |v| match radius(v) {
            r if r > 16.0 => 0,
            _ => 1 + u16::from(v[0] > 20),
        });
        let step = Shells {
            shells: [2, 2],
            thickness_mm: [3.0, 5.0],
            ..Shells::default()
        };
        let (draw, after) = trial::done(&step, &ball, 3);
        let ends = &draw.classes[0].depths_mm;
        assert!((3.0..5.0).contains(&ends[0]) && (3.0..5.0).contains(&(ends[1] - ends[0])));
        for (v, &label) in trial::voxels(shape).zip(after.labels.data()) {
            // The nearest voxel outside is up to a voxel's diagonal beyond the ball's surface.
            let (least, most) = (16.0 - radius(v), 16.0 - radius(v) + 2.5);
            let class = after.structure(label).class;
            let (first, second) = (f64::from(ends[0]), f64::from(ends[1]));
            match class.as_str() {
                "background" => assert!(radius(v) > 16.0),
                "organ, shell 2" => assert!(least <= first, "{v:?}"),
                "organ, shell 3" => assert!(most >= first && least <= second, "{v:?}"),
                _ => assert!(class == "organ" && most >= second, "{v:?}"),
            }
            let side = 1 + u16::from(v[0] > 20);
            let learnt = if class == "background" { 0 } else { side };
            assert_eq!(after.structure(label).target, learnt);
        }
    }

    #[test]
    fn counts_and_thicknesses_follow_their_ranges() {
        let scene = trial::scene([3, 3, 3], [1.0; 3], |_| 1);
        let step = Shells {
            p: 0.5,
            shells: [0, 2],
            ..Shells::default()
        };
        let mut seen = [0; 3];
        for case in 0..1200 {
            let draw = step
                .draw(&scene, &mut Rng::new(1, case, 0))
                .expect("a draw");
            let layers = draw
                .classes
                .first()
                .map_or(0, |class| class.depths_mm.len());
            seen[layers] += 1;
        }
        // A half is not layered; of the other, a third each has 0, 1 and 2.
        assert!((720..880).contains(&seen[0]), "{seen:?}");
        assert!(
            (150..250).contains(&seen[1]) && (150..250).contains(&seen[2]),
            "{seen:?}"
        );
    }
}
