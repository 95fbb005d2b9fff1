//! What clients have asked of the data while a script held it.

use std::collections::BTreeSet;

use crate::store::pubsub::ClientSlot;
use crate::store::small_bytes::SmallBytes;

/// When a client began to watch a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Since {
    /// The data had this version when the watch began.
    Version(u64),
    /// The watch began while a long script held the data.
    Busy,
    /// As [`Self::Busy`], but the script has ended and may have changed the key.
    Written,
}

/// Work that has to wait until a long script has ended.
#[derive(Debug, Default)]
pub struct Late {
    /// Clients that have begun to watch keys.
    pub watchers: BTreeSet<ClientSlot>,
    /// Keys that clients no longer watch.
    pub unwatched: Vec<(usize, SmallBytes)>,
}
