//! Curves over an axis, as a PNG.
//!
//! Axes begin and end at the points' extremes unless they are told otherwise; ticks are at round
//! numbers. Curves have the colours of [`crate::tile::PALETTE`] in their order.

use std::path::Path;

use crossmod_volume::io::write_atomic;

use crate::canvas::{CHARACTER, Canvas, INK, TEXT_HEIGHT};
use crate::tile::PALETTE;
use crate::{Error, Result};

const WIDTH: usize = 760;
const HEIGHT: usize = 460;
/// Of the picture around the axes: left, top, right, bottom.
const MARGINS: [usize; 4] = [96, 60, 24, 64];
/// Ticks along an axis, about.
const TICKS: f64 = 6.0;
/// Thickness of a curve, pixels.
const PEN: usize = 3;
/// Pixels of a dash and of the gap after it.
const DASH: usize = 8;
const GRID: [u8; 3] = [56, 56, 56];

/// Curves over an axis.
#[derive(Debug, Clone, Default)]
pub struct Chart {
    title: String,
    labels: [String; 2],
    ranges: [Option<[f64; 2]>; 2],
    curves: Vec<Curve>,
}

#[derive(Debug, Clone)]
struct Curve {
    name: String,
    points: Vec<[f64; 2]>,
    dashed: bool,
}

impl Chart {
    /// Axes without curves; `labels` name x and y.
    #[must_use]
    pub fn new(title: &str, labels: [&str; 2]) -> Self {
        Self {
            title: title.to_owned(),
            labels: labels.map(str::to_owned),
            ..Self::default()
        }
    }

    /// The same with an axis (0 is x, 1 is y) from `range[0]` to `range[1]`.
    #[must_use]
    pub fn axis(mut self, axis: usize, range: [f64; 2]) -> Self {
        self.ranges[axis.min(1)] = Some(range);
        self
    }

    /// One curve more; one without a name is not in the legend.
    #[must_use]
    pub fn curve(self, name: &str, points: Vec<[f64; 2]>) -> Self {
        self.with(name, points, false)
    }

    /// One dashed curve more, in the colour of the curve before: what that is to be.
    #[must_use]
    pub fn expected(self, name: &str, points: Vec<[f64; 2]>) -> Self {
        self.with(name, points, true)
    }

    fn with(mut self, name: &str, points: Vec<[f64; 2]>, dashed: bool) -> Self {
        self.curves.push(Curve {
            name: name.to_owned(),
            points,
            dashed,
        });
        self
    }

    /// Writes the chart as a PNG.
    ///
    /// # Errors
    /// [`Error::Picture`] where there is nothing to draw; [`Error::Volume`] where the file cannot be
    /// written.
    pub fn write_png(&self, path: &Path) -> Result<()> {
        let bytes = self.png()?;
        Ok(write_atomic(path, |file| file.write_all(&bytes))?)
    }

    /// The chart as a PNG file's bytes, 8-bit RGB.
    ///
    /// # Errors
    /// [`Error::Picture`] where there is nothing to draw, or an axis has no length.
    pub fn png(&self) -> Result<Vec<u8>> {
        let scales = [self.scale(0)?, self.scale(1)?];
        let mut canvas = Canvas::new(WIDTH, HEIGHT)?;
        let [left, top, _, _] = MARGINS;
        canvas.text(left, 10, &self.title);
        canvas.text(10, 10 + TEXT_HEIGHT + 8, &self.labels[1]);
        let across = self.labels[0].chars().count() * CHARACTER;
        canvas.text(
            WIDTH.saturating_sub(across + MARGINS[2]),
            HEIGHT - TEXT_HEIGHT - 8,
            &self.labels[0],
        );
        axes(&mut canvas, &scales);
        let (mut colour, mut named) = (0, 0);
        for (index, curve) in self.curves.iter().enumerate() {
            if index > 0 && !curve.dashed {
                colour = (colour + 1) % PALETTE.len();
            }
            draw(&mut canvas, &scales, curve, PALETTE[colour]);
            if curve.name.is_empty() {
                continue;
            }
            // From the top right.
            let width = (curve.name.chars().count() + 3) * CHARACTER;
            let x = (WIDTH - MARGINS[2]).saturating_sub(width);
            let y = top + 10 + named * (TEXT_HEIGHT + 6);
            named += 1;
            let long = if curve.dashed { DASH } else { 2 * CHARACTER };
            canvas.fill(x, y + TEXT_HEIGHT / 2, [long, PEN], PALETTE[colour]);
            canvas.text(x + 2 * CHARACTER + 6, y, &curve.name);
        }
        canvas.png()
    }

    fn scale(&self, axis: usize) -> Result<Scale> {
        let all = self
            .curves
            .iter()
            .flat_map(|c| c.points.iter().map(|p| p[axis]));
        let [low, high] = self.ranges[axis].unwrap_or_else(|| {
            all.filter(|v| v.is_finite())
                .fold([f64::INFINITY, f64::NEG_INFINITY], |[a, b], v| {
                    [a.min(v), b.max(v)]
                })
        });
        if !(low.is_finite() && high.is_finite() && low < high) {
            return Err(Error::Picture(format!(
                "expected curves along a range, found {low} to {high}"
            )));
        }
        let [left, top, right, bottom] = MARGINS;
        let (start, end) = match axis {
            0 => (left as f64, (WIDTH - right) as f64),
            _ => ((HEIGHT - bottom) as f64, top as f64),
        };
        Ok(Scale {
            low,
            high,
            start,
            per: (end - start) / (high - low),
        })
    }
}

/// From values to pixels.
#[derive(Debug, Clone, Copy)]
struct Scale {
    low: f64,
    high: f64,
    start: f64,
    per: f64,
}

impl Scale {
    fn pixel(&self, value: f64) -> f64 {
        self.start + (value - self.low) * self.per
    }

    /// Round numbers within the range, and the digits after the point that they need.
    fn ticks(&self) -> (Vec<f64>, usize) {
        let raw = (self.high - self.low) / TICKS;
        let power = 10f64.powf(raw.log10().floor());
        let nice = [1.0, 2.0, 5.0, 10.0].into_iter().find(|n| n * power >= raw);
        let step = nice.unwrap_or(10.0) * power;
        let first = (self.low / step).ceil() as i64;
        let last = (self.high / step + 1e-9).floor() as i64;
        let digits = (-step.log10()).ceil().max(0.0) as usize;
        ((first..=last).map(|i| i as f64 * step).collect(), digits)
    }
}

/// The frame, lines at the ticks, and their numbers.
fn axes(canvas: &mut Canvas, scales: &[Scale; 2]) {
    let [left, top, right, bottom] = MARGINS;
    let (width, height) = (WIDTH - left - right, HEIGHT - top - bottom);
    let [xs, ys] = scales;
    let (ticks, digits) = xs.ticks();
    for tick in ticks {
        let text = format!("{tick:.digits$}");
        let x = xs.pixel(tick) as usize;
        canvas.fill(x, top, [1, height], GRID);
        let indent = text.len() * CHARACTER / 2;
        canvas.text(x.saturating_sub(indent), HEIGHT - bottom + 8, &text);
    }
    let (ticks, digits) = ys.ticks();
    for tick in ticks {
        let text = format!("{tick:.digits$}");
        let y = ys.pixel(tick) as usize;
        canvas.fill(left, y, [width, 1], GRID);
        let indent = text.len() * CHARACTER + 6;
        canvas.text(
            left.saturating_sub(indent),
            y.saturating_sub(TEXT_HEIGHT / 2),
            &text,
        );
    }
    canvas.fill(left, top, [1, height], INK);
    canvas.fill(left, HEIGHT - bottom, [width, 1], INK);
}

/// A curve, pixel after pixel along its straight pieces; what lies outside the axes is left out.
fn draw(canvas: &mut Canvas, scales: &[Scale; 2], curve: &Curve, colour: [u8; 3]) {
    let inside = |[x, y]: [f64; 2]| {
        (scales[0].low..=scales[0].high).contains(&x)
            && (scales[1].low..=scales[1].high).contains(&y)
    };
    let mut walked = 0.0;
    for pair in curve.points.windows(2) {
        let [a, b] = [pair[0], pair[1]];
        let [dx, dy] = [0, 1].map(|i| (b[i] - a[i]) * scales[i].per);
        let length = dx.hypot(dy);
        if !length.is_finite() {
            continue;
        }
        let steps = length.ceil().clamp(1.0, 1e5) as usize;
        for step in 0..=steps {
            let share = step as f64 / steps as f64;
            let place = [0, 1].map(|i| a[i] + share * (b[i] - a[i]));
            let gap = curve.dashed && (walked + share * length) as usize / DASH % 2 == 1;
            if inside(place) && !gap {
                let [x, y] = [0, 1].map(|i| scales[i].pixel(place[i]) as usize);
                let half = PEN / 2;
                canvas.fill(
                    x.saturating_sub(half),
                    y.saturating_sub(half),
                    [PEN; 2],
                    colour,
                );
            }
        }
        walked += length;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decode(bytes: &[u8]) -> Vec<[u8; 3]> {
        let mut reader = png::Decoder::new(std::io::Cursor::new(bytes))
            .read_info()
            .expect("a PNG header");
        let mut data = vec![0; reader.output_buffer_size().expect("a size")];
        reader.next_frame(&mut data).expect("an image");
        data.as_chunks::<3>().0.to_vec()
    }

    #[test]
    fn a_curve_goes_where_its_points_are() {
        let chart = Chart::new("a line", ["x", "y"])
            .axis(1, [0.0, 2.0])
            .curve("up", vec![[0.0, 0.0], [10.0, 2.0]])
            .expected("flat", vec![[0.0, 1.0], [10.0, 1.0]])
            .curve("out", vec![[0.0, 3.0], [10.0, f64::NAN]]);
        let pixels = decode(&chart.png().expect("a picture"));
        assert_eq!(pixels.len(), WIDTH * HEIGHT);
        let [left, top, right, bottom] = MARGINS;
        let quarter = left + (WIDTH - left - right) / 4;
        let height = HEIGHT - bottom - (HEIGHT - top - bottom) / 4;
        assert_eq!(pixels[height * WIDTH + quarter], PALETTE[0]);
        // Dashes along the middle, where the legend is not.
        let middle = top + (HEIGHT - top - bottom) / 2;
        let dashed = (left..quarter).filter(|x| pixels[middle * WIDTH + x] == PALETTE[0]);
        let share = dashed.count() as f64 / (quarter - left) as f64;
        assert!((0.4..0.75).contains(&share), "{share}");
    }

    #[test]
    fn ticks_are_round_and_within_the_range() {
        let ticks = |low, high| {
            let scale = Scale {
                low,
                high,
                start: 0.0,
                per: 1.0,
            };
            scale.ticks()
        };
        assert_eq!(
            ticks(0.0, 0.65),
            (vec![0.0, 0.2, 0.4, 0.6000000000000001], 1)
        );
        assert_eq!(ticks(-3.0, 11.0), (vec![0.0, 5.0, 10.0], 0));
    }

    #[test]
    fn nothing_is_no_picture() {
        assert!(Chart::new("", ["", ""]).png().is_err());
        let flat = Chart::new("", ["", ""]).curve("", vec![[0.0, 1.0], [1.0, 1.0]]);
        assert!(flat.png().is_err());
    }
}
