use super::*;
use crate::rng::Rng;
use crate::space::{grid_with_shape, resample_image, resample_labels_linear};
use glam::{DMat4, DVec3};
use proptest::prelude::*;

const CUBIC: [Interpolation; 3] = [Interpolation::Cubic; 3];
const LINEAR: [Interpolation; 3] = [Interpolation::Linear; 3];

fn oblique(shape: [usize; 3], spacing: [f64; 3]) -> Grid {
    let m = DMat4::from_translation(DVec3::new(-80.0, 40.0, 11.0))
        * DMat4::from_axis_angle(DVec3::new(0.3, -0.2, 0.9).normalize(), 0.7)
        * DMat4::from_scale(DVec3::from_array(spacing));
    Grid::new(shape, m).expect("a grid")
}

fn image_of(grid: &Grid, f: impl Fn([f64; 3]) -> f64) -> Image {
    let [nx, ny, _] = grid.shape();
    let voxel = |i: usize| [i % nx, i / nx % ny, i / (nx * ny)].map(|v| v as f64);
    let data = (0..grid.len()).map(|i| f(grid.world(voxel(i))) as f32);
    Image::new(grid.clone(), data.collect()).expect("an image")
}

fn noise(grid: Grid, seed: u64) -> Image {
    let mut rng = Rng::new(seed, 0, 0);
    let data = (0..grid.len()).map(|_| rng.normal()).collect();
    Image::new(grid, data).expect("an image")
}

fn few_labels(grid: Grid, seed: u64) -> Labels {
    let mut rng = Rng::new(seed, 1, 0);
    let data = (0..grid.len()).map(|_| [0, 3, 7, 900][rng.below(4)]);
    Labels::new(grid.clone(), data.collect()).expect("labels")
}

fn worst(a: &Image, b: &Image) -> f32 {
    let pairs = a.data().iter().zip(b.data());
    pairs.map(|(a, b)| (a - b).abs()).fold(0.0, f32::max)
}

#[test]
fn thick_axes_are_taken_apart() {
    let by = |source: [f64; 3], target: [f64; 3]| {
        let [source, target] =
            [source, target].map(|s| Grid::with_spacing([4; 3], s).expect("a grid"));
        aligned_interpolation(&source, &target, Interpolation::Cubic).map(|i| {
            if i == Interpolation::Nearest {
                'n'
            } else {
                'c'
            }
        })
    };
    assert_eq!(by([1.0, 1.0, 3.0], [1.0; 3]), ['c', 'c', 'c']);
    assert_eq!(by([1.0, 1.0, 3.1], [1.0; 3]), ['c', 'c', 'n']);
    assert_eq!(by([1.0; 3], [5.0, 1.0, 1.0]), ['n', 'c', 'c']);
    assert_eq!(by([1.0, 4.0, 1.0], [5.0, 1.0, 1.0]), ['c', 'n', 'c']);
    assert_eq!(by([0.24, 1.25, 1.25], [1.0; 3]), ['c', 'c', 'c']);
}

#[test]
fn its_own_grid_changes_nothing() {
    let image = noise(oblique([9, 8, 7], [0.7, 1.3, 2.0]), 1);
    let grid = image.grid().clone();
    let same = resample_aligned(image.clone(), &grid, LINEAR).expect("parallel");
    assert_eq!(same.data(), image.data());
    let near = resample_aligned(image.clone(), &grid, CUBIC).expect("parallel");
    assert!(worst(&near, &image) < 3e-6);
}

#[test]
fn axes_that_are_not_parallel_are_refused() {
    let grid = oblique([9, 8, 7], [1.0; 3]);
    let m = grid.world_from_voxel();
    let turned = Grid::new([9, 8, 7], m * DMat4::from_rotation_z(0.01)).expect("a grid");
    let image = noise(grid.clone(), 1);
    assert!(resample_aligned(image, &turned, LINEAR).is_err());
    let labels = few_labels(grid.clone(), 1);
    assert!(resample_labels_aligned(&labels, &turned, LINEAR).is_err());
    assert!(resample_labels_aligned(&labels, &grid, CUBIC).is_err());
}

/// A smooth image survives a finer grid and back, and cubic is better at it than linear.
#[test]
fn finer_and_back() {
    let grid = oblique([24, 20, 16], [1.0, 1.2, 1.5]);
    let smooth = |[x, y, z]: [f64; 3]| (x / 3.0).sin() + (y / 4.0).cos() + (z / 5.0).sin();
    let image = image_of(&grid, smooth);
    let fine = grid_with_shape(&grid, [53, 37, 41]).expect("a grid");
    let error = |by: [Interpolation; 3]| {
        let there = resample_aligned(image.clone(), &fine, by).expect("parallel");
        let back = resample_aligned(there, &grid, by).expect("parallel");
        let [nx, ny, nz] = grid.shape();
        let mut worst = 0.0f32;
        for (z, y, x) in (4..nz - 4)
            .flat_map(|z| (4..ny - 4).flat_map(move |y| (4..nx - 4).map(move |x| (z, y, x))))
        {
            let i = grid.index([x, y, z]);
            worst = worst.max((back.data()[i] - image.data()[i]).abs());
        }
        worst
    };
    let (cubic, linear) = (error(CUBIC), error(LINEAR));
    assert!(cubic < 2e-3 && cubic < linear / 10.0, "{cubic} {linear}");
}

#[test]
fn cubic_is_clipped_to_the_image() {
    let grid = Grid::with_spacing([16, 1, 1], [1.0; 3]).expect("a grid");
    let step = (0..16).map(|x| if x < 8 { 0.0 } else { 1.0 }).collect();
    let image = Image::new(grid.clone(), step).expect("an image");
    let fine = grid_with_shape(&grid, [64, 1, 1]).expect("a grid");
    let found = resample_aligned(image, &fine, CUBIC).expect("parallel");
    assert!(found.data().iter().all(|v| (0.0..=1.0).contains(v)));
}

/// `skimage.transform.resize(order=3, mode="edge", anti_aliasing=False)`, nnU-Net's, from
/// `testdata/resize.py`.
#[test]
fn as_scikit_image() {
    #[derive(serde::Deserialize)]
    struct Case {
        shape: [usize; 3],
        to: [usize; 3],
        order: usize,
        source: Vec<f32>,
        expected: Vec<f32>,
    }
    let cases: Vec<Case> =
        serde_json::from_str(include_str!("../../../testdata/resize.json")).expect("cases");
    assert!(cases.len() >= 6);
    for case in cases {
        let grid = Grid::with_spacing(case.shape, [1.0, 1.0, 1.0]).expect("a grid");
        let target = grid_with_shape(&grid, case.to).expect("a grid");
        let by = if case.order == 3 { CUBIC } else { LINEAR };
        let image = Image::new(grid, case.source).expect("an image");
        let found = resample_aligned(image, &target, by).expect("parallel");
        let expected = Image::new(target, case.expected).expect("an image");
        let error = worst(&found, &expected);
        assert!(error < 5e-6, "{:?} to {:?}: {error}", case.shape, case.to);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 32, ..ProptestConfig::default() })]

    #[test]
    fn a_ramp_of_the_world_is_exact_inside(
        shape in prop::array::uniform3(14usize..20),
        ratio in prop::array::uniform3(0.4f64..1.7),
        slope in prop::array::uniform3(-1.0f64..1.0),
        cubic in any::<bool>(),
    ) {
        let ramp = |p: [f64; 3]| (0..3).map(|a| slope[a] * p[a]).sum::<f64>();
        let source = oblique(shape, [0.8, 1.0, 1.7]);
        let image = image_of(&source, ramp);
        // A ramp that is held at the ends bends there; what a spline feels of it decays by the pole.
        let margin = if cubic { 5.0 } else { 0.0 };
        let count = [0, 1, 2]
            .map(|a| ((shape[a] as f64 - 1.0 - 2.0 * margin) / ratio[a]) as usize + 1);
        let m = source.world_from_voxel()
            * DMat4::from_translation(DVec3::splat(margin))
            * DMat4::from_scale(DVec3::from_array(ratio));
        let target = Grid::new(count, m).expect("a grid");
        let by = if cubic { CUBIC } else { LINEAR };
        let found = resample_aligned(image, &target, by).expect("parallel");
        let tolerance = if cubic { 3e-2 } else { 1e-4 };
        prop_assert!(worst(&found, &image_of(&target, ramp)) < tolerance);
    }

    /// Against the sampling through the affines, one voxel at a time.
    #[test]
    fn as_through_the_affines(
        seed in any::<u64>(),
        shape in prop::array::uniform3(1usize..9),
        to in prop::array::uniform3(1usize..12),
        pick in 0usize..3,
    ) {
        let source = oblique(shape, [0.8, 1.0, 1.7]);
        let target = grid_with_shape(&source, to).expect("a grid");
        let by = [Interpolation::Nearest, Interpolation::Linear, Interpolation::Cubic][pick];
        let image = noise(source.clone(), seed);
        let slow = resample_image(&image, &target, by, f32::NAN);
        let fast = resample_aligned(image.clone(), &target, [by; 3]).expect("parallel");
        let [low, high] = [f32::min, f32::max].map(|f| {
            image.data().iter().copied().reduce(f).expect("a sample")
        });
        for (a, b) in fast.data().iter().zip(slow.data()) {
            prop_assert!((a - b.clamp(low, high)).abs() < 2e-5, "{} {}", a, b);
        }
    }

    #[test]
    fn labels_as_through_the_affines(
        seed in any::<u64>(),
        shape in prop::array::uniform3(1usize..9),
        to in prop::array::uniform3(1usize..12),
    ) {
        let source = oblique(shape, [0.8, 1.0, 1.7]);
        let target = grid_with_shape(&source, to).expect("a grid");
        let labels = few_labels(source, seed);
        let fast = resample_labels_aligned(&labels, &target, LINEAR).expect("parallel");
        let slow = resample_labels_linear(&labels, &target);
        prop_assert_eq!(fast, slow);
    }
}
