//! Working memory that is kept between calls.
//!
//! A training step asks for the same few buffers over and over; fresh pages cost a fault each, so
//! a buffer that is dropped goes to a pool and is handed out again.

use crate::threads::CHECKED;
use std::ops::{Deref, DerefMut};
use std::sync::{Mutex, PoisonError};

/// Buffers kept at most; the smallest go first.
const KEPT: usize = 24;

static POOL: Mutex<Vec<Vec<f32>>> = Mutex::new(Vec::new());

/// Elements of a cache line: a vector that crosses two is read at half the speed.
const LINE: usize = 16;

/// A borrowed buffer of unspecified but initialised content, beginning at a cache line.
pub(crate) struct Scratch {
    buffer: Vec<f32>,
    start: usize,
    len: usize,
}

impl Scratch {
    /// A buffer of `len` elements: the smallest kept one that is large enough, else a new one.
    pub(crate) fn take(len: usize) -> Self {
        if CHECKED {
            // No longer than asked, and not a number where nothing is written.
            let buffer = vec![f32::NAN; len];
            return Self {
                buffer,
                start: 0,
                len,
            };
        }
        let room = len + LINE;
        let mut pool = POOL.lock().unwrap_or_else(PoisonError::into_inner);
        // The pool is sorted by length.
        let at = pool.partition_point(|b| b.len() < room);
        let kept = if at < pool.len() {
            Some(pool.remove(at))
        } else {
            None
        };
        drop(pool);
        let buffer = kept.unwrap_or_else(|| vec![0.0; room]);
        let start = buffer.as_ptr().align_offset(4 * LINE);
        Self { buffer, start, len }
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if CHECKED {
            return;
        }
        let buffer = std::mem::take(&mut self.buffer);
        let mut pool = POOL.lock().unwrap_or_else(PoisonError::into_inner);
        let at = pool.partition_point(|b| b.len() < buffer.len());
        pool.insert(at, buffer);
        if pool.len() > KEPT {
            pool.remove(0);
        }
    }
}

impl Deref for Scratch {
    type Target = [f32];
    fn deref(&self) -> &[f32] {
        &self.buffer[self.start..][..self.len]
    }
}

impl DerefMut for Scratch {
    fn deref_mut(&mut self) -> &mut [f32] {
        &mut self.buffer[self.start..][..self.len]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_buffer_is_as_long_as_asked_and_comes_back() {
        let mut first = Scratch::take(777_777);
        assert_eq!(first.len(), 777_777);
        assert_eq!(first.as_ptr() as usize % 64, 0);
        first[777_776] = 3.0;
        let place = first.as_ptr();
        drop(first);
        let again = Scratch::take(777_700);
        assert_eq!(again.len(), 777_700);
        assert_eq!(again.as_ptr(), place, "the kept buffer is handed out again");
    }
}
