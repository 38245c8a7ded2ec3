//! Where a patch is cut.

use std::collections::{BTreeMap, BTreeSet};

use crossmod_volume::rng::Rng;
use crossmod_volume::space::Frame;

use crate::Scene;

/// A random voxel of a random one of the structures that are learnt; `None` where there is none.
pub(super) fn learnt(scene: &Scene, rng: &mut Rng) -> Option<[usize; 3]> {
    let mut by_target: BTreeMap<u16, (usize, BTreeSet<u16>)> = BTreeMap::new();
    for (value, count) in scene.labels.counts() {
        let target = scene.structure(value).target;
        if target != 0 {
            let (voxels, values) = by_target.entry(target).or_default();
            *voxels += count;
            values.insert(value);
        }
    }
    let chosen = rng.below(by_target.len());
    let (voxels, values) = by_target.into_values().nth(chosen)?;
    let nth = rng.below(voxels);
    let data = scene.labels.data().iter().enumerate();
    let (at, _) = data.filter(|(_, value)| values.contains(value)).nth(nth)?;
    let [nx, ny, _] = scene.grid().shape();
    Some([at % nx, at / nx % ny, at / (nx * ny)])
}

/// A frame of `shape` within a scene: about a place, or anywhere. Along an axis on which the scene is
/// shorter, it lies in the frame's middle.
pub(super) fn frame(
    scene: [usize; 3],
    shape: [usize; 3],
    about: Option<[f64; 3]>,
    rng: &mut Rng,
) -> Frame {
    let start = [0, 1, 2].map(|a| {
        let Some(room) = scene[a].checked_sub(shape[a]) else {
            return -(((shape[a] - scene[a]) / 2) as i64);
        };
        match about {
            Some(place) => {
                let first = place[a] - (shape[a] - 1) as f64 / 2.0;
                first.round().clamp(0.0, room as f64) as i64
            }
            None => rng.below(room + 1) as i64,
        }
    });
    Frame { start, shape }
}
