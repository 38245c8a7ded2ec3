//! The convex hull of labels in each slice across the body.
//!
//! A convex set is known by how far it reaches in each direction (its support function). In each slice that
//! is the greatest reach of the labels of the slices about, then averaged along the body over the same
//! distance, so that the body's outline changes slowly and never cuts a label off. Where no label is near,
//! the nearest slice that has one stands in.

use std::f32::consts::TAU;

use crossmod_volume::Labels;
use rayon::prelude::*;

use super::super::axial::Axial;

/// Directions: the hull is a polygon of at most so many sides, within 0.2 % of the true one.
const DIRECTIONS: usize = 48;

/// How far each slice's hull reaches.
pub(super) struct Hull {
    axial: Axial,
    spacing: [f32; 2],
    /// mm from the array's corner; by direction, then slice. Empty where there are no labels.
    reach: Vec<Vec<f32>>,
}

fn direction(k: usize) -> [f32; 2] {
    let (sin, cos) = (TAU * k as f32 / DIRECTIONS as f32).sin_cos();
    [cos, sin]
}

impl Hull {
    /// Of all labels but 0, those within `reach_mm` along the body for each slice.
    pub(super) fn of(labels: &Labels, reach_mm: f32) -> Self {
        let grid = labels.grid();
        let axial = Axial::of(grid);
        let spacing = axial.spacing_mm(grid).map(|s| s as f32);
        let ends = ends(labels, axial);
        let window = (f64::from(reach_mm) / grid.spacing_mm()[axial.along]) as usize;
        let reach = (0..DIRECTIONS).into_par_iter().map(|k| {
            let [cos, sin] = direction(k);
            let own: Vec<Option<f32>> = ends
                .iter()
                .map(|lines| {
                    let reach = lines.iter().map(|&[b, low, high]| {
                        let a = if cos >= 0.0 { high } else { low };
                        cos * a as f32 * spacing[0] + sin * b as f32 * spacing[1]
                    });
                    reach.reduce(f32::max)
                })
                .collect();
            smoothed(&own, window)
        });
        Self {
            axial,
            spacing,
            reach: reach.collect::<Option<Vec<_>>>().unwrap_or_default(),
        }
    }

    /// Gives each voxel without a label the value of its number and its depth in the hull, mm; outside it
    /// is negative.
    pub(super) fn paint(&self, labels: &mut Labels, value: impl Fn(usize, f32) -> u16 + Sync) {
        let [nx, ny, _] = labels.grid().shape();
        let Axial { along, across } = self.axial;
        let slices = labels.data_mut().par_chunks_mut(nx * ny).enumerate();
        slices.for_each_init(
            || vec![0.0f32; nx],
            |depth, (z, slice)| {
                for (y, row) in slice.chunks_exact_mut(nx).enumerate() {
                    depth.fill(if self.reach.is_empty() {
                        f32::NEG_INFINITY
                    } else {
                        f32::INFINITY
                    });
                    for (k, reach) in self.reach.iter().enumerate() {
                        let direction = direction(k);
                        let at = |axis: usize, voxel: usize| {
                            let a = across.iter().position(|&a| a == axis);
                            a.map_or(0.0, |a| direction[a] * self.spacing[a] * voxel as f32)
                        };
                        let fixed = at(1, y) + at(2, z);
                        if along == 0 {
                            for (depth, reach) in depth.iter_mut().zip(reach) {
                                *depth = depth.min(reach - fixed);
                            }
                        } else {
                            let reach = reach[if along == 1 { y } else { z }] - fixed;
                            let step = at(0, 1);
                            for (x, depth) in depth.iter_mut().enumerate() {
                                *depth = depth.min(reach - step * x as f32);
                            }
                        }
                    }
                    let first = (z * ny + y) * nx;
                    for (x, (label, &depth)) in row.iter_mut().zip(depth.iter()).enumerate() {
                        if *label == 0 {
                            *label = value(first + x, depth);
                        }
                    }
                }
            },
        );
    }
}

/// For each slice, its lines with labels: place across, the first and the last voxel with one.
fn ends(labels: &Labels, axial: Axial) -> Vec<Vec<[usize; 3]>> {
    let [nx, ny, nz] = labels.grid().shape();
    let [a, b] = axial.across;
    let (_, slices) = axial.shape(labels.grid());
    // Which lines a z plane adds to: its own alone, so that planes need not be joined.
    let planes: Vec<Vec<[usize; 4]>> = (0..nz)
        .into_par_iter()
        .map(|z| {
            let plane = labels.slice_z(z);
            let mut found = std::collections::BTreeMap::<[usize; 2], [usize; 2]>::new();
            for y in 0..ny {
                let row = &plane[nx * y..][..nx];
                let at = |x: usize| [x, y, z];
                let mut add = |x: usize| {
                    let at = at(x);
                    let ends = found.entry([at[axial.along], at[b]]).or_insert([at[a]; 2]);
                    *ends = [ends[0].min(at[a]), ends[1].max(at[a])];
                };
                if a == 0 {
                    // Of a row across the body only its ends can matter.
                    let Some(first) = row.iter().position(|&v| v != 0) else {
                        continue;
                    };
                    add(first);
                    add(row.iter().rposition(|&v| v != 0).unwrap_or(first));
                } else {
                    let labelled = row.iter().enumerate().filter(|(_, v)| **v != 0);
                    labelled.for_each(|(x, _)| add(x));
                }
            }
            let lines = found.into_iter();
            lines
                .map(|([slice, b], [low, high])| [slice, b, low, high])
                .collect()
        })
        .collect();
    let mut ends = vec![Vec::new(); slices];
    for [slice, b, low, high] in planes.into_iter().flatten() {
        ends[slice].push([b, low, high]);
    }
    ends
}

/// The greatest within a window of slices, then the mean over it; `None` where no slice has a number.
fn smoothed(own: &[Option<f32>], window: usize) -> Option<Vec<f32>> {
    let n = own.len();
    let nearest = |s: usize| {
        (0..n).find_map(|d| {
            let before = s.checked_sub(d).and_then(|s| own[s]);
            let after = own.get(s + d).copied().flatten();
            match (before, after) {
                (Some(a), Some(b)) => Some(a.max(b)),
                (a, b) => a.or(b),
            }
        })
    };
    let span = |s: usize| s.saturating_sub(window)..(s + window + 1).min(n);
    let greatest: Option<Vec<f32>> = (0..n)
        .map(|s| {
            own[span(s)]
                .iter()
                .copied()
                .flatten()
                .reduce(f32::max)
                .or_else(|| nearest(s))
        })
        .collect();
    let greatest = greatest?;
    let mean = |s: usize| {
        let about = &greatest[span(s)];
        about.iter().sum::<f32>() / about.len() as f32
    };
    Some((0..n).map(mean).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crossmod_volume::Grid;
    use glam::{DMat4, DVec4};

    /// The same ball in an array whose slices run along z and in one where they run along x.
    #[test]
    fn depth_is_the_distance_to_the_hull_whatever_the_axes() {
        let plain = Grid::with_spacing([30, 30, 20], [2.0; 3]).expect("a grid");
        let turned = DMat4::from_cols(
            DVec4::new(0.0, 0.0, -2.0, 0.0),
            DVec4::new(0.0, -2.0, 0.0, 0.0),
            DVec4::new(-2.0, 0.0, 0.0, 0.0),
            DVec4::W,
        );
        let turned = Grid::new([20, 30, 30], turned).expect("a grid");
        for grid in [plain, turned] {
            let axial = Axial::of(&grid);
            let shape = grid.shape();
            let voxels: Vec<[usize; 3]> = super::super::super::trial::voxels(shape).collect();
            let radius = |v: &[usize; 3]| {
                let from = axial.across.map(|a| 2.0 * (v[a] as f32 - 15.0));
                from[0].hypot(from[1])
            };
            // A ring of labels: its hull is a disc of 20 mm.
            let ring = voxels
                .iter()
                .map(|v| u16::from((17.0..=20.0).contains(&radius(v))));
            let mut labels = Labels::new(grid, ring.collect()).expect("labels");
            let hull = Hull::of(&labels, 10.0);
            hull.paint(&mut labels, |_, depth| (100.0 + depth).max(0.0) as u16);
            for (v, &label) in voxels.iter().zip(labels.data()) {
                if label != 1 {
                    // The last label's middle lies within a voxel of 20 mm.
                    let depth = f32::from(label) - 100.0;
                    assert!((depth - (19.3 - radius(v))).abs() < 2.0, "{v:?} {depth}");
                }
            }
        }
    }

    #[test]
    fn slices_without_labels_take_the_nearest_and_none_is_cut_off() {
        let own = [
            None,
            None,
            Some(3.0),
            Some(9.0),
            Some(3.0),
            None,
            None,
            None,
        ];
        let found = smoothed(&own, 1).expect("numbers");
        for (own, found) in own.iter().zip(&found) {
            assert!(own.is_none_or(|own| *found >= own));
        }
        assert_eq!(found[7], 3.0);
        assert_eq!(found[0], 3.0);
        assert!(smoothed(&[None, None], 1).is_none());
    }
}
