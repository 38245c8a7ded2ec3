//! A truncated field of view, CT: nothing outside a circle, and a bright rim where the body is cut.
//!
//! A reconstruction ends at a circle in the plane across the body; outside, scanners write a padding
//! value. Rays there still pass through the body, and the sum that they cannot place piles up at the rim:
//! a bright band that falls off inwards (Ohnesorge et al., Medical Physics 27:39, 2000,
//! doi:10.1118/1.598855). The band is a stand-in, height x exp(-distance / width) on what is not air near
//! the circle. Labels outside become background: what is not seen cannot be labelled.
//!
//! Draws whether, the circle's radius by half the narrower side of the field of view, its middle, the
//! padding, and the band's height and width. All ranges are chosen.
//!
//! ```
//! # let recipe = crossmod_synth::SynthRecipe::parse(r#"
//! [[steps]]
//! step = "truncation"
//! p = 0.2
//! radius = [0.7, 1.0]                  # by half the narrower side
//! aside = [-0.1, 0.1]                  # of its middle, by the same
//! padding_hu = [-1024.0, -2048.0]      # one of these
//! rim_hu = [0.0, 300.0]
//! rim_mm = [3.0, 15.0]
//! # "#, &[])?;
//! # Ok::<(), crossmod_synth::Error>(())
//! ```

use crossmod_volume::rng::Rng;
use glam::DVec2;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::body::{AIR_HU, extent, row_in_world};
use super::{Apply, Random};
use crate::error::{probability, range};
use crate::{Error, Result, Scene};

/// When, and which circle.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Truncation {
    /// Probability of a circle.
    pub p: f32,
    /// Range of its radius, by half the narrower side of the field of view.
    pub radius: [f32; 2],
    /// Range of its middle's distance from the field of view's, either way, by the same.
    pub aside: [f32; 2],
    /// Values outside, each as likely.
    pub padding_hu: Vec<f32>,
    /// Range of the height of the band at the rim.
    pub rim_hu: [f32; 2],
    /// Range of the width over which it falls to 1/e.
    pub rim_mm: [f32; 2],
}

impl Default for Truncation {
    /// Chosen.
    fn default() -> Self {
        Self {
            p: 0.2,
            radius: [0.7, 1.0],
            aside: [-0.1, 0.1],
            padding_hu: vec![-1024.0, -2048.0],
            rim_hu: [0.0, 300.0],
            rim_mm: [3.0, 15.0],
        }
    }
}

/// The circle, if any.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TruncationDraw {
    circle: Option<Circle>,
}

#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Circle {
    /// World (x, y).
    middle_mm: DVec2,
    radius_mm: f64,
    padding_hu: f32,
    rim_hu: f32,
    rim_mm: f32,
}

impl Random for Truncation {
    type Draw = TruncationDraw;

    fn load(&mut self) -> Result<()> {
        probability("truncation.p", self.p)?;
        range("truncation.radius", self.radius, 0.01..=10.0)?;
        range("truncation.aside", self.aside, -10.0..=10.0)?;
        range("truncation.rim_hu", self.rim_hu, -3000.0..=3000.0)?;
        range("truncation.rim_mm", self.rim_mm, 0.01..=1000.0)?;
        if self.padding_hu.is_empty() || self.padding_hu.iter().any(|hu| !hu.is_finite()) {
            return Err(Error::Recipe(format!(
                "expected truncation.padding_hu to hold a value in HU, found {:?}",
                self.padding_hu
            )));
        }
        Ok(())
    }

    fn draw(&self, scene: &Scene, rng: &mut Rng) -> Result<TruncationDraw> {
        let given = rng.chance(self.p);
        let (low, high) = extent(scene.grid());
        let half = 0.5 * (high - low).min_element();
        let mut within = |range: [f32; 2]| rng.uniform(range[0], range[1]);
        let radius_mm = half * f64::from(within(self.radius));
        let aside = [(); 2].map(|()| half * f64::from(within(self.aside)));
        let (rim_hu, rim_mm) = (within(self.rim_hu), within(self.rim_mm));
        let circle = Circle {
            middle_mm: 0.5 * (low + high) + DVec2::from_array(aside),
            radius_mm,
            padding_hu: self.padding_hu[rng.below(self.padding_hu.len())],
            rim_hu,
            rim_mm,
        };
        Ok(TruncationDraw {
            circle: given.then_some(circle),
        })
    }
}

impl Apply for TruncationDraw {
    fn apply(&self, scene: &mut Scene) -> Result<()> {
        scene.painted()?;
        let (Some(circle), Some(image)) = (&self.circle, &mut scene.image) else {
            return Ok(());
        };
        let grid = image.grid().clone();
        let nx = grid.shape()[0];
        let labels = scene.labels.data_mut().par_chunks_mut(nx);
        let rows = image.data_mut().par_chunks_mut(nx).zip(labels).enumerate();
        rows.for_each(|(row, (values, labels))| {
            let (start, step) = row_in_world(&grid, row);
            for (x, (v, label)) in values.iter_mut().zip(labels).enumerate() {
                let at = (start + step * x as f64).truncate();
                let inside_mm = (circle.radius_mm - at.distance(circle.middle_mm)) as f32;
                if inside_mm < 0.0 {
                    *v = circle.padding_hu;
                    *label = 0;
                } else if *v > AIR_HU {
                    *v += circle.rim_hu * (-inside_mm / circle.rim_mm).exp();
                }
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
    fn outside_is_padding_and_the_rim_is_bright() {
        let shape = [120, 100, 3];
        let mut scene = trial::scene(shape, [2.0, 2.0, 5.0], |_| 1);
        scene.image = Some(trial::image(
            &scene,
            |[_, y, _]| if y < 90 { 40.0 } else { -900.0 },
        ));
        let step = Truncation {
            p: 1.0,
            radius: [0.8; 2],
            aside: [0.0; 2],
            padding_hu: vec![-1024.0],
            rim_hu: [200.0; 2],
            rim_mm: [5.0; 2],
        };
        let (draw, after) = trial::done(&step, &scene, 1);
        let circle = draw.circle.expect("a circle");
        assert!((circle.radius_mm - 79.2).abs() < 1e-3);
        let image = after.image.expect("an image");
        let pairs = image.data().iter().zip(after.labels.data());
        for ([x, y, _], (&hu, &label)) in trial::voxels(shape).zip(pairs) {
            let r = f64::hypot(2.0 * x as f64 - 119.0, 2.0 * y as f64 - 99.0);
            if r > 79.201 {
                assert_eq!((hu, label), (-1024.0, 0));
            } else if r < 79.199 {
                assert_eq!(label, 1);
                let rim = 200.0 * (-(79.2 - r) / 5.0).exp() as f32;
                let expected = if y < 90 { 40.0 + rim } else { -900.0 };
                assert!((hu - expected).abs() < 0.01, "{hu} {expected}");
            }
        }
    }
}
