//! Partial volume: voxels at borders see what is on either side.
//!
//! Painted voxels belong to one structure each. Seen by voxels of a greater size they hold mixtures:
//! the intensity is the mean of the tissues' by their shares (Van Leemput et al., IEEE Transactions on
//! Medical Imaging 22:105, 2003, doi:10.1109/TMI.2002.806587; as a generator's step, Billot et al.,
//! MICCAI 2020, doi:10.1007/978-3-030-59728-3_18). With M the map of each structure's mean in the
//! painted image, the image gains box(M) - M, the box being the seen voxel about each voxel's centre:
//! the means mix as they should, and noise and texture within a structure stay as they were painted.
//! Beyond the volume its edge goes on. Axes on which the size is not above the grid's spacing stay.
//!
//! Draws whether, and one size for all axes. Belongs right after painting: before the bias field, and
//! in a CT recipe before noise. The range is chosen.
//!
//! ```
//! # let recipe = crossmod_synth::SynthRecipe::parse(r#"
//! [[steps]]
//! step = "partial-volume"
//! p = 0.5
//! size_mm = [1.0, 3.0]     # of the voxels that see
//! # "#, &[])?;
//! # Ok::<(), crossmod_synth::Error>(())
//! ```

use crossmod_volume::rng::Rng;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::{Apply, Random};
use crate::error::{probability, range};
use crate::{Result, Scene};

/// When, and by which voxels.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PartialVolume {
    /// Probability of mixing.
    pub p: f32,
    /// Range of the side of the voxels that see.
    pub size_mm: [f32; 2],
}

impl Default for PartialVolume {
    /// Chosen.
    fn default() -> Self {
        Self {
            p: 0.5,
            size_mm: [1.0, 3.0],
        }
    }
}

/// The voxels that see, if any.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PartialVolumeDraw {
    size_mm: Option<f32>,
}

impl Random for PartialVolume {
    type Draw = PartialVolumeDraw;

    fn load(&mut self) -> Result<()> {
        probability("partial-volume.p", self.p)?;
        range("partial-volume.size_mm", self.size_mm, 0.0..=100.0)
    }

    fn draw(&self, _: &Scene, rng: &mut Rng) -> Result<PartialVolumeDraw> {
        let given = rng.chance(self.p);
        let size = rng.uniform(self.size_mm[0], self.size_mm[1]);
        Ok(PartialVolumeDraw {
            size_mm: given.then_some(size),
        })
    }
}

impl Apply for PartialVolumeDraw {
    fn apply(&self, scene: &mut Scene) -> Result<()> {
        scene.painted()?;
        let Some(size_mm) = self.size_mm else {
            return Ok(());
        };
        let means = means(scene);
        let labels = scene.labels.data();
        let of_label = |label: &u16| means[usize::from(*label)];
        let mut seen: Vec<f32> = labels.par_iter().map(of_label).collect();
        let shape = scene.grid().shape();
        let spacing = scene.grid().spacing_mm();
        for axis in 0..3 {
            let kernel = boxed(f64::from(size_mm) / spacing[axis], shape[axis]);
            if kernel.len() > 1 {
                seen = along(&seen, shape, axis, &kernel);
            }
        }
        let labels = scene.labels.data().par_iter();
        // Borrowed apart, so that no copy of the labels is made.
        if let Some(image) = &mut scene.image {
            let image = image.data_mut().par_iter_mut();
            let all = image.zip(seen).zip(labels);
            all.for_each(|((v, seen), label)| *v += seen - means[usize::from(*label)]);
        }
        Ok(())
    }
}

/// The mean of the painted image over each value, by value.
fn means(scene: &Scene) -> Vec<f32> {
    let image = scene.image.as_ref().map_or(&[][..], |image| image.data());
    let [nx, ny, _] = scene.grid().shape();
    // By slice and then in order, so that sums do not depend on threads.
    let slices = image
        .par_chunks(nx * ny)
        .zip(scene.labels.data().par_chunks(nx * ny));
    let sums: Vec<Vec<(u16, f64, f64)>> = slices
        .map(|(image, labels)| {
            let mut sums = vec![(0.0, 0.0); usize::from(u16::MAX) + 1];
            for (&v, &label) in image.iter().zip(labels) {
                let sum = &mut sums[usize::from(label)];
                sum.0 += 1.0;
                sum.1 += f64::from(v);
            }
            let held = (0..=u16::MAX).zip(sums).filter(|(_, sum)| sum.0 > 0.0);
            held.map(|(value, (count, sum))| (value, count, sum))
                .collect()
        })
        .collect();
    let mut totals = vec![(0.0, 0.0); usize::from(u16::MAX) + 1];
    for (value, count, sum) in sums.into_iter().flatten() {
        let total: &mut (f64, f64) = &mut totals[usize::from(value)];
        total.0 += count;
        total.1 += sum;
    }
    let mean = |(count, sum): (f64, f64)| if count > 0.0 { sum / count } else { 0.0 };
    totals.into_iter().map(|total| mean(total) as f32).collect()
}

/// The shares of the voxels about one that a box of a width about it covers; on an axis of `n` voxels
/// a box that is wider than that is cut.
fn boxed(width_vox: f64, n: usize) -> Vec<f32> {
    let half = 0.5 * width_vox.clamp(1.0, 2.0 * n as f64 + 1.0);
    let reach = (half - 0.5 - 1e-9).ceil().max(0.0) as i64;
    let share = |k: i64| {
        let (low, high) = (k as f64 - 0.5, k as f64 + 0.5);
        (high.min(half) - low.max(-half)).max(0.0) / (2.0 * half)
    };
    (-reach..=reach).map(|k| share(k) as f32).collect()
}

/// Weighted sums along an axis; the edge goes on.
fn along(from: &[f32], shape: [usize; 3], axis: usize, kernel: &[f32]) -> Vec<f32> {
    let [nx, ny, nz] = shape;
    let reach = kernel.len() / 2;
    let clamped = |i: usize, k: usize, n: usize| (i + k).saturating_sub(reach).min(n - 1);
    let mut to = vec![0.0f32; from.len()];
    to.par_chunks_mut(nx).enumerate().for_each(|(row, to)| {
        let (y, z) = (row % ny, row / ny);
        for (k, &weight) in kernel.iter().enumerate() {
            let other = match axis {
                1 => clamped(y, k, ny) + ny * z,
                2 => y + ny * clamped(z, k, nz),
                _ => row,
            };
            let from = &from[nx * other..][..nx];
            if axis == 0 {
                let from = (0..nx).map(|x| from[clamped(x, k, nx)]);
                to.iter_mut()
                    .zip(from)
                    .for_each(|(to, v)| *to += weight * v);
            } else {
                to.iter_mut()
                    .zip(from)
                    .for_each(|(to, v)| *to += weight * v);
            }
        }
    });
    to
}

#[cfg(test)]
mod tests {
    use super::super::trial;
    use super::*;

    fn seen_by(size_mm: f32) -> PartialVolume {
        PartialVolume {
            p: 1.0,
            size_mm: [size_mm; 2],
        }
    }

    #[test]
    fn a_sheet_that_fills_half_of_a_voxel_is_seen_as_the_mean() {
        for axis in 0..3 {
            let sheet = |v: [usize; 3]| u16::from(v[axis] == 4);
            let mut spacing = [10.0; 3];
            spacing[axis] = 1.5;
            let mut scene = trial::scene([9, 9, 9], spacing, sheet);
            scene.image = Some(trial::image(&scene, |v| 20.0 + 80.0 * f32::from(sheet(v))));
            let (_, after) = trial::done(&seen_by(3.0), &scene, 1);
            let image = after.image.expect("an image");
            for (v, &found) in trial::voxels([9; 3]).zip(image.data()) {
                let expected = match v[axis] {
                    4 => 60.0,
                    3 | 5 => 40.0,
                    _ => 20.0,
                };
                assert!((found - expected).abs() < 1e-3, "{v:?} {found}");
            }
        }
    }

    #[test]
    fn noise_within_structures_stays_and_means_mix() {
        let label = |[x, y, _]: [usize; 3]| 1 + u16::from(x + y >= 12);
        let noise = |[x, y, z]: [usize; 3]| ((x * 7 + y * 5 + z * 3) % 11) as f32 - 5.0;
        let mut scene = trial::scene([12, 12, 6], [1.0; 3], label);
        scene.image = Some(trial::image(&scene, |v| {
            100.0 * f32::from(label(v)) + noise(v)
        }));
        let before = scene.image.clone().expect("an image");
        let (_, after) = trial::done(&seen_by(2.6), &scene, 1);
        let image = after.image.expect("an image");
        let means = [1u16, 2].map(|value| {
            let of = scene.labels.data().iter().zip(before.data());
            let of: Vec<f32> = of.filter(|(l, _)| **l == value).map(|(_, v)| *v).collect();
            of.iter().sum::<f32>() / of.len() as f32
        });
        // The share of the second structure in a box of 2.6 voxels, counted in finer ones.
        let share = |[x, y, _]: [usize; 3]| {
            let at = |i: usize, v: usize| {
                let offset = (i as f32 + 0.5) / 26.0 * 2.6 - 1.3;
                (v as f32 + offset).round().clamp(0.0, 11.0) as usize
            };
            let fine = (0..26).flat_map(|i| (0..26).map(move |j| (i, j)));
            let covered = fine.filter(|&(i, j)| label([at(i, x), at(j, y), 0]) == 2);
            covered.count() as f32 / 676.0
        };
        let data = image.data().iter().zip(before.data());
        for (v, (found, before)) in trial::voxels([12, 12, 6]).zip(data) {
            let own = means[usize::from(label(v)) - 1];
            let expected = before - own + means[0] + share(v) * (means[1] - means[0]);
            assert!(
                (found - expected).abs() < 0.02 * 100.0,
                "{v:?} {found} {expected}"
            );
        }
    }

    #[test]
    fn small_voxels_see_what_is_there_and_boxes_sum_to_one() {
        let mut scene = trial::scene([5, 4, 3], [2.0; 3], |[x, _, _]| x as u16);
        scene.image = Some(trial::image(&scene, |[x, y, _]| (x + y) as f32));
        let (_, after) = trial::done(&seen_by(1.9), &scene, 1);
        assert_eq!(after, scene);
        for width in [0.0, 1.0, 1.7, 2.0, 3.0, 7.3, 1e9] {
            let sum: f32 = boxed(width, 10).iter().sum();
            assert!((sum - 1.0).abs() < 1e-5, "{width} {sum}");
        }
        assert_eq!(boxed(2.0, 10), [0.25, 0.5, 0.25]);
        assert_eq!(boxed(3.0, 10).len(), 3);
    }
}
