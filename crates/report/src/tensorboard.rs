//! TensorBoard's event files: scalars over steps.
//!
//! A file is a row of records as TensorFlow frames them (`tensorflow/core/lib/io/record_writer.h`):
//! length as u64, its checksum, the bytes, their checksum; little-endian, CRC-32C masked. A record is
//! an `Event` of `tensorflow/core/util/event.proto` in Protocol Buffers' encoding, of which scalars
//! need the wall time (seconds since 1970), the step, and pairs of tag and value.

use std::fs::{File, OpenOptions};
use std::io::{BufWriter, Write as _};
use std::path::{Path, PathBuf};

use crossmod_volume::Error as Failure;

use crate::Result;

/// An event file that grows.
#[derive(Debug)]
pub struct EventFile {
    out: BufWriter<File>,
    path: PathBuf,
}

impl EventFile {
    /// Begins the file of a training in its folder, in place of an earlier one of that training.
    ///
    /// `began` is when it began, in seconds since 1970.
    ///
    /// # Errors
    /// [`Error::Volume`](crate::Error::Volume) where it cannot be written.
    pub fn create(folder: &Path, began: f64) -> Result<Self> {
        std::fs::create_dir_all(folder).map_err(|e| Failure::io("make the folder", e, folder))?;
        let path = folder.join(format!("events.out.tfevents.{:010.0}.crossmod", began));
        let file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .open(&path);
        let file = file.map_err(|e| Failure::io("begin the event file", e, &path))?;
        let mut events = Self {
            out: BufWriter::new(file),
            path,
        };
        let version = field_bytes(3, b"brain.Event:2");
        events.record(&[field_f64(1, began), version].concat())?;
        Ok(events)
    }

    /// Adds a step's values by tag.
    ///
    /// # Errors
    /// [`Error::Volume`](crate::Error::Volume) where it cannot be written.
    pub fn push(&mut self, time: f64, step: u64, values: &[(String, f32)]) -> Result<()> {
        let summary: Vec<u8> = values
            .iter()
            .flat_map(|(tag, value)| {
                let value = [field_bytes(1, tag.as_bytes()), field_f32(2, *value)].concat();
                field_bytes(1, &value)
            })
            .collect();
        // Protocol Buffers leave out zeros.
        let step = (step > 0).then(|| [key(2, VARINT), varint(step)].concat());
        let summary = field_bytes(5, &summary);
        self.record(&[field_f64(1, time), step.unwrap_or_default(), summary].concat())
    }

    /// Makes what was added visible to readers.
    ///
    /// # Errors
    /// [`Error::Volume`](crate::Error::Volume) where it cannot be written.
    pub fn flush(&mut self) -> Result<()> {
        let flushed = self.out.flush();
        Ok(flushed.map_err(|e| Failure::io("write the event file", e, &self.path))?)
    }

    fn record(&mut self, bytes: &[u8]) -> Result<()> {
        let length = (bytes.len() as u64).to_le_bytes();
        let record = [&length[..], &masked(&length), bytes, &masked(bytes)].concat();
        let written = self.out.write_all(&record);
        Ok(written.map_err(|e| Failure::io("write the event file", e, &self.path))?)
    }
}

/// The checksum of bytes, turned and shifted as TensorFlow does, lest a checksum of checksums be weak.
fn masked(bytes: &[u8]) -> [u8; 4] {
    let sum = crc32c::crc32c(bytes);
    sum.rotate_right(15).wrapping_add(0xa282_ead8).to_le_bytes()
}

/// Wire types of Protocol Buffers.
const VARINT: u64 = 0;
const EIGHT_BYTES: u64 = 1;
const BYTES: u64 = 2;
const FOUR_BYTES: u64 = 5;

fn varint(mut value: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    while value >= 0x80 {
        bytes.push(value as u8 | 0x80);
        value >>= 7;
    }
    bytes.push(value as u8);
    bytes
}

fn key(field: u64, wire: u64) -> Vec<u8> {
    varint(field << 3 | wire)
}

fn field_f64(field: u64, value: f64) -> Vec<u8> {
    [key(field, EIGHT_BYTES), value.to_le_bytes().to_vec()].concat()
}

fn field_f32(field: u64, value: f32) -> Vec<u8> {
    [key(field, FOUR_BYTES), value.to_le_bytes().to_vec()].concat()
}

fn field_bytes(field: u64, bytes: &[u8]) -> Vec<u8> {
    let length = varint(bytes.len() as u64);
    [key(field, BYTES), length, bytes.to_vec()].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What TensorBoard's own writer (`tensorboard.summary.writer`, 2.20) gives for the same events;
    /// made by `testdata/events.py`.
    const GOLDEN: &[u8] = include_bytes!("../testdata/events.out.tfevents.golden");

    #[test]
    fn the_bytes_are_those_of_tensorboards_own_writer() {
        let folder = tempfile::tempdir().expect("a folder");
        let mut events = EventFile::create(folder.path(), 1_700_000_000.0).expect("a file");
        let values = [("loss/dice".to_owned(), 0.25), ("rate".to_owned(), -3.5)];
        events.push(1_700_000_001.5, 0, &values).expect("a step");
        events
            .push(1_700_000_002.0, 300, &values[..1])
            .expect("a step");
        events.flush().expect("written");
        let path = folder
            .path()
            .join("events.out.tfevents.1700000000.crossmod");
        assert_eq!(std::fs::read(path).expect("the file"), GOLDEN);
    }
}
