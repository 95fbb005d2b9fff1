//! What clients have asked of the data while a script had it.

use std::collections::BTreeSet;

use crate::store::pubsub::Slot;
use crate::store::small_bytes::SmallBytes;

/// Since when a client watches a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Since {
    /// Since the data had this version.
    Version(u64),
    /// Since a script that takes long has the data.
    Busy,
    /// As [`Self::Busy`]; the script is through, and has written nobody knows what since.
    Written,
}

/// What is to be done when a script that takes long is through.
#[derive(Debug, Default)]
pub struct Late {
    /// Clients that have begun to watch keys.
    pub watchers: BTreeSet<Slot>,
    /// Keys that clients watch no longer.
    pub unwatched: Vec<(usize, SmallBytes)>,
}
