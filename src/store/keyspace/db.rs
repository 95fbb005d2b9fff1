//! One database: keys with their values, when they expire, and who watches them.

use std::collections::BTreeSet;

use indexmap::IndexMap;

use super::watchers::Watchers;
use crate::store::eviction::Usage;
use crate::store::small_bytes::SmallBytes;
use crate::store::value::Value;

/// What a slot in the table of keys takes: the entry, its hash, and its share of the index.
pub const SLOT: usize = 88;

/// A value and when it ends.
#[derive(Debug)]
pub struct Item {
    /// The value.
    pub value: Value,
    /// Milliseconds since 1970; 0 is never.
    pub expires: u64,
    /// Equal to the snapshot's epoch if the running rewrite has begun to save the key or need not.
    pub epoch: u32,
    /// How it was used.
    pub usage: Usage,
}

/// One database.
#[derive(Debug, Default)]
pub struct Db {
    /// Keys with their values.
    pub items: IndexMap<SmallBytes, Item>,
    /// The keys that expire, by when.
    pub expiring: BTreeSet<(u64, SmallBytes)>,
    /// Who is told of changes.
    pub watchers: Watchers,
}
