//! Vessels pasted into organs: trees of tubes that branch and taper.
//!
//! A vessel grows from a voxel of a chosen structure in steps of its radius, each a little off the last
//! one's direction, and forks after a while: radii by Murray's law, r0^3 = r1^3 + r2^3, and the angles of
//! least cost that go with it (Murray, PNAS 12:207, 1926, doi:10.1073/pnas.12.3.207, and Journal of
//! General Physiology 9:835, 1926, doi:10.1085/jgp.9.6.835). A branch ends where it leaves the structure
//! or gets thinner than asked for. Draws whether, how many trees, and of each the place, the radius and a
//! seed that it grows by. The ranges are chosen.
//!
//! ```
//! # let recipe = crossmod_synth::SynthRecipe::parse(r#"
//! [[steps]]
//! step = "vessels"
//! of = ["liver"]              # classes, names or values; none: all that is learnt
//! p = 0.5                     # probability that an image has any
//! trees = [2, 8]
//! radius_mm = [2.0, 5.0]      # at the root
//! least_mm = 0.6              # thinner branches end
//! fork = 8.0                  # mean length between forks, in radii
//! bend = 0.2                  # turn of each step, radians
//! class = "vessel"            # whose intensities a later step draws
//! target = "parent"           # what is learnt of it: "parent", "background" or a value
//! # "#, &[])?;
//! # Ok::<(), crossmod_synth::Error>(())
//! ```

use crossmod_volume::Grid;
use crossmod_volume::rng::Rng;
use glam::{DVec3, Vec3};
use serde::{Deserialize, Serialize};

use super::chosen::chosen;
use super::parts::{Target, TargetWord, pasted};
use super::place::{turn, voxels_within, within_reach};
use super::{Apply, Random};
use crate::error::{counts, probability, range};
use crate::{Result, Scene};

/// Pieces of one tree: a bound on its work.
const MOST_PIECES: usize = 20_000;

/// Directions that a root tries.
const TRIES: usize = 16;

/// Where vessels grow, and what they are.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Vessels {
    /// Classes, names or values; none: all that is learnt.
    pub of: Vec<String>,
    /// Probability that an image has any.
    pub p: f32,
    /// Range of the number of trees.
    pub trees: [usize; 2],
    /// Range of the radius at the root.
    pub radius_mm: [f32; 2],
    /// Thinner branches end.
    pub least_mm: f32,
    /// Mean length between forks, in radii.
    pub fork: f32,
    /// Standard deviation of the turn of each step, radians.
    pub bend: f32,
    /// The class that they are of.
    pub class: String,
    /// What is learnt of them.
    pub target: Target,
}

impl Default for Vessels {
    /// Chosen.
    fn default() -> Self {
        Self {
            of: Vec::new(),
            p: 0.5,
            trees: [2, 8],
            radius_mm: [2.0, 5.0],
            least_mm: 0.6,
            fork: 8.0,
            bend: 0.2,
            class: "vessel".into(),
            target: Target::Word(TargetWord::Parent),
        }
    }
}

/// The trees.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct VesselsDraw {
    /// The values that they are pasted into.
    parents: Vec<u16>,
    class: String,
    target: Target,
    least_mm: f32,
    fork: f32,
    bend: f32,
    trees: Vec<Tree>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Tree {
    /// Voxel (x, y, z).
    root: [usize; 3],
    radius_mm: f32,
    seed: u64,
}

impl Random for Vessels {
    type Draw = VesselsDraw;

    fn load(&mut self) -> Result<()> {
        probability("vessels.p", self.p)?;
        counts("vessels.trees", self.trees, 0..=1000)?;
        range("vessels.radius_mm", self.radius_mm, 0.1..=100.0)?;
        range("vessels.least_mm", [self.least_mm; 2], 0.1..=100.0)?;
        range("vessels.fork", [self.fork; 2], 1.0..=1000.0)?;
        range("vessels.bend", [self.bend; 2], 0.0..=1.0)
    }

    fn draw(&self, scene: &Scene, rng: &mut Rng) -> Result<VesselsDraw> {
        let given = rng.chance(self.p);
        let number = self.trees[0] + rng.below(self.trees[1] - self.trees[0] + 1);
        let mut parents: Vec<u16> = chosen(&self.of, scene).into_values().flatten().collect();
        parents.sort_unstable();
        let roots = if given && number > 0 {
            voxels_within(scene, &parents, number, rng)
        } else {
            Vec::new()
        };
        let trees = roots.into_iter().map(|root| Tree {
            root,
            radius_mm: rng.uniform(self.radius_mm[0], self.radius_mm[1]),
            seed: u64::from(rng.bits()) << 32 | u64::from(rng.bits()),
        });
        let trees = trees.collect();
        Ok(VesselsDraw {
            parents,
            class: self.class.clone(),
            target: self.target,
            least_mm: self.least_mm,
            fork: self.fork,
            bend: self.bend,
            trees,
        })
    }
}

impl Apply for VesselsDraw {
    fn apply(&self, scene: &mut Scene) -> Result<()> {
        if self.trees.is_empty() {
            return Ok(());
        }
        let pieces: Vec<Piece> = self
            .trees
            .iter()
            .flat_map(|t| self.grow(t, scene))
            .collect();
        let made = pasted(scene, &self.parents, &self.class, self.target)?;
        let to_voxel = scene.grid().voxel_from_world();
        // Not thinner than a voxel's diagonal, so that a tube does not fall apart.
        let least = 0.5 * DVec3::from_array(scene.grid().spacing_mm()).length();
        for piece in &pieces {
            let radius = f64::from(piece.radius_mm).max(least);
            let along = piece.to - piece.from;
            let middle = to_voxel.transform_point3(0.5 * (piece.from + piece.to));
            let reach = radius + 0.5 * along.length();
            within_reach(scene, middle.to_array(), reach, |at, label| {
                let t = at.dot(along) / along.length_squared();
                let off = at - along * t.clamp(-0.5, 0.5);
                if let Some(value) = made.get(label)
                    && off.length() <= radius
                {
                    *label = *value;
                }
            });
        }
        Ok(())
    }
}

/// A straight tube, world mm.
#[derive(Debug, Clone, Copy)]
struct Piece {
    from: DVec3,
    to: DVec3,
    radius_mm: f32,
}

/// A tip that grows.
#[derive(Debug, Clone, Copy)]
struct Tip {
    at: DVec3,
    direction: Vec3,
    radius_mm: f32,
}

impl VesselsDraw {
    fn grow(&self, tree: &Tree, scene: &Scene) -> Vec<Piece> {
        let mut rng = Rng::new(tree.seed, 0, 0);
        let grid = scene.grid();
        let step_mm = grid.spacing_mm().into_iter().fold(f64::INFINITY, f64::min);
        let mut pieces = Vec::new();
        let root = DVec3::from_array(grid.world(tree.root.map(|v| v as f64)));
        let first_mm = f64::from(tree.radius_mm).max(step_mm);
        // One that does not lead straight out of the structure, if there is.
        let direction = (0..TRIES)
            .map(|_| turn(&mut rng) * Vec3::X)
            .find(|d| self.within(scene, grid, root + 2.0 * first_mm * d.as_dvec3()))
            .unwrap_or(Vec3::X);
        let mut tips = vec![Tip {
            at: root,
            direction,
            radius_mm: tree.radius_mm,
        }];
        while let Some(mut tip) = tips.pop() {
            let length = f64::from(tip.radius_mm).max(step_mm);
            // Steps until a fork, geometric: its mean length is `fork` radii.
            let fork = (f64::from(self.fork * tip.radius_mm) / length).max(1.0);
            while pieces.len() < MOST_PIECES {
                tip.direction = bent(tip.direction, self.bend * rng.normal(), &mut rng);
                let to = tip.at + tip.direction.as_dvec3() * length;
                if !self.within(scene, grid, to) {
                    break;
                }
                pieces.push(Piece {
                    from: tip.at,
                    to,
                    radius_mm: tip.radius_mm,
                });
                tip.at = to;
                if f64::from(rng.unit()) < 1.0 / fork {
                    let children = forked(tip, rng.uniform(0.4, 1.0), &mut rng);
                    tips.extend(children.iter().filter(|c| c.radius_mm >= self.least_mm));
                    break;
                }
            }
        }
        pieces
    }

    fn within(&self, scene: &Scene, grid: &Grid, at: DVec3) -> bool {
        let voxel = grid.voxel_from_world().transform_point3(at).round();
        let shape = grid.shape();
        let inside = (0..3).all(|axis| voxel[axis] >= 0.0 && voxel[axis] < shape[axis] as f64);
        inside && {
            let index = grid.index([0, 1, 2].map(|axis| voxel[axis] as usize));
            self.parents
                .binary_search(&scene.labels.data()[index])
                .is_ok()
        }
    }
}

/// A direction turned by an angle, about an axis at right angles to it that is drawn.
fn bent(direction: Vec3, angle: f32, rng: &mut Rng) -> Vec3 {
    let (u, v) = direction.any_orthonormal_pair();
    let about = std::f32::consts::TAU * rng.unit();
    let aside = u * about.cos() + v * about.sin();
    (direction * angle.cos() + aside * angle.sin()).normalize()
}

/// The two branches of a fork, the thinner one's radius by the thicker one's given.
fn forked(tip: Tip, ratio: f32, rng: &mut Rng) -> [Tip; 2] {
    let thick = tip.radius_mm / (1.0 + ratio.powi(3)).cbrt();
    let radii = [thick, ratio * thick];
    let fourth = [tip.radius_mm, radii[0], radii[1]].map(|r| r.powi(4));
    let angle = |own: usize, other: usize| {
        let squares = 2.0 * tip.radius_mm.powi(2) * radii[own - 1].powi(2);
        let cosine = (fourth[0] + fourth[own] - fourth[other]) / squares;
        cosine.clamp(-1.0, 1.0).acos()
    };
    let (u, v) = tip.direction.any_orthonormal_pair();
    let about = std::f32::consts::TAU * rng.unit();
    let aside = u * about.cos() + v * about.sin();
    [(1, 2, 1.0), (2, 1, -1.0)].map(|(own, other, side)| {
        let angle = angle(own, other);
        let direction = tip.direction * angle.cos() + aside * (side * angle.sin());
        Tip {
            at: tip.at,
            direction: direction.normalize(),
            radius_mm: radii[own - 1],
        }
    })
}

#[cfg(test)]
mod tests {
    use super::super::trial;
    use super::*;
    use crossmod_volume::shape::{Components, Neighbourhood};

    #[test]
    fn forks_follow_murray() {
        let mut rng = Rng::new(1, 0, 0);
        let tip = Tip {
            at: DVec3::ZERO,
            direction: Vec3::Z,
            radius_mm: 3.0,
        };
        for ratio in [0.4, 0.7, 1.0] {
            let [thick, thin] = forked(tip, ratio, &mut rng);
            let cubes = thick.radius_mm.powi(3) + thin.radius_mm.powi(3);
            assert!((cubes - 27.0).abs() < 1e-3);
            assert!((thin.radius_mm / thick.radius_mm - ratio).abs() < 1e-5);
            let angles = [thick, thin].map(|t| t.direction.dot(Vec3::Z).acos().to_degrees());
            assert!(
                angles[0] <= angles[1] + 1e-3,
                "the thinner turns more: {angles:?}"
            );
            if ratio == 1.0 {
                // Equal branches part by 74.9 degrees.
                assert!((angles[0] + angles[1] - 74.9).abs() < 0.1, "{angles:?}");
            }
        }
    }

    #[test]
    fn trees_hang_together_within_the_structure() {
        let inside = |[x, y, z]: [usize; 3]| {
            let d = [x, y, z].map(|v| v as f64 - 29.5);
            d.iter().map(|v| v * v).sum::<f64>() < 28.0 * 28.0
        };
        let scene = trial::scene([60; 3], [1.0; 3], |v| u16::from(inside(v)));
        let step = Vessels {
            p: 1.0,
            trees: [1, 1],
            radius_mm: [3.0, 3.0],
            target: Target::Word(TargetWord::Background),
            ..Vessels::default()
        };
        let mut voxels = 0;
        for seed in 0..6 {
            let (draw, after) = trial::done(&step, &scene, seed);
            assert_eq!(draw.trees.len(), 1);
            let vessel = |label: u16| after.structure(label).class == "vessel";
            let all = Components::of(&after.labels, vessel, Neighbourhood::Corners);
            assert_eq!(all.all().len(), 1, "one tree, one part");
            voxels += all.all()[0].voxels;
            for (v, &label) in trial::voxels([60; 3]).zip(after.labels.data()) {
                assert_eq!(label != 0, inside(v));
                assert!(!vessel(label) || after.structure(label).target == 0);
            }
        }
        assert!(voxels > 6 * 100, "{voxels}");
    }
}
