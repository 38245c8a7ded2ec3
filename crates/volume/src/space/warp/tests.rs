use super::*;
use crate::rng::Rng;
use proptest::prelude::*;

fn whole(shape: [usize; 3]) -> Frame {
    Frame {
        start: [0; 3],
        shape,
    }
}

fn noise(shape: [usize; 3], seed: u64) -> Vec<f32> {
    let mut rng = Rng::new(seed, 0, 0);
    (0..shape.iter().product()).map(|_| rng.normal()).collect()
}

/// `f` of each voxel's (x, y, z).
fn field(shape: [usize; 3], f: impl Fn([f64; 3]) -> f64) -> Vec<f32> {
    let [nx, ny, _] = shape;
    (0..shape.iter().product())
        .map(|i: usize| f([i % nx, i / nx % ny, i / (nx * ny)].map(|v| v as f64)) as f32)
        .collect()
}

fn image(warp: &Warp, data: &[f32], frame: Frame, by: Interpolation, outside: f32) -> Vec<f32> {
    let block = Block::new(data, frame).expect("a block");
    let mut out = vec![f32::NAN; warp.patch.shape.iter().product()];
    warp.image(&block, by, outside, &mut out);
    out
}

const EACH: [Interpolation; 3] = [
    Interpolation::Nearest,
    Interpolation::Linear,
    Interpolation::Cubic,
];

#[test]
fn without_a_deformation_it_is_a_crop() {
    let shape = [9, 8, 7];
    let data = noise(shape, 1);
    let patch = Patch {
        centre: [0.0, 4.5, 3.0],
        shape: [5, 4, 3],
    };
    let warp = Warp::new(&Deformation::default(), patch);
    for by in EACH {
        let found = image(&warp, &data, whole(shape), by, 9.0);
        for (i, &v) in found.iter().enumerate() {
            let [x, y, z] = [i % 5, i / 5 % 4 + 3, i / 20 + 2];
            let expected = match x.checked_sub(2) {
                Some(x) => data[x + 9 * (y + 8 * z)],
                None => 9.0,
            };
            assert_eq!(v, expected, "{by:?} {i}");
        }
    }
}

/// Sampling a ramp by linear, and a quadratic by Keys' kernel, gives the position itself.
#[test]
fn positions_are_those_of_the_matrix_and_the_spline() {
    let shape = [60, 50, 40];
    let mut rng = Rng::new(3, 0, 0);
    let spacing = [1.0, 0.8, 2.5];
    let displacement = Displacement::draw(&mut rng, [4, 5, 3], [2.0, 1.5, 0.5]).expect("drawn");
    let deformation = Deformation::new(
        [0.1, -0.2, 0.5],
        [1.2, 0.9, 1.1],
        [0.1, 0.0, -0.05],
        spacing,
    )
    .bent(displacement.clone());
    let patch = Patch {
        centre: [29.3, 25.1, 20.4],
        shape: [16, 13, 9],
    };
    let warp = Warp::new(&deformation, patch);

    // Each component of the bend, by the resampling of a lattice as an image.
    let bend = [0, 1, 2].map(|component| {
        let taps = [0, 1, 2].map(|axis| {
            let (from, to) = (displacement.shape[axis], patch.shape[axis]);
            let step = (from - 1) as f64 / (to - 1) as f64;
            Taps::interpolating(from, (0..to).map(|i| i as f64 * step), Interpolation::Cubic)
        });
        let mut shape = displacement.shape;
        let mut data = displacement.along(component);
        for axis in 0..3 {
            data = taps[axis].apply(data, shape, axis);
            shape[axis] = patch.shape[axis];
        }
        data
    });
    for axis in 0..3 {
        let ramp = field(shape, |p| p[axis]);
        let square = field(shape, |p| 0.02 * p[axis] * p[axis]);
        let linear = image(&warp, &ramp, whole(shape), Interpolation::Linear, f32::NAN);
        let cubic = image(&warp, &square, whole(shape), Interpolation::Cubic, f32::NAN);
        for i in 0..linear.len() {
            let at = [i % 16, i / 16 % 13, i / (16 * 13)];
            let offset = DVec3::from_array(
                [0, 1, 2].map(|a| (at[a] as f64 - (patch.shape[a] - 1) as f64 / 2.0) * spacing[a]),
            );
            // In millimetres: made smaller, sheared, turned about x, y and z.
            let [x, y, z] = [offset.x / 1.2, offset.y / 0.9, offset.z / 1.1];
            let sheared = DVec3::new(x + 0.1 * y, y - 0.05 * z, z);
            let turned = DMat3::from_rotation_z(0.5)
                * (DMat3::from_rotation_y(-0.2) * (DMat3::from_rotation_x(0.1) * sheared));
            let expected =
                patch.centre[axis] + turned[axis] / spacing[axis] + f64::from(bend[axis][i]);
            assert!(
                (f64::from(linear[i]) - expected).abs() < 1e-4,
                "{axis} {at:?}"
            );
            let root = 0.02 * expected * expected;
            assert!((f64::from(cubic[i]) - root).abs() < 1e-3, "{axis} {at:?}");
        }
    }
}

#[test]
fn a_deformation_is_read_from_a_file() {
    let mut rng = Rng::new(3, 0, 0);
    let drawn = Displacement::draw(&mut rng, [2, 3, 2], [1.0; 3]).expect("drawn");
    let deformation = Deformation::new([0.1; 3], [1.1; 3], [0.0; 3], [1.0; 3]).bent(drawn);
    let text = serde_json::to_string(&deformation).expect("written");
    let read: Deformation = serde_json::from_str(&text).expect("read");
    assert_eq!(read.displacement, deformation.displacement);
    // Text keeps a number but for its last bit.
    assert!(read.matrix.abs_diff_eq(deformation.matrix, 1e-15));
    assert!(serde_json::from_str::<Deformation>(&text.replace("[2,3,2]", "[2,3,3]")).is_err());
    assert!(Displacement::new([0, 1, 1], vec![]).is_err());
}

#[test]
fn a_block_has_as_many_samples_as_its_frame() {
    assert!(Block::new(&[0.0f32; 7], whole([2, 2, 2])).is_err());
    assert!(Block::new(&[0u16; 8], whole([2, 2, 2])).is_ok());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    /// Reading only the frame gives what the whole volume does, and labels go where images go.
    #[test]
    fn the_frame_is_all_that_is_needed(
        seed in any::<u64>(),
        centre in prop::array::uniform3(-3.0f64..20.0),
        size in prop::array::uniform3(1usize..9),
        angle in prop::array::uniform3(-3.0f64..3.0),
        scale in prop::array::uniform3(0.6f64..1.6),
        pick in 0usize..3,
    ) {
        let shape = [17, 14, 11];
        let data = noise(shape, seed);
        let mut rng = Rng::new(seed, 1, 0);
        let bend = Displacement::draw(&mut rng, [3, 2, 4], [1.0; 3]).expect("drawn");
        let deformation = Deformation::new(angle, scale, [0.1; 3], [1.0, 1.0, 2.0]).bent(bend);
        let warp = Warp::new(&deformation, Patch { centre, shape: size });
        let by = EACH[pick];
        let expected = image(&warp, &data, whole(shape), by, 0.25);

        let grid = crate::Grid::with_spacing(shape, [1.0; 3]).expect("a grid");
        let cut = super::super::Cut::new(&grid, warp.frame()).expect("a cut");
        let volume = crate::Image::new(grid, data).expect("an image");
        let part = cut.image(&volume, 0.25);
        let found = image(&warp, part.data(), warp.frame(), by, f32::NAN);
        for (a, b) in found.iter().zip(&expected) {
            prop_assert!((a - b).abs() < 1e-4 || by == Interpolation::Nearest, "{} {}", a, b);
        }

        let coded: Vec<u16> = (1..=volume.data().len() as u16).collect();
        let block = Block::new(&coded, whole(shape)).expect("a block");
        let mut labels = vec![0; expected.len()];
        warp.labels(&block, 0, &mut labels);
        let nearest = image(&warp, volume.data(), whole(shape), Interpolation::Nearest, 0.25);
        for (&label, &v) in labels.iter().zip(&nearest) {
            let same = match usize::from(label).checked_sub(1) {
                Some(i) => volume.data()[i],
                None => 0.25,
            };
            prop_assert_eq!(same, v);
        }
    }

    /// Near the border the value is that of a volume padded with the outside.
    #[test]
    fn the_border_is_padded(
        seed in any::<u64>(),
        p in prop::array::uniform3(-7.0f64..12.0),
        pick in 0usize..3,
    ) {
        let shape = [5, 4, 3];
        let grid = crate::Grid::with_spacing(shape, [1.0; 3]).expect("a grid");
        let volume = crate::Image::new(grid.clone(), noise(shape, seed)).expect("an image");
        let padded = whole(shape).grown([16; 3]);
        let cut = super::super::Cut::new(&grid, padded).expect("a cut").image(&volume, 0.5);
        let warp = Warp::new(&Deformation::default(), Patch { centre: p, shape: [1; 3] });
        let found = image(&warp, volume.data(), whole(shape), EACH[pick], 0.5)[0];
        let expected = image(&warp, cut.data(), padded, EACH[pick], f32::NAN)[0];
        prop_assert!((found - expected).abs() < 1e-4, "{} {}", found, expected);
    }
}
