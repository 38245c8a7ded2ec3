//! Both losses from one pass over the logits.

use super::softmax::{CHUNK, PIECE, Piece};
use super::{SegmentationLoss, SegmentationTerms};
use crate::exponential::ln;
use crate::simd::{Kernel, Lanes, Level};
use crate::sums::{LANES, join};
use crate::threads;
use rayon::prelude::*;

/// The Dice sums of a class: of p g, of p (or p²), of g.
type Overlap = [f64; 3];

/// The sums over some pixels.
#[derive(Clone, Default)]
struct Sums {
    cross_entropy: f64,
    counted: u64,
    overlaps: Vec<Overlap>,
}

pub(super) fn forward(
    level: Level,
    of: &SegmentationLoss,
    logits: &[f32],
    labels: &[u16],
) -> SegmentationTerms {
    of.check(logits.len(), labels.len());
    let chunks = of.spatial.div_ceil(CHUNK);
    let parts: Vec<Sums> = (0..of.batch * chunks)
        .into_par_iter()
        .with_min_len(threads::least(of.classes * CHUNK.min(of.spatial)))
        .map_init(
            || Piece::new(of.classes),
            |piece, task| {
                let (sample, start) = (task / chunks, task % chunks * CHUNK);
                level.run(OfChunk {
                    of,
                    logits: &logits[sample * of.classes * of.spatial..][..of.classes * of.spatial],
                    labels: &labels[sample * of.spatial..][..of.spatial],
                    start,
                    piece,
                })
            },
        )
        .collect();

    let mut overlaps = vec![[0.0; 3]; of.groups() * of.classes];
    let (mut cross_entropy, mut counted) = (0.0, 0);
    for (task, part) in parts.iter().enumerate() {
        cross_entropy += part.cross_entropy;
        counted += part.counted;
        let group = &mut overlaps[of.group(task / chunks) * of.classes..];
        for (all, part) in group.iter_mut().zip(&part.overlaps) {
            for (all, part) in all.iter_mut().zip(part) {
                *all += part;
            }
        }
    }
    let (dice, slopes) = dice(of, &overlaps);
    SegmentationTerms {
        cross_entropy: cross_entropy / counted.max(1) as f64,
        dice,
        counted,
        slopes,
    }
}

/// The Dice loss and its slopes along the probabilities, from the sums by group and class.
fn dice(of: &SegmentationLoss, overlaps: &[Overlap]) -> (f64, Vec<[f32; 2]>) {
    let first = of.first_class();
    let scores = (of.groups() * (of.classes - first)) as f64;
    let (mut total, mut slopes) = (0.0, Vec::with_capacity(overlaps.len()));
    for (i, [both, p, g]) in overlaps.iter().enumerate() {
        if i % of.classes < first {
            slopes.push([0.0; 2]);
            continue;
        }
        let numerator = 2.0 * both + f64::from(of.dice.smooth_numerator);
        let denominator = p + g + f64::from(of.dice.smooth_denominator);
        let power = if of.dice.squared { 2.0 } else { 1.0 };
        total += numerator / denominator;
        slopes.push([
            (-2.0 / (scores * denominator)) as f32,
            (power * numerator / (scores * denominator * denominator)) as f32,
        ]);
    }
    (1.0 - total / scores, slopes)
}

/// The sums of the chunk that begins at `start` of a sample.
struct OfChunk<'a> {
    of: &'a SegmentationLoss,
    logits: &'a [f32],
    labels: &'a [u16],
    start: usize,
    piece: &'a mut Piece,
}

impl Kernel for OfChunk<'_> {
    type Output = Sums;

    #[inline(always)]
    fn run<V: Lanes>(self) -> Sums {
        let Self { of, piece, .. } = self;
        let mut sums = Sums {
            overlaps: vec![[0.0; 3]; of.classes],
            ..Sums::default()
        };
        let end = of.spatial.min(self.start + CHUNK);
        for start in (self.start..end).step_by(PIECE) {
            let len = PIECE.min(end - start);
            sums.counted += piece.fill(of, self.logits, self.labels, start, len) as u64;
            sums.cross_entropy +=
                total(|i| piece.weight[i] * (ln(piece.sum[i]) - piece.at_truth[i]));
            let first = of.first_class();
            for (class, all) in sums.overlaps.iter_mut().enumerate().skip(first) {
                let p = &piece.p[class];
                let here = |i: usize| piece.truth[i] == class as u32;
                all[0] += total(|i| if here(i) { p[i] } else { 0.0 });
                all[1] += if of.dice.squared {
                    total(|i| p[i] * p[i])
                } else {
                    total(|i| p[i])
                };
                all[2] += total(|i| if here(i) { 1.0 } else { 0.0 });
            }
        }
        sums
    }
}

/// The sum of `term` over a piece.
#[inline(always)]
fn total(term: impl Fn(usize) -> f32) -> f64 {
    let mut lanes = [0.0; LANES];
    for start in (0..PIECE).step_by(LANES) {
        for (lane, sum) in lanes.iter_mut().enumerate() {
            *sum += term(start + lane);
        }
    }
    join(&lanes)
}
