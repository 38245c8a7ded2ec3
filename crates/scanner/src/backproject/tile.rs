//! One tile of pixels, all directions.

use std::ops::Range;

use super::nodes::{Aperture, Column, Partner, SLACK, Side};
use super::spread::{Foot, Spread};
use super::{Backprojector, Views};
use crate::simd::{Kernel, Lanes, Level};

/// Where columns of voxels stand: pixel (a, b) at `origin + a * along_a + b * along_b` about the
/// axis, voxel z at `first_z_mm + z * z_step_mm`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Pixels {
    pub(crate) origin_mm: [f64; 2],
    pub(crate) along_a_mm: [f64; 2],
    pub(crate) along_b_mm: [f64; 2],
    pub(crate) first_z_mm: f64,
    pub(crate) z_step_mm: f64,
    /// Voxels of a column.
    pub(crate) depth: usize,
}

impl Pixels {
    pub(crate) fn place_mm(&self, a: usize, b: usize) -> [f64; 2] {
        [0, 1].map(|i| {
            self.origin_mm[i] + a as f64 * self.along_a_mm[i] + b as f64 * self.along_b_mm[i]
        })
    }
}

/// Working memory, and the pixels of a tile that lie in the field of view.
#[derive(Debug, Default)]
pub(crate) struct Tile {
    /// Pixels by their number in the tile, and their places about the axis, mm.
    pixels: Vec<u32>,
    x: Vec<f32>,
    y: Vec<f32>,
    /// Corners of the smallest rectangle of pixels that holds them, mm.
    corners: [[f64; 2]; 4],
    feet: Vec<Foot>,
    nodes: Vec<f32>,
    sums: Vec<f32>,
    weights: Vec<f32>,
    columns: Vec<f32>,
}

/// The nodes that a tile uses in one direction: from `corner` on, `[t][s]`.
#[derive(Debug, Clone, Copy)]
struct Nodes {
    corner: [i64; 2],
    count: [usize; 2],
}

impl Tile {
    /// The sums over all directions for the pixels in `a` × `b`, `[b][a][z]` with columns of
    /// `pixels.depth` filled up to `stride`; 0 beyond the field of view.
    pub(crate) fn backproject(
        &mut self,
        level: Level,
        of: &Backprojector,
        views: &Views<'_>,
        pixels: &Pixels,
        [a, b]: [Range<usize>; 2],
        stride: usize,
    ) -> &[f32] {
        let mut out = std::mem::take(&mut self.columns);
        out.clear();
        out.resize(a.len() * b.len() * stride, 0.0);
        self.find(of, pixels, [a, b]);
        let directions = if self.pixels.is_empty() {
            0..0
        } else {
            0..of.half_turn
        };
        self.sums.clear();
        self.sums.resize(stride + SLACK, 0.0);
        self.weights.clear();
        self.weights.resize(stride + SLACK, 0.0);
        for direction in directions {
            level.run(Direction {
                tile: self,
                of,
                views,
                pixels,
                direction,
                stride,
                out: &mut out,
            });
        }
        self.columns = out;
        &self.columns
    }

    /// Finds the pixels in the field of view.
    fn find(&mut self, of: &Backprojector, pixels: &Pixels, [a, b]: [Range<usize>; 2]) {
        self.pixels.clear();
        self.x.clear();
        self.y.clear();
        let (mut low, mut high) = ([usize::MAX; 2], [0; 2]);
        for (number, (b, a)) in b.flat_map(|b| a.clone().map(move |a| (b, a))).enumerate() {
            let [x, y] = pixels.place_mm(a, b);
            if x.hypot(y) <= of.field_radius_mm {
                self.pixels.push(number as u32);
                self.x.push(x as f32);
                self.y.push(y as f32);
                low = [low[0].min(a), low[1].min(b)];
                high = [high[0].max(a), high[1].max(b)];
            }
        }
        if !self.pixels.is_empty() {
            // In their order around the rectangle.
            self.corners = [low, [high[0], low[1]], high, [low[0], high[1]]]
                .map(|[a, b]| pixels.place_mm(a, b));
        }
    }
}

/// One direction and its partners.
struct Direction<'a> {
    tile: &'a mut Tile,
    of: &'a Backprojector,
    views: &'a Views<'a>,
    pixels: &'a Pixels,
    direction: usize,
    stride: usize,
    out: &'a mut [f32],
}

impl Kernel for Direction<'_> {
    type Output = ();

    #[inline(always)]
    fn run<V: Lanes>(mut self) {
        let (sin, cos) = self.of.angle(self.direction).sin_cos();
        let corners = self
            .tile
            .corners
            .map(|at| self.of.among_nodes(at, sin, cos));
        let nodes = around(&corners);
        self.stand(nodes, sin, cos);
        self.compute::<V>(nodes, &corners);
        Spread {
            feet: &self.tile.feet,
            nodes: &self.tile.nodes,
            s_nodes: nodes.count[1],
            depth: self.stride,
            out: self.out,
        }
        .run::<V>();
    }
}

/// Rounding of places among nodes, in nodes: a pixel at a tile's corner must not fall out of it.
const ROUNDING: f64 = 1e-3;

/// The nodes about a rectangle.
fn around(corners: &[[f64; 2]; 4]) -> Nodes {
    let ends = [0, 1].map(|axis| {
        let along = corners.map(|corner| corner[axis]);
        let low = along.into_iter().fold(f64::INFINITY, f64::min) - ROUNDING;
        let high = along.into_iter().fold(f64::NEG_INFINITY, f64::max) + ROUNDING;
        (low.floor() as i64, high.floor() as i64 + 1)
    });
    Nodes {
        corner: ends.map(|(first, _)| first),
        count: ends.map(|(first, last)| (last - first) as usize + 1),
    }
}

/// Where along s a rectangle lies between two places along t.
fn between(corners: &[[f64; 2]; 4], low: f64, high: f64) -> (f64, f64) {
    let mut ends = (f64::INFINITY, f64::NEG_INFINITY);
    for (i, &[t0, s0]) in corners.iter().enumerate() {
        let [t1, s1] = corners[(i + 1) % 4];
        if t0.max(t1) < low || t0.min(t1) > high {
            continue;
        }
        // An edge across has no inside to be cut: its ends count.
        let slope = if t1 == t0 { 0.0 } else { (s1 - s0) / (t1 - t0) };
        for t in [t0, t1] {
            let s = if t == t0 { s0 } else { s1 };
            let s = s + slope * (t.clamp(low, high) - t);
            ends = (ends.0.min(s), ends.1.max(s));
        }
        if t1 == t0 {
            ends = (ends.0.min(s1), ends.1.max(s1));
        }
    }
    ends
}

impl Backprojector {
    /// A place's coordinates t and s, counted in nodes.
    #[inline(always)]
    fn among_nodes(&self, [x, y]: [f64; 2], sin: f64, cos: f64) -> [f64; 2] {
        [
            (y * cos - x * sin - self.first_t_mm) / self.t_step_mm,
            (x * cos + y * sin) / self.s_step_mm,
        ]
    }
}

impl Direction<'_> {
    /// Finds every pixel's foot.
    #[inline(always)]
    fn stand(&mut self, nodes: Nodes, sin: f64, cos: f64) {
        let (of, tile) = (self.of, &mut *self.tile);
        let [t_per_x, t_per_y] = [-sin / of.t_step_mm, cos / of.t_step_mm].map(|v| v as f32);
        let [s_per_x, s_per_y] = [cos / of.s_step_mm, sin / of.s_step_mm].map(|v| v as f32);
        let [t0, s0] = of.among_nodes([0.0, 0.0], sin, cos);
        let t0 = (t0 - nodes.corner[0] as f64) as f32;
        let s0 = (s0 - nodes.corner[1] as f64) as f32;
        // Where rounding takes a place past the outermost nodes, it is held.
        let [t_end, s_end] = nodes.count.map(|n| (n - 1) as f32 * (1.0 - f32::EPSILON));
        let s_nodes = nodes.count[1] as i32;
        tile.feet.resize(tile.pixels.len(), Foot::default());
        let places = tile.x.iter().zip(&tile.y).zip(&tile.pixels);
        for (foot, ((&x, &y), &pixel)) in tile.feet.iter_mut().zip(places) {
            let t = (t0 + t_per_x * x + t_per_y * y).max(0.0).min(t_end);
            let s = (s0 + s_per_x * x + s_per_y * y).max(0.0).min(s_end);
            let (j, m) = (t as i32, s as i32);
            *foot = Foot {
                node: (j * s_nodes + m) as u32,
                pixel,
                along_t: t - j as f32,
                along_s: s - m as f32,
            };
        }
    }

    /// Computes the nodes about the pixels.
    #[inline(always)]
    fn compute<V: Lanes>(&mut self, nodes: Nodes, corners: &[[f64; 2]; 4]) {
        let (of, stride) = (self.of, self.stride);
        let tile = &mut *self.tile;
        let [t_nodes, s_nodes] = nodes.count;
        tile.nodes.resize(t_nodes * s_nodes * stride, 0.0);
        let range = &self.views.range;
        // The first view at or after the stretch's start in this direction or the opposite one.
        let ahead = (self.direction + of.half_turn - range.start % of.half_turn) % of.half_turn;
        let partners: Vec<Partner<'_>> = (range.start + ahead..range.end)
            .step_by(of.half_turn)
            .map(|view| Partner {
                view: self.views.get(view),
                height_mm: self.pixels.first_z_mm - of.z_mm(view),
                opposite: view / of.half_turn % 2 == 1,
            })
            .collect();
        let aperture = Aperture {
            rows: of.rows,
            flat: of.aperture,
        };
        let last = of.depths.len() - 1;
        for j in 0..t_nodes {
            let at = nodes.corner[0] + j as i64;
            let (low, high) = between(corners, at as f64 - 1.0, at as f64 + 1.0);
            let first = ((low - ROUNDING).floor() as i64 - nodes.corner[1]).max(0) as usize;
            let end = ((high + ROUNDING).floor() as i64 + 2 - nodes.corner[1]).max(0) as usize;
            // Places are held at the outermost samples.
            let node = (at.max(0) as usize).min(last);
            let (depth, climb) = (of.depths[node], of.climbs[node]);
            for m in first..end.min(s_nodes) {
                let s = (nodes.corner[1] + m as i64) as f64 * of.s_step_mm;
                // Opposite views see it with t, s and the climb of the other sign.
                let sides =
                    [(node, s, climb), (last - node, -s, -climb)].map(|(node, s, climb_mm)| {
                        // A node beyond the field of view may lie behind the source.
                        let distance = (depth - s).max(0.02 * of.source_mm);
                        let rows_per_mm = of.source_mm / (distance * of.row_mm);
                        let rows_per_voxel = rows_per_mm * self.pixels.z_step_mm;
                        Side {
                            column: node * (of.rows + 2),
                            climb_mm,
                            rows_per_mm,
                            voxels_per_row: 1.0 / rows_per_voxel,
                            rows_per_voxel,
                        }
                    });
                let at = (j * s_nodes + m) * stride;
                Column {
                    aperture,
                    partners: &partners,
                    sides,
                    sums: &mut tile.sums,
                    weights: &mut tile.weights,
                    out: &mut tile.nodes[at..at + stride],
                }
                .compute::<V>();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The part of a turned square in a strip against places all over it.
    #[test]
    fn a_strip_of_a_rectangle_holds_its_places() {
        for step in 0..24 {
            let (sin, cos) = (f64::from(step) * 0.2618).sin_cos();
            let turn = |x: f64, y: f64| [3.0 + x * cos - y * sin, -2.0 + x * sin + y * cos];
            let corners = [
                turn(-4.0, -6.0),
                turn(4.0, -6.0),
                turn(4.0, 6.0),
                turn(-4.0, 6.0),
            ];
            for low in -6..10 {
                let (low, high) = (f64::from(low), f64::from(low) + 2.0);
                let (first, last) = between(&corners, low, high);
                let (mut least, mut most) = (f64::INFINITY, f64::NEG_INFINITY);
                for i in 0..=160 {
                    for j in 0..=160 {
                        let [t, s] = turn(0.05 * f64::from(i) - 4.0, 0.075 * f64::from(j) - 6.0);
                        if (low..=high).contains(&t) {
                            least = least.min(s);
                            most = most.max(s);
                        }
                    }
                }
                if least > most {
                    continue;
                }
                assert!(
                    first <= least + 1e-9 && first > least - 0.5,
                    "{first} {least}"
                );
                assert!(last >= most - 1e-9 && last < most + 0.5, "{last} {most}");
            }
        }
    }
}
