//! A hash: fields with values.

use indexmap::IndexMap;

use crate::store::small_bytes::SmallBytes;
use crate::store::undo::Recorder;

/// Fields with values, in the order of their first insertion until one is removed.
#[derive(Debug, Default, Clone)]
pub struct Hash {
    fields: IndexMap<SmallBytes, SmallBytes>,
    heap: usize,
    outgrown: bool,
    /// Records how to undo its changes.
    pub changes: Recorder<HashChange>,
}

/// A step that undoes a change to a hash.
#[derive(Debug)]
pub enum HashChange {
    /// Removes the last field. The flag says whether the hash had outgrown its compact form.
    Pop(bool),
    /// Restores the value of the field at a position. The flag says whether the hash had outgrown its compact form.
    Set(usize, SmallBytes, bool),
    /// Puts a field back at its position. The field there moves to the end or, in a compact hash, to the next position.
    PutBack(usize, Box<(SmallBytes, SmallBytes)>),
}

impl Hash {
    /// The number of fields.
    pub fn len(&self) -> usize {
        self.fields.len()
    }

    /// The value of a field.
    pub fn get(&self, field: &[u8]) -> Option<&[u8]> {
        self.fields.get(field).map(|value| &**value)
    }

    /// The field at a position. Positions stay the same as long as nothing is removed.
    pub fn at(&self, position: usize) -> Option<(&[u8], &[u8])> {
        self.fields.get_index(position).map(|(field, value)| (&**field, &**value))
    }

    /// All fields with their values.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&[u8], &[u8])> {
        self.fields.iter().map(|(field, value)| (&**field, &**value))
    }

    /// Sets a field; returns whether it is new.
    pub fn insert(&mut self, field: &[u8], value: &[u8]) -> bool {
        let value = SmallBytes::new(value);
        let had_outgrown = self.outgrown;
        self.heap += value.heap_size();
        self.outgrown |= value.len() > 64 || field.len() > 64;
        if let Some((at, _, slot)) = self.fields.get_full_mut(field) {
            self.heap -= slot.heap_size();
            let old = std::mem::replace(slot, value);
            let held = old.heap_size();
            self.changes.note(|| (HashChange::Set(at, old, had_outgrown), held));
            return false;
        }
        let field = SmallBytes::new(field);
        self.heap += field.heap_size();
        self.fields.insert(field, value);
        self.outgrown |= self.fields.len() > 512;
        self.changes.note(|| (HashChange::Pop(had_outgrown), 0));
        true
    }

    /// Removes a field; returns whether it was there. A compact hash keeps its order.
    pub fn remove(&mut self, field: &[u8]) -> bool {
        let Some(at) = self.fields.get_index_of(field) else { return false };
        let removed =
            if self.outgrown { self.fields.swap_remove_index(at) } else { self.fields.shift_remove_index(at) };
        if let Some(removed) = removed {
            let freed = removed.0.heap_size() + removed.1.heap_size();
            self.heap -= freed;
            self.changes.note(|| (HashChange::PutBack(at, Box::new(removed)), freed + 64));
        }
        true
    }

    /// Undoes the last change.
    pub fn undo(&mut self, change: HashChange) {
        match change {
            HashChange::Pop(outgrown) => {
                if let Some((field, value)) = self.fields.pop() {
                    self.heap -= field.heap_size() + value.heap_size();
                }
                self.outgrown = outgrown;
            }
            HashChange::Set(at, old, outgrown) => {
                if let Some((_, slot)) = self.fields.get_index_mut(at) {
                    self.heap = self.heap + old.heap_size() - slot.heap_size();
                    *slot = old;
                }
                self.outgrown = outgrown;
            }
            HashChange::PutBack(at, removed) => {
                let (field, value) = *removed;
                self.heap += field.heap_size() + value.heap_size();
                if self.outgrown {
                    let (last, _) = self.fields.insert_full(field, value);
                    self.fields.swap_indices(at, last);
                } else {
                    self.fields.shift_insert(at, field, value);
                }
            }
        }
    }

    /// Whether Redis would keep the hash in one block, which a single `HSCAN` call returns completely.
    pub fn is_compact(&self) -> bool {
        !self.outgrown
    }

    /// An estimate of the memory that the hash takes, in bytes.
    pub fn footprint(&self) -> usize {
        120 + self.fields.len() * 70 + self.heap
    }
}
