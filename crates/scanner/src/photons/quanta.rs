//! Counting a whole view: Poisson quanta and electronic noise for many rays at once.
//!
//! Each ray owns block `ray` of the counter-based stream (seed, view) (Philox4x32-10, see
//! [`crossmod_volume::rng`]): two words make a pair of normal numbers (Box–Muller), the third a
//! uniform one. Above [`EXACT_BELOW`] expected quanta the first normal w becomes a count through
//! the expansion of the Poisson distribution's quantile about the normal one's,
//!
//! N = ⌊λ + √λ w + 1/3 + w²/6 − (w/36 + w³/72)/√λ + (−8/405 + 7w²/810 + w⁴/270)/λ⌋
//!
//! (Giles, "Algorithm 955", ACM Trans. Math. Softw. 42:7, 2016, doi:10.1145/2699466), whose
//! distribution function is within 4e-5 of the exact one; below, the exact distribution function
//! is inverted at the uniform number. The second normal is the electronic noise. Plain arithmetic
//! throughout: results are the same for any vector length, order and number of threads.

use crossmod_volume::elementary::{exp, ln};

use super::turn::sin_cos_of_turn;
use crate::simd::{Kernel, Lanes, Level};

/// Expected counts from which the expansion is used.
const EXACT_BELOW: f32 = 12.0;

/// Rays whose random numbers are made together.
const TOGETHER: usize = 16;

/// The `step` of the streams, apart from those of [`super::measure`], which has one for each ray.
const STREAM: u32 = 0xC0DE_0001;

/// What reaches a view's elements, and how it is read out.
#[derive(Debug, Clone, Copy)]
pub(crate) struct View {
    /// Seed of the scan.
    pub(crate) seed: u64,
    /// Number of the view.
    pub(crate) view: u64,
    /// Standard deviation of the electronic noise, quanta.
    pub(crate) electronic: f32,
}

impl View {
    /// Replaces expected signals by counted ones, with electronic noise. A quantum is as large as
    /// the entry of `sizes`, or 1 where that is empty.
    pub(crate) fn count(self, signals: &mut [f32], sizes: &[f32]) {
        Level::best().run(Count {
            view: self,
            signals,
            sizes,
        });
    }
}

struct Count<'a> {
    view: View,
    signals: &'a mut [f32],
    sizes: &'a [f32],
}

impl Kernel for Count<'_> {
    type Output = ();

    #[inline(always)]
    fn run<V: Lanes>(self) {
        let View {
            seed,
            view,
            electronic,
        } = self.view;
        for (chunk, signals) in self.signals.chunks_mut(TOGETHER).enumerate() {
            let first = chunk * TOGETHER;
            let words = philox(seed, view, first as u32);
            let mut size = [1.0; TOGETHER];
            if let Some(sizes) = self.sizes.get(first..first + signals.len()) {
                size[..signals.len()].copy_from_slice(sizes);
            }
            let mut expected = [0.0; TOGETHER];
            expected[..signals.len()].copy_from_slice(signals);
            let mut noise = [0.0; TOGETHER];
            let mut counted = [0.0; TOGETHER];
            for i in 0..TOGETHER {
                let [normal, other] = normals(words[0][i], words[1][i]);
                expected[i] /= size[i];
                noise[i] = electronic * other;
                counted[i] = size[i] * large_count(expected[i], normal) + noise[i];
            }
            for (i, counted) in counted.iter_mut().enumerate() {
                if expected[i] < EXACT_BELOW || expected[i].is_nan() {
                    *counted = size[i] * small_count(expected[i], words[2][i]) + noise[i];
                }
            }
            signals.copy_from_slice(&counted[..signals.len()]);
        }
    }
}

/// Two independent standard normal numbers.
#[inline(always)]
fn normals(a: u32, b: u32) -> [f32; 2] {
    const UNIT: f32 = 1.0 / 4_294_967_296.0;
    // Above 0; it may round to 1.
    let radius = (-2.0 * ln((a as f32 + 0.5) * UNIT)).max(0.0).sqrt();
    sin_cos_of_turn(b as f32 * UNIT).map(|v| radius * v)
}

/// A Poisson count from a standard normal number, for large expectations.
#[inline(always)]
fn large_count(expected: f32, normal: f32) -> f32 {
    let expected = expected.max(1.0);
    let (root, w2) = (expected.sqrt(), normal * normal);
    let first = root * normal + (1.0 / 3.0 + w2 / 6.0);
    let second = normal * (1.0 / 36.0 + w2 / 72.0) / root;
    let third = (-8.0 / 405.0 + w2 * (7.0 / 810.0 + w2 / 270.0)) / expected;
    (expected + (first - second + third)).floor().max(0.0)
}

/// A Poisson count by inversion of its distribution function.
fn small_count(expected: f32, bits: u32) -> f32 {
    if expected <= 0.0 || expected.is_nan() {
        return 0.0;
    }
    let uniform = (f64::from(bits) + 0.5) / 4_294_967_296.0;
    let expected = f64::from(expected);
    let mut count = 0.0;
    let mut probability = (-expected).exp();
    let mut below = probability;
    // Beyond it nothing is left that 32 bits could tell from 1.
    while uniform > below && count < 100.0 {
        count += 1.0;
        probability *= expected / count;
        below += probability;
    }
    count as f32
}

/// Blocks `first..first + TOGETHER` of the stream (`seed`, `view`), word by word: what
/// [`crossmod_volume::rng::Rng`] draws there one after the other.
#[inline(always)]
fn philox(seed: u64, view: u64, first: u32) -> [[u32; TOGETHER]; 4] {
    let mut c = [
        std::array::from_fn(|i| first + i as u32),
        [STREAM; TOGETHER],
        [view as u32; TOGETHER],
        [(view >> 32) as u32; TOGETHER],
    ];
    let mut key = [seed as u32, (seed >> 32) as u32];
    for _ in 0..10 {
        let mut next = [[0; TOGETHER]; 4];
        for i in 0..TOGETHER {
            let a = u64::from(c[0][i]) * 0xD251_1F53;
            let b = u64::from(c[2][i]) * 0xCD9E_8D57;
            next[0][i] = (b >> 32) as u32 ^ c[1][i] ^ key[0];
            next[1][i] = b as u32;
            next[2][i] = (a >> 32) as u32 ^ c[3][i] ^ key[1];
            next[3][i] = a as u32;
        }
        c = next;
        key[0] = key[0].wrapping_add(0x9E37_79B9);
        key[1] = key[1].wrapping_add(0xBB67_AE85);
    }
    c
}

/// Replaces line integrals by the quanta expected behind them, `incident` for each channel.
pub(crate) fn transmit(line_integrals: &mut [f32], incident: &[f32], rows: usize) {
    Level::best().run(Transmit {
        values: line_integrals,
        incident,
        rows,
    });
}

struct Transmit<'a> {
    values: &'a mut [f32],
    incident: &'a [f32],
    rows: usize,
}

impl Kernel for Transmit<'_> {
    type Output = ();

    #[inline(always)]
    fn run<V: Lanes>(self) {
        for (values, &incident) in self.values.chunks_exact_mut(self.rows).zip(self.incident) {
            for value in values {
                *value = incident * exp(-*value);
            }
        }
    }
}

/// Replaces counts by the line integrals they measure, counts below `floor` raised to it.
pub(crate) fn logarithm(counts: &mut [f32], incident: &[f32], rows: usize, floor: f32) {
    Level::best().run(Logarithm {
        values: counts,
        incident,
        rows,
        floor,
    });
}

struct Logarithm<'a> {
    values: &'a mut [f32],
    incident: &'a [f32],
    rows: usize,
    floor: f32,
}

impl Kernel for Logarithm<'_> {
    type Output = ();

    #[inline(always)]
    fn run<V: Lanes>(self) {
        for (values, &incident) in self.values.chunks_exact_mut(self.rows).zip(self.incident) {
            let air = ln(incident);
            for value in values {
                *value = air - ln(value.max(self.floor));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crossmod_volume::rng::Rng;

    fn counts(expected: f32, electronic: f32, view: u64, n: usize) -> Vec<f32> {
        let mut quanta = vec![expected; n];
        let draw = View {
            seed: 7,
            view,
            electronic,
        };
        draw.count(&mut quanta, &[]);
        quanta
    }

    #[test]
    fn blocks_are_those_of_the_stream() {
        let mut rng = Rng::new(0x0123_4567_89AB_CDEF, 99 << 33, STREAM);
        let words = philox(0x0123_4567_89AB_CDEF, 99 << 33, 0);
        for block in 0..TOGETHER {
            for word in &words {
                assert_eq!(word[block], rng.bits());
            }
        }
    }

    /// Pearson's statistic against the exact probabilities; the bound is its expectation plus five
    /// standard deviations.
    #[test]
    fn counts_have_the_poisson_distribution() {
        let n = 1_000_000;
        for (view, expected) in [0.3f64, 4.0, 11.9, 12.1, 30.0, 400.0]
            .into_iter()
            .enumerate()
        {
            let drawn = counts(expected as f32, 0.0, view as u64, n);
            let expected = f64::from(expected as f32);
            let reach = 7.0 * expected.sqrt() + 8.0;
            let (low, high) = (
                (expected - reach).max(0.0) as usize,
                (expected + reach) as usize,
            );
            let mut found = vec![0.0; high + 2];
            for count in drawn {
                assert!(count >= 0.0 && count.fract() == 0.0);
                found[(count as usize).min(high + 1)] += 1.0;
            }
            let mut log_factorial: f64 = (1..=low).map(|k| (k as f64).ln()).sum();
            let (mut statistic, mut cells) = (0.0, -1.0);
            for (k, found) in found.iter().enumerate().take(high + 1).skip(low) {
                if k > low {
                    log_factorial += (k as f64).ln();
                }
                let p = (k as f64 * expected.ln() - expected - log_factorial).exp();
                let wanted = p * n as f64;
                if wanted >= 20.0 {
                    statistic += (found - wanted).powi(2) / wanted;
                    cells += 1.0;
                }
            }
            let bound = cells + 5.0 * f64::sqrt(2.0 * cells);
            assert!(statistic < bound, "{expected}: {statistic} over {cells}");
        }
    }

    #[test]
    fn moments_are_right_over_all_doses() {
        let n = 400_000;
        for (view, expected) in [1e-3f64, 0.7, 20.0, 3e3, 2e5, 4e6].into_iter().enumerate() {
            for electronic in [0.0, 5.0] {
                let drawn = counts(expected as f32, electronic, 50 + view as u64, n);
                let mean = drawn.iter().map(|&c| f64::from(c)).sum::<f64>() / n as f64;
                let squares = drawn.iter().map(|&c| (f64::from(c) - mean).powi(2));
                let variance = squares.sum::<f64>() / n as f64;
                let wanted = expected + f64::from(electronic).powi(2);
                let error = (wanted / n as f64).sqrt();
                assert!(
                    (mean - expected).abs() < 5.0 * error,
                    "{expected}: mean {mean}"
                );
                let error = wanted * (3.0 / n as f64).sqrt() + (wanted / n as f64).sqrt();
                assert!(
                    (variance - wanted).abs() < 5.0 * error,
                    "{expected}: variance {variance}"
                );
            }
        }
    }

    /// Quanta of size 2: half as many for the same signal, twice the variance.
    #[test]
    fn large_quanta_are_fewer() {
        let n = 200_000;
        let mut signals = vec![100.0; n];
        let draw = View {
            seed: 8,
            view: 0,
            electronic: 0.0,
        };
        draw.count(&mut signals, &vec![2.0; n]);
        let mean = signals.iter().map(|&c| f64::from(c)).sum::<f64>() / n as f64;
        let squares = signals.iter().map(|&c| (f64::from(c) - mean).powi(2));
        let variance = squares.sum::<f64>() / n as f64;
        assert!((mean - 100.0).abs() < 0.2 && (variance / 200.0 - 1.0).abs() < 0.02);
        assert!(signals.iter().all(|s| s % 2.0 == 0.0));
    }

    #[test]
    fn rays_without_light_count_nothing() {
        for hopeless in [0.0, -3.0, f32::NAN] {
            assert!(counts(hopeless, 0.0, 3, 20).iter().all(|c| *c == 0.0));
        }
    }

    #[test]
    fn every_instruction_set_draws_the_same() {
        let quanta: Vec<f32> = (0..1000).map(|i| 0.1 * (i as f32).powf(1.7)).collect();
        let mut results = Level::all().into_iter().map(|level| {
            let mut quanta = quanta.clone();
            let view = View {
                seed: 3,
                view: 1,
                electronic: 4.0,
            };
            level.run(Count {
                view,
                signals: &mut quanta,
                sizes: &[],
            });
            level.run(Transmit {
                values: &mut quanta[..999],
                incident: &[1e5; 333],
                rows: 3,
            });
            quanta
        });
        let first = results.next().expect("the portable one");
        for other in results {
            assert_eq!(first, other);
        }
    }

    #[test]
    fn light_follows_beer_and_lambert_and_comes_back() {
        let mut values = vec![0.0, 1.0, 2.0, 6.5];
        transmit(&mut values, &[1e5, 2e5], 2);
        assert!((values[3] / (2e5 * (-6.5f32).exp()) - 1.0).abs() < 1e-6);
        values[0] = -4.0;
        logarithm(&mut values, &[1e5, 2e5], 2, 0.5);
        assert!((values[0] - 2e5f32.ln()).abs() < 1e-5);
        assert!((values[3] - 6.5).abs() < 1e-5);
    }
}
