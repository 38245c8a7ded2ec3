//! Dead leaves: balls that fall one after another, each hiding what lies behind it.
//!
//! Pictures are made so by occlusion, and have this model's statistics where radii have the density
//! 1/r³ in a plane (Lee, Mumford and Huang, Int. J. Computer Vision 41:35, 2001,
//! doi:10.1023/A:1011109015675); in a volume that is 1/r⁴. A ball's value is uniform and rises a
//! little across it, as under a light from one side, so that no two voxels of it are equal. Balls may be
//! longer along z, as things are along the time of a film.

use crossmod_volume::rng::Rng;
use rayon::prelude::*;

/// How often the balls fill the volume: e⁻⁵, less than a hundredth, is left to what lies behind.
const COVERAGE: f64 = 5.0;

/// Most balls; where more were needed, the least radius grows.
const MOST: f64 = 1e6;

/// Most that a ball's value rises from its middle to its border.
const SHADE: f32 = 0.3;

/// Slices that are painted together.
const SLAB: usize = 8;

#[derive(Clone, Copy)]
struct Ball {
    centre: [f32; 3],
    radius: f32,
    value: f32,
    /// Rise per mm along (x, y, z).
    rise: [f32; 3],
}

impl Ball {
    fn draw(rng: &mut Rng, extent: [f32; 3], margin: [f32; 3], radius: f32) -> Self {
        let centre = [0, 1, 2].map(|a| rng.uniform(-margin[a], extent[a] + margin[a]));
        let value = rng.unit();
        let direction = [(); 3].map(|()| rng.uniform(-1.0, 1.0));
        let length = direction
            .iter()
            .map(|d| d * d)
            .sum::<f32>()
            .sqrt()
            .max(1e-3);
        let shade = rng.uniform(0.1, 1.0) * SHADE / (radius * length);
        Self {
            centre,
            radius,
            value,
            rise: direction.map(|d| shade * d),
        }
    }
}

/// The texture; what no ball covers is one great ball behind.
pub(super) fn on(
    shape: [usize; 3],
    spacing: [f32; 3],
    seed: u64,
    radius_mm: [f32; 2],
    stretch: f32,
) -> Vec<f32> {
    let extent = [0, 1, 2].map(|a| shape[a] as f32 * spacing[a]);
    let balls = balls(extent, seed, radius_mm, stretch);
    let [nx, ny, _] = shape;
    let mut out = vec![0.0; shape.iter().product()];
    out.par_chunks_mut(SLAB * nx * ny)
        .enumerate()
        .for_each(|(slab, slices)| {
            let first = slab * SLAB;
            for ball in &balls {
                let reach = ball.radius * stretch;
                let low = ((ball.centre[2] - reach) / spacing[2])
                    .ceil()
                    .max(first as f32) as usize;
                let high = (ball.centre[2] + reach) / spacing[2];
                if high < first as f32 {
                    continue;
                }
                let high = (high as usize + 1).min(first + slices.len() / (nx * ny));
                for z in low..high {
                    let slice = &mut slices[(z - first) * nx * ny..][..nx * ny];
                    paint(slice, ball, nx, ny, z as f32 * spacing[2], spacing, stretch);
                }
            }
        });
    out
}

/// The balls from the hindmost to the foremost.
fn balls(extent: [f32; 3], seed: u64, radius_mm: [f32; 2], stretch: f32) -> Vec<Ball> {
    let [mut least, greatest] = radius_mm.map(|r| f64::from(r.max(1e-3)));
    let margin = [greatest, greatest, greatest * f64::from(stretch)].map(|m| m as f32);
    let room: f64 = (0..3)
        .map(|a| f64::from(extent[a] + 2.0 * margin[a]))
        .product();
    let needed = |least: f64| {
        // The mean of 4/3 π r³ where r has density 1/r⁴ between the two radii.
        let cubes = least.powi(-3) - greatest.powi(-3);
        let volume = 4.0 * std::f64::consts::PI * (greatest / least).ln() / cubes;
        COVERAGE * room / (volume * f64::from(stretch))
    };
    while least < 0.5 * greatest && needed(least) > MOST {
        least *= 1.1;
    }
    let count = needed(least).min(MOST) as usize;
    let mut rng = Rng::new(seed, 0, 0);
    let cubes = [least.powi(-3), greatest.powi(-3)];
    let behind = Ball::draw(&mut rng, extent, [0.0; 3], f32::MAX.sqrt() * 1e-3);
    let shade = SHADE / extent.into_iter().fold(1.0, f32::max);
    let behind = Ball {
        rise: [shade, 0.7 * shade, 0.5 * shade],
        ..behind
    };
    let drawn = (0..count).map(|_| {
        let radius = (cubes[0] - f64::from(rng.unit()) * (cubes[0] - cubes[1])).powf(-1.0 / 3.0);
        Ball::draw(&mut rng, extent, margin, radius as f32)
    });
    let hits = |ball: &Ball| {
        (0..3).all(|a| {
            let reach = ball.radius * if a == 2 { stretch } else { 1.0 };
            ball.centre[a] > -reach && ball.centre[a] < extent[a] + reach
        })
    };
    std::iter::once(behind).chain(drawn.filter(hits)).collect()
}

/// Paints what a ball covers of the slice at height `z` mm.
fn paint(
    slice: &mut [f32],
    ball: &Ball,
    nx: usize,
    ny: usize,
    z: f32,
    spacing: [f32; 3],
    stretch: f32,
) {
    let dz = (z - ball.centre[2]) / stretch;
    let across = ball.radius * ball.radius - dz * dz;
    if across <= 0.0 {
        return;
    }
    let half = across.sqrt();
    let rows = bounds(ball.centre[1], half, spacing[1], ny);
    let base = ball.value + ball.rise[2] * (z - ball.centre[2]);
    for (y, row) in rows
        .clone()
        .zip(slice[rows.start * nx..].chunks_exact_mut(nx))
    {
        let dy = y as f32 * spacing[1] - ball.centre[1];
        let half = (across - dy * dy).max(0.0).sqrt();
        let columns = bounds(ball.centre[0], half, spacing[0], nx);
        let start = base + ball.rise[1] * dy - ball.rise[0] * ball.centre[0];
        let step = ball.rise[0] * spacing[0];
        for (x, v) in columns.clone().zip(&mut row[columns]) {
            *v = start + step * x as f32;
        }
    }
}

/// The voxels within `half` mm of `centre`.
fn bounds(centre: f32, half: f32, spacing: f32, n: usize) -> std::ops::Range<usize> {
    let low = ((centre - half) / spacing).ceil().clamp(0.0, n as f32) as usize;
    let high = ((centre + half) / spacing + 1.0).clamp(0.0, n as f32) as usize;
    low..high.max(low)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_foremost_ball_is_seen_whole() {
        let extent = [60.0; 3];
        let all = balls(extent, 5, [3.0, 20.0], 1.0);
        let values = on([60; 3], [1.0; 3], 5, [3.0, 20.0], 1.0);
        let front = all.last().expect("balls");
        let mut seen = 0;
        for (i, &v) in values.iter().enumerate() {
            let at = [i % 60, i / 60 % 60, i / 3600].map(|c| c as f32);
            let from = [0, 1, 2].map(|a| at[a] - front.centre[a]);
            if from.iter().map(|d| d * d).sum::<f32>().sqrt() < front.radius - 0.01 {
                let rise: f32 = (0..3).map(|a| front.rise[a] * from[a]).sum();
                assert!((v - front.value - rise).abs() < 1e-3, "{at:?}");
                seen += 1;
            }
        }
        assert!(seen > 0, "a ball outside: take another seed");
    }

    /// Of density 1/r⁴: of the radii from 3 on, 1 in 8 is beyond 6.
    #[test]
    fn radii_follow_their_law_and_cover_the_volume() {
        let all = balls([200.0; 3], 1, [3.0, 60.0], 1.0);
        // Balls near enough to hit are more often large ones: count those whose middle is inside.
        let inside: Vec<&Ball> = all[1..]
            .iter()
            .filter(|b| b.centre.iter().all(|c| (0.0..200.0).contains(c)))
            .collect();
        let beyond = inside.iter().filter(|b| b.radius > 6.0).count() as f64;
        let share = beyond / inside.len() as f64;
        assert!(
            (share - 0.125).abs() < 4.0 * (0.11 / inside.len() as f64).sqrt(),
            "{share}"
        );
        let few = balls([3000.0, 3000.0, 3000.0], 1, [2.0, 40.0], 1.0);
        assert!(few.len() <= 1_000_001);
    }
}
