//! Panels: what the taps of some channels read, vectors of neighbouring outputs together.

use crate::conv::window::Window;
use crate::scratch::Scratch;
use crate::simd::Lanes;

/// A run of outputs of a panel that read neighbouring elements.
struct Piece {
    /// The first one's place in the panel.
    at: usize,
    /// Its vectors; the last may write over what comes next, which is written later.
    vectors: usize,
    /// Where the first one reads its first tap.
    from: usize,
}

/// The unrolled input of a stretch, `[panel][channel, tap][output]`.
pub(super) struct Unrolled {
    buffer: Scratch,
    taps: Vec<usize>,
    /// Outputs of a panel.
    width: usize,
    /// Outputs.
    len: usize,
    /// Elements from panel to panel: room for a vector more than the rows need.
    panel: usize,
    pieces: Vec<Piece>,
    /// The first piece of every panel, and the end of the last.
    first: Vec<usize>,
}

impl Unrolled {
    /// Room for `rows` pairs of channel and tap of `len` outputs in lines of `cols`.
    pub(super) fn new(
        window: &Window,
        cols: usize,
        len: usize,
        width: usize,
        rows: usize,
        lanes: usize,
    ) -> Self {
        let panels = len.div_ceil(width);
        let panel = rows * width + lanes.next_multiple_of(16);
        let mut buffer = Scratch::take(panels * panel);
        if !len.is_multiple_of(width) {
            // What no output reads is never written.
            buffer[(panels - 1) * panel..].fill(0.0);
        }
        let mut pieces = Vec::new();
        let mut first = vec![0];
        for (line, from) in window.starts().enumerate() {
            let (mut place, end) = (line * cols, (line + 1) * cols);
            while place < end {
                if place == first.len() * width {
                    first.push(pieces.len());
                }
                let stop = end.min((place / width + 1) * width);
                pieces.push(Piece {
                    at: place % width,
                    vectors: (stop - place).div_ceil(lanes),
                    from: from + place - line * cols,
                });
                place = stop;
            }
        }
        first.push(pieces.len());
        Self {
            buffer,
            taps: window.taps(),
            width,
            len,
            panel,
            pieces,
            first,
        }
    }

    pub(super) fn panels(&self) -> usize {
        self.first.len() - 1
    }

    /// The first output of a panel.
    pub(super) fn place(&self, panel: usize) -> usize {
        panel * self.width
    }

    /// Outputs of a panel.
    pub(super) fn outputs(&self, panel: usize) -> usize {
        self.width.min(self.len - self.place(panel))
    }

    /// `rows` rows of a panel.
    #[inline(always)]
    pub(super) fn panel(&self, panel: usize, rows: usize) -> &[f32] {
        &self.buffer[panel * self.panel..][..rows * self.width]
    }

    /// Unrolls a channel's window into the rows from `row`; rows are to be added in order.
    ///
    /// # Safety
    ///
    /// The CPU has V, and a panel is `SPAN` vectors wide.
    #[inline(always)]
    pub(super) unsafe fn add<V: Lanes, const SPAN: usize>(&mut self, window: &[f32], row: usize) {
        let furthest = self
            .pieces
            .iter()
            .map(|piece| piece.from + piece.vectors * V::LANES);
        let furthest = furthest.max().unwrap_or(0) + self.taps.iter().max().unwrap_or(&0);
        assert!(furthest <= window.len(), "the window holds every read");
        assert!((row + self.taps.len()) * self.width + V::LANES <= self.panel);
        for panel in 0..self.panels() {
            let pieces = &self.pieces[self.first[panel]..self.first[panel + 1]];
            let to = &mut self.buffer[panel * self.panel..][..self.panel];
            // SAFETY: both asserts; a piece ends less than a vector after its panel's row.
            unsafe {
                let mut to = to.as_mut_ptr().add(row * self.width);
                if let [piece] = pieces
                    && piece.vectors == SPAN
                {
                    let from = window.as_ptr().add(piece.from);
                    for &tap in &self.taps {
                        for i in 0..SPAN {
                            V::load(from.add(tap + i * V::LANES)).store(to.add(i * V::LANES));
                        }
                        to = to.add(SPAN * V::LANES);
                    }
                    continue;
                }
                for &tap in &self.taps {
                    let from = window.as_ptr().add(tap);
                    for piece in pieces {
                        let (from, to) = (from.add(piece.from), to.add(piece.at));
                        for i in 0..piece.vectors {
                            V::load(from.add(i * V::LANES)).store(to.add(i * V::LANES));
                        }
                    }
                    to = to.add(self.width);
                }
            }
        }
    }
}
