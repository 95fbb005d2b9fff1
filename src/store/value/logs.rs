//! The recorded changes of collections, by type.

use super::hash::HashChange;
use super::list::ListChange;
use super::set::SetChange;
use crate::store::stream::StreamChange;
use crate::store::undo::Changes;
use crate::store::zset::ZsetChange;

/// The type of a collection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CollectionKind {
    /// A list.
    List,
    /// A hash.
    Hash,
    /// A set.
    Set,
    /// A sorted set.
    Zset,
    /// A stream.
    Stream,
}

/// The recorded changes of all collections, by type, the last change at the end. A collection holds the changes of
/// its type while it is being changed.
#[derive(Debug, Default)]
pub struct Logs {
    /// The changes of lists.
    pub list: Option<Box<Changes<ListChange>>>,
    /// The changes of hashes.
    pub hash: Option<Box<Changes<HashChange>>>,
    /// The changes of sets.
    pub set: Option<Box<Changes<SetChange>>>,
    /// The changes of sorted sets.
    pub zset: Option<Box<Changes<ZsetChange>>>,
    /// The changes of streams.
    pub stream: Option<Box<Changes<StreamChange>>>,
}

/// The largest capacity, in changes, that is kept for reuse.
const KEPT: usize = 64;

fn clear<C>(changes: &mut Option<Box<Changes<C>>>) {
    match changes {
        Some(changes) if changes.list.capacity() <= KEPT => {
            changes.list.clear();
            changes.bytes = 0;
        }
        changes => *changes = None,
    }
}

impl Logs {
    /// Forgets all changes.
    pub fn clear(&mut self) {
        clear(&mut self.list);
        clear(&mut self.hash);
        clear(&mut self.set);
        clear(&mut self.zset);
        clear(&mut self.stream);
    }

    /// About how many bytes the changes take.
    pub fn size(&self) -> usize {
        let Self { list, hash, set, zset, stream } = self;
        list.as_ref().map_or(0, |changes| changes.size())
            + hash.as_ref().map_or(0, |changes| changes.size())
            + set.as_ref().map_or(0, |changes| changes.size())
            + zset.as_ref().map_or(0, |changes| changes.size())
            + stream.as_ref().map_or(0, |changes| changes.size())
    }
}
