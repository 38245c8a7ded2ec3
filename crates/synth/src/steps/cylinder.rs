//! Paints a body where nothing is known of one: a cylinder filled with texture.
//!
//! The first kind of images of "Learning CT segmentation from label masks only" (Tsanda et al., 2024): a
//! cylinder of random radius along the body, filled with a texture that has the histogram of the body of a
//! reference CT; all else is air, −1000 HU. Organs are pasted onto it by `fill`. The paper does not state
//! the radii: 130 to 200 mm are chosen, as halves of adults' widths; `aspect` below 1 makes ellipses, wider
//! than deep. Its middle is the grid's.
//!
//! Draws the radius, the aspect, the texture. Lengths in mm, intensities in HU.
//!
//! ```
//! # let recipe = crossmod_synth::SynthRecipe::parse(r#"
//! [[steps]]
//! step = "cylinder"
//! radius_mm = [130.0, 200.0]
//! aspect = [1.0, 1.0]        # depth by width
//! prior = "ct"               # body: the tables, "scan", "prior.toml" or a reference "ct.nii.gz"
//! phase = "venous"           # of the tables
//! textures = ["dead-leaves", "spectral", "perlin", "worley", "mixture"]   # or paths of films
//! ffmpeg = "ffmpeg"
//! # "#, &[])?;
//! # Ok::<(), crossmod_synth::Error>(())
//! ```

use crossmod_volume::Image;
use crossmod_volume::rng::Rng;
use serde::{Deserialize, Serialize};

use super::axial::Axial;
use super::fill::AIR;
use super::{Apply, Random};
use crate::error::range;
use crate::reference::{Distribution, Reference, body_of, scan_of};
use crate::{Phase, Result, Scene, TextureDraw, Textures};

/// How large, and with what.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Cylinder {
    /// Range of the radius, half the width.
    pub radius_mm: [f32; 2],
    /// Range of the depth by the width.
    pub aspect: [f32; 2],
    /// What the body's histogram is of.
    pub prior: Reference,
    /// Of the built-in tables.
    pub phase: Phase,
    /// Textures, each as likely as the others.
    pub textures: Textures,
    /// The program that reads films.
    pub ffmpeg: String,
}

impl Default for Cylinder {
    /// A circular cylinder; radii are chosen.
    fn default() -> Self {
        Self {
            radius_mm: [130.0, 200.0],
            aspect: [1.0, 1.0],
            prior: Reference::default(),
            phase: Phase::default(),
            textures: Textures::default(),
            ffmpeg: "ffmpeg".to_owned(),
        }
    }
}

/// One body.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CylinderDraw {
    radius_mm: f32,
    aspect: f32,
    texture: TextureDraw,
    like: Distribution,
}

impl Random for Cylinder {
    type Draw = CylinderDraw;

    fn load(&mut self) -> Result<()> {
        range("cylinder.radius_mm", self.radius_mm, 1.0..=1e5)?;
        range("cylinder.aspect", self.aspect, 0.01..=100.0)?;
        self.prior.load("cylinder.prior", true)?;
        self.textures.load(&self.ffmpeg)
    }

    fn draw(&self, scene: &Scene, rng: &mut Rng) -> Result<CylinderDraw> {
        let like = self.prior.body(self.phase);
        if like == Distribution::Scan {
            scan_of(scene, "cylinder")?;
        }
        Ok(CylinderDraw {
            radius_mm: rng.uniform(self.radius_mm[0], self.radius_mm[1]),
            aspect: rng.uniform(self.aspect[0], self.aspect[1]),
            texture: self.textures.draw(rng),
            like,
        })
    }
}

impl Apply for CylinderDraw {
    fn apply(&self, scene: &mut Scene) -> Result<()> {
        let grid = scene.grid().clone();
        let Some(like) = self
            .like
            .quantiles(|| body_of(scan_of(scene, "cylinder")?))?
        else {
            return Ok(());
        };
        let mut data = self.texture.on(grid.shape(), grid.spacing_mm())?;
        let inside = self.inside(scene);
        let mut body: Vec<f32> = data
            .iter()
            .zip(&inside)
            .filter(|p| *p.1)
            .map(|p| *p.0)
            .collect();
        like.impose(&mut body);
        let mut body = body.into_iter();
        for (v, inside) in data.iter_mut().zip(inside) {
            *v = inside.then(|| body.next()).flatten().unwrap_or(AIR);
        }
        scene.image = Some(Image::new(grid, data)?);
        Ok(())
    }
}

impl CylinderDraw {
    /// Which voxels lie in it.
    fn inside(&self, scene: &Scene) -> Vec<bool> {
        let grid = scene.grid();
        let shape @ [nx, ny, _] = grid.shape();
        let spacing = grid.spacing_mm();
        let Axial { along, .. } = Axial::of(grid);
        let m = grid.world_from_voxel();
        // The axis of an array that runs from front to back is the shorter one of an ellipse.
        let deep = |axis: usize| m.col(axis).y.abs() / spacing[axis] > 0.7;
        let square = |axis: usize, at: usize| {
            if axis == along {
                return 0.0;
            }
            let half = f64::from(self.radius_mm * if deep(axis) { self.aspect } else { 1.0 });
            let from = (at as f64 - (shape[axis] - 1) as f64 / 2.0) * spacing[axis];
            (from / half).powi(2)
        };
        let columns: Vec<f64> = (0..nx).map(|x| square(0, x)).collect();
        let rows = grid.len() / nx;
        (0..rows)
            .flat_map(|row| {
                let rest = square(1, row % ny) + square(2, row / ny);
                columns.iter().map(move |x| x + rest <= 1.0)
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::super::trial;
    use super::*;
    use crate::quantiles::tests::ks;

    #[test]
    fn it_has_the_radius_the_body_histogram_and_air_about() {
        let scene = trial::scene([90, 80, 8], [4.0, 4.0, 5.0], |_| 0);
        let step = Cylinder {
            aspect: [0.6, 0.8],
            ..Cylinder::default()
        };
        let (draw, made) = trial::done(&step, &scene, 4);
        let image = made.image.expect("painted");
        let body: Vec<f32> = image.data().iter().copied().filter(|&v| v != AIR).collect();
        let area = f64::from(draw.radius_mm.powi(2) * draw.aspect) * std::f64::consts::PI;
        let found = (body.len() / 8) as f64 * 16.0;
        assert!((found / area - 1.0).abs() < 0.02, "{found} for {area}");
        let like = draw
            .like
            .quantiles(|| Ok(Vec::new()))
            .expect("known")
            .expect("quantiles");
        assert!(ks(&body, &like) < 0.002);
        let at = |x, y| image.data()[image.grid().index([x, y, 3])];
        // Wide from left to right, less deep from front to back.
        assert!(at(12, 40) != AIR && at(45, 4) == AIR && at(0, 0) == AIR);
    }

    #[test]
    fn radii_are_uniform_and_a_missing_scan_is_told() {
        let scene = trial::scene([4, 4, 4], [1.0; 3], |_| 0);
        let step = Cylinder::default();
        let drawn = |seed| {
            step.draw(&scene, &mut Rng::new(seed, 0, 0))
                .expect("a draw")
                .radius_mm
        };
        let radii: Vec<f32> = (0..2000).map(drawn).collect();
        assert!(radii.iter().all(|r| (130.0..200.0).contains(r)));
        let mean = radii.iter().sum::<f32>() / 2000.0;
        assert!((mean - 165.0).abs() < 2.0, "{mean}");
        let step = Cylinder {
            prior: Reference::from("scan".to_owned()),
            ..step
        };
        let said = step
            .draw(&scene, &mut Rng::new(1, 0, 0))
            .map_err(|e| e.to_string());
        assert!(said.is_err_and(|e| e.contains("labels alone")));
    }
}
