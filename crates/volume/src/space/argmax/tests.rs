use super::*;
use crate::rng::Rng;
use crate::space::{grid_with_shape, resample_aligned};

/// Smooth blobs of probability: a softmax of slow waves, so that some bricks have one winner.
fn softmax(grid: &Grid, classes: usize, sharpness: f32) -> Vec<Vec<f32>> {
    let mut rng = Rng::new(4, classes as u64, 0);
    let waves: Vec<[f32; 4]> = (0..classes)
        .map(|_| [(); 4].map(|()| rng.uniform(-0.2, 0.2)))
        .collect();
    let [nx, ny, _] = grid.shape();
    let mut volumes = vec![vec![0.0; grid.len()]; classes];
    for i in 0..grid.len() {
        let [x, y, z] = [i % nx, i / nx % ny, i / (nx * ny)].map(|v| v as f32);
        let height = |w: &[f32; 4]| (w[0] * x + w[1] * y + w[2] * z + 20.0 * w[3]).sin();
        let powers: Vec<f32> = waves
            .iter()
            .map(|w| (sharpness * height(w)).exp())
            .collect();
        let sum: f32 = powers.iter().sum();
        for (volume, power) in volumes.iter_mut().zip(powers) {
            volume[i] = power / sum;
        }
    }
    volumes
}

fn decide(
    source: &Grid,
    target: &Grid,
    by: [Interpolation; 3],
    volumes: &[Vec<f32>],
    certainty: Certainty,
) -> Decision {
    let slice = source.shape()[0] * source.shape()[1];
    argmax_onto::<Error>(
        source,
        target,
        by,
        volumes.len(),
        certainty,
        |class, zs, out| {
            out.copy_from_slice(&volumes[class][zs.start * slice..zs.end * slice]);
            Ok(())
        },
    )
    .expect("a decision")
}

#[test]
fn as_when_every_class_is_resampled_whole() {
    let linear = [Interpolation::Linear; 3];
    let thick = [
        Interpolation::Linear,
        Interpolation::Linear,
        Interpolation::Nearest,
    ];
    let source = Grid::with_spacing([40, 33, 17], [1.5, 1.5, 4.0]).expect("a grid");
    for (shape, by, sharpness) in [
        ([75, 61, 40], linear, 40.0),
        ([75, 61, 40], linear, 2.0),
        ([37, 70, 17], thick, 40.0),
        ([40, 33, 17], linear, 9.0),
    ] {
        let target = grid_with_shape(&source, shape).expect("a grid");
        let volumes = softmax(&source, 6, sharpness);
        let whole: Vec<Image> = volumes
            .iter()
            .map(|v| {
                let image = Image::new(source.clone(), v.clone()).expect("an image");
                resample_aligned(image, &target, by).expect("parallel axes")
            })
            .collect();
        let plain = decide(&source, &target, by, &volumes, Certainty::None);
        let winner = decide(&source, &target, by, &volumes, Certainty::Winner);
        let entropy = decide(&source, &target, by, &volumes, Certainty::Entropy);
        assert!(plain.certainty.is_none());
        assert_eq!(plain.labels, winner.labels);
        assert_eq!(plain.labels, entropy.labels);
        let winner = winner.certainty.expect("asked for");
        let entropy = entropy.certainty.expect("asked for");
        for i in 0..target.len() {
            let p: Vec<f32> = whole.iter().map(|w| w.data()[i]).collect();
            let top = p.iter().copied().fold(0.0, f32::max);
            let chosen = p[usize::from(plain.labels.data()[i])];
            assert!(chosen > top - 1e-6, "{i}: {p:?}");
            assert!((winner.data()[i] - top).abs() < 1e-6);
            let nats: f32 = p.iter().filter(|v| **v > 0.0).map(|v| -v * v.ln()).sum();
            assert!((entropy.data()[i] - nats).abs() < 1e-5);
        }
    }
}

/// Values below 0, as of nets without a softmax, are compared all the same.
#[test]
fn scores_below_0_are_compared_too() {
    let source = Grid::with_spacing([30, 21, 9], [1.0; 3]).expect("a grid");
    let target = grid_with_shape(&source, [50, 33, 20]).expect("a grid");
    let by = [Interpolation::Linear; 3];
    let mut volumes = softmax(&source, 4, 3.0);
    volumes
        .iter_mut()
        .for_each(|v| v.iter_mut().for_each(|v| *v = 5.0 * (*v - 0.6)));
    let found = decide(&source, &target, by, &volumes, Certainty::Winner);
    let whole: Vec<Image> = volumes
        .into_iter()
        .map(|v| {
            let image = Image::new(source.clone(), v).expect("an image");
            resample_aligned(image, &target, by).expect("parallel axes")
        })
        .collect();
    for (i, &label) in found.labels.data().iter().enumerate() {
        let top = whole.iter().map(|w| w.data()[i]).fold(f32::MIN, f32::max);
        assert!(whole[usize::from(label)].data()[i] > top - 1e-5);
    }
}

#[test]
fn ties_go_to_the_lowest_class_and_slices_come_in_order() {
    let source = Grid::with_spacing([3, 3, 40], [1.0; 3]).expect("a grid");
    let target = grid_with_shape(&source, [2100, 1100, 9]).expect("a grid");
    let mut starts = Vec::new();
    let decision = argmax_onto::<Error>(
        &source,
        &target,
        [Interpolation::Linear; 3],
        3,
        Certainty::None,
        |class, zs, out| {
            starts.push(zs.start);
            out.fill(if class == 0 { 0.2 } else { 0.4 });
            Ok(())
        },
    )
    .expect("a decision");
    assert!(decision.labels.data().iter().all(|&l| l == 1));
    assert!(starts.is_sorted());
    assert!(starts.iter().max() > Some(&20), "several slabs");
}

#[test]
fn what_cannot_be_done_is_refused() {
    let grid = Grid::with_spacing([3, 3, 3], [1.0; 3]).expect("a grid");
    let run = |by: Interpolation, classes: usize| {
        argmax_onto::<Error>(
            &grid,
            &grid,
            [by; 3],
            classes,
            Certainty::None,
            |_, _, _| Err(Error::geometry("read".into())),
        )
    };
    let message = |by, classes| run(by, classes).expect_err("refused").to_string();
    assert!(message(Interpolation::Cubic, 2).contains("cubic"));
    assert!(message(Interpolation::Linear, 0).contains("65536"));
    assert_eq!(message(Interpolation::Linear, 2), "read");
}
