//! Saving the state of every key for a rewrite of the log, step by step, while commands keep running.
//!
//! A key is saved when its turn comes, or at once when a command that may write is about to access it. So each key's
//! state is in the new log before every change to it and before every command that reads it, and changes can be
//! appended to that log as they come. A large value is saved in parts; if a command accesses it in the meantime, the
//! rest is saved at once.

use super::db::Db;
use crate::store::journal::{Journal, Position};
use crate::store::small_bytes::SmallBytes;

/// The most keys examined in one step.
const STEP: usize = 1024;

/// How far the keys have been saved for a rewrite.
#[derive(Debug, Default)]
pub struct Snapshot {
    /// The number of the current or last rewrite. A key with this number need not be saved.
    pub epoch: u32,
    /// The progress of the running rewrite.
    progress: Option<Progress>,
}

#[derive(Debug)]
struct Progress {
    /// The database whose keys are being saved.
    db: usize,
    /// How many of its keys are left. Removal moves the last key into the gap, so going downwards
    /// misses none.
    left: usize,
    /// The value that is partly saved, if there is one.
    begun: Option<Begun>,
}

/// A value that is partly saved.
#[derive(Debug)]
pub struct Begun {
    db: usize,
    key: SmallBytes,
    done: Position,
}

impl Snapshot {
    /// Begins a rewrite: from now on, every key's state goes to the journal's snapshot once.
    pub fn begin(&mut self, dbs: &[Db]) {
        self.epoch = self.epoch.wrapping_add(1);
        self.progress = Some(Progress { db: 0, left: first_len(dbs), begun: None });
    }

    /// Continues until the snapshot holds about this many bytes; returns whether any keys are left.
    pub fn advance(&mut self, dbs: &mut [Db], journal: &mut Journal, bytes: usize) -> bool {
        for _ in 0..STEP {
            if !self.save_next(dbs, journal, bytes) || journal.saved.len() >= bytes {
                break;
            }
        }
        self.progress.is_some()
    }

    /// Stops saving keys.
    pub fn abandon(&mut self) {
        self.progress = None;
    }

    /// Saves a key before it is changed, or read by a command that may write.
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

    /// Saves the rest of the value that is partly saved.
    pub fn finish_begun(&mut self, dbs: &mut [Db], journal: &mut Journal) {
        while self.progress.as_ref().is_some_and(|progress| progress.begun.is_some()) {
            self.save_next(dbs, journal, usize::MAX);
        }
    }

    /// Forgets and returns the partly saved value if its database is being flushed.
    pub fn forget(&mut self, db: usize) -> Option<Begun> {
        self.progress.as_mut()?.begun.take_if(|begun| begun.db == db)
    }

    /// Resumes a partly saved value, because its database has been restored.
    pub fn remember(&mut self, begun: Option<Begun>) {
        if let Some(progress) = &mut self.progress
            && begun.is_some()
        {
            progress.begun = begun;
        }
    }

    /// Goes through all keys again, because their positions have changed; saved keys are skipped.
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
