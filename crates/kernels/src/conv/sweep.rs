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

/// How outputs lie in memory: strides of depth, rows, channels and samples.
#[derive(Debug, Clone, Copy)]
pub(super) struct Frame {
    pub(super) depth: usize,
    pub(super) row: usize,
    pub(super) channel: usize,
    pub(super) sample: usize,
    /// Whether there is room behind rows or channels for lanes that belong to no output, so that
    /// vectors can be stored whole.
    roomy: bool,
}

impl Frame {
    /// Outputs of `size` and nothing between them.
    pub(super) fn tight(size: [usize; 3], channels: usize) -> Self {
        let channel = size.iter().product();
        Self {
            depth: size[1] * size[2],
            row: size[2],
            channel,
            sample: channels * channel,
            roomy: false,
        }
    }

    /// Outputs of `size` with room for whole vectors.
    pub(super) fn roomy(lanes: usize, layout: &Layout, size: [usize; 3], channels: usize) -> Self {
        let (depth, row, end) = if layout.planes {
            (
                layout.depth_stride(),
                layout.row_stride(),
                span(layout, size),
            )
        } else {
            let row = size[2].next_multiple_of(lanes);
            (size[1] * row, row, size[0] * size[1] * row)
        };
        let channel = end.next_multiple_of(lanes);
        Self {
            depth,
            row,
            channel,
            sample: channels * channel,
            roomy: true,
        }
    }
}

/// Elements from the first to the last output of a channel in `Planes` order.
fn span(layout: &Layout, size: [usize; 3]) -> usize {
    let before = |axis: usize| size[axis].saturating_sub(1);
    before(0) * layout.depth_stride() + before(1) * layout.row_stride() + size[2]
}

/// Vectors over the outputs of all samples.
#[derive(Debug, Clone)]
pub(super) struct Sweep {
    /// Where a vector reads the first tap of channel 0 in the padded copy.
    pub(super) starts: Vec<usize>,
    pieces: Vec<Piece>,
    /// The first piece of each vector, and the end of the last.
    first: Vec<usize>,
}

impl Sweep {
    /// Whether vectors that run on from row to row of a padded copy of size `padded` are fewer
    /// than vectors that stay within theirs.
    pub(super) fn prefers_planes(lanes: usize, size: [usize; 3], padded: [usize; 3]) -> bool {
        let [depth, rows, cols] = size;
        let run = ((depth - 1) * padded[1] + rows - 1) * padded[2] + cols;
        run.div_ceil(lanes) < depth * rows * cols.div_ceil(lanes)
    }

    /// Vectors of `lanes` over outputs of `size`; `origin` is where the first output reads. `frame`
    /// says how the outputs lie.
    pub(super) fn new(
        lanes: usize,
        layout: &Layout,
        size: [usize; 3],
        frame: &Frame,
        origin: usize,
    ) -> Self {
        let mut sweep = Self {
            starts: Vec::new(),
            pieces: Vec::new(),
            first: vec![0],
        };
        for sample in 0..layout.batch {
            let from = sample * layout.sample_stride() + origin;
            let to = sample * frame.sample;
            if layout.planes {
                sweep.run_on(lanes, layout, size, frame, [from, to]);
            } else {
                sweep.by_row(lanes, layout, size, frame, [from, to]);
            }
        }
        sweep
    }

    /// Vectors over inputs as they lie, read by a kernel of one element, which also is the order of
    /// the outputs. A channel's last vector begins early enough to end with it.
    pub(super) fn plain(lanes: usize, layout: &Layout, channels: usize) -> Self {
        let mut sweep = Self {
            starts: Vec::new(),
            pieces: Vec::new(),
            first: vec![0],
        };
        let spatial = layout.channel_stride();
        for sample in 0..layout.batch {
            for place in (0..spatial).step_by(lanes) {
                let start = place.min(spatial - lanes);
                sweep.pieces.push(Piece {
                    lane: (place - start) as u32,
                    len: (start + lanes - place) as u32,
                    place: sample * channels * spatial + place,
                });
                sweep.close(sample * layout.sample_stride() + start);
            }
        }
        sweep
    }

    /// Vectors that run on from row to row and plane to plane; `from` and `to` are where the first
    /// output reads and lies.
    fn run_on(
        &mut self,
        lanes: usize,
        layout: &Layout,
        size: [usize; 3],
        frame: &Frame,
        [from, to]: [usize; 2],
    ) {
        let [_, rows, cols] = size;
        let [_, padded_rows, padded_cols] = layout.size;
        let end = span(layout, size);
        for start in (0..end).step_by(lanes) {
            let stop = (start + lanes).min(end);
            let before = self.pieces.len();
            for line in start / padded_cols..=(stop - 1) / padded_cols {
                let (plane, row) = (line / padded_rows, line % padded_rows);
                let lo = start.max(line * padded_cols);
                let hi = stop.min(line * padded_cols + cols);
                if row < rows && hi > lo {
                    let col = lo - line * padded_cols;
                    self.pieces.push(Piece {
                        lane: (lo - start) as u32,
                        len: (hi - lo) as u32,
                        place: to + plane * frame.depth + row * frame.row + col,
                    });
                }
            }
            if self.pieces.len() == before {
                continue;
            }
            if frame.roomy {
                self.pieces.truncate(before);
                self.pieces.push(Piece {
                    lane: 0,
                    len: lanes as u32,
                    place: to + start,
                });
            }
            self.close(from + start);
        }
    }

    /// Vectors that stay within their row.
    fn by_row(
        &mut self,
        lanes: usize,
        layout: &Layout,
        [depth, rows, cols]: [usize; 3],
        frame: &Frame,
        [from, to]: [usize; 2],
    ) {
        for (plane, row) in (0..depth).flat_map(|p| (0..rows).map(move |r| (p, r))) {
            let from = from + plane * layout.depth_stride() + row * layout.row_stride();
            let to = to + plane * frame.depth + row * frame.row;
            for col in (0..cols).step_by(lanes) {
                let len = if frame.roomy {
                    lanes
                } else {
                    lanes.min(cols - col)
                };
                self.pieces.push(Piece {
                    lane: 0,
                    len: len as u32,
                    place: to + col,
                });
                self.close(from + col);
            }
        }
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
