//! Saving the state of every key for a rewrite of the log, step by step, while commands go on.
//!
//! A key is saved when its turn comes, or at once when a command that may write is about to touch it.
//! So each key's state stands in the new log before every change to it and before every command that
//! reads it, and the changes can be written there as they come. A large value is saved in parts; if
//! a command wants it meanwhile, the rest is saved at once.

use super::{DATABASES, Keyspace};
use crate::store::small_bytes::SmallBytes;

/// Keys that one step looks at.
const STEP: usize = 1024;

/// How far a rewrite has come.
#[derive(Debug)]
pub struct Saving {
    /// The database whose keys it goes through.
    db: usize,
    /// How many of its keys are left. Removal moves the last key into the gap, so going downwards
    /// misses none.
    left: usize,
    /// The value of which a part is saved.
    begun: Option<Begun>,
}

#[derive(Debug)]
struct Begun {
    db: usize,
    key: SmallBytes,
    done: usize,
}

impl Keyspace {
    /// Begins a rewrite: from here on every key's state goes to the journal's snapshot once.
    pub fn begin_rewrite(&mut self) {
        self.epoch = self.epoch.wrapping_add(1);
        self.saving = Some(Saving { db: 0, left: self.dbs[0].items.len(), begun: None });
    }

    /// Goes on until the snapshot holds about so many bytes; says whether anything is left.
    pub fn continue_rewrite(&mut self, bytes: usize) -> bool {
        for _ in 0..STEP {
            if !self.save_next(bytes) || self.journal.saved.len() >= bytes {
                break;
            }
        }
        self.saving.is_some()
    }

    /// Ends a rewrite that cannot be finished.
    pub fn abandon_rewrite(&mut self) {
        self.saving = None;
        self.journal.saved = Vec::new();
    }

    /// Saves a key of the selected database before it is changed or read by a command that writes.
    pub(super) fn preserve(&mut self, index: usize) {
        let Some(saving) = &mut self.saving else { return };
        let db = self.selected;
        let Some((key, item)) = self.dbs[db].items.get_index_mut(index) else { return };
        if item.epoch != self.epoch {
            item.epoch = self.epoch;
            self.journal.snapshot(db, key, &item.value, item.expires, 0, usize::MAX);
        } else if let Some(begun) = &saving.begun
            && (begun.db, &begun.key) == (db, key)
        {
            self.journal.snapshot(db, key, &item.value, item.expires, begun.done, usize::MAX);
            saving.begun = None;
        }
    }

    /// Saves the rest of the value that is saved in part.
    pub(super) fn finish_begun(&mut self) {
        while self.saving.as_ref().is_some_and(|saving| saving.begun.is_some()) {
            self.save_next(usize::MAX);
        }
    }

    /// Forgets a value that is saved in part, because its whole database goes.
    pub(super) fn save_no_more_of(&mut self, db: usize) {
        if let Some(saving) = &mut self.saving
            && saving.begun.as_ref().is_some_and(|begun| begun.db == db)
        {
            saving.begun = None;
        }
    }

    /// Goes through all keys once more, because they have changed places; what is saved stays so.
    pub(super) fn save_from_the_start(&mut self) {
        if let Some(saving) = &mut self.saving {
            (saving.db, saving.left) = (0, self.dbs[0].items.len());
        }
    }

    fn save_next(&mut self, bytes: usize) -> bool {
        let Some(saving) = &mut self.saving else { return false };
        if let Some(Begun { db, key, done }) = saving.begun.take() {
            if let Some(item) = self.dbs[db].items.get(&key) {
                let done = self.journal.snapshot(db, &key, &item.value, item.expires, done, bytes);
                saving.begun = done.map(|done| Begun { db, key, done });
            }
            return true;
        }
        let db = saving.db;
        let items = &mut self.dbs[db].items;
        saving.left = saving.left.min(items.len());
        if saving.left > 0 {
            saving.left -= 1;
            if let Some((key, item)) = items.get_index_mut(saving.left)
                && item.epoch != self.epoch
            {
                item.epoch = self.epoch;
                let done = self.journal.snapshot(db, key, &item.value, item.expires, 0, bytes);
                saving.begun = done.map(|done| Begun { db, key: key.clone(), done });
            }
        } else if db + 1 < DATABASES {
            (saving.db, saving.left) = (db + 1, self.dbs[db + 1].items.len());
        } else {
            self.saving = None;
        }
        self.saving.is_some()
    }
}
