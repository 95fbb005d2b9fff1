//! The data: sixteen databases of keys with values and times of expiry.
//!
//! Pure: commands and `now` go in, nothing is read from a clock, a socket or a disk. A key that has
//! expired is gone for every reader from that millisecond on; [`Keyspace::expire_due`] removes what
//! nobody asks for. All changes to values pass through [`Keyspace::edit`], [`Keyspace::insert`] and
//! [`Keyspace::remove`], which keep the count of memory, hand big values to [`LazyFree`], and preserve
//! what a running rewrite of the log has yet to save. A command that has changed a key says so with
//! [`Keyspace::changed`], which wakes watchers and blocked clients.

use std::collections::{BTreeSet, HashMap};

use indexmap::IndexMap;

use super::clock::Time;
use super::error::{CommandError, OOM, STRING_TOO_LONG, WRONGTYPE};
use super::journal::Journal;
use super::lazyfree::LazyFree;
use super::small_bytes::SmallBytes;
use super::value::{Collection, Value};

mod edit;
mod notify;
mod snapshot;

pub use edit::Edit;

use snapshot::Saving;

/// How many databases there are to `SELECT`.
pub const DATABASES: usize = 16;

/// What a slot in the table of keys takes: the entry, its hash, and its share of the index.
const SLOT: usize = 88;

/// A string may grow by so much in one step without a look at the memory that is left.
const SMALL_STEP: usize = 64 << 10;

/// A value and when it ends.
#[derive(Debug)]
struct Item {
    value: Value,
    /// Milliseconds since 1970; 0 is never.
    expires: u64,
    /// Equal to [`Keyspace::epoch`] if the running rewrite has begun to save the key or need not.
    epoch: u32,
}

/// One database.
#[derive(Debug, Default)]
struct Db {
    items: IndexMap<SmallBytes, Item>,
    /// The keys that expire, by when.
    expiring: BTreeSet<(u64, SmallBytes)>,
    /// Keys under `WATCH`, each with how often and when it was last changed.
    watched: HashMap<SmallBytes, Watch>,
    /// Keys that blocked clients wait for, each with how many.
    awaited: HashMap<SmallBytes, usize>,
}

#[derive(Debug, Default)]
struct Watch {
    watchers: usize,
    version: u64,
}

/// How far values may grow in place.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// The longest string, in bytes.
    pub string: usize,
    /// What keys and values may take together, in bytes.
    pub memory: usize,
}

impl Default for Limits {
    /// None but Redis's own, for a log that is replayed.
    fn default() -> Self {
        Self { string: 512 << 20, memory: usize::MAX }
    }
}

/// All databases and what goes with them; see the module's text.
#[derive(Debug, Default)]
pub struct Keyspace {
    dbs: Vec<Db>,
    /// The database that commands work on.
    pub selected: usize,
    /// The time that commands go by, in milliseconds since 1970.
    pub now: u64,
    /// What `now` leaves out: microseconds within the millisecond.
    pub micros: u64,
    /// How many changes there were; a command that leaves it as it is changed nothing.
    pub changes: u64,
    /// Keys that expired, for `INFO`.
    pub expired: u64,
    /// Lookups that found a key and that did not, for `INFO`.
    pub hits: u64,
    /// See `hits`.
    pub misses: u64,
    /// What is to be written to the log.
    pub journal: Journal,
    /// Where big values go to be freed.
    pub trash: LazyFree,
    /// Awaited keys that have changed, each with its database.
    pub ready: Vec<(usize, SmallBytes)>,
    /// Counts what watchers are told of, which is more than `changes`: keys also expire.
    version: u64,
    used: usize,
    /// The number of the rewrite that runs or ran last.
    epoch: u32,
    /// How far the running rewrite has come.
    saving: Option<Saving>,
    /// How far values may grow.
    pub limits: Limits,
    /// Whether the running command may change keys.
    pub writing: bool,
}

impl Keyspace {
    /// Sixteen empty databases.
    pub fn new() -> Self {
        Self { dbs: (0..DATABASES).map(|_| Db::default()).collect(), ..Self::default() }
    }

    /// Sets the time that the commands after it go by.
    pub fn set_time(&mut self, now: Time) {
        (self.now, self.micros) = (now.millis(), now.micros_within());
    }

    /// The time that commands go by.
    pub fn time(&self) -> Time {
        Time::from_micros(self.now * 1000 + self.micros)
    }

    /// An estimate of the memory that keys and values take, in bytes.
    pub fn used(&self) -> usize {
        self.used
    }

    /// Refuses a string of `len` bytes for which `more` bytes are needed, if it may not grow so far.
    pub fn check_growth(&self, len: usize, more: usize) -> Result<(), CommandError> {
        if len > self.limits.string {
            return Err(STRING_TOO_LONG);
        }
        // Small steps are let through: whether there is memory was asked before the command.
        if more > SMALL_STEP && self.used.saturating_add(more) > self.limits.memory {
            return Err(OOM);
        }
        Ok(())
    }

    /// The number of keys in the selected database, expired ones that are not yet removed included.
    pub fn len(&self) -> usize {
        self.db().items.len()
    }

    /// Keys, and keys with an end, of each database.
    pub fn sizes(&self) -> impl Iterator<Item = (usize, usize)> + '_ {
        self.dbs.iter().map(|db| (db.items.len(), db.expiring.len()))
    }

    /// The value of a key.
    pub fn get(&mut self, key: &[u8]) -> Option<&Value> {
        let Some(index) = self.find(key) else {
            self.misses += 1;
            return None;
        };
        self.hits += 1;
        self.db().items.get_index(index).map(|(_, item)| &item.value)
    }

    /// Whether the key is there.
    pub fn contains(&mut self, key: &[u8]) -> bool {
        self.find(key).is_some()
    }

    /// The value of a key as a collection of one type.
    pub fn read<T: Collection>(&mut self, key: &[u8]) -> Result<Option<&T>, CommandError> {
        match self.get(key) {
            None => Ok(None),
            Some(value) => T::of(value).map(Some).ok_or(WRONGTYPE),
        }
    }

    /// The value of a key, to be changed.
    pub fn edit(&mut self, key: &[u8]) -> Option<Edit<'_, Value>> {
        let index = self.find(key)?;
        self.preserve(index);
        let item = self.dbs[self.selected].items.get_index_mut(index)?.1;
        Some(Edit::new(&mut self.used, &mut item.value, Value::footprint))
    }

    /// The value of a key as a collection of one type, to be changed.
    pub fn write<T: Collection>(&mut self, key: &[u8]) -> Result<Option<Edit<'_, T>>, CommandError> {
        let Some(index) = self.find(key) else {
            return Ok(None);
        };
        self.preserve(index);
        let Some((_, item)) = self.dbs[self.selected].items.get_index_mut(index) else {
            return Ok(None);
        };
        let value = T::of_mut(&mut item.value).ok_or(WRONGTYPE)?;
        Ok(Some(Edit::new(&mut self.used, value, T::footprint)))
    }

    /// As [`Self::write`], with an empty collection put there if the key is missing.
    pub fn write_or_create<T: Collection>(&mut self, key: &[u8]) -> Result<Edit<'_, T>, CommandError> {
        if self.find(key).is_none() {
            self.insert(key, T::default().into_value());
        }
        self.write(key)?.ok_or(WRONGTYPE)
    }

    /// Puts a value under a key in place of whatever was there; it does not expire.
    pub fn insert(&mut self, key: &[u8], value: Value) {
        self.used += value.footprint();
        match self.find(key) {
            Some(index) => {
                self.preserve(index);
                let Some((_, item)) = self.dbs[self.selected].items.get_index_mut(index) else {
                    return;
                };
                let old = std::mem::replace(&mut item.value, value);
                let expired = std::mem::take(&mut item.expires);
                self.used -= old.footprint();
                self.trash.throw(old);
                if expired != 0 {
                    self.dbs[self.selected].expiring.remove(&(expired, SmallBytes::new(key)));
                }
            }
            None => {
                let name = SmallBytes::new(key);
                self.used += SLOT + name.heap_size();
                let item = Item { value, expires: 0, epoch: self.epoch };
                self.dbs[self.selected].items.insert(name, item);
            }
        }
    }

    /// Takes a key out, without a word to watchers.
    pub fn remove(&mut self, key: &[u8]) -> Option<Value> {
        let index = self.find(key)?;
        Some(self.take(self.selected, index))
    }

    /// Removes a key; says whether it was there.
    pub fn delete(&mut self, key: &[u8]) -> bool {
        let Some(value) = self.remove(key) else {
            return false;
        };
        self.trash.throw(value);
        self.changed(key);
        true
    }

    /// Removes a key whose collection has become empty.
    pub fn remove_if_empty(&mut self, key: &[u8]) {
        if self.find(key).is_some_and(|index| self.db().items[index].value.elements() == 0) {
            self.remove(key);
        }
    }

    /// When the key ends: `None` if it is missing, `Some(0)` if never.
    pub fn expiry(&mut self, key: &[u8]) -> Option<u64> {
        let index = self.find(key)?;
        Some(self.db().items[index].expires)
    }

    /// Sets when the key ends, 0 for never; the key must be there.
    pub fn set_expiry(&mut self, key: &[u8], at: u64) {
        let Some(index) = self.find(key) else { return };
        self.preserve(index);
        let db = &mut self.dbs[self.selected];
        let old = std::mem::replace(&mut db.items[index].expires, at);
        if old != 0 {
            db.expiring.remove(&(old, SmallBytes::new(key)));
        }
        if at != 0 {
            db.expiring.insert((at, SmallBytes::new(key)));
        }
    }

    /// The key at a position and whether it has expired; see [`Self::scan`].
    pub fn key_at(&self, position: usize) -> Option<(&[u8], &Value, bool)> {
        let (key, item) = self.db().items.get_index(position)?;
        Some((key, &item.value, item.expires != 0 && item.expires <= self.now))
    }

    /// Removes everything from one database or from all.
    pub fn flush(&mut self, all: bool) {
        let range = if all { 0..DATABASES } else { self.selected..self.selected + 1 };
        let selected = self.selected;
        for index in range {
            self.selected = index;
            self.save_no_more_of(index);
            let db = std::mem::take(&mut self.dbs[index].items);
            self.dbs[index].expiring.clear();
            self.touch_all(|key| db.contains_key(key));
            let size = |(key, item): (&SmallBytes, &Item)| SLOT + key.heap_size() + item.value.footprint();
            self.used -= db.iter().map(size).sum::<usize>();
            self.trash.throw_all(db.into_iter().map(|(key, item)| (key, item.value)).collect());
        }
        self.selected = selected;
        self.changes += 1;
    }

    /// Exchanges two databases; watchers and waiters stay with their numbers.
    pub fn swap(&mut self, one: usize, other: usize) {
        self.finish_begun();
        self.dbs.swap(one, other);
        self.save_from_the_start();
        let (low, high) = (one.min(other), one.max(other));
        if low != high {
            let (head, tail) = self.dbs.split_at_mut(high);
            std::mem::swap(&mut head[low].watched, &mut tail[0].watched);
            std::mem::swap(&mut head[low].awaited, &mut tail[0].awaited);
        }
        let selected = self.selected;
        for index in [one, other] {
            self.selected = index;
            self.touch_all(|_| true);
            let awaited: Vec<_> = self.db().awaited.keys().cloned().collect();
            self.ready.extend(awaited.into_iter().map(|key| (index, key)));
        }
        self.selected = selected;
        self.changes += 1;
    }

    /// Removes up to `limit` keys whose time is up.
    pub fn expire_due(&mut self, limit: usize) {
        let mut left = limit;
        for index in 0..self.dbs.len() {
            while left > 0
                && let Some((at, key)) = self.dbs[index].expiring.first()
                && *at <= self.now
            {
                left -= 1;
                let key = key.clone();
                if let Some(position) = self.dbs[index].items.get_index_of(&key) {
                    self.expire(index, position);
                } else {
                    self.dbs[index].expiring.pop_first();
                }
            }
        }
    }

    /// When the first key's time is up.
    pub fn next_expiry(&self) -> Option<u64> {
        self.dbs.iter().filter_map(|db| db.expiring.first().map(|(at, _)| *at)).min()
    }

    fn db(&self) -> &Db {
        &self.dbs[self.selected]
    }

    fn is_over(&self, item: &Item) -> bool {
        item.expires != 0 && item.expires <= self.now
    }

    /// The position of a key that has not expired.
    fn find(&mut self, key: &[u8]) -> Option<usize> {
        let index = self.db().items.get_index_of(key)?;
        if self.is_over(&self.db().items[index]) {
            self.expire(self.selected, index);
            return None;
        }
        if self.writing {
            // Also what the command only reads: whoever runs it again on the new log has to find it.
            self.preserve(index);
        }
        Some(index)
    }

    fn expire(&mut self, db: usize, index: usize) {
        let Some((key, _)) = self.dbs[db].items.get_index(index) else {
            return;
        };
        let key = key.clone();
        let value = self.take(db, index);
        self.trash.throw(value);
        self.touch(db, &key);
        self.expired += 1;
        self.journal.record_expiry(db, &key);
    }

    fn take(&mut self, db: usize, index: usize) -> Value {
        if db == self.selected {
            self.preserve(index);
        } else {
            let selected = std::mem::replace(&mut self.selected, db);
            self.preserve(index);
            self.selected = selected;
        }
        let db = &mut self.dbs[db];
        let Some((key, item)) = db.items.swap_remove_index(index) else {
            return Value::Int(0);
        };
        self.used -= SLOT + key.heap_size() + item.value.footprint();
        if item.expires != 0 {
            db.expiring.remove(&(item.expires, key));
        }
        item.value
    }
}

#[cfg(test)]
#[path = "keyspace_tests.rs"]
mod tests;
