//! Aperture-weighted wedge back-projection.
//!
//! For every voxel and every direction θ of a half turn, all filtered rays through the voxel that
//! the detector saw, from θ and from its partners half a turn apart, are averaged with weights W:
//!
//! f(x) = Δθ Σ_θ \[Σ_k W(q_k) P(θ + kπ, t_k, row_k) / Σ_k W(q_k)\],
//!
//! with t = −x sin θ + y cos θ, s = x cos θ + y sin θ, the in-plane distance L = √(R² − t²) − s from
//! the source to the voxel, the source's height z_s = z(θ) + (h / 2π) asin(t / R), the height
//! ν = R (z − z_s) / L at isocentre, and q = ν over half the collimation; t and s change sign from
//! one partner to the next. W is 1 up to |q| = Q and falls as cos² to 0 at the detector's edge, so
//! every measured ray is used at any pitch, and none enters or leaves abruptly. (Stierstorfer et
//! al., "Weighted FBP", Phys. Med. Biol. 49:2209, 2004, doi:10.1088/0031-9155/49/11/007; Koken and
//! Grass, "Aperture weighted cardiac reconstruction", Phys. Med. Biol. 51:3433, 2006,
//! doi:10.1088/0031-9155/51/14/011, with all cardiac weights 1.)
//!
//! It is done in two steps. In the frame (t, s, z) that turns with θ the bracket is a smooth
//! function of s, which enters through the magnification alone, so it is computed at nodes: t at
//! the views' own samples, s so far apart that the outermost row moves by one and a half rows from
//! one to the next. Voxels then interpolate linearly between four nodes, which along t is the
//! interpolation between rays that the bracket would ask for anyway. The costly step, resampling
//! rows with weights, is thus done once for several voxels.
//!
//! Tiles of pixels are the tasks: a tile's nodes and voxels stay in a core's own cache while all
//! directions pass. Sums run in a fixed order, whatever the number of threads.

mod nodes;
mod spread;
#[cfg(test)]
mod tests;
mod tile;

use std::f64::consts::TAU;
use std::ops::Range;

use crate::geometry::Scan;

pub(crate) use nodes::BEYOND;
pub(crate) use tile::{Pixels, Tile};

/// Rows by which the outermost row moves from one node along s to the next, at isocentre. Bias, windmill,
/// MTF and slice profile are those of 1.0, which takes an eighth more of the processor.
const ROWS_PER_NODE: f64 = 1.5;

/// Share of the detector's half height beyond which the weight falls at once: keeps the fall finite.
const STEEPEST: f64 = 0.999;

/// Filtered parallel views of a stretch of the helix.
#[derive(Debug, Clone)]
pub(crate) struct Views<'a> {
    /// A ring: view `v` is at `v % (data.len() / view_len)`; `[node][row]` with the first row's copy
    /// before and the last one's after each node's rows, and [`BEYOND`] more at a view's end.
    pub(crate) data: &'a [f32],
    pub(crate) view_len: usize,
    pub(crate) range: Range<usize>,
}

impl<'a> Views<'a> {
    fn get(&self, view: usize) -> &'a [f32] {
        let slots = self.data.len() / self.view_len;
        &self.data[view % slots * self.view_len..][..self.view_len]
    }
}

/// What back-projection needs to know of a scan.
#[derive(Debug)]
pub(crate) struct Backprojector {
    /// Distance R from source to isocentre, mm.
    source_mm: f64,
    /// Height of a row at isocentre, mm.
    row_mm: f64,
    rows: usize,
    half_turn: usize,
    /// The first parallel view's direction, and what every view adds.
    first_angle: f64,
    first_z_mm: f64,
    z_per_view_mm: f64,
    /// Nodes along t: the first one's place, their distance, and of each √(R² − t²) and the height
    /// (h / 2π) asin(t / R) of its source over the view's.
    first_t_mm: f64,
    t_step_mm: f64,
    depths: Vec<f64>,
    climbs: Vec<f64>,
    /// Distance of nodes along s, which are its multiples.
    s_step_mm: f64,
    field_radius_mm: f64,
    aperture: f64,
}

impl Backprojector {
    /// For parallel views of `nodes` samples from `first_t_mm` on; `aperture` is Q.
    pub(crate) fn new(scan: &Scan, first_t_mm: f64, nodes: usize, aperture: f64) -> Self {
        let scanner = scan.scanner();
        let source_mm = scanner.source_to_isocentre_mm;
        let margin = scan.fan_margin() as f64;
        let t = |node: usize| first_t_mm + node as f64 * scanner.ray_spacing_mm();
        let angle = |node: usize| (t(node) / source_mm).asin();
        let rows = scanner.rows as f64;
        Self {
            source_mm,
            row_mm: scanner.row_mm,
            rows: scanner.rows,
            half_turn: scanner.views_per_turn / 2,
            first_angle: scan.angle_rad(margin),
            first_z_mm: scan.source_z_mm(margin),
            z_per_view_mm: scan.feed_mm() / scanner.views_per_turn as f64,
            first_t_mm,
            t_step_mm: scanner.ray_spacing_mm(),
            depths: (0..nodes).map(|n| source_mm.hypot_less(t(n))).collect(),
            climbs: (0..nodes)
                .map(|n| scan.feed_mm() / TAU * angle(n))
                .collect(),
            s_step_mm: ROWS_PER_NODE * source_mm / (rows / 2.0),
            field_radius_mm: scan.field_radius_mm(),
            aperture: aperture.clamp(0.0, STEEPEST),
        }
    }

    /// Parallel views that see any part of the field of view between two heights (mm).
    pub(crate) fn seeing(&self, low_mm: f64, high_mm: f64, views: usize) -> Range<usize> {
        let ratio = self.field_radius_mm / self.source_mm;
        let reach = self.rows as f64 * self.row_mm / 2.0 * (1.0 + ratio);
        let lead = ratio.asin() / TAU * 2.0 * self.half_turn as f64;
        let view = |z: f64| (z - self.first_z_mm) / self.z_per_view_mm;
        let first = (view(low_mm - reach) - lead).floor().max(0.0) as usize;
        let end = (view(high_mm + reach) + lead).ceil().max(0.0) as usize + 1;
        first.min(views)..end.min(views)
    }

    /// Direction of a parallel view.
    fn angle(&self, view: usize) -> f64 {
        self.first_angle + view as f64 / (2 * self.half_turn) as f64 * TAU
    }

    /// Height of the source of a view's central ray, mm.
    fn z_mm(&self, view: usize) -> f64 {
        self.first_z_mm + view as f64 * self.z_per_view_mm
    }

    /// Angle between directions, by which sums are to be multiplied.
    pub(crate) fn angle_step(&self) -> f64 {
        TAU / (2 * self.half_turn) as f64
    }
}

/// The other cathetus.
trait HypotLess {
    fn hypot_less(self, other: f64) -> f64;
}

impl HypotLess for f64 {
    fn hypot_less(self, other: f64) -> f64 {
        ((self - other) * (self + other)).max(0.0).sqrt()
    }
}
