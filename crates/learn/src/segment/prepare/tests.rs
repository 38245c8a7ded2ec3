//! There and back for grids of many kinds: a blob of the patient is found where it lies.

use std::collections::BTreeMap;

use super::*;
use crate::segment::plan::{Channel, Class, Net, NetKind};
use crossmod_volume::rng::Rng;
use glam::{DMat4, DVec3};

/// A plan of one class, of one z-scored channel; only what preparing asks for is sensible.
fn plan(dims: Dims, spacing_mm: [f64; 3]) -> SegmentationPlan {
    SegmentationPlan {
        dataset: "test".into(),
        spacing_mm,
        patch: [8; 3],
        batch: 2,
        batch_dice: false,
        mirror_axes: Vec::new(),
        ignore: None,
        ram_mb: 100,
        median_shape: [8; 3],
        reasons: Vec::new(),
        dims,
        transpose: Transpose {
            orientation: None,
            forward: [0, 1, 2],
        },
        net: Net {
            kind: NetKind::PlainConv,
            features: vec![4],
            strides: vec![[1; 3]],
            kernels: vec![[3; 3]],
            convs_per_stage: vec![1],
            convs_per_stage_decoder: Vec::new(),
            deep_supervision: false,
        },
        channels: vec![channel("image", Normalise::default())],
        classes: vec![Class::new(0, "background"), Class::new(7, "blob")],
    }
}

fn channel(name: &str, normalisation: Normalise) -> Channel {
    Channel {
        name: name.into(),
        normalisation,
    }
}

/// An image that is 0 but for a box of the body around `centre` (RAS mm), in which it grows along
/// the world's axes; and a ball of label 7.
fn scan(grid: &Grid, centre: [f64; 3], reach: f64, radius: f64) -> (Image, Labels) {
    let [nx, ny, _] = grid.shape();
    let centre = DVec3::from_array(centre);
    let at = |i: usize| {
        let voxel = [i % nx, i / nx % ny, i / (nx * ny)].map(|v| v as f64);
        DVec3::from_array(grid.world(voxel)) - centre
    };
    let image = (0..grid.len()).map(|i| {
        let d = at(i);
        let inside = d.abs().max_element() < reach;
        if inside {
            100.0 + d.dot(DVec3::new(1.0, 2.0, 3.0)) as f32
        } else {
            0.0
        }
    });
    let labels = (0..grid.len()).map(|i| if at(i).length() < radius { 7 } else { 0 });
    (
        Image::new(grid.clone(), image.collect()).expect("an image"),
        Labels::new(grid.clone(), labels.collect()).expect("labels"),
    )
}

fn dice(a: &Labels, b: &Labels) -> f64 {
    let both = a
        .data()
        .iter()
        .zip(b.data())
        .filter(|&(&a, &b)| a == b && a != 0);
    let of = |l: &Labels| l.data().iter().filter(|&&v| v != 0).count();
    2.0 * both.count() as f64 / (of(a) + of(b)) as f64
}

/// Pearson's, within the labels.
fn correlation(a: &Image, b: &Image, within: &Labels) -> f64 {
    let voxels: Vec<usize> = (0..a.data().len())
        .filter(|&i| within.data()[i] != 0)
        .collect();
    let [a, b] = [a, b].map(|image| {
        let values: Vec<f64> = voxels.iter().map(|&i| f64::from(image.data()[i])).collect();
        let mean = values.iter().sum::<f64>() / values.len() as f64;
        values.into_iter().map(|v| v - mean).collect::<Vec<f64>>()
    });
    let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
    dot(&a, &b) / (dot(&a, &a) * dot(&b, &b)).sqrt()
}

/// The labels of a case as a net that is sure of them would give them, brought back.
fn there_and_back(plan: &SegmentationPlan, prepared: &Prepared, labels: &Labels) -> Labels {
    let working = prepared.labels(labels).expect("labels");
    assert_eq!(working.grid(), prepared.grid());
    let [nx, ny, _] = working.grid().shape();
    let decided = prepared.decide(plan, Certainty::None, |class, zs, out| {
        let slices = &working.data()[zs.start * nx * ny..zs.end * nx * ny];
        for (p, &label) in out.iter_mut().zip(slices) {
            *p = f32::from(u8::from((label == 7) == (class == 1)));
        }
        Ok(())
    });
    decided.expect("a decision").labels
}

/// An oblique affine: turned about z by `degrees`, then about x by half of that.
fn oblique(shape: [usize; 3], spacing_mm: [f64; 3], degrees: f64) -> Grid {
    let turn = DMat4::from_rotation_z(degrees.to_radians())
        * DMat4::from_rotation_x((degrees / 2.0).to_radians());
    let affine = DMat4::from_translation(DVec3::new(-30.0, 12.0, 70.0))
        * turn
        * DMat4::from_scale(DVec3::from_array(spacing_mm));
    Grid::new(shape, affine).expect("a grid")
}

#[test]
fn a_blob_comes_back_to_where_it_lies() {
    let grids = [
        Grid::with_spacing([40, 36, 30], [1.0, 1.2, 1.5]).expect("a grid"),
        reoriented_grid(
            &Grid::with_spacing([40, 36, 30], [1.0, 1.2, 1.5]).expect("a grid"),
            "PIR".parse().expect("an orientation"),
        ),
        oblique([44, 40, 12], [0.9, 0.9, 4.0], 45.0),
        oblique([12, 40, 44], [4.0, 0.9, 0.8], 20.0),
    ];
    let three = plan(Dims::Three, [1.5, 1.1, 1.0]);
    let plans = [
        plan(Dims::Two, [9.0, 1.1, 0.8]),
        plan(Dims::TwoAndHalf { context: 1 }, [9.0, 0.8, 1.4]),
        plan(Dims::Three, [2.0, 0.8, 0.8]),
        three.clone(),
    ];
    let mut turns = vec![(None, [0, 1, 2]), (None, [2, 0, 1])];
    turns.push((Some("LPS".parse().expect("an orientation")), [1, 0, 2]));
    turns.push((Some("SRA".parse().expect("an orientation")), [2, 1, 0]));
    for grid in &grids {
        let centre = grid.world(grid.shape().map(|n| n as f64 * 0.45));
        let (image, labels) = scan(grid, centre, 13.0, 9.0);
        for plan in &plans {
            for &(orientation, forward) in &turns {
                let plan = SegmentationPlan {
                    transpose: Transpose {
                        orientation,
                        forward,
                    },
                    ..plan.clone()
                };
                let prepared = plan.prepare(vec![image.clone()]).expect("prepared");
                let back = there_and_back(&plan, &prepared, &labels);
                assert_eq!(back.grid(), grid);
                let found = dice(&back, &labels);
                assert!(found > 0.87, "{found} {:?} {plan:?}", grid.shape());
                // Normalised intensities are the image's own but for offset and scale.
                let shown = &prepared.channels[0];
                assert_eq!(shown.grid(), prepared.grid());
                let again = prepared
                    .restore(into(shown.clone()), 0.0)
                    .expect("an image");
                assert_eq!(again.grid(), grid);
                let found = correlation(&again, &image, &labels);
                assert!(found > 0.99, "{found} {:?} {plan:?}", grid.shape());
            }
        }
    }
}

#[test]
fn arrays_are_turned_cut_and_brought_to_the_spacing() {
    // Sagittal slices 4 mm thick along x; the plan has them along z.
    let grid = Grid::with_spacing([10, 40, 50], [4.0, 1.0, 1.0]).expect("a grid");
    let mut data = vec![0.0; grid.len()];
    for (x, y, z) in [(2, 8, 11), (7, 31, 40)] {
        data[grid.index([x, y, z])] = 50.0;
    }
    let image = Image::new(grid.clone(), data).expect("an image");
    let mut plan = plan(Dims::Three, [4.0, 2.0, 0.5]);
    plan.transpose.forward = [2, 0, 1];
    plan.channels[0].normalisation = Normalise::Rescale;
    let prepared = plan.prepare(vec![image]).expect("prepared");
    // Cut to 6 × 24 × 30 (x, y, z); the array z, y, x is then x, z, y: 6, 30, 24.
    assert_eq!(prepared.grid().shape(), [48, 15, 6]);
    let spacing = prepared.grid().spacing_mm();
    for (found, expected) in spacing.iter().zip([0.5, 2.0, 4.0]) {
        assert!((found - expected).abs() < 1e-9, "{spacing:?}");
    }
    let shown = &prepared.channels[0];
    let brightest = |z: usize| {
        let slice = shown.slice_z(z);
        let top = slice.iter().copied().fold(f32::MIN, f32::max);
        slice
            .iter()
            .position(|&v| v == top)
            .map(|i| [i % 48, i / 48])
    };
    let [first, last] = [brightest(0), brightest(5)].map(|at| at.expect("a slice"));
    assert!(first[0] < 2 && first[1] == 0, "{first:?}");
    assert!(last[0] > 45 && last[1] == 14, "{last:?}");
    assert!(shown.slice_z(2).iter().all(|v| v.abs() < 1e-6));
    assert_eq!(prepared.stored(), &grid);
}

#[test]
fn channels_share_what_is_inside_and_must_agree() {
    let grid = Grid::with_spacing([12, 12, 12], [1.0; 3]).expect("a grid");
    let mut rng = Rng::new(5, 0, 0);
    let mut a = Image::new(grid.clone(), vec![0.0; grid.len()]).expect("an image");
    let mut b = a.clone();
    for z in 2..10 {
        for y in 2..10 {
            for x in 2..10 {
                let i = grid.index([x, y, z]);
                a.data_mut()[i] = rng.uniform(10.0, 20.0);
                b.data_mut()[i] = rng.uniform(-3.0, 3.0);
            }
        }
    }
    // A hole of both channels counts as inside, a corner of the box does not.
    let (hole, corner) = (grid.index([5, 5, 5]), grid.index([2, 2, 2]));
    for image in [&mut a, &mut b] {
        image.data_mut()[hole] = 0.0;
        image.data_mut()[corner] = 0.0;
    }
    let mut plan = plan(Dims::Three, [1.0; 3]);
    let within = Normalise::ZScore {
        within_nonzero: true,
    };
    plan.channels = vec![channel("a", within), channel("b", Normalise::None)];
    let prepared = plan.prepare(vec![a.clone(), b.clone()]).expect("prepared");
    assert_eq!(prepared.grid().shape(), [8; 3]);
    let shown = prepared.channels[0].data();
    let inside = prepared.grid().index([3, 3, 3]);
    assert!(shown[inside] < -2.0, "the hole is dark");
    assert_eq!(shown[0], 0.0);
    let counted = 511.0;
    let mean = shown.iter().sum::<f32>() / counted;
    let square = shown.iter().map(|v| v * v).sum::<f32>() / counted;
    assert!(mean.abs() < 1e-5 && (square - 1.0).abs() < 1e-4);
    let cut = b.data()[grid.index([4, 3, 2])];
    assert_eq!(
        prepared.channels[1].data()[prepared.grid().index([2, 1, 0])],
        cut
    );

    let message = |channels: Vec<Image>| plan.prepare(channels).expect_err("refused").to_string();
    assert!(message(vec![a.clone()]).contains("expected 2 channels (a, b), found 1"));
    let short = Grid::with_spacing([12, 12, 11], [1.0; 3]).expect("a grid");
    let short = Image::new(short.clone(), vec![1.0; short.len()]).expect("an image");
    assert!(message(vec![a.clone(), short.clone()]).contains("channel b"));
    let moved = Grid::with_spacing([12; 3], [1.1, 1.0, 1.0]).expect("a grid");
    let moved = Image::new(moved, b.data().to_vec()).expect("an image");
    assert!(message(vec![a.clone(), moved]).contains("half a voxel"));

    let folder = tempfile::tempdir().expect("a folder");
    let [first, second] = ["a_0000.nii", "a_0001.nii"].map(|name| folder.path().join(name));
    io::write_image(&first, &a, &io::Storage::default()).expect("written");
    io::write_image(&second, &short, &io::Storage::default()).expect("written");
    let error = read_channels(&[first.clone(), second])
        .expect_err("refused")
        .to_string();
    assert!(
        error.contains("grid of a_0000.nii") && error.ends_with("a_0001.nii"),
        "{error}"
    );
    assert_eq!(read_channels(&[first]).expect("read"), [a]);

    let prepared = plan.prepare(vec![b.clone(), b]).expect("prepared");
    let wrong = Labels::new(short.grid().clone(), vec![0; short.grid().len()]).expect("labels");
    assert!(prepared.labels(&wrong).is_err());
}

#[test]
fn nothing_and_what_is_not_finite_are_borne() {
    let grid = Grid::with_spacing([6, 5, 4], [1.0; 3]).expect("a grid");
    let dark = Image::new(grid.clone(), vec![0.0; grid.len()]).expect("an image");
    let mut odd = dark.clone();
    odd.data_mut()[7] = f32::INFINITY;
    odd.data_mut()[40] = f32::NAN;
    odd.data_mut()[90] = 3.0;
    for normalisation in [Normalise::default(), Normalise::None, Normalise::Rescale] {
        let mut plan = plan(Dims::Three, [0.5; 3]);
        plan.channels[0].normalisation = normalisation;
        for image in [&dark, &odd] {
            let prepared = plan.prepare(vec![image.clone()]).expect("prepared");
            assert!(prepared.channels[0].data().iter().all(|v| v.is_finite()));
            let certain = prepared.decide(&plan, Certainty::Winner, |class, _, out| {
                out.fill(if class == 0 { 0.75 } else { 0.25 });
                Ok(())
            });
            let certain = certain.expect("a decision");
            assert_eq!(certain.labels.counts(), BTreeMap::from([(0, grid.len())]));
            let told = certain.certainty.expect("asked for");
            assert!(told.data().iter().all(|&p| p == 0.75 || p == 1.0));
        }
    }
    let mut plan = plan(Dims::Three, [1e-4; 3]);
    let message = plan
        .prepare(vec![dark.clone()])
        .expect_err("refused")
        .to_string();
    assert!(message.contains("spacing_mm"), "{message}");
    plan.dims = Dims::Two;
    assert!(plan.prepare(vec![dark]).is_err());
}

/// Where classes are regions, each output is decided for itself and the later is written over.
#[test]
fn regions_are_written_over_one_another() {
    let grid = Grid::with_spacing([9, 8, 7], [1.0, 1.0, 2.0]).expect("a grid");
    let (image, _) = scan(&grid, [3.0, 3.0, 5.0], 4.5, 2.0);
    let mut plan = plan(Dims::Three, [1.0; 3]);
    plan.classes = vec![
        Class::new(0, "background"),
        Class::new(5, "whole"),
        Class::new(3, "core"),
    ];
    plan.classes[1].values = vec![5, 3];
    let prepared = plan.prepare(vec![image]).expect("prepared");
    let [nx, ny, nz] = prepared.grid().shape();
    let decided = prepared.decide(&plan, Certainty::Entropy, |output, zs, out| {
        for (z, slice) in zs.zip(out.chunks_mut(nx * ny)) {
            let inside = if output == 0 { z < nz - 2 } else { z < 2 };
            slice.fill(f32::from(u8::from(inside)));
        }
        Ok(())
    });
    let decided = decided.expect("a decision");
    let slices = |value: u16| -> Vec<usize> {
        let held = |z: &usize| decided.labels.slice_z(*z).contains(&value);
        (0..7).filter(held).collect()
    };
    // z from 2 mm to 8 mm is inside: slices 1 to 4 of 2 mm, 8 of 1 mm.
    assert_eq!(slices(3), [1]);
    assert_eq!(slices(5), [2, 3]);
    let told = decided.certainty.expect("asked for");
    assert!(told.slice_z(0).iter().all(|&nats| nats == 0.0));
}
