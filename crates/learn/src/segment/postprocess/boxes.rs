//! The boxes that the labels of a volume lie in, so that each class is worked on in its own.

use crossmod_volume::space::{Cut, Frame};
use crossmod_volume::{Grid, Labels};

use crate::Result;

/// The smallest box of every label.
pub(super) struct Boxes(Vec<Option<[[usize; 3]; 2]>>);

impl Boxes {
    pub(super) fn of(labels: &Labels) -> Self {
        let mut boxes: Vec<Option<[[usize; 3]; 2]>> = vec![None; 1 << 16];
        let [nx, ny, _] = labels.grid().shape();
        let mut add = |label: u16, first: usize, last: usize, row: usize| {
            let (y, z) = (row % ny, row / ny);
            let [low, high] =
                boxes[usize::from(label)].get_or_insert([[first, y, z], [last, y, z]]);
            for (axis, [a, b]) in [[first, last], [y, y], [z, z]].into_iter().enumerate() {
                low[axis] = low[axis].min(a);
                high[axis] = high[axis].max(b);
            }
        };
        for (i, row) in labels.data().chunks(nx).enumerate() {
            let mut first = 0;
            while first < nx {
                let label = row[first];
                let length = row[first..].iter().take_while(|&&l| l == label).count();
                if label != 0 {
                    add(label, first, first + length - 1, i);
                }
                first += length;
            }
        }
        Self(boxes)
    }

    /// The box of a class of some labels and a voxel more on each side where the grid has one, so
    /// that what surrounds the class is seen to be outside.
    pub(super) fn around(&self, grid: &Grid, members: &[u16]) -> Option<Frame> {
        let boxes = members
            .iter()
            .filter_map(|&label| self.0[usize::from(label)]);
        let [low, high] = boxes.reduce(|[low, high], [other_low, other_high]| {
            [
                [0, 1, 2].map(|axis| low[axis].min(other_low[axis])),
                [0, 1, 2].map(|axis| high[axis].max(other_high[axis])),
            ]
        })?;
        let tight = Frame {
            start: low.map(|v| v as i64),
            shape: [0, 1, 2].map(|axis| high[axis] - low[axis] + 1),
        };
        tight.grown([1; 3]).within(grid)
    }
}

/// A box of a label map.
pub(super) fn cut(labels: &Labels, frame: Frame) -> Result<Labels> {
    Ok(Cut::new(labels.grid(), frame)?.labels(labels, 0))
}

/// Puts a box back.
pub(super) fn paste(part: &Labels, frame: Frame, labels: &mut Labels) {
    let [nx, ny, _] = labels.grid().shape();
    let [x, y, z] = frame.start.map(|v| usize::try_from(v).unwrap_or(0));
    let [px, py, _] = frame.shape;
    for (i, row) in part.data().chunks(px).enumerate() {
        let start = x + nx * (y + i % py + ny * (z + i / py));
        labels.data_mut()[start..start + px].copy_from_slice(row);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crossmod_volume::rng::Rng;

    #[test]
    fn boxes_hold_their_label_and_nothing_is_lost() {
        let grid = Grid::with_spacing([13, 11, 9], [1.0; 3]).expect("a grid");
        let mut rng = Rng::new(2, 0, 0);
        let data = (0..grid.len()).map(|_| {
            if rng.chance(0.01) {
                1 + rng.below(4) as u16
            } else {
                0
            }
        });
        let labels = Labels::new(grid.clone(), data.collect()).expect("labels");
        let boxes = Boxes::of(&labels);
        assert_eq!(boxes.around(&grid, &[9]), None);
        let all = Frame::of_foreground(&labels).expect("labels occur");
        let all = all.grown([1; 3]).within(&grid);
        assert_eq!(boxes.around(&grid, &[4, 9, 1, 3, 2]), all);
        for label in 1..5 {
            let one = labels
                .data()
                .iter()
                .map(|&l| if l == label { l } else { 0 });
            let one = Labels::new(grid.clone(), one.collect()).expect("labels");
            let expected = Frame::of_foreground(&one).expect("it occurs");
            let expected = expected.grown([1; 3]).within(&grid);
            let frame = boxes.around(&grid, &[label]);
            assert_eq!(frame, expected);
            let frame = frame.expect("it occurs");
            let mut part = cut(&labels, frame).expect("a box");
            let mut expected = labels.clone();
            for l in expected.data_mut().iter_mut().filter(|l| **l == label) {
                *l = 40;
            }
            for l in part.data_mut().iter_mut().filter(|l| **l == label) {
                *l = 40;
            }
            let mut changed = labels.clone();
            paste(&part, frame, &mut changed);
            assert_eq!(changed, expected);
        }
    }
}
