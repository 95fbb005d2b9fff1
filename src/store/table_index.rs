//! Finds a name among those of a table, in any case and in constant time.

use std::sync::OnceLock;

/// Twice as many slots as names and more, a power of two.
const SLOTS: usize = 1024;

/// An index over the names of a table, built when it is first used.
pub struct Index {
    slots: OnceLock<Vec<(u16, &'static str)>>,
}

impl Index {
    /// An index that has yet to be built.
    pub const fn new() -> Self {
        Self { slots: OnceLock::new() }
    }

    /// The place of a name among `names`.
    pub fn find<I: Iterator<Item = &'static str>>(&self, name: &[u8], names: impl Fn() -> I) -> Option<usize> {
        let slots = self.slots.get_or_init(|| build(names()));
        let mut slot = hash(name);
        loop {
            let (number, known) = slots[slot];
            if number == u16::MAX {
                return None;
            }
            if known.as_bytes().eq_ignore_ascii_case(name) {
                return Some(usize::from(number));
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
