//! Saving the state of every key for a rewrite of the log, step by step, while commands go on.
//!
//! A key is saved when its turn comes, or at once when a command that may write is about to touch it.
//! So each key's state stands in the new log before every change to it and before every command that
//! reads it, and the changes can be written there as they come. A large value is saved in parts; if
//! a command wants it meanwhile, the rest is saved at once.

use super::db::Db;
use crate::store::journal::{Journal, Position};
use crate::store::small_bytes::SmallBytes;

/// Keys that one step looks at.
const STEP: usize = 1024;

/// What a running rewrite has saved and has yet to save.
#[derive(Debug, Default)]
pub struct Snapshot {
    /// The number of the rewrite that runs or ran last. A key that has it need not be saved.
    pub epoch: u32,
    /// How far the running rewrite has come.
    progress: Option<Progress>,
}

#[derive(Debug)]
struct Progress {
    /// The database whose keys it goes through.
    db: usize,
    /// How many of its keys are left. Removal moves the last key into the gap, so going downwards
    /// misses none.
    left: usize,
    /// The value of which a part is saved.
    begun: Option<Begun>,
}

/// A value of which a part is saved.
#[derive(Debug)]
pub struct Begun {
    db: usize,
    key: SmallBytes,
    done: Position,
}

impl Snapshot {
    /// Begins: from here on every key's state goes to the journal's snapshot once.
    pub fn begin(&mut self, dbs: &[Db]) {
        self.epoch = self.epoch.wrapping_add(1);
        self.progress = Some(Progress { db: 0, left: first_len(dbs), begun: None });
    }

    /// Goes on until the snapshot holds about this many bytes; returns whether anything is left.
    pub fn advance(&mut self, dbs: &mut [Db], journal: &mut Journal, bytes: usize) -> bool {
        for _ in 0..STEP {
            if !self.save_next(dbs, journal, bytes) || journal.saved.len() >= bytes {
                break;
            }
        }
        self.progress.is_some()
    }

    /// Saves no more.
    pub fn abandon(&mut self) {
        self.progress = None;
    }

    /// Saves a key before it is changed, or read by a command that writes.
    pub fn preserve(&mut self, dbs: &mut [Db], journal: &mut Journal, db: usize, index: usize) {
        let Some(progress) = &mut self.progress else { return };
        let Some((key, item)) = dbs[db].items.get_index_mut(index) else { return };
        if item.epoch != self.epoch {
            item.epoch = self.epoch;
            journal.snapshot(db, key, &item.value, item.expires, Position::Element(0), usize::MAX);
        } else if let Some(begun) = progress.begun.take_if(|begun| (begun.db, &begun.key) == (db, key)) {
            journal.snapshot(db, key, &item.value, item.expires, begun.done, usize::MAX);
        }
    }

    /// Saves the rest of the value that is saved in part.
    pub fn finish_begun(&mut self, dbs: &mut [Db], journal: &mut Journal) {
        while self.progress.as_ref().is_some_and(|progress| progress.begun.is_some()) {
            self.save_next(dbs, journal, usize::MAX);
        }
    }

    /// Forgets a value that is saved in part, because its whole database goes.
    pub fn forget(&mut self, db: usize) -> Option<Begun> {
        self.progress.as_mut()?.begun.take_if(|begun| begun.db == db)
    }

    /// Goes on with such a value, because its database is back.
    pub fn remember(&mut self, begun: Option<Begun>) {
        if let Some(progress) = &mut self.progress
            && begun.is_some()
        {
            progress.begun = begun;
        }
    }

    /// Goes through all keys once more, because they have changed places; what is saved stays so.
    pub fn start_over(&mut self, dbs: &[Db]) {
        if let Some(progress) = &mut self.progress {
            (progress.db, progress.left) = (0, first_len(dbs));
        }
    }

    fn save_next(&mut self, dbs: &mut [Db], journal: &mut Journal, bytes: usize) -> bool {
        let Some(progress) = &mut self.progress else { return false };
        if let Some(Begun { db, key, done }) = progress.begun.take() {
            if let Some(item) = dbs[db].items.get(&key) {
                let done = journal.snapshot(db, &key, &item.value, item.expires, done, bytes);
                progress.begun = done.map(|done| Begun { db, key, done });
            }
            return true;
        }
        let db = progress.db;
        let items = &mut dbs[db].items;
        progress.left = progress.left.min(items.len());
        if progress.left > 0 {
            progress.left -= 1;
            if let Some((key, item)) = items.get_index_mut(progress.left)
                && item.epoch != self.epoch
            {
                item.epoch = self.epoch;
                let done = journal.snapshot(db, key, &item.value, item.expires, Position::Element(0), bytes);
                progress.begun = done.map(|done| Begun { db, key: key.clone(), done });
            }
        } else if db + 1 < dbs.len() {
            (progress.db, progress.left) = (db + 1, dbs[db + 1].items.len());
        } else {
            self.progress = None;
        }
        self.progress.is_some()
    }
}

fn first_len(dbs: &[Db]) -> usize {
    dbs.first().map_or(0, |db| db.items.len())
}
