//! YUV4MPEG2 films (`.y4m`), of which only the brightness is read.
//!
//! A line of parameters, then for each frame a line that begins with `FRAME` and the planes: brightness
//! first, of one byte a sample or, from 9 bits on, of two, the lesser first. Source: the format's
//! description in the manual page of mjpegtools (yuv4mpeg(5)), with the names of colour spaces that
//! `ffmpeg` writes.

use std::io::{BufRead, Read};
use std::path::Path;

use super::frames::Frame;
use crate::{Error, Result};

/// Longest line of parameters.
const LINE: u64 = 4096;

/// Longest side of a frame.
const SIDE: usize = 16_384;

/// What the first line says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Header {
    width: usize,
    height: usize,
    bytes_per_sample: usize,
    bits: u32,
    /// Bytes of a frame's colours, after its brightness.
    colours: usize,
}

pub(super) fn is_named(path: &Path) -> bool {
    path.extension()
        .is_some_and(|e| e.eq_ignore_ascii_case("y4m"))
}

impl Header {
    pub(super) fn read(from: &mut impl BufRead, path: &Path) -> Result<Self> {
        let line = line(from, path)?;
        let bad = |what: &str| {
            Error::file(
                format!("expected a YUV4MPEG2 film, found {what}; convert it to PNG frames"),
                path,
            )
        };
        let mut words = line.split(' ');
        if words.next() != Some("YUV4MPEG2") {
            return Err(bad("another format"));
        }
        let (mut width, mut height, mut colour) = (0, 0, "420");
        for word in words {
            let number = || word[1..].parse().unwrap_or(0);
            match word.as_bytes().first() {
                Some(b'W') => width = number(),
                Some(b'H') => height = number(),
                Some(b'C') => colour = &word[1..],
                _ => {}
            }
        }
        if !(1..=SIDE).contains(&width) || !(1..=SIDE).contains(&height) {
            return Err(bad(&format!("frames of {width} x {height}")));
        }
        let bits = match colour.find('p').map(|at| &colour[at + 1..]) {
            // 420p10, 422p12 …, but 420paldv and 420jpeg.
            Some(bits) if !bits.is_empty() && bits.bytes().all(|b| b.is_ascii_digit()) => {
                bits.parse().unwrap_or(0)
            }
            _ => colour
                .strip_prefix("mono")
                .and_then(|b| b.parse().ok())
                .unwrap_or(8),
        };
        if !(8..=16).contains(&bits) {
            return Err(bad(&format!("samples of {bits} bits")));
        }
        let (across, down) = (width.div_ceil(2), height.div_ceil(2));
        let samples = match colour {
            c if c.starts_with("mono") => 0,
            c if c.starts_with("420") => 2 * across * down,
            c if c.starts_with("422") => 2 * across * height,
            "444alpha" => 3 * width * height,
            c if c.starts_with("444") => 2 * width * height,
            c if c.starts_with("411") => 2 * width.div_ceil(4) * height,
            c => return Err(bad(&format!("the colour space {c}"))),
        };
        let bytes_per_sample = if bits > 8 { 2 } else { 1 };
        Ok(Self {
            width,
            height,
            bytes_per_sample,
            bits,
            colours: samples * bytes_per_sample,
        })
    }

    /// Reads the next frame; false where there is none.
    pub(super) fn frame(
        &self,
        from: &mut impl BufRead,
        into: &mut Frame,
        path: &Path,
    ) -> Result<bool> {
        if !self.begins(from, path)? {
            return Ok(false);
        }
        // As much memory as there is film, whatever its first line promises.
        let size = self.width * self.height * self.bytes_per_sample;
        let mut bytes = Vec::new();
        from.take(size as u64)
            .read_to_end(&mut bytes)
            .map_err(|e| Error::read(e, path))?;
        if bytes.len() < size {
            return Err(cut_off(path));
        }
        into.width = self.width;
        into.height = self.height;
        into.grey.clear();
        match self.bytes_per_sample {
            1 => into.grey.extend(bytes.iter().map(|&v| f32::from(v))),
            _ => {
                let scale = 255.0 / ((1u32 << self.bits) - 1) as f32;
                let samples = bytes.as_chunks::<2>().0.iter();
                into.grey
                    .extend(samples.map(|&v| scale * f32::from(u16::from_le_bytes(v))));
            }
        }
        self.pass(from, self.colours, path)?;
        Ok(true)
    }

    /// Passes over the next frame; false where there is none.
    pub(super) fn skip(&self, from: &mut impl BufRead, path: &Path) -> Result<bool> {
        let begins = self.begins(from, path)?;
        if begins {
            let grey = self.width * self.height * self.bytes_per_sample;
            self.pass(from, grey + self.colours, path)?;
        }
        Ok(begins)
    }

    fn begins(&self, from: &mut impl BufRead, path: &Path) -> Result<bool> {
        if from
            .fill_buf()
            .map_err(|e| Error::read(e, path))?
            .is_empty()
        {
            return Ok(false);
        }
        let line = line(from, path)?;
        if line.starts_with("FRAME") {
            return Ok(true);
        }
        Err(Error::file(
            "expected a frame of a film, found something else; fetch it again",
            path,
        ))
    }

    fn pass(&self, from: &mut impl BufRead, bytes: usize, path: &Path) -> Result<()> {
        let passed = std::io::copy(&mut from.take(bytes as u64), &mut std::io::sink());
        match passed {
            Ok(n) if n == bytes as u64 => Ok(()),
            Ok(_) => Err(cut_off(path)),
            Err(e) => Err(Error::read(e, path)),
        }
    }
}

fn cut_off(path: &Path) -> Error {
    Error::file(
        "expected a whole frame, found its start; fetch it again",
        path,
    )
}

fn line(from: &mut impl BufRead, path: &Path) -> Result<String> {
    let mut bytes = Vec::new();
    let mut limited = from.take(LINE);
    limited
        .read_until(b'\n', &mut bytes)
        .map_err(|e| Error::read(e, path))?;
    if bytes.pop() != Some(b'\n') {
        return Err(Error::file(
            "expected a line of a YUV4MPEG2 film, found none",
            path,
        ));
    }
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A film of 420 frames: brightness = 10 x + frame.
    pub(in super::super) fn film(width: usize, height: usize, frames: u8) -> Vec<u8> {
        let mut bytes =
            format!("YUV4MPEG2 W{width} H{height} F25:1 Ip A1:1 C420jpeg\n").into_bytes();
        for frame in 0..frames {
            bytes.extend(b"FRAME\n");
            bytes.extend((0..width * height).map(|i| (i % width * 10) as u8 + frame));
            bytes.extend(vec![128; 2 * width.div_ceil(2) * height.div_ceil(2)]);
        }
        bytes
    }

    #[test]
    fn brightness_is_read_and_colours_are_passed_over() {
        let bytes = film(7, 5, 3);
        let path = Path::new("film.y4m");
        let mut from = &bytes[..];
        let header = Header::read(&mut from, path).expect("a header");
        let mut frame = Frame::default();
        assert!(header.skip(&mut from, path).expect("a frame"));
        for t in [1.0, 2.0] {
            assert!(header.frame(&mut from, &mut frame, path).expect("a frame"));
            assert_eq!((frame.width, frame.height), (7, 5));
            assert_eq!(frame.grey[8], 10.0 + t);
        }
        assert!(!header.frame(&mut from, &mut frame, path).expect("the end"));
    }

    #[test]
    fn more_bits_are_brought_to_the_same_range() {
        let mut bytes = b"YUV4MPEG2 W2 H1 C444p10\nFRAME\n".to_vec();
        for v in [0u16, 1023, 1, 2, 3, 4] {
            bytes.extend(v.to_le_bytes());
        }
        let mut from = &bytes[..];
        let path = Path::new("film.y4m");
        let header = Header::read(&mut from, path).expect("a header");
        let mut frame = Frame::default();
        assert!(header.frame(&mut from, &mut frame, path).expect("a frame"));
        assert_eq!(frame.grey, [0.0, 255.0]);
        assert!(!header.skip(&mut from, path).expect("the end"));
    }

    #[test]
    fn hostile_films_are_refused() {
        let path = Path::new("film.y4m");
        let said = |bytes: &[u8]| {
            let mut from = bytes;
            let read = Header::read(&mut from, path)
                .and_then(|h| h.frame(&mut from, &mut Frame::default(), path));
            read.map_or_else(|e| e.to_string(), |_| panic!("expected an error"))
        };
        assert!(said(b"RIFF\n").contains("another format"));
        assert!(said(b"YUV4MPEG2 W99999999 H2\n").contains("99999999 x 2"));
        assert!(said(b"YUV4MPEG2 W2\n").contains("2 x 0"));
        assert!(said(b"YUV4MPEG2 W2 H2 C420p99\n").contains("99 bits"));
        assert!(said(b"YUV4MPEG2 W2 H2 Crgb\n").contains("rgb"));
        assert!(said(b"YUV4MPEG2 W2 H2\nGARBAGE\n").contains("expected a frame"));
        assert!(said(b"YUV4MPEG2 W4 H4\nFRAME\n012").contains("found its start"));
        assert!(said(&[b'Y'; 9000]).contains("found none"));
    }
}
