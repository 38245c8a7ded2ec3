//! Small scenes for the steps' tests.

use crossmod_volume::rng::Rng;
use crossmod_volume::{Grid, Image, Labels};

use super::{Apply, Random};
use crate::{Scene, Structure};

/// A scene of the labels that `label` gives at each voxel: 1 and 2 are the left and right organ,
/// others are unnamed.
pub(super) fn scene(
    shape: [usize; 3],
    spacing_mm: [f64; 3],
    label: impl Fn([usize; 3]) -> u16,
) -> Scene {
    let grid = Grid::with_spacing(shape, spacing_mm).expect("a grid");
    let labels = Labels::new(grid, voxels(shape).map(label).collect()).expect("labels");
    let organ = |value, side: &str| Structure {
        name: format!("{side} organ"),
        class: "organ".into(),
        mirror: Some(3 - value),
        target: value,
    };
    let mut structures: std::collections::BTreeMap<u16, Structure> = labels
        .counts()
        .into_keys()
        .map(|value| (value, Structure::unnamed(value)))
        .collect();
    structures.insert(1, organ(1, "left"));
    structures.insert(2, organ(2, "right"));
    Scene {
        labels,
        structures,
        scan: None,
        image: None,
        patch: None,
    }
}

/// An image on a scene's grid.
pub(super) fn image(scene: &Scene, value: impl Fn([usize; 3]) -> f32) -> Image {
    let data = voxels(scene.grid().shape()).map(value).collect();
    Image::new(scene.grid().clone(), data).expect("an image")
}

/// Every voxel, in order of storage.
pub(super) fn voxels([nx, ny, nz]: [usize; 3]) -> impl Iterator<Item = [usize; 3]> {
    (0..nx * ny * nz).map(move |i| [i % nx, i / nx % ny, i / (nx * ny)])
}

/// Draws a step and applies it, on one thread and on three, from the record as it would be read from
/// a file: all the same. Gives the draw and what became of the scene.
pub(super) fn done<S: Random<Draw: Send>>(step: &S, scene: &Scene, seed: u64) -> (S::Draw, Scene) {
    let mut step: S = toml::from_str(&toml::to_string(step).expect("written")).expect("read");
    step.load().expect("ranges that can be");
    let draw = step.draw(scene, &mut Rng::new(seed, 0, 0)).expect("a draw");
    let record = serde_json::to_string(&draw).expect("a record");
    let on = |threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build();
        let again: S::Draw = serde_json::from_str(&record).expect("a record");
        let mut scene = scene.clone();
        pool.expect("a pool")
            .install(move || again.apply(&mut scene).map(|()| scene))
            .expect("applied")
    };
    let (one, three) = (on(1), on(3));
    let bits = |image: &Option<Image>| {
        let data = image.as_ref().map(|image| image.data().iter());
        data.map(|data| data.map(|v| v.to_bits()).collect::<Vec<u32>>())
    };
    let same = one.labels == three.labels && one.structures == three.structures;
    let same =
        same && bits(&one.image) == bits(&three.image) && bits(&one.scan) == bits(&three.scan);
    assert!(same, "one thread makes the same as three");
    (draw, one)
}
