//! A slice that several threads write at once, each at its own places.

use std::marker::PhantomData;

/// A mutable slice shared by threads that never touch the same element.
#[derive(Clone, Copy)]
pub(crate) struct Shared<'a> {
    start: *mut f32,
    len: usize,
    _slice: PhantomData<&'a mut [f32]>,
}

// SAFETY: it is a pointer into a slice borrowed for 'a; users of `at` promise disjoint elements.
unsafe impl Send for Shared<'_> {}
// SAFETY: as above.
unsafe impl Sync for Shared<'_> {}

impl<'a> Shared<'a> {
    pub(crate) fn new(slice: &'a mut [f32]) -> Self {
        Self {
            start: slice.as_mut_ptr(),
            len: slice.len(),
            _slice: PhantomData,
        }
    }

    /// A pointer to the `len` elements from `index`.
    ///
    /// # Safety
    ///
    /// No other thread may touch these elements while the pointer is used.
    #[inline(always)]
    pub(crate) unsafe fn at(self, index: usize, len: usize) -> *mut f32 {
        assert!(index + len <= self.len);
        // SAFETY: within the slice, just checked.
        unsafe { self.start.add(index) }
    }
}
