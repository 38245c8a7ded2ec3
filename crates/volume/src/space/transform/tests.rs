use glam::DMat4;
use serde_json::Value;

use super::*;
use crate::space::resample_image;

fn golden() -> Value {
    serde_json::from_str(include_str!("../../../testdata/transform.json")).expect("JSON")
}

fn numbers(value: &Value) -> Vec<f64> {
    let list = value.as_array().expect("a list").iter();
    list.map(|v| v.as_f64().expect("a number")).collect()
}

/// Matrices are written row by row.
fn matrix(value: &Value) -> DMat4 {
    let rows: [f64; 16] = numbers(value).try_into().expect("sixteen numbers");
    DMat4::from_cols_array(&rows).transpose()
}

fn grid(value: &Value) -> Grid {
    let shape: Vec<usize> = numbers(&value["shape"])
        .into_iter()
        .map(|n| n as usize)
        .collect();
    Grid::new([shape[0], shape[1], shape[2]], matrix(&value["world"])).expect("a grid")
}

fn image(grid: &Grid, samples: &Value) -> Image {
    let samples = numbers(samples).into_iter().map(|v| v as f32);
    Image::new(grid.clone(), samples.collect()).expect("an image")
}

fn close(found: &Image, expected: &Value, what: &str) {
    let expected = numbers(expected);
    assert_eq!(found.data().len(), expected.len());
    let inside = expected.iter().filter(|v| **v != -9.0).count();
    assert!(
        inside > expected.len() / 4,
        "{what} hardly lies in the source"
    );
    for (i, (a, b)) in found.data().iter().zip(expected).enumerate() {
        assert!((f64::from(*a) - b).abs() < 2e-5, "{what}, {i}: {a} not {b}");
    }
}

#[test]
fn as_simpleitk_and_scipy() {
    let golden = golden();
    let [source, target, lattice] = ["source", "target", "lattice"].map(|key| grid(&golden[key]));
    let samples = image(&source, &golden["samples"]);
    let affine = Transform::affine(matrix(&golden["affine"])).expect("an affine");
    let of = |by: &Transform, interpolation| by.image(&samples, &target, interpolation, -9.0);
    close(
        &of(&affine, Interpolation::Linear),
        &golden["linear"],
        "linear",
    );
    close(
        &of(&affine, Interpolation::Cubic),
        &golden["cubic"],
        "cubic",
    );
    let parts = [0, 1, 2].map(|axis| image(&lattice, &golden["field"][axis]));
    let displaced = affine.clone().displaced(parts).expect("one grid");
    close(
        &of(&displaced, Interpolation::Linear),
        &golden["displaced"],
        "displaced",
    );

    let values = numbers(&golden["labels"]).into_iter().map(|v| v as u16);
    let labels = Labels::new(source.clone(), values.collect()).expect("labels");
    let expected = numbers(&golden["nearest"]);
    let found = affine.labels_nearest(&labels, &target);
    assert!(
        found
            .data()
            .iter()
            .zip(expected)
            .all(|(a, b)| f64::from(*a) == b)
    );
}

#[test]
fn no_transform_is_plain_resampling() {
    let golden = golden();
    let [source, target] = ["source", "target"].map(|key| grid(&golden[key]));
    let samples = image(&source, &golden["samples"]);
    let still = Transform::affine(DMat4::IDENTITY).expect("an affine");
    let found = still.image(&samples, &target, Interpolation::Linear, 0.5);
    let plain = resample_image(&samples, &target, Interpolation::Linear, 0.5);
    for (a, b) in found.data().iter().zip(plain.data()) {
        assert!((a - b).abs() < 1e-5);
    }
    assert_eq!(still.point([1.0, 2.0, 3.0]), [1.0, 2.0, 3.0]);
    let labels = Labels::new(source.clone(), vec![3; source.len()]).expect("labels");
    assert_eq!(still.labels_linear(&labels, &source), labels);
}

#[test]
fn what_moves_nothing_anywhere_is_refused() {
    assert!(Transform::affine(DMat4::from_diagonal(glam::DVec4::splat(f64::NAN))).is_err());
    assert!(Transform::affine(DMat4::IDENTITY.transpose() * 2.0).is_err());
    let grid = Grid::with_spacing([2, 1, 1], [1.0; 3]).expect("a grid");
    let other = Grid::with_spacing([1, 2, 1], [1.0; 3]).expect("a grid");
    let part = |grid: &Grid, v: f32| Image::new(grid.clone(), vec![v; 2]).expect("an image");
    let still = Transform::affine(DMat4::IDENTITY).expect("an affine");
    let wild = [part(&grid, 0.0), part(&grid, 0.0), part(&grid, f32::NAN)];
    assert!(still.clone().displaced(wild).is_err());
    let apart = [part(&grid, 0.0), part(&grid, 0.0), part(&other, 0.0)];
    assert!(still.displaced(apart).is_err());
}
