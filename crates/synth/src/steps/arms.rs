//! Arms at the patient's sides, CT.
//!
//! Each arm is a tube along the body, oval in section: fat under the skin, muscle, and a bone with
//! marrow. It lies beside the body's box and leans a little; it is painted where there is air, so that a
//! body that bulges covers it. Labels stay as they are: arms are background. Draws whether, which sides,
//! and of each arm its place, size and values. All ranges are chosen.
//!
//! ```
//! # let recipe = crossmod_synth::SynthRecipe::parse(r#"
//! [[steps]]
//! step = "arms"
//! p = 0.2
//! both = 0.7                 # probability that it is both, not one
//! gap_mm = [-5.0, 20.0]      # between body and arm
//! raise_mm = [-40.0, 40.0]   # of the arm's middle over the body's, to the front
//! radius_mm = [35.0, 55.0]
//! lean = 0.1                 # greatest shift to a side or the front for each mm along the body
//! # "#, &[])?;
//! # Ok::<(), crossmod_synth::Error>(())
//! ```

use crossmod_volume::rng::Rng;
use glam::{DVec2, DVec3};
use serde::{Deserialize, Serialize};

use super::body::{Body, paint_air};
use super::{Apply, Random};
use crate::error::{probability, range};
use crate::{Result, Scene};

/// When, and where.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Arms {
    /// Probability of any.
    pub p: f32,
    /// Probability that it is both.
    pub both: f32,
    /// Range of the distance between body and arm.
    pub gap_mm: [f32; 2],
    /// Range of the height of an arm's middle over the body's.
    pub raise_mm: [f32; 2],
    /// Range of an arm's radius.
    pub radius_mm: [f32; 2],
    /// Greatest shift to a side or the front for each mm along the body.
    pub lean: f32,
}

impl Default for Arms {
    /// Chosen.
    fn default() -> Self {
        Self {
            p: 0.2,
            both: 0.7,
            gap_mm: [-5.0, 20.0],
            raise_mm: [-40.0, 40.0],
            radius_mm: [35.0, 55.0],
            lean: 0.1,
        }
    }
}

/// The arms.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ArmsDraw {
    arms: Vec<Arm>,
}

#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Arm {
    /// World place of a point of its middle line.
    at_mm: DVec3,
    /// Shift of (x, y) for each mm of z.
    lean: DVec2,
    radius_mm: f32,
    /// The depth by the width.
    oval: f32,
    fat_mm: f32,
    bone_mm: f32,
    marrow_mm: f32,
    fat_hu: f32,
    muscle_hu: f32,
    bone_hu: f32,
    marrow_hu: f32,
}

impl Random for Arms {
    type Draw = ArmsDraw;

    fn load(&mut self) -> Result<()> {
        probability("arms.p", self.p)?;
        probability("arms.both", self.both)?;
        range("arms.gap_mm", self.gap_mm, -1000.0..=1000.0)?;
        range("arms.raise_mm", self.raise_mm, -1000.0..=1000.0)?;
        range("arms.radius_mm", self.radius_mm, 15.0..=1000.0)?;
        range("arms.lean", [self.lean; 2], 0.0..=1.0)
    }

    fn draw(&self, scene: &Scene, rng: &mut Rng) -> Result<ArmsDraw> {
        let given = rng.chance(self.p);
        let both = rng.chance(self.both);
        let alone = if rng.chance(0.5) { 1.0 } else { -1.0 };
        let Some(body) = (if given { Body::of(scene) } else { None }) else {
            return Ok(ArmsDraw { arms: Vec::new() });
        };
        let grid = scene.grid();
        let middle = grid.world(grid.shape().map(|n| 0.5 * (n as f64 - 1.0)));
        let mut arm = |side: f64| {
            let mut within = |low: f32, high: f32| rng.uniform(low, high);
            let radius_mm = within(self.radius_mm[0], self.radius_mm[1]);
            let gap = within(self.gap_mm[0], self.gap_mm[1]);
            let raise = within(self.raise_mm[0], self.raise_mm[1]);
            let edge = if side > 0.0 { body.high.x } else { body.low.x };
            let bone_mm = within(10.0, 13.0);
            Arm {
                at_mm: DVec3::new(
                    edge + side * f64::from(gap + radius_mm),
                    body.middle().y + f64::from(raise),
                    middle[2],
                ),
                lean: DVec2::new(
                    f64::from(within(-self.lean, self.lean)),
                    f64::from(within(-self.lean, self.lean)),
                ),
                radius_mm,
                oval: within(0.85, 1.2),
                fat_mm: within(3.0, 12.0),
                bone_mm,
                marrow_mm: bone_mm * within(0.4, 0.65),
                fat_hu: within(-115.0, -85.0),
                muscle_hu: within(40.0, 70.0),
                bone_hu: within(700.0, 1300.0),
                marrow_hu: within(-50.0, 100.0),
            }
        };
        let sides: &[f64] = if both { &[-1.0, 1.0] } else { &[alone] };
        let arms = sides.iter().map(|&side| arm(side)).collect();
        Ok(ArmsDraw { arms })
    }
}

impl Apply for ArmsDraw {
    fn apply(&self, scene: &mut Scene) -> Result<()> {
        scene.painted()?;
        if !self.arms.is_empty() {
            paint_air(scene, |at| self.arms.iter().find_map(|arm| arm.at(at)));
        }
        Ok(())
    }
}

impl Arm {
    fn at(&self, at: DVec3) -> Option<f32> {
        let from = at - self.at_mm;
        let off = from.truncate() - self.lean * from.z;
        let r = DVec2::new(off.x, off.y / f64::from(self.oval)).length() as f32;
        let bone = off.length() as f32;
        Some(match () {
            () if r > self.radius_mm => return None,
            () if bone < self.marrow_mm => self.marrow_hu,
            () if bone < self.bone_mm => self.bone_hu,
            () if r < self.radius_mm - self.fat_mm => self.muscle_hu,
            () => self.fat_hu,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::trial;
    use super::*;

    #[test]
    fn arms_lie_beside_the_body_with_bone_in_muscle_in_fat() {
        // The body reaches from x = 150 to 350 of 500 mm.
        let body = |[x, y, _]: [usize; 3]| (75..=175).contains(&x) && (40..=110).contains(&y);
        let mut scene = trial::scene([250, 150, 4], [2.0, 2.0, 5.0], |v| u16::from(body(v)));
        scene.image = Some(trial::image(
            &scene,
            |v| if body(v) { 30.0 } else { -1000.0 },
        ));
        let step = Arms {
            p: 1.0,
            both: 1.0,
            gap_mm: [4.0; 2],
            raise_mm: [0.0; 2],
            radius_mm: [40.0; 2],
            lean: 0.0,
        };
        let (draw, after) = trial::done(&step, &scene, 2);
        let [left, right] = [draw.arms[0].at_mm, draw.arms[1].at_mm];
        assert!(
            (left.x - 106.0).abs() < 2.0 && (right.x - 394.0).abs() < 3.0,
            "{left} {right}"
        );
        assert_eq!(after.labels, scene.labels);
        let image = after.image.expect("an image");
        let at = |x_mm: f64| {
            let x = (x_mm / 2.0).round() as usize;
            image.data()[image.grid().index([x, (left.y / 2.0).round() as usize, 1])]
        };
        let arm = &draw.arms[0];
        assert_eq!(at(left.x), arm.marrow_hu);
        assert_eq!(at(left.x - f64::from(arm.bone_mm) + 2.0), arm.bone_hu);
        assert_eq!(at(left.x + 20.0), arm.muscle_hu);
        assert_eq!(at(left.x + 39.0), arm.fat_hu);
        assert_eq!(at(left.x + 43.0), -1000.0);
        for (v, &hu) in trial::voxels([250, 150, 4]).zip(image.data()) {
            assert!(!body(v) || hu == 30.0);
        }
    }
}
