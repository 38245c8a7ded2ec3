//! Puts a scene on another grid: other voxels, other axes.
//!
//! Labels take the value with the largest share of a voxel when every value's indicator is
//! interpolated linearly (as nnU-Net resamples segmentations: Isensee et al., Nature Methods 18, 2021,
//! doi:10.1038/s41592-020-01008-z); scan and image are interpolated linearly, after a blur where
//! voxels grow, of as much as lets a Gaussian of half a voxel become one of half a larger voxel.
//! Nothing is drawn.
//!
//! ```
//! # let recipe = crossmod_synth::SynthRecipe::parse(r#"
//! [[steps]]
//! step = "grid"
//! orientation = "RAS"             # which way x, y and z grow
//! spacing_mm = [1.0, 1.0, 1.0]    # along these axes
//! # "#, &[])?;
//! # Ok::<(), crossmod_synth::Error>(())
//! ```

use crossmod_volume::rng::Rng;
use crossmod_volume::space::{
    Interpolation, Orientation, Sigma, blur, grid_with_spacing, reorient_image, reorient_labels,
    resample_aligned, resample_labels_aligned,
};
use serde::{Deserialize, Serialize};

use super::{Apply, Random};
use crate::{Error, Result, Scene};

/// Standard deviation, in voxels, that an image is taken to be blurred by.
const SHARPNESS: f64 = 0.5;

/// Which grid; what is not given stays.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Grid {
    /// Which way the axes grow.
    pub orientation: Option<Orientation>,
    /// Spacing along the axes, turned ones where `orientation` is given.
    pub spacing_mm: Option<[f64; 3]>,
}

/// Which grid.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GridDraw {
    orientation: Option<Orientation>,
    spacing_mm: Option<[f64; 3]>,
}

impl Random for Grid {
    type Draw = GridDraw;

    fn load(&mut self) -> Result<()> {
        let wrong = |mm: &f64| !(1e-3..=1e3).contains(mm);
        if let Some(found) = self.spacing_mm.filter(|mm| mm.iter().any(wrong)) {
            return Err(Error::Recipe(format!(
                "expected grid.spacing_mm within 0.001 to 1000, found {found:?}"
            )));
        }
        Ok(())
    }

    fn draw(&self, _: &Scene, _: &mut Rng) -> Result<GridDraw> {
        Ok(GridDraw {
            orientation: self.orientation,
            spacing_mm: self.spacing_mm,
        })
    }
}

impl Apply for GridDraw {
    fn apply(&self, scene: &mut Scene) -> Result<()> {
        if let Some(to) = self
            .orientation
            .filter(|&to| to != Orientation::of(scene.grid()))
        {
            scene.labels = reorient_labels(&scene.labels, to);
            for image in [&mut scene.scan, &mut scene.image].into_iter().flatten() {
                *image = reorient_image(image, to);
            }
        }
        let Some(spacing_mm) = self.spacing_mm else {
            return Ok(());
        };
        let own = scene.grid().spacing_mm();
        let target = grid_with_spacing(scene.grid(), spacing_mm)?;
        if target == *scene.grid() {
            return Ok(());
        }
        scene.labels = resample_labels_aligned(&scene.labels, &target, [Interpolation::Linear; 3])?;
        let sigma = [0, 1, 2].map(|a| {
            let larger = (spacing_mm[a] / own[a]).powi(2) - 1.0;
            SHARPNESS * larger.max(0.0).sqrt()
        });
        for image in [&mut scene.scan, &mut scene.image] {
            if let Some(old) = image.take() {
                let soft = blur(old, Sigma::Vox(sigma))?;
                *image = Some(resample_aligned(soft, &target, [Interpolation::Linear; 3])?);
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::steps::trial;
    use crossmod_volume::space::resample_labels_linear;

    fn ball() -> Scene {
        let mut scene = trial::scene([40, 30, 20], [1.0, 1.0, 2.0], |[x, y, z]| {
            let square = |v: usize, c: f64, mm: f64| ((v as f64 - c) * mm).powi(2);
            u16::from(square(x, 20.0, 1.0) + square(y, 15.0, 1.0) + square(z, 10.0, 2.0) < 100.0)
        });
        scene.scan = Some(trial::image(&scene, |[x, y, z]| (x + 2 * y + 4 * z) as f32));
        scene
    }

    #[test]
    fn spacing_and_axes_are_those_asked_for() {
        let scene = ball();
        let step: Grid =
            toml::from_str("orientation = \"LSP\"\nspacing_mm = [2.0, 1.0, 1.5]").expect("a step");
        let (_, made) = trial::done(&step, &scene, 1);
        assert_eq!(made.grid().shape(), [20, 40, 20]);
        assert_eq!(Orientation::of(made.grid()).to_string(), "LSP");
        let scan = made.scan.as_ref().expect("a scan");
        assert_eq!(scan.grid(), made.grid());
        // The slope of the scan in the world is what it was.
        let value = |p| f64::from(scan.data()[made.grid().index(p)]);
        for p in [[5, 20, 10], [10, 12, 8], [14, 30, 15]] {
            let [x, y, z] = made.grid().world(p.map(|v| v as f64));
            assert!((value(p) - (x + 2.0 * y + 2.0 * z)).abs() < 1e-3);
        }
        let mm3 = |s: &Scene| s.labels.counts()[&1] as f64 * s.grid().voxel_volume_mm3();
        assert!((mm3(&made) / mm3(&scene) - 1.0).abs() < 0.03);
    }

    #[test]
    fn labels_agree_with_the_way_through_the_affines() {
        let scene = ball();
        let step: Grid = toml::from_str("spacing_mm = [1.7, 0.6, 1.1]").expect("a step");
        let (_, made) = trial::done(&step, &scene, 1);
        let expected = resample_labels_linear(&scene.labels, made.grid());
        let pairs = made.labels.data().iter().zip(expected.data());
        let differ = pairs.filter(|(a, b)| a != b).count();
        assert!(differ * 1000 < made.grid().len(), "{differ}");
    }

    #[test]
    fn nothing_asked_for_changes_nothing() {
        let scene = ball();
        assert_eq!(trial::done(&Grid::default(), &scene, 1).1, scene);
        let mut wrong = Grid {
            spacing_mm: Some([0.0, 1.0, 1.0]),
            ..Grid::default()
        };
        assert!(wrong.load().is_err());
    }
}
