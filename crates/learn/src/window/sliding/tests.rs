//! Against nets whose answer is known everywhere, and sums made window by window in `f64`.

use super::axis::importance;
use super::*;
use crate::segment::plan::{Class, Transpose};
use crate::segment::{PlanConfig, plan};
use crossmod_volume::Grid;
use crossmod_volume::rng::Rng;

/// A plan whose patch and mirror axes alone matter.
pub(crate) fn plan(dims: Dims, patch: [usize; 3], mirror_axes: &[usize]) -> SegmentationPlan {
    let config = PlanConfig::default();
    SegmentationPlan {
        dataset: "test".into(),
        spacing_mm: [1.0; 3],
        patch,
        batch: 2,
        batch_dice: false,
        mirror_axes: mirror_axes.to_vec(),
        ignore: None,
        ram_mb: 100,
        median_shape: [8; 3],
        reasons: Vec::new(),
        dims,
        transpose: Transpose {
            orientation: None,
            forward: [0, 1, 2],
        },
        net: plan::Net {
            kind: config.kind,
            features: vec![4],
            strides: vec![[1; 3]],
            kernels: vec![[1; 3]],
            convs_per_stage: vec![1],
            convs_per_stage_decoder: Vec::new(),
            deep_supervision: false,
        },
        channels: vec![plan::Channel {
            name: "image".into(),
            normalisation: crossmod_volume::intensity::Normalise::None,
        }],
        classes: vec![Class::new(0, "background"), Class::new(3, "organ")],
    }
}

fn noise(shape: [usize; 3], seed: u64) -> Image {
    let grid = Grid::with_spacing(shape, [1.0; 3]).expect("a grid");
    let mut rng = Rng::new(seed, 0, 0);
    let data = (0..grid.len()).map(|_| rng.uniform(-3.0, 3.0)).collect();
    Image::new(grid, data).expect("an image")
}

/// All probabilities of one output, read in ranges of `asked` slices.
fn whole(
    plan: &SegmentationPlan,
    config: &WindowConfig,
    images: &[Image],
    (outputs, nets): (usize, &[Box<dyn PatchNet>]),
    asked: usize,
) -> Vec<Vec<f32>> {
    let [nx, ny, nz] = images[0].grid().shape();
    let mut told = (0, 1);
    let mut tell = |done, all| {
        told = (done, all);
        Ok(())
    };
    let case = Path::new("case.nii.gz");
    let mut sliding =
        Sliding::new(plan, config, (case, images), (outputs, nets), &mut tell).expect("windows");
    let mut volumes = vec![vec![0.0; nx * ny * nz]; outputs];
    for start in (0..nz).step_by(asked) {
        let zs = start..nz.min(start + asked);
        for (output, volume) in volumes.iter_mut().enumerate() {
            let out = &mut volume[zs.start * nx * ny..zs.end * nx * ny];
            sliding
                .read(output, zs.clone(), out)
                .expect("probabilities");
        }
    }
    drop(sliding);
    assert_eq!(told.0, told.1, "all windows are done");
    volumes
}

/// Gives each voxel's probabilities by its own value alone.
fn pointwise(sharp: f32) -> Box<dyn PatchNet> {
    Box::new(move |batch: &WindowBatch| {
        let voxels: usize = batch.shape.iter().product();
        let p = |v: &f32| 1.0 / (1.0 + (-sharp * v).exp());
        let windows = batch.values.chunks(voxels * batch.channels);
        Ok(windows
            .flat_map(|window| {
                let first = window[..voxels].iter().map(p);
                first
                    .clone()
                    .map(|p| 1.0 - p)
                    .chain(first)
                    .collect::<Vec<f32>>()
            })
            .collect())
    })
}

#[test]
fn what_depends_on_a_voxel_alone_is_found_everywhere() {
    let cases = [
        (Dims::Three, [8, 8, 8], vec![0, 1, 2], [21, 13, 19]),
        (Dims::Three, [8, 16, 8], vec![2], [5, 13, 30]),
        (Dims::Three, [4, 8, 8], vec![], [8, 9, 3]),
        (Dims::Two, [1, 8, 8], vec![1, 2], [17, 6, 5]),
        (Dims::Two, [1, 8, 8], vec![], [1, 1, 1]),
    ];
    for (dims, patch, mirror, shape) in cases {
        let plan = plan(dims, patch, &mirror);
        let image = noise(shape, 3);
        for batch in [None, Some(1), Some(3)] {
            for asked in [1, 4, 100] {
                let config = WindowConfig {
                    batch,
                    ..WindowConfig::default()
                };
                let nets = [pointwise(1.0), pointwise(0.3)];
                let found = whole(
                    &plan,
                    &config,
                    std::slice::from_ref(&image),
                    (2, &nets),
                    asked,
                );
                for (i, v) in image.data().iter().enumerate() {
                    let p = |sharp: f32| 1.0 / (1.0 + (-sharp * v).exp());
                    let expected = (p(1.0) + p(0.3)) / 2.0;
                    // Up to 18 windows show a voxel, each with an error of at most a step.
                    let [p, q] = [found[1][i] - expected, found[0][i] + found[1][i] - 1.0];
                    assert!(p.abs() < 3e-4 && q.abs() < 6e-4, "{shape:?} {i}: {p} {q}");
                }
            }
        }
    }
}

/// A net that knows where in its window a voxel lies, and in which of 7 windows, by a value there.
fn position(batch: &WindowBatch) -> Vec<f32> {
    let [nz, ny, nx] = batch.shape;
    let mut out = Vec::new();
    for window in batch.values.chunks(nz * ny * nx) {
        let shift = window[nx + 1].abs() / 3.0;
        for output in 0..2 {
            for i in 0..nz * ny * nx {
                let [x, y, z] = [i % nx, i / nx % ny, i / (nx * ny)];
                let share = (x + 2 * y + 4 * z) as f32 / (nx + 2 * ny + 4 * nz) as f32;
                let p = share * shift;
                out.push(if output == 0 { 1.0 - p } else { p });
            }
        }
    }
    out
}

/// Every window's part weighted by the bell of all axes and divided by the sum of bells, in `f64`.
fn brute(plan: &SegmentationPlan, image: &Image, starts: [&[i64]; 3]) -> Vec<f64> {
    let [nx, ny, nz] = image.grid().shape().map(|n| n as i64);
    let [pz, py, px] = plan.patch;
    let n = (nx * ny * nz) as usize;
    let (mut sums, mut totals) = (vec![0.0; n], vec![0.0; n]);
    let mirrors = super::mirrors(&plan.mirror_axes);
    for &z0 in starts[0] {
        for &y0 in starts[1] {
            for &x0 in starts[2] {
                for mirror in &mirrors {
                    // Place in the volume of voxel (z, y, x) of the mirrored window.
                    let place = |i: usize| {
                        let mut at = [i / (py * px), i / px % py, i % px];
                        for (at, (n, mirror)) in at.iter_mut().zip([pz, py, px].iter().zip(mirror))
                        {
                            *at = if *mirror { n - 1 - *at } else { *at };
                        }
                        let in_volume = [z0 + at[0] as i64, y0 + at[1] as i64, x0 + at[2] as i64];
                        let mut pairs = in_volume.iter().zip([nz, ny, nx]);
                        let inside = pairs.all(|(v, n)| (0..n).contains(v));
                        let [z, y, x] = in_volume;
                        (at, inside.then_some((x + nx * (y + ny * z)) as usize))
                    };
                    let values = (0..pz * py * px)
                        .map(|i| place(i).1.map_or(0.0, |at| image.data()[at]))
                        .collect();
                    let given = position(&WindowBatch {
                        values,
                        len: 1,
                        channels: 1,
                        shape: plan.patch,
                    });
                    for (i, p) in given[pz * py * px..].iter().enumerate() {
                        if let ([z, y, x], Some(at)) = place(i) {
                            let bell = importance(z, pz) * importance(y, py) * importance(x, px);
                            sums[at] += bell * f64::from(*p);
                            totals[at] += bell;
                        }
                    }
                }
            }
        }
    }
    sums.iter().zip(totals).map(|(s, t)| s / t).collect()
}

#[test]
fn windows_are_weighted_and_mirrored_copies_turned_back() {
    let image = noise([14, 5, 19], 8);
    for mirror in [vec![], vec![2], vec![0, 1, 2]] {
        let plan = plan(Dims::Three, [8, 8, 8], &mirror);
        let expected = brute(&plan, &image, [&[0, 4, 7, 11], &[-1], &[0, 3, 6]]);
        let whole_net: Box<dyn PatchNet> = Box::new(|batch: &WindowBatch| Ok(position(batch)));
        let by_slices: Box<dyn PatchNet> = Box::new(Pieces);
        for net in [whole_net, by_slices] {
            let config = WindowConfig::default();
            let found = whole(&plan, &config, std::slice::from_ref(&image), (2, &[net]), 3);
            for (found, expected) in found[1].iter().zip(&expected) {
                assert!(
                    (f64::from(*found) - expected).abs() < 1e-4,
                    "{found} {expected}"
                );
            }
        }
        let config = WindowConfig {
            mirror: false,
            ..WindowConfig::default()
        };
        let net: Box<dyn PatchNet> = Box::new(|batch: &WindowBatch| Ok(position(batch)));
        let found = whole(&plan, &config, std::slice::from_ref(&image), (2, &[net]), 3);
        let same = found[1]
            .iter()
            .zip(&expected)
            .all(|(a, b)| (f64::from(*a) - b).abs() < 1e-3);
        assert_eq!(same, mirror.is_empty());
    }
}

/// [`position`], three slices at a time.
struct Pieces;

impl PatchNet for Pieces {
    fn run(&self, batch: &WindowBatch, take: &mut Take<'_>) -> Result<()> {
        let [nz, ny, nx] = batch.shape;
        let all = position(batch);
        for start in (0..nz).step_by(3) {
            let zs = start..nz.min(start + 3);
            let part: Vec<f32> = all
                .chunks(nz * ny * nx)
                .flat_map(|volume| &volume[zs.start * ny * nx..zs.end * ny * nx])
                .copied()
                .collect();
            take(zs, &part)?;
        }
        Ok(())
    }
}

/// Rounding by copy spreads over a step: what every copy agrees on is not lost, however small.
#[test]
fn small_probabilities_of_many_copies_are_kept() {
    let plan = plan(Dims::Three, [4, 4, 4], &[0, 1, 2]);
    let image = noise([4, 4, 4], 1);
    let nets: Vec<Box<dyn PatchNet>> = (0..5)
        .map(|_| -> Box<dyn PatchNet> {
            Box::new(|batch: &WindowBatch| {
                let mut p = vec![1.0 - 1e-4; batch.values.len()];
                p.extend(vec![1e-4; batch.values.len()]);
                Ok(p)
            })
        })
        .collect();
    let config = WindowConfig::default();
    let found = whole(&plan, &config, &[image], (2, &nets), 4);
    assert!(
        found[1].iter().all(|p| (p - 1e-4).abs() < 1.1 / 65535.0),
        "{:?}",
        found[1][0]
    );
    assert!(found[0].iter().all(|p| (p - 0.9999).abs() < 1.1 / 65535.0));
}

/// Neighbours are channels, those of one image together; beyond the ends the end is repeated.
#[test]
fn neighbouring_slices_are_channels() {
    let plan = plan(Dims::TwoAndHalf { context: 2 }, [1, 4, 4], &[]);
    let image = |offset: f32| {
        let grid = Grid::with_spacing([3, 4, 4], [1.0; 3]).expect("a grid");
        let data = (0..48).map(|i| offset + (i / 12) as f32).collect();
        Image::new(grid, data).expect("an image")
    };
    let net: Box<dyn PatchNet> = Box::new(|batch: &WindowBatch| {
        assert_eq!((batch.channels, batch.shape), (10, [1, 4, 4]));
        // A window of 4 over 3 voxels: the last column is padded.
        let mut out = Vec::new();
        for window in batch.values.chunks(160) {
            let seen: Vec<f32> = window.chunks(16).map(|slice| slice[5]).collect();
            let z = seen[2];
            let expected: Vec<f32> = [0.0, 10.0]
                .iter()
                .flat_map(|o| (-2..=2).map(move |d| o + (z + d as f32).clamp(0.0, 3.0)))
                .collect();
            assert_eq!(seen, expected);
            assert!(window.chunks(4).all(|row| row[3] == 0.0));
            out.extend(vec![z / 4.0; 16]);
            out.extend(vec![1.0 - z / 4.0; 16]);
        }
        Ok(out)
    });
    let images = [image(0.0), image(10.0)];
    let found = whole(&plan, &WindowConfig::default(), &images, (2, &[net]), 2);
    for (i, p) in found[0].iter().enumerate() {
        assert!((p - (i / 12) as f32 / 4.0).abs() < 1e-4);
    }
}

#[test]
fn slices_are_forgotten_and_kept_on_disk() {
    let plan = plan(Dims::Three, [8, 8, 8], &[]);
    let image = noise([9, 9, 60], 5);
    let nets = [pointwise(1.0)];
    let folder = tempfile::tempdir().expect("a folder");
    let mut scratch = Scratch::new(folder.path(), 60, 81).expect("a file");
    let mut tell = |_, _| Ok(());
    let config = WindowConfig::default();
    let case = Path::new("case.nii.gz");
    let images = [image];
    let sliding = Sliding::new(&plan, &config, (case, &images), (2, &nets), &mut tell);
    let mut sliding = sliding.expect("windows").keep(&mut scratch);
    let mut out = vec![0.0; 2 * 81];
    let mut first = Vec::new();
    // Every fifth slice alone is asked for; the others are kept all the same.
    for start in (0..58).step_by(5) {
        sliding
            .read(1, start..start + 2, &mut out)
            .expect("probabilities");
        first.extend_from_slice(&out[..81]);
        assert!(sliding.slices.len() <= 8 + 2, "{}", sliding.slices.len());
    }
    sliding
        .read(0, 59..60, &mut out[..81])
        .expect("probabilities");
    drop(sliding);
    let kept = scratch.read(1).expect("read");
    for (k, slice) in first.chunks(81).enumerate() {
        assert_eq!(slice, &kept[5 * k * 81..(5 * k + 1) * 81]);
    }
    assert_eq!(&scratch.read(0).expect("read")[59 * 81..], &out[..81]);
    drop(scratch);
    assert_eq!(
        std::fs::read_dir(folder.path()).expect("a folder").count(),
        0
    );
}

#[test]
fn too_little_memory_names_the_file_and_bytes() {
    let plan = plan(Dims::Three, [8, 8, 8], &[]);
    let images = [noise([100, 100, 30], 5)];
    let nets = [pointwise(1.0)];
    let mut tell = |_, _| Ok(());
    // 2 outputs of 2 bytes, 10,000 voxels, 8 + 1 slices.
    let try_with = |ram_mb, step, tell: &mut OnWindows<'_>| {
        let config = WindowConfig {
            ram_mb: Some(ram_mb),
            step,
            ..WindowConfig::default()
        };
        let case = Path::new("case.nii.gz");
        let mut sliding = Sliding::new(&plan, &config, (case, &images), (2, &nets), tell)?;
        sliding.read(0, 0..1, &mut vec![0.0; 10_000])
    };
    assert!(try_with(1, 0.5, &mut tell).is_ok());
    let error = try_with(0, 0.5, &mut tell)
        .expect_err("refused")
        .to_string();
    assert!(
        error.contains("360000") && error.ends_with("case.nii.gz"),
        "{error}"
    );
    assert!(try_with(1, 0.0, &mut tell).is_err());
    assert!(try_with(1, f64::NAN, &mut tell).is_err());
    let mut stop = |_, _| Err(Error::Interrupted { step: 0 });
    assert!(matches!(
        try_with(1, 0.5, &mut stop),
        Err(Error::Interrupted { .. })
    ));
}
