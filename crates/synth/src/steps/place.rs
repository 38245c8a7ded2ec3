//! Placing things in a scene: where, which way round, and the voxels thereabouts.

use crossmod_volume::rng::Rng;
use glam::{DMat3, DVec3, Quat};

use crate::Scene;

/// Voxels that hold any of `values`, each as likely; none where none does.
pub(super) fn voxels_within(
    scene: &Scene,
    values: &[u16],
    number: usize,
    rng: &mut Rng,
) -> Vec<[usize; 3]> {
    let [nx, ny, _] = scene.grid().shape();
    let within = |label: &u16| values.binary_search(label).is_ok();
    let counts = scene.labels.counts();
    let all: usize = values.iter().filter_map(|value| counts.get(value)).sum();
    if all == 0 {
        return Vec::new();
    }
    let picks: Vec<usize> = (0..number).map(|_| rng.below(all)).collect();
    let mut sorted = picks.clone();
    sorted.sort_unstable();
    sorted.dedup();
    let mut found = std::collections::BTreeMap::new();
    let mut wanted = sorted.into_iter().peekable();
    let held = scene.labels.data().iter().enumerate();
    for (rank, (i, _)) in held.filter(|(_, label)| within(label)).enumerate() {
        let Some(&next) = wanted.peek() else { break };
        if rank == next {
            found.insert(rank, [i % nx, i / nx % ny, i / (nx * ny)]);
            wanted.next();
        }
    }
    picks
        .iter()
        .filter_map(|pick| found.get(pick).copied())
        .collect()
}

/// A rotation, all alike (Shoemake, Graphics Gems III, 1992, page 124).
pub(super) fn turn(rng: &mut Rng) -> Quat {
    let (u, a, b) = (rng.unit(), rng.unit(), rng.unit());
    let (a, b) = (std::f32::consts::TAU * a, std::f32::consts::TAU * b);
    let (long, short) = ((1.0 - u).sqrt(), u.sqrt());
    Quat::from_xyzw(
        long * a.sin(),
        long * a.cos(),
        short * b.sin(),
        short * b.cos(),
    )
}

/// Visits the labels of voxels within a distance of a voxel, and some beyond, with where they lie from
/// it (world axes, mm).
pub(super) fn within_reach(
    scene: &mut Scene,
    centre: [f64; 3],
    reach_mm: f64,
    mut visit: impl FnMut(DVec3, &mut u16),
) {
    let grid = scene.grid().clone();
    let linear = DMat3::from_mat4(grid.world_from_voxel());
    // A ball of the reach spans this many voxels along each axis: the rows of the inverse.
    let inverse = linear.inverse().transpose();
    let [nx, ny, nz] = grid.shape();
    let span = |axis: usize, n: usize| {
        let steps = reach_mm * inverse.col(axis).length();
        let low = (centre[axis] - steps).ceil().max(0.0) as usize;
        let high = (centre[axis] + steps).floor().min(n as f64 - 1.0);
        low..if high < 0.0 { 0 } else { high as usize + 1 }
    };
    let (xs, ys, zs) = (span(0, nx), span(1, ny), span(2, nz));
    for z in zs {
        for y in ys.clone() {
            let row = nx * (y + ny * z);
            for x in xs.clone() {
                let from = DVec3::new(x as f64, y as f64, z as f64) - DVec3::from_array(centre);
                visit(linear * from, &mut scene.labels.data_mut()[row + x]);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::trial;
    use super::*;

    #[test]
    fn places_are_even_over_the_structure() {
        let scene = trial::scene([10, 1, 1], [1.0; 3], |[x, _, _]| u16::from(x >= 6));
        let mut rng = Rng::new(1, 0, 0);
        let mut seen = [0; 10];
        for [x, _, _] in voxels_within(&scene, &[1], 4000, &mut rng) {
            seen[x] += 1;
        }
        assert_eq!(seen[..6], [0; 6]);
        assert!(
            seen[6..].iter().all(|n| (880..1120).contains(n)),
            "{seen:?}"
        );
        assert!(voxels_within(&scene, &[5], 3, &mut rng).is_empty());
    }

    #[test]
    fn directions_are_even_over_the_sphere() {
        let mut rng = Rng::new(2, 0, 0);
        let n = 4000;
        let all: Vec<glam::Vec3> = (0..n).map(|_| turn(&mut rng) * glam::Vec3::X).collect();
        for axis in 0..3 {
            let mean = all.iter().map(|v| v[axis]).sum::<f32>() / n as f32;
            let square = all.iter().map(|v| v[axis] * v[axis]).sum::<f32>() / n as f32;
            assert!(
                mean.abs() < 0.04 && (square - 1.0 / 3.0).abs() < 0.02,
                "{mean} {square}"
            );
        }
    }
}
