use super::*;
use crate::geometry::{Helix, Scanner};
use crossmod_volume::Grid;
use crossmod_volume::rng::Rng;

fn scan(scanner: &Scanner, shape: [usize; 3], spacing: f64, pitch: f64) -> Scan {
    let grid = Grid::with_spacing(shape, [spacing; 3]).expect("a grid");
    let helix = Helix {
        pitch,
        start_deg: 0.0,
        isocentre_mm: Some([0.0; 2]),
        field_radius_mm: Some(200.0),
    };
    Scan::plan(scanner, &helix, &grid).expect("a scan")
}

/// A body centred on the axis with its first slice at z = 0.
fn body(shape: [usize; 3], spacing: f64, value: impl Fn([f64; 3]) -> f32) -> Body {
    let first = [0, 1].map(|a| -(shape[a] as f64 - 1.0) / 2.0 * spacing);
    let mut samples = Vec::new();
    for z in 0..shape[2] {
        for y in 0..shape[1] {
            for x in 0..shape[0] {
                samples.push(value([
                    first[0] + x as f64 * spacing,
                    first[1] + y as f64 * spacing,
                    z as f64 * spacing,
                ]));
            }
        }
    }
    let first = [first[0], first[1], 0.0];
    Body::new(
        &samples,
        Strides::of(shape),
        shape,
        [spacing; 3],
        first,
        |v| v,
    )
    .expect("a body")
}

fn project(projector: &Projector, range: Range<usize>) -> Vec<f32> {
    let mut out = vec![0.0; range.len() * projector.scan.view_len()];
    projector.views(range, &mut out).expect("projected");
    out
}

/// A voxel of a disc's edge holds the share that lies within.
fn disc(radius: f64, spacing: f64) -> impl Fn([f64; 3]) -> f32 {
    move |[x, y, _]| {
        let depth = (radius - x.hypot(y)) / spacing;
        if depth.abs() > 1.0 {
            return if depth > 0.0 { 1.0 } else { 0.0 };
        }
        let inside = (0..256).filter(|i| {
            let part = |i: usize| ((i as f64 + 0.5) / 16.0 - 0.5) * spacing;
            (x + part(i % 16)).hypot(y + part(i / 16)) < radius
        });
        inside.count() as f32 / 256.0
    }
}

/// Rays through a water cylinder of radius 150 mm in a matrix of 512² against its chords.
#[test]
fn a_cylinder_casts_its_chords() {
    let spacing = 400.0 / 512.0;
    let water = 0.0193f32;
    let shape = [512, 512, 2];
    let within = disc(150.0, spacing);
    let body = body(shape, spacing, |p| water * within(p));
    let scanner = Scanner::preset("clinical").expect("a preset");
    let scan = scan(&scanner, shape, spacing, 1.0);
    let projector = Projector::new(&body, &scan, SubRays::default()).expect("a projector");
    let (mut sum, mut square, mut count) = (0.0, 0.0, 0.0);
    for view in [3, 77, 131, 402, 515] {
        let found = project(&projector, view..view + 1);
        for channel in 0..scan.channels() {
            let t = 570.0 * scanner.channel_angle(channel as f64).sin();
            if t.abs() > 148.0 {
                continue;
            }
            for row in [0, 20, 63] {
                let slope = scanner.row_slope(row as f64);
                let chord = 2.0 * (150f64.powi(2) - t * t).sqrt() * (1.0 + slope * slope).sqrt();
                let error = f64::from(found[channel * 64 + row]) - f64::from(water) * chord;
                sum += error;
                square += error * error;
                count += 1.0;
            }
        }
    }
    let (mean, rms) = (sum / count, f64::sqrt(square / count));
    assert!(mean.abs() <= 2e-4 && rms <= 2e-3, "mean {mean} rms {rms}");
}

/// Attenuation that grows with z: along a ray its integral is the chord times the value at the
/// chord's middle.
#[test]
fn rows_read_their_height() {
    let (shape, spacing) = ([160, 160, 120], 2.0);
    let within = disc(100.0, spacing);
    let body = body(shape, spacing, |p| within(p) * (0.01 + 1e-4 * p[2] as f32));
    let scanner = Scanner::default();
    let scan = scan(&scanner, shape, spacing, 0.9);
    let projector = Projector::new(&body, &scan, SubRays::default()).expect("a projector");
    let middle = scan.views() / 2;
    for view in [middle - 300, middle - 17, middle, middle + 123] {
        let found = project(&projector, view..view + 1);
        let z = scan.source(view)[2];
        assert!((40.0..200.0).contains(&z));
        for channel in (200..310).step_by(7) {
            let gamma = scanner.channel_angle(channel as f64);
            let t = 570.0 * gamma.sin();
            for row in [0, 13, 31] {
                let slope = scanner.row_slope(row as f64);
                let chord = 2.0 * (1e4 - t * t).sqrt() * (1.0 + slope * slope).sqrt();
                let height = z + slope * 570.0 * gamma.cos();
                let expected = chord * (0.01 + 1e-4 * height);
                let found = f64::from(found[channel * 32 + row]);
                assert!(
                    (found / expected - 1.0).abs() < 3e-3,
                    "{view} {channel} {row}: {found} against {expected}"
                );
            }
        }
    }
}

/// The plain method, one ray at a time in double precision.
fn joseph(body: &Body, scan: &Scan, view: usize, channel: usize, row: usize) -> f64 {
    let [nx, ny] = body.columns;
    let start = scan.source(view);
    let [dx, dy] = scan.direction(view, channel as f64);
    let slope = scan.scanner().row_slope(row as f64);
    let value = |x: i64, y: i64, z: usize| {
        let inside = x >= 0 && y >= 0 && x < nx as i64 && y < ny as i64;
        if inside {
            let column = x as usize + nx * y as usize;
            f64::from(body.data[column * body.slices + z])
        } else {
            0.0
        }
    };
    let along_x = (dx / body.spacing_mm[0]).abs() >= (dy / body.spacing_mm[1]).abs();
    let (axis, other) = if along_x { (0, 1) } else { (1, 0) };
    let d = [dx, dy];
    let step = (body.spacing_mm[axis] / d[axis]).abs() * (1.0 + slope * slope).sqrt();
    let mut sum = 0.0;
    for i in 0..body.columns[axis] {
        let at = body.first_mm[axis] + i as f64 * body.spacing_mm[axis];
        let length = (at - start[axis]) / d[axis];
        let across =
            (start[other] + length * d[other] - body.first_mm[other]) / body.spacing_mm[other];
        let z = (start[2] + slope * length - body.first_mm[2]) / body.spacing_mm[2];
        let z = z.clamp(0.0, (body.slices - 1) as f64 - 1e-9);
        let (j, k) = (across.floor(), z.floor());
        let (f, g) = (across - j, z - k);
        for (dj, wj) in [(0, 1.0 - f), (1, f)] {
            for (dk, wk) in [(0, 1.0 - g), (1, g)] {
                let (j, k) = (j as i64 + dj, k as usize + dk);
                let (x, y) = if along_x {
                    (i as i64, j)
                } else {
                    (j, i as i64)
                };
                sum += step * wj * wk * value(x, y, k);
            }
        }
    }
    sum
}

fn noise_body() -> Body {
    let mut rng = Rng::new(4, 0, 0);
    let samples: Vec<f32> = (0..40 * 31 * 22).map(|_| 0.02 * rng.unit()).collect();
    let shape = [40, 31, 22];
    Body::new(
        &samples,
        Strides::of(shape),
        shape,
        [3.0, 4.0, 1.1],
        [-50.0, -66.0, 0.0],
        |v| v,
    )
    .expect("a body")
}

#[test]
fn every_instruction_set_agrees_with_the_plain_method() {
    let body = noise_body();
    for row_mm in [0.6, 3.0] {
        let scanner = Scanner {
            rows: 20,
            row_mm,
            ..Scanner::default()
        };
        let scan = scan(&scanner, [40, 31, 22], 1.1, 1.0);
        for level in Level::all() {
            let projector = Projector::new(&body, &scan, SubRays::default()).expect("a projector");
            let mut projector = projector.step_by_step();
            projector.level = level;
            let first = scan.views() / 2 - 40;
            let found = project(&projector, first..first + 80);
            for view in (0..80).step_by(13) {
                for channel in (0..512).step_by(29) {
                    for row in [0, 7, 19] {
                        let expected = joseph(&body, &scan, first + view, channel, row);
                        let found = f64::from(found[(view * 512 + channel) * 20 + row]);
                        assert!(
                            (found - expected).abs() < 2e-4,
                            "{level:?} {view} {channel} {row}: {found} against {expected}"
                        );
                    }
                }
            }
        }
    }
}

/// Sums over steps differ from the plain method by less than the plain method from the truth: on
/// spheres of contrast 1 in a cylinder, by less than 2e-3 (rms) of line integrals of about 6.
#[test]
fn sums_over_steps_change_little() {
    let (shape, spacing) = ([200, 200, 60], 1.5);
    let within = disc(120.0, spacing);
    let balls = [[40.0, 20.0, 45.0, 25.0], [-50.0, -40.0, 30.0, 12.0]];
    let body = body(shape, spacing, |p| {
        let ball = |b: &[f64; 4]| {
            let distance = (p[0] - b[0]).hypot(p[1] - b[1]).hypot(p[2] - b[2]);
            ((b[3] - distance) / spacing + 0.5).clamp(0.0, 1.0) as f32
        };
        0.0193 * (within(p) + balls.iter().map(ball).sum::<f32>())
    });
    let scan = scan(&Scanner::default(), shape, spacing, 1.0);
    let fast = Projector::new(&body, &scan, SubRays::default()).expect("a projector");
    assert!(fast.steps > 2);
    let plain = Projector::new(&body, &scan, SubRays::default()).expect("a projector");
    let plain = plain.step_by_step();
    let middle = scan.views() / 2;
    let (mut square, mut most, mut count) = (0.0, 0f64, 0.0);
    for view in [middle - 200, middle, middle + 71] {
        let range = view..view + 1;
        let pair = project(&fast, range.clone())
            .into_iter()
            .zip(project(&plain, range));
        for (a, b) in pair.filter(|(_, b)| *b > 0.1) {
            let error = f64::from(a - b).abs();
            square += error * error;
            most = most.max(error);
            count += 1.0;
        }
    }
    let rms = f64::sqrt(square / count);
    println!("{} steps: rms {rms:.1e}, most {most:.1e}", fast.steps);
    assert!(rms < 1e-3 && most < 0.02, "rms {rms}, most {most}");
}

#[test]
fn projection_is_linear_and_turns_with_the_body() {
    let (shape, spacing) = ([64, 64, 40], 3.0);
    let scanner = Scanner {
        views_per_turn: 720,
        ..Scanner::default()
    };
    let scan = scan(&scanner, shape, spacing, 1.0);
    let views = scan.views() / 2..scan.views() / 2 + 2;
    let blob =
        |p: [f64; 3]| (-((p[0] - 30.0).powi(2) + (p[1] + 10.0).powi(2)) / 900.0).exp() as f32;
    let bar = |p: [f64; 3]| {
        if p[0].abs() < 50.0 && p[2] > 40.0 {
            0.5
        } else {
            0.0
        }
    };
    let of = |value: &dyn Fn([f64; 3]) -> f32, views: Range<usize>| {
        let body = body(shape, spacing, value);
        let projector = Projector::new(&body, &scan, SubRays::default()).expect("a projector");
        project(&projector, views)
    };
    let (a, b) = (of(&blob, views.clone()), of(&bar, views.clone()));
    let both = of(&|p| 2.0 * blob(p) + bar(p), views.clone());
    for ((a, b), both) in a.iter().zip(&b).zip(&both) {
        assert!((2.0 * a + b - both).abs() < 1e-4 * (1.0 + both));
    }
    // A quarter of a turn later, the body turned along and lifted by a quarter of the feed, which
    // the spacing divides.
    let lift = scan.feed_mm() / 4.0;
    assert!((lift / spacing).fract().abs() < 1e-12);
    let turned = of(
        &|[x, y, z]| {
            let z = z - lift;
            if z < -1e-9 {
                blob([y, -x, 0.0]) + bar([y, -x, 0.0])
            } else {
                blob([y, -x, z]) + bar([y, -x, z])
            }
        },
        views.start + 180..views.end + 180,
    );
    let straight = of(&|p| blob(p) + bar(p), views);
    for (a, b) in straight.iter().zip(&turned) {
        assert!((a - b).abs() < 2e-4 * (1.0 + a), "{a} against {b}");
    }
}

/// One turn later a body lifted by the feed looks the same; so does one lifted by `moving`.
#[test]
fn a_turn_is_a_lift_by_the_feed() {
    let body = noise_body();
    let feed = 11.0 * 1.1;
    let scanner = Scanner {
        rows: 16,
        row_mm: feed / 16.0,
        ..Scanner::default()
    };
    let scan = scan(&scanner, [40, 31, 60], 1.1, 1.0);
    let mut lifted = body.clone();
    lifted.first_mm[2] += feed;
    let view = scan.views() / 2;
    let (here, there) = (view..view + 3, view + 720..view + 723);
    let projector = Projector::new(&body, &scan, SubRays::default()).expect("a projector");
    let above = Projector::new(&lifted, &scan, SubRays::default()).expect("a projector");
    let expected = project(&projector, here);
    let lift = vec![feed as f32; scan.views()];
    let moved = Projector::new(&body, &scan, SubRays::default()).expect("a projector");
    let moved = moved.moving(&lift).expect("one for each view");
    for found in [project(&above, there.clone()), project(&moved, there)] {
        for (a, b) in expected.iter().zip(&found) {
            assert!((a - b).abs() < 2e-4 * (1.0 + a), "{a} against {b}");
        }
    }
    assert!(moved.moving(&lift[1..]).is_err());
}

#[test]
fn sub_rays_blur_an_edge_and_nothing_else() {
    let (shape, spacing) = ([256, 256, 2], 1.0);
    let within = disc(100.0, spacing);
    let body = body(shape, spacing, |p| 0.0193 * within(p));
    let scan = scan(&Scanner::default(), shape, spacing, 1.0);
    let of = |sub| {
        let projector = Projector::new(&body, &scan, sub).expect("a projector");
        project(&projector, 100..101)
    };
    let one = of(SubRays::default());
    let many = of(SubRays { channel: 4, row: 2 });
    let middle = 255 * 32 + 5;
    assert!((one[middle] - many[middle]).abs() < 5e-3);
    let edges = |p: &[f32]| {
        let rows = p.chunks_exact(32).map(|channel| channel[5]);
        let all: Vec<f32> = rows.collect();
        all.windows(2)
            .map(|w| (w[1] - w[0]).abs())
            .fold(0.0, f32::max)
    };
    assert!(edges(&many) < edges(&one));
}

#[test]
fn a_body_in_the_way_of_the_tube_is_refused() {
    let shape = [500, 500, 2];
    let body = body(shape, 2.0, |_| 1.0);
    let scan = scan(&Scanner::default(), shape, 2.0, 1.0);
    let message = Projector::new(&body, &scan, SubRays::default())
        .expect_err("as wide as the gantry")
        .to_string();
    assert!(message.contains("470"), "{message}");
    let shape = [4, 4, 2];
    let small = self::body(shape, 2.0, |_| 1.0);
    let projector = Projector::new(&small, &scan, SubRays::default()).expect("a projector");
    assert!(projector.views(0..1, &mut [0.0; 5]).is_err());
    assert!(projector.views(0..1_000_000, &mut [0.0; 5]).is_err());
}

/// Nanoseconds that the threads of this process have run, where the system says so.
fn processor_ns() -> Option<f64> {
    let tasks = std::fs::read_dir("/proc/self/task").ok()?;
    let ns = tasks.flatten().filter_map(|task| {
        let text = std::fs::read_to_string(task.path().join("schedstat")).ok()?;
        text.split(' ').next()?.parse::<f64>().ok()
    });
    Some(ns.sum())
}

/// Rays per second of processor time, of both presets.
#[test]
#[ignore = "a measurement, several seconds"]
fn speed() {
    for (name, shape, spacing) in [
        ("matched-1.5mm", [333, 333, 200], 1.5),
        ("clinical", [512, 512, 200], 0.9),
    ] {
        let first = -(shape[0] as f64 - 1.0) / 2.0 * spacing;
        let within = disc(150.0, spacing);
        let slice: Vec<f32> = (0..shape[0] * shape[1])
            .map(|i| [i % shape[0], i / shape[0]].map(|k| first + k as f64 * spacing))
            .map(|[x, y]| 0.0193 * within([x, y, 0.0]))
            .collect();
        let strides = Strides {
            first: 0,
            step: [1, shape[0] as isize, 0],
        };
        let first = [first, first, 0.0];
        let body = Body::new(&slice, strides, shape, [spacing; 3], first, |v| v).expect("a body");
        let scanner = Scanner::preset(name).expect("a preset");
        let scan = scan(&scanner, shape, spacing, 1.0);
        let projector = Projector::new(&body, &scan, SubRays::default()).expect("a projector");
        let first = scan.views() / 2 - 64;
        let Some(start) = processor_ns() else {
            println!("skipped: no processor times");
            return;
        };
        let out = project(&projector, first..first + 128);
        let seconds = (processor_ns().unwrap_or(f64::NAN) - start) * 1e-9;
        let air = out.iter().filter(|p| **p == 0.0).count() as f64 / out.len() as f64;
        println!(
            "{name}: {:.2} Mray/s and core, {} steps, air {air:.2}",
            out.len() as f64 / seconds / 1e6,
            projector.steps
        );
    }
}
