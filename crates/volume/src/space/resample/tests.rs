use super::*;
use crate::rng::Rng;
use proptest::prelude::*;

fn oblique(shape: [usize; 3]) -> Grid {
    let m = DMat4::from_translation(DVec3::new(-80.0, 40.0, 11.0))
        * DMat4::from_axis_angle(DVec3::new(0.3, -0.2, 0.9).normalize(), 0.7)
        * DMat4::from_scale(DVec3::new(-0.7, 1.3, 2.1));
    Grid::new(shape, m).expect("a grid")
}

fn noise(grid: Grid, seed: u64) -> Image {
    let mut rng = Rng::new(seed, 0, 0);
    let data = (0..grid.len()).map(|_| rng.normal()).collect();
    Image::new(grid, data).expect("an image")
}

fn few_labels(grid: Grid, seed: u64) -> Labels {
    let mut rng = Rng::new(seed, 1, 0);
    let data = (0..grid.len())
        .map(|_| [0, 3, 7, 900][rng.below(4)])
        .collect();
    Labels::new(grid, data).expect("labels")
}

#[test]
fn its_own_grid_changes_nothing() {
    let mut image = noise(oblique([7, 6, 5]), 1);
    image.data_mut()[17] = f32::INFINITY;
    image.data_mut()[40] = -0.0;
    for interpolation in [Interpolation::Nearest, Interpolation::Linear] {
        assert_eq!(
            resample_image(&image, image.grid(), interpolation, 9.0),
            image
        );
    }
    let labels = few_labels(oblique([7, 6, 5]), 1);
    assert_eq!(resample_labels_nearest(&labels, labels.grid()), labels);
    assert_eq!(resample_labels_linear(&labels, labels.grid()), labels);
}

#[test]
fn linear_reproduces_a_ramp_of_the_world() {
    let ramp = |grid: &Grid| -> Vec<f32> {
        let [nx, ny, nz] = grid.shape();
        let at = |x: usize, y: usize, z: usize| {
            let [a, b, c] = grid.world([x as f64, y as f64, z as f64]);
            (5.0 + 0.5 * a - 0.25 * b + 2.0 * c) as f32
        };
        (0..nz)
            .flat_map(|z| (0..ny).flat_map(move |y| (0..nx).map(move |x| (x, y, z))))
            .map(|(x, y, z)| at(x, y, z))
            .collect()
    };
    let source = oblique([20, 20, 12]);
    let image = Image::new(source.clone(), ramp(&source)).expect("an image");
    // Wholly inside: from the source's voxel (4, 5, 3) on, turned a little.
    let m = source.world_from_voxel()
        * DMat4::from_translation(DVec3::new(5.0, 5.0, 3.0))
        * DMat4::from_rotation_z(0.1)
        * DMat4::from_scale(DVec3::splat(0.43));
    let target = Grid::new([15, 15, 15], m).expect("a grid");
    let found = resample_image(&image, &target, Interpolation::Linear, f32::NAN);
    for (found, expected) in found.data().iter().zip(ramp(&target)) {
        assert!((found - expected).abs() < 2e-5, "{found} {expected}");
    }
}

#[test]
fn edges_are_held_for_half_a_voxel() {
    let grid = Grid::with_spacing([2, 1, 1], [1.0; 3]).expect("a grid");
    let image = Image::new(grid, vec![10.0, 20.0]).expect("an image");
    let m = DMat4::from_translation(DVec3::new(-0.75, 0.5, -0.5))
        * DMat4::from_scale(DVec3::new(0.25, 1.0, 1.0));
    let target = Grid::new([11, 1, 1], m).expect("a grid");
    let linear = resample_image(&image, &target, Interpolation::Linear, -1.0);
    let expected = [
        -1.0, 10.0, 10.0, 10.0, 12.5, 15.0, 17.5, 20.0, 20.0, 20.0, -1.0,
    ];
    assert_eq!(linear.data(), expected);
    let nearest = resample_image(&image, &target, Interpolation::Nearest, -1.0);
    let expected = [
        -1.0, 10.0, 10.0, 10.0, 10.0, 20.0, 20.0, 20.0, 20.0, 20.0, -1.0,
    ];
    assert_eq!(nearest.data(), expected);
}

#[test]
fn ties_go_to_the_lower_label() {
    let grid = Grid::with_spacing([2, 1, 1], [1.0; 3]).expect("a grid");
    let target = Grid::new(
        [1, 1, 1],
        DMat4::from_translation(DVec3::new(0.5, 0.0, 0.0)),
    );
    let target = target.expect("a grid");
    for data in [vec![5, 2], vec![2, 5]] {
        let labels = Labels::new(grid.clone(), data).expect("labels");
        assert_eq!(resample_labels_linear(&labels, &target).data(), [2]);
    }
}

#[test]
fn a_spacing_keeps_the_field_of_view() {
    let grid = oblique([10, 11, 12]);
    let [a, b, c] = grid.spacing_mm();
    assert!(
        grid_with_spacing(&grid, [a, b, c])
            .expect("a grid")
            .matches(&grid, 1e-9)
    );
    let finer = grid_with_spacing(&grid, [a / 2.0, b * 3.0, c * 100.0]).expect("a grid");
    assert_eq!(finer.shape(), [20, 4, 1]);
    let near = |p: [f64; 3], q: [f64; 3]| DVec3::from(p).distance(DVec3::from(q)) < 1e-9;
    assert!(near(finer.world([-0.5; 3]), grid.world([-0.5; 3])));
    assert!(near(
        finer.world([19.5, -0.5, -0.5]),
        grid.world([9.5, -0.5, -0.5])
    ));
    assert!((finer.spacing_mm()[1] - 3.0 * b).abs() < 1e-9);
    for bad in [0.0, -1.0, f64::NAN, f64::INFINITY, 1e-9] {
        assert!(grid_with_spacing(&grid, [1.0, bad, 1.0]).is_err(), "{bad}");
    }
}

/// Halving the spacing and coming back by nearest neighbour loses nothing.
#[test]
fn finer_and_back() {
    let labels = few_labels(oblique([5, 6, 7]), 3);
    let spacing = labels.grid().spacing_mm().map(|s| s / 3.0);
    let fine = grid_with_spacing(labels.grid(), spacing).expect("a grid");
    let there = resample_labels_nearest(&labels, &fine);
    assert_eq!(resample_labels_nearest(&there, labels.grid()), labels);
}

/// Each label's indicator as an image, interpolated by the image code, then the largest.
fn by_indicators(labels: &Labels, target: &Grid) -> Vec<u16> {
    let values: Vec<u16> = labels.counts().into_keys().collect();
    let shares: Vec<Image> = values
        .iter()
        .map(|&value| {
            let one = labels
                .data()
                .iter()
                .map(|&l| if l == value { 1.0 } else { 0.0 });
            let indicator = Image::new(labels.grid().clone(), one.collect()).expect("an image");
            resample_image(&indicator, target, Interpolation::Linear, 0.0)
        })
        .collect();
    (0..target.len())
        .map(|i| {
            let mut best = (0, 0.0);
            for (share, &value) in shares.iter().zip(&values) {
                if share.data()[i] > best.1 + 1e-6 {
                    best = (value, share.data()[i]);
                }
            }
            best.0
        })
        .collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 32, ..ProptestConfig::default() })]

    #[test]
    fn largest_share_is_that_of_the_indicators(
        seed in any::<u64>(),
        shape in prop::array::uniform3(1usize..7),
        shift in prop::array::uniform3(-2.0f64..2.0),
        angle in -0.5f64..0.5,
        scale in 0.3f64..1.5,
    ) {
        let labels = few_labels(oblique(shape), seed);
        let m = labels.grid().world_from_voxel()
            * DMat4::from_translation(DVec3::from_array(shift))
            * DMat4::from_rotation_y(angle)
            * DMat4::from_scale(DVec3::splat(scale));
        let target = Grid::new([6, 7, 5], m).expect("a grid");
        let found = resample_labels_linear(&labels, &target);
        prop_assert_eq!(found.data(), by_indicators(&labels, &target));
    }

    /// Against the trilinear sum of 8 weighted corners, one point at a time.
    #[test]
    fn linear_is_the_weighted_sum_of_corners(
        seed in any::<u64>(),
        p in prop::array::uniform3(0.0f64..3.0),
    ) {
        let image = noise(Grid::with_spacing([4, 4, 4], [1.0; 3]).expect("a grid"), seed);
        let target = Grid::new([1, 1, 1], DMat4::from_translation(DVec3::from_array(p)));
        let target = target.expect("a grid");
        let mut expected = 0.0;
        for (i, &v) in image.data().iter().enumerate() {
            let voxel = [i % 4, i / 4 % 4, i / 16].map(|v| v as f64);
            let weight: f64 = (0..3).map(|a| (1.0 - (p[a] - voxel[a]).abs()).max(0.0)).product();
            expected += weight * f64::from(v);
        }
        let found = resample_image(&image, &target, Interpolation::Linear, 0.0).data()[0];
        prop_assert!((f64::from(found) - expected).abs() < 1e-5);
    }
}
