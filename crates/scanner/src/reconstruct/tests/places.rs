//! Where voxels land: grids of any orientation, slabs and threads.

use super::*;
use glam::{DMat4, DVec3, DVec4};

fn small() -> Scanner {
    Scanner {
        channels: 200,
        channel_rad: 0.0025,
        central_channel: 99.25,
        rows: 16,
        row_mm: 2.0,
        views_per_turn: 240,
        ..Scanner::default()
    }
}

/// A head off the axis, which no turning or mirroring leaves as it is.
fn head() -> Phantom {
    Phantom::shepp_logan([20.0, -10.0, 30.0], 70.0)
}

fn about(linear: [[f64; 3]; 3], shape: [usize; 3], centre: [f64; 3]) -> Grid {
    let column = |i: usize| DVec3::from_array(linear[i]);
    let half = [0, 1, 2].map(|i| (shape[i] - 1) as f64 / 2.0);
    let corner =
        DVec3::from_array(centre) - column(0) * half[0] - column(1) * half[1] - column(2) * half[2];
    let matrix = DMat4::from_cols(
        column(0).extend(0.0),
        column(1).extend(0.0),
        column(2).extend(0.0),
        DVec4::new(corner.x, corner.y, corner.z, 1.0),
    );
    Grid::new(shape, matrix).expect("a grid")
}

/// Upright grids that are turned, mirrored or stored in another order hold at each voxel what the
/// plain grid's scan holds there: compared with the phantom itself inside the brain.
#[test]
fn grids_of_any_orientation_hold_the_phantom() {
    let centre = [20.0, -10.0, 30.0];
    let (sin, cos) = 0.3f64.sin_cos();
    let grids = [
        (
            "plain",
            [[3.0, 0.0, 0.0], [0.0, 3.0, 0.0], [0.0, 0.0, 2.0]],
            [40, 50, 9],
        ),
        (
            "LPS, feet first",
            [[-3.0, 0.0, 0.0], [0.0, -3.0, 0.0], [0.0, 0.0, -2.0]],
            [40, 50, 9],
        ),
        (
            "sagittal",
            [[0.0, 3.0, 0.0], [0.0, 0.0, -2.0], [3.0, 0.0, 0.0]],
            [50, 9, 40],
        ),
        (
            "coronal",
            [[0.0, 0.0, 2.0], [3.0, 0.0, 0.0], [0.0, -3.0, 0.0]],
            [9, 40, 50],
        ),
        (
            "turned",
            [
                [3.0 * cos, 3.0 * sin, 0.0],
                [-3.0 * sin, 3.0 * cos, 0.0],
                [0.0, 0.0, 2.0],
            ],
            [40, 40, 9],
        ),
        (
            "tilted",
            [
                [3.0, 0.0, 0.0],
                [0.0, 3.0 * cos, 3.0 * sin],
                [0.0, -2.0 * sin, 2.0 * cos],
            ],
            [40, 30, 9],
        ),
    ];
    for (name, linear, shape) in grids {
        let target = about(linear, shape, centre);
        let planned = Helix {
            isocentre_mm: Some([10.0, -5.0]),
            field_radius_mm: Some(120.0),
            start_deg: 70.0,
            ..Helix::default()
        };
        let scan = Scan::plan(&small(), &planned, &target).expect("a scan");
        let found = image(&scan, &head(), &Reconstruction::default(), &target);
        assert_eq!(found.grid(), &target);
        let mut compared = 0;
        for i in 0..target.len() {
            let voxel = [
                i % shape[0],
                i / shape[0] % shape[1],
                i / shape[0] / shape[1],
            ];
            let [x, y, z] = target.world(voxel.map(|v| v as f64));
            // Well within the skull, or well outside the head.
            let [dx, dy, dz] = [(x - 20.0) / 70.0, (y + 10.0) / 70.0, (z - 30.0) / 70.0];
            let size = (dx / 0.72).powi(2) + (dy / 0.95).powi(2) + (dz / 0.85).powi(2);
            let value = found.data()[i];
            if size < 0.55 {
                compared += 1;
                assert!((value - 15.0).abs() < 40.0, "{name} {voxel:?}: {value}");
            } else if size > 1.6 {
                compared += 1;
                assert!((value + 1000.0).abs() < 60.0, "{name} {voxel:?}: {value}");
            }
        }
        assert!(compared > target.len() / 3, "{name}: {compared}");
        // The ventricles are darker than the brain in front, where they are.
        let at = |place: [f64; 3]| {
            let voxel = target
                .voxel_from_world()
                .transform_point3(DVec3::from_array(place));
            let voxel = voxel.to_array().map(|v| v.round() as usize);
            found.data()[target.index(voxel)]
        };
        let ventricle = at([20.0 + 0.22 * 76.0, -10.0, 30.0]);
        let front = at([20.0, -10.0 + 0.37 * 76.0, 30.0]);
        assert!(front - ventricle > 12.0, "{name}: {ventricle} {front}");
    }
}

#[test]
fn a_grid_past_the_ends_is_refused() {
    let scan = Scan::plan(&small(), &helix(1.0, 100.0), &grid(20, 4.0, 0.0, 2.0, 10));
    let scan = scan.expect("a scan");
    let longer = grid(20, 4.0, -2.0, 2.0, 10);
    let head = head();
    let rays = PhantomRays::new(&scan, &head);
    let settings = Reconstruction::default();
    let found = reconstruct(&scan, &rays, &settings, &longer, &mut |_| ());
    let message = found.expect_err("past the end").to_string();
    assert!(message.contains("-2.00"), "{message}");
}

/// Neither the slabs nor the threads nor where the projections come from change the image.
#[test]
fn slabs_threads_and_sources_make_no_difference() {
    let target = grid(40, 4.0, 20.0, 1.7, 21);
    let scan = Scan::plan(&small(), &helix(0.9, 100.0), &target).expect("a scan");
    let settings = Reconstruction::default();
    let head = head();
    let whole = image(&scan, &head, &settings, &target);
    for slab in [3, 8, 21] {
        let settings = Reconstruction {
            slab,
            ..settings.clone()
        };
        let mut shares = Vec::new();
        let rays = PhantomRays::new(&scan, &head);
        let found = reconstruct(&scan, &rays, &settings, &target, &mut |share| {
            shares.push(share)
        });
        let found = found.expect("an image");
        for (a, b) in found.data().iter().zip(whole.data()) {
            assert!((a - b).abs() < 0.05, "slabs of {slab}: {a} against {b}");
        }
        assert_eq!(shares.len(), 21usize.div_ceil(slab));
        assert_eq!(shares.last(), Some(&1.0));
    }
    let stored = StoredProjections::collect(&scan, &PhantomRays::new(&scan, &head));
    let stored = stored.expect("projections");
    for threads in [1, 3] {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build();
        let found = pool.expect("threads").install(|| {
            reconstruct(&scan, &stored, &settings, &target, &mut |_| ()).expect("an image")
        });
        assert!(found.data() == whole.data(), "{threads} threads");
    }
}

#[test]
fn what_no_reconstruction_has_is_refused() {
    let of = |text: &str| {
        toml::from_str::<Reconstruction>(text)
            .expect("read")
            .check()
    };
    assert!(of("kernel = \"ramp\"\naperture = 0.9\ninterpolation = \"lagrange\"").is_ok());
    assert!(of("aperture = 1.5").is_err());
    assert!(of("slab = 0").is_err());
    assert!(of("water_mm = -0.1").is_err());
    assert!(of("kernel = { mtf = [[0.0, 1.0]] }").is_err());
    assert!(toml::from_str::<Reconstruction>("kernal = \"ramp\"").is_err());
}
