//! Memory of large buffers that is used again instead of being returned to the system.
//!
//! A training step allocates the same feature maps and gradients as the one before. The system's
//! allocator gives blocks of megabytes back at once and takes them anew, page by page, each page
//! cleared on first touch; that can cost a sixth of a step. As a program's global allocator a
//! [`Recycler`] keeps freed large blocks for the next request of their size:
//!
//! ```
//! #[global_allocator]
//! static MEMORY: crossmod_kernels::Recycler = crossmod_kernels::Recycler::new();
//! # let once = vec![1.0f32; 1 << 20];
//! # drop(once);
//! # assert!(vec![0.0f32; 1 << 20].iter().all(|v| *v == 0.0));
//! ```
//!
//! What is kept and what is in use together are never more than was in use at once before, so that
//! the program's peak stays what it would be without.

use std::alloc::{GlobalAlloc, Layout, System};
use std::ptr;
use std::sync::{Mutex, PoisonError};

/// Smaller blocks are the system's: it keeps those itself.
const LEAST: usize = 1 << LEAST_BITS;
const LEAST_BITS: u32 = 20;

/// Sizes between a power of two and the next; a block is at most an eighth larger than asked for.
const STEPS: usize = 8;

/// Sizes up to 2⁴⁸ bytes.
const CLASSES: usize = (48 - LEAST_BITS as usize) * STEPS;

/// Alignments up to this are those that the system gives to all blocks, and clears lazily.
const ALIGN: usize = 16;

/// An allocator that keeps freed large blocks; everything else it hands on to [`System`].
#[derive(Debug)]
pub struct Recycler {
    kept: Mutex<Kept>,
}

/// Blocks waiting to be used again, and what is known of the others.
#[derive(Debug)]
struct Kept {
    /// Address of the first kept block of each class, 0 where there is none; each begins with the
    /// address of the next.
    first: [usize; CLASSES],
    /// Bytes kept.
    kept: usize,
    /// Bytes of large blocks in use, now and at most.
    used: usize,
    most: usize,
}

/// The class of a large block, and its bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Class {
    index: usize,
    bytes: usize,
}

impl Class {
    /// None for blocks that are not recycled.
    fn of(layout: Layout) -> Option<Self> {
        let size = layout.size();
        if size < LEAST || layout.align() > ALIGN {
            return None;
        }
        let octave = size.ilog2();
        let step = 1usize << (octave - STEPS.ilog2());
        let steps = size.div_ceil(step);
        // A size just below a power of two rounds up to it, the first of the next octave.
        let index = (octave - LEAST_BITS) as usize * STEPS + steps - STEPS;
        (index < CLASSES).then(|| Self {
            index,
            bytes: steps * step,
        })
    }

    fn layout(self) -> Layout {
        // SAFETY: `ALIGN` is a power of two, and a class has at most 2⁴⁸ bytes.
        unsafe { Layout::from_size_align_unchecked(self.bytes, ALIGN) }
    }
}

impl Default for Recycler {
    fn default() -> Self {
        Self::new()
    }
}

impl Recycler {
    /// One that keeps nothing yet.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            kept: Mutex::new(Kept {
                first: [0; CLASSES],
                kept: 0,
                used: 0,
                most: 0,
            }),
        }
    }

    fn with<T>(&self, of: impl FnOnce(&mut Kept) -> T) -> T {
        of(&mut self.kept.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// A kept block of the class, now in use, or null where there is none; then one may be taken
    /// from the system.
    fn take(&self, class: Class) -> *mut u8 {
        self.with(|kept| {
            kept.used += class.bytes;
            kept.most = kept.most.max(kept.used);
            let block = kept.pop(class);
            if block.is_null() {
                kept.release(kept.most - kept.used);
            }
            block
        })
    }

    /// The system had no block after all.
    fn undo(&self, class: Class) {
        self.with(|kept| kept.used -= class.bytes);
    }
}

impl Kept {
    fn pop(&mut self, class: Class) -> *mut u8 {
        let block = ptr::with_exposed_provenance_mut::<usize>(self.first[class.index]);
        if !block.is_null() {
            // SAFETY: the block was put here by `push`, which wrote the next one's address to its
            // beginning, and nobody else has it.
            self.first[class.index] = unsafe { block.read() };
            self.kept -= class.bytes;
        }
        block.cast()
    }

    /// # Safety
    /// The block is one of the class from [`System`], and nobody uses it any more.
    unsafe fn push(&mut self, block: *mut u8, class: Class) {
        let block = block.cast::<usize>();
        // SAFETY: a block has a megabyte or more and an address is aligned as it is.
        unsafe { block.write(self.first[class.index]) };
        self.first[class.index] = block.expose_provenance();
        self.kept += class.bytes;
    }

    /// Returns blocks to the system, the largest first, until at most `limit` bytes are kept.
    fn release(&mut self, limit: usize) {
        for index in (0..CLASSES).rev() {
            while self.kept > limit && self.first[index] != 0 {
                let octave = index / STEPS;
                let bytes = (index % STEPS + STEPS) << (octave + LEAST_BITS as usize - 3);
                let class = Class { index, bytes };
                let block = self.pop(class);
                // SAFETY: it came from the system with this layout, see `push`.
                unsafe { System.dealloc(block, class.layout()) };
            }
        }
    }
}

// SAFETY: blocks come from `System` with the layout of their class, which the size that is asked for
// decides alone and which is as large and aligned; a block is in use by one caller, or kept.
unsafe impl GlobalAlloc for Recycler {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let Some(class) = Class::of(layout) else {
            // SAFETY: as the caller promises.
            return unsafe { System.alloc(layout) };
        };
        let mut block = self.take(class);
        if block.is_null() {
            // SAFETY: a class has bytes.
            block = unsafe { System.alloc(class.layout()) };
            if block.is_null() {
                self.undo(class);
            }
        }
        block
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        let Some(class) = Class::of(layout) else {
            // SAFETY: as the caller promises.
            return unsafe { System.alloc_zeroed(layout) };
        };
        let mut block = self.take(class);
        if block.is_null() {
            // SAFETY: a class has bytes.
            block = unsafe { System.alloc_zeroed(class.layout()) };
            if block.is_null() {
                self.undo(class);
            }
        } else {
            // SAFETY: the block is at least as large.
            unsafe { block.write_bytes(0, layout.size()) };
        }
        block
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        match Class::of(layout) {
            // SAFETY: it was allocated here by this layout, so it is of its class.
            Some(class) => self.with(|kept| {
                kept.used -= class.bytes;
                unsafe { kept.push(block, class) };
            }),
            // SAFETY: as the caller promises.
            None => unsafe { System.dealloc(block, layout) },
        }
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // SAFETY: the caller promises a size that is one of a layout.
        let new = unsafe { Layout::from_size_align_unchecked(size, layout.align()) };
        match (Class::of(layout), Class::of(new)) {
            // SAFETY: as the caller promises.
            (None, None) => unsafe { System.realloc(block, layout, size) },
            (Some(old), Some(new)) if old == new => block,
            // SAFETY: both blocks are at least as large as what is copied, and apart.
            _ => unsafe {
                let grown = self.alloc(new);
                if !grown.is_null() {
                    ptr::copy_nonoverlapping(block, grown, size.min(layout.size()));
                    self.dealloc(block, layout);
                }
                grown
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: usize = 1 << 20;

    fn layout(size: usize) -> Layout {
        Layout::from_size_align(size, 4).expect("a layout")
    }

    /// Every class is as large as asked for, at most an eighth larger, and known again by its own
    /// size and index.
    #[test]
    fn classes_hold_what_is_asked_for() {
        let mut last = None;
        for size in (0..5000)
            .map(|i| MIB + i * 7919)
            .chain([8 * MIB - 1, 8 * MIB, 8 * MIB + 1])
        {
            let class = Class::of(layout(size)).expect("large");
            assert!(
                class.bytes >= size && class.bytes <= size + size / 8,
                "{size}: {class:?}"
            );
            assert_eq!(Class::of(class.layout()), Some(class));
            let octave = class.index / STEPS;
            assert_eq!(class.bytes, (class.index % STEPS + STEPS) << (octave + 17));
            if size < 8 * MIB - 1 {
                assert!(last.is_none_or(|last: Class| last.index <= class.index));
                last = Some(class);
            }
        }
        assert_eq!(Class::of(layout(MIB - 1)), None);
        let aligned = Layout::from_size_align(MIB, 64).expect("a layout");
        assert_eq!(Class::of(aligned), None);
    }

    #[test]
    fn freed_blocks_come_back_cleared_where_asked() {
        let memory = Recycler::new();
        let asked = layout(3 * MIB);
        // SAFETY: blocks are written within their layouts and freed once by them.
        unsafe {
            let one = memory.alloc(asked);
            one.write_bytes(7, asked.size());
            memory.dealloc(one, asked);
            // A little smaller, of the same class.
            let less = layout(3 * MIB - 100);
            let two = memory.alloc_zeroed(less);
            assert_eq!(one, two);
            let values = std::slice::from_raw_parts(two, less.size());
            assert!(values.iter().all(|v| *v == 0));
            let three = memory.alloc(asked);
            assert_ne!(two, three);
            memory.dealloc(two, less);
            memory.dealloc(three, asked);
        }
        memory.with(|kept| {
            assert_eq!((kept.used, kept.kept, kept.most), (0, 6 * MIB, 6 * MIB));
            kept.release(0);
            assert_eq!(kept.kept, 0);
        });
    }

    /// Two blocks of one megabyte, then one of three: all that was kept is given back, as three were
    /// never in use beside two.
    #[test]
    fn no_more_is_held_than_was_in_use() {
        let memory = Recycler::new();
        // SAFETY: as above.
        unsafe {
            let small = [(); 2].map(|()| memory.alloc(layout(MIB)));
            for block in small {
                memory.dealloc(block, layout(MIB));
            }
            memory.with(|kept| assert_eq!((kept.kept, kept.most), (2 * MIB, 2 * MIB)));
            let large = memory.alloc(layout(3 * MIB));
            memory.with(|kept| assert_eq!((kept.kept, kept.most), (0, 3 * MIB)));
            memory.dealloc(large, layout(3 * MIB));
            // Beside what is kept there is no room for another megabyte.
            let other = memory.alloc(layout(MIB));
            memory.with(|kept| assert_eq!((kept.used, kept.kept), (MIB, 0)));
            memory.dealloc(other, layout(MIB));
            memory.with(|kept| kept.release(0));
        }
    }

    #[test]
    fn growing_keeps_the_values() {
        let memory = Recycler::new();
        // SAFETY: as above.
        unsafe {
            let mut size = 1000;
            let mut block = memory.alloc(layout(size));
            block.write_bytes(1, size);
            for larger in [2000, MIB + 5, MIB + 9, 5 * MIB, 3 * MIB, 500] {
                block = memory.realloc(block, layout(size), larger);
                size = larger;
                assert!(
                    std::slice::from_raw_parts(block, 500)
                        .iter()
                        .all(|v| *v == 1)
                );
            }
            memory.dealloc(block, layout(size));
        }
        memory.with(|kept| {
            assert_eq!(kept.used, 0);
            kept.release(0);
        });
    }
}
