//! The ramp filter and its kernels.
//!
//! A parallel view is convolved along t with the band-limited ramp |f| W(f), f up to the Nyquist
//! frequency f_N = 1 / (2 Δt). The plain ramp's taps are 1 / (4 Δt²) at 0, −1 / (π n Δt)² at odd n
//! and 0 at even n (Ramachandran and Lakshminarayanan, PNAS 68:2236, 1971,
//! doi:10.1073/pnas.68.9.2236), so half of the products fall away; cosine windows follow by adding
//! neighbours of the result. The convolution is done directly, with sixteen rows side by side, and
//! without any wrapping around.

mod convolve;
mod kernel;

pub use kernel::Kernel;

use crate::rebin::{PANEL, Panels};
use crate::simd::Level;

/// A kernel made ready for views of one kind.
#[derive(Debug)]
pub(crate) struct Filter {
    taps: convolve::Taps,
    /// Weights of the result's left, own and right value, where it is to be smoothed.
    smoothing: Option<[f32; 3]>,
    layout: Panels,
    rows: usize,
    /// Nodes that are wanted of the result.
    first: usize,
    count: usize,
}

impl Filter {
    /// The filter of views of `nodes` distances and `rows` rows, of which the `count` nodes from
    /// `first` on are wanted.
    pub(crate) fn new(
        kernel: &Kernel,
        ray_spacing_mm: f64,
        nodes: usize,
        rows: usize,
        [first, count]: [usize; 2],
    ) -> Self {
        let (taps, smoothing) = kernel.taps(ray_spacing_mm, nodes + 2 * convolve::ROOM);
        Self {
            taps: convolve::Taps::new(&taps, nodes),
            smoothing,
            layout: Panels { nodes },
            rows,
            first,
            count,
        }
    }

    /// Floats of a filtered view, `[node][row]`, each node's rows between a copy of the first and
    /// one of the last: interpolation then holds the edges.
    pub(crate) fn filtered_len(&self) -> usize {
        self.count * (self.rows + 2)
    }

    /// Floats that [`Filter::apply`] works in.
    pub(crate) fn scratch_len(&self) -> usize {
        self.layout.len() * self.rows.div_ceil(PANEL)
    }

    /// Filters a view in panels.
    pub(crate) fn apply(&self, level: Level, panels: &[f32], scratch: &mut [f32], out: &mut [f32]) {
        assert_eq!(out.len(), self.filtered_len(), "room for a filtered view");
        let from = self.first.saturating_sub(1);
        let to = (self.first + self.count + 1).min(self.layout.nodes);
        self.taps
            .apply(level, self.layout, panels, scratch, from..to);
        let stride = self.rows + 2;
        for (index, column) in out.chunks_exact_mut(stride).enumerate() {
            let node = self.first + index;
            for (panel, rows) in column[1..=self.rows].chunks_mut(PANEL).enumerate() {
                let at = |node: usize| {
                    let start = panel * self.layout.len() + self.layout.place(node);
                    &scratch[start..][..rows.len()]
                };
                match self.smoothing {
                    None => rows.copy_from_slice(at(node)),
                    Some([left, own, right]) => {
                        // Beyond the last node there is nothing to know: it is repeated.
                        let before = at(node.saturating_sub(1));
                        let after = at((node + 1).min(self.layout.nodes - 1));
                        let own_rows = at(node);
                        for (i, row) in rows.iter_mut().enumerate() {
                            *row = left * before[i] + own * own_rows[i] + right * after[i];
                        }
                    }
                }
            }
            column[0] = column[1];
            column[self.rows + 1] = column[self.rows];
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROWS: usize = 20;

    fn filtered(kernel: &Kernel, level: Level, values: &[f32]) -> Vec<f32> {
        let nodes = values.len();
        let filter = Filter::new(kernel, 0.8, nodes, ROWS, [0, nodes]);
        let layout = Panels { nodes };
        let mut panels = vec![0.0; filter.scratch_len()];
        for (node, &value) in values.iter().enumerate() {
            for row in 0..ROWS {
                let place = row / PANEL * layout.len() + layout.place(node) + row % PANEL;
                panels[place] = value * (row + 1) as f32;
            }
        }
        let mut scratch = vec![f32::NAN; filter.scratch_len()];
        let mut out = vec![0.0; filter.filtered_len()];
        filter.apply(level, &panels, &mut scratch, &mut out);
        out
    }

    fn kernels() -> [Kernel; 6] {
        [
            Kernel::Ramp,
            Kernel::SheppLogan,
            Kernel::Cosine,
            Kernel::Hamming,
            Kernel::Hann,
            Kernel::Mtf(vec![[0.0, 1.0], [0.3, 0.6], [0.6, 0.0]]),
        ]
    }

    /// Every kernel and level against its taps, one product after the other, for odd and even
    /// numbers of nodes.
    #[test]
    fn views_are_convolved_with_the_taps() {
        for nodes in [61usize, 62, 7] {
            let values: Vec<f32> = (0..nodes)
                .map(|i| ((i * i * 31) % 17) as f32 - 6.0)
                .collect();
            for kernel in kernels() {
                let impulse = kernel.impulse(0.8, nodes + 2);
                for level in Level::all() {
                    let out = filtered(&kernel, level, &values);
                    // The two last ones on each side are smoothed with what is repeated there.
                    for node in 1..nodes - 1 {
                        let exact: f64 = (0..nodes)
                            .map(|i| f64::from(values[i]) * impulse[i.abs_diff(node)])
                            .sum();
                        for row in 0..ROWS {
                            let found = f64::from(out[node * (ROWS + 2) + 1 + row]);
                            let exact = exact * (row + 1) as f64;
                            assert!(
                                (found - exact).abs() < 2e-4 * (row + 1) as f64,
                                "{kernel:?} {level:?} {node} {row}: {found} against {exact}"
                            );
                        }
                        let column = &out[node * (ROWS + 2)..][..ROWS + 2];
                        assert_eq!(column[0], column[1]);
                        assert_eq!(column[ROWS + 1], column[ROWS]);
                    }
                }
            }
        }
    }

    /// A part of the nodes is what it is among all of them.
    #[test]
    fn a_part_is_filtered_alike() {
        let values: Vec<f32> = (0..80).map(|i| ((i * 7) % 23) as f32).collect();
        let whole = filtered(&Kernel::Hann, Level::best(), &values);
        let filter = Filter::new(&Kernel::Hann, 0.8, 80, ROWS, [13, 40]);
        let layout = Panels { nodes: 80 };
        let mut panels = vec![0.0; filter.scratch_len()];
        for (node, &value) in values.iter().enumerate() {
            for row in 0..ROWS {
                let place = row / PANEL * layout.len() + layout.place(node) + row % PANEL;
                panels[place] = value * (row + 1) as f32;
            }
        }
        let mut scratch = vec![f32::NAN; filter.scratch_len()];
        let mut out = vec![0.0; filter.filtered_len()];
        filter.apply(Level::best(), &panels, &mut scratch, &mut out);
        let stride = ROWS + 2;
        assert_eq!(out, whole[13 * stride..53 * stride]);
    }
}
