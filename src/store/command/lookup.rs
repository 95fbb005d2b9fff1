//! A table of commands in which a name is found in constant time, ignoring case.

use std::sync::OnceLock;

use super::spec::Command;

/// A power of two, at least twice the number of names.
const SLOTS: usize = 1024;

/// Commands by name, with an index that is built on first use.
pub struct CommandTable<R: 'static> {
    /// One row per command.
    pub rows: &'static [Command<R>],
    index: OnceLock<Vec<(u16, &'static str)>>,
}

impl<R> CommandTable<R> {
    /// Creates a table of these rows.
    pub const fn new(rows: &'static [Command<R>]) -> Self {
        Self { rows, index: OnceLock::new() }
    }

    /// The position of a row, which must belong to this table.
    pub fn place(&self, row: &'static Command<R>) -> usize {
        let distance = std::ptr::from_ref(row).addr() - self.rows.as_ptr().addr();
        distance / size_of::<Command<R>>()
    }

    /// Finds the row with this name, ignoring case.
    pub fn find(&self, name: &[u8]) -> Option<&'static Command<R>> {
        let index = self.index.get_or_init(|| build(self.rows.iter().map(|row| row.spec.name)));
        let mut slot = hash(name);
        loop {
            let (number, known) = index[slot];
            if number == u16::MAX {
                return None;
            }
            if known.as_bytes().eq_ignore_ascii_case(name) {
                return self.rows.get(usize::from(number));
            }
            slot = (slot + 1) % SLOTS;
        }
    }
}

fn build(names: impl Iterator<Item = &'static str>) -> Vec<(u16, &'static str)> {
    let mut slots = vec![(u16::MAX, ""); SLOTS];
    for (number, name) in names.take(SLOTS / 2).enumerate() {
        let mut slot = hash(name.as_bytes());
        while slots[slot].0 != u16::MAX {
            slot = (slot + 1) % SLOTS;
        }
        slots[slot] = (number as u16, name);
    }
    slots
}

fn hash(name: &[u8]) -> usize {
    let fold = |hash: u32, byte: &u8| (hash ^ u32::from(byte | 0x20)).wrapping_mul(0x0100_0193);
    let hash = name.iter().take(32).fold(0x811c_9dc5, fold);
    (hash ^ hash >> 15) as usize % SLOTS
}
