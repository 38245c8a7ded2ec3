use crossmod_volume::space::{Interpolation, resample_image};

use super::*;
use crate::steps::trial;

const SHAPE: [usize; 3] = [48, 40, 36];

/// Two organs, one inside the other, in the middle, and a scan that shows where each voxel was.
fn scene() -> Scene {
    let mut scene = trial::scene(SHAPE, [1.0, 1.25, 1.5], |p| {
        let from = |a: usize| (p[a] as f64 - (SHAPE[a] - 1) as f64 / 2.0) / SHAPE[a] as f64;
        let square: f64 = (0..3).map(|a| from(a).powi(2)).sum();
        if square < 0.02 {
            2
        } else {
            u16::from(square < 0.09)
        }
    });
    scene.scan = Some(trial::image(&scene, |[x, y, z]| (x + 3 * y + 7 * z) as f32));
    scene
}

fn still() -> Spatial {
    Spatial {
        scaling: 0.0,
        rotation_deg: 0.0,
        shearing: 0.0,
        elastic_sd_mm: 0.0,
        ..Spatial::default()
    }
}

fn dice(a: &Labels, b: &Labels, value: u16) -> f64 {
    let count = |f: &dyn Fn(u16, u16) -> bool| {
        a.data()
            .iter()
            .zip(b.data())
            .filter(|&(&a, &b)| f(a, b))
            .count() as f64
    };
    2.0 * count(&|a, b| a == value && b == value)
        / (count(&|a, _| a == value) + count(&|_, b| b == value))
}

#[test]
fn no_ranges_change_nothing() {
    let scene = scene();
    assert_eq!(trial::done(&still(), &scene, 1).1, scene);
}

#[test]
fn affine_part_agrees_with_resampling_through_the_world() {
    let scene = scene();
    let step = Spatial {
        elastic_sd_mm: 0.0,
        translation_mm: 4.0,
        shearing: 0.1,
        ..Spatial::default()
    };
    let (draw, made) = trial::done(&step, &scene, 2);
    // The same grid, moved in the world by the inverse of the matrix.
    let grid = scene.grid();
    let (matrix, centre) = draw.in_voxels(&scene);
    let about = glam::DMat4::from_translation(centre + draw.shift(&scene))
        * glam::DMat4::from_mat3(matrix)
        * glam::DMat4::from_translation(-centre);
    let moved = crossmod_volume::Grid::new(SHAPE, grid.world_from_voxel() * about).expect("a grid");
    let scan = scene.scan.as_ref().expect("a scan");
    let expected = resample_image(scan, &moved, Interpolation::Linear, f32::NAN);
    let found = made.scan.as_ref().expect("a scan");
    let pairs = found
        .data()
        .iter()
        .zip(expected.data())
        .filter(|(_, e)| e.is_finite());
    let errors: Vec<f32> = pairs.map(|(a, b)| (a - b).abs()).collect();
    assert!(errors.len() > 20_000);
    assert!(errors.iter().all(|&e| e < 2e-3));
}

#[test]
fn a_warped_label_map_agrees_with_the_warp_of_its_masks() {
    let scene = scene();
    let step = Spatial {
        elastic_sd_mm: 8.0,
        elastic_scale: 0.1,
        ..Spatial::default()
    };
    let (draw, made) = trial::done(&step, &scene, 3);
    for value in [1, 2] {
        let mut alone = scene.clone();
        let mask: Vec<u16> = scene
            .labels
            .data()
            .iter()
            .map(|&l| u16::from(l == value))
            .collect();
        let as_image = mask.iter().map(|&m| f32::from(m)).collect();
        alone.labels = Labels::new(scene.grid().clone(), mask).expect("a mask");
        alone.image = Some(Image::new(scene.grid().clone(), as_image).expect("an image"));
        draw.apply(&mut alone).expect("warped");
        let same = alone.labels.data().iter().zip(made.labels.data());
        assert!(same.clone().all(|(&m, &l)| (m == 1) == (l == value)));
        // The linear warp of the indicator agrees but on the border.
        let soft = alone
            .image
            .as_ref()
            .expect("an image")
            .data()
            .iter()
            .zip(made.labels.data());
        let off = soft.filter(|&(&s, &l)| (s - f32::from(u8::from(l == value))).abs() > 0.88);
        assert_eq!(off.count(), 0);
    }
    assert!(made.labels != scene.labels);
}

#[test]
fn the_elastic_part_can_be_led_back() {
    let scene = scene();
    let step = Spatial {
        elastic_sd_mm: 6.0,
        elastic_scale: 0.1,
        ..still()
    };
    let (draw, made) = trial::done(&step, &scene, 5);
    let mut back = made.clone();
    let text = serde_json::to_string(&draw).expect("written");
    let mut record: serde_json::Value = serde_json::from_str(&text).expect("read");
    let sd = &mut record["velocities_mm"]["sd"];
    *sd = serde_json::json!(-sd.as_f64().expect("a deviation"));
    let reversed: SpatialDraw = serde_json::from_value(record).expect("a draw");
    reversed.apply(&mut back).expect("led back");
    for value in [1, 2] {
        let (moved, led_back) = (
            dice(&made.labels, &scene.labels, value),
            dice(&back.labels, &scene.labels, value),
        );
        assert!(
            led_back > 0.93 && led_back > moved + 0.02,
            "{value} {moved} {led_back}"
        );
    }
    // The scan tells where voxels come from: in the middle, back to a fraction of a voxel.
    let value = |s: &Scene, p| s.scan.as_ref().expect("a scan").data()[s.grid().index(p)];
    let mut errors: Vec<f32> = trial::voxels(SHAPE)
        .filter(|p| (0..3).all(|a| (10..SHAPE[a] - 10).contains(&p[a])))
        .map(|p| (value(&back, p) - value(&scene, p)).abs())
        .collect();
    errors.sort_by(f32::total_cmp);
    let median = errors[errors.len() / 2];
    // A voxel along z is 7.
    assert!(median < 1.0, "{median}");
}

#[test]
fn a_cut_is_the_part_of_the_whole() {
    let scene = scene();
    let step = Spatial {
        elastic_scale: 0.1,
        ..Spatial::default()
    };
    let (mut draw, whole) = trial::done(&step, &scene, 6);
    draw.frame = Frame {
        start: [11, 8, 20],
        shape: [20, 24, 12],
    };
    let mut part = scene.clone();
    part.patch = Some([1, 2, 3]);
    draw.apply(&mut part).expect("cut");
    assert_eq!(part.patch, None);
    assert_eq!(
        part.grid().world([0.0; 3]),
        scene.grid().world([11.0, 8.0, 20.0])
    );
    for p in trial::voxels([20, 24, 12]) {
        let q = [p[0] + 11, p[1] + 8, p[2] + 20];
        let scan = |s: &Scene, p| s.scan.as_ref().expect("a scan").data()[s.grid().index(p)];
        assert!((scan(&part, p) - scan(&whole, q)).abs() < 2e-3);
    }
    let cut: Vec<u16> = trial::voxels([20, 24, 12])
        .map(|p| whole.labels.data()[scene.grid().index([p[0] + 11, p[1] + 8, p[2] + 20])])
        .collect();
    let differ = cut
        .iter()
        .zip(part.labels.data())
        .filter(|(a, b)| a != b)
        .count();
    // Rounding may put a voxel on the other side of a border.
    assert!(differ <= 2, "{differ}");
}

#[test]
fn a_crop_larger_than_the_scene_is_padded_with_background() {
    let scene = scene();
    let step = Spatial {
        crop: Some([60, 20, 36]),
        ..still()
    };
    let (draw, made) = trial::done(&step, &scene, 7);
    assert_eq!((draw.frame.start[0], draw.frame.start[2]), (-6, 0));
    assert!((0..=20).contains(&draw.frame.start[1]));
    assert_eq!(made.grid().shape(), [60, 20, 36]);
    let scan = made.scan.as_ref().expect("a scan");
    for p in trial::voxels([60, 20, 36]).filter(|p| p[0] < 6 || p[0] >= 54) {
        assert_eq!(made.labels.data()[made.grid().index(p)], 0);
        // The least value of the scan.
        assert_eq!(scan.data()[made.grid().index(p)], 0.0);
    }
    let at = scan.data()[made.grid().index([6, 0, 0])];
    assert_eq!(at, 3.0 * draw.frame.start[1] as f32);
}

#[test]
fn beyond_the_scene_is_its_edge_or_background() {
    let full = trial::scene([20; 3], [1.0; 3], |_| 1);
    let record = |hold_edges| SpatialDraw {
        scale: [1.5; 3],
        rotation_deg: [0.0; 3],
        shear: [0.0; 6],
        translation_mm: [0.0; 3],
        velocities_mm: None,
        frame: Frame::whole(full.grid()),
        hold_edges,
    };
    let learnt = |hold_edges| {
        let mut scene = full.clone();
        record(hold_edges).apply(&mut scene).expect("warped");
        scene.labels.counts().get(&1).copied().unwrap_or(0)
    };
    assert_eq!(learnt(true), 8000);
    // 20 / 1.5 voxels along each axis.
    assert!((12usize.pow(3)..=14usize.pow(3)).contains(&learnt(false)));
}

#[test]
fn a_trainers_patch_may_be_about_what_is_learnt() {
    let mut scene = trial::scene([64; 3], [1.0; 3], |p| {
        u16::from(p.iter().all(|v| (50..54).contains(v)))
    });
    scene.patch = Some([16; 3]);
    let step = Spatial {
        foreground: 1.0,
        crop: Some([32; 3]),
        elastic_sd_mm: 0.0,
        ..Spatial::default()
    };
    let mut held = 0;
    for seed in 0..20 {
        let draw = step
            .draw(&scene, &mut Rng::new(seed, 0, 0))
            .expect("a draw");
        let mut made = scene.clone();
        draw.apply(&mut made).expect("cut");
        assert_eq!(made.grid().shape(), [16; 3]);
        held += usize::from(made.labels.counts().contains_key(&1));
    }
    // Turned and shrunk towards a corner it can leave the scene.
    assert!(held >= 18, "{held}");
    let nothing = trial::scene([8; 3], [1.0; 3], |_| 0);
    let draw = step.draw(&nothing, &mut Rng::new(1, 0, 0)).expect("a draw");
    assert_eq!(draw.frame.start, [-12; 3]);
}

#[test]
fn draws_are_even_over_their_ranges() {
    let mut scene = trial::scene([30, 20, 10], [1.0; 3], |_| 0);
    scene.patch = Some([10, 20, 10]);
    let step = Spatial {
        translation_mm: 5.0,
        ..Spatial::default()
    };
    let n = 3000;
    let draws: Vec<SpatialDraw> = (0..n)
        .map(|i| step.draw(&scene, &mut Rng::new(8, i, 0)).expect("a draw"))
        .collect();
    let even = |low: f64, high: f64, get: &dyn Fn(&SpatialDraw) -> f64| {
        let mut shares: Vec<f64> = draws
            .iter()
            .map(|d| (get(d) - low) / (high - low))
            .collect();
        shares.sort_by(f64::total_cmp);
        let distance = |(i, v): (usize, &f64)| (v - (i as f64 + 0.5) / n as f64).abs();
        let ks = shares.iter().enumerate().map(distance).fold(0.0, f64::max);
        // Exceeded by chance once in a thousand.
        assert!(ks < 1.95 / (n as f64).sqrt(), "{ks}");
    };
    for a in 0..3 {
        even(0.8, 1.2, &|d| f64::from(d.scale[a]));
        even(-15.0, 15.0, &|d| f64::from(d.rotation_deg[a]));
        even(-0.012, 0.012, &|d| f64::from(d.shear[2 * a]));
        even(-5.0, 5.0, &|d| f64::from(d.translation_mm[a]));
    }
    let mut starts = [0; 21];
    draws
        .iter()
        .for_each(|d| starts[d.frame.start[0] as usize] += 1);
    // 143 expected of each.
    assert!(starts.iter().all(|n| (80..=210).contains(n)), "{starts:?}");
    assert!(draws.iter().all(|d| d.frame.start[1..] == [0, 0]));
}
