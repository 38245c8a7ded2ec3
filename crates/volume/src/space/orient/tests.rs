use super::*;
use proptest::prelude::*;

/// Each of the 48 orientations.
fn every() -> Vec<Orientation> {
    let signs = |n: usize| [n & 1 == 1, n & 2 == 2, n & 4 == 4];
    let all = ORDERS.iter().flat_map(|order| {
        (0..8).map(move |n| {
            Orientation([0, 1, 2].map(|i| Direction {
                world_axis: order[i],
                positive: signs(n)[i],
            }))
        })
    });
    all.collect()
}

fn ramp(grid: Grid) -> Labels {
    let data = (0..grid.len()).map(|i| i as u16).collect();
    Labels::new(grid, data).expect("labels")
}

#[test]
fn letters_are_read_and_written() {
    assert_eq!(every().len(), 48);
    for orientation in every() {
        assert_eq!(
            orientation
                .to_string()
                .parse::<Orientation>()
                .expect("letters"),
            orientation
        );
    }
    assert_eq!(
        "lps".parse::<Orientation>().expect("letters"),
        Orientation::LPS
    );
    for bad in ["", "RA", "RASL", "RRS", "RAX", "ЯAS"] {
        assert!(bad.parse::<Orientation>().is_err(), "{bad}");
    }
    let json = serde_json::to_string(&Orientation::RAS).expect("text");
    assert_eq!(json, "\"RAS\"");
    assert_eq!(
        serde_json::from_str::<Orientation>(&json).expect("letters"),
        Orientation::RAS
    );
}

#[test]
fn the_orientation_is_that_of_the_columns() {
    // x runs towards P, y towards S, z towards R.
    let m = DMat4::from_cols_array_2d(&[
        [0.0, -2.0, 0.1, 0.0],
        [0.0, 0.1, 2.0, 0.0],
        [3.0, 0.0, 0.0, 0.0],
        [0.0, 0.0, 0.0, 1.0],
    ]);
    let grid = Grid::new([1, 1, 1], m).expect("a grid");
    assert_eq!(Orientation::of(&grid).to_string(), "PSR");
}

#[test]
fn turning_by_hand() {
    let labels = ramp(Grid::with_spacing([3, 2, 1], [1.0; 3]).expect("a grid"));
    let turned = reorient_labels(&labels, "PRS".parse().expect("letters"));
    assert_eq!(turned.grid().shape(), [2, 3, 1]);
    // 0 1 2     3 0
    // 3 4 5 ->  4 1
    //           5 2
    assert_eq!(turned.data(), [3, 0, 4, 1, 5, 2]);
    assert_eq!(turned.grid().world([0.0, 0.0, 0.0]), [0.0, 1.0, 0.0]);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn every_turn_keeps_places_and_comes_back(
        shape in prop::array::uniform3(1usize..20),
        axis in prop::array::uniform3(-1.0f64..1.0),
        angle in -3.0f64..3.0,
        sizes in prop::array::uniform3(0.3f64..4.0),
        pick in 0usize..48,
    ) {
        let axis = DVec3::from_array(axis);
        prop_assume!(axis.length() > 0.1);
        let m = DMat4::from_translation(DVec3::new(9.0, -50.0, 3.0))
            * DMat4::from_axis_angle(axis.normalize(), angle)
            * DMat4::from_scale(DVec3::from_array(sizes));
        let labels = ramp(Grid::new(shape, m).expect("a grid"));
        let to = every()[pick];
        let turned = reorient_labels(&labels, to);
        prop_assert_eq!(Orientation::of(turned.grid()), to);
        prop_assert_eq!(turned.grid(), &reoriented_grid(labels.grid(), to));

        // Each voxel's value is its place in the source, so its world position is known.
        let [nx, ny, nz] = turned.grid().shape();
        for z in 0..nz {
            for y in 0..ny {
                for x in 0..nx {
                    let i = usize::from(turned.data()[turned.grid().index([x, y, z])]);
                    let [sx, sy, _] = shape;
                    let old = [i % sx, i / sx % sy, i / (sx * sy)].map(|v| v as f64);
                    let new = [x, y, z].map(|v| v as f64);
                    let there = DVec3::from_array(turned.grid().world(new));
                    let here = DVec3::from_array(labels.grid().world(old));
                    prop_assert!(there.distance(here) < 1e-9);
                }
            }
        }

        let back = reorient_labels(&turned, Orientation::of(labels.grid()));
        prop_assert_eq!(back.data(), labels.data());
        prop_assert!(back.grid().matches(labels.grid(), 1e-9));

        let data = labels.data().iter().map(|&v| f32::from(v)).collect();
        let image = Image::new(labels.grid().clone(), data).expect("an image");
        let image = reorient_image(&image, to);
        prop_assert!(image.data().iter().zip(turned.data()).all(|(&a, &b)| a == f32::from(b)));
    }
}
