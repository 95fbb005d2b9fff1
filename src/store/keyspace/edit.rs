//! Changing a value while keeping the memory count correct.

use std::ops::{Deref, DerefMut};

use super::undo::{KeyPosition, Undo};
use crate::store::value::{Collection, Value};

/// A value that is being changed; dropping the edit updates the memory count.
pub struct Edit<'a, T> {
    used: &'a mut usize,
    value: &'a mut T,
    footprint: fn(&T) -> usize,
    noted: Option<Noted<'a, T>>,
}

/// What is needed at the end to pass the value's recorded changes on to the undo log.
struct Noted<'a, T> {
    undo: &'a mut Undo,
    position: KeyPosition,
    before: usize,
    end: fn(&mut T, &mut Undo, KeyPosition, usize),
}

impl<'a> Edit<'a, Value> {
    /// Starts to change a string. The caller records how to undo that.
    pub(super) fn string(used: &'a mut usize, value: &'a mut Value) -> Self {
        *used -= value.footprint();
        Self { used, value, footprint: Value::footprint, noted: None }
    }
}

impl<'a, T: Collection> Edit<'a, T> {
    /// Starts to change a collection; its changes are recorded if `undo` is given.
    pub(super) fn collection(
        used: &'a mut usize,
        value: &'a mut T,
        undo: Option<&'a mut Undo>,
        position: KeyPosition,
    ) -> Self {
        *used -= T::footprint(value);
        let noted = undo.map(|undo| {
            let before = value.start_noting(&mut undo.logs);
            Noted { undo, position, before, end: end::<T> }
        });
        Self { used, value, footprint: T::footprint, noted }
    }
}

fn end<T: Collection>(value: &mut T, undo: &mut Undo, position: KeyPosition, before: usize) {
    let count = value.stop_noting(&mut undo.logs) - before;
    undo.note_changes(position, T::KIND, count);
}

impl<T> Drop for Edit<'_, T> {
    fn drop(&mut self) {
        if let Some(Noted { undo, position, before, end }) = &mut self.noted {
            end(self.value, undo, *position, *before);
        }
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
