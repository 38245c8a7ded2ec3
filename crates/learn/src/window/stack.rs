//! A net over the slices of a prepared volume: one after the other, or in blocks.

use burn::tensor::{Device, Tensor};

use crate::batch::{Prepared, block, covering, neighbours, pad_to, tensor};
use crate::ops;
use crate::plan::Plan;

/// The smallest side a net is given: reflection padding needs a few pixels at its lowest level.
pub(super) const MIN_SIDE: usize = 32;

/// Slices of one size, as they lie in their volume.
#[derive(Debug)]
pub(super) struct Stack<'a> {
    planes: Vec<&'a [f32]>,
    /// Width and height.
    size: [usize; 2],
}

impl<'a> Stack<'a> {
    /// Slices of so many columns and rows.
    pub(super) fn new(planes: Vec<&'a [f32]>, size: [usize; 2]) -> Self {
        Self { planes, size }
    }

    /// The slices of a prepared volume.
    pub(super) fn of(prepared: &'a Prepared) -> Self {
        let shape = prepared.image.grid().shape();
        let planes = (0..shape[2]).map(|z| prepared.image.slice_z(z));
        Self::new(planes.collect(), [shape[0], shape[1]])
    }

    /// Runs `net` on each slice with its neighbours as channels (`D` = 4), or on blocks of slices
    /// (`D` = 5) as `plan` has them; `each` is given the planes `[channels][height × width]` of every
    /// slice in turn. Slices are extended to sides of a multiple of `multiple`, and what is made of
    /// them cropped back; beyond the ends the outermost slice is repeated. Where blocks overlap, what
    /// is made is their mean.
    pub(super) fn run<const D: usize>(
        &self,
        (plan, multiple): (&Plan, usize),
        device: &Device,
        net: impl Fn(Tensor<D>) -> Tensor<D>,
        mut each: impl FnMut(usize, Vec<Vec<f32>>),
    ) {
        let (slices, size) = (self.planes.len(), self.size);
        let case = [0, slices - 1];
        let [width, height] = size.map(|s| s.max(MIN_SIDE).next_multiple_of(multiple));
        let through = |places: Vec<usize>, channels: usize, depth: usize| {
            let planes = places.iter();
            let padded: Vec<f32> = planes
                .flat_map(|&place| pad_to(self.planes[place], size, [width, height]))
                .collect();
            let shape = [depth, height, width];
            ops::values(net(tensor::<D>(padded, [1, channels], shape, device)))
        };
        let cropped = |plane: &[f32]| pad_to(plane, [width, height], size);
        let Some(of) = &plan.block else {
            for slice in 0..slices {
                let channels = plan.channels();
                let places = neighbours(slice, plan.context(), case).collect();
                let made = through(places, channels, 1);
                each(slice, made.chunks(width * height).map(cropped).collect());
            }
            return;
        };
        let mut sums: Vec<Vec<Vec<f32>>> = vec![Vec::new(); slices];
        let mut blocks = vec![0.0f32; slices];
        let places = (slices + 1).saturating_sub(of.slices).max(1);
        // A volume that is shorter lies in the middle of its block.
        let before = of.slices.saturating_sub(slices) / 2;
        for at in covering(places, of.slices) {
            let made = through(block(at, of.slices, case).collect(), 1, of.slices);
            for slice in at..slices.min(at + of.slices) {
                let planes = made.chunks(width * height).skip(slice - at + before);
                add(&mut sums[slice], planes.step_by(of.slices).map(cropped));
                blocks[slice] += 1.0;
            }
        }
        for (slice, (mut planes, blocks)) in sums.into_iter().zip(blocks).enumerate() {
            planes.iter_mut().flatten().for_each(|sum| *sum /= blocks);
            each(slice, planes);
        }
    }
}

/// Adds planes to those that are there, or puts them there.
fn add(sums: &mut Vec<Vec<f32>>, planes: impl Iterator<Item = Vec<f32>>) {
    if sums.is_empty() {
        sums.extend(planes);
        return;
    }
    for (sum, plane) in sums.iter_mut().zip(planes) {
        sum.iter_mut().zip(plane).for_each(|(sum, v)| *sum += v);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::{Block, Fit};
    use crate::segment::plan::Dims;

    fn plan(dims: Dims, block: Option<usize>) -> Plan {
        Plan {
            fit: Fit::Spacing,
            spacing_mm: 1.0,
            patch: 32,
            load: 32,
            reasons: Vec::new(),
            dims,
            block: block.map(|slices| Block {
                slices,
                spacing_mm: 1.0,
            }),
            classes: Vec::new(),
            source: None,
            target: None,
        }
    }

    /// What comes back of a net that changes nothing is each slice itself, however blocks overlap
    /// and whether a volume is longer or shorter than one.
    #[test]
    fn slices_come_back_in_their_places() {
        let device = crate::device::cpu();
        let area = 5 * 3;
        for (slices, block) in [(1, 8), (3, 8), (8, 8), (11, 8), (21, 4)] {
            let planes: Vec<Vec<f32>> = (0..slices)
                .map(|z| (0..area).map(|i| (z * area + i) as f32).collect())
                .collect();
            let borrowed = planes.iter().map(Vec::as_slice).collect();
            let stack = Stack::new(borrowed, [5, 3]);
            let plan = plan(Dims::Three, Some(block));
            let mut back = Vec::new();
            stack.run::<5>(
                (&plan, 4),
                &device,
                |x| Tensor::cat(vec![x.clone() * 2.0, x], 1),
                |slice, planes| {
                    assert_eq!((slice, planes.len()), (back.len(), 2));
                    back.push(planes[1].clone());
                },
            );
            assert_eq!(back, planes, "{slices} slices in blocks of {block}");
        }
    }

    #[test]
    fn neighbours_are_channels() {
        let planes = [vec![1.0f32], vec![2.0], vec![4.0]];
        let stack = Stack::new(planes.iter().map(Vec::as_slice).collect(), [1, 1]);
        let plan = plan(Dims::TwoAndHalf { context: 1 }, None);
        let mut sums = Vec::new();
        let net = |x: Tensor<4>| x.sum_dim(1);
        stack.run((&plan, 4), &crate::device::cpu(), net, |_, planes| {
            sums.push(planes[0][0]);
        });
        assert_eq!(sums, [4.0, 7.0, 10.0]);
    }
}
