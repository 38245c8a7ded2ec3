//! The vectors that together cover all outputs: where each reads, and where its lanes belong.

use super::pad::Layout;

/// A run of lanes of a vector that belongs to outputs.
#[derive(Debug, Clone, Copy)]
pub(super) struct Piece {
    /// First lane.
    pub(super) lane: u32,
    /// Lanes.
    pub(super) len: u32,
    /// Place of the first one in channel 0 of the output.
    pub(super) place: usize,
}

/// Vectors over the outputs of all samples.
#[derive(Debug, Clone)]
pub(super) struct Sweep {
    /// Where a vector reads tap (0, 0) of channel 0 in the padded copy.
    pub(super) starts: Vec<usize>,
    pieces: Vec<Piece>,
    /// The first piece of each vector, and the end of the last.
    first: Vec<usize>,
}

impl Sweep {
    /// Whether vectors that run on from row to row, `padded` columns each, are fewer than vectors
    /// that stay within theirs.
    pub(super) fn prefers_planes(lanes: usize, size: [usize; 2], padded: usize) -> bool {
        let [rows, cols] = size;
        ((rows - 1) * padded + cols).div_ceil(lanes) < rows * cols.div_ceil(lanes)
    }

    /// Vectors of `lanes` over outputs of `size`, whose samples are `sample_stride` apart; `origin`
    /// is where output (0, 0) reads.
    pub(super) fn new(
        lanes: usize,
        layout: &Layout,
        size: [usize; 2],
        sample_stride: usize,
        origin: usize,
    ) -> Self {
        let [rows, cols] = size;
        let mut sweep = Self {
            starts: Vec::new(),
            pieces: Vec::new(),
            first: vec![0],
        };
        for sample in 0..layout.batch {
            let from = sample * layout.sample_stride() + origin;
            let to = sample * sample_stride;
            if layout.planes {
                let padded = layout.size[1];
                let end = (rows - 1) * padded + cols;
                for start in (0..end).step_by(lanes) {
                    let stop = (start + lanes).min(end);
                    for row in start / padded..=(stop - 1) / padded {
                        let lo = start.max(row * padded);
                        let hi = stop.min(row * padded + cols);
                        if hi > lo {
                            sweep.pieces.push(Piece {
                                lane: (lo - start) as u32,
                                len: (hi - lo) as u32,
                                place: to + row * cols + lo - row * padded,
                            });
                        }
                    }
                    sweep.close(from + start);
                }
            } else {
                for row in 0..rows {
                    for col in (0..cols).step_by(lanes) {
                        sweep.pieces.push(Piece {
                            lane: 0,
                            len: lanes.min(cols - col) as u32,
                            place: to + row * cols + col,
                        });
                        sweep.close(from + row * layout.row_stride() + col);
                    }
                }
            }
        }
        sweep
    }

    fn close(&mut self, start: usize) {
        self.starts.push(start);
        self.first.push(self.pieces.len());
    }

    /// The runs of lanes of a vector that belong to outputs.
    #[inline(always)]
    pub(super) fn pieces(&self, vector: usize) -> &[Piece] {
        &self.pieces[self.first[vector]..self.first[vector + 1]]
    }
}
