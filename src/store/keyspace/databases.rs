//! Whole databases: their sizes, flushing and swapping them, expiry, and saving all keys for a rewrite of the log.

use indexmap::IndexMap;

use super::undo::{Flushed, UndoStep};
use super::{DATABASES, Item, Keyspace, SLOT};
use crate::store::small_bytes::SmallBytes;
use crate::store::value::Value;

/// The memory that keys and their values take, in bytes.
fn size(items: &IndexMap<SmallBytes, Item>) -> usize {
    items.iter().map(|(key, item)| SLOT + key.heap_size() + item.value.footprint()).sum()
}

impl Keyspace {
    /// The number of keys in the selected database, including expired ones that are not yet removed.
    pub fn len(&self) -> usize {
        self.db().items.len()
    }

    /// The number of keys, and of keys that expire, for each database.
    pub fn sizes(&self) -> impl Iterator<Item = (usize, usize)> + '_ {
        self.dbs.iter().map(|db| (db.items.len(), db.expiring.len()))
    }

    /// The key at a position, its value, and whether it has expired.
    pub fn key_at(&self, position: usize) -> Option<(&[u8], &Value, bool)> {
        let (key, item) = self.db().items.get_index(position)?;
        Some((key, &item.value, item.expires != 0 && item.expires <= self.now))
    }

    /// The memory that all keys and values take, counted anew.
    #[cfg(test)]
    pub fn counted(&self) -> usize {
        self.dbs.iter().map(|db| size(&db.items)).sum()
    }

    /// Removes all keys from the selected database or from all databases.
    pub fn flush(&mut self, all: bool) {
        let range = if all { 0..DATABASES } else { self.selected..self.selected + 1 };
        for index in range {
            let begun = self.snapshot.forget(index);
            let items = std::mem::take(&mut self.dbs[index].items);
            let expiring = std::mem::take(&mut self.dbs[index].expiring);
            self.version += 1;
            let touched = self.dbs[index].watchers.touch_all(self.version, |key| items.contains_key(key));
            self.note_versions(index, touched);
            self.ready.extend(self.dbs[index].watchers.awaited().map(|key| (index, key.clone())));
            self.used -= size(&items);
            if self.undo.on {
                self.undo.note(|| UndoStep::Unflush(index, Box::new(Flushed { items, expiring, begun })));
            } else {
                self.trash.throw_all(items.into_iter().map(|(key, item)| (key, item.value)).collect());
            }
        }
        self.tracking.flushed();
        self.changes += 1;
    }

    /// Puts the keys of a flushed database back.
    pub(super) fn unflush(&mut self, index: usize, Flushed { items, expiring, begun }: Flushed) {
        self.used += size(&items);
        (self.dbs[index].items, self.dbs[index].expiring) = (items, expiring);
        self.snapshot.remember(begun);
    }

    fn note_versions(&mut self, db: usize, touched: Vec<(SmallBytes, u64)>) {
        for (key, version) in touched {
            self.undo.note(|| UndoStep::SetVersion(db, key, version));
        }
    }

    /// Swaps two databases; watchers and waiting clients stay with the database numbers.
    pub fn swap(&mut self, one: usize, other: usize) {
        self.exchange(one, other);
        self.undo.note(|| UndoStep::Swap(one, other));
        for index in [one, other] {
            self.version += 1;
            let watchers = &mut self.dbs[index].watchers;
            let touched = watchers.touch_all(self.version, |_| true);
            self.ready.extend(watchers.awaited().map(|key| (index, key.clone())));
            self.note_versions(index, touched);
        }
        self.changes += 1;
    }

    pub(super) fn exchange(&mut self, one: usize, other: usize) {
        self.snapshot.finish_begun(&mut self.dbs, &mut self.journal);
        self.dbs.swap(one, other);
        self.snapshot.start_over(&self.dbs);
        let (low, high) = (one.min(other), one.max(other));
        if low != high {
            let (head, tail) = self.dbs.split_at_mut(high);
            std::mem::swap(&mut head[low].watchers, &mut tail[0].watchers);
        }
    }

    /// When the key expires: `None` if it is missing, `Some(0)` if never.
    pub fn expiry(&mut self, key: &[u8]) -> Option<u64> {
        let index = self.find(key)?;
        Some(self.db().items[index].expires)
    }

    /// Sets when the key expires, 0 for never. Does nothing if the key is missing.
    pub fn set_expiry(&mut self, key: &[u8], at: u64) {
        let Some(index) = self.find(key) else { return };
        self.preserve(self.selected, index);
        let db = &mut self.dbs[self.selected];
        let old = std::mem::replace(&mut db.items[index].expires, at);
        if old != 0 {
            db.expiring.remove(&(old, SmallBytes::new(key)));
        }
        if at != 0 {
            db.expiring.insert((at, SmallBytes::new(key)));
        }
        let place = (self.selected, index);
        self.undo.note(|| UndoStep::SetExpiry(place, old));
    }

    /// Removes up to `limit` expired keys.
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

    /// When the next key expires.
    pub fn next_expiry(&self) -> Option<u64> {
        self.dbs.iter().filter_map(|db| db.expiring.first().map(|(at, _)| *at)).min()
    }

    /// Begins to save all keys for a rewrite of the log: from now on, each key's state goes to the journal's
    /// snapshot once.
    pub fn begin_rewrite(&mut self) {
        self.snapshot.begin(&self.dbs);
    }

    /// Continues until the snapshot holds about this many bytes; returns whether any keys are left.
    pub fn continue_rewrite(&mut self, bytes: usize) -> bool {
        self.snapshot.advance(&mut self.dbs, &mut self.journal, bytes)
    }

    /// Abandons a rewrite that cannot be finished.
    pub fn abandon_rewrite(&mut self) {
        self.snapshot.abandon();
        self.journal.saved = Vec::new();
    }
}
