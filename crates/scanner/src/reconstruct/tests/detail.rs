//! Contrast, resolution and the use of dose.

use super::*;
use crate::phantom::Object;
use crossmod_volume::rng::Rng;

/// Rods have their HU: within 1 % of their contrast or 3 HU.
#[test]
fn rods_have_their_values() {
    let target = grid(180, 0.8, 0.0, 3.0, 3);
    let scan = Scan::plan(&oracle(), &helix(1.0, 110.0), &target).expect("a scan");
    let phantom = Phantom::catphan_like([0.0; 2]);
    for kernel in [Kernel::Hann, Kernel::Ramp] {
        let settings = Reconstruction {
            kernel,
            ..Reconstruction::default()
        };
        let found = image(&scan, &phantom, &settings, &target);
        for (index, (name, hu)) in Phantom::RODS.into_iter().enumerate() {
            let [cx, cy] = Phantom::rod_centre([0.0; 2], index);
            for z in 0..3 {
                let [mean, _] = statistics(&found, z, |x, y| (x - cx).hypot(y - cy) < 3.5);
                let most = (0.01 * hu.abs()).max(3.0);
                assert!((mean - hu).abs() < most, "{name}: {mean} for {hu}");
            }
        }
    }
}

/// Modulation transfer at the middle of an edge, from the mean radial profile of a cylinder:
/// frequencies (per mm) and values.
fn transfer(found: &Image, radius: f64) -> Vec<(f64, f64)> {
    // Edge spread in steps of a tenth of a millimetre.
    let step = 0.1;
    let bins = 160;
    let mut sums = vec![(0.0, 0.0); bins];
    let [nx, ny, nz] = found.grid().shape();
    for i in 0..nx * ny * nz {
        let voxel = [i % nx, i / nx % ny, i / nx / ny].map(|v| v as f64);
        let [x, y, _] = found.grid().world(voxel);
        let place = (x.hypot(y) - radius) / step + bins as f64 / 2.0;
        if (0.0..bins as f64).contains(&place) {
            let bin = &mut sums[place as usize];
            *bin = (bin.0 + f64::from(found.data()[i]), bin.1 + 1.0);
        }
    }
    let edge: Vec<f64> = sums.iter().map(|(sum, count)| sum / count).collect();
    let line: Vec<f64> = edge.windows(2).map(|w| w[0] - w[1]).collect();
    let total: f64 = line.iter().sum();
    (1..60)
        .map(|n| {
            let frequency = 0.01 * f64::from(n);
            let (mut re, mut im) = (0.0, 0.0);
            for (i, value) in line.iter().enumerate() {
                let turn = std::f64::consts::TAU * frequency * step * i as f64;
                re += value * turn.cos();
                im += value * turn.sin();
            }
            (frequency, re.hypot(im) / total)
        })
        .collect()
}

fn half(curve: &[(f64, f64)]) -> f64 {
    let after = curve
        .iter()
        .position(|(_, value)| *value < 0.5)
        .expect("it falls");
    let ((f0, v0), (f1, v1)) = (curve[after - 1], curve[after]);
    f0 + (v0 - 0.5) / (v0 - v1) * (f1 - f0)
}

/// Half of the modulation is left where window and interpolation say, and where an MTF asks for it.
#[test]
fn resolution_is_as_predicted() {
    let target = grid(120, 0.41, 0.0, 2.1, 3);
    let scan = Scan::plan(&oracle(), &helix(1.0, 40.0), &target).expect("a scan");
    let phantom = Phantom::water_cylinder([0.0; 2], 60.0).with(Object::cylinder(
        [0.0; 3],
        [15.0; 2],
        f64::INFINITY,
        2.0,
    ));
    let d = oracle().ray_spacing_mm();
    let wanted = vec![[0.0, 1.0], [0.2, 0.7], [0.35, 0.3], [0.5, 0.0]];
    for kernel in [Kernel::Hann, Kernel::SheppLogan, Kernel::Mtf(wanted)] {
        for interpolation in [Interpolation::Linear, Interpolation::Lagrange] {
            let settings = Reconstruction {
                kernel: kernel.clone(),
                interpolation,
                ..Reconstruction::default()
            };
            let found = image(&scan, &phantom, &settings, &target);
            let predicted: Vec<(f64, f64)> = (1..60)
                .map(|n| {
                    let f = 0.01 * f64::from(n);
                    let x = 2.0 * f * d;
                    let turn = std::f64::consts::PI * f * d;
                    let rays = (turn.sin() / turn).powi(2);
                    // A quarter of a channel: weights of 3/4 and 1/4.
                    let channels = match interpolation {
                        Interpolation::Linear => (1.0 - 0.375 * (1.0 - (2.0 * turn).cos())).sqrt(),
                        Interpolation::Lagrange => 1.0,
                    };
                    (f, kernel.window(x, d) * rays * channels)
                })
                .collect();
            let (found, predicted) = (half(&transfer(&found, 15.0)), half(&predicted));
            println!("{kernel:?} {interpolation:?}: {found:.3} / mm, predicted {predicted:.3}");
            assert!(
                (found / predicted - 1.0).abs() < 0.1,
                "{found} against {predicted}"
            );
        }
    }
}

/// A thin disc is spread along the axis over 1.0 to 1.4 rows.
#[test]
fn slices_are_about_a_row_thick() {
    let target = grid(9, 2.0, -4.0, 0.125, 65);
    for pitch in [0.6, 1.0, 1.3] {
        let scan = Scan::plan(&oracle(), &helix(pitch, 30.0), &target).expect("a scan");
        let phantom = Phantom::new().with(Object::cylinder([0.0; 3], [25.0; 2], 0.05, 5.0));
        let found = image(&scan, &phantom, &Reconstruction::default(), &target);
        let profile: Vec<f64> = (0..65)
            .map(|z| statistics(&found, z, |x, y| x.hypot(y) < 8.0)[0] + 1000.0)
            .collect();
        let peak = profile.iter().copied().fold(0.0, f64::max);
        let width = 0.125 * profile.iter().filter(|v| **v > peak / 2.0).count() as f64;
        println!("pitch {pitch}: {:.2} rows", width / 1.25);
        assert!(
            (0.95..1.45).contains(&(width / 1.25)),
            "{pitch}: {width} mm"
        );
    }
}

/// White noise in the line integrals: the image's follows the analytic law times what interpolation
/// leaves, and halving the pitch divides it by √2: all of the dose is used.
#[test]
fn noise_falls_with_the_dose_of_overlapping_turns() {
    struct Noise<'a>(&'a Scan);
    impl Projections for Noise<'_> {
        fn views(&self, range: Range<usize>, out: &mut [f32]) -> Result<()> {
            for (view, out) in range.zip(out.chunks_exact_mut(self.0.view_len())) {
                let mut rng = Rng::new(3, view as u64, 0);
                out.fill_with(|| 0.04 * rng.normal());
            }
            Ok(())
        }
    }
    let target = grid(48, 0.8, 0.0, 3.7, 4);
    let sd = |pitch: f64, kernel: Kernel| {
        let scan = Scan::plan(&oracle(), &helix(pitch, 40.0), &target).expect("a scan");
        let settings = Reconstruction {
            kernel,
            ..Reconstruction::default()
        };
        let found = reconstruct(&scan, &Noise(&scan), &settings, &target, &mut |_| ());
        let found = found.expect("an image");
        let all = (0..4).map(|z| statistics(&found, z, |x, y| x.hypot(y) < 17.0)[1].powi(2));
        (all.sum::<f64>() / 4.0).sqrt()
    };
    let [one, half] = [1.0, 0.5].map(|pitch| sd(pitch, Kernel::Ramp));
    let ratio = half / one * std::f64::consts::SQRT_2;
    println!("ramp {one:.2} HU at pitch 1, {half:.2} at 0.5: {ratio:.3} of the law");
    assert!((ratio - 1.0).abs() < 0.08, "{one} {half}");
    // The law without interpolation: pi 0.04 / (sqrt(12 * 360) dt) over mu.
    let law = |kernel: Kernel| {
        let power = kernel.noise_power(1.0).sqrt();
        let d = oracle().ray_spacing_mm();
        1000.0 / 0.0193 * std::f64::consts::PI * 0.04 * power / ((12.0f64 * 360.0).sqrt() * d)
    };
    let hann = sd(1.0, Kernel::Hann);
    let kept = [one / law(Kernel::Ramp), hann / law(Kernel::Hann)];
    println!(
        "of the law without interpolation: ramp {:.3}, Hann {:.3}",
        kept[0], kept[1]
    );
    // The interpolations along t leave 0.43 of the ramp's noise and 0.73 of Hann's (the spectrum of
    // `noise_has_the_spectrum_of_its_kernel`, summed), those along z about two thirds of that.
    assert!(
        (0.26..0.32).contains(&kept[0]) && (0.42..0.53).contains(&kept[1]),
        "{kept:?}"
    );
}
