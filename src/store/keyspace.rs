//! The data: sixteen databases of keys with values and expiry times.
//!
//! The module is pure: commands and `now` go in, and no clock, socket or disk is used. From the
//! millisecond it expires, a key is gone for every reader; [`Keyspace::expire_due`] removes expired
//! keys that nobody asks for. Values are changed only through methods such as [`Keyspace::edit`],
//! [`Keyspace::insert`] and [`Keyspace::remove`], which keep the memory count, hand big values to
//! [`LazyFree`], and preserve what a running log rewrite has not saved yet. A command that has changed
//! a key calls [`Keyspace::changed`], which notifies watchers and blocked clients.

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
use undo::{Undo, UndoStep};

/// The number of databases.
pub const DATABASES: usize = 16;

/// All databases and their shared state; see the module's text.
#[derive(Debug, Default)]
pub struct Keyspace {
    dbs: Vec<Db>,
    /// The database that commands operate on.
    pub selected: usize,
    /// The current time for commands, in milliseconds since 1970.
    pub now: u64,
    /// The microseconds that `now` leaves out.
    pub micros: u64,
    /// The number of changes so far. A command that does not raise it has changed nothing.
    pub changes: u64,
    /// The number of keys that expired, for `INFO`.
    pub expired: u64,
    /// The number of keys that were evicted because memory was short, for `INFO`.
    pub evicted: u64,
    /// Which keys are evicted.
    pub policy: Policy,
    /// The number of lookups that found their key, for `INFO`.
    pub hits: u64,
    /// The number of lookups that did not, for `INFO`.
    pub misses: u64,
    /// Changes that must be written to the log.
    pub journal: Journal,
    /// Where big values go to be freed.
    pub trash: LazyFree,
    /// The clients that cache what they read and must be told of changes.
    pub tracking: Tracking,
    /// Keyspace events that are not published yet.
    pub events: Events,
    /// Keys that changed while clients were waiting for them, each with its database.
    pub ready: Vec<(usize, SmallBytes)>,
    /// Counts the changes that watchers are told of, which, unlike `changes`, include expiries.
    version: u64,
    used: usize,
    /// What a running log rewrite has not saved yet.
    snapshot: Snapshot,
    /// How large values may grow.
    pub limits: Limits,
    /// Whether the running command may change keys.
    pub writing: bool,
    /// What the running script has changed.
    undo: Undo,
}

impl Keyspace {
    /// Creates sixteen empty databases.
    pub fn new() -> Self {
        Self { dbs: (0..DATABASES).map(|_| Db::default()).collect(), ..Self::default() }
    }

    /// Sets the current time for the commands that follow.
    pub fn set_time(&mut self, now: Time) {
        (self.now, self.micros) = (now.millis(), now.micros_within());
    }

    /// The current time for commands.
    pub fn time(&self) -> Time {
        Time::from_micros(self.now * 1000 + self.micros)
    }

    /// An estimate of the memory that keys and values take, in bytes.
    pub fn used(&self) -> usize {
        self.used
    }

    /// Refuses to let a string grow to `len` bytes, which takes `more` bytes of memory, if that is over a limit.
    pub fn check_growth(&self, len: usize, more: usize) -> Result<(), CommandError> {
        self.limits.check_growth(self.used, len, more)
    }

    /// Returns the value of a key.
    pub fn get(&mut self, key: &[u8]) -> Option<&Value> {
        let Some(index) = self.find(key) else {
            self.missed(key);
            return None;
        };
        self.hits += 1;
        self.touch_usage(index);
        self.db().items.get_index(index).map(|(_, item)| &item.value)
    }

    /// Returns the value of a key and its usage, without counting as a use itself.
    pub fn peek(&mut self, key: &[u8]) -> Option<(&Value, Usage)> {
        let index = self.find(key)?;
        self.db().items.get_index(index).map(|(_, item)| (&item.value, item.usage))
    }

    fn touch_usage(&mut self, index: usize) {
        if let Some((_, item)) = self.dbs[self.selected].items.get_index_mut(index) {
            item.usage.touch(self.policy, self.now);
        }
    }

    /// Whether the key exists.
    pub fn contains(&mut self, key: &[u8]) -> bool {
        self.find(key).is_some()
    }

    /// Returns the value of a key as a collection of type `T`.
    pub fn read<T: Collection>(&mut self, key: &[u8]) -> Result<Option<&T>, CommandError> {
        match self.get(key) {
            None => Ok(None),
            Some(value) => T::of(value).map(Some).ok_or(WRONGTYPE),
        }
    }

    /// Replaces the value of a key by one made from it; the expiry stays. Returns whether the key exists.
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

    /// Returns the string at a key for editing: these ranges of its bytes may be changed, and it may grow.
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

    /// Whether a script has changed so much that it may change no more.
    pub fn is_script_full(&self) -> bool {
        self.undo.is_full(self.used)
    }

    /// Returns the value of a key as a collection of type `T`, for editing.
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

    /// Like [`Self::write`], but puts an empty collection there if the key is missing.
    pub fn write_or_create<T: Collection>(&mut self, key: &[u8]) -> Result<Edit<'_, T>, CommandError> {
        if self.find(key).is_none() {
            self.insert(key, T::default().into_value());
        }
        self.write(key)?.ok_or(WRONGTYPE)
    }

    /// Sets the value of a key, replacing any old one; the key then has no expiry.
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
                    self.undo.note(|| UndoStep::SetExpiry(place, expired));
                }
            }
            None => {
                let name = SmallBytes::new(key);
                self.used += SLOT + name.heap_size();
                let usage = Usage::new(self.policy, self.now);
                let item = Item { value, expires: 0, epoch: self.snapshot.epoch, usage };
                self.dbs[self.selected].items.insert(name, item);
                let db = self.selected;
                self.undo.note(|| UndoStep::PopKey(db));
                self.tell(Classes::NEW, "new", key);
            }
        }
    }

    /// Removes a key and returns its value, without telling watchers.
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

    /// Removes a key if its collection has become empty; returns whether it did.
    pub fn remove_if_empty(&mut self, key: &[u8]) -> bool {
        let empty = self.find(key).is_some_and(|index| self.db().items[index].value.elements() == 0);
        let removed = if empty { self.remove(key) } else { None };
        removed.map(|value| self.undo.discard(value, &mut self.trash)).is_some()
    }

    /// Records that a command has changed a key of the selected database.
    pub fn changed(&mut self, key: &[u8]) {
        self.touch(self.selected, key);
        self.wake(key);
    }

    /// Records a change without telling watchers, and marks the key as ready for the clients waiting for it.
    pub fn wake(&mut self, key: &[u8]) {
        self.changes += 1;
        let selected = self.selected;
        if self.dbs[selected].watchers.awaits(key) {
            self.ready.push((selected, SmallBytes::new(key)));
        }
    }

    /// Like [`Self::changed`], and notes the event.
    pub fn changed_by(&mut self, class: Classes, event: &'static str, key: &[u8]) {
        self.changed(key);
        self.tell(class, event, key);
    }

    /// Like [`Self::changed_by`], for a collection that may have become empty; if it has, the key is removed.
    pub fn shrunk_by(&mut self, class: Classes, event: &'static str, key: &[u8]) {
        self.changed_by(class, event, key);
        if self.remove_if_empty(key) {
            self.tell(Classes::GENERIC, "del", key);
        }
    }

    /// Notes an event of a key in the selected database.
    pub fn tell(&mut self, class: Classes, event: &'static str, key: &[u8]) {
        self.events.note(class, event, self.selected, key);
    }

    /// Records a lookup of a key that does not exist.
    pub fn missed(&mut self, key: &[u8]) {
        self.misses += 1;
        if !self.writing {
            self.tell(Classes::MISSED, "keymiss", key);
        }
    }

    /// Starts watching a key; returns the version to compare with later.
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

    /// Adds or removes a request to list a key in `ready` when it changes.
    pub fn await_key(&mut self, db: usize, key: &[u8], wanted: bool) {
        self.dbs[db].watchers.await_key(key, wanted);
    }

    fn db(&self) -> &Db {
        &self.dbs[self.selected]
    }

    fn is_over(&self, item: &Item) -> bool {
        item.expires != 0 && item.expires <= self.now
    }

    /// Returns the position of a key that exists and has not expired.
    fn find(&mut self, key: &[u8]) -> Option<usize> {
        let index = self.db().items.get_index_of(key)?;
        if self.is_over(&self.db().items[index]) {
            self.expire(self.selected, index);
            return None;
        }
        if self.writing {
            // Preserve keys that the command only reads, too: a replay of the new log must find them.
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

    /// Saves a key's state for a running rewrite before it is changed, or read by a command that writes.
    fn preserve(&mut self, db: usize, index: usize) {
        self.snapshot.preserve(&mut self.dbs, &mut self.journal, db, index);
    }

    /// Tells the clients that watch a key, or have cached it, that it has changed.
    fn touch(&mut self, db: usize, key: &[u8]) {
        self.tracking.changed(key);
        self.touch_watchers(db, key);
    }

    fn touch_watchers(&mut self, db: usize, key: &[u8]) {
        self.version += 1;
        if let Some(before) = self.dbs[db].watchers.touch(key, self.version) {
            self.undo.note(|| UndoStep::SetVersion(db, SmallBytes::new(key), before));
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
        self.undo.note(|| UndoStep::PutKey(place, end.1, item, false));
        value
    }
}

#[cfg(test)]
#[path = "keyspace_tests.rs"]
mod tests;
