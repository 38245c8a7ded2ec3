//! What a net is to the windows: patches in, probabilities out.

use std::ops::Range;

use crate::Result;

/// Windows of a volume, as nets see them.
#[derive(Debug, Clone, PartialEq)]
pub struct WindowBatch {
    /// `[window][channel][z][y][x]`; in 2.5-D a channel per neighbouring slice, those of one
    /// channel of the images together.
    pub values: Vec<f32>,
    /// Windows.
    pub len: usize,
    /// Channels of a window.
    pub channels: usize,
    /// Voxels of a window along z, y and x.
    pub shape: [usize; 3],
}

/// Receives probabilities of some slices (z) of every window, `[window][output][z][y][x]`.
pub type Take<'a> = dyn FnMut(Range<usize>, &[f32]) -> Result<()> + 'a;

/// A net that segments patches. A closure that gives all probabilities at once is one.
pub trait PatchNet {
    /// Gives the probabilities (0 to 1) of every output in every voxel of the windows to `take`,
    /// in one piece or in several of consecutive slices: a net of many outputs needs much less
    /// memory where it makes the probabilities of a few slices at a time.
    ///
    /// # Errors
    /// What computing and `take` give.
    fn run(&self, windows: &WindowBatch, take: &mut Take<'_>) -> Result<()>;
}

impl<F: Fn(&WindowBatch) -> Result<Vec<f32>>> PatchNet for F {
    fn run(&self, windows: &WindowBatch, take: &mut Take<'_>) -> Result<()> {
        take(0..windows.shape[0], &self(windows)?)
    }
}

/// The windows mirrored along the axes (z, y, x) that `mirror` says.
pub(super) fn mirrored(windows: &WindowBatch, mirror: [bool; 3]) -> WindowBatch {
    let [nz, ny, nx] = windows.shape;
    let mut values = Vec::with_capacity(windows.values.len());
    let place = |i: usize, n: usize, mirror: bool| if mirror { n - 1 - i } else { i };
    for volume in windows.values.chunks(nz * ny * nx) {
        for z in 0..nz {
            for y in 0..ny {
                let row = place(y, ny, mirror[1]) + ny * place(z, nz, mirror[0]);
                let row = &volume[row * nx..(row + 1) * nx];
                if mirror[2] {
                    values.extend(row.iter().rev());
                } else {
                    values.extend(row);
                }
            }
        }
    }
    WindowBatch { values, ..*windows }
}
