//! Connected sets of voxels, held as runs along x.
//!
//! A run is an unbroken row of voxels; runs that touch are joined by union–find with path halving,
//! the root always being the earliest run (He, Chao and Suzuki 2008, "A run-based two-scan labeling
//! algorithm", doi:10.1109/TIP.2008.919369, here in three dimensions). Memory goes with the number
//! of runs, not of voxels.

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

/// Which voxels touch. Where an axis has one voxel these are 4 (faces) or 8 neighbours in a plane.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Neighbourhood {
    /// The 6 that share a face.
    Faces,
    /// The 18 that share a face or an edge.
    Edges,
    /// The 26 that share a face, an edge or a corner.
    #[default]
    Corners,
}

/// Voxels `start` to before `end` of a row, and the set they belong to.
#[derive(Debug, Clone, Copy)]
pub(super) struct Run {
    /// Row `y + ny * z`.
    pub(super) row: usize,
    pub(super) start: u32,
    pub(super) end: u32,
    /// Number of the set, counted in order of first voxels.
    pub(super) set: u32,
}

impl Run {
    pub(super) fn len(&self) -> usize {
        (self.end - self.start) as usize
    }
}

/// Every run of a set of voxels in order of storage, and the number of connected sets.
pub(super) struct Runs {
    pub(super) runs: Vec<Run>,
    pub(super) sets: usize,
}

/// Finds the connected sets among the voxels, of a volume of `shape`, whose (x, row) `inside` says
/// yes to.
///
/// # Panics
/// Where a row has 2³² voxels or there are as many runs.
pub(super) fn connect(
    [nx, ny, nz]: [usize; 3],
    neighbourhood: Neighbourhood,
    inside: impl Fn(usize, usize) -> bool + Sync,
) -> Runs {
    let width = u32::try_from(nx).expect("fewer than 2³² voxels in a row");
    let slices: Vec<Vec<Run>> = (0..nz)
        .into_par_iter()
        .map(|z| {
            let mut found = Vec::new();
            for row in ny * z..ny * (z + 1) {
                let mut x = 0;
                while x < width {
                    let start = (x..width).find(|&x| inside(x as usize, row));
                    let Some(start) = start else { break };
                    let after = (start + 1..width).find(|&x| !inside(x as usize, row));
                    let end = after.unwrap_or(width);
                    let set = 0;
                    found.push(Run {
                        row,
                        start,
                        end,
                        set,
                    });
                    x = end;
                }
            }
            found
        })
        .collect();
    let mut runs: Vec<Run> = slices.concat();
    let count = u32::try_from(runs.len()).expect("fewer than 2³² runs");

    // Where each row's runs begin.
    let mut starts = vec![0usize; ny * nz + 1];
    runs.iter().for_each(|run| starts[run.row + 1] += 1);
    (0..ny * nz).for_each(|row| starts[row + 1] += starts[row]);

    let mut parents: Vec<u32> = (0..count).collect();
    for z in 0..nz {
        for y in 0..ny {
            let row = y + ny * z;
            if starts[row] == starts[row + 1] {
                continue;
            }
            for (dy, dz, reach) in behind(neighbourhood) {
                let (Some(y), Some(z)) = (y.checked_add_signed(dy), z.checked_add_signed(dz))
                else {
                    continue;
                };
                if y < ny {
                    let other = y + ny * z;
                    let rows = [other, row].map(|r| starts[r]..starts[r + 1]);
                    join(&runs, rows, reach, &mut parents);
                }
            }
        }
    }

    let mut sets = 0;
    for i in 0..runs.len() {
        let root = root(&mut parents, i as u32) as usize;
        // Roots are the earliest of their set, so theirs is numbered already.
        runs[i].set = if root == i {
            sets += 1;
            sets - 1
        } else {
            runs[root].set
        };
    }
    Runs {
        runs,
        sets: sets as usize,
    }
}

/// The rows before a row in storage that touch it: how far along y and z, and how many voxels
/// beyond a run's ends count as touching.
fn behind(neighbourhood: Neighbourhood) -> impl Iterator<Item = (isize, isize, u32)> {
    let (straight, across) = match neighbourhood {
        Neighbourhood::Faces => (0, None),
        Neighbourhood::Edges => (1, Some(0)),
        Neighbourhood::Corners => (1, Some(1)),
    };
    let across = across.into_iter().flat_map(|r| [(-1, -1, r), (1, -1, r)]);
    [(-1, 0, straight), (0, -1, straight)]
        .into_iter()
        .chain(across)
}

/// Joins the runs of two rows that touch.
fn join(runs: &[Run], rows: [std::ops::Range<usize>; 2], reach: u32, parents: &mut [u32]) {
    let [mut a, mut b] = rows;
    while !a.is_empty() && !b.is_empty() {
        let (p, q) = (&runs[a.start], &runs[b.start]);
        if p.start < q.end + reach && q.start < p.end + reach {
            let (i, j) = (root(parents, a.start as u32), root(parents, b.start as u32));
            parents[i.max(j) as usize] = i.min(j);
        }
        // The one that ends later may touch more of the other row.
        if p.end <= q.end {
            a.start += 1;
        } else {
            b.start += 1;
        }
    }
}

fn root(parents: &mut [u32], mut i: u32) -> u32 {
    while parents[i as usize] != i {
        let grandparent = parents[parents[i as usize] as usize];
        parents[i as usize] = grandparent;
        i = grandparent;
    }
    i
}
