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

/// How outputs lie in memory: strides of rows, channels and samples.
#[derive(Debug, Clone, Copy)]
pub(super) struct Frame {
    pub(super) row: usize,
    pub(super) channel: usize,
    pub(super) sample: usize,
    /// Whether there is room behind rows or channels for lanes that belong to no output, so that
    /// vectors can be stored whole.
    roomy: bool,
}

impl Frame {
    /// Outputs of `size` and nothing between them.
    pub(super) fn tight(size: [usize; 2], channels: usize) -> Self {
        let channel = size[0] * size[1];
        Self {
            row: size[1],
            channel,
            sample: channels * channel,
            roomy: false,
        }
    }

    /// Outputs of `size` with room for whole vectors.
    pub(super) fn roomy(lanes: usize, layout: &Layout, size: [usize; 2], channels: usize) -> Self {
        let (row, end) = if layout.planes {
            (
                layout.size[1],
                size[0].saturating_sub(1) * layout.size[1] + size[1],
            )
        } else {
            let row = size[1].next_multiple_of(lanes);
            (row, size[0] * row)
        };
        let channel = end.next_multiple_of(lanes);
        Self {
            row,
            channel,
            sample: channels * channel,
            roomy: true,
        }
    }
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

    /// Vectors of `lanes` over outputs of `size`; `origin` is where output (0, 0) reads. `frame` says
    /// how the outputs lie.
    pub(super) fn new(
        lanes: usize,
        layout: &Layout,
        size: [usize; 2],
        frame: &Frame,
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
            let to = sample * frame.sample;
            if layout.planes {
                let padded = layout.size[1];
                let end = (rows - 1) * padded + cols;
                for start in (0..end).step_by(lanes) {
                    let stop = (start + lanes).min(end);
                    if frame.roomy {
                        let piece = Piece {
                            lane: 0,
                            len: lanes as u32,
                            place: to + start,
                        };
                        sweep.pieces.push(piece);
                        sweep.close(from + start);
                        continue;
                    }
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
                        let len = if frame.roomy {
                            lanes
                        } else {
                            lanes.min(cols - col)
                        };
                        let place = to + row * frame.row + col;
                        sweep.pieces.push(Piece {
                            lane: 0,
                            len: len as u32,
                            place,
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
