//! Random patches: drawn as a record, then applied; image and classes move together.

use crossmod_volume::rng::Rng;
use serde::{Deserialize, Serialize};

/// Ranges that a patch's transform is drawn from. The default only crops, as SynSeg-Net does.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AugmentConfig {
    /// Largest rotation either way, degrees.
    pub rotation_deg: f32,
    /// Largest factor of magnification, and its inverse the smallest.
    pub scale: f32,
    /// Smallest part of the patch's side that is shown, enlarged to the patch; drawn evenly up to 1,
    /// which is also the default: never.
    pub ratio_crop: f32,
    /// Probability of mirroring left to right. Leave at 0 where labels tell sides apart.
    pub mirror: f32,
    /// Largest gamma on the intensities brought to [0, 1], and its inverse the smallest.
    pub gamma: f32,
}

impl Default for AugmentConfig {
    /// Random crops only (`SynSeg-Net`'s loader: no flip, no rotation).
    fn default() -> Self {
        Self {
            rotation_deg: 0.0,
            scale: 1.0,
            ratio_crop: 1.0,
            mirror: 0.0,
            gamma: 1.0,
        }
    }
}

/// One drawn transform.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct AugmentDraw {
    /// Rotation, radians.
    pub rotation: f32,
    /// Magnification.
    pub scale: f32,
    /// Whether mirrored left to right.
    pub mirror: bool,
    /// Exponent on the intensities.
    pub gamma: f32,
    /// Centre of the patch less the centre of the slice, pixels (x, y).
    pub shift: [f32; 2],
}

impl AugmentConfig {
    /// Draws a transform for a patch of side `patch` from a slice of side `side`.
    pub fn draw(&self, side: usize, patch: usize, rng: &mut Rng) -> AugmentDraw {
        let mut either = |limit: f32| {
            if limit > 0.0 {
                rng.uniform(-limit, limit)
            } else {
                0.0
            }
        };
        let rotation = either(self.rotation_deg.to_radians());
        let scale = either(self.scale.max(1.0).ln()).exp();
        let gamma = either(self.gamma.max(1.0).ln()).exp();
        let mirror = rng.chance(self.mirror);
        // Whole pixels, so that a plain crop interpolates nothing.
        let slack = side.saturating_sub(patch);
        let half = slack as f32 / 2.0;
        let shift = [(); 2].map(|()| rng.below(slack + 1) as f32 - half);
        let part = if self.ratio_crop < 1.0 {
            rng.uniform(self.ratio_crop, 1.0)
        } else {
            1.0
        };
        // A part may lie anywhere in the patch that it is enlarged to.
        let loose = (1.0 - part) * patch as f32 / 2.0;
        let shift = shift.map(|s| {
            s + if part < 1.0 {
                rng.uniform(-loose, loose)
            } else {
                0.0
            }
        });
        AugmentDraw {
            rotation,
            scale: scale / part,
            mirror,
            gamma,
            shift,
        }
    }
}

impl AugmentDraw {
    /// The patch of an image, bilinear, the border repeated.
    #[must_use]
    pub fn image(&self, slice: &[f32], side: usize, patch: usize) -> Vec<f32> {
        let last = side as f32 - 1.0;
        self.sample(side, patch, |x, y| {
            let (x, y) = (x.clamp(0.0, last), y.clamp(0.0, last));
            let (x0, y0) = (x.floor(), y.floor());
            let (fx, fy) = (x - x0, y - y0);
            let (i, j) = (x0 as usize, y0 as usize);
            let (i1, j1) = ((i + 1).min(side - 1), (j + 1).min(side - 1));
            let row = |j: usize| slice[j * side + i] * (1.0 - fx) + slice[j * side + i1] * fx;
            let value = row(j) * (1.0 - fy) + row(j1) * fy;
            if self.gamma == 1.0 {
                value
            } else {
                (value.mul_add(0.5, 0.5)).clamp(0.0, 1.0).powf(self.gamma) * 2.0 - 1.0
            }
        })
    }

    /// The patch of a class map, nearest, the border repeated.
    #[must_use]
    pub fn classes(&self, slice: &[u8], side: usize, patch: usize) -> Vec<u8> {
        let last = side as f32 - 1.0;
        self.sample(side, patch, |x, y| {
            let at = |v: f32| v.round().clamp(0.0, last) as usize;
            slice[at(y) * side + at(x)]
        })
    }

    fn sample<T>(&self, side: usize, patch: usize, value: impl Fn(f32, f32) -> T) -> Vec<T> {
        let (sin, cos) = self.rotation.sin_cos();
        let centre = [0, 1].map(|a| (side as f32 - 1.0) / 2.0 + self.shift[a]);
        let middle = (patch as f32 - 1.0) / 2.0;
        let mut out = Vec::with_capacity(patch * patch);
        for row in 0..patch {
            let dy = (row as f32 - middle) / self.scale;
            for column in 0..patch {
                let dx = (column as f32 - middle) / self.scale;
                let dx = if self.mirror { -dx } else { dx };
                out.push(value(
                    centre[0] + cos * dx - sin * dy,
                    centre[1] + sin * dx + cos * dy,
                ));
            }
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIDE: usize = 8;

    fn still() -> AugmentDraw {
        AugmentDraw {
            rotation: 0.0,
            scale: 1.0,
            mirror: false,
            gamma: 1.0,
            shift: [0.0; 2],
        }
    }

    fn slice() -> Vec<f32> {
        (0..SIDE * SIDE).map(|i| i as f32 / 32.0 - 1.0).collect()
    }

    #[test]
    fn a_plain_crop_copies_pixels_and_moves_both_together() {
        let config = AugmentConfig::default();
        let classes: Vec<u8> = (0..64).collect();
        for step in 0..50 {
            let draw = config.draw(SIDE, 5, &mut Rng::new(1, 2, step));
            let image = draw.image(&slice(), SIDE, 5);
            let labels = draw.classes(&classes, SIDE, 5);
            for (value, class) in image.iter().zip(labels) {
                assert_eq!(*value, slice()[usize::from(class)]);
            }
        }
    }

    #[test]
    fn crops_reach_every_corner() {
        let config = AugmentConfig::default();
        let firsts: std::collections::BTreeSet<u8> = (0..200)
            .map(|step| {
                let classes: Vec<u8> = (0..64).collect();
                config
                    .draw(SIDE, 6, &mut Rng::new(9, 0, step))
                    .classes(&classes, SIDE, 6)[0]
            })
            .collect();
        assert_eq!(
            firsts.into_iter().collect::<Vec<_>>(),
            [0, 1, 2, 8, 9, 10, 16, 17, 18]
        );
    }

    /// A part of half the side shows half as many pixels along each axis, anywhere in the patch.
    #[test]
    fn parts_are_enlarged_to_the_patch() {
        let config = AugmentConfig {
            ratio_crop: 0.5,
            ..AugmentConfig::default()
        };
        let (mut least, mut reach) = (f32::INFINITY, 0.0f32);
        for step in 0..300 {
            let draw = config.draw(64, 64, &mut Rng::new(3, 1, step));
            let part = 1.0 / draw.scale;
            assert!((0.5..=1.0).contains(&part));
            let loose = (1.0 - part) * 32.0;
            assert!(draw.shift.iter().all(|s| s.abs() <= loose + 1e-3));
            least = least.min(part);
            reach = reach.max(draw.shift[0].abs());
        }
        assert!(least < 0.52 && reach > 12.0, "{least} {reach}");
    }

    #[test]
    fn a_quarter_turn_and_a_mirror() {
        let turned = AugmentDraw {
            rotation: std::f32::consts::FRAC_PI_2,
            ..still()
        };
        let classes: Vec<u8> = (0..64).collect();
        let quarter = turned.classes(&classes, SIDE, SIDE);
        assert_eq!(quarter[0], 7);
        assert_eq!(quarter[7], 63);
        let mirrored = AugmentDraw {
            mirror: true,
            ..still()
        }
        .classes(&classes, SIDE, SIDE);
        assert_eq!(&mirrored[..8], [7, 6, 5, 4, 3, 2, 1, 0]);
    }

    #[test]
    fn gamma_keeps_the_ends() {
        let draw = AugmentDraw {
            gamma: 2.0,
            ..still()
        };
        let bent = draw.image(&[-1.0, 0.0, 0.0, 1.0], 2, 2);
        assert_eq!(bent, [-1.0, -0.5, -0.5, 1.0]);
    }
}
