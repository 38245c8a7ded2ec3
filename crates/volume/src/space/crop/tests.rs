use super::*;
use crate::rng::Rng;
use proptest::prelude::*;

fn volume(shape: [usize; 3]) -> Labels {
    let m = DMat4::from_translation(DVec3::new(9.0, -50.0, 3.0))
        * DMat4::from_rotation_y(0.4)
        * DMat4::from_scale(DVec3::new(0.7, -1.1, 3.0));
    let grid = Grid::new(shape, m).expect("a grid");
    let data = (1..=grid.len()).map(|i| i as u16).collect();
    Labels::new(grid, data).expect("labels")
}

#[test]
fn frames_grow_and_are_kept_inside() {
    let grid = Grid::with_spacing([10, 10, 4], [1.0; 3]).expect("a grid");
    let frame = Frame {
        start: [2, 8, -1],
        shape: [3, 2, 3],
    };
    let grown = frame.grown([1, 1, 0]).at_least([6, 1, 6]);
    assert_eq!((grown.start, grown.shape), ([1, 7, -2], [6, 4, 6]));
    let inside = grown.within(&grid).expect("overlap");
    assert_eq!((inside.start, inside.shape), ([1, 7, 0], [6, 3, 4]));
    let beside = Frame {
        start: [10, 0, 0],
        shape: [3; 3],
    };
    assert_eq!(beside.within(&grid), None);
    assert_eq!(Frame::whole(&grid).within(&grid), Some(Frame::whole(&grid)));
}

#[test]
fn nothing_has_no_frame() {
    let grid = Grid::with_spacing([3, 3, 3], [1.0; 3]).expect("a grid");
    let mut image = Image::new(grid.clone(), vec![0.0; 27]).expect("an image");
    image.data_mut()[5] = f32::NAN;
    assert_eq!(Frame::of_nonzero(&[&image]), None);
    assert_eq!(Frame::of_nonzero(&[]), None);
    let mut other = image.clone();
    image.data_mut()[4] = -1.0;
    other.data_mut()[25] = 1.0;
    let both = Frame::of_nonzero(&[&image, &other]).expect("something");
    assert_eq!((both.start, both.shape), ([1, 1, 0], [1, 2, 3]));
}

#[test]
fn a_cut_is_read_from_a_file() {
    let grid = Grid::with_spacing([3, 4, 5], [1.0; 3]).expect("a grid");
    let frame = Frame {
        start: [-1, 0, 2],
        shape: [2, 2, 9],
    };
    let cut = Cut::new(&grid, frame).expect("a cut");
    let text = serde_json::to_string(&cut).expect("written");
    assert_eq!(serde_json::from_str::<Cut>(&text).expect("read"), cut);
    let empty = text.replace("[2,2,9]", "[2,0,9]");
    assert!(serde_json::from_str::<Cut>(&empty).is_err());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn every_voxel_keeps_its_place_and_comes_back(
        shape in prop::array::uniform3(1usize..9),
        start in prop::array::uniform3(-5i64..10),
        size in prop::array::uniform3(1usize..12),
    ) {
        let labels = volume(shape);
        let frame = Frame { start, shape: size };
        let cut = Cut::new(labels.grid(), frame).expect("a cut");
        let found = cut.labels(&labels, 0);
        let mut seen = 0;
        for (i, &label) in found.data().iter().enumerate() {
            let at = [i % size[0], i / size[0] % size[1], i / (size[0] * size[1])];
            let old = [0, 1, 2].map(|a| at[a] as i64 + start[a]);
            let inside = (0..3).all(|a| (0..shape[a] as i64).contains(&old[a]));
            if inside {
                seen += 1;
                let index = labels.grid().index(old.map(|v| v as usize));
                prop_assert_eq!(label, labels.data()[index]);
            } else {
                prop_assert_eq!(label, 0);
            }
            let here = DVec3::from(found.grid().world(at.map(|v| v as f64)));
            let there = DVec3::from(labels.grid().world(old.map(|v| v as f64)));
            prop_assert!(here.distance(there) < 1e-9);
        }
        let back = cut.undo_labels(&found, 0);
        prop_assert_eq!(back.grid(), labels.grid());
        let kept = back.data().iter().filter(|v| **v != 0).count();
        prop_assert_eq!(kept, seen);
        prop_assert!(back.data().iter().zip(labels.data()).all(|(b, l)| *b == 0 || b == l));
        let overlap = frame.within(labels.grid()).map_or(0, |f| f.shape.iter().product());
        prop_assert_eq!(seen, overlap);
    }

    #[test]
    fn the_frame_is_the_least_that_holds_all(
        seed in any::<u64>(),
        shape in prop::array::uniform3(1usize..9),
        points in 1usize..5,
    ) {
        let mut labels = volume(shape);
        labels.data_mut().fill(0);
        let mut rng = Rng::new(seed, 0, 0);
        let at: Vec<[usize; 3]> = (0..points).map(|_| shape.map(|n| rng.below(n))).collect();
        for &p in &at {
            let index = labels.grid().index(p);
            labels.data_mut()[index] = 7;
        }
        let frame = Frame::of_foreground(&labels).expect("a point");
        for axis in 0..3 {
            let places = at.iter().map(|p| p[axis]);
            let (low, high) = (places.clone().min().expect("one"), places.max().expect("one"));
            prop_assert_eq!(frame.start[axis], low as i64);
            prop_assert_eq!(frame.shape[axis], high - low + 1);
        }
    }
}
