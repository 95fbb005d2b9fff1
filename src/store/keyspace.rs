//! The data: sixteen databases of keys with values and times of expiry.
//!
//! Pure: commands and `now` go in, nothing is read from a clock, a socket or a disk. A key that has
//! expired is gone for every reader from that millisecond on; [`Keyspace::expire_due`] removes what
//! nobody asks for. All changes to values pass through [`Keyspace::edit`], [`Keyspace::insert`] and
//! [`Keyspace::remove`], which keep the count of memory, hand big values to [`LazyFree`], and preserve
//! what a running rewrite of the log has yet to save. A command that has changed a key says so with
//! [`Keyspace::changed`], which wakes watchers and blocked clients.

use std::ops::Range;

use super::clock::Time;
use super::error::{CommandError, WRONGTYPE};
use super::eviction::{Policy, Usage};
use super::journal::Journal;
use super::keyspace_events::{Classes, Events};
use super::lazyfree::LazyFree;
use super::small_bytes::SmallBytes;
use super::tracking::Tracking;
use super::value::{Collection, Value};

mod databases;
mod db;
mod edit;
mod evicting;
mod limits;
mod snapshot;
mod undo;
mod undoing;
mod watchers;

pub use edit::Edit;
pub use evicting::{begin_usage, evict_one, set_usage};
pub use limits::Limits;
pub use undoing::{begin_script, keep_changes, undo_changes};

use db::{Db, Item, SLOT};
use snapshot::Snapshot;
use undo::{Step, Undo};

/// How many databases there are to `SELECT`.
pub const DATABASES: usize = 16;

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
    /// Keys that went because memory was short, for `INFO`.
    pub evicted: u64,
    /// Which those are.
    pub policy: Policy,
    /// Lookups that found a key and that did not, for `INFO`.
    pub hits: u64,
    /// See `hits`.
    pub misses: u64,
    /// What is to be written to the log.
    pub journal: Journal,
    /// Where big values go to be freed.
    pub trash: LazyFree,
    /// Who is to be told of changes: clients that cache what they read.
    pub tracking: Tracking,
    /// What has happened to keys and is to be published.
    pub events: Events,
    /// Awaited keys that have changed, each with its database.
    pub ready: Vec<(usize, SmallBytes)>,
    /// Counts what watchers are told of, which is more than `changes`: keys also expire.
    version: u64,
    used: usize,
    /// What a running rewrite of the log has yet to save.
    snapshot: Snapshot,
    /// How far values may grow.
    pub limits: Limits,
    /// Whether the running command may change keys.
    pub writing: bool,
    /// What the running script has changed.
    undo: Undo,
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
        self.limits.check_growth(self.used, len, more)
    }

    /// The value of a key.
    pub fn get(&mut self, key: &[u8]) -> Option<&Value> {
        let Some(index) = self.find(key) else {
            self.missed(key);
            return None;
        };
        self.hits += 1;
        self.touch_usage(index);
        self.db().items.get_index(index).map(|(_, item)| &item.value)
    }

    /// The value of a key and how it was used, which is no use of it.
    pub fn peek(&mut self, key: &[u8]) -> Option<(&Value, Usage)> {
        let index = self.find(key)?;
        self.db().items.get_index(index).map(|(_, item)| (&item.value, item.usage))
    }

    fn touch_usage(&mut self, index: usize) {
        if let Some((_, item)) = self.dbs[self.selected].items.get_index_mut(index) {
            item.usage.touch(self.policy, self.now);
        }
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

    /// Replaces the value of a key by what is made of it; it ends when it did. Says whether the key is there.
    pub fn update(
        &mut self,
        key: &[u8],
        make: impl FnOnce(&Value) -> Result<Value, CommandError>,
    ) -> Result<bool, CommandError> {
        let Some(index) = self.find(key) else { return Ok(false) };
        self.touch_usage(index);
        self.preserve(self.selected, index);
        let Some((_, item)) = self.dbs[self.selected].items.get_index_mut(index) else { return Ok(false) };
        let value = make(&item.value)?;
        let new = value.footprint();
        let old = std::mem::replace(&mut item.value, value);
        self.used = self.used + new - old.footprint();
        self.undo.replaced((self.selected, index), old, &mut self.trash);
        Ok(true)
    }

    /// The string at a key, to be changed in these ranges of its bytes or made longer.
    pub fn edit(&mut self, key: &[u8], ranges: &[Range<usize>]) -> Option<Edit<'_, Value>> {
        let index = self.find(key)?;
        self.touch_usage(index);
        self.preserve(self.selected, index);
        let item = self.dbs[self.selected].items.get_index_mut(index)?.1;
        if self.undo.on {
            self.undo.note_string((self.selected, index), &item.value, ranges);
        }
        Some(Edit::string(&mut self.used, &mut item.value))
    }

    /// Whether a script has changed so much that it must change no more.
    pub fn is_script_full(&self) -> bool {
        self.undo.is_full(self.used)
    }

    /// The value of a key as a collection of one type, to be changed.
    pub fn write<T: Collection>(&mut self, key: &[u8]) -> Result<Option<Edit<'_, T>>, CommandError> {
        let Some(index) = self.find(key) else {
            return Ok(None);
        };
        self.touch_usage(index);
        self.preserve(self.selected, index);
        let Some((_, item)) = self.dbs[self.selected].items.get_index_mut(index) else {
            return Ok(None);
        };
        let value = T::of_mut(&mut item.value).ok_or(WRONGTYPE)?;
        let undo = Some(&mut self.undo).filter(|undo| undo.on);
        Ok(Some(Edit::collection(&mut self.used, value, undo, (self.selected, index))))
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
                self.touch_usage(index);
                self.preserve(self.selected, index);
                let Some((_, item)) = self.dbs[self.selected].items.get_index_mut(index) else {
                    return;
                };
                let old = std::mem::replace(&mut item.value, value);
                let expired = std::mem::take(&mut item.expires);
                self.used -= old.footprint();
                self.undo.replaced((self.selected, index), old, &mut self.trash);
                if expired != 0 {
                    self.dbs[self.selected].expiring.remove(&(expired, SmallBytes::new(key)));
                    let place = (self.selected, index);
                    self.undo.note(|| Step::SetExpiry(place, expired));
                }
            }
            None => {
                let name = SmallBytes::new(key);
                self.used += SLOT + name.heap_size();
                let usage = Usage::new(self.policy, self.now);
                let item = Item { value, expires: 0, epoch: self.snapshot.epoch, usage };
                self.dbs[self.selected].items.insert(name, item);
                let db = self.selected;
                self.undo.note(|| Step::PopKey(db));
                self.tell(Classes::NEW, "new", key);
            }
        }
    }

    /// Takes a key out without telling watchers.
    pub fn remove(&mut self, key: &[u8]) -> Option<Value> {
        let index = self.find(key)?;
        Some(self.take(self.selected, index))
    }

    /// Removes a key; returns whether it was there.
    pub fn delete(&mut self, key: &[u8]) -> bool {
        let Some(value) = self.remove(key) else {
            return false;
        };
        self.undo.discard(value, &mut self.trash);
        self.changed_by(Classes::GENERIC, "del", key);
        true
    }

    /// Removes a key whose collection has become empty; returns whether it has.
    pub fn remove_if_empty(&mut self, key: &[u8]) -> bool {
        let empty = self.find(key).is_some_and(|index| self.db().items[index].value.elements() == 0);
        let removed = if empty { self.remove(key) } else { None };
        removed.map(|value| self.undo.discard(value, &mut self.trash)).is_some()
    }

    /// Notes that a command has changed a key of the selected database.
    pub fn changed(&mut self, key: &[u8]) {
        self.touch(self.selected, key);
        self.wake(key);
    }

    /// Notes a change of which watchers are not told, and lets those look that wait for the key.
    pub fn wake(&mut self, key: &[u8]) {
        self.changes += 1;
        let selected = self.selected;
        if self.dbs[selected].watchers.awaits(key) {
            self.ready.push((selected, SmallBytes::new(key)));
        }
    }

    /// As [`Self::changed`], and says by what.
    pub fn changed_by(&mut self, class: Classes, event: &'static str, key: &[u8]) {
        self.changed(key);
        self.tell(class, event, key);
    }

    /// As [`Self::changed_by`], for a collection that may have become empty, which ends the key.
    pub fn shrunk_by(&mut self, class: Classes, event: &'static str, key: &[u8]) {
        self.changed_by(class, event, key);
        if self.remove_if_empty(key) {
            self.tell(Classes::GENERIC, "del", key);
        }
    }

    /// Says what happened to a key of the selected database.
    pub fn tell(&mut self, class: Classes, event: &'static str, key: &[u8]) {
        self.events.note(class, event, self.selected, key);
    }

    /// Notes that a key was asked for that is not there.
    pub fn missed(&mut self, key: &[u8]) {
        self.misses += 1;
        if !self.writing {
            self.tell(Classes::MISSED, "keymiss", key);
        }
    }

    /// Starts to watch a key; the version to compare later.
    pub fn watch(&mut self, key: &[u8]) -> u64 {
        self.find(key);
        self.dbs[self.selected].watchers.watch(key);
        self.version
    }

    /// Stops watching a key; returns whether it has changed or expired since `version`.
    pub fn unwatch(&mut self, db: usize, key: &[u8], version: u64) -> bool {
        let selected = std::mem::replace(&mut self.selected, db);
        self.find(key);
        self.selected = selected;
        self.dbs[db].watchers.unwatch(key, version)
    }

    /// Asks for (or no longer for) a key's changes to be listed in `ready`.
    pub fn await_key(&mut self, db: usize, key: &[u8], wanted: bool) {
        self.dbs[db].watchers.await_key(key, wanted);
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
            self.preserve(self.selected, index);
        }
        Some(index)
    }

    fn expire(&mut self, db: usize, index: usize) {
        let Some((key, _)) = self.dbs[db].items.get_index(index) else {
            return;
        };
        let (key, value) = (key.clone(), self.take(db, index));
        self.undo.discard(value, &mut self.trash);
        self.tracking.ended(&key);
        self.touch_watchers(db, &key);
        self.events.note(Classes::EXPIRED, "expired", db, &key);
        self.expired += 1;
        self.journal.record_expiry(db, &key);
    }

    /// Has a key's state saved before it is changed, or read by a command that writes.
    fn preserve(&mut self, db: usize, index: usize) {
        self.snapshot.preserve(&mut self.dbs, &mut self.journal, db, index);
    }

    /// Tells those who watch a key, or have read it, that it has changed.
    fn touch(&mut self, db: usize, key: &[u8]) {
        self.tracking.changed(key);
        self.touch_watchers(db, key);
    }

    fn touch_watchers(&mut self, db: usize, key: &[u8]) {
        self.version += 1;
        if let Some(before) = self.dbs[db].watchers.touch(key, self.version) {
            self.undo.note(|| Step::SetVersion(db, SmallBytes::new(key), before));
        }
    }

    fn take(&mut self, db: usize, index: usize) -> Value {
        self.preserve(db, index);
        let place = (db, index);
        let db = &mut self.dbs[db];
        let Some((key, mut item)) = db.items.swap_remove_index(index) else {
            return Value::Int(0);
        };
        self.used -= SLOT + key.heap_size() + item.value.footprint();
        let value = std::mem::replace(&mut item.value, Value::Int(0));
        let end = (item.expires, key);
        if item.expires != 0 {
            db.expiring.remove(&end);
        }
        self.undo.note(|| Step::PutKey(place, end.1, item, false));
        value
    }
}

#[cfg(test)]
#[path = "keyspace_tests.rs"]
mod tests;
