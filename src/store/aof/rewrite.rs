//! Rewriting the log: the state of every key is written to a new file, step by step between rounds, along with the
//! changes made in the meantime. When all keys are in it, the new file replaces the old one.
//!
//! The old log stays in use until then, so a rewrite that fails or is cut short does no harm.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, TryRecvError};

use super::files::{FILE, NEW_FILE, private};
use super::syncer::{Started, Syncer};
use crate::store::journal::Journal;
use crate::store::keyspace::Keyspace;

/// About how many bytes of keys a rewrite saves in one round.
const STEP: usize = 256 << 10;
/// Milliseconds until the next check whether the new file is on disk.
const SOON: u64 = 10;

/// A rewrite that is under way.
#[derive(Debug)]
pub struct Rewrite {
    folder: PathBuf,
    /// The new file.
    pub file: Arc<File>,
    /// How large it is, in bytes.
    pub size: u64,
    saved: bool,
    syncing: Option<Receiver<io::Result<()>>>,
}

impl Rewrite {
    /// Starts a rewrite of the current keys.
    pub fn begin(folder: &Path, keys: &mut Keyspace) -> io::Result<Self> {
        let file = private().create(true).truncate(true).write(true).open(folder.join(NEW_FILE))?;
        keys.journal.begin_snapshot();
        keys.begin_rewrite();
        Ok(Self { folder: folder.to_owned(), file: Arc::new(file), size: 0, saved: false, syncing: None })
    }

    /// When to continue the rewrite.
    pub fn next_time(&self, now: u64) -> u64 {
        if self.saved { now + SOON } else { now }
    }

    /// Writes to the new file whatever is ready for it.
    pub fn write(&mut self, journal: &mut Journal) -> io::Result<()> {
        let bytes = journal.for_new_log();
        (&*self.file).write_all(&bytes)?;
        self.size += bytes.len() as u64;
        Ok(())
    }

    /// Takes one step, or all of them at once; returns whether the new file has become the log.
    pub fn advance(&mut self, keys: &mut Keyspace, syncer: &mut Syncer, at_once: bool) -> io::Result<bool> {
        while !self.saved {
            self.saved = !keys.continue_rewrite(STEP);
            self.write(&mut keys.journal)?;
            if !at_once {
                return Ok(false);
            }
        }
        if !at_once && !self.is_synced(syncer)? {
            return Ok(false);
        }
        self.file.sync_data()?;
        fs::rename(self.folder.join(NEW_FILE), self.folder.join(FILE))?;
        Ok(true)
    }

    /// Whether the new file is on disk, or must be synced by the caller because no thread can do it.
    fn is_synced(&mut self, syncer: &mut Syncer) -> io::Result<bool> {
        let Some(syncing) = &self.syncing else {
            return Ok(match syncer.start(&self.file) {
                Started::Running(outcome) => {
                    self.syncing = Some(outcome);
                    false
                }
                Started::Busy => false,
                Started::NoThread(_) => true,
            });
        };
        match syncing.try_recv() {
            Err(TryRecvError::Empty) => Ok(false),
            Ok(outcome) => outcome.map(|()| true),
            Err(TryRecvError::Disconnected) => Err(io::Error::other("the thread that waits for the disk has ended")),
        }
    }
}
