//! The projector's inner loops.
//!
//! For each slab of a few lines of voxels, for each view and channel: blend and sum the columns
//! that the channel's line meets in the slab (lanes are slices), then let each row read the sum at
//! its height (lanes are rows).
#![allow(
    unsafe_code,
    reason = "vectors over columns whose bounds are checked once per line, not per voxel"
)]

use super::MOST_STEPS;
use super::body::{Body, SLACK};
use super::rays::{Heights, Rays, Source};
use crate::simd::{Kernel, Lanes, Level};
use std::ops::Range;

/// Lines whose sums are formed before their rows read them: a vector just written cannot be read
/// at another place without waiting.
const LINES_TOGETHER: usize = 8;

/// Lines of the fan that pass the whole volume before the next do: their sums, and what they and
/// the same lines of other views read of a slab, stay in a core's own cache.
const FAN_TOGETHER: usize = 64;

/// The largest distance between rows, in slices, that `sample_near` bridges at any vector length.
const NEAR: f32 = 1.99;

/// Some views of a body.
pub(super) struct Task<'a> {
    pub(super) body: &'a Body,
    pub(super) rays: &'a Rays,
    pub(super) heights: &'a Heights,
    /// Lines of voxels that are summed at a time.
    pub(super) steps: usize,
    pub(super) sources: Vec<Source>,
}

/// Memory that tasks use again.
#[derive(Default)]
pub(super) struct Scratch {
    /// `[view][line][row's sub-ray][padded row]`.
    pub(super) sums: Vec<f32>,
    lines: Vec<Line>,
    columns: Vec<f32>,
}

/// A line in the plane as it steps along one axis of the volume.
#[derive(Clone, Copy)]
struct Line {
    /// Place of its sums.
    index: usize,
    /// Voxel across at step 0, and per step.
    across: [f32; 2],
    /// Length from the source at step 0 and per step, mm.
    length: [f32; 2],
}

/// How the volume lies for lines that step along one axis.
struct Plane<'a> {
    /// Steps, and voxels across.
    len: [usize; 2],
    stride: [usize; 2],
    spacing_mm: [f64; 2],
    first_mm: [f64; 2],
    content: &'a [[u32; 2]],
}

/// A line whose columns have been summed.
#[derive(Clone, Copy, Default)]
struct Summed {
    index: usize,
    /// Where the sums start in the scratch, and how many slices they cover.
    start: usize,
    slices: usize,
    /// The source's height in slices from the first of them.
    origin: f32,
    length_mm: f32,
}

impl Task<'_> {
    pub(super) fn run(&self, level: Level, scratch: &mut Scratch) {
        let Scratch {
            sums,
            lines,
            columns,
        } = scratch;
        sums.clear();
        sums.resize(self.sources.len() * self.rays.sums_len(), 0.0);
        columns.resize(LINES_TOGETHER * (self.body.slices + SLACK) + SLACK, 0.0);
        let all = self.rays.lines.len();
        let mut ends = Vec::with_capacity(self.sources.len());
        for axis in 0..2 {
            let plane = self.plane(axis);
            for first in (0..all).step_by(FAN_TOGETHER) {
                lines.clear();
                ends.clear();
                for view in 0..self.sources.len() {
                    let fan = first..all.min(first + FAN_TOGETHER);
                    self.add_lines(view, axis, &plane, fan, lines);
                    ends.push(lines.len());
                }
                level.run(Sweep {
                    task: self,
                    plane: &plane,
                    lines,
                    ends: &ends,
                    sums,
                    columns,
                });
            }
        }
    }

    fn plane(&self, axis: usize) -> Plane<'_> {
        let body = self.body;
        let pair = [axis, 1 - axis];
        let strides = [body.slices, body.slices * body.columns[0]];
        Plane {
            len: pair.map(|a| body.columns[a]),
            stride: pair.map(|a| strides[a]),
            spacing_mm: pair.map(|a| body.spacing_mm[a]),
            first_mm: pair.map(|a| body.first_mm[a]),
            content: &body.content[axis],
        }
    }

    /// The lines of a part of a view's fan that pass more voxels along `axis` than along the other.
    fn add_lines(
        &self,
        view: usize,
        axis: usize,
        plane: &Plane,
        fan: Range<usize>,
        lines: &mut Vec<Line>,
    ) {
        let source = &self.sources[view];
        let per_line = self.rays.line_len();
        let (cos, sin) = (source.cos, source.sin);
        for (i, ray) in fan.clone().zip(&self.rays.lines[fan]) {
            let [along, across] = ray.direction;
            let direction = [along * cos - across * sin, along * sin + across * cos];
            let voxels = [0, 1].map(|a| (direction[a] / self.body.spacing_mm[a]).abs());
            if (voxels[1] > voxels[0]) != (axis == 1) {
                continue;
            }
            let start = [
                source.position_mm[0] - ray.shift_mm * sin,
                source.position_mm[1] + ray.shift_mm * cos,
            ];
            let pair = [axis, 1 - axis];
            let (start, direction) = (pair.map(|a| start[a]), pair.map(|a| direction[a]));
            let step_mm = plane.spacing_mm[0] / direction[0];
            let first_mm = (plane.first_mm[0] - start[0]) / direction[0];
            let voxel = |length_mm: f64| length_mm * direction[1] / plane.spacing_mm[1];
            let offset = (start[1] - plane.first_mm[1]) / plane.spacing_mm[1];
            lines.push(Line {
                index: view * self.rays.sums_len() + i * per_line,
                across: [(offset + voxel(first_mm)) as f32, voxel(step_mm) as f32],
                length: [first_mm as f32, step_mm as f32],
            });
        }
    }
}

/// All slabs of a task along one axis.
struct Sweep<'a> {
    task: &'a Task<'a>,
    plane: &'a Plane<'a>,
    lines: &'a [Line],
    /// Of each view among the lines.
    ends: &'a [usize],
    sums: &'a mut [f32],
    columns: &'a mut [f32],
}

impl Kernel for Sweep<'_> {
    type Output = ();

    #[inline(always)]
    fn run<V: Lanes>(self) {
        let steps = self.task.steps;
        let body = self.task.body;
        for first in (0..self.plane.len[0]).step_by(steps) {
            let slab = first..self.plane.len[0].min(first + steps);
            let filled = self.plane.content[slab.clone()].iter();
            let [low, high] = filled
                .filter(|[first, last]| first <= last)
                .fold([u32::MAX, 0], |[low, high], &[first, last]| {
                    [low.min(first), high.max(last)]
                });
            if low > high {
                continue;
            }
            // A voxel reaches as far as its neighbours.
            let filled = [low as f32 - 1.0, high as f32 + 1.0];
            let ends = [slab.start, slab.end - 1].map(|step| step as f32);
            let middle = (ends[0] + ends[1]) / 2.0;
            let mut start = 0;
            for (source, &end) in self.task.sources.iter().zip(self.ends) {
                let above = (source.position_mm[2] - body.first_mm[2]) / body.spacing_mm[2];
                let origin = above as f32;
                for lines in self.lines[start..end].chunks(LINES_TOGETHER) {
                    let mut summed = [Summed::default(); LINES_TOGETHER];
                    let mut count = 0;
                    let mut free = 0;
                    for line in lines {
                        let across = ends.map(|step| line.across[0] + line.across[1] * step);
                        let outside = across[0].max(across[1]) <= filled[0]
                            || across[0].min(across[1]) >= filled[1];
                        let length_mm = line.length[0] + line.length[1] * middle;
                        if outside || length_mm <= 0.0 {
                            continue;
                        }
                        let slices = self.slices(origin, length_mm);
                        summed[count] = Summed {
                            index: line.index,
                            start: free,
                            slices: slices.len(),
                            origin: origin - slices.start as f32,
                            length_mm,
                        };
                        let to = &mut self.columns[free..];
                        free += slices.len().next_multiple_of(V::LANES);
                        count += 1;
                        // SAFETY: called through Level::run.
                        unsafe {
                            sum_columns::<V>(body, self.plane, line, slab.clone(), slices, to)
                        };
                    }
                    for summed in &summed[..count] {
                        // SAFETY: as above.
                        unsafe { read_rows::<V>(self.task, summed, self.columns, self.sums) };
                    }
                }
                start = end;
            }
        }
    }
}

impl Sweep<'_> {
    /// The slices that all rows see at a length from a source at slice `origin`: two or more.
    #[inline(always)]
    fn slices(&self, origin: f32, length_mm: f32) -> Range<usize> {
        let reach = self.task.heights.reach;
        let [low, high] = reach.map(|[lift, slope]| origin + lift + slope * length_mm);
        let last = self.task.body.slices as i32 - 2;
        // Casts clamp what is far outside.
        let first = (low as i32).clamp(0, last);
        let end = (high as i32).clamp(first, last) + 2;
        first as usize..end as usize
    }
}

/// Where a slab's steps read: the first of two columns each, and their weights.
struct Steps {
    offsets: [i32; MOST_STEPS],
    weights: [[f32; MOST_STEPS]; 2],
}

/// Writes to `to`, for each of `slices`, the integral of the slab's blended columns along `line`.
///
/// # Safety
/// As [`Lanes`].
#[inline(always)]
unsafe fn sum_columns<V: Lanes>(
    body: &Body,
    plane: &Plane,
    line: &Line,
    slab: Range<usize>,
    slices: Range<usize>,
    to: &mut [f32],
) {
    let count = slab.len().min(MOST_STEPS);
    let vectors = slices.len().div_ceil(V::LANES);
    // Every column read starts at most at the last but one across, at a slice below the last, and
    // vectors overrun a column by less than their length, for which the volume and the scratch
    // hold SLACK elements more.
    assert!(to.len() >= vectors * V::LANES && V::LANES <= SLACK);
    assert!(slab.start + count <= plane.len[0] && slices.end <= body.slices);
    let mut steps = Steps {
        offsets: [0; MOST_STEPS],
        weights: [[0.0; MOST_STEPS]; 2],
    };
    let last = ((plane.len[1] - 1) as f32).next_down();
    let length = line.length[1].abs();
    let stride = plane.stride.map(|s| s as i32);
    let start = slab.start as i32 * stride[0] + slices.start as i32;
    let first = line.across[0] + line.across[1] * slab.start as f32;
    for i in 0..MOST_STEPS {
        let across = (first + line.across[1] * i as f32).max(0.0).min(last);
        // SAFETY: between 0 and `last`; NaN has become 0.
        let column = unsafe { across.to_int_unchecked::<i32>() };
        let part = (across - column as f32) * length;
        steps.offsets[i] = start + i as i32 * stride[0] + column * stride[1];
        steps.weights[0][i] = length - part;
        steps.weights[1][i] = part;
    }
    let mut vector = 0;
    while vector < vectors {
        let rest = vectors - vector;
        // Six sums, two weights and a loaded vector fit into sixteen registers.
        let now = if rest > 6 { 4 } else { rest };
        // SAFETY: the bounds just checked: `to` and, from each step's offset, the volume are
        // readable for `vectors` vectors.
        unsafe {
            let from = body.data.as_ptr().add(vector * V::LANES);
            let to = to.as_mut_ptr().add(vector * V::LANES);
            let next = plane.stride[1];
            match now {
                1 => blend::<V, 1>(from, &steps, count, next, to),
                2 => blend::<V, 2>(from, &steps, count, next, to),
                3 => blend::<V, 3>(from, &steps, count, next, to),
                4 => blend::<V, 4>(from, &steps, count, next, to),
                5 => blend::<V, 5>(from, &steps, count, next, to),
                _ => blend::<V, 6>(from, &steps, count, next, to),
            }
        }
        vector += now;
    }
}

/// Sums `N` vectors of both columns of the first `count` steps.
///
/// # Safety
/// As [`Lanes`]; from each step's offset, and `next` on, `N` vectors are readable, and as many
/// writable at `to`.
#[inline(always)]
unsafe fn blend<V: Lanes, const N: usize>(
    from: *const f32,
    steps: &Steps,
    count: usize,
    next: usize,
    to: *mut f32,
) {
    // SAFETY: the caller's promise.
    unsafe {
        let mut sums = [V::splat(0.0); N];
        for i in 0..count {
            let weights = [V::splat(steps.weights[0][i]), V::splat(steps.weights[1][i])];
            let here = from.add(steps.offsets[i] as usize);
            let there = here.add(next);
            for (i, sum) in sums.iter_mut().enumerate() {
                *sum = V::load(here.add(i * V::LANES)).mul_add(weights[0], *sum);
                *sum = V::load(there.add(i * V::LANES)).mul_add(weights[1], *sum);
            }
        }
        for (i, sum) in sums.into_iter().enumerate() {
            sum.store(to.add(i * V::LANES));
        }
    }
}

/// Adds to the sums of each row what it reads at its height in the summed columns.
///
/// # Safety
/// As [`Lanes`].
#[inline(always)]
unsafe fn read_rows<V: Lanes>(task: &Task, summed: &Summed, columns: &[f32], sums: &mut [f32]) {
    let padded = task.rays.padded;
    let last = ((summed.slices - 1) as f32).next_down();
    let near = task.heights.pitch * summed.length_mm <= NEAR;
    for (i, (lift, slopes)) in task.heights.rows.iter().enumerate() {
        let sums = &mut sums[summed.index + i * padded..][..padded];
        // Positions end below the last slice; near them two vectors are read at once.
        assert!(slopes.len() == padded && padded.is_multiple_of(V::LANES));
        assert!(columns.len() >= summed.start + summed.slices + 2 * V::LANES);
        // SAFETY: the bounds just checked; rows rise, so positions do.
        unsafe {
            let columns = columns.as_ptr().add(summed.start);
            let (origin, scale) = (V::splat(summed.origin + lift), V::splat(summed.length_mm));
            let (low, high) = (V::splat(0.0), V::splat(last));
            for row in (0..padded).step_by(V::LANES) {
                let slopes = V::load(slopes.as_ptr().add(row));
                let position = slopes.mul_add(scale, origin).max(low).min(high);
                let value = if near {
                    V::sample_near(columns, position)
                } else {
                    V::sample(columns, position)
                };
                let sum = sums.as_mut_ptr().add(row);
                V::load(sum).add(value).store(sum);
            }
        }
    }
}
