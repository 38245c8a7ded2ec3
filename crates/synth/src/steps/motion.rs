//! Motion during an MR scan: lines of k-space taken of the patient in different poses.
//!
//! After Shaw et al. (MIDL 2019, PMLR 102:427) and TorchIO's `RandomMotion` (Pérez-García et al.,
//! Computer Methods and Programs in Biomedicine 208:106236, 2021, doi:10.1016/j.cmpb.2021.106236),
//! whose values are the defaults: a few rigid steps at about even times; k-space lines between two steps
//! are those of the image in one pose. Here the motion is within the slices, which are scanned each line
//! by line from one end of k-space to the other. The pose at the middle of k-space, which decides where
//! things are seen, is the one of the labels. Since whole lines are taken at once, the transform along
//! them cancels, and the one along the phase direction does it. Interpolation is linear, and the image's
//! edge goes on; the result is the magnitude, so intensities below 0 turn positive.
//!
//! Draws whether, the slice and phase axes, the steps' times, and of each pose the angle and shift.
//!
//! ```
//! # let recipe = crossmod_synth::SynthRecipe::parse(r#"
//! [[steps]]
//! step = "motion"
//! p = 0.2
//! steps = [1, 2]
//! turn_deg = [-10.0, 10.0]
//! shift_mm = [-10.0, 10.0]    # along either axis of the slice
//! # "#, &[])?;
//! # Ok::<(), crossmod_synth::Error>(())
//! ```

use crossmod_volume::rng::Rng;
use rayon::prelude::*;
use realfft::RealFftPlanner;
use realfft::num_complex::Complex;
use serde::{Deserialize, Serialize};

use super::encoding::Encoding;
use super::{Apply, Random};
use crate::error::{counts, probability, range};
use crate::{Result, Scene};

/// A step may come this share of the time between steps early or late.
const UNEVEN: f32 = 0.3;

/// When, and how far.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Motion {
    /// Probability of motion.
    pub p: f32,
    /// Range of the number of steps.
    pub steps: [usize; 2],
    /// Range of the angle of a pose.
    pub turn_deg: [f32; 2],
    /// Range of the shift of a pose along either axis of the slice.
    pub shift_mm: [f32; 2],
}

impl Default for Motion {
    /// TorchIO's values; its steps are always 2. How often is chosen.
    fn default() -> Self {
        Self {
            p: 0.2,
            steps: [1, 2],
            turn_deg: [-10.0, 10.0],
            shift_mm: [-10.0, 10.0],
        }
    }
}

/// The motion, if any.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MotionDraw {
    moved: Option<Moved>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Moved {
    encoding: Encoding,
    /// In order of time.
    poses: Vec<Pose>,
}

#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Pose {
    /// The share of k-space that is taken by its end.
    until: f32,
    turn_deg: f32,
    /// Along the read and the phase direction.
    shift_mm: [f32; 2],
}

impl Random for Motion {
    type Draw = MotionDraw;

    fn load(&mut self) -> Result<()> {
        probability("motion.p", self.p)?;
        counts("motion.steps", self.steps, 0..=64)?;
        range("motion.turn_deg", self.turn_deg, -180.0..=180.0)?;
        range("motion.shift_mm", self.shift_mm, -1000.0..=1000.0)
    }

    fn draw(&self, _: &Scene, rng: &mut Rng) -> Result<MotionDraw> {
        let given = rng.chance(self.p);
        let encoding = Encoding::draw(rng);
        let steps = self.steps[0] + rng.below(self.steps[1] - self.steps[0] + 1);
        let between = 1.0 / (steps + 1) as f32;
        let mut poses: Vec<Pose> = (1..=steps + 1)
            .map(|i| Pose {
                until: between * (i as f32 + rng.uniform(-UNEVEN, UNEVEN)),
                turn_deg: rng.uniform(self.turn_deg[0], self.turn_deg[1]),
                shift_mm: [(); 2].map(|()| rng.uniform(self.shift_mm[0], self.shift_mm[1])),
            })
            .collect();
        if let Some(last) = poses.last_mut() {
            last.until = 1.0;
        }
        if let Some(middle) = poses.iter_mut().find(|pose| pose.until > 0.5) {
            (middle.turn_deg, middle.shift_mm) = (0.0, [0.0; 2]);
        }
        Ok(MotionDraw {
            moved: (given && steps > 0).then_some(Moved { encoding, poses }),
        })
    }
}

impl Apply for MotionDraw {
    fn apply(&self, scene: &mut Scene) -> Result<()> {
        let image = scene.painted()?;
        let Some(Moved { encoding, poses }) = &self.moved else {
            return Ok(());
        };
        if poses.is_empty() {
            return Ok(());
        }
        let mut scanned = encoding.scan(image);
        let [_, reads, phases] = scanned.shape;
        let spacing_mm = [scanned.spacing_mm[1], scanned.spacing_mm[2]];
        let mut planner = RealFftPlanner::<f32>::new();
        let (forward, inverse) = (
            planner.plan_fft_forward(phases),
            planner.plan_fft_inverse(phases),
        );
        let share = shares(poses, phases);
        let waves = phases / 2 + 1;
        let zero = Complex::new(0.0f32, 0.0);
        scanned
            .data
            .par_chunks_mut(reads * phases)
            .for_each(|plane| {
                // Spectra of the result's real and imaginary part along the phase direction.
                let mut parts = [vec![zero; reads * waves], vec![zero; reads * waves]];
                let mut spectrum = vec![zero; waves];
                let mut scratch =
                    vec![zero; forward.get_scratch_len().max(inverse.get_scratch_len())];
                let mut line = vec![0.0; phases];
                for (pose, share) in poses.iter().zip(&share) {
                    for read in 0..reads {
                        pose.line(plane, [reads, phases], spacing_mm, read, &mut line);
                        forward
                            .process_with_scratch(&mut line, &mut spectrum, &mut scratch)
                            .expect("the lengths that were planned");
                        let [real, imaginary] = &mut parts;
                        let at = read * waves..(read + 1) * waves;
                        let parts = real[at.clone()].iter_mut().zip(&mut imaginary[at]);
                        for ((real, imaginary), (v, (a, b))) in
                            parts.zip(spectrum.iter().zip(share))
                        {
                            *real += v * (0.5 * (a + b));
                            // Divided by 2i.
                            *imaginary += Complex::new(v.im, -v.re) * (0.5 * (a - b));
                        }
                    }
                }
                let [real, imaginary] = &mut parts;
                let mut other = vec![0.0; phases];
                let spectra = real.chunks_mut(waves).zip(imaginary.chunks_mut(waves));
                for ((real, imaginary), to) in spectra.zip(plane.chunks_mut(phases)) {
                    for (part, to) in [(real, &mut line), (imaginary, &mut other)] {
                        // Real by their meaning, but for rounding.
                        part[0].im = 0.0;
                        if phases % 2 == 0 {
                            part[waves - 1].im = 0.0;
                        }
                        inverse
                            .process_with_scratch(part, to, &mut scratch)
                            .expect("the lengths that were planned");
                    }
                    for (to, (a, b)) in to.iter_mut().zip(line.iter().zip(&other)) {
                        *to = a.hypot(*b) / phases as f32;
                    }
                }
            });
        scanned.put(image);
        Ok(())
    }
}

/// For each pose and each wave from 0 up, whether the wave (1) and its negative (1) are taken in it.
///
/// A real image's spectrum at -k is the conjugate of the one at k; taken in two poses, p and q, the
/// result's real part has the spectrum (p + q) / 2 and the imaginary one (p - q) / 2i.
fn shares(poses: &[Pose], phases: usize) -> Vec<Vec<(f32, f32)>> {
    let pose_of = |wave: i64| {
        let time = (wave as f32 + (phases / 2) as f32 + 0.5) / phases as f32;
        let found = poses.iter().position(|pose| time < pose.until);
        found.unwrap_or(poses.len() - 1)
    };
    let waves = phases as i64 / 2;
    let mut shares = vec![vec![(0.0, 0.0); waves as usize + 1]; poses.len()];
    for wave in 0..=waves {
        // The wave of half the length is its own negative, and the first to be taken.
        let alone = 2 * wave == phases as i64;
        shares[pose_of(if alone { -wave } else { wave })][wave as usize].0 = 1.0;
        shares[pose_of(-wave)][wave as usize].1 = 1.0;
    }
    shares
}

impl Pose {
    /// A line of a plane `[read][phase]` whose content is turned about its middle and then shifted.
    fn line(
        &self,
        plane: &[f32],
        [reads, phases]: [usize; 2],
        spacing_mm: [f64; 2],
        read: usize,
        line: &mut [f32],
    ) {
        if self.turn_deg == 0.0 && self.shift_mm == [0.0; 2] {
            line.copy_from_slice(&plane[read * phases..][..phases]);
            return;
        }
        let (sin, cos) = self.turn_deg.to_radians().sin_cos();
        let [step_read, step_phase] = spacing_mm.map(|mm| mm as f32);
        let middle = [reads, phases].map(|n| 0.5 * (n as f32 - 1.0));
        let at = |read: usize, phase: usize| plane[read * phases + phase];
        let r = (read as f32 - middle[0]) * step_read - self.shift_mm[0];
        for (phase, to) in line.iter_mut().enumerate() {
            let p = (phase as f32 - middle[1]) * step_phase - self.shift_mm[1];
            let from_read = (cos * r + sin * p) / step_read + middle[0];
            let from_phase = (cos * p - sin * r) / step_phase + middle[1];
            let from_read = from_read.clamp(0.0, (reads - 1) as f32);
            let from_phase = from_phase.clamp(0.0, (phases - 1) as f32);
            let (r0, p0) = (from_read as usize, from_phase as usize);
            let (r1, p1) = ((r0 + 1).min(reads - 1), (p0 + 1).min(phases - 1));
            let (tr, tp) = (from_read - r0 as f32, from_phase - p0 as f32);
            let near = at(r0, p0) + tp * (at(r0, p1) - at(r0, p0));
            let far = at(r1, p0) + tp * (at(r1, p1) - at(r1, p0));
            *to = near + tr * (far - near);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::trial;
    use super::*;
    use crate::steps::encoding::Scanned;
    use std::f64::consts::TAU;

    fn scene(shape: [usize; 3]) -> Scene {
        let mut scene = trial::scene(shape, [1.0, 1.5, 2.0], |_| 1);
        let bumps = |[x, y, z]: [usize; 3]| {
            50.0 + 30.0 * (0.7 * x as f32 + 0.4 * y as f32 * z as f32).sin() + (x * y % 5) as f32
        };
        scene.image = Some(trial::image(&scene, bumps));
        scene
    }

    fn moving(turn_deg: f32, shift_mm: f32) -> Motion {
        Motion {
            p: 1.0,
            steps: [2, 4],
            turn_deg: [-turn_deg, turn_deg],
            shift_mm: [-shift_mm, shift_mm],
        }
    }

    #[test]
    fn no_way_to_go_is_no_change() {
        for (seed, shape) in [(1, [16, 15, 14]), (2, [15, 9, 8]), (3, [7, 1, 12])] {
            let scene = scene(shape);
            let (_, after) = trial::done(&moving(0.0, 0.0), &scene, seed);
            let (a, b) = (
                after.image.expect("an image"),
                scene.image.expect("an image"),
            );
            for (a, b) in a.data().iter().zip(b.data()) {
                assert!((a - b).abs() < 1e-4 * 100.0, "{a} {b}");
            }
        }
    }

    /// The spectrum of each pose's plane, its lines put together, and the magnitude of what comes
    /// back: sums over all frequencies of both axes, as the definition has it.
    fn by_definition(scanned: &Scanned, plane: &[f32], poses: &[Pose]) -> Vec<f64> {
        let [_, reads, phases] = scanned.shape;
        let spacing = [scanned.spacing_mm[1], scanned.spacing_mm[2]];
        let mut moved = vec![Vec::new(); poses.len()];
        for (pose, moved) in poses.iter().zip(&mut moved) {
            let mut line = vec![0.0; phases];
            for read in 0..reads {
                pose.line(plane, [reads, phases], spacing, read, &mut line);
                moved.extend_from_slice(&line);
            }
        }
        let wave = |k: i64, i: usize, n: usize| TAU * k as f64 * i as f64 / n as f64;
        let half = (phases / 2) as i64;
        let mut back = vec![Complex::new(0.0f64, 0.0); reads * phases];
        for line in 0..phases {
            let kp = line as i64 - half;
            let time = (line as f32 + 0.5) / phases as f32;
            let pose = poses.iter().position(|p| time < p.until).expect("a pose");
            for kr in 0..reads as i64 {
                let mut sum = Complex::new(0.0, 0.0);
                for (i, &v) in moved[pose].iter().enumerate() {
                    let angle = wave(kr, i / phases, reads) + wave(kp, i % phases, phases);
                    sum += Complex::from_polar(f64::from(v), -angle);
                }
                for (i, back) in back.iter_mut().enumerate() {
                    let angle = wave(kr, i / phases, reads) + wave(kp, i % phases, phases);
                    *back += sum * Complex::from_polar(1.0, angle);
                }
            }
        }
        let n = (reads * phases) as f64;
        back.into_iter().map(|v| v.norm() / n).collect()
    }

    #[test]
    fn as_by_definition() {
        for (seed, shape) in [(4, [8, 6, 7]), (5, [5, 9, 6]), (6, [6, 6, 6])] {
            let scene = scene(shape);
            let (draw, after) = trial::done(&moving(10.0, 4.0), &scene, seed);
            let moved = draw.moved.expect("motion");
            let before = scene.image.expect("an image");
            let scanned = moved.encoding.scan(&before);
            let found = moved.encoding.scan(&after.image.expect("an image"));
            let [_, reads, phases] = scanned.shape;
            let planes = scanned.data.chunks(reads * phases);
            for (plane, found) in planes.zip(found.data.chunks(reads * phases)) {
                let expected = by_definition(&scanned, plane, &moved.poses);
                for (found, expected) in found.iter().zip(expected) {
                    assert!(
                        (f64::from(*found) - expected).abs() < 1e-3,
                        "{found} {expected}"
                    );
                }
            }
        }
    }

    #[test]
    fn the_middle_of_k_space_is_taken_where_the_labels_are() {
        let scene = scene([4, 4, 4]);
        for case in 0..200 {
            let mut rng = Rng::new(9, case, 0);
            let draw = moving(10.0, 10.0).draw(&scene, &mut rng).expect("a draw");
            let poses = draw.moved.expect("motion").poses;
            assert!((3..=5).contains(&poses.len()));
            assert!(poses.windows(2).all(|p| p[0].until < p[1].until));
            let middle = poses.iter().find(|p| p.until > 0.5).expect("a pose");
            assert_eq!((middle.turn_deg, middle.shift_mm), (0.0, [0.0; 2]));
            assert!(poses.iter().all(|p| p.turn_deg.abs() <= 10.0));
        }
    }

    #[test]
    fn a_pose_turns_and_shifts() {
        let plane: Vec<f32> = (0..81)
            .map(|i| if i == 2 * 9 + 4 { 1.0 } else { 0.0 })
            .collect();
        let pose = Pose {
            until: 1.0,
            turn_deg: 90.0,
            shift_mm: [1.0, 0.0],
        };
        let mut found = Vec::new();
        for read in 0..9 {
            let mut line = vec![0.0; 9];
            pose.line(&plane, [9, 9], [1.0, 1.0], read, &mut line);
            found.extend(line);
        }
        // Two lines above the middle, a quarter turn, one line down.
        let at = found.iter().position(|v| *v > 0.99).expect("the point");
        assert_eq!((at / 9, at % 9), (5, 2), "{found:?}");
    }
}
