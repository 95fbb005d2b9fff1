//! What a script has changed in what is remembered and told, so that it can be undone.

use std::collections::BTreeSet;

use indexmap::IndexMap;

use crate::store::small_bytes::SmallBytes;

/// See the module's text.
#[derive(Debug, Default)]
pub struct Noted {
    /// Whether one runs.
    pub on: bool,
    /// How much there was to tell before it, and how many bytes that was.
    pub notices: usize,
    /// See `notices`.
    pub told: usize,
    /// The keys that it has stirred: prefix, key, and the client that had changed it before, if it was stirred
    /// then.
    pub stirred: Vec<(SmallBytes, SmallBytes, Option<Option<u64>>)>,
    /// What was remembered when it emptied a database.
    pub readers: Option<IndexMap<SmallBytes, BTreeSet<u64>>>,
}

impl Noted {
    /// Notes that it has stirred a key.
    pub fn note_stirred(&mut self, prefix: &[u8], key: &[u8], before: Option<Option<u64>>) {
        if self.on {
            self.stirred.push((SmallBytes::new(prefix), SmallBytes::new(key), before));
        }
    }

    /// Keeps what is remembered, which is about to be forgotten.
    pub fn keep_readers(&mut self, readers: IndexMap<SmallBytes, BTreeSet<u64>>) {
        if self.on {
            self.readers.get_or_insert(readers);
        }
    }
}
