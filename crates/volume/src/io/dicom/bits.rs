//! Bits of entropy-coded JPEG and JPEG-LS data, the highest first.

use super::element::Told;

/// How many bits may be read past the end as zeros: encoders may leave out the last ones.
const GRACE: u32 = 64;

/// Which bits follow a byte of ones, so that no marker can arise.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stuffing {
    /// JPEG: a byte of zeros.
    Byte,
    /// JPEG-LS: one bit of zero.
    Bit,
}

pub(super) struct Bits<'a> {
    bytes: &'a [u8],
    at: usize,
    held: u64,
    count: u32,
    past: u32,
    stuffing: Stuffing,
    /// The last byte taken was all ones.
    ones: bool,
}

impl<'a> Bits<'a> {
    pub(super) fn new(bytes: &'a [u8], stuffing: Stuffing) -> Self {
        Self {
            bytes,
            at: 0,
            held: 0,
            count: 0,
            past: 0,
            stuffing,
            ones: false,
        }
    }

    /// Holds at least `n` bits, up to 32.
    fn fill(&mut self, n: u32) -> Told<()> {
        while self.count < n {
            let next = self.bytes.get(self.at).copied();
            let after = self.bytes.get(self.at + 1).copied();
            let marker = match self.stuffing {
                Stuffing::Byte => next == Some(0xff) && after != Some(0),
                Stuffing::Bit => next == Some(0xff) && after.is_none_or(|b| b >= 0x80),
            };
            let Some(byte) = next.filter(|_| !marker) else {
                self.past += 8;
                if self.past > GRACE {
                    return Err(
                        "expected more compressed samples, found their end; the file is truncated \
                         or damaged, so fetch it again"
                            .into(),
                    );
                }
                self.held <<= 8;
                self.count += 8;
                continue;
            };
            self.at += 1;
            let bits = match self.stuffing {
                Stuffing::Byte => {
                    if byte == 0xff {
                        self.at += 1;
                    }
                    8
                }
                Stuffing::Bit if self.ones => 7,
                Stuffing::Bit => 8,
            };
            self.ones = byte == 0xff;
            self.held = self.held << bits | u64::from(byte);
            self.count += bits;
        }
        Ok(())
    }

    /// The next `n` bits, up to 16, without passing them.
    pub(super) fn peek(&mut self, n: u32) -> Told<u32> {
        self.fill(n)?;
        Ok((self.held >> (self.count - n)) as u32 & ((1 << n) - 1))
    }

    /// Passes bits that were seen.
    pub(super) fn pass(&mut self, n: u32) {
        self.count -= n;
    }

    /// The next `n` bits, up to 24.
    pub(super) fn take(&mut self, n: u32) -> Told<u32> {
        self.fill(n)?;
        self.count -= n;
        Ok((self.held >> self.count) as u32 & ((1 << n) - 1))
    }

    /// Goes past the next restart marker, at the beginning of a byte.
    pub(super) fn restart(&mut self) -> Told<()> {
        (self.held, self.count, self.past, self.ones) = (0, 0, 0, false);
        // Bytes are taken one at a time, so that no marker has been passed.
        while let Some(&[a, b]) = self
            .bytes
            .get(self.at..)
            .and_then(|rest| rest.first_chunk())
        {
            self.at += 1;
            if a == 0xff && matches!(b, 0xd0..=0xd7) {
                self.at += 1;
                return Ok(());
            }
        }
        Err("expected a restart marker, found none; the file is damaged, so fetch it again".into())
    }
}
