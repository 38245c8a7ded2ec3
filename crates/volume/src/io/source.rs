//! The bytes of a file, plain, gzip or zlib, with a bound on how many there can be.
//!
//! The bound lets a header that promises terabytes be refused before memory is taken for them.

use std::{
    fs::File,
    io::{self, BufRead, BufReader, Read},
    path::{Path, PathBuf},
};

use flate2::bufread::{MultiGzDecoder, ZlibDecoder};

use crate::{Error, Result};

pub(super) const GZIP_MAGIC: [u8; 2] = [0x1f, 0x8b];

/// How the bytes of a file are packed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Packing {
    Plain,
    Gzip,
    Zlib,
}

impl Packing {
    /// Gzip by its first two bytes, otherwise `other`.
    pub(super) fn of(start: &[u8], other: Self) -> Self {
        if start.starts_with(&GZIP_MAGIC) {
            Self::Gzip
        } else {
            other
        }
    }
}

/// Deflate codes at most 258 bytes in 2 bits (RFC 1951, 3.2.5), so it cannot do better than 1032.
const DEFLATE_RATIO: u64 = 1032;

/// How far to read past the samples in search of the checksum.
const TAIL: u64 = 1 << 20;

/// A file and its length.
pub(super) fn open_buffered(path: &Path) -> Result<(BufReader<File>, u64)> {
    let fail = |e| Error::io("read", e, path);
    let file = File::open(path).map_err(fail)?;
    let len = file.metadata().map_err(fail)?.len();
    Ok((BufReader::with_capacity(1 << 17, file), len))
}

pub(super) struct Source {
    reader: Box<dyn Read>,
    /// Bytes read so far, decompressed.
    pub(super) position: u64,
    /// More bytes than this, decompressed, there cannot be.
    most: u64,
    packing: Packing,
    path: PathBuf,
}

impl Source {
    /// A whole file, of whichever sort it is.
    pub(super) fn open(path: &Path) -> Result<Self> {
        let (mut reader, len) = open_buffered(path)?;
        let start = reader.fill_buf().map_err(|e| Error::io("read", e, path))?;
        let packing = Packing::of(start, Packing::Plain);
        Ok(Self::rest(reader, len, packing, path))
    }

    /// What is left of a file, `len` bytes.
    pub(super) fn rest(reader: BufReader<File>, len: u64, packing: Packing, path: &Path) -> Self {
        let most = match packing {
            Packing::Plain => len,
            Packing::Gzip | Packing::Zlib => len.saturating_mul(DEFLATE_RATIO),
        };
        let reader: Box<dyn Read> = match packing {
            Packing::Plain => Box::new(reader),
            Packing::Gzip => Box::new(MultiGzDecoder::new(reader)),
            Packing::Zlib => Box::new(ZlibDecoder::new(reader)),
        };
        Self {
            reader,
            position: 0,
            most,
            packing,
            path: path.to_owned(),
        }
    }

    /// Fills `bytes` from `what`.
    pub(super) fn fill(&mut self, bytes: &mut [u8], what: &str) -> Result<()> {
        match self.reader.read_exact(bytes) {
            Ok(()) => {
                self.position += bytes.len() as u64;
                Ok(())
            }
            Err(e) if e.kind() == io::ErrorKind::UnexpectedEof => Err(self.truncated(&format!(
                "expected {} bytes of {what} from byte {} on, found the end of the file",
                bytes.len(),
                self.position
            ))),
            Err(e) => Err(self.failed(e)),
        }
    }

    /// Goes to byte `to`, at or after the present one.
    pub(super) fn skip_to(&mut self, to: u64) -> Result<()> {
        let gap = to.saturating_sub(self.position);
        let skipped = io::copy(&mut self.reader.by_ref().take(gap), &mut io::sink())
            .map_err(|e| self.failed(e))?;
        self.position += skipped;
        if skipped < gap {
            return Err(self.truncated(&format!(
                "expected samples from byte {to} on, found the end of the file at byte {}",
                self.position
            )));
        }
        Ok(())
    }

    /// Refuses a promise of `end` bytes where the file cannot hold them.
    pub(super) fn expect_end(&self, end: u64) -> Result<()> {
        if end <= self.most {
            return Ok(());
        }
        Err(self.truncated(&format!(
            "expected {end} bytes by the header, found {}{}",
            if self.packing == Packing::Plain {
                ""
            } else {
                "compressed data that holds at most "
            },
            self.most
        )))
    }

    /// How many bytes are there for certain, without reading them.
    pub(super) fn certain(&self) -> u64 {
        if self.packing == Packing::Plain {
            self.most
        } else {
            0
        }
    }

    /// Reads what follows the samples, so that a checksum is verified. A tail that is long is
    /// left alone.
    pub(super) fn finish(&mut self) -> Result<()> {
        match io::copy(&mut self.reader.by_ref().take(TAIL), &mut io::sink()) {
            Ok(_) => Ok(()),
            Err(e) if e.kind() == io::ErrorKind::UnexpectedEof => {
                Err(self.truncated("expected a checksum, found the end of the file"))
            }
            Err(e) => Err(self.failed(e)),
        }
    }

    pub(super) fn error(&self, message: String) -> Error {
        Error::format(message, &self.path)
    }

    fn truncated(&self, message: &str) -> Error {
        self.error(format!(
            "{message}; it is truncated or its header is wrong, so fetch it again"
        ))
    }

    fn failed(&self, e: io::Error) -> Error {
        match e.kind() {
            io::ErrorKind::InvalidInput | io::ErrorKind::InvalidData
                if self.packing != Packing::Plain =>
            {
                self.error(format!(
                    "expected compressed data, found damage ({e}); fetch it again"
                ))
            }
            _ => Error::io("read", e, &self.path),
        }
    }
}
