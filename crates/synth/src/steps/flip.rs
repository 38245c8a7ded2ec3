//! Flips a scene left to right: labels of one side become those of the other.
//!
//! As SynthSeg (Billot et al., Medical Image Analysis 86:102789, 2023,
//! doi:10.1016/j.media.2023.102789), with p = 0.5. The axis is the one that runs closest to left–right
//! in the patient; which values trade places say the structures' mirrors. Draws whether.
//!
//! ```
//! # let recipe = crossmod_synth::SynthRecipe::parse(r#"
//! [[steps]]
//! step = "flip"
//! p = 0.5
//! # "#, &[])?;
//! # Ok::<(), crossmod_synth::Error>(())
//! ```

use crossmod_volume::Grid;
use crossmod_volume::rng::Rng;
use crossmod_volume::space::Orientation;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::{Apply, Random};
use crate::error::probability;
use crate::{Result, Scene};

/// How often.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Flip {
    /// Probability of a flip.
    pub p: f32,
}

impl Default for Flip {
    /// SynthSeg's value.
    fn default() -> Self {
        Self { p: 0.5 }
    }
}

/// Whether.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FlipDraw {
    flipped: bool,
}

impl Random for Flip {
    type Draw = FlipDraw;

    fn load(&mut self) -> Result<()> {
        probability("flip.p", self.p)
    }

    fn draw(&self, _: &Scene, rng: &mut Rng) -> Result<FlipDraw> {
        Ok(FlipDraw {
            flipped: rng.chance(self.p),
        })
    }
}

impl Apply for FlipDraw {
    fn apply(&self, scene: &mut Scene) -> Result<()> {
        if !self.flipped {
            return Ok(());
        }
        let axis = left_right(scene.grid());
        let shape = scene.grid().shape();
        for image in [&mut scene.scan, &mut scene.image].into_iter().flatten() {
            reverse(image.data_mut(), shape, axis);
        }
        let mut other: Vec<u16> = (0..=u16::MAX).collect();
        for (&value, structure) in &scene.structures {
            other[usize::from(value)] = structure.mirror.unwrap_or(value);
        }
        let values = scene.labels.data_mut();
        reverse(values, shape, axis);
        let values = values.par_iter_mut();
        values.for_each(|value| *value = other[usize::from(*value)]);
        Ok(())
    }
}

/// The axis that runs left–right.
fn left_right(grid: &Grid) -> usize {
    let letters = Orientation::of(grid).to_string();
    letters.find(['L', 'R']).unwrap_or(0)
}

/// Turns an axis about.
fn reverse<T: Send>(data: &mut [T], [nx, ny, nz]: [usize; 3], axis: usize) {
    match axis {
        0 => data.par_chunks_mut(nx).for_each(<[T]>::reverse),
        1 => data
            .par_chunks_mut(nx * ny)
            .for_each(|slice| swap_ends(slice, nx, ny)),
        _ => swap_ends(data, nx * ny, nz),
    }
}

/// Of `n` parts of the same size, the first trades places with the last, and so on.
fn swap_ends<T: Send>(data: &mut [T], size: usize, n: usize) {
    let (first, last) = data.split_at_mut(n.div_ceil(2) * size);
    let last = last.chunks_mut(size).rev();
    first
        .chunks_mut(size)
        .zip(last)
        .for_each(|(a, b)| a.swap_with_slice(b));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::steps::trial;
    use crossmod_volume::Labels;
    use crossmod_volume::space::reorient_labels;

    /// Left organ (1) in the half of low x, right (2) in that of high x, 3 in a corner.
    fn sided() -> Scene {
        let mut scene = trial::scene([7, 4, 5], [1.0, 2.0, 3.0], |[x, y, z]| match (x, y, z) {
            (0 | 1, 0, 0) => 3,
            (0..=2, 1.., _) => 1,
            (4.., 1.., _) => 2,
            _ => 0,
        });
        scene.scan = Some(trial::image(&scene, |[x, y, z]| {
            (x + 10 * y + 100 * z) as f32
        }));
        scene
    }

    #[test]
    fn a_flip_swaps_left_and_right_and_two_change_nothing() {
        let scene = sided();
        let (draw, flipped) = trial::done(&Flip { p: 1.0 }, &scene, 1);
        assert!(draw.flipped);
        let at = |labels: &Labels, p| labels.data()[labels.grid().index(p)];
        for p in trial::voxels([7, 4, 5]) {
            let q = [6 - p[0], p[1], p[2]];
            let expected = match at(&scene.labels, p) {
                1 => 2,
                2 => 1,
                other => other,
            };
            assert_eq!(at(&flipped.labels, q), expected);
        }
        let scan = |s: &Scene| s.scan.clone().expect("a scan").into_parts().1;
        assert_eq!(scan(&flipped)[0], scan(&scene)[6]);
        // The organs were symmetric, so that they are where they were.
        assert_eq!(at(&flipped.labels, [1, 2, 2]), 1);
        let (_, twice) = trial::done(&Flip { p: 1.0 }, &flipped, 2);
        assert_eq!(twice, scene);
        let (_, never) = trial::done(&Flip { p: 0.0 }, &scene, 3);
        assert_eq!(never, scene);
    }

    #[test]
    fn the_axis_is_the_patients_not_the_files() {
        let scene = sided();
        let flip = FlipDraw { flipped: true };
        let mut expected = scene.clone();
        flip.apply(&mut expected).expect("flipped");
        for orientation in ["ALS", "SPL", "LPI", "IRA"] {
            let orientation: Orientation = orientation.parse().expect("an orientation");
            let mut turned = scene.clone();
            turned.labels = reorient_labels(&scene.labels, orientation);
            turned.scan = None;
            flip.apply(&mut turned).expect("flipped");
            let back = reorient_labels(&turned.labels, Orientation::RAS);
            assert_eq!(back.data(), expected.labels.data(), "{orientation}");
        }
    }

    #[test]
    fn half_are_flipped() {
        let scene = sided();
        let drawn = |i| {
            Flip::default()
                .draw(&scene, &mut Rng::new(9, i, 0))
                .expect("a draw")
        };
        let flipped = (0..4000).filter(|&i| drawn(i).flipped).count();
        // Five standard deviations.
        assert!((1842..=2158).contains(&flipped), "{flipped}");
    }
}
