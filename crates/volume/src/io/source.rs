//! The bytes of a file, plain, gzip or zlib, with a bound on how many there can be.
//!
//! The bound lets a header that promises terabytes be refused before memory is taken for them.

use std::{
    fs::File,
    io::{self, BufRead, BufReader, Read},
    path::{Path, PathBuf},
    sync::mpsc,
    thread,
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

/// Deflate codes at most 258 bytes in 2 bits (RFC 1951, 3.2.5), so it cannot do better than 1032.
const DEFLATE_RATIO: u64 = 1032;

/// What samples with noise are packed to, with room. Label maps come to ten times as much.
const USUAL_RATIO: u64 = 16;

/// How far to read past the samples in search of the checksum.
const TAIL: u64 = 1 << 20;

/// Bytes that are handed on at a time: a multiple of every sample's size.
const PART: usize = 1 << 18;

/// Parts that are unpacked ahead of what takes them.
const AHEAD: usize = 4;

/// From so many bytes on it is worth a thread to unpack them.
const MANY: u64 = 8 * PART as u64;

/// What is left of a file, not unpacked: all of it, or what follows the lines that start it.
pub(super) struct Rest {
    reader: BufReader<File>,
    /// How many bytes follow.
    pub(super) left: u64,
    pub(super) path: PathBuf,
}

impl Rest {
    /// A whole file.
    pub(super) fn of(path: &Path) -> Result<Self> {
        let fail = |e| Error::io("read", e, path);
        let file = File::open(path).map_err(fail)?;
        let left = file.metadata().map_err(fail)?.len();
        Ok(Self {
            reader: BufReader::with_capacity(1 << 17, file),
            left,
            path: path.to_owned(),
        })
    }

    /// The next line with what ends it, cut off after `most` bytes; empty at the end of the file.
    pub(super) fn line(&mut self, most: u64) -> Result<Vec<u8>> {
        let mut line = Vec::new();
        self.reader
            .by_ref()
            .take(most)
            .read_until(b'\n', &mut line)
            .map_err(|e| Error::io("read", e, &self.path))?;
        self.left = self.left.saturating_sub(line.len() as u64);
        Ok(line)
    }

    /// Goes to the next line; false at the end of the file.
    pub(super) fn skip_line(&mut self) -> Result<bool> {
        let skipped = self
            .reader
            .skip_until(b'\n')
            .map_err(|e| Error::io("read", e, &self.path))?;
        self.left = self.left.saturating_sub(skipped as u64);
        Ok(skipped > 0)
    }

    /// Where the samples are: in the file of this name, or here.
    pub(super) fn or_beside(self, name: Option<&str>) -> Result<Self> {
        match name {
            Some(name) => Self::of(&beside(&self.path, name)),
            None => Ok(self),
        }
    }

    /// Gzip by its first two bytes, otherwise `other`.
    pub(super) fn packing(&mut self, other: Packing) -> Result<Packing> {
        let start = self
            .reader
            .fill_buf()
            .map_err(|e| Error::io("read", e, &self.path))?;
        Ok(if start.starts_with(&GZIP_MAGIC) {
            Packing::Gzip
        } else {
            other
        })
    }

    pub(super) fn unpacked(self, packing: Packing) -> Source {
        let most = match packing {
            Packing::Plain => self.left,
            Packing::Gzip | Packing::Zlib => self.left.saturating_mul(DEFLATE_RATIO),
        };
        let reader: Box<dyn Read + Send> = match packing {
            Packing::Plain => Box::new(self.reader),
            Packing::Gzip => Box::new(MultiGzDecoder::new(self.reader)),
            Packing::Zlib => Box::new(ZlibDecoder::new(self.reader)),
        };
        Source {
            reader,
            position: 0,
            most,
            packing,
            path: self.path,
        }
    }
}

/// The file of a name that stands in another.
pub(super) fn beside(path: &Path, name: &str) -> PathBuf {
    // Joining an absolute name gives that name.
    path.with_file_name("").join(name)
}

pub(super) struct Source {
    reader: Box<dyn Read + Send>,
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
        let mut rest = Rest::of(path)?;
        let packing = rest.packing(Packing::Plain)?;
        Ok(rest.unpacked(packing))
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

    /// Hands the next `bytes` of `what` to `take`, part by part in order. Where they are packed and
    /// many, the next parts are unpacked meanwhile.
    pub(super) fn each_part(
        &mut self,
        bytes: u64,
        what: &str,
        mut take: impl FnMut(&[u8]) -> std::result::Result<(), String>,
    ) -> Result<()> {
        if self.packing == Packing::Plain || bytes < MANY {
            let mut part = Vec::new();
            let mut left = bytes;
            while left > 0 {
                left -= self.next_part(left, what, &mut part)?;
                take(&part).map_err(|message| self.error(message))?;
            }
            return Ok(());
        }
        let (full, filled) = mpsc::sync_channel::<Vec<u8>>(AHEAD);
        let (back, emptied) = mpsc::channel::<Vec<u8>>();
        let (unpacked, taken) = thread::scope(|scope| {
            let unpacking = scope.spawn(|| -> Result<()> {
                let (full, emptied) = (full, emptied);
                let mut left = bytes;
                while left > 0 {
                    let mut part = emptied.try_recv().unwrap_or_default();
                    left -= self.next_part(left, what, &mut part)?;
                    if full.send(part).is_err() {
                        // What was unpacked before has been refused.
                        break;
                    }
                }
                Ok(())
            });
            let mut taken = Ok(());
            for part in &filled {
                taken = take(&part);
                if taken.is_err() {
                    break;
                }
                // At the end nobody wants it back.
                let _ = back.send(part);
            }
            drop(filled);
            (unpacking.join(), taken)
        });
        taken.map_err(|message| self.error(message))?;
        unpacked.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    }

    /// Fills `part` with as many of the `left` bytes as it may have, and says how many.
    fn next_part(&mut self, left: u64, what: &str, part: &mut Vec<u8>) -> Result<u64> {
        let len = left.min(PART as u64);
        part.resize(len as usize, 0);
        self.fill(part, what)?;
        Ok(len)
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

    /// How many bytes there are by the file's length, without reading them; packed ones are likely
    /// to be so many at least that memory may be taken for them ahead.
    pub(super) fn likely(&self) -> u64 {
        match self.packing {
            Packing::Plain => self.most,
            Packing::Gzip | Packing::Zlib => self.most / DEFLATE_RATIO * USUAL_RATIO,
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
