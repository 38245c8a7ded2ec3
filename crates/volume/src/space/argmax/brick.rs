//! A small box of a slab: which classes can win in it, and the best of them so far.

use std::ops::Range;

use super::{Certainty, Place, keep_better};
use crate::space::taps::Taps;

/// Voxels of the target along x, y and z: small, so that few classes can win in one; not smaller,
/// so that finding out costs little.
const SIDES: [usize; 3] = [32, 16, 8];

/// Rounding may take an interpolated value above the greatest it is made of.
const SLACK: f32 = 1e-5;

/// A brick and what is known of it.
pub(super) struct Brick {
    target: [Range<usize>; 3],
    /// All that the target's voxels are interpolated from.
    source: [Range<usize>; 3],
    /// Each class's greatest value.
    greatest: Vec<f32>,
    /// No winner is below this; before [`Brick::start`], the greatest of the classes' least values.
    least: f32,
    /// Whether no value is below 0.
    positive: bool,
    /// Classes still to be compared; empty where the label is already known.
    candidates: Vec<u16>,
    /// Where one class alone can win.
    only: Option<u16>,
    best: Vec<f32>,
    labels: Vec<u16>,
    entropy: Vec<f32>,
}

impl Brick {
    /// The bricks of a box of the target.
    pub(super) fn cut(taps: &[Taps; 3], target: [Range<usize>; 3]) -> Vec<Self> {
        let pieces = |axis: usize| {
            let Range { start, end } = target[axis].clone();
            let starts = (start..end).step_by(SIDES[axis]);
            starts.map(move |s| s..end.min(s + SIDES[axis]))
        };
        let mut bricks = Vec::new();
        for zs in pieces(2) {
            for ys in pieces(1) {
                for xs in pieces(0) {
                    let target = [xs, ys.clone(), zs.clone()];
                    let source = [0, 1, 2].map(|axis| taps[axis].span(target[axis].clone()));
                    bricks.push(Self {
                        target,
                        source,
                        greatest: Vec::new(),
                        least: f32::NEG_INFINITY,
                        positive: true,
                        candidates: Vec::new(),
                        only: None,
                        best: Vec::new(),
                        labels: Vec::new(),
                        entropy: Vec::new(),
                    });
                }
            }
        }
        bricks
    }

    /// Notes the next class's least and greatest value.
    pub(super) fn bound(&mut self, place: Place, class: &[f32]) {
        let [xs, ys, zs] = &self.source;
        // Place by place along x first, which the compiler can do several at a time.
        let mut low = vec![f32::INFINITY; xs.len()];
        let mut high = vec![f32::NEG_INFINITY; xs.len()];
        for (z, y) in zs.clone().flat_map(|z| ys.clone().map(move |y| (z, y))) {
            let row = place.row(class, xs, y, z);
            for ((low, high), &v) in low.iter_mut().zip(&mut high).zip(row) {
                *low = if v < *low { v } else { *low };
                *high = if v > *high { v } else { *high };
            }
        }
        let low = low.into_iter().fold(f32::INFINITY, f32::min);
        let high = high.into_iter().fold(f32::NEG_INFINITY, f32::max);
        self.least = self.least.max(low);
        self.positive &= low >= 0.0;
        self.greatest.push(high);
    }

    /// After every class was bounded: which are to be compared, given each voxel's greatest value
    /// and whose it is.
    pub(super) fn start(
        &mut self,
        place: Place,
        top: &[f32],
        winner: &[u16],
        certainty: Certainty,
    ) {
        let [xs, ys, zs] = &self.source;
        let mut winners: Vec<u16> = Vec::new();
        let mut lowest_top = f32::INFINITY;
        for (z, y) in zs.clone().flat_map(|z| ys.clone().map(move |y| (z, y))) {
            for &v in place.row(top, xs, y, z) {
                lowest_top = lowest_top.min(v);
            }
            for &class in place.row(winner, xs, y, z) {
                if winners.last() != Some(&class) && !winners.contains(&class) {
                    winners.push(class);
                }
            }
        }
        if self.positive {
            self.least = self.least.max(lowest_top / winners.len() as f32);
        }
        let slack = SLACK * self.least.abs().max(f32::MIN_POSITIVE);
        let counts = |high: f32| match certainty {
            // A class without probability adds nothing to the entropy.
            Certainty::Entropy => high > 0.0 || high >= self.least - slack,
            _ => high >= self.least - slack,
        };
        let candidates = self.greatest.iter().enumerate();
        self.candidates = candidates
            .filter(|&(_, &high)| counts(high))
            .map(|(class, _)| class as u16)
            .collect();
        self.greatest = Vec::new();
        if let [only] = self.candidates[..] {
            self.only = Some(only);
            if certainty == Certainty::None {
                self.candidates.clear();
                return;
            }
        }
        let voxels = self.target.iter().map(Range::len).product();
        self.best = vec![f32::NEG_INFINITY; voxels];
        self.labels = vec![0; voxels];
        if certainty == Certainty::Entropy {
            self.entropy = vec![0.0; voxels];
        }
    }

    pub(super) fn waits_for(&self, class: usize) -> bool {
        u16::try_from(class).is_ok_and(|class| self.candidates.binary_search(&class).is_ok())
    }

    /// Interpolates a class and keeps it where it is above the best so far.
    pub(super) fn compare(
        &mut self,
        label: u16,
        taps: &[Taps; 3],
        place: Place,
        class: &[f32],
        certainty: Certainty,
    ) {
        let [xs, ys, zs] = self.target.clone();
        let source_xs = &self.source[0];
        let mut sum = vec![0.0; source_xs.len()];
        let mut row = vec![0.0; xs.len()];
        for (k, (z, y)) in zs.flat_map(|z| ys.clone().map(move |y| (z, y))).enumerate() {
            place.interpolate(class, taps, [y, z], (&xs, source_xs), &mut sum, &mut row);
            let at = k * row.len()..(k + 1) * row.len();
            let labels = &mut self.labels[at.clone()];
            keep_better(&row, label, &mut self.best[at.clone()], labels);
            if certainty == Certainty::Entropy {
                for (&v, entropy) in row.iter().zip(&mut self.entropy[at]) {
                    if v > 0.0 {
                        *entropy -= v * v.ln();
                    }
                }
            }
        }
    }

    /// Writes the labels into a volume of which slices have `shape`.
    pub(super) fn copy_labels(&self, shape: [usize; 2], labels: &mut [u16]) {
        for (k, out) in self.rows(shape).enumerate() {
            let n = out.len();
            match self.only {
                Some(only) => labels[out].fill(only),
                None => labels[out].copy_from_slice(&self.labels[k * n..(k + 1) * n]),
            }
        }
    }

    /// Writes the certainty into a volume of which slices have `shape`.
    pub(super) fn copy_certainty(&self, shape: [usize; 2], certainty: Certainty, to: &mut [f32]) {
        let told = match certainty {
            Certainty::Entropy => &self.entropy,
            _ => &self.best,
        };
        for (k, out) in self.rows(shape).enumerate() {
            let n = out.len();
            to[out].copy_from_slice(&told[k * n..(k + 1) * n]);
        }
    }

    /// Where the brick's rows lie in a volume.
    fn rows(&self, [nx, ny]: [usize; 2]) -> impl Iterator<Item = Range<usize>> {
        let [xs, ys, zs] = self.target.clone();
        zs.flat_map(move |z| ys.clone().map(move |y| nx * (y + ny * z)))
            .map(move |start| start + xs.start..start + xs.end)
    }
}
