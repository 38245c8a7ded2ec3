//! Makes an image what a scanner of coarser slices would have given: blurred, sampled apart, grown
//! back.
//!
//! As SynthSeg (Billot et al., Medical Image Analysis 86:102789, 2023,
//! doi:10.1016/j.media.2023.102789; values and probabilities of its code): 5 % of the images keep their
//! spacing, 10 % of the others are coarser along all axes (up to 4 mm), the rest along one axis (up to
//! 8 mm). Slices are as thick as the native spacing to the drawn one. Along each axis the image is
//! blurred by a Gaussian of 0.75 thicknesses (half a voxel where nothing is thicker), times a number
//! within 1/1.03 to 1.03, taken at the nearest voxels, and grown back linearly. No noise is added.
//!
//! Documented is one spacing for all axes where all are coarser; the code draws one for each. The
//! kernel here reaches to four standard deviations (the code's, for all images, to about 1.2 of the
//! greatest that may be drawn). The first sample lies on the first voxel, as there, so that nothing is
//! shifted; beyond the last the image holds.
//!
//! Draws spacing, thickness and blur of each axis.
//!
//! ```
//! # let recipe = crossmod_synth::SynthRecipe::parse(r#"
//! [[steps]]
//! step = "resolution"
//! native = 0.05             # probability of the image's own spacing
//! isotropic = 0.1           # of the others: probability that all axes are coarser
//! isotropic_mm = 4.0        # at most
//! anisotropic_mm = 8.0      # at most, of one axis
//! ranges = "documented"     # or "code"
//! blur = 1.03
//! # "#, &[])?;
//! # Ok::<(), crossmod_synth::Error>(())
//! ```

use crossmod_volume::Grid;
use crossmod_volume::rng::Rng;
use crossmod_volume::space::{Interpolation, Sigma, blur, resample_aligned};
use glam::{DMat4, DVec3};
use serde::{Deserialize, Serialize};

use super::published::Published;
use super::{Apply, Random};
use crate::error::{probability, range};
use crate::{Error, Result, Scene};

/// Standard deviation of the blur by the thickness of slices.
const SD_BY_THICKNESS: f32 = 0.75;

/// Standard deviation of the blur where slices are as thick as they were, voxels.
const SD_NATIVE: f32 = 0.5;

/// How coarse.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Resolution {
    /// Probability that the spacing stays.
    pub native: f32,
    /// Of the others, probability that all axes are coarser.
    pub isotropic: f32,
    /// Greatest spacing where all axes are coarser.
    pub isotropic_mm: f32,
    /// Greatest spacing of the one axis else.
    pub anisotropic_mm: f32,
    /// Whether axes that all are coarser are so alike, as documented, or each by itself.
    pub ranges: Published,
    /// Factor by which the blur varies, down and up.
    pub blur: f32,
}

impl Default for Resolution {
    /// SynthSeg's values.
    fn default() -> Self {
        Self {
            native: 0.05,
            isotropic: 0.1,
            isotropic_mm: 4.0,
            anisotropic_mm: 8.0,
            ranges: Published::Documented,
            blur: 1.03,
        }
    }
}

/// How coarse, along each axis.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ResolutionDraw {
    spacing_mm: [f32; 3],
    thickness_mm: [f32; 3],
    sigma_vox: [f32; 3],
}

impl Random for Resolution {
    type Draw = ResolutionDraw;

    fn load(&mut self) -> Result<()> {
        probability("resolution.native", self.native)?;
        probability("resolution.isotropic", self.isotropic)?;
        range("resolution.isotropic_mm", [self.isotropic_mm; 2], 0.0..=1e3)?;
        range(
            "resolution.anisotropic_mm",
            [self.anisotropic_mm; 2],
            0.0..=1e3,
        )?;
        range("resolution.blur", [self.blur; 2], 1.0..=10.0)
    }

    fn draw(&self, scene: &Scene, rng: &mut Rng) -> Result<ResolutionDraw> {
        let own = scene.grid().spacing_mm().map(|mm| mm as f32);
        let up_to = |most: f32, axis: usize, share: f32| {
            // A spacing that is coarser already stays.
            own[axis] + (most - own[axis]).max(0.0) * share
        };
        let shares = [(); 3].map(|()| rng.unit());
        let mut spacing = own;
        let (native, isotropic) = (rng.chance(self.native), rng.chance(self.isotropic));
        let chosen = rng.below(3);
        if !native && isotropic {
            match self.ranges {
                Published::Code => {
                    spacing = [0, 1, 2].map(|a| up_to(self.isotropic_mm, a, shares[a]));
                }
                Published::Documented => {
                    let finest = own.into_iter().fold(f32::INFINITY, f32::min);
                    let one = finest + (self.isotropic_mm - finest).max(0.0) * shares[0];
                    spacing = own.map(|mm| mm.max(one));
                }
            }
        } else if !native {
            spacing[chosen] = up_to(self.anisotropic_mm, chosen, shares[chosen]);
        }
        let thickness = [0, 1, 2].map(|a| rng.uniform(own[a], spacing[a]));
        let sigma_vox = [0, 1, 2].map(|a| {
            let thicker = thickness[a] > own[a];
            let sd = if thicker {
                SD_BY_THICKNESS * thickness[a] / own[a]
            } else {
                SD_NATIVE
            };
            sd * rng.uniform(self.blur.recip(), self.blur)
        });
        Ok(ResolutionDraw {
            spacing_mm: spacing,
            thickness_mm: thickness,
            sigma_vox,
        })
    }
}

impl Apply for ResolutionDraw {
    fn apply(&self, scene: &mut Scene) -> Result<()> {
        scene.painted()?;
        let Some(image) = scene.image.take() else {
            return Ok(());
        };
        let grid = image.grid().clone();
        let (shape, own) = (grid.shape(), grid.spacing_mm());
        let samples = [0, 1, 2].map(|a| {
            let n = shape[a] as f64 * own[a] / f64::from(self.spacing_mm[a]);
            // Rounding of the spacing to f32 must not lose a sample.
            ((n + 1e-4) as usize).clamp(1, shape[a])
        });
        if !self.spacing_mm.iter().all(|mm| *mm > 0.0) {
            return Err(Error::Recipe(format!(
                "expected spacings above 0 mm in a record of step `resolution`, found {:?}",
                self.spacing_mm
            )));
        }
        let mut image = blur(image, Sigma::Vox(self.sigma_vox.map(f64::from)))?;
        if samples != shape {
            let apart = [0, 1, 2].map(|a| shape[a] as f64 / samples[a] as f64);
            let affine = grid.world_from_voxel() * DMat4::from_scale(DVec3::from_array(apart));
            let coarse = Grid::new(samples, affine)?;
            image = resample_aligned(image, &coarse, [Interpolation::Nearest; 3])?;
            image = resample_aligned(image, &grid, [Interpolation::Linear; 3])?;
        }
        scene.image = Some(image);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::steps::trial;

    fn drawn(step: &Resolution, scene: &Scene, n: u64) -> Vec<ResolutionDraw> {
        let draw = |i| step.draw(scene, &mut Rng::new(21, i, 0)).expect("a draw");
        (0..n).map(draw).collect()
    }

    #[test]
    fn draws_follow_the_published_shares_and_ranges() {
        let scene = trial::scene([2, 2, 2], [1.0; 3], |_| 0);
        for (ranges, alike) in [(Published::Documented, true), (Published::Code, false)] {
            let step = Resolution {
                ranges,
                ..Resolution::default()
            };
            let draws = drawn(&step, &scene, 6000);
            let coarser = |d: &ResolutionDraw| d.spacing_mm.iter().filter(|&&mm| mm > 1.0).count();
            let count = |n: usize| draws.iter().filter(|d| coarser(d) == n).count();
            // 300 and 570 expected, within five standard deviations.
            assert!((215..=385).contains(&count(0)), "{}", count(0));
            assert!((457..=683).contains(&count(3)), "{}", count(3));
            let of_one: Vec<&ResolutionDraw> = draws.iter().filter(|d| coarser(d) == 1).collect();
            for axis in 0..3 {
                let mut shares: Vec<f32> = of_one
                    .iter()
                    .filter(|d| d.spacing_mm[axis] > 1.0)
                    .map(|d| (d.spacing_mm[axis] - 1.0) / 7.0)
                    .collect();
                shares.sort_by(f32::total_cmp);
                let n = shares.len() as f32;
                // A third of 5130.
                assert!((1540.0..=1880.0).contains(&n), "{n}");
                let distance = |(i, v): (usize, &f32)| (v - (i as f32 + 0.5) / n).abs();
                let ks = shares.iter().enumerate().map(distance).fold(0.0, f32::max);
                assert!(ks < 1.95 / n.sqrt(), "{ks}");
            }
            for d in draws.iter().filter(|d| coarser(d) == 3) {
                assert!(d.spacing_mm.iter().all(|mm| (1.0..=4.0).contains(mm)));
                assert_eq!(d.spacing_mm[0] == d.spacing_mm[1], alike);
            }
            for d in &draws {
                for a in 0..3 {
                    let (mm, thick) = (d.spacing_mm[a], d.thickness_mm[a]);
                    assert!((1.0..=mm).contains(&thick));
                    let sd = if thick > 1.0 { 0.75 * thick } else { 0.5 };
                    let by = d.sigma_vox[a] / sd;
                    assert!((1.0 / 1.031..=1.031).contains(&by), "{by}");
                }
            }
        }
    }

    #[test]
    fn what_is_coarser_already_stays() {
        let scene = trial::scene([2, 2, 2], [1.0, 5.0, 9.0], |_| 0);
        for d in drawn(&Resolution::default(), &scene, 500) {
            assert_eq!(d.spacing_mm[2], 9.0);
            assert!(d.spacing_mm[1] == 5.0 || (5.0..=8.0).contains(&d.spacing_mm[1]));
            assert!(d.spacing_mm[0] <= 8.0);
        }
    }

    /// A wave along x that the eightfold spacing must lose and its own must keep.
    #[test]
    fn fine_detail_goes_with_the_spacing_and_a_slope_stays() {
        let mut scene = trial::scene([64, 8, 8], [1.0; 3], |_| 0);
        let along = |scene: &Scene| -> Vec<f32> {
            let image = scene.image.as_ref().expect("an image");
            image.data()[64 * (4 + 8 * 4)..][..64].to_vec()
        };
        let record = |mm: f32, sigma: f32| ResolutionDraw {
            spacing_mm: [mm, 1.0, 1.0],
            thickness_mm: [mm, 1.0, 1.0],
            sigma_vox: [sigma, 0.5, 0.5],
        };
        let swing = |values: &[f32]| {
            let inner = &values[16..48];
            let [low, high] = [f32::min, f32::max].map(|f| inner.iter().copied().fold(0.0, f));
            high - low
        };
        scene.image = Some(trial::image(&scene, |[x, _, _]| (x as f32 * 1.5).sin()));
        let mut coarse = scene.clone();
        record(8.0, 6.0).apply(&mut coarse).expect("coarse");
        assert!(swing(&along(&coarse)) < 0.01, "{:?}", along(&coarse));
        let mut fine = scene.clone();
        record(1.0, 0.5).apply(&mut fine).expect("fine");
        // What a kernel of 1 and e⁻² on both sides leaves of the wave.
        let side = 2.0 * (-2f32).exp();
        let expected = 2.0 * (1.0 + side * 1.5f32.cos()) / (1.0 + side);
        let found = swing(&along(&fine));
        assert!((found - expected).abs() < 0.01, "{found} {expected}");
        scene.image = Some(trial::image(&scene, |[x, _, _]| x as f32));
        record(4.0, 1.0).apply(&mut scene).expect("coarse");
        for (x, v) in along(&scene).iter().enumerate().take(56).skip(8) {
            assert!((v - x as f32).abs() < 0.02, "{x} {v}");
        }
    }

    #[test]
    fn threads_and_records_do_not_matter() {
        let mut scene = trial::scene([30, 20, 10], [1.0; 3], |_| 0);
        scene.image = Some(trial::image(&scene, |[x, y, z]| {
            ((x * 7 + y * 3 + z) % 11) as f32
        }));
        let step = Resolution {
            native: 0.0,
            ..Resolution::default()
        };
        let (_, made) = trial::done(&step, &scene, 3);
        assert_ne!(made.image, scene.image);
        assert_eq!(
            made.image.map(|i| i.grid().clone()),
            Some(scene.grid().clone())
        );
    }
}
