//! How bright an image is: what amplitudes of noise and artefacts are shares of.

use rayon::prelude::*;

use crate::Scene;

/// The mean of the painted image over the voxels that have a label, over all where none has; 0 where
/// nothing is painted.
pub(super) fn level(scene: &Scene) -> f32 {
    let labelled = mean(scene, |label| label != 0);
    labelled.or_else(|| mean(scene, |_| true)).unwrap_or(0.0)
}

/// The mean of the painted image over voxels whose label is meant; `None` where there is none.
pub(super) fn mean(scene: &Scene, meant: impl Fn(u16) -> bool + Sync) -> Option<f32> {
    let image = scene.image.as_ref()?;
    let [nx, ny, _] = scene.grid().shape();
    let labels = scene.labels.data().par_chunks(nx * ny);
    // By slice and then in order, so that the sum does not depend on threads.
    let slices: Vec<(f64, f64)> = labels
        .zip(image.data().par_chunks(nx * ny))
        .map(|(labels, image)| {
            let of = labels.iter().zip(image).filter(|(label, _)| meant(**label));
            of.fold((0.0, 0.0), |(n, sum), (_, v)| {
                (n + 1.0, sum + f64::from(*v))
            })
        })
        .collect();
    let all = slices.into_iter();
    let (n, sum) = all.fold((0.0, 0.0), |a, b| (a.0 + b.0, a.1 + b.1));
    (n > 0.0).then(|| (sum / n) as f32)
}
