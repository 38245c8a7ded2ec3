//! JPEG-LS of one component, lossless and near-lossless.
//!
//! Source: ITU-T T.87 (ISO/IEC 14495-1), annex A; names in comments are the standard's.

use super::{
    bits::{Bits, Stuffing},
    element::Told,
};

/// Lengths of runs by their code (table A.7, J).
const RUN: [u32; 32] = [
    0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3, 4, 4, 5, 5, 6, 6, 7, 7, 8, 9, 10, 11, 12, 13,
    14, 15,
];

/// What is coded, and how (clauses C.2.3 and C.2.4).
#[derive(Debug, Clone, Copy)]
struct Parameters {
    /// MAXVAL.
    most: i32,
    near: i32,
    /// T1, T2, T3.
    thresholds: [i32; 3],
    reset: i32,
}

impl Parameters {
    /// C.2.4.1.1.
    fn standard(most: i32, near: i32) -> Self {
        let clamp = |v: i32, least: i32| if v > most || v < least { least } else { v };
        let drift = [3 * near, 5 * near, 7 * near];
        let [a, b, c] = if most >= 128 {
            let factor = (most.min(4095) + 128) / 256;
            [
                factor + 2 + drift[0],
                4 * factor + 3 + drift[1],
                17 * factor + 4 + drift[2],
            ]
        } else {
            let factor = 256 / (most + 1);
            [
                2.max(3 / factor + drift[0]),
                3.max(7 / factor + drift[1]),
                4.max(21 / factor + drift[2]),
            ]
        };
        let first = clamp(a, near + 1);
        let second = clamp(b, first);
        let third = clamp(c, second);
        Self {
            most,
            near,
            thresholds: [first, second, third],
            reset: 64,
        }
    }
}

/// The samples of a frame that must have this size.
pub(super) fn decode(bytes: &[u8], rows: usize, columns: usize) -> Told<Vec<u16>> {
    let short = || "expected more JPEG-LS segments, found the end; fetch the file again".to_owned();
    let mut rest = bytes;
    let mut most = None;
    let mut preset: Option<[i32; 5]> = None;
    loop {
        let Some((&byte, after)) = rest.split_first() else {
            return Err(short());
        };
        rest = after;
        let marker = match (byte, after.first()) {
            (0xff, Some(&marker)) if marker >= 0xc0 && marker != 0xff => marker,
            _ => continue,
        };
        rest = &rest[1..];
        if marker == 0xd8 {
            continue;
        }
        let &length = rest.first_chunk().ok_or_else(short)?;
        let length = usize::from(u16::from_be_bytes(length));
        let segment = rest.get(2..length).ok_or_else(short)?;
        rest = &rest[length..];
        match marker {
            0xf7 => {
                let &[precision, a, b, c, d, components] =
                    segment.first_chunk().ok_or_else(short)?;
                let size = [[a, b], [c, d]].map(|n| usize::from(u16::from_be_bytes(n)));
                if size != [rows, columns] {
                    return Err(format!(
                        "expected JPEG-LS of {columns}×{rows} pixels, found {}×{}",
                        size[1], size[0]
                    ));
                }
                if components != 1 || !(2..=16).contains(&precision) {
                    return Err(format!(
                        "expected one component of 2 to 16 bits, found {components} of {precision}"
                    ));
                }
                most = Some((1i32 << precision) - 1);
            }
            0xf8 if segment.first() == Some(&1) => {
                let &numbers: &[u8; 10] = segment
                    .get(1..)
                    .and_then(|b| b.first_chunk())
                    .ok_or_else(short)?;
                preset = Some(std::array::from_fn(|i| {
                    i32::from(u16::from_be_bytes([numbers[2 * i], numbers[2 * i + 1]]))
                }));
            }
            0xda => {
                let most = most.ok_or("expected a JPEG-LS frame before its samples, found none")?;
                let &[1, _, _, near, _, point] = segment.first_chunk().ok_or_else(short)? else {
                    return Err("expected one component, found several: colours".into());
                };
                let p = parameters(most, i32::from(near), preset)?;
                let mut samples = Decoder::new(p, rest).scan(rows, columns)?;
                samples.iter_mut().for_each(|sample| *sample <<= point & 15);
                return Ok(samples);
            }
            0xdd if segment.iter().any(|&b| b != 0) => {
                return Err("expected JPEG-LS without restarts, found them".into());
            }
            _ => {}
        }
    }
}

fn parameters(most: i32, near: i32, preset: Option<[i32; 5]>) -> Told<Parameters> {
    let given = preset.unwrap_or_default();
    let or = |n: i32, other: i32| if n == 0 { other } else { n };
    let most = or(given[0], most);
    if most < 1 || near > 255.min(most / 2) {
        return Err(format!(
            "expected an error of at most half of {most}, found {near}; the file is damaged"
        ));
    }
    let standard = Parameters::standard(most, near);
    let thresholds = std::array::from_fn(|i| or(given[i + 1], standard.thresholds[i]));
    let reset = or(given[4], standard.reset);
    if !thresholds.is_sorted() || thresholds[2] > most || thresholds[0] <= near || reset < 3 {
        return Err("expected growing thresholds, found others; the file is damaged".into());
    }
    Ok(Parameters {
        most,
        near,
        thresholds,
        reset,
    })
}

/// Statistics of one context: A, B, C and N; of a run's end, Nn in place of B.
#[derive(Debug, Clone, Copy)]
struct Context {
    magnitude: i32,
    bias: i32,
    correction: i32,
    count: i32,
}

struct Decoder<'a> {
    bits: Bits<'a>,
    p: Parameters,
    /// RANGE, qbpp and LIMIT.
    range: i32,
    bits_of_error: u32,
    limit: u32,
    regular: Vec<Context>,
    /// By RItype.
    ends: [Context; 2],
    run_index: usize,
}

impl<'a> Decoder<'a> {
    fn new(p: Parameters, bytes: &'a [u8]) -> Self {
        let range = (p.most + 2 * p.near) / (2 * p.near + 1) + 1;
        let log = |n: i32| 32 - (n - 1).max(0).leading_zeros();
        let bits_of_error = log(range);
        let width = 2.max(log(p.most + 1));
        let fresh = Context {
            magnitude: 2.max((range + 32) / 64),
            bias: 0,
            correction: 0,
            count: 1,
        };
        Self {
            bits: Bits::new(bytes, Stuffing::Bit),
            p,
            range,
            bits_of_error,
            limit: 2 * (width + 8.max(width)),
            regular: vec![fresh; 365],
            ends: [fresh; 2],
            run_index: 0,
        }
    }

    fn scan(&mut self, rows: usize, columns: usize) -> Told<Vec<u16>> {
        let mut samples = Vec::new();
        // A row has one sample before it and one after it (figure A.1): those above the first are 0.
        let mut above = vec![0; columns + 2];
        let mut row = vec![0; columns + 2];
        for _ in 0..rows {
            row[0] = above[1];
            above[columns + 1] = above[columns];
            self.row(&above, &mut row)?;
            samples.extend(row[1..=columns].iter().map(|&v| v as u16));
            std::mem::swap(&mut above, &mut row);
        }
        Ok(samples)
    }

    /// Samples 1 to `columns`; `above[0]` is that of the row before.
    fn row(&mut self, above: &[i32], row: &mut [i32]) -> Told<()> {
        let columns = row.len() - 2;
        let mut x = 1;
        while x <= columns {
            let (a, b, c, d) = (row[x - 1], above[x], above[x - 1], above[x + 1]);
            let gradients = [d - b, b - c, c - a].map(|g| self.quantised(g));
            if gradients == [0; 3] {
                x = self.run(above, row, x)?;
            } else {
                row[x] = self.sample(gradients, a, b, c)?;
                x += 1;
            }
        }
        Ok(())
    }

    /// A.3.3.
    fn quantised(&self, gradient: i32) -> i32 {
        let [first, second, third] = self.p.thresholds;
        let size = gradient.abs();
        let level = if size <= self.p.near {
            0
        } else if size < first {
            1
        } else if size < second {
            2
        } else if size < third {
            3
        } else {
            4
        };
        level * gradient.signum()
    }

    /// A.4 to A.6.
    fn sample(&mut self, gradients: [i32; 3], a: i32, b: i32, c: i32) -> Told<i32> {
        let index = 81 * gradients[0] + 9 * gradients[1] + gradients[2];
        let (sign, index) = if index < 0 { (-1, -index) } else { (1, index) };
        let mut context = self.regular[index as usize];
        let predicted = if c >= a.max(b) {
            a.min(b)
        } else if c <= a.min(b) {
            a.max(b)
        } else {
            a + b - c
        };
        let predicted = (predicted + sign * context.correction).clamp(0, self.p.most);

        let k = golomb(context.count, context.magnitude);
        let mapped = self.golomb_code(k, self.limit)?;
        let mut error = if mapped & 1 == 0 {
            mapped / 2
        } else {
            -(mapped + 1) / 2
        };
        if self.p.near == 0 && k == 0 && 2 * context.bias <= -context.count {
            error = -error - 1;
        }

        let step = 2 * self.p.near + 1;
        context.bias += error * step;
        context.magnitude += error.abs();
        if context.count == self.p.reset {
            context.magnitude >>= 1;
            context.bias >>= 1;
            context.count >>= 1;
        }
        context.count += 1;
        if context.bias <= -context.count {
            context.bias = (context.bias + context.count).max(1 - context.count);
            context.correction = (context.correction - 1).max(-128);
        } else if context.bias > 0 {
            context.bias = (context.bias - context.count).min(0);
            context.correction = (context.correction + 1).min(127);
        }
        self.regular[index as usize] = context;
        Ok(self.reconstruct(predicted, sign * error * step))
    }

    /// A prediction and its error, modulo the range.
    fn reconstruct(&self, predicted: i32, error: i32) -> i32 {
        let (near, most) = (self.p.near, self.p.most);
        let whole = self.range * (2 * near + 1);
        let mut value = predicted + error;
        if value < -near {
            value += whole;
        } else if value > most + near {
            value -= whole;
        }
        value.clamp(0, most)
    }

    /// A.5.3.
    fn golomb_code(&mut self, k: u32, limit: u32) -> Told<i32> {
        let mut zeros = 0;
        let longest = limit - self.bits_of_error - 1;
        while self.bits.take(1)? == 0 {
            zeros += 1;
            if zeros > longest {
                return Err("expected a code of JPEG-LS, found none; the file is damaged".into());
            }
        }
        let code = if zeros == longest {
            u64::from(self.bits.take(self.bits_of_error)?) + 1
        } else {
            u64::from(zeros) << k | u64::from(self.bits.take(k)?)
        };
        // An error is less than half the range, and its code twice that.
        i32::try_from(code)
            .ok()
            .filter(|&code| code <= 2 * self.range)
            .ok_or_else(|| "expected an error within the range, found more; damaged".to_owned())
    }

    /// A.7: a run of one value from `x` on, and the sample that ends it; gives the place after it.
    fn run(&mut self, above: &[i32], row: &mut [i32], mut x: usize) -> Told<usize> {
        let columns = row.len() - 2;
        let value = row[x - 1];
        loop {
            if self.bits.take(1)? == 0 {
                break;
            }
            let length = 1usize << RUN[self.run_index];
            let end = (x + length).min(columns + 1);
            row[x..end].fill(value);
            if end - x == length && self.run_index < 31 {
                self.run_index += 1;
            }
            x = end;
            if x > columns {
                return Ok(x);
            }
        }
        let bits = RUN[self.run_index];
        let length = self.bits.take(bits)? as usize;
        let end = x + length;
        if end > columns {
            return Err("expected a run within a row, found a longer one".into());
        }
        row[x..end].fill(value);
        row[end] = self.run_end(value, above[end])?;
        self.run_index = self.run_index.saturating_sub(1);
        Ok(end + 1)
    }

    /// A.7.2.
    fn run_end(&mut self, a: i32, b: i32) -> Told<i32> {
        let kind = usize::from((a - b).abs() <= self.p.near);
        let sign = if kind == 0 && a > b { -1 } else { 1 };
        let predicted = if kind == 1 { a } else { b };
        let mut context = self.ends[kind];
        let sum = if kind == 1 {
            context.magnitude + (context.count >> 1)
        } else {
            context.magnitude
        };
        let k = golomb(context.count, sum);
        let limit = self.limit - RUN[self.run_index] - 1;
        let mapped = self.golomb_code(k, limit)?;

        // Decode the sign from the mapping (A.22 and A.23).
        let doubled = mapped + kind as i32;
        let flip = doubled & 1;
        let size = (doubled + flip) / 2;
        let negative_likely = k != 0 || 2 * context.bias >= context.count;
        let error = if (flip == 1) == negative_likely {
            -size
        } else {
            size
        };

        if error < 0 {
            context.bias += 1;
        }
        context.magnitude += (mapped + 1 - kind as i32) >> 1;
        if context.count == self.p.reset {
            context.magnitude >>= 1;
            context.count >>= 1;
            context.bias >>= 1;
        }
        context.count += 1;
        self.ends[kind] = context;
        Ok(self.reconstruct(predicted, sign * error * (2 * self.p.near + 1)))
    }
}

/// The parameter k: the smallest for which `count << k` reaches `sum`.
fn golomb(count: i32, sum: i32) -> u32 {
    let mut k = 0;
    while k < 24 && i64::from(count) << k < i64::from(sum) {
        k += 1;
    }
    k
}
