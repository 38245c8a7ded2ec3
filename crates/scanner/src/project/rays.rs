//! The rays of a view: where they start, where they point, and sub-rays over the focal spot and
//! the detector's aperture.
//!
//! In the frame that turns with the source (e_r from the axis to it, e_t along the fan) a channel's
//! line starts at (R, s) and points to the element at (R, 0) + D (−cos γ, sin γ); s is not 0 where
//! the focal spot is sampled. A row at height ν of the detector is crossed at
//! z = z_s + e + (ν − e) ℓ / D', ℓ the length in the plane from the source, D' that of the whole
//! line and e the height of the part of the focal spot.

use serde::{Deserialize, Serialize};

use crate::geometry::{Scan, Scanner};
use crate::{Error, Result};

/// Most sub-rays across an element in either direction.
const MOST: usize = 16;

/// Rows are padded to a multiple of the widest vector.
const ROW_LANES: usize = 16;

/// Rays that sample each detector element and the focal spot: with more than one their intensities
/// are averaged, not their line integrals, as a detector does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SubRays {
    /// Across a channel.
    pub channel: usize,
    /// Across a row.
    pub row: usize,
}

impl Default for SubRays {
    /// One ray through the middle.
    fn default() -> Self {
        Self { channel: 1, row: 1 }
    }
}

/// Where the source is in a view.
#[derive(Debug, Clone, Copy)]
pub(super) struct Source {
    /// Of the middle of the focal spot.
    pub(super) position_mm: [f64; 3],
    /// Of e_r.
    pub(super) cos: f64,
    pub(super) sin: f64,
}

impl Source {
    pub(super) fn new(scan: &Scan, view: usize) -> Self {
        let (sin, cos) = scan.angle_rad(view as f64).sin_cos();
        Self {
            position_mm: scan.source(view),
            cos,
            sin,
        }
    }
}

/// One line in the plane, in the frame that turns with the source.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ray {
    /// Of the start along e_t, mm.
    pub(super) shift_mm: f64,
    /// Unit vector along e_r and e_t.
    pub(super) direction: [f64; 2],
}

/// Rows as sampled by one of the sub-rays across them.
#[derive(Debug, Clone)]
struct Rows {
    /// Height of the ray's start above the middle of the focal spot, mm.
    lift_mm: f64,
    /// Millimetres of z per millimetre in the plane, the last row repeated up to `padded`.
    slopes: Vec<f32>,
    /// Length of the ray per millimetre in the plane.
    lengths: Vec<f32>,
}

/// Rows in slices of a volume.
#[derive(Debug, Clone)]
pub(super) struct Heights {
    /// For each sub-ray the height of its start above the source and, for each row with padding,
    /// the slices it climbs per millimetre in the plane.
    pub(super) rows: Vec<(f32, Vec<f32>)>,
    /// A start and a slope that no row is below, and ones that none is above.
    pub(super) reach: [[f32; 2]; 2],
    /// Slices per millimetre between neighbouring rows.
    pub(super) pitch: f32,
}

/// All rays of a view, the same in every view.
#[derive(Debug, Clone)]
pub(super) struct Rays {
    /// `[channel][sub-ray]`.
    pub(super) lines: Vec<Ray>,
    /// One for each sub-ray across a row.
    rows: Vec<Rows>,
    /// Rows of the scanner.
    count: usize,
    /// Rows with padding.
    pub(super) padded: usize,
    /// Sub-rays across a channel.
    across: usize,
}

impl Rays {
    pub(super) fn new(scanner: &Scanner, sub: SubRays) -> Result<Self> {
        if ![sub.channel, sub.row]
            .iter()
            .all(|n| (1..=MOST).contains(n))
        {
            return Err(Error::Setting(format!(
                "expected from 1 to {MOST} sub-rays, found {sub:?}"
            )));
        }
        let (radius, detector) = (
            scanner.source_to_isocentre_mm,
            scanner.source_to_detector_mm,
        );
        let mut lines = Vec::with_capacity(scanner.channels * sub.channel);
        for channel in 0..scanner.channels {
            for i in 0..sub.channel {
                let [aperture, spot] = offsets(i, sub.channel);
                let gamma = scanner.channel_angle(channel as f64 + aperture * scanner.fill[0]);
                let shift_mm = spot * scanner.focal_spot_mm[0];
                let (along, across) = (-detector * gamma.cos(), detector * gamma.sin() - shift_mm);
                let length = along.hypot(across);
                lines.push(Ray {
                    shift_mm,
                    direction: [along / length, across / length],
                });
            }
        }
        let padded = scanner.rows.next_multiple_of(ROW_LANES);
        let rows = (0..sub.row)
            .map(|i| {
                let [aperture, spot] = offsets(i, sub.row);
                let lift_mm = spot * scanner.focal_spot_mm[1];
                let slopes: Vec<f32> = (0..padded)
                    .map(|row| {
                        let row = row.min(scanner.rows - 1) as f64 + aperture * scanner.fill[1];
                        let height = scanner.row_height_mm(row) * detector / radius;
                        ((height - lift_mm) / detector) as f32
                    })
                    .collect();
                Rows {
                    lift_mm,
                    lengths: slopes.iter().map(|s| (1.0 + s * s).sqrt()).collect(),
                    slopes,
                }
            })
            .collect();
        Ok(Self {
            lines,
            rows,
            count: scanner.rows,
            padded,
            across: sub.channel,
        })
    }

    /// The rows in slices `spacing_mm` apart.
    pub(super) fn heights(&self, spacing_mm: f64) -> Heights {
        let scale = 1.0 / spacing_mm;
        let rows: Vec<(f32, Vec<f32>)> = self
            .rows
            .iter()
            .map(|rows| {
                let slopes = rows.slopes.iter().map(|s| s * scale as f32).collect();
                ((rows.lift_mm * scale) as f32, slopes)
            })
            .collect();
        let mut reach = [[f32::INFINITY; 2], [f32::NEG_INFINITY; 2]];
        for (lift, slopes) in &rows {
            let ends = [slopes[0], slopes[slopes.len() - 1]];
            reach[0] = [reach[0][0].min(*lift), reach[0][1].min(ends[0])];
            reach[1] = [reach[1][0].max(*lift), reach[1][1].max(ends[1])];
        }
        let pitch = rows[0].1[1] - rows[0].1[0];
        Heights { rows, reach, pitch }
    }

    /// Sums of one line in the plane: `[row's sub-ray][padded row]`.
    pub(super) fn line_len(&self) -> usize {
        self.rows.len() * self.padded
    }

    /// Sums of one view: `[channel][sub-ray]` lines.
    pub(super) fn sums_len(&self) -> usize {
        self.lines.len() * self.line_len()
    }

    /// Turns sums along lines in the plane into line integrals `[view][channel][row]`.
    pub(super) fn average(&self, sums: &[f32], out: &mut [f32]) {
        let per_channel = self.across * self.rows.len() * self.padded;
        for (sums, out) in sums
            .chunks_exact(per_channel)
            .zip(out.chunks_exact_mut(self.count))
        {
            let rays = || {
                let lengths = self.rows.iter().map(|rows| &rows.lengths).cycle();
                sums.chunks_exact(self.padded).zip(lengths)
            };
            if sums.len() == self.padded {
                for (sums, lengths) in rays() {
                    for ((out, sum), length) in out.iter_mut().zip(sums).zip(lengths) {
                        *out = sum * length;
                    }
                }
                continue;
            }
            let scale = 1.0 / (sums.len() / self.padded) as f32;
            for (row, out) in out.iter_mut().enumerate() {
                let integrals = || rays().map(|(sums, lengths)| sums[row] * lengths[row]);
                // Against the strongest ray, so that nothing vanishes behind metal.
                let least = integrals().fold(f32::INFINITY, f32::min);
                let mean = scale * integrals().map(|p| (least - p).exp()).sum::<f32>();
                *out = least - mean.ln();
            }
        }
    }
}

/// Offsets of sub-ray `i` of `n` from the middle of the aperture and of the focal spot, as shares
/// of their widths. The spot's places are taken in steps of the golden ratio, so that rays sample
/// both widths evenly without being as many as all pairs.
fn offsets(i: usize, n: usize) -> [f64; 2] {
    let place = |i: usize| (i as f64 + 0.5) / n as f64 - 0.5;
    let golden = 2.0 / (1.0 + 5f64.sqrt());
    let mut order: Vec<usize> = (0..n).collect();
    order.sort_by(|&a, &b| {
        let key = |k: usize| ((k as f64 + 0.5) * golden).fract();
        key(a).total_cmp(&key(b))
    });
    [place(i), place(order[i])]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn offsets_cover_both_widths_without_correlation() {
        for n in [1, 2, 3, 5, 8] {
            let pairs: Vec<[f64; 2]> = (0..n).map(|i| offsets(i, n)).collect();
            for side in 0..2 {
                let mut places: Vec<f64> = pairs.iter().map(|p| p[side]).collect();
                places.sort_by(f64::total_cmp);
                for (i, place) in places.iter().enumerate() {
                    assert!((place - ((i as f64 + 0.5) / n as f64 - 0.5)).abs() < 1e-12);
                }
            }
            let together: f64 = pairs.iter().map(|[a, b]| a * b).sum::<f64>() / n as f64;
            let alone: f64 = pairs.iter().map(|[a, _]| a * a).sum::<f64>() / n as f64;
            if n > 3 {
                assert!(together.abs() < 0.6 * alone, "{n}: {together} of {alone}");
            }
        }
    }

    #[test]
    fn sub_rays_average_what_reaches_the_detector() {
        let scanner = Scanner {
            channels: 4,
            central_channel: 1.5,
            rows: 2,
            ..Scanner::default()
        };
        let sub = SubRays { channel: 2, row: 1 };
        let rays = Rays::new(&scanner, sub).expect("rays");
        let mut sums = vec![0.0; rays.sums_len()];
        // Half of an element's rays are blocked: half of the light is left.
        sums[..rays.padded].fill(200.0);
        let mut out = vec![0.0; 8];
        rays.average(&sums, &mut out);
        assert!((out[0] - 2f32.ln()).abs() < 1e-6 && out[2] == 0.0);
        assert!(Rays::new(&scanner, SubRays { channel: 0, row: 1 }).is_err());
    }
}
