//! JPEG of one component: baseline, extended (8 and 12 bits) and lossless, with Huffman codes.
//!
//! Source: ITU-T T.81 (ISO/IEC 10918-1). DICOM uses no other processes; colours, progressive and
//! arithmetic coding are refused. Samples are as coded: nothing is turned into another colour.

use super::{
    bits::{Bits, Stuffing},
    element::Told,
};

const ZIGZAG: [usize; 64] = [
    0, 1, 8, 16, 9, 2, 3, 10, 17, 24, 32, 25, 18, 11, 4, 5, 12, 19, 26, 33, 40, 48, 41, 34, 27, 20,
    13, 6, 7, 14, 21, 28, 35, 42, 49, 56, 57, 50, 43, 36, 29, 22, 15, 23, 30, 37, 44, 51, 58, 59,
    52, 45, 38, 31, 39, 46, 53, 60, 61, 54, 47, 55, 62, 63,
];

/// A value and the length of its code, by the 16 bits that start with the code; length 0 for none.
struct Codes(Vec<(u8, u8)>);

impl Codes {
    fn new(counts: &[u8; 16], values: &[u8]) -> Told<Self> {
        let mut table = vec![(0, 0); 1 << 16];
        let (mut code, mut values) = (0usize, values.iter());
        for (length, &count) in (1u8..).zip(counts) {
            for _ in 0..count {
                let (Some(&value), true) = (values.next(), code < 1 << 16) else {
                    return Err(
                        "expected Huffman codes, found too many; fetch the file again".into(),
                    );
                };
                let span = 1 << (16 - length);
                table[code..code + span].fill((length, value));
                code += span;
            }
        }
        Ok(Self(table))
    }

    fn read(&self, bits: &mut Bits<'_>) -> Told<u8> {
        let (length, value) = self.0[bits.peek(16)? as usize];
        if length == 0 {
            return Err("expected a Huffman code, found none; the file is damaged".into());
        }
        bits.pass(u32::from(length));
        Ok(value)
    }
}

/// A signed number of so many bits.
fn signed(bits: &mut Bits<'_>, size: u8) -> Told<i32> {
    if size == 0 {
        return Ok(0);
    }
    let value = bits.take(u32::from(size))? as i32;
    let half = 1 << (size - 1);
    Ok(if value < half {
        value - 2 * half + 1
    } else {
        value
    })
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Frame {
    lossless: bool,
    precision: u32,
    rows: usize,
    columns: usize,
    quantisation: usize,
}

#[derive(Default)]
struct Tables {
    quantisation: [Option<[f32; 64]>; 4],
    dc: [Option<Codes>; 4],
    ac: [Option<Codes>; 4],
    /// Blocks or samples between restarts; 0 for none.
    restart: usize,
}

/// The samples of a frame that must have this size.
pub(super) fn decode(bytes: &[u8], rows: usize, columns: usize) -> Told<Vec<u16>> {
    let mut tables = Tables::default();
    let mut frame = None;
    let mut rest = bytes;
    let short = || "expected more JPEG segments, found the end; fetch the file again".to_owned();
    loop {
        let Some((&byte, after)) = rest.split_first() else {
            return Err(short());
        };
        rest = after;
        let marker = match (byte, after.first()) {
            (0xff, Some(&marker)) if marker != 0 && marker != 0xff => marker,
            _ => continue,
        };
        rest = &rest[1..];
        // Markers without content: restarts, start of image and a private one.
        if matches!(marker, 0x01 | 0xd0..=0xd8) {
            continue;
        }
        if marker == 0xd9 {
            return Err(short());
        }
        let &length = rest.first_chunk().ok_or_else(short)?;
        let length = usize::from(u16::from_be_bytes(length));
        let segment = rest.get(2..length).ok_or_else(short)?;
        rest = &rest[length..];
        match marker {
            0xc4 => huffman(segment, &mut tables)?,
            0xdb => quantisation(segment, &mut tables)?,
            0xdd => {
                let &two = segment.first_chunk().ok_or_else(short)?;
                tables.restart = usize::from(u16::from_be_bytes(two));
            }
            0xc0 | 0xc1 | 0xc3 => {
                let found = start_of_frame(segment, marker == 0xc3)?;
                if (found.rows, found.columns) != (rows, columns) {
                    return Err(format!(
                        "expected a JPEG of {columns}×{rows} pixels, found {}×{}",
                        found.columns, found.rows
                    ));
                }
                frame = Some(found);
            }
            0xc2 | 0xc5..=0xcf => {
                return Err(
                    "expected sequential JPEG with Huffman codes, found another process; convert \
                     it first (gdcmconv --raw)"
                        .into(),
                );
            }
            0xda => {
                let frame = frame.ok_or("expected a frame before its samples, found none")?;
                let &[1, _, table, first, _, point] = segment.first_chunk().ok_or_else(short)?
                else {
                    return Err("expected one component, found several: colours".into());
                };
                let scan = Scan {
                    frame,
                    dc: usize::from(table >> 4),
                    ac: usize::from(table & 15),
                    first,
                    point: u32::from(point & 15),
                };
                return if frame.lossless {
                    scan.lossless(rest, &tables)
                } else {
                    scan.blocks(rest, &tables)
                };
            }
            _ => {}
        }
    }
}

fn start_of_frame(segment: &[u8], lossless: bool) -> Told<Frame> {
    let Some(&[precision, a, b, c, d, components, _, _, quantisation]) = segment.first_chunk()
    else {
        return Err("expected a JPEG frame, found too little; fetch the file again".into());
    };
    let precision = u32::from(precision);
    let allowed = if lossless { 2..=16 } else { 8..=12 };
    if components != 1 || !allowed.contains(&precision) {
        return Err(format!(
            "expected one component of {allowed:?} bits, found {components} of {precision}"
        ));
    }
    Ok(Frame {
        lossless,
        precision,
        rows: usize::from(u16::from_be_bytes([a, b])),
        columns: usize::from(u16::from_be_bytes([c, d])),
        quantisation: usize::from(quantisation),
    })
}

fn huffman(mut segment: &[u8], tables: &mut Tables) -> Told<()> {
    while let Some((&place, rest)) = segment.split_first() {
        let damaged = || "expected Huffman codes, found damage; fetch the file again".to_owned();
        let (counts, rest) = rest.split_first_chunk().ok_or_else(damaged)?;
        let total = counts.iter().map(|&n| usize::from(n)).sum();
        let (values, rest) = rest.split_at_checked(total).ok_or_else(damaged)?;
        let class = if place >> 4 == 0 {
            &mut tables.dc
        } else {
            &mut tables.ac
        };
        let table = class.get_mut(usize::from(place & 15)).ok_or_else(damaged)?;
        *table = Some(Codes::new(counts, values)?);
        segment = rest;
    }
    Ok(())
}

fn quantisation(mut segment: &[u8], tables: &mut Tables) -> Told<()> {
    while let Some((&place, rest)) = segment.split_first() {
        let damaged = || "expected quantisation, found damage; fetch the file again".to_owned();
        let width = if place >> 4 == 0 { 1 } else { 2 };
        let (values, rest) = rest.split_at_checked(64 * width).ok_or_else(damaged)?;
        let table = tables
            .quantisation
            .get_mut(usize::from(place & 15))
            .ok_or_else(damaged)?;
        let mut steps = [0.0; 64];
        for (step, value) in steps.iter_mut().zip(values.chunks_exact(width)) {
            *step = value.iter().fold(0.0, |sum, &b| 256.0 * sum + f32::from(b));
        }
        *table = Some(steps);
        segment = rest;
    }
    Ok(())
}

/// The samples of one component.
struct Scan {
    frame: Frame,
    dc: usize,
    ac: usize,
    /// Of a lossless frame, the predictor.
    first: u8,
    /// Bits by which lossless samples were cut.
    point: u32,
}

fn codes(tables: &[Option<Codes>; 4], place: usize) -> Told<&Codes> {
    let table = tables.get(place).and_then(Option::as_ref);
    table.ok_or_else(|| "expected Huffman codes before samples, found none".to_owned())
}

impl Scan {
    /// Annex H.
    fn lossless(&self, bytes: &[u8], tables: &Tables) -> Told<Vec<u16>> {
        let Frame {
            rows,
            columns,
            precision,
            ..
        } = self.frame;
        let codes = codes(&tables.dc, self.dc)?;
        if !(1..=7).contains(&self.first) || self.point >= precision {
            return Err(format!(
                "expected a predictor of 1 to 7, found {}",
                self.first
            ));
        }
        let mut bits = Bits::new(bytes, Stuffing::Byte);
        let mut samples: Vec<u16> = Vec::new();
        let start = 1i32 << (precision - self.point - 1);
        // The first row since a restart is predicted from the left.
        let mut first_row = 0;
        for row in 0..rows {
            for column in 0..columns {
                let i = samples.len();
                let fresh = i > 0 && i.is_multiple_of(tables.restart);
                if fresh {
                    bits.restart()?;
                    first_row = row;
                }
                let before = |n: usize| i32::from(samples[i - n]);
                let prediction = if i == 0 || fresh {
                    start
                } else if row == first_row {
                    before(1)
                } else if column == 0 {
                    before(columns)
                } else {
                    let (left, above, corner) = (before(1), before(columns), before(columns + 1));
                    match self.first {
                        1 => left,
                        2 => above,
                        3 => corner,
                        4 => left + above - corner,
                        5 => left + ((above - corner) >> 1),
                        6 => above + ((left - corner) >> 1),
                        _ => (left + above) >> 1,
                    }
                };
                let difference = match codes.read(&mut bits)? {
                    size @ 0..=15 => signed(&mut bits, size)?,
                    16 => 32768,
                    size => {
                        return Err(format!("expected differences of 16 bits, found {size}"));
                    }
                };
                samples.push((prediction + difference) as u16);
            }
        }
        samples.iter_mut().for_each(|sample| *sample <<= self.point);
        Ok(samples)
    }

    /// Annexes F.2 and A.3.
    fn blocks(&self, bytes: &[u8], tables: &Tables) -> Told<Vec<u16>> {
        let Frame {
            rows,
            columns,
            precision,
            quantisation,
            ..
        } = self.frame;
        let (dc, ac) = (codes(&tables.dc, self.dc)?, codes(&tables.ac, self.ac)?);
        let steps = tables
            .quantisation
            .get(quantisation)
            .and_then(Option::as_ref);
        let steps = steps.ok_or("expected quantisation before samples, found none")?;
        let (across, down) = (columns.div_ceil(8), rows.div_ceil(8));
        // A block takes two bits at least.
        if across * down > 4 * bytes.len() + 64 {
            return Err("expected more compressed samples, found too few for the frame".into());
        }
        let cosines = cosines();
        let (middle, most) = (
            f32::from(1u16 << (precision - 1)),
            f32::from((1u16 << precision) - 1),
        );
        let mut bits = Bits::new(bytes, Stuffing::Byte);
        let mut samples = vec![0; rows * columns];
        let mut level = 0i32;
        for block in 0..across * down {
            if block > 0 && block.is_multiple_of(tables.restart) {
                bits.restart()?;
                level = 0;
            }
            let size = dc.read(&mut bits)?.min(16);
            level = level.saturating_add(signed(&mut bits, size)?);
            let mut coefficients = [0.0; 64];
            coefficients[0] = level as f32 * steps[0];
            let mut k = 1;
            while k < 64 {
                let symbol = ac.read(&mut bits)?;
                let (run, size) = (usize::from(symbol >> 4), symbol & 15);
                match (run, size) {
                    (15, 0) => k += 16,
                    (_, 0) => break,
                    _ => {
                        k += run;
                        let value = signed(&mut bits, size)? as f32;
                        let (Some(&place), Some(step)) = (ZIGZAG.get(k), steps.get(k)) else {
                            return Err("expected 64 coefficients, found more".into());
                        };
                        coefficients[place] = value * step;
                        k += 1;
                    }
                }
            }
            let values = inverse(&coefficients, &cosines);
            let (x, y) = (8 * (block % across), 8 * (block / across));
            for (row, values) in (y..rows).zip(values.chunks_exact(8)) {
                let row = &mut samples[row * columns..][..columns];
                for (sample, value) in row[x..].iter_mut().zip(values) {
                    *sample = (value + middle).round().clamp(0.0, most) as u16;
                }
            }
        }
        Ok(samples)
    }
}

/// `cosines[u][x]` of the inverse transform, with its factor.
fn cosines() -> [[f32; 8]; 8] {
    std::array::from_fn(|u| {
        std::array::from_fn(|x| {
            let scale = if u == 0 { 0.125f64.sqrt() } else { 0.5 };
            let angle = (2 * x + 1) as f64 * u as f64 * std::f64::consts::PI / 16.0;
            (scale * angle.cos()) as f32
        })
    })
}

fn inverse(coefficients: &[f32; 64], cosines: &[[f32; 8]; 8]) -> [f32; 64] {
    let mut rows = [0.0; 64];
    for v in 0..8 {
        for u in 0..8 {
            let c = coefficients[8 * v + u];
            if c != 0.0 {
                (0..8).for_each(|x| rows[8 * v + x] += c * cosines[u][x]);
            }
        }
    }
    let mut values = [0.0; 64];
    for v in 0..8 {
        for y in 0..8 {
            let c = cosines[v][y];
            (0..8).for_each(|x| values[8 * y + x] += c * rows[8 * v + x]);
        }
    }
    values
}
