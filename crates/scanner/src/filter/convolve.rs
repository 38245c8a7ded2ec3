//! Convolution along the nodes of a view in panels.
//!
//! Even and odd nodes lie apart, so that the taps at odd distances, all that the ramp has beside
//! its middle, run over neighbours in memory. Six results are summed at once for each value read.
#![allow(
    unsafe_code,
    reason = "vector instructions and unchecked reads of the innermost loop"
)]

use std::ops::Range;

use crate::rebin::{PANEL, Panels};
use crate::simd::{Kernel, Lanes, Level};

/// Results summed together.
const TOGETHER: usize = 6;

/// Taps needed beyond the nodes, for results past the last one that are summed and dropped.
pub(super) const ROOM: usize = 2 * TOGETHER;

/// Taps sorted by what they connect.
#[derive(Debug)]
pub(super) struct Taps {
    /// Of value and result that are both even or both odd nodes: the middle one alone, or all.
    same: Same,
    /// From even nodes to odd ones and the other way round: at `[offset + value − result]` in
    /// halves of the node numbers.
    across: [Vec<f32>; 2],
    offset: usize,
}

#[derive(Debug)]
enum Same {
    Middle(f32),
    All(Vec<f32>),
}

impl Taps {
    /// Taps by distance, of which there are `nodes` and [`ROOM`] twice.
    pub(super) fn new(taps: &[f64], nodes: usize) -> Self {
        let offset = nodes.div_ceil(2) + TOGETHER;
        let table = |shift: isize| -> Vec<f32> {
            (0..2 * offset)
                .map(|i| {
                    let distance = 2 * (i as isize - offset as isize) + shift;
                    // The far ends belong to results that are dropped.
                    taps.get(distance.unsigned_abs()).map_or(0.0, |t| *t as f32)
                })
                .collect()
        };
        let even = taps.iter().skip(2).step_by(2);
        let same = if even.into_iter().all(|t| *t == 0.0) {
            Same::Middle(taps[0] as f32)
        } else {
            Same::All(table(0))
        };
        Self {
            same,
            across: [table(-1), table(1)],
            offset,
        }
    }

    /// Results at `wanted` nodes of a view, other nodes' are left as they are or overwritten.
    pub(super) fn apply(
        &self,
        level: Level,
        layout: Panels,
        view: &[f32],
        out: &mut [f32],
        wanted: Range<usize>,
    ) {
        assert!(view.len() == out.len() && view.len().is_multiple_of(layout.len()));
        assert!(wanted.end <= layout.nodes && self.offset == layout.nodes.div_ceil(2) + TOGETHER);
        let panels = view.chunks_exact(layout.len());
        for (view, out) in panels.zip(out.chunks_exact_mut(layout.len())) {
            level.run(Panel {
                taps: self,
                nodes: layout.nodes,
                view,
                out,
                wanted: wanted.clone(),
            });
        }
    }
}

struct Panel<'a> {
    taps: &'a Taps,
    nodes: usize,
    view: &'a [f32],
    out: &'a mut [f32],
    wanted: Range<usize>,
}

impl Kernel for Panel<'_> {
    type Output = ();

    #[inline(always)]
    fn run<V: Lanes>(self) {
        let counts = [self.nodes.div_ceil(2), self.nodes / 2];
        let (even, odd) = self.view.split_at(counts[0] * PANEL);
        let (even_out, odd_out) = self.out.split_at_mut(counts[0] * PANEL);
        let values = [even, odd];
        for (parity, out) in [even_out, odd_out].into_iter().enumerate() {
            // Halves of the wanted node numbers of this parity.
            let first = (self.wanted.start + 1 - parity) / 2;
            let end = (self.wanted.end + 1 - parity) / 2;
            let across = &self.taps.across[parity ^ 1];
            let mut at = first;
            while at < end {
                // SAFETY: called through Level::run. `values[parity]` holds the results' own
                // values, tables reach `offset` beyond every difference of halves of node numbers.
                unsafe {
                    let own = values[parity];
                    let mut sums = [[V::splat(0.0); 2]; TOGETHER];
                    let mut rows = 0;
                    while rows < PANEL {
                        for (k, sums) in sums.iter_mut().enumerate() {
                            *sums = [V::splat(0.0); 2];
                            if let Same::Middle(tap) = &self.taps.same
                                && at + k < end
                            {
                                let from = own.as_ptr().add((at + k) * PANEL + rows);
                                sums[0] = V::load(from).mul(V::splat(*tap));
                                if 2 * V::LANES <= PANEL {
                                    sums[1] = V::load(from.add(V::LANES)).mul(V::splat(*tap));
                                }
                            }
                        }
                        if let Same::All(table) = &self.taps.same {
                            let table = &table[self.taps.offset - at - (TOGETHER - 1)..];
                            accumulate::<V>(&mut sums, own, table, rows);
                        }
                        let table = &across[self.taps.offset - at - (TOGETHER - 1)..];
                        accumulate::<V>(&mut sums, values[parity ^ 1], table, rows);
                        for (k, sums) in sums.iter().enumerate().take(end - at) {
                            let to = out.as_mut_ptr().add((at + k) * PANEL + rows);
                            sums[0].store(to);
                            if 2 * V::LANES <= PANEL {
                                sums[1].store(to.add(V::LANES));
                            }
                        }
                        rows += (2 * V::LANES).min(PANEL);
                    }
                }
                at += TOGETHER;
            }
        }
    }
}

/// Adds to each of six results its taps times all values, for the rows from `rows` on: result k's
/// tap for the first value is at `table[5 − k]`.
///
/// # Safety
///
/// Called through [`Level::run`]; `table` holds a tap for each value and five more, the values'
/// panels [`PANEL`] rows.
#[inline(always)]
unsafe fn accumulate<V: Lanes>(
    sums: &mut [[V; 2]; TOGETHER],
    values: &[f32],
    table: &[f32],
    rows: usize,
) {
    let count = values.len() / PANEL;
    assert!(table.len() >= count + TOGETHER - 1);
    let two = 2 * V::LANES <= PANEL;
    let mut all = *sums;
    for i in 0..count {
        // SAFETY: within `values` and `table`, just checked.
        unsafe {
            let from = values.as_ptr().add(i * PANEL + rows);
            let low = V::load(from);
            let high = if two {
                V::load(from.add(V::LANES))
            } else {
                low
            };
            for (k, sum) in all.iter_mut().enumerate() {
                let tap = V::splat(*table.as_ptr().add(i + TOGETHER - 1 - k));
                sum[0] = low.mul_add(tap, sum[0]);
                if two {
                    sum[1] = high.mul_add(tap, sum[1]);
                }
            }
        }
    }
    *sums = all;
}
