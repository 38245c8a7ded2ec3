//! Parallel views out of the fans.
//!
//! The ray of fan angle γ in the fan of angle λ runs in the direction θ = λ − γ at the distance
//! t = R sin γ from the axis, so the parallel view of direction θ takes for each t the ray
//!
//! p(θ, t, row) = fan(λ = θ + asin(t / R), γ = asin(t / R), row).
//!
//! Seen along z its rays are parallel; each keeps its own row and its own source, at the height
//! z₀ + h (θ + asin(t / R)) / 2π: a wedge (row-wise "parallel" rebinning; Grass, Köhler and Proksa,
//! Phys. Med. Biol. 45:329, 2000, doi:10.1088/0031-9155/45/2/306, without their resampling of
//! heights). Distances are the multiples of R Δγ, the same on both sides, so that opposite views
//! share them; a quarter-channel offset is resolved here. Each ray is weighted by the cosine of its cone angle,
//! which the filter asks for.

use std::f64::consts::TAU;

use serde::{Deserialize, Serialize};

use crate::geometry::Scan;
use crate::simd::{Kernel, Lanes, Level};

/// Rows of a panel: one vector of the widest kind.
pub(crate) const PANEL: usize = 16;

/// Most channels and views that a ray is interpolated from.
const CHANNEL_TAPS: usize = 6;
const VIEW_TAPS: usize = 4;

/// How rays between the measured ones are found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Interpolation {
    /// Linearly from two channels and two views, as published: blurs a little, along t and around
    /// the axis, and what ringing and windmill a sharp kernel brings with it.
    #[default]
    Linear,
    /// By Lagrange's polynomial through six channels and four views: nearly all the detail that was
    /// measured.
    Lagrange,
}

/// The way from fans to parallel views.
#[derive(Debug)]
pub(crate) struct Rebinning {
    channels: usize,
    rows: usize,
    nodes: usize,
    ray_spacing_mm: f64,
    margin: usize,
    /// Channels and views that a ray is interpolated from.
    taps: [usize; 2],
    /// Per distance: the first of the channels, and their weights.
    from_channels: Vec<(usize, [f32; CHANNEL_TAPS])>,
    /// Per distance: the first of the views, counted from the first that a parallel view needs, and
    /// their weights.
    from_views: Vec<(usize, [f32; VIEW_TAPS])>,
    cosines: Vec<f32>,
}

impl Rebinning {
    pub(crate) fn new(scan: &Scan, interpolation: Interpolation) -> Self {
        let scanner = scan.scanner();
        let source = scanner.source_to_isocentre_mm;
        let ray_spacing_mm = scanner.ray_spacing_mm();
        let side = (scanner.field_radius_mm() / ray_spacing_mm).floor() as usize;
        let nodes = 2 * side + 1;
        let per_radian = scanner.views_per_turn as f64 / TAU;
        let margin = scan.fan_margin();
        let taps = match interpolation {
            Interpolation::Linear => [2, 2],
            Interpolation::Lagrange => [CHANNEL_TAPS.min(scanner.channels), VIEW_TAPS],
        };
        let angle = |node: usize| {
            let distance = (node as f64 - side as f64) * ray_spacing_mm;
            (distance / source).asin()
        };
        let from_channels = (0..nodes)
            .map(|node| {
                let place = scanner.central_channel + angle(node) / scanner.channel_rad;
                let taps = taps[0];
                let first = (place.floor() - (taps / 2 - 1) as f64).max(0.0) as usize;
                let first = first.min(scanner.channels - taps);
                (first, lagrange(place - first as f64, taps))
            })
            .collect();
        let from_views = (0..nodes)
            .map(|node| {
                let place = margin as f64 + angle(node) * per_radian;
                let first = place.floor() as usize - (taps[1] / 2 - 1);
                (first, lagrange(place - first as f64, taps[1]))
            })
            .collect();
        let cosines = (0..scanner.rows)
            .map(|row| (1.0 / scanner.row_slope(row as f64).hypot(1.0)) as f32)
            .collect();
        Self {
            channels: scanner.channels,
            rows: scanner.rows,
            nodes,
            ray_spacing_mm,
            margin,
            taps,
            from_channels,
            from_views,
            cosines,
        }
    }

    /// Distances from the axis in a parallel view.
    pub(crate) fn nodes(&self) -> usize {
        self.nodes
    }

    /// Distance of node 0, mm.
    pub(crate) fn first_mm(&self) -> f64 {
        -((self.nodes / 2) as f64) * self.ray_spacing_mm
    }

    /// Fans that a parallel view is made of: itself and this many on either side.
    pub(crate) fn margin(&self) -> usize {
        self.margin
    }

    /// Floats of a fan whose channels have become nodes, `[node][row]`, rows filled up to panels.
    pub(crate) fn fan_len(&self) -> usize {
        self.nodes * self.rows.next_multiple_of(PANEL)
    }

    /// Samples at the nodes' fan angles of one view `[channel][row]`, cosines included.
    pub(crate) fn channels(&self, level: Level, view: &[f32], fan: &mut [f32]) {
        assert_eq!(view.len(), self.channels * self.rows, "a view");
        assert_eq!(fan.len(), self.fan_len(), "a fan");
        level.run(Channels {
            rebinning: self,
            view,
            fan,
        });
    }

    /// A parallel view from the fans about it, in panels: see [`Panels`].
    pub(crate) fn views(&self, level: Level, fans: &[f32], panels: &mut [f32]) {
        let fan_len = self.fan_len();
        assert_eq!(
            fans.len(),
            (2 * self.margin + 1) * fan_len,
            "the fans about a view"
        );
        assert_eq!(panels.len(), fan_len, "a view in panels");
        level.run(Views {
            rebinning: self,
            fans,
            panels,
        });
    }
}

/// A parallel view as the filter reads it: `[panel of 16 rows][even nodes, then odd][row]`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Panels {
    pub(crate) nodes: usize,
}

impl Panels {
    /// Where a node's rows begin in a panel.
    #[inline(always)]
    pub(crate) fn place(self, node: usize) -> usize {
        (node / 2 + node % 2 * self.nodes.div_ceil(2)) * PANEL
    }

    /// Floats of a panel.
    pub(crate) fn len(self) -> usize {
        self.nodes * PANEL
    }
}

struct Channels<'a> {
    rebinning: &'a Rebinning,
    view: &'a [f32],
    fan: &'a mut [f32],
}

impl Kernel for Channels<'_> {
    type Output = ();

    #[inline(always)]
    fn run<V: Lanes>(self) {
        let rows = self.rebinning.rows;
        let stride = rows.next_multiple_of(PANEL);
        let nodes = self.rebinning.from_channels.iter();
        for (out, &(first, taps)) in self.fan.chunks_exact_mut(stride).zip(nodes) {
            out.fill(0.0);
            let out = &mut out[..rows];
            let columns = self.view[first * rows..].chunks_exact(rows);
            for (column, tap) in columns.zip(taps).take(self.rebinning.taps[0]) {
                for (out, value) in out.iter_mut().zip(column) {
                    *out += tap * value;
                }
            }
            for (out, cosine) in out.iter_mut().zip(&self.rebinning.cosines) {
                *out *= cosine;
            }
        }
    }
}

struct Views<'a> {
    rebinning: &'a Rebinning,
    fans: &'a [f32],
    panels: &'a mut [f32],
}

impl Kernel for Views<'_> {
    type Output = ();

    #[inline(always)]
    fn run<V: Lanes>(self) {
        let stride = self.rebinning.rows.next_multiple_of(PANEL);
        let fan_len = self.rebinning.fan_len();
        let layout = Panels {
            nodes: self.rebinning.nodes,
        };
        for (node, &(first, taps)) in self.rebinning.from_views.iter().enumerate() {
            let place = layout.place(node);
            for (panel, rows) in self.panels.chunks_exact_mut(layout.len()).enumerate() {
                let column = |k: usize| {
                    let start = (first + k) * fan_len + node * stride + panel * PANEL;
                    &self.fans[start..][..PANEL]
                };
                let out = &mut rows[place..][..PANEL];
                let (a, b) = (column(0), column(1));
                for i in 0..PANEL {
                    out[i] = taps[0] * a[i] + taps[1] * b[i];
                }
                for (k, tap) in taps.iter().enumerate().take(self.rebinning.taps[1]).skip(2) {
                    for (out, value) in out.iter_mut().zip(column(k)) {
                        *out += tap * value;
                    }
                }
            }
        }
    }
}

/// Weights of samples at 0, 1, … `taps` − 1 for the value at `place`.
fn lagrange<const N: usize>(place: f64, taps: usize) -> [f32; N] {
    std::array::from_fn(|k| {
        if k >= taps {
            return 0.0;
        }
        let others = (0..taps).filter(|&other| other != k);
        let weight: f64 = others
            .map(|other| (place - other as f64) / (k as f64 - other as f64))
            .product();
        weight as f32
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::geometry::{Helix, Scanner};
    use crate::phantom::{Object, Phantom, PhantomRays};
    use crate::reconstruct::Projections;
    use crossmod_volume::Grid;

    /// The wedge of an ellipsoid off the axis against its chords along the parallel rays, each from
    /// its own source: no step of the rebinning is used to find them.
    #[test]
    fn a_wedge_holds_the_chords_of_its_parallel_rays() {
        let grid = Grid::with_spacing([101, 101, 9], [4.0, 4.0, 1.5]).expect("a grid");
        let scanner = Scanner {
            rows: 20,
            ..Scanner::default()
        };
        let scan = Scan::plan(&scanner, &Helix::default(), &grid).expect("a scan");
        let [x, y] = scan.isocentre_mm();
        let centre = [x + 60.0, y - 35.0, 8.0];
        let phantom = Phantom::new().with(Object::ellipsoid(centre, [90.0, 60.0, 200.0], 1.0));
        for (interpolation, most_rms, most) in [
            (Interpolation::Lagrange, 2e-5, 5e-4),
            (Interpolation::Linear, 1e-3, 5e-3),
        ] {
            let rebinning = Rebinning::new(&scan, interpolation);
            let count = 2 * rebinning.margin() + 1;
            let first = scan.views() / 2;
            let mut fans = vec![0.0; count * scan.view_len()];
            PhantomRays::new(&scan, &phantom)
                .views(first..first + count, &mut fans)
                .expect("views");
            for level in Level::all() {
                let mut resampled = vec![0.0; count * rebinning.fan_len()];
                for (view, fan) in fans
                    .chunks_exact(scan.view_len())
                    .zip(resampled.chunks_exact_mut(rebinning.fan_len()))
                {
                    rebinning.channels(level, view, fan);
                }
                let mut panels = vec![0.0; rebinning.fan_len()];
                rebinning.views(level, &resampled, &mut panels);

                let middle = (first + rebinning.margin()) as f64;
                let theta = scan.angle_rad(middle);
                let layout = Panels {
                    nodes: rebinning.nodes(),
                };
                let (mut worst, mut square) = (0.0f64, 0.0);
                for node in 0..rebinning.nodes() {
                    let t = rebinning.first_mm() + node as f64 * scanner.ray_spacing_mm();
                    let angle = (t / 570.0).asin();
                    // The place on the ray nearest to the axis, and the source's height.
                    let foot = [x - t * theta.sin(), y + t * theta.cos()];
                    let z = scan.source_z_mm(middle + angle / TAU * 720.0);
                    for row in 0..20 {
                        let slope = scanner.row_slope(row as f64);
                        let cosine = 1.0 / slope.hypot(1.0);
                        let direction =
                            [-theta.cos() * cosine, -theta.sin() * cosine, slope * cosine];
                        let origin = [foot[0], foot[1], z + slope * 570.0 * angle.cos()];
                        let exact = phantom.line_mm(origin, direction) * 0.0193 * cosine;
                        let place = row / PANEL * layout.len() + layout.place(node) + row % PANEL;
                        // At the rim chords go as the square root of the depth: no polynomial does.
                        if exact < 1.0 {
                            continue;
                        }
                        let error = (f64::from(panels[place]) - exact).abs();
                        square += error * error;
                        worst = worst.max(error);
                    }
                }
                let rms = (square / (rebinning.nodes() * 20) as f64).sqrt();
                assert!(
                    rms < most_rms && worst < most,
                    "{level:?}: rms {rms}, worst {worst}"
                );
            }
        }
    }

    #[test]
    fn weights_reproduce_polynomials() {
        for place in [0.0, 0.3, 2.25, 2.5, 4.9] {
            let weights: [f32; 6] = lagrange(place, 6);
            for power in 0..6 {
                let sum: f64 = (0..6)
                    .map(|k| f64::from(weights[k]) * (k as f64).powi(power))
                    .sum();
                assert!((sum - place.powi(power)).abs() < 1e-3 * 3f64.powi(power));
            }
        }
    }
}
