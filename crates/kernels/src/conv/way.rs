//! Which of five ways computes a pass.

use super::Conv;
use super::winograd::{POINTS, Winograd, tile};

/// A way to compute a pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    /// The direct sum; see the module above.
    Direct,
    /// Matrix products of unrolled input; see `panels`.
    Panels,
    /// The kernel's columns as channels; see `columns`.
    Columns,
    /// Fewer products; see `winograd`.
    Winograd,
    /// The input unrolled, the weights as they lie; see `unrolled`.
    Unrolled,
}

impl Way {
    /// Whether a geometry can be computed so.
    pub(super) fn can(self, conv: &Conv) -> bool {
        match self {
            Self::Direct => true,
            Self::Panels => conv.batch > 0,
            Self::Columns => conv.kernel[2] > 1 && conv.stride[2] == 1 && conv.batch > 0,
            Self::Winograd => {
                Winograd::knows(conv.kernel) && conv.stride == [1; 3] && conv.batch > 0
            }
            // A vector of any instruction set fits into every row of the matrices.
            Self::Unrolled => {
                let positions = conv.out_size().iter().product::<usize>();
                positions.min(conv.in_channels * conv.taps()) >= 16 && conv.batch > 0
            }
        }
    }

    /// The fastest for a pass.
    pub(super) fn best(conv: &Conv, pass: Pass) -> Self {
        let written = match pass {
            Pass::Forward | Pass::Weight => conv.out_channels,
            Pass::Input => conv.in_channels,
        };
        // One or two channels leave most registers empty.
        if Self::Columns.can(conv) && written <= 2 && conv.kernel[2] >= 3 {
            return Self::Columns;
        }
        // Where Winograd's way is possible the multiply-adds decide: its products, its transforms of
        // tiles (about 8 a point and channel) and of weights (about 16 a point and pair).
        let [depth, rows, cols] = conv.out_size();
        let positions = conv.batch * depth * rows * cols;
        let fewest = conv.in_channels.min(conv.out_channels);
        if Self::Winograd.can(conv) && fewest >= 12 {
            let kernel = conv.kernel[2];
            let tile = tile(kernel);
            let tiles = conv.batch * depth * rows.div_ceil(tile) * cols.div_ceil(tile);
            let pairs = conv.in_channels * conv.out_channels * conv.kernel[0];
            let products = tiles * POINTS * pairs;
            let transforms = 8 * tiles * POINTS * (conv.in_channels + conv.out_channels);
            let weights = 16 * POINTS * pairs;
            if products + transforms + weights < kernel * kernel * positions * pairs {
                return Self::Winograd;
            }
        }
        if conv.taps() == 1 || fewest < 16 || !Self::Panels.can(conv) {
            return Self::Direct;
        }
        // Fewer positions than channels on either side: more weights than unrolled inputs.
        let few = positions <= fewest && Self::Unrolled.can(conv);
        let strided = conv.stride != [1; 3];
        match pass {
            _ if few => Self::Unrolled,
            Pass::Weight => Self::Panels,
            // The direct way would copy the whole input first, to split it by parity.
            Pass::Forward if strided => Self::Panels,
            // What is unrolled has to meet many channels.
            Pass::Input if strided && written >= 64 => Self::Panels,
            Pass::Forward | Pass::Input => Self::Direct,
        }
    }
}

/// What is computed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Pass {
    Forward,
    /// The gradient of the input.
    Input,
    /// The gradient of the weights.
    Weight,
}
