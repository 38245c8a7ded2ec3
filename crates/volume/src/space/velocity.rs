//! Deformations that fold nowhere: a field of velocities that stand still is followed for one unit of
//! time by scaling and squaring.
//!
//! Arsigny, Commowick, Pennec & Ayache, "A log-Euclidean framework for statistics on
//! diffeomorphisms", MICCAI 2006, doi:10.1007/11866565_113: after 2⁻ⁿ of the time a point has gone
//! 2⁻ⁿ of its velocity; each squaring u(x) ← u(x) + u(x + u(x)) doubles the time. The field stands on
//! the points of a lattice, x fastest, its vectors in spacings of that lattice; between points it is
//! linear, beyond the outermost it holds. The negative field leads back.

use rayon::prelude::*;

use crate::{Error, Result};

/// Velocities or displacements on a lattice. Of each vector's four numbers the last is not used: four
/// are what processors add at once.
#[derive(Debug, Clone, PartialEq)]
pub struct Flow {
    shape: [usize; 3],
    vectors: Vec<[f32; 4]>,
}

impl Flow {
    /// A field on a lattice of a shape (x, y, z), x fastest.
    ///
    /// # Errors
    /// [`Error::Geometry`] where the lattice is empty, has other than as many points as there are
    /// vectors, or 2²² points along an axis, which `f32` positions could not tell apart.
    pub fn new(shape: [usize; 3], vectors: Vec<[f32; 4]>) -> Result<Self> {
        let points = shape.iter().try_fold(1usize, |n, &s| n.checked_mul(s));
        let countable = shape.iter().all(|n| (1..1 << 22).contains(n));
        if !countable || points != Some(vectors.len()) {
            return Err(Error::geometry(format!(
                "expected a vector for each point of a lattice of {shape:?}, found {}",
                vectors.len()
            )));
        }
        Ok(Self { shape, vectors })
    }

    /// Points along (x, y, z).
    #[must_use]
    pub fn shape(&self) -> [usize; 3] {
        self.shape
    }

    /// The vectors, x fastest.
    #[must_use]
    pub fn vectors(&self) -> &[[f32; 4]] {
        &self.vectors
    }

    /// Velocities become the displacements that following them for one unit of time leads to, by
    /// `squarings` squarings.
    #[must_use]
    pub fn followed(mut self, squarings: u32) -> Self {
        let part = 0.5f32.powi(squarings as i32);
        let vectors = self.vectors.par_iter_mut();
        vectors.for_each(|v| v.iter_mut().for_each(|c| *c *= part));
        let mut next = vec![[0.0; 4]; self.vectors.len()];
        for _ in 0..squarings {
            self.squared(&mut next);
            std::mem::swap(&mut self.vectors, &mut next);
        }
        self
    }

    /// u(x) + u(x + u(x)).
    fn squared(&self, out: &mut [[f32; 4]]) {
        let [nx, ny, _] = self.shape;
        let rows = out.par_chunks_mut(nx).zip(self.vectors.par_chunks(nx));
        rows.enumerate().for_each(|(row, (out, vectors))| {
            let (y, z) = ((row % ny) as f32, (row / ny) as f32);
            let mut x = 0.0;
            for (o, v) in out.iter_mut().zip(vectors) {
                let there = self.at([x + v[0], y + v[1], z + v[2]]);
                *o = add(*v, there);
                x += 1.0;
            }
        });
    }

    /// The vector at a position in spacings of the lattice.
    #[inline(always)]
    #[must_use]
    pub fn at(&self, [x, y, z]: [f32; 3]) -> [f32; 4] {
        let [nx, ny, nz] = self.shape;
        let (x, step_x, share_x) = between(x, nx);
        let (y, step_y, share_y) = between(y, ny);
        let (z, step_z, share_z) = between(z, nz);
        let (next_x, next_y, next_z) = (step_x, step_y * nx, step_z * (nx * ny));
        let start = x + nx * (y + ny * z);
        let vectors = &self.vectors[start..];
        let (near, far) = (next_y + next_z, next_x + next_y + next_z);
        let a = mix(vectors[0], vectors[next_x], share_x);
        let b = mix(vectors[next_y], vectors[next_y + next_x], share_x);
        let c = mix(vectors[next_z], vectors[next_z + next_x], share_x);
        let d = mix(vectors[near], vectors[far], share_x);
        mix(mix(a, b, share_y), mix(c, d, share_y), share_z)
    }
}

/// The point below a position on an axis of `n` points, 1 where there is one above it, else 0, and
/// the share of the way to that; NaN is taken for 0.
#[inline(always)]
fn between(position: f32, n: usize) -> (usize, usize, f32) {
    /// Added to a number from 0 to itself it leaves the nearest integer in the low 23 bits: casts
    /// take longer, since they look after numbers that no integer can hold.
    const INTEGER: f32 = 8_388_608.0;
    let last = (n - 1) as f32;
    let held = if position > 0.0 { position } else { 0.0 };
    let held = if held < last { held } else { last };
    // On a point it may be the one below that comes out, with a share of 1.
    let below = if held > 0.5 { held - 0.5 } else { 0.0 };
    let shifted = below + INTEGER;
    let low = (shifted.to_bits() & ((1 << 23) - 1)) as usize;
    (low, usize::from(low + 1 < n), held - (shifted - INTEGER))
}

#[inline(always)]
fn add(a: [f32; 4], b: [f32; 4]) -> [f32; 4] {
    [a[0] + b[0], a[1] + b[1], a[2] + b[2], a[3] + b[3]]
}

#[inline(always)]
fn mix(a: [f32; 4], b: [f32; 4], share: f32) -> [f32; 4] {
    [
        a[0] + (b[0] - a[0]) * share,
        a[1] + (b[1] - a[1]) * share,
        a[2] + (b[2] - a[2]) * share,
        a[3] + (b[3] - a[3]) * share,
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHAPE: [usize; 3] = [24, 20, 22];

    fn field(velocity: impl Fn([f32; 3]) -> [f32; 3]) -> Flow {
        let [nx, ny, nz] = SHAPE;
        let mut vectors = Vec::new();
        for z in 0..nz {
            for y in 0..ny {
                for x in 0..nx {
                    let [a, b, c] = velocity([x as f32, y as f32, z as f32]);
                    vectors.push([a, b, c, 0.0]);
                }
            }
        }
        Flow::new(SHAPE, vectors).expect("a field")
    }

    fn smooth(sign: f32) -> Flow {
        field(|[x, y, z]| {
            let wave = |a: f32, b: f32| sign * 1.5 * (0.4 * a + 0.3 * b).sin();
            [wave(y, z), wave(z, x), wave(x, y)]
        })
    }

    #[test]
    fn growth_about_a_point_is_exponential() {
        // v = a (x - c) leads to c + e^a (x - c), which linear interpolation follows exactly.
        let (a, c) = (0.2f32, [12.0, 10.0, 11.0]);
        let flow = field(|p| [0, 1, 2].map(|i| a * (p[i] - c[i]))).followed(10);
        for offset in [[3.0, -2.0, 1.0], [-4.0, 4.0, 0.5]] {
            let p = [0, 1, 2].map(|i| c[i] + offset[i]);
            let u = flow.at(p);
            for i in 0..3 {
                let expected = (a.exp() - 1.0) * offset[i];
                // 2⁻¹⁰ a is the first step's relative error.
                assert!((u[i] - expected).abs() < 1e-3, "{u:?} {expected}");
            }
        }
    }

    #[test]
    fn seven_squarings_agree_with_small_steps() {
        let (velocity, flow) = (smooth(1.0), smooth(1.0).followed(7));
        for start in [[8.0, 7.0, 9.0], [12.0, 11.0, 10.0], [14.0, 9.0, 13.0]] {
            let (mut p, steps) = (start, 4000);
            for _ in 0..steps {
                let v = velocity.at(p);
                p = [0, 1, 2].map(|i| p[i] + v[i] / steps as f32);
            }
            let u = flow.at(start);
            for i in 0..3 {
                assert!(
                    (start[i] + u[i] - p[i]).abs() < 0.08,
                    "{start:?} {u:?} {p:?}"
                );
            }
        }
    }

    #[test]
    fn the_negative_field_leads_back() {
        let (there, back) = (smooth(1.0).followed(7), smooth(-1.0).followed(7));
        let mut farthest: f32 = 0.0;
        for start in (5..19).map(|i| [i as f32, 10.0, (28 - i) as f32 / 2.0 + 3.0]) {
            let u = there.at(start);
            let p = [0, 1, 2].map(|i| start[i] + u[i]);
            let w = back.at(p);
            let error = (0..3)
                .map(|i| (p[i] + w[i] - start[i]).abs())
                .fold(0.0, f32::max);
            assert!(error < 0.06, "{start:?} {error}");
            farthest = farthest.max(u.iter().fold(0.0, |m, c| m.max(c.abs())));
        }
        assert!(farthest > 0.8, "{farthest}");
    }

    #[test]
    fn positions_beyond_the_lattice_take_its_edge() {
        let flow = field(|p| p);
        assert_eq!(flow.at([-5.0, 3.5, 90.0])[..3], [0.0, 3.5, 21.0]);
        assert!(
            flow.at([f32::NAN, f32::INFINITY, 0.0])
                .iter()
                .all(|v| v.is_finite())
        );
        assert!(Flow::new([2, 2, 2], vec![[0.0; 4]; 7]).is_err());
        assert!(Flow::new([0, 2, 2], vec![]).is_err());
    }

    #[test]
    fn threads_do_not_matter() {
        let on = |threads: usize| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build();
            pool.expect("a pool").install(|| smooth(1.0).followed(7))
        };
        assert_eq!(on(1), on(3));
    }
}
