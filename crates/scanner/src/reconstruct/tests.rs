mod detail;
mod places;

use super::*;
use crate::geometry::{Helix, Scanner};
use crate::phantom::{Phantom, PhantomRays};

/// The oracle's scanner: 16 rows of 1.25 mm, 420 channels, 720 views a turn.
pub(super) fn oracle() -> Scanner {
    let half_fan = (190.0f64 / 570.0).asin();
    Scanner {
        channels: 420,
        channel_rad: 2.0 * half_fan / 420.0,
        central_channel: 209.25,
        rows: 16,
        row_mm: 1.25,
        ..Scanner::default()
    }
}

/// A grid of `n`² pixels about the origin with `count` slices from `z_mm` on.
pub(super) fn grid(n: usize, pixel_mm: f64, z_mm: f64, step_mm: f64, count: usize) -> Grid {
    let corner = -(n as f64 - 1.0) / 2.0 * pixel_mm;
    let mut matrix = glam::DMat4::from_scale(glam::DVec3::new(pixel_mm, pixel_mm, step_mm));
    matrix.w_axis = glam::DVec4::new(corner, corner, z_mm, 1.0);
    Grid::new([n, n, count], matrix).expect("a grid")
}

pub(super) fn helix(pitch: f64, radius_mm: f64) -> Helix {
    Helix {
        pitch,
        field_radius_mm: Some(radius_mm),
        isocentre_mm: Some([0.0, 0.0]),
        ..Helix::default()
    }
}

pub(super) fn image(
    scan: &Scan,
    phantom: &Phantom,
    settings: &Reconstruction,
    target: &Grid,
) -> Image {
    let rays = PhantomRays::new(scan, phantom);
    reconstruct(scan, &rays, settings, target, &mut |_| ()).expect("an image")
}

/// Mean and standard deviation of the pixels of a slice that are wanted by place.
pub(super) fn statistics(image: &Image, z: usize, wanted: impl Fn(f64, f64) -> bool) -> [f64; 2] {
    let [nx, ny, _] = image.grid().shape();
    let slice = image.slice_z(z);
    let values: Vec<f64> = (0..nx * ny)
        .filter(|i| {
            let place = image
                .grid()
                .world([(i % nx) as f64, (i / nx) as f64, z as f64]);
            wanted(place[0], place[1])
        })
        .map(|i| f64::from(slice[i]))
        .collect();
    let n = values.len() as f64;
    let mean = values.iter().sum::<f64>() / n;
    let square = values.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / n;
    [mean, square.sqrt()]
}

fn water(diameter_mm: f64, pitch: f64, kernel: Kernel) -> Image {
    let radius = diameter_mm / 2.0 + 10.0;
    let scanner = Scanner {
        channels: 512,
        central_channel: 255.25,
        ..oracle()
    };
    let n = (diameter_mm / 4.0) as usize + 4;
    let target = grid(n, 4.0, -7.0, 2.3, 7);
    let scan = Scan::plan(&scanner, &helix(pitch, radius), &target).expect("a scan");
    let phantom = Phantom::water_cylinder([0.0, 0.0], diameter_mm);
    let settings = Reconstruction {
        kernel,
        ..Reconstruction::default()
    };
    image(&scan, &phantom, &settings, &target)
}

/// Water is flat at 0 HU in every slice, the end slices included.
#[test]
fn water_cylinders_are_flat() {
    for (diameter, pitch) in [(200.0, 0.8), (300.0, 1.0), (300.0, 1.3), (400.0, 0.5)] {
        let image = water(diameter, pitch, Kernel::Ramp);
        let inner = diameter / 2.0 - 10.0;
        for z in 0..7 {
            let [mean, sd] = statistics(&image, z, |x, y| x.hypot(y) < inner);
            let [centre, _] = statistics(&image, z, |x, y| x.hypot(y) < 20.0);
            let [edge, _] = statistics(&image, z, |x, y| {
                (inner - 30.0..inner).contains(&x.hypot(y))
            });
            println!(
                "{diameter} {pitch} {z}: {mean:.3} {sd:.3} {:.3}",
                centre - edge
            );
            assert!(mean.abs() < 0.5, "{diameter} {pitch} {z}: mean {mean}");
            assert!(sd < 0.5, "{diameter} {pitch} {z}: sd {sd}");
            assert!((centre - edge).abs() < 0.5, "{diameter} {pitch} {z}");
        }
    }
}

/// The oracle's phantom and slices: balls at their values, and in the water around them no more
/// than the oracle leaves there with a ramp (2.8 to 3.4, 4.2 to 4.8 and 5.1 to 6.6 HU).
#[test]
fn balls_are_as_bright_as_they_are_and_leave_little_windmill() {
    let mut before = 0.0;
    for (pitch, bar) in [(0.6, 3.9), (1.0, 4.8), (1.4, 6.6)] {
        let target = grid(150, 2.2, -6.0, 3.0, 5);
        let scan = Scan::plan(&oracle(), &helix(pitch, 175.0), &target).expect("a scan");
        let phantom = Phantom::three_balls([0.0; 3]);
        let settings = Reconstruction {
            kernel: Kernel::Ramp,
            ..Reconstruction::default()
        };
        let image = image(&scan, &phantom, &settings, &target);
        let balls = [(70.0, 30.0, 25.0), (-60.0, -60.0, 15.0), (0.0, 90.0, 10.0)];
        let mut all = 0.0;
        for z in 0..5 {
            let [mean, sd] = statistics(&image, z, |x: f64, y: f64| {
                let far = |(cx, cy, r): &(f64, f64, f64)| (x - cx).hypot(y - cy) > r + 8.0;
                x.hypot(y) < 140.0 && balls.iter().all(far)
            });
            let height = -6.0 + 3.0 * z as f64;
            let inner = (625.0 - height * height).sqrt() - 8.0;
            let [ball, _] = statistics(&image, z, |x, y| (x - 70.0).hypot(y - 30.0) < inner);
            println!("pitch {pitch}, slice {z}: {mean:.2} ± {sd:.2}, ball {ball:.1} HU");
            assert!(mean.abs() < 0.5 && sd < bar, "{pitch} {z}: {mean} {sd}");
            assert!((ball - 1000.0).abs() < 3.0, "{pitch} {z}: {ball}");
            all += sd * sd;
        }
        assert!(all > before, "windmill grows with the pitch");
        before = all;
    }
}

/// Wall time of a size that the speed goals name, projections not included; the processor's is the
/// shell's to tell.
fn speed(name: &str, n: usize, pixel_mm: f64, step_mm: f64) {
    struct Nothing;
    impl Projections for Nothing {
        fn views(&self, _: Range<usize>, out: &mut [f32]) -> Result<()> {
            out.fill(1.0);
            Ok(())
        }
    }
    let target = grid(n, pixel_mm, 0.0, step_mm, 300);
    let scanner = Scanner::preset(name).expect("a preset");
    let scan = Scan::plan(&scanner, &Helix::default(), &target).expect("a scan");
    let settings = Reconstruction::default();
    let start = std::time::Instant::now();
    let image = reconstruct(&scan, &Nothing, &settings, &target, &mut |_| ());
    println!(
        "{name}: {} views, {:.1} s, {} MB",
        scan.views(),
        start.elapsed().as_secs_f64(),
        settings.bytes(&scan, &target).expect("a grid") >> 20
    );
    assert!(
        image
            .expect("an image")
            .data()
            .iter()
            .all(|hu| hu.is_finite())
    );
}

#[test]
#[ignore = "takes half a minute, and says how long"]
fn speed_of_the_matched_preset() {
    speed("matched-1.5mm", 333, 1.5, 1.5);
}

#[test]
#[ignore = "takes a minute or two, and says how long"]
fn speed_of_the_clinical_preset() {
    speed("clinical", 512, 500.0 / 512.0, 1.0);
}
