//! The weighted mean of all partners along a column of voxels, at one node of the turning frame.
//!
//! Along z a partner's row is linear in the voxel's number, so a column takes from each partner the
//! rows of one detector column at even steps: vectors of voxels, weights alongside.
#![allow(
    unsafe_code,
    reason = "vector instructions and unchecked reads of the innermost loop"
)]

use crate::simd::Lanes;

/// Sum of weights below which no partner is taken to have seen a voxel.
const SEEN: f32 = 1e-5;

/// Voxels beyond a column's end that may be written to: the widest vector.
pub(super) const SLACK: usize = 16;

/// Floats that must follow the last column of a view: what two of the widest vectors read.
pub(crate) const BEYOND: usize = 32;

/// A view that may see a column.
#[derive(Debug, Clone, Copy)]
pub(super) struct Partner<'a> {
    pub(super) view: &'a [f32],
    /// Height of the column's first voxel over the source of the view's central ray, mm.
    pub(super) height_mm: f64,
    /// An odd number of half turns from the direction itself.
    pub(super) opposite: bool,
}

/// How views in the direction itself, or opposite to it, see a node.
#[derive(Debug, Clone, Copy)]
pub(super) struct Side {
    /// Where the node's detector column begins in a view: a copy of the first row, the rows, one of
    /// the last.
    pub(super) column: usize,
    /// Height of the node's source over that of the view's central ray, mm.
    pub(super) climb_mm: f64,
    pub(super) rows_per_mm: f64,
    pub(super) voxels_per_row: f64,
    pub(super) rows_per_voxel: f64,
}

/// How rows are weighted: 1 up to Q of the half height, then falling as cos² to 0 at the edge.
#[derive(Debug, Clone, Copy)]
pub(super) struct Aperture {
    pub(super) rows: usize,
    pub(super) flat: f64,
}

impl Aperture {
    /// The weight of a row, fractional and from the middle of the first one.
    #[cfg(test)]
    pub(super) fn weight(self, row: f64) -> f64 {
        let half = self.rows as f64 / 2.0;
        let q = (row - (half - 0.5)).abs() / half;
        let fall = ((q - self.flat) / (1.0 - self.flat)).clamp(0.0, 1.0);
        (std::f64::consts::FRAC_PI_2 * fall).cos().powi(2)
    }
}

/// The column at a node.
pub(super) struct Column<'a> {
    pub(super) aperture: Aperture,
    pub(super) partners: &'a [Partner<'a>],
    /// How the direction itself and the opposite one see it.
    pub(super) sides: [Side; 2],
    /// Sums and weights, each longer than the column by [`SLACK`]; 0 before and after.
    pub(super) sums: &'a mut [f32],
    pub(super) weights: &'a mut [f32],
    /// The column.
    pub(super) out: &'a mut [f32],
}

impl Column<'_> {
    #[inline(always)]
    pub(super) fn compute<V: Lanes>(self) {
        let count = self.out.len();
        assert!(V::LANES <= SLACK && self.sums.len() == count + SLACK);
        assert!(self.weights.len() == self.sums.len());
        let middle = (self.aperture.rows - 1) as f64 / 2.0;
        let past = self.aperture.rows as f64 - 0.5;
        let near = self.sides.map(|side| {
            let step = side.rows_per_voxel as f32;
            step * (V::LANES - 1) as f32 + 2.0 < (2 * V::LANES) as f32
        });
        // SAFETY: called through Level::run.
        let rows = self
            .sides
            .map(|side| unsafe { Rows::<V>::new(self.aperture, side.rows_per_voxel as f32) });
        for partner in self.partners {
            let which = usize::from(partner.opposite);
            let (side, rows) = (&self.sides[which], &rows[which]);
            // Of voxel i the row is `row + rows_per_voxel * i`, from the middle of the first one.
            let row = (partner.height_mm - side.climb_mm) * side.rows_per_mm + middle;
            let end = ((past - row) * side.voxels_per_row).max(-1.0) as isize + 1;
            let start = (-(row + 0.5) * side.voxels_per_row).max(-0.5).ceil() as usize;
            let end = (end.max(0) as usize).min(count);
            if row >= past || start >= end {
                continue;
            }
            // One up: the copy of the first row comes before it.
            let first = (row + 1.0 + side.rows_per_voxel * start as f64) as f32;
            let last = first + rows.step * (end - 1 - start) as f32;
            let column = &partner.view[side.column..];
            assert!(first >= 0.0 && last as usize + BEYOND <= column.len());
            // SAFETY: called through Level::run. Positions are those of the voxels seen, within the
            // column's rows and their copies; what vectors read beyond is in the slice.
            unsafe {
                let column = column.as_ptr();
                let sums = self.sums[start..].as_mut_ptr();
                let weights = self.weights[start..].as_mut_ptr();
                if near[which] {
                    rows.add::<true>(column, first, end - start, sums, weights);
                } else {
                    rows.add::<false>(column, first, end - start, sums, weights);
                }
            }
        }
        // Two loops, so that the costly one runs over vectors.
        for ((out, sum), weight) in self.out.iter_mut().zip(&*self.sums).zip(&*self.weights) {
            *out = sum / if *weight < SEEN { SEEN } else { *weight };
        }
        let unseen = self.weights[..count].iter().map(|w| u32::from(*w < SEEN));
        if unseen.sum::<u32>() > 0 {
            fill(
                self.aperture,
                self.partners,
                self.sides,
                self.weights,
                self.out,
            );
        }
        self.sums.fill(0.0);
        self.weights.fill(0.0);
    }
}

/// How a column of voxels steps over rows, and constants of their weights.
struct Rows<V> {
    step: f32,
    lanes: V,
    /// Within the copy of the last row.
    end: V,
    middle: V,
    minus: V,
    scale: V,
    shift: V,
}

impl<V: Lanes> Rows<V> {
    /// # Safety
    ///
    /// Called through `Level::run`.
    #[inline(always)]
    unsafe fn new(aperture: Aperture, step: f32) -> Self {
        let lanes: [f32; SLACK] = std::array::from_fn(|i| i as f32 * step);
        let half = aperture.rows as f64 / 2.0;
        let fall = 1.0 / (1.0 - aperture.flat);
        // SAFETY: the caller's promise; `lanes` holds a vector.
        unsafe {
            Self {
                step,
                lanes: V::load(lanes.as_ptr()),
                end: V::splat(aperture.rows as f32 + 0.5),
                middle: V::splat(-(half + 0.5) as f32),
                minus: V::splat(-1.0),
                scale: V::splat((fall / half) as f32),
                // Half a unit back: the fall is odd about its middle.
                shift: V::splat((-aperture.flat * fall - 0.5) as f32),
            }
        }
    }

    /// Adds `count` voxels from row `first` of a detector column on, and what a vector holds beyond them at weight 0.
    ///
    /// # Safety
    ///
    /// Called through `Level::run`. [`BEYOND`] floats must be readable from the row of any of the
    /// `count` voxels on, `sums` and `weights` writable up to a vector past them. With `NEAR`, a
    /// vector's rows lie within two vectors.
    #[inline(always)]
    unsafe fn add<const NEAR: bool>(
        &self,
        column: *const f32,
        first: f32,
        count: usize,
        sums: *mut f32,
        weights: *mut f32,
    ) {
        let mut done = 0;
        while done < count {
            // SAFETY: the caller's promise.
            unsafe {
                let row = V::splat(first + self.step * done as f32).add(self.lanes);
                let value = if NEAR {
                    V::sample_near(column, row)
                } else {
                    V::sample(column, row.min(self.end))
                };
                let weight = self.weight(row);
                let (sum, total) = (sums.add(done), weights.add(done));
                value.mul_add(weight, V::load(sum)).store(sum);
                weight.add(V::load(total)).store(total);
            }
            done += V::LANES;
        }
    }

    /// cos²(π u / 2) of the fall u from 0 to 1, which is 1/2 − sin(π (u − 1/2)) / 2: the sine by a
    /// polynomial that ends at ±1 and errs by 4e-5 in between (fitted by least squares, reweighted
    /// towards the largest error); less a millionth, so that it is 0 at the end.
    ///
    /// # Safety
    ///
    /// Called through `Level::run`.
    #[inline(always)]
    unsafe fn weight(&self, row: V) -> V {
        // SAFETY: the caller's promise.
        unsafe {
            let off = row.add(self.middle);
            let off = off.max(off.mul(self.minus));
            let u = off.mul_add(self.scale, self.shift);
            let u = u.max(V::splat(-0.5)).min(V::splat(0.5));
            let square = u.mul(u);
            let odd = square.mul_add(V::splat(-1.143_489_2), V::splat(2.566_844));
            let odd = odd.mul_add(square, V::splat(-1.570_242_9));
            odd.mul_add(u, V::splat(0.5 - 1e-6)).max(V::splat(0.0))
        }
    }
}

/// Voxels that no partner sees take the nearest row of the partner that comes closest to it.
#[cold]
fn fill(
    aperture: Aperture,
    partners: &[Partner<'_>],
    sides: [Side; 2],
    weights: &[f32],
    out: &mut [f32],
) {
    let middle = (aperture.rows - 1) as f64 / 2.0;
    for (voxel, (out, weight)) in out.iter_mut().zip(weights).enumerate() {
        if *weight >= SEEN {
            continue;
        }
        let row = |p: &Partner<'_>| {
            let side = sides[usize::from(p.opposite)];
            let first = (p.height_mm - side.climb_mm) * side.rows_per_mm + middle;
            first + side.rows_per_voxel * voxel as f64
        };
        let off = |p: &&Partner<'_>| (row(p) - middle).abs();
        let closest = partners.iter().min_by(|a, b| off(a).total_cmp(&off(b)));
        *out = closest.map_or(0.0, |p| {
            let row = (row(p).clamp(-0.5, aperture.rows as f64 - 0.5) + 1.0) as f32;
            let at = &p.view[sides[usize::from(p.opposite)].column + row as usize..];
            at[0] + (at[1] - at[0]) * row.fract()
        });
    }
}
