//! One DICOM file: what comes before its data set, and how that is encoded.
//!
//! Source: DICOM PS3.10, clause 7. Files without preamble, without meta group or with a wrong
//! transfer syntax are common; what the first element looks like then decides.

use std::{fs::File as Open, io::Read, path::Path};

use flate2::read::DeflateDecoder;

use super::{
    element::{DataSet, Encoding, Told, guess},
    tags::{self, syntax},
};
use crate::{Error, Result, io::is_named};

const MAGIC: &[u8] = b"DICM";
const PREAMBLE: usize = 128;

/// Most bytes of a data set that is deflated.
const MOST_INFLATED: u64 = 4 << 30;

/// A file in memory.
#[derive(Debug)]
pub(super) struct File {
    bytes: Vec<u8>,
    /// Where the data set begins.
    start: usize,
    encoding: Encoding,
    /// How frames are compressed; empty where the file does not say.
    pub(super) syntax: String,
}

/// Whether a file is DICOM by its mark or, unless its name is of another format, by what its first
/// element looks like.
pub(in crate::io) fn is_dicom(path: &Path) -> bool {
    let mut start = Vec::new();
    let read = Open::open(path).and_then(|f| f.take(PREAMBLE as u64 + 4).read_to_end(&mut start));
    let marked = start.get(PREAMBLE..).is_some_and(|b| b.starts_with(MAGIC));
    read.is_ok() && (marked || (starts_data_set(&start) && !is_named(path)))
}

/// Whether the first element is one of those that begin meta groups and data sets.
fn starts_data_set(start: &[u8]) -> bool {
    let Some(&[a, b, c, d, e, f, g, h]) = start.first_chunk() else {
        return false;
    };
    let (little, big) = (matches!([a, b], [2 | 8, 0]), matches!([a, b], [0, 2 | 8]));
    let vr = matches!(
        &[e, f],
        b"UL" | b"UI" | b"CS" | b"OB" | b"DA" | b"SH" | b"LO"
    );
    let short = u32::from_le_bytes([e, f, g, h]) < 256;
    let low_element = if big { c == 0 } else { d == 0 };
    low_element && ((little && (vr || short)) || (big && vr))
}

impl File {
    pub(super) fn read(path: &Path) -> Result<Self> {
        let bytes = std::fs::read(path).map_err(|e| Error::io("read", e, path))?;
        Self::of(bytes).map_err(|message| Error::format(message, path))
    }

    fn of(mut bytes: Vec<u8>) -> Told<Self> {
        let mut start = 0;
        if bytes.get(PREAMBLE..).is_some_and(|b| b.starts_with(MAGIC)) {
            start = PREAMBLE + MAGIC.len();
        } else if !starts_data_set(&bytes) {
            return Err("expected a DICOM file, found other content; check the name".into());
        }
        let (meta, taken) =
            DataSet::parse_while(&bytes[start..], Encoding::EXPLICIT_LITTLE, |tag| {
                tag >> 16 == 2
            })?;
        let syntax = meta.text(tags::TRANSFER_SYNTAX_UID).unwrap_or_default();
        start += taken;
        if syntax == syntax::DEFLATED {
            let mut inflated = Vec::new();
            DeflateDecoder::new(&bytes[start..])
                .take(MOST_INFLATED)
                .read_to_end(&mut inflated)
                .map_err(|e| {
                    format!("expected a deflated data set, found damage ({e}); fetch it again")
                })?;
            (bytes, start) = (inflated, 0);
        }
        let big = (!syntax.is_empty()).then_some(syntax == syntax::EXPLICIT_BIG);
        Ok(Self {
            encoding: guess(&bytes[start..], big),
            bytes,
            start,
            syntax,
        })
    }

    pub(super) fn data_set(&self) -> Told<DataSet<'_>> {
        DataSet::parse(&self.bytes[self.start..], self.encoding)
    }
}
