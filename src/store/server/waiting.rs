//! The lines in which blocked clients wait for keys.

use std::collections::{BTreeSet, HashMap};

use crate::store::pubsub::Slot;
use crate::store::small_bytes::SmallBytes;

/// Who waits for which key, and until when.
#[derive(Debug, Default)]
pub struct Waiting {
    /// The waiting clients of each key, first come first.
    pub lines: HashMap<(usize, SmallBytes), Vec<Slot>>,
    /// When waits end, in milliseconds since 1970.
    pub deadlines: BTreeSet<(u64, Slot)>,
    /// How many clients wait.
    pub clients: usize,
}

impl Waiting {
    /// When the first wait ends.
    pub fn next_deadline(&self) -> Option<u64> {
        self.deadlines.first().map(|(at, _)| *at)
    }
}
