//! A value under change, and the count of memory that goes with it.

use std::ops::{Deref, DerefMut};

/// A value under change; when it is dropped, the memory count is right again.
pub struct Edit<'a, T> {
    used: &'a mut usize,
    value: &'a mut T,
    footprint: fn(&T) -> usize,
}

impl<'a, T> Edit<'a, T> {
    pub(super) fn new(used: &'a mut usize, value: &'a mut T, footprint: fn(&T) -> usize) -> Self {
        *used -= footprint(value);
        Self { used, value, footprint }
    }
}

impl<T> Drop for Edit<'_, T> {
    fn drop(&mut self) {
        *self.used += (self.footprint)(self.value);
    }
}

impl<T> Deref for Edit<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        self.value
    }
}

impl<T> DerefMut for Edit<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        self.value
    }
}
