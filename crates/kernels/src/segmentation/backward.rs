//! The gradient of both losses, the softmax computed again.
//!
//! The slope of the Dice along a probability being d, that along logit z of class c is
//! `p_c (d_c - Σ d p)`; that of a pixel's cross-entropy is `w (p_c - g_c)`.

use super::softmax::{CHUNK, PIECE, Piece};
use super::{SegmentationLoss, SegmentationTerms};
use crate::simd::{Kernel, Lanes, Level};
use crate::threads;
use rayon::prelude::*;

pub(super) fn backward(
    level: Level,
    of: &SegmentationLoss,
    logits: &[f32],
    labels: &[u16],
    terms: &SegmentationTerms,
    scale: [f32; 2],
    dlogits: &mut [f32],
) {
    of.check(logits.len(), labels.len());
    assert_eq!(dlogits.len(), logits.len(), "a gradient per logit");
    assert_eq!(
        terms.slopes.len(),
        of.groups() * of.classes,
        "terms of these losses"
    );
    if logits.is_empty() {
        return;
    }
    let chunks = of.spatial.div_ceil(CHUNK);
    let volume = of.classes * of.spatial;
    // A chunk of pixels is a row of every class.
    let mut rows: Vec<Vec<&mut [f32]>> = Vec::new();
    rows.resize_with(of.batch * chunks, Vec::new);
    for (sample, dlogits) in dlogits.chunks_mut(volume).enumerate() {
        for class in dlogits.chunks_mut(of.spatial) {
            for (chunk, row) in class.chunks_mut(CHUNK).enumerate() {
                rows[sample * chunks + chunk].push(row);
            }
        }
    }
    rows.into_par_iter()
        .with_min_len(threads::least(of.classes * CHUNK.min(of.spatial)))
        .enumerate()
        .for_each_init(
            || Piece::new(of.classes),
            |piece, (task, rows)| {
                let (sample, start) = (task / chunks, task % chunks * CHUNK);
                level.run(OfChunk {
                    of,
                    logits: &logits[sample * volume..][..volume],
                    labels: &labels[sample * of.spatial..][..of.spatial],
                    slopes: &terms.slopes[of.group(sample) * of.classes..][..of.classes],
                    share: scale[0] / terms.counted.max(1) as f32,
                    dice: scale[1],
                    start,
                    piece,
                    rows,
                });
            },
        );
}

/// Writes the gradient of the chunk that begins at `start` of a sample.
struct OfChunk<'a> {
    of: &'a SegmentationLoss,
    logits: &'a [f32],
    labels: &'a [u16],
    slopes: &'a [[f32; 2]],
    share: f32,
    dice: f32,
    start: usize,
    piece: &'a mut Piece,
    rows: Vec<&'a mut [f32]>,
}

impl Kernel for OfChunk<'_> {
    type Output = ();

    #[inline(always)]
    fn run<V: Lanes>(self) {
        let Self {
            of,
            piece,
            mut rows,
            dice,
            ..
        } = self;
        let end = of.spatial.min(self.start + CHUNK);
        for start in (self.start..end).step_by(PIECE) {
            let len = PIECE.min(end - start);
            piece.fill(of, self.logits, self.labels, start, len);
            let Piece {
                p, truth, weight, ..
            } = &*piece;
            // d at label and elsewhere; `plain` is 1 where d does not grow with p.
            let plain = if of.dice.squared { 0.0 } else { 1.0 };
            let slope = |[here, all]: [f32; 2], p: f32, is_here: bool| {
                let along = all * (plain + (1.0 - plain) * p);
                if is_here { here + along } else { along }
            };
            let mut mean = [0.0; PIECE];
            for (class, (p, &slopes)) in p.iter().zip(self.slopes).enumerate() {
                for i in 0..PIECE {
                    mean[i] += p[i] * slope(slopes, p[i], truth[i] == class as u32);
                }
            }
            for (class, (p, &slopes)) in p.iter().zip(self.slopes).enumerate() {
                let mut d = [0.0; PIECE];
                for i in 0..PIECE {
                    let here = truth[i] == class as u32;
                    let g = if here { 1.0 } else { 0.0 };
                    d[i] = dice * p[i] * (slope(slopes, p[i], here) - mean[i])
                        + self.share * weight[i] * (p[i] - g);
                }
                rows[class][start - self.start..][..len].copy_from_slice(&d[..len]);
            }
        }
    }
}
