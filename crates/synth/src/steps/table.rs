//! The table under the patient, CT.
//!
//! A trough of carbon fibre filled with foam, alike along the body: between two arcs about one axis, the
//! upper one just behind the body. It is painted where there is air. Labels stay as they are. Draws
//! whether, its place by the body's box, its form and its values. All ranges are chosen.
//!
//! ```
//! # let recipe = crossmod_synth::SynthRecipe::parse(r#"
//! [[steps]]
//! step = "table"
//! p = 0.7
//! gap_mm = [-5.0, 15.0]        # between body and table; a mattress of air
//! aside_mm = [-30.0, 30.0]     # of the table's middle from the body's
//! radius_mm = [300.0, 900.0]   # of the upper surface
//! width_mm = [380.0, 450.0]
//! thick_mm = [15.0, 60.0]
//! skin_mm = [1.5, 4.0]
//! skin_hu = [-300.0, 150.0]
//! core_hu = [-970.0, -850.0]
//! # "#, &[])?;
//! # Ok::<(), crossmod_synth::Error>(())
//! ```

use crossmod_volume::rng::Rng;
use glam::DVec2;
use serde::{Deserialize, Serialize};

use super::body::{Body, paint_air};
use super::{Apply, Random};
use crate::error::{probability, range};
use crate::{Result, Scene};

/// When, and which table.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PatientTable {
    /// Probability of a table.
    pub p: f32,
    /// Range of the distance between body and table.
    pub gap_mm: [f32; 2],
    /// Range of the table's middle from the body's, to the right.
    pub aside_mm: [f32; 2],
    /// Range of the radius of the upper surface.
    pub radius_mm: [f32; 2],
    /// Range of its width.
    pub width_mm: [f32; 2],
    /// Range of its thickness.
    pub thick_mm: [f32; 2],
    /// Range of the thickness of its skin.
    pub skin_mm: [f32; 2],
    /// Range of the skin's value.
    pub skin_hu: [f32; 2],
    /// Range of the core's value.
    pub core_hu: [f32; 2],
}

impl Default for PatientTable {
    /// Chosen.
    fn default() -> Self {
        Self {
            p: 0.7,
            gap_mm: [-5.0, 15.0],
            aside_mm: [-30.0, 30.0],
            radius_mm: [300.0, 900.0],
            width_mm: [380.0, 450.0],
            thick_mm: [15.0, 60.0],
            skin_mm: [1.5, 4.0],
            skin_hu: [-300.0, 150.0],
            core_hu: [-970.0, -850.0],
        }
    }
}

/// The table, if any.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PatientTableDraw {
    table: Option<Placed>,
}

#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Placed {
    /// World (x, y) of the middle of the upper surface.
    top_mm: [f64; 2],
    radius_mm: f32,
    width_mm: f32,
    thick_mm: f32,
    skin_mm: f32,
    skin_hu: f32,
    core_hu: f32,
}

impl Random for PatientTable {
    type Draw = PatientTableDraw;

    fn load(&mut self) -> Result<()> {
        probability("table.p", self.p)?;
        range("table.gap_mm", self.gap_mm, -1000.0..=1000.0)?;
        range("table.aside_mm", self.aside_mm, -1000.0..=1000.0)?;
        range("table.radius_mm", self.radius_mm, 1.0..=1e6)?;
        range("table.width_mm", self.width_mm, 1.0..=10000.0)?;
        range("table.thick_mm", self.thick_mm, 0.0..=1000.0)?;
        range("table.skin_mm", self.skin_mm, 0.0..=1000.0)?;
        range("table.skin_hu", self.skin_hu, -1024.0..=3071.0)?;
        range("table.core_hu", self.core_hu, -1024.0..=3071.0)
    }

    fn draw(&self, scene: &Scene, rng: &mut Rng) -> Result<PatientTableDraw> {
        let given = rng.chance(self.p);
        let mut within = |range: [f32; 2]| rng.uniform(range[0], range[1]);
        let (gap, aside) = (within(self.gap_mm), within(self.aside_mm));
        let place = |body: Body| Placed {
            top_mm: [
                body.middle().x + f64::from(aside),
                body.low.y - f64::from(gap),
            ],
            radius_mm: within(self.radius_mm),
            width_mm: within(self.width_mm),
            thick_mm: within(self.thick_mm),
            skin_mm: within(self.skin_mm),
            skin_hu: within(self.skin_hu),
            core_hu: within(self.core_hu),
        };
        let body = if given { Body::of(scene) } else { None };
        Ok(PatientTableDraw {
            table: body.map(place),
        })
    }
}

impl Apply for PatientTableDraw {
    fn apply(&self, scene: &mut Scene) -> Result<()> {
        scene.painted()?;
        if let Some(table) = &self.table {
            paint_air(scene, |at| table.at(at.truncate()));
        }
        Ok(())
    }
}

impl Placed {
    fn at(&self, at: DVec2) -> Option<f32> {
        let [radius, width, thick, skin] =
            [self.radius_mm, self.width_mm, self.thick_mm, self.skin_mm].map(f64::from);
        let axis = DVec2::from_array(self.top_mm) + DVec2::new(0.0, radius);
        let from_axis = at - axis;
        // Negative within: how far inside of the nearest of the four sides.
        let below = from_axis.length() - radius;
        let across = from_axis.x.abs() - 0.5 * width;
        let outside = (-below).max(below - thick).max(across);
        if outside > 0.0 || from_axis.y > 0.0 {
            return None;
        }
        Some(if outside > -skin {
            self.skin_hu
        } else {
            self.core_hu
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::trial;
    use super::*;

    #[test]
    fn it_lies_behind_the_body_and_in_air_alone() {
        // 400 mm square; the body reaches from y = 100 to 300.
        let body = |[x, y, _]: [usize; 3]| (50..150).contains(&x) && (50..=150).contains(&y);
        let mut scene = trial::scene([200, 200, 3], [2.0, 2.0, 5.0], |v| u16::from(body(v)));
        scene.image = Some(trial::image(
            &scene,
            |v| if body(v) { 30.0 } else { -1000.0 },
        ));
        let step = PatientTable {
            p: 1.0,
            gap_mm: [6.0; 2],
            aside_mm: [0.0; 2],
            thick_mm: [20.0; 2],
            skin_mm: [3.0; 2],
            skin_hu: [0.0; 2],
            core_hu: [-900.0; 2],
            ..PatientTable::default()
        };
        let (draw, after) = trial::done(&step, &scene, 4);
        let top = draw.table.expect("a table").top_mm;
        assert!(
            (top[0] - 199.0).abs() < 3.0 && (top[1] - 94.0).abs() < 2.0,
            "{top:?}"
        );
        assert_eq!(after.labels, scene.labels);
        let image = after.image.expect("an image");
        // Down the middle: air, 20 mm of table with 3 mm of skin on either side, air.
        let hu = |y: usize| image.data()[image.grid().index([99, y, 1])];
        let column: Vec<f32> = (0..50).map(hu).collect();
        let table = column.iter().filter(|v| **v > -1000.0).count();
        assert!((9..=11).contains(&table), "{column:?}");
        let skin = column.iter().filter(|v| **v == 0.0).count();
        assert!((2..=4).contains(&skin), "{column:?}");
        assert!(
            column[47..].iter().all(|v| *v == -1000.0),
            "the gap is free"
        );
        for (v, &hu) in trial::voxels([200, 200, 3]).zip(image.data()) {
            assert!(!body(v) || hu == 30.0);
        }
        // A trough: its ends lie higher.
        let top_of = |x: usize| {
            (0..200).rev().find(|&y| {
                !body([x, y, 1]) && image.data()[image.grid().index([x, y, 1])] > -1000.0
            })
        };
        assert!(top_of(20) > top_of(99), "{:?} {:?}", top_of(20), top_of(99));
    }
}
