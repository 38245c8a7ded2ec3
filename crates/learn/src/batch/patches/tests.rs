//! Patches against the volumes that they were cut from: places, deformations, repeats. `changes`
//! holds what is done to intensities, and how often.

use std::collections::BTreeMap;

use crossmod_volume::intensity::Normalise;
use crossmod_volume::space::Deformation;

use super::*;
use crate::segment::plan::{Channel, Class};
use crate::segment::store::tests::{Study, halves, on_two, place, plan};

mod changes;
mod made;

const SHAPES: [[usize; 3]; 3] = [[12, 10, 8], [9, 14, 7], [16, 6, 11]];

fn study() -> Study {
    let mut study = Study::new();
    for shape in SHAPES {
        study.add(shape, &[&place], halves(shape));
    }
    study
}

fn patches(study: &Study, plan: &SegmentationPlan, config: &PatchConfig) -> Patches {
    let store = Arc::new(study.store(plan, None).expect("a store"));
    Patches::new(store, plan, config, 7, "train").expect("patches")
}

/// Everything that can happen, often.
fn wild() -> PatchConfig {
    PatchConfig {
        rotation_p: 0.7,
        scaling_p: 0.7,
        elastic_p: 0.5,
        ratio_crop_p: 0.3,
        noise_p: 0.5,
        blur_p: 0.7,
        brightness_p: 0.5,
        contrast_p: 0.5,
        low_resolution_p: 0.7,
        gamma_inverted_p: 0.5,
        gamma_p: 0.5,
        ..PatchConfig::default()
    }
}

/// The plan of three channels: one tells x, one y, and one where the case is.
fn coordinates(patch: [usize; 3]) -> (Study, SegmentationPlan) {
    let mut study = Study::new();
    let along = |axis: usize| move |at: [usize; 3]| 1.0 + at[axis] as f32;
    let label = |at: [usize; 3]| 1 + at[0] as u16;
    study.add([40; 3], &[&along(0), &along(1), &|_| 1.0], label);
    let mut plan = plan(patch);
    plan.classes = (0..=40).map(|value| Class::new(value, "at x")).collect();
    plan.channels = vec![
        Channel {
            name: "MRI".into(),
            normalisation: Normalise::None,
        };
        3
    ];
    (study, plan)
}

/// The records of a batch whose patches are all cut.
fn cuts(batch: &PatchBatch) -> impl Iterator<Item = &PatchDraw> {
    batch.draws.iter().map(cut)
}

/// The records of a step whose patches are all cut.
fn drawn(patches: &Patches, step: u64) -> Vec<PatchDraw> {
    let drawn = patches.draw(step).expect("drawn");
    drawn.iter().map(|drawn| cut(drawn).clone()).collect()
}

fn cut(drawn: &Drawn) -> &PatchDraw {
    match drawn {
        Drawn::Cut(draw) => draw,
        Drawn::Made { .. } => panic!("expected a patch that is cut"),
    }
}

/// A record that does nothing to a patch.
fn still(centre: [f64; 3], channels: usize) -> PatchDraw {
    PatchDraw {
        case: 0,
        centre,
        deformation: Deformation::default(),
        mirrored: [false; 3],
        noise: None,
        channels: vec![ChannelDraw::default(); channels],
    }
}

#[test]
fn plain_patches_are_boxes_of_the_case_and_0_beyond() {
    let study = study();
    // Larger than two of the cases along one axis each.
    let plan = plan([5, 8, 10]);
    let patches = patches(&study, &plan, &PatchConfig::plain());
    let mut firsts = BTreeMap::new();
    for step in 0..60 {
        let batch = patches.batch(step).expect("a batch");
        assert_eq!((batch.len, batch.channels, batch.shape), (6, 1, [5, 8, 10]));
        for (i, draw) in cuts(&batch).enumerate() {
            let shape = SHAPES[draw.case];
            let label = halves(shape);
            let first = [(0, 10), (1, 8), (2, 5)]
                .map(|(a, n)| (draw.centre[a] - (n - 1) as f64 / 2.0) as i64);
            *firsts.entry((draw.case, first)).or_insert(0) += 1;
            for at in 0..400 {
                let inside = [at % 10, at / 10 % 8, at / 80];
                let voxel = [0, 1, 2].map(|a| inside[a] as i64 + first[a]);
                let there = (0..3).all(|a| (0..shape[a] as i64).contains(&voxel[a]));
                let voxel = voxel.map(|v| v as usize);
                let expected = if there {
                    (place(voxel), label(voxel))
                } else {
                    (0.0, 0)
                };
                let found = (batch.images[400 * i + at], batch.labels[400 * i + at]);
                assert_eq!(found, expected, "{voxel:?}");
            }
        }
    }
    // In the middle where there is no choice, anywhere else where there is.
    assert!(firsts.keys().all(|(case, first)| match case {
        1 => first[0] == 0,
        2 => first[1] == -1,
        _ => true,
    }));
    assert!(firsts.len() > 40, "{}", firsts.len());
}

#[test]
fn batches_repeat_on_any_threads_after_restarts_and_from_files() {
    let study = study();
    let plan = plan([6, 6, 6]);
    let config = wild();
    let first = patches(&study, &plan, &config);
    let on = |threads: usize, patches: &Patches, step| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build();
        pool.expect("a pool")
            .install(|| patches.batch(step).expect("a batch"))
    };
    let files = on_two(|| study.store(&plan, Some(15_000))).expect("a store");
    assert_eq!(files.held(), 0);
    let files = Patches::new(Arc::new(files), &plan, &config, 7, "train").expect("patches");
    let second = patches(&study, &plan, &config);
    for step in [0, 3, 1 << 40] {
        let batch = on(1, &first, step);
        assert_eq!(batch, on(3, &second, step));
        assert_eq!(batch, on(2, &files, step));
        assert_eq!(batch, first.make(batch.draws.clone()).expect("a batch"));
        assert_ne!(batch.images, on(1, &first, step + 1).images);
    }
    let store = Arc::clone(first.store());
    for (seed, name) in [(8, "train"), (7, "validation")] {
        let other = Patches::new(Arc::clone(&store), &plan, &config, seed, name);
        let other = other.expect("patches").batch(0).expect("a batch");
        assert_ne!(other.images, on(1, &first, 0).images);
    }
    // A record can be kept and made again.
    let batch = on(1, &first, 5);
    #[derive(serde::Serialize, serde::Deserialize)]
    struct Kept {
        draws: Vec<Drawn>,
    }
    let kept = Kept {
        draws: batch.draws.clone(),
    };
    let text = toml::to_string(&kept).expect("written");
    let kept: Kept = toml::from_str(&text).expect("read");
    assert_eq!(first.make(kept.draws).expect("a batch"), batch);
}

#[test]
fn mirrors_turn_images_and_labels_together_and_swap_sides() {
    let study = study();
    let mut plan = plan([5, 6, 7]);
    let plain = patches(&study, &plan, &PatchConfig::plain());
    let mirror = PatchConfig {
        mirror_p: 1.0,
        ..PatchConfig::plain()
    };
    let flipped = |at: usize, axes: [bool; 3]| {
        let shape = [7, 6, 5];
        let voxel = [at % 7, at / 7 % 6, at / 42];
        let [x, y, z] = [0, 1, 2].map(|a| {
            if axes[a] {
                shape[a] - 1 - voxel[a]
            } else {
                voxel[a]
            }
        });
        x + 7 * (y + 6 * z)
    };
    let compare = |mirrored: &Patches, axes, swap: bool| {
        for step in 0..10 {
            let [a, b] = [&plain, mirrored].map(|p| p.batch(step).expect("a batch"));
            for i in 0..a.labels.len() {
                let from = i / 210 * 210 + flipped(i % 210, axes);
                assert_eq!(b.images[i], a.images[from]);
                let label = a.labels[from];
                let expected = if swap && label > 0 { 3 - label } else { label };
                assert_eq!(b.labels[i], expected);
            }
        }
    };
    compare(&patches(&study, &plan, &mirror), [true; 3], false);
    plan.mirror_axes = vec![1];
    compare(
        &patches(&study, &plan, &mirror),
        [false, true, false],
        false,
    );
    plan.mirror_axes.clear();
    let swap = PatchConfig {
        swap: vec![[1, 2]],
        ..mirror
    };
    compare(&patches(&study, &plan, &swap), [true, false, false], true);
    let along_y = PatchConfig {
        left_right: Some(1),
        ..swap.clone()
    };
    compare(
        &patches(&study, &plan, &along_y),
        [false, true, false],
        true,
    );
    plan.transpose.forward = [2, 0, 1];
    assert_eq!(left_right(&plan), Some(0));
    plan.transpose.orientation = None;
    let store = Arc::clone(plain.store());
    let error = Patches::new(store, &plan, &swap, 1, "train").expect_err("which axis?");
    assert!(error.to_string().contains("left_right"), "{error}");
}

#[test]
fn a_turned_and_enlarged_blob_lands_where_it_should() {
    let mut study = Study::new();
    let blob = [21.0, 15.0, 18.0];
    let square =
        move |at: [usize; 3]| -> f64 { (0..3).map(|a| (at[a] as f64 - blob[a]).powi(2)).sum() };
    let image = move |at| 1.0 + (-square(at) / 8.0).exp() as f32;
    study.add([40, 36, 32], &[&image], move |at| {
        u16::from(square(at) < 36.0)
    });
    let plan = plan([24, 24, 24]);
    let patches = patches(&study, &plan, &PatchConfig::plain());
    let centre = [19.5, 16.5, 17.5];
    let (angle, scale) = (0.6_f64, 1.3);
    let draw = PatchDraw {
        deformation: Deformation::new([0.0, 0.0, angle], [scale; 3], [0.0; 3], [1.0; 3]),
        ..still(centre, 1)
    };
    let batch = patches.make(vec![Drawn::Cut(draw)]).expect("a patch");
    let [dx, dy, dz] = [0, 1, 2].map(|a| blob[a] - centre[a]);
    let (sin, cos) = angle.sin_cos();
    let expected = [cos * dx + sin * dy, cos * dy - sin * dx, dz].map(|d| 11.5 + scale * d);
    let centroid = |weight: &dyn Fn(usize) -> f64| {
        let mut sums = [0.0; 4];
        for i in 0..24 * 24 * 24 {
            let at = [i % 24, i / 24 % 24, i / 576];
            (0..3).for_each(|a| sums[a] += weight(i) * at[a] as f64);
            sums[3] += weight(i);
        }
        ([0, 1, 2].map(|a| sums[a] / sums[3]), sums[3])
    };
    let (image, _) = centroid(&|i| f64::from(batch.images[i] - 1.0).max(0.0));
    let (label, volume) = centroid(&|i| f64::from(batch.labels[i]));
    let apart = |a: [f64; 3]| {
        let off = a.iter().zip(&expected).map(|(a, b)| (a - b).abs());
        off.fold(0.0, f64::max)
    };
    assert!(apart(image) < 0.02, "{image:?} {expected:?}");
    // Nearest voxels place the ball to a fraction of a voxel only.
    assert!(apart(label) < 0.25, "{label:?} {expected:?}");
    let ball = 4.0 / 3.0 * std::f64::consts::PI * (6.0 * scale).powi(3);
    assert!((volume / ball - 1.0).abs() < 0.05, "{volume} {ball}");
}

#[test]
fn whatever_bends_the_patch_images_and_labels_agree() {
    let (study, plan) = coordinates([16, 16, 16]);
    let config = PatchConfig {
        rotation_p: 0.5,
        scaling_p: 0.5,
        elastic_p: 1.0,
        ratio_crop_p: 0.5,
        ..PatchConfig::plain()
    };
    let patches = patches(&study, &plan, &config);
    let (mut bent, mut inside) = (0, 0);
    for step in 0..4 {
        let batch = patches.batch(step).expect("a batch");
        for (i, draw) in cuts(&batch).enumerate() {
            let [x, there] = [0, 2].map(|c| &batch.images[(3 * i + c) * 4096..][..4096]);
            let labels = &batch.labels[i * 4096..][..4096];
            for ((x, there), label) in x.iter().zip(there).zip(labels) {
                // Beyond the case's sides images fade to 0.
                if *there > 0.9999 {
                    let off = (x - f32::from(*label)).abs();
                    assert!(off <= 0.51, "{off}");
                    inside += 1;
                }
            }
            bent += usize::from(draw.deformation.displacement.is_some());
        }
    }
    assert_eq!(bent, 24);
    assert!(inside > 50_000, "{inside}");
}

#[test]
fn a_part_is_enlarged_to_the_patch() {
    let (study, mut plan) = coordinates([16, 16, 16]);
    plan.batch = 8;
    let config = PatchConfig {
        ratio_crop_p: 1.0,
        ..PatchConfig::plain()
    };
    let batch = patches(&study, &plan, &config).batch(0).expect("a batch");
    for i in 0..8 {
        let x = &batch.images[3 * i * 4096..][..16];
        let step = f64::from(x[15] - x[0]) / 15.0;
        assert!((0.5..=1.0).contains(&step), "{step}");
        assert!(x[0] >= 0.9 && x[15] <= 40.1, "it is part of a patch within");
        let y = &batch.images[(3 * i + 1) * 4096..][..4096];
        assert!((f64::from(y[240] - y[0]) / 15.0 - step).abs() < 1e-4);
    }
}

#[test]
fn a_third_of_each_batch_shows_every_class_as_often() {
    let mut study = Study::new();
    let shape = [24, 24, 24];
    // A large class and one of a single voxel.
    let label = |at: [usize; 3]| match at {
        [12, 12, 12] => 2,
        _ if at.iter().all(|v| (6..18).contains(v)) => 1,
        _ => 0,
    };
    study.add(shape, &[&place], label);
    study.add(shape, &[&place], label);
    study.add(shape, &[&place], |_| 0);
    let mut plan = plan([9, 9, 9]);
    let of = |plan: &SegmentationPlan| {
        let mut seen = [[0; 3]; 2];
        let mut cases = [0; 3];
        let patches = patches(&study, plan, &PatchConfig::plain());
        for step in 0..600 {
            for (i, draw) in drawn(&patches, step).into_iter().enumerate() {
                cases[draw.case] += 1;
                if draw.case < 2 {
                    let middle = draw.centre.map(|v| v as usize);
                    seen[usize::from(i >= 4)][usize::from(label(middle))] += 1;
                }
            }
        }
        (seen, cases)
    };
    let (seen, cases) = of(&plan);
    assert!(cases.iter().all(|n| (1100..1300).contains(n)), "{cases:?}");
    let [others, forced] = seen;
    assert_eq!(forced[0], 0);
    let share = forced[2] as f64 / (forced[1] + forced[2]) as f64;
    assert!((share - 0.5).abs() < 0.06, "{seen:?}");
    // The rest lies anywhere: of 16³ places 12³ are in the class.
    let share = others[1] as f64 / others.iter().sum::<i32>() as f64;
    assert!((share - 0.42).abs() < 0.05, "{seen:?}");
    // With background to ignore, nothing is centred there.
    plan.ignore = Some(9);
    assert!(of(&plan).0[0][0] > 0);
    let mut study = Study::new();
    study.add(
        shape,
        &[&place],
        |at| if label(at) == 0 { 9 } else { label(at) },
    );
    let patches = patches(&study, &plan, &PatchConfig::plain());
    for step in 0..50 {
        for draw in drawn(&patches, step) {
            assert!(label(draw.centre.map(|v| v as usize)) > 0);
        }
    }
}

#[test]
fn neighbouring_slices_are_channels_and_repeat_beyond_the_ends() {
    let study = study();
    let mut plan = plan([1, 6, 6]);
    plan.dims = Dims::TwoAndHalf { context: 2 };
    plan.mirror_axes = vec![1, 2];
    let patches = patches(&study, &plan, &PatchConfig::plain());
    let mut ends = 0;
    for step in 0..20 {
        let batch = patches.batch(step).expect("a batch");
        assert_eq!((batch.channels, batch.images.len()), (5, 6 * 5 * 36));
        for (i, draw) in cuts(&batch).enumerate() {
            let [x, y, z] = draw.centre;
            let first = [x - 2.5, y - 2.5].map(|v| v as i64);
            let last = SHAPES[draw.case][2] as i64 - 1;
            for slice in 0..5 {
                let level = (z as i64 + slice - 2).clamp(0, last) as usize;
                ends += usize::from(level as i64 != z as i64 + slice - 2);
                let plane = &batch.images[(5 * i + slice as usize) * 36..][..36];
                for (at, value) in plane.iter().enumerate() {
                    let voxel = [first[0] + at as i64 % 6, first[1] + at as i64 / 6];
                    assert!(voxel.iter().all(|v| *v >= 0));
                    assert_eq!(*value, place([voxel[0] as usize, voxel[1] as usize, level]));
                }
            }
            let label = halves(SHAPES[draw.case]);
            let found = batch.labels[36 * i];
            assert_eq!(
                found,
                label([first[0] as usize, first[1] as usize, z as usize])
            );
        }
    }
    assert!(ends > 0);
}

#[test]
fn batches_made_ahead_are_the_same_and_errors_come_at_their_step() {
    let study = study();
    let mut plan = plan([6, 6, 6]);
    let maker = patches(&study, &plan, &wild());
    let mut ahead = Ahead::new(maker.clone(), 3);
    for step in [3, 4, 5, 20, 21, 4] {
        let batch = ahead.next(step).expect("a batch");
        assert_eq!(batch, maker.batch(step).expect("a batch"), "{step}");
    }
    drop(ahead);
    // From files that disappear: nothing but the steps to come is lost.
    plan.patch = [2, 2, 2];
    let store = on_two(|| study.store(&plan, Some(11_000))).expect("a store");
    let store = Arc::new(store);
    assert_eq!(store.held(), 0);
    let config = PatchConfig::plain();
    let maker = Patches::new(store, &plan, &config, 7, "train").expect("patches");
    let mut ahead = Ahead::new(maker, 0);
    ahead.next(0).expect("a batch");
    std::fs::remove_dir_all(study.cache()).expect("removed");
    let failed = (1..6)
        .find_map(|step| ahead.next(step).err())
        .expect("an error");
    assert!(failed.to_string().ends_with(".case"), "{failed}");
}

#[test]
fn real_cases_make_finite_batches_of_their_classes() {
    use crossmod_volume::dataset::Dataset;

    use crate::Silent;
    use crate::segment::Fingerprint;
    use crate::segment::plan::PlanConfig;

    let Some(data) = std::env::var_os("CROSSMOD_TEST_DATA") else {
        eprintln!("skipped: CROSSMOD_TEST_DATA is not set");
        return;
    };
    let folder = std::path::PathBuf::from(data).join("msd_hippocampus");
    let mut dataset = Dataset::open(&folder).expect("a dataset");
    dataset.training.truncate(12);
    let print = Fingerprint::of(&dataset, &mut Silent).expect("a fingerprint");
    let plan = SegmentationPlan::make(&print, &PlanConfig::default()).expect("a plan");
    let cache = tempfile::tempdir().expect("a folder");
    let store = Store::make(&plan, &dataset.training, cache.path(), None, &mut Silent);
    let store = Arc::new(store.expect("a store"));
    let config = PatchConfig::default();
    let patches = Patches::new(store, &plan, &config, 1, "train").expect("patches");
    let mut voxels = [0; 3];
    for step in 0..10 {
        let batch = patches.batch(step).expect("a batch");
        for &label in &batch.labels {
            voxels[usize::from(label)] += 1;
        }
        let n = batch.images.len() as f32;
        let mean = batch.images.iter().sum::<f32>() / n;
        let square = batch.images.iter().map(|v| v * v).sum::<f32>() / n;
        assert!(
            mean.abs() < 0.3 && (0.5..1.5).contains(&square.sqrt()),
            "{mean} {square}"
        );
    }
    // Patches are about as large as cases, of which a twentieth is hippocampus.
    let share = (voxels[1] + voxels[2]) as f64 / voxels.iter().sum::<i32>() as f64;
    assert!((0.02..0.1).contains(&share), "{voxels:?}");
}
