//! Smooth random texture as a function of position.
//!
//! Value noise: independent uniform numbers on a cubic lattice, hashed from the lattice indices
//! and a seed, interpolated by the cubic 3t^2 - 2t^3. It needs no storage and is the same on any
//! grid, so one patient has one texture however sampled. Range about [-1, 1]; period of a
//! detail about two lattice steps.

use glam::Vec3;

/// Texture at `point` (mm) with lattice spacing `grain_mm`.
pub(crate) fn value(point: Vec3, grain_mm: f32, seed: u32) -> f32 {
    let scaled = point / grain_mm;
    let corner = scaled.floor();
    let t = scaled - corner;
    let t = t * t * (Vec3::splat(3.0) - 2.0 * t);
    let at = |dx: i32, dy: i32, dz: i32| {
        lattice(
            corner.x as i32 + dx,
            corner.y as i32 + dy,
            corner.z as i32 + dz,
            seed,
        )
    };
    let mix = |a: f32, b: f32, t: f32| a + (b - a) * t;
    let edge = |dy, dz| mix(at(0, dy, dz), at(1, dy, dz), t.x);
    let face = |dz| mix(edge(0, dz), edge(1, dz), t.y);
    mix(face(0), face(1), t.z)
}

/// A number in [-1, 1) for a lattice point: a multiply-xorshift hash.
fn lattice(x: i32, y: i32, z: i32, seed: u32) -> f32 {
    let mut h = seed
        ^ (x as u32).wrapping_mul(0x8da6_b343)
        ^ (y as u32).wrapping_mul(0xd816_3841)
        ^ (z as u32).wrapping_mul(0xcb1a_b31f);
    for factor in [0x7feb_352d, 0x846c_a68b] {
        h = (h ^ (h >> 16)).wrapping_mul(factor);
    }
    h ^= h >> 16;
    (h >> 8) as f32 / 8_388_608.0 - 1.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texture_is_continuous_centred_and_differs_by_seed() {
        let line = |seed| -> Vec<f32> {
            (0..4000)
                .map(|i| value(Vec3::new(i as f32 * 0.7, 3.0, -8.0), 10.0, seed))
                .collect()
        };
        let (a, b) = (line(1), line(2));
        // Slope of the cubic is at most 1.5 per step, times a difference of at most 2.
        assert!(a.windows(2).all(|w| (w[1] - w[0]).abs() < 3.0 * 0.07));
        let mean = a.iter().sum::<f32>() / a.len() as f32;
        let variance = a.iter().map(|v| v * v).sum::<f32>() / a.len() as f32;
        assert!(mean.abs() < 0.1, "{mean}");
        assert!((0.04..0.3).contains(&variance), "{variance}");
        let product = a.iter().zip(&b).map(|(x, y)| x * y).sum::<f32>() / a.len() as f32;
        assert!((product / variance).abs() < 0.3, "{product}");
    }

    #[test]
    fn lattice_numbers_fill_their_range_evenly() {
        let mut bins = [0; 4];
        for i in 0..4096 {
            let v = lattice(i % 16 - 8, i / 16 % 16 - 8, i / 256 - 8, 9);
            bins[((v + 1.0) * 2.0) as usize] += 1;
        }
        assert!(bins.iter().all(|n| (900..1150).contains(n)), "{bins:?}");
    }
}
