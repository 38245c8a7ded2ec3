use super::*;
use crate::geometry::Scanner;
use crate::phantom::Phantom;
use crate::photons::Bowtie;
use crate::physics::{Breathing, Metal, Modulation, Physics, Rings, Scatter, Spectrum, Truncation};
use crossmod_volume::Grid;

/// A small scanner: few channels and views, so that tests are quick.
fn settings() -> ScanSettings {
    ScanSettings {
        scanner: Scanner {
            channels: 224,
            channel_rad: 0.003_5,
            central_channel: 111.25,
            rows: 16,
            row_mm: 3.0,
            views_per_turn: 360,
            ..Scanner::default()
        },
        draw_start: false,
        noise: false,
        ..ScanSettings::default()
    }
}

fn grid(n: usize, slices: usize, spacing: f64) -> Grid {
    Grid::with_spacing([n, n, slices], [spacing, spacing, 3.0]).expect("a grid")
}

fn centre(grid: &Grid) -> [f64; 2] {
    let [x, y, _] = grid.world(grid.shape().map(|n| (n - 1) as f64 / 2.0));
    [x, y]
}

fn cylinder(grid: &Grid, diameter: f64) -> Image {
    Phantom::water_cylinder(centre(grid), diameter).voxels(grid, 4)
}

fn run(volume: &Image, settings: &ScanSettings) -> Image {
    let result = simulate(volume, settings, 5, &mut |_| {});
    result.expect("simulated").0
}

/// Mean and standard deviation between two distances from the axis, in some slices.
fn ring(image: &Image, range: std::ops::Range<usize>, radii: [f64; 2]) -> (f64, f64) {
    let [nx, ny, _] = image.grid().shape();
    let [cx, cy] = centre(image.grid());
    let mut values = Vec::new();
    for z in range {
        for y in 0..ny {
            for x in 0..nx {
                let [wx, wy, _] = image.grid().world([x as f64, y as f64, z as f64]);
                let radius = (wx - cx).hypot(wy - cy);
                if (radii[0]..=radii[1]).contains(&radius) {
                    values.push(f64::from(image.slice_z(z)[x + nx * y]));
                }
            }
        }
    }
    let n = values.len() as f64;
    let mean = values.iter().sum::<f64>() / n;
    let variance = values.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / n;
    (mean, variance.sqrt())
}

/// Projected from voxels and reconstructed, water stays at 0 HU in every slice (2 HU is what
/// voxels of 2 mm are allowed), and air outside at −1000.
#[test]
fn water_goes_round_unchanged() {
    let grid = grid(140, 12, 2.0);
    let volume = cylinder(&grid, 200.0);
    let image = run(&volume, &settings());
    assert_eq!(image.grid(), volume.grid());
    for z in 0..12 {
        let (middle, _) = ring(&image, z..z + 1, [0.0, 30.0]);
        let (edge, _) = ring(&image, z..z + 1, [60.0, 88.0]);
        let (air, _) = ring(&image, z..z + 1, [112.0, 135.0]);
        assert!(
            middle.abs() < 2.0 && edge.abs() < 2.0,
            "{z}: {middle} {edge}"
        );
        assert!((air + 1000.0).abs() < 4.0, "{z}: {air}");
    }
}

/// The same volume stored along other axes gives the same image.
#[test]
fn the_order_of_axes_does_not_matter() {
    let grid = grid(60, 8, 3.0);
    let volume = Phantom::three_balls([90.0, 80.0, 10.0]).voxels(&grid, 2);
    let straight = run(&volume, &settings());
    // x backwards.
    let affine = grid.world_from_voxel()
        * glam::DMat4::from_translation(glam::DVec3::new(59.0, 0.0, 0.0))
        * glam::DMat4::from_scale(glam::DVec3::new(-1.0, 1.0, 1.0));
    let mirrored = Grid::new([60, 60, 8], affine).expect("a grid");
    let turn = |data: &[f32]| {
        let mut data = data.to_vec();
        data.chunks_exact_mut(60).for_each(<[f32]>::reverse);
        data
    };
    let volume = Image::new(mirrored, turn(volume.data())).expect("an image");
    let back = run(&volume, &settings());
    for (a, b) in straight.data().iter().zip(turn(back.data())) {
        assert!((a - b).abs() < 0.05, "{a} {b}");
    }
}

fn noisy(mas: f64, pitch: f64) -> ScanSettings {
    let mut settings = settings();
    settings.noise = true;
    settings.tube.mas = mas;
    settings.helix.pitch = pitch;
    settings.helix.field_radius_mm = Some(110.0);
    settings
}

/// Noise falls with the root of the charge over two decades and grows with that of the pitch.
#[test]
fn noise_follows_dose_and_pitch() {
    let grid = grid(112, 10, 2.0);
    let volume = cylinder(&grid, 200.0);
    let sd = |mas: f64, pitch: f64| {
        let mut settings = noisy(mas, pitch);
        let with = run(&volume, &settings);
        settings.noise = false;
        let without = run(&volume, &settings);
        let difference = with.data().iter().zip(without.data()).map(|(a, b)| a - b);
        let image = Image::new(grid.clone(), difference.collect()).expect("an image");
        ring(&image, 1..9, [0.0, 60.0])
    };
    let at = [4.0, 40.0, 400.0].map(|mas| sd(mas, 1.0));
    for (i, mas) in [4.0f64, 40.0, 400.0].into_iter().enumerate() {
        let (mean, sd) = at[i];
        let product = sd * mas.sqrt() / (at[1].1 * 40f64.sqrt());
        assert!((product - 1.0).abs() < 0.05, "{mas}: {product}");
        assert!(mean.abs() < 1.5, "{mas}: {mean}");
    }
    let half = sd(40.0, 0.5).1 / at[1].1;
    assert!((half * 2f64.sqrt() - 1.0).abs() < 0.07, "{half}");
}

/// Radial noise power spectrum of squares of `n` pixels about the middle of some slices: power at
/// frequencies of whole cycles per square.
fn noise_power(image: &Image, slices: std::ops::Range<usize>, n: usize) -> Vec<f64> {
    let [nx, ny, _] = image.grid().shape();
    let (x0, y0) = ((nx - n) / 2, (ny - n) / 2);
    let mut sums = vec![(0.0, 0.0); n / 2];
    for z in slices {
        let slice = image.slice_z(z);
        let pixel = |x: usize, y: usize| f64::from(slice[x0 + x + nx * (y0 + y)]);
        let mean = (0..n * n).map(|i| pixel(i % n, i / n)).sum::<f64>() / (n * n) as f64;
        // Faded out at the sides, so that strong frequencies do not leak into weak ones.
        let fade = |i: usize| {
            (std::f64::consts::PI * (i as f64 + 0.5) / n as f64)
                .sin()
                .powi(2)
        };
        let at = |x: usize, y: usize| (pixel(x, y) - mean) * fade(x) * fade(y);
        let turn = |k: usize, i: usize| std::f64::consts::TAU * (k * i % n) as f64 / n as f64;
        // Rows first, then columns.
        let rows: Vec<[f64; 2]> = (0..n * n)
            .map(|i| {
                let (k, y) = (i % n, i / n);
                let terms = (0..n).map(|x| (at(x, y), turn(k, x)));
                terms.fold([0.0; 2], |[re, im], (v, a)| {
                    [re + v * a.cos(), im - v * a.sin()]
                })
            })
            .collect();
        for l in 0..n {
            for k in 0..n {
                let terms = (0..n).map(|y| (rows[k + n * y], turn(l, y)));
                let [re, im] = terms.fold([0.0; 2], |[re, im], ([a, b], t)| {
                    let (sin, cos) = t.sin_cos();
                    [re + a * cos + b * sin, im + b * cos - a * sin]
                });
                let folded = [k, l].map(|k| k.min(n - k) as f64);
                let radius = folded[0].hypot(folded[1]).round() as usize;
                if radius > 0 && radius < n / 2 {
                    sums[radius].0 += re * re + im * im;
                    sums[radius].1 += 1.0;
                }
            }
        }
    }
    sums.iter()
        .map(|(power, count)| power / f64::max(*count, 1.0))
        .collect()
}

/// The noise's spectrum is f W(f)², repeated beyond the rays' own limit, less what the two linear
/// interpolations take: a quarter of a channel in rebinning, 1 − 3/8 (1 − cos), and between rays in
/// backprojection, sinc⁴. Its mean frequency is within 10 % for two kernels, and little is left
/// near 0.
#[test]
fn noise_has_the_spectrum_of_its_kernel() {
    use crate::filter::Kernel;
    let grid = grid(112, 10, 1.5);
    let volume = cylinder(&grid, 160.0);
    for kernel in [Kernel::Hann, Kernel::SheppLogan] {
        let mut settings = noisy(100.0, 1.0);
        settings.reconstruction.kernel = kernel.clone();
        let with = run(&volume, &settings);
        settings.noise = false;
        let without = run(&volume, &settings);
        let values = with.data().iter().zip(without.data()).map(|(a, b)| a - b);
        let noise = Image::new(grid.clone(), values.collect()).expect("an image");
        let n = 64;
        let power = noise_power(&noise, 0..10, n);
        let mean = |power: &dyn Fn(usize) -> f64| {
            let sum: f64 = (1..n / 2).map(power).sum();
            (1..n / 2).map(|k| k as f64 * power(k)).sum::<f64>() / sum
        };
        let rays = settings.scanner.ray_spacing_mm();
        let law = |k: usize| {
            let f = k as f64 / (n as f64 * 1.5);
            let x = 2.0 * f * rays;
            let folded = (x - 2.0 * (x / 2.0).round()).abs();
            let turn = std::f64::consts::PI * x;
            let rebinned = 1.0 - 0.375 * (1.0 - turn.cos());
            let sinc = (turn / 2.0).sin() / (turn / 2.0);
            folded * kernel.window(folded, rays).powi(2) * rebinned * sinc.powi(4)
        };
        let (found, expected) = (mean(&|k| power[k]), mean(&law));
        assert!(
            (found / expected - 1.0).abs() < 0.1,
            "{kernel:?}: {found} {expected}"
        );
        let most = power.iter().fold(0.0, |a: f64, &b| a.max(b));
        assert!(power[1] < 0.4 * most, "{kernel:?}: {power:?}");
    }
}

#[test]
fn the_same_seed_gives_the_same_image_on_any_number_of_threads() {
    let grid = grid(64, 6, 3.0);
    let volume = cylinder(&grid, 150.0);
    let settings = ScanSettings {
        draw_start: true,
        physics: Physics {
            breathing: Some(Breathing::default()),
            rings: Some(Rings::default()),
            modulation: Some(Modulation::default()),
            ..Physics::default()
        },
        ..noisy(50.0, 1.0)
    };
    let on = |threads: usize, seed: u64| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build();
        let run = || simulate(&volume, &settings, seed, &mut |_| {}).expect("simulated");
        pool.expect("threads").install(run)
    };
    let (one, record) = on(1, 3);
    let (three, again) = on(3, 3);
    assert_eq!(one.data(), three.data());
    assert_eq!(record, again);
    assert_ne!(one.data(), on(2, 4).0.data());
    // The record survives being written.
    let text = serde_json::to_string(&record).expect("written");
    let read: ScanRecord = serde_json::from_str(&text).expect("read");
    assert_eq!(read.settings, record.settings);
    assert_eq!(read.scan.views(), record.scan.views());
    assert!(record.breathing_phase.is_some() && record.current_range.is_some());
    assert!(record.settings.helix.start_deg > 0.0);
}

/// With all energies and the water correction water is flat at 0 ± 5 HU; without, it cups.
#[test]
fn a_spectrum_needs_its_water_correction() {
    let grid = grid(140, 6, 2.0);
    let volume = cylinder(&grid, 240.0);
    let mut settings = settings();
    settings.physics.spectrum = Some(Spectrum::default());
    let cup = |image: &Image| {
        let (middle, _) = ring(image, 1..5, [0.0, 25.0]);
        let (edge, _) = ring(image, 1..5, [85.0, 110.0]);
        (middle, edge - middle)
    };
    let (middle, cupping) = cup(&run(&volume, &settings));
    assert!(
        middle.abs() < 5.0 && cupping.abs() < 5.0,
        "{middle} {cupping}"
    );
    settings.physics.spectrum = Some(Spectrum {
        water_correction: false,
        ..Spectrum::default()
    });
    // The filter hardens the beam at the edges, which would hide it.
    settings.tube.bowtie = Bowtie::None;
    let (_, cupping) = cup(&run(&volume, &settings));
    assert!(cupping > 15.0, "{cupping}");
}

/// Two rods of titanium in water: with a spectrum the water between them darkens.
#[test]
fn metal_darkens_what_lies_between() {
    let grid = grid(128, 6, 2.0);
    let volume = cylinder(&grid, 200.0);
    let [cx, cy] = centre(&grid);
    let rod = |dx: f64| Metal {
        centre_mm: [cx + dx, cy, 8.0],
        radius_mm: 7.0,
        length_mm: Some(100.0),
        axis: [0.0, 0.0, 1.0],
        material: crate::physics::Material::Titanium,
    };
    let mut settings = settings();
    settings.physics.metal = vec![rod(-40.0), rod(40.0)];
    let between = |settings: &ScanSettings| ring(&run(&volume, settings), 2..4, [0.0, 12.0]).0;
    let one_energy = between(&settings);
    settings.physics.spectrum = Some(Spectrum::default());
    let all = between(&settings);
    assert!(one_energy.abs() < 12.0, "{one_energy}");
    assert!(all < one_energy - 25.0, "{all} against {one_energy}");
}

/// Scatter shades the middle, less so where it is corrected.
#[test]
fn scatter_shades_the_middle() {
    let grid = grid(140, 6, 2.2);
    let volume = cylinder(&grid, 280.0);
    let mut settings = settings();
    let mut middle = |corrected: Option<f64>| {
        settings.physics.scatter = corrected.map(|corrected| Scatter {
            scale: 1.0,
            corrected,
        });
        ring(&run(&volume, &settings), 2..4, [0.0, 25.0]).0
    };
    let (without, raw, corrected, full) = (
        middle(None),
        middle(Some(0.0)),
        middle(Some(0.8)),
        middle(Some(1.0)),
    );
    assert!(raw < without - 15.0, "{raw} {without}");
    assert!(corrected < without && corrected > raw + 0.6 * (without - raw));
    assert!((full - without).abs() < 0.5);
}

/// Gain errors make rings: more variation along the radius than along the angle.
#[test]
fn gain_errors_make_rings_and_truncation_a_rim() {
    let grid = grid(128, 6, 2.0);
    let volume = cylinder(&grid, 200.0);
    let mut settings = settings();
    let clean = ring(&run(&volume, &settings), 2..4, [20.0, 60.0]).1;
    settings.physics.rings = Some(Rings { gain_sd: 5e-3 });
    let rings = ring(&run(&volume, &settings), 2..4, [20.0, 60.0]).1;
    assert!(rings > 3.0 * clean, "{rings} {clean}");
    settings.physics.rings = None;
    settings.physics.truncation = Some(Truncation {
        radius_mm: 80.0,
        taper_mm: 15.0,
    });
    let truncated = run(&cylinder(&grid, 240.0), &settings);
    let (middle, _) = ring(&truncated, 2..4, [0.0, 30.0]);
    let (rim, _) = ring(&truncated, 2..4, [74.0, 79.0]);
    assert!(rim > middle + 20.0, "{rim} {middle}");
}

/// What noise adds to an ellipse of 40 by 25 cm.
fn noise_of_ellipse(settings: &ScanSettings) -> Image {
    let grid = Grid::with_spacing([150, 100, 6], [3.0, 3.0, 3.0]).expect("a grid");
    let [cx, cy] = centre(&grid);
    let body = crate::phantom::Object::cylinder([cx, cy, 0.0], [200.0, 125.0], f64::INFINITY, 1.0);
    let volume = Phantom::new().with(body).voxels(&grid, 3);
    let with = run(&volume, settings);
    let without = run(
        &volume,
        &ScanSettings {
            noise: false,
            ..settings.clone()
        },
    );
    let values = with.data().iter().zip(without.data()).map(|(a, b)| a - b);
    Image::new(grid, values.collect()).expect("an image")
}

/// Most photons are missing along the ellipse's long axis: streaks run along it, and neighbours
/// along it are more alike than across.
#[test]
fn an_ellipse_has_streaks_along_its_long_axis() {
    let mut settings = settings();
    settings.noise = true;
    settings.tube.mas = 8.0;
    settings.detector.weak_signal = 0.0;
    let noise = noise_of_ellipse(&settings);
    let [nx, ny, _] = noise.grid().shape();
    let (mut along, mut across) = (0.0, 0.0);
    for z in 1..5 {
        let slice = noise.slice_z(z);
        for y in ny / 2 - 20..ny / 2 + 20 {
            for x in nx / 2 - 20..nx / 2 + 20 {
                let here = slice[x + nx * y];
                along += f64::from(slice[x + 2 + nx * y] - here).powi(2);
                across += f64::from(slice[x + nx * (y + 2)] - here).powi(2);
            }
        }
    }
    let ratio = f64::sqrt(across / along);
    assert!(ratio > 1.2, "{ratio}");
}

/// With some ten photons behind the long axis the mean stays where weak signals are smoothed.
#[test]
fn starved_rays_keep_the_mean() {
    let mut settings = settings();
    settings.noise = true;
    settings.tube.mas = 0.5;
    let (mean, _) = ring(&noise_of_ellipse(&settings), 1..5, [0.0, 60.0]);
    assert!(mean.abs() < 5.0, "{mean}");
    settings.detector.weak_signal = 0.0;
    let (raw, _) = ring(&noise_of_ellipse(&settings), 1..5, [0.0, 60.0]);
    assert!(raw > 2.0 * mean.abs(), "{raw} {mean}");
}

/// The charge that is computed for a wanted noise gives it.
#[test]
fn a_target_of_noise_is_met() {
    let grid = grid(100, 8, 2.4);
    let volume = cylinder(&grid, 220.0);
    let mut settings = noisy(1.0, 0.9);
    settings.target_sd_hu = Some(20.0);
    settings.target_diameter_mm = 220.0;
    let calibrated = settings.calibrated().expect("a charge");
    assert!(calibrated.target_sd_hu.is_none() && calibrated.tube.mas != 1.0);
    let (image, record) = simulate(&volume, &settings, 5, &mut |_| {}).expect("simulated");
    assert_eq!(record.settings.tube.mas, calibrated.tube.mas);
    let (_, sd) = ring(&image, 1..7, [0.0, 35.0]);
    assert!((sd / 20.0 - 1.0).abs() < 0.1, "{sd}");
    settings.target_sd_hu = Some(0.1);
    settings.target_diameter_mm = 500.0;
    assert!(settings.calibrated().is_err());
}

/// The fast mode has the noise of the full one and leaves the signal as it is.
#[test]
fn the_fast_mode_has_the_same_noise() {
    let grid = grid(112, 8, 2.0);
    let volume = cylinder(&grid, 200.0);
    let mut settings = noisy(20.0, 1.0);
    let full = run(&volume, &settings);
    settings.fast = true;
    let fast = run(&volume, &settings);
    for radii in [[0.0, 40.0], [60.0, 85.0]] {
        let (mean, sd) = ring(&fast, 1..7, radii);
        let (_, wanted) = ring(&full, 1..7, radii);
        assert!((sd / wanted - 1.0).abs() < 0.06, "{sd} {wanted}");
        assert!(mean.abs() < 1.5, "{mean}");
    }
    settings.noise = false;
    let unchanged = run(&volume, &settings);
    for (a, b) in unchanged.data().iter().zip(volume.data()) {
        assert!((a - b).abs() < 1e-3);
    }
}

/// A quarter of the dose, by insertion: the noise of the whole dose is in the volume already, and the
/// squares of the two add up to that of a quarter.
#[test]
fn a_lower_dose_adds_what_is_missing() {
    let grid = grid(112, 8, 2.0);
    let volume = cylinder(&grid, 200.0);
    let mut settings = noisy(20.0, 1.0);
    settings.fast = true;
    let quarter = run(&volume, &settings);
    settings.given_mas = Some(80.0);
    let missing = run(&volume, &settings);
    for radii in [[0.0, 40.0], [60.0, 85.0]] {
        let (mean, sd) = ring(&missing, 1..7, radii);
        let wanted = 0.75f64.sqrt() * ring(&quarter, 1..7, radii).1;
        assert!((sd / wanted - 1.0).abs() < 0.06, "{sd} {wanted}");
        assert!(mean.abs() < 1.5, "{mean}");
    }
    settings.given_mas = Some(20.0);
    let unchanged = run(&volume, &settings);
    for (a, b) in unchanged.data().iter().zip(volume.data()) {
        assert!((a - b).abs() < 1e-3);
    }
}

#[test]
fn what_is_no_patient_is_refused() {
    let of = |values: [f32; 2]| {
        let grid = Grid::with_spacing([2, 1, 1], [1.0; 3]).expect("a grid");
        Image::new(grid, values.to_vec()).expect("an image")
    };
    assert!(expect_hu(&of([-1000.0, 60.0])).is_ok());
    for values in [[0.0, 255.0], [-1024.0, -1000.0], [-1000.0, 1e6]] {
        let message = expect_hu(&of(values)).expect_err("no patient").to_string();
        assert!(message.contains(&values[1].to_string()), "{message}");
    }
    assert!(expect_hu(&of([f32::NAN, 60.0])).is_err());
    assert!(simulate(&of([-1000.0, f32::NAN]), &settings(), 1, &mut |_| {}).is_err());
}

/// A current that follows the patient evens the noise out between angles.
#[test]
fn modulation_lowers_the_noise_of_an_ellipse() {
    let grid = Grid::with_spacing([130, 80, 6], [3.0, 3.0, 3.0]).expect("a grid");
    let [cx, cy] = centre(&grid);
    let body = crate::phantom::Object::cylinder([cx, cy, 0.0], [180.0, 100.0], f64::INFINITY, 1.0);
    let volume = Phantom::new().with(body).voxels(&grid, 2);
    let mut settings = settings();
    settings.noise = true;
    settings.tube.mas = 150.0;
    let constant = ring(&run(&volume, &settings), 1..5, [0.0, 50.0]).1;
    settings.physics.modulation = Some(Modulation::default());
    let modulated = ring(&run(&volume, &settings), 1..5, [0.0, 50.0]).1;
    assert!(modulated < 0.97 * constant, "{modulated} {constant}");
}

#[test]
fn iodine_without_labels_and_gaps_are_refused() {
    let grid = grid(60, 4, 3.0);
    let volume = cylinder(&grid, 100.0);
    let mut settings = settings();
    settings.helix.pitch = 3.0;
    assert!(simulate(&volume, &settings, 1, &mut |_| {}).is_err());
    settings.helix.pitch = 1.0;
    settings.physics.iodine = vec![crate::physics::Iodine {
        label: 1,
        mg_per_ml: 3.0,
    }];
    assert!(simulate(&volume, &settings, 1, &mut |_| {}).is_err());
}

/// Both presets end to end on a chest, with the time of the processor where the system tells it.
#[test]
#[ignore = "a measurement, a minute or more and two gigabytes"]
fn speed() {
    let processor_s = || {
        let tasks = std::fs::read_dir("/proc/self/task").ok()?;
        let ns = tasks.flatten().filter_map(|task| {
            let text = std::fs::read_to_string(task.path().join("schedstat")).ok()?;
            text.split(' ').next()?.parse::<f64>().ok()
        });
        Some(1e-9 * ns.sum::<f64>())
    };
    for (name, shape, spacing) in [
        ("matched-1.5mm", [333, 333, 300], [1.5, 1.5, 1.5]),
        ("clinical", [512, 512, 300], [0.9, 0.9, 1.0]),
    ] {
        // Blocks of 4 voxels, or filling the volume would take longer than the scan.
        let coarse = Grid::with_spacing(
            shape.map(|n: usize| n.div_ceil(4)),
            spacing.map(|s: f64| 4.0 * s),
        );
        let coarse = coarse.expect("a grid");
        let middle = coarse.world(coarse.shape().map(|n| (n - 1) as f64 / 2.0));
        let thorax = Phantom::thorax(middle).voxels(&coarse, 1);
        let grid = Grid::with_spacing(shape, spacing).expect("a grid");
        let voxel = |i: usize| {
            [
                i % shape[0],
                i / shape[0] % shape[1],
                i / shape[0] / shape[1],
            ]
        };
        let values = (0..grid.len()).map(|i| thorax.data()[coarse.index(voxel(i).map(|k| k / 4))]);
        let volume = Image::new(grid.clone(), values.collect()).expect("a volume");
        for (mode, fast, spectrum) in [
            ("full", false, false),
            ("fast", true, false),
            ("spectrum", false, true),
        ] {
            let mut settings = ScanSettings::load(name, &[]).expect("a preset");
            settings.fast = fast;
            settings.physics.spectrum = spectrum.then(Spectrum::default);
            let (start, clock) = (processor_s(), std::time::Instant::now());
            let (image, record) = simulate(&volume, &settings, 1, &mut |_| {}).expect("simulated");
            let wall = clock.elapsed().as_secs_f64();
            let used = processor_s().zip(start).map_or(f64::NAN, |(a, b)| a - b);
            let memory = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
            let peak = memory
                .lines()
                .find(|l| l.starts_with("VmHWM"))
                .unwrap_or("");
            println!(
                "{name} {mode}: {used:.1} s of processor, {wall:.1} s by the clock, {} views, {peak}",
                record.scan.views()
            );
            drop(image);
        }
    }
}
