//! Evicting a key because memory is short.
//!
//! As in Redis, some keys are drawn at random, and the policy picks the one to evict. The keys of the presence
//! count are never evicted: neither those with the reserved prefix nor the totals that belong to them.

use super::Keyspace;
use crate::store::eviction::{Choice, Policy, Usage};
use crate::store::keyspace_events::Classes;
use crate::store::small_bytes::SmallBytes;

/// How many candidates are drawn for each eviction.
const DRAWN: usize = 10;
/// The most attempts to draw a candidate; if few keys expire, most attempts fail.
const DRAWS: usize = 128;

/// Evicts one key; returns whether there was one.
pub fn evict_one(keys: &mut Keyspace, reserved: Option<&[u8]>) -> bool {
    let Some((db, key)) = candidate(keys, reserved) else { return false };
    let Some(index) = keys.dbs[db].items.get_index_of(&key) else { return false };
    let value = keys.take(db, index);
    keys.trash.throw(value);
    keys.touch(db, &key);
    keys.events.note(Classes::EVICTED, "evicted", db, &key);
    keys.evicted += 1;
    keys.journal.record_expiry(db, &key);
    true
}

/// Sets the usage of a key in the selected database.
pub fn set_usage(keys: &mut Keyspace, key: &[u8], usage: Usage) {
    if let Some(item) = keys.dbs[keys.selected].items.get_mut(key) {
        item.usage = usage;
    }
}

/// Marks the keys that were read from the log as used now, because the log does not say when they were used.
pub fn begin_usage(keys: &mut Keyspace) {
    let new = Usage::new(keys.policy, keys.now);
    let items = keys.dbs.iter_mut().flat_map(|db| db.items.values_mut());
    items.filter(|item| item.usage == Usage::default()).for_each(|item| item.usage = new);
}

fn candidate(keys: &Keyspace, reserved: Option<&[u8]>) -> Option<(usize, SmallBytes)> {
    let (volatile, choice) = match keys.policy {
        Policy::NoEviction => return None,
        Policy::AllKeys(choice) => (false, choice),
        Policy::Volatile(choice) => (true, choice),
    };
    let mut drawn: Vec<(u64, usize, &SmallBytes)> = Vec::with_capacity(DRAWN);
    let all: usize = keys.dbs.iter().map(|db| db.items.len()).sum();
    for _ in 0..if choice == Choice::Ttl { 0 } else { DRAWS.min(all * 4) } {
        if let Some((db, key)) = draw(keys, all, volatile, reserved) {
            drawn.push((worth(keys, db, key, choice), db, key));
        }
        if drawn.len() == DRAWN || choice == Choice::Random && !drawn.is_empty() {
            break;
        }
    }
    if drawn.is_empty() {
        // No candidate was drawn, or the policy evicts the keys that expire first.
        drawn.extend(first_to_end(keys, volatile, reserved).map(|(db, key)| (0, db, key)));
    }
    drawn.into_iter().min_by_key(|(worth, ..)| *worth).map(|(_, db, key)| (db, key.clone()))
}

/// Draws a random key; `None` if it must not be evicted.
fn draw<'a>(
    keys: &'a Keyspace,
    all: usize,
    volatile: bool,
    reserved: Option<&[u8]>,
) -> Option<(usize, &'a SmallBytes)> {
    let mut nth = fastrand::usize(..all.max(1));
    for (number, db) in keys.dbs.iter().enumerate() {
        if nth < db.items.len() {
            let (key, item) = db.items.get_index(nth)?;
            let fits = (!volatile || item.expires != 0) && !is_kept(keys, number, key, reserved);
            return fits.then_some((number, key));
        }
        nth -= db.items.len();
    }
    None
}

/// The first key to expire that may be evicted or, unless `volatile` is set, any key that may be evicted.
fn first_to_end<'a>(keys: &'a Keyspace, volatile: bool, reserved: Option<&[u8]>) -> Option<(usize, &'a SmallBytes)> {
    let dbs = keys.dbs.iter().enumerate();
    if !volatile {
        let all = dbs.flat_map(|(number, db)| db.items.keys().take(DRAWS).map(move |key| (number, key)));
        return all.into_iter().find(|(number, key)| !is_kept(keys, *number, key, reserved));
    }
    let first = dbs.filter_map(|(number, db)| {
        let mut ends = db.expiring.iter().take(DRAWS);
        ends.find(|(_, key)| !is_kept(keys, number, key, reserved)).map(|(at, key)| (*at, number, key))
    });
    first.min_by_key(|(at, ..)| *at).map(|(_, number, key)| (number, key))
}

/// How much a key is worth; the key with the lowest worth is evicted first.
fn worth(keys: &Keyspace, db: usize, key: &SmallBytes, choice: Choice) -> u64 {
    let Some(item) = keys.dbs[db].items.get(key) else { return 0 };
    match choice {
        Choice::Lru => u64::from(u32::MAX - item.usage.idle(keys.now)),
        Choice::Lfu => u64::from(item.usage.count(keys.now)),
        Choice::Random => 0,
        Choice::Ttl => item.expires,
    }
}

/// Whether a key belongs to the presence count and must not be evicted.
fn is_kept(keys: &Keyspace, db: usize, key: &[u8], reserved: Option<&[u8]>) -> bool {
    let Some(reserved) = reserved else { return false };
    let own = [reserved, b"v1:{", key, b"}:own"].concat();
    key.starts_with(reserved) || keys.dbs[db].items.contains_key(&own[..])
}
