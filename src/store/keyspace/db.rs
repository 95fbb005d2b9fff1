//! One database: keys with their values, when they expire, and who watches them.

use std::collections::BTreeSet;

use indexmap::IndexMap;

use super::watchers::Watchers;
use crate::store::eviction::Usage;
use crate::store::small_bytes::SmallBytes;
use crate::store::value::Value;

/// The bytes that a slot in the table of keys takes: the entry, its hash, and its share of the index.
pub const SLOT: usize = 88;

/// A value with its expiry and its usage.
#[derive(Debug)]
pub struct Item {
    /// The value.
    pub value: Value,
    /// When it expires, in milliseconds since 1970; 0 means never.
    pub expires: u64,
    /// Equal to the snapshot's epoch if the running rewrite has begun to save the key, or need not save it.
    pub epoch: u32,
    /// When or how often it was used, depending on the eviction policy.
    pub usage: Usage,
}

/// One database.
#[derive(Debug, Default)]
pub struct Db {
    /// Keys with their values.
    pub items: IndexMap<SmallBytes, Item>,
    /// The keys that expire, in order of their expiry.
    pub expiring: BTreeSet<(u64, SmallBytes)>,
    /// The keys that are watched or waited for.
    pub watchers: Watchers,
}
