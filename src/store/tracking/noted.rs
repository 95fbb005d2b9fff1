//! What a script has changed in the tracking state, so that it can be undone.

use std::collections::BTreeSet;

use indexmap::IndexMap;

use crate::store::small_bytes::SmallBytes;

/// The changes that the running script has made to the tracking state.
#[derive(Debug, Default)]
pub struct Noted {
    /// Whether a script is running.
    pub on: bool,
    /// How many notices there were before the script.
    pub notices: usize,
    /// How many bytes of notices there were before the script.
    pub told: usize,
    /// The keys that it changed under a prefix: the prefix, the key, and the client recorded for the key before, if
    /// there was a record.
    pub stirred: Vec<(SmallBytes, SmallBytes, Option<Option<u64>>)>,
    /// The readers that were remembered when it first flushed a database.
    pub readers: Option<IndexMap<SmallBytes, BTreeSet<u64>>>,
}

impl Noted {
    /// Records that the script changed a key under a prefix.
    pub fn note_stirred(&mut self, prefix: &[u8], key: &[u8], before: Option<Option<u64>>) {
        if self.on {
            self.stirred.push((SmallBytes::new(prefix), SmallBytes::new(key), before));
        }
    }

    /// Keeps the remembered readers, which are about to be forgotten.
    pub fn keep_readers(&mut self, readers: IndexMap<SmallBytes, BTreeSet<u64>>) {
        if self.on {
            self.readers.get_or_insert(readers);
        }
    }
}
