//! Rewriting the log: the state of every key goes to a new file, step by step between rounds, and in
//! between, as they come, the changes. When all keys are in it the new file takes the old one's name.
//!
//! The old log goes on as ever until then, so a rewrite that fails, or is cut short, costs nothing.

use std::fs::{self, File};
use std::io::{self, Write};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, TryRecvError};

use super::syncer::Started;
use super::{Aof, FILE, NEW_FILE, private};
use crate::store::journal::Journal;
use crate::store::keyspace::Keyspace;

/// Bytes that a rewrite saves in one round.
const STEP: usize = 256 << 10;
/// How soon to look whether the disk is done with a rewritten file.
const SOON: u64 = 10;

/// A rewrite that is under way.
#[derive(Debug)]
pub struct Rewrite {
    file: Arc<File>,
    size: u64,
    saved: bool,
    syncing: Option<Receiver<io::Result<()>>>,
}

impl Rewrite {
    /// When it is to be gone on with.
    pub fn next_time(&self, now: u64) -> u64 {
        if self.saved { now + SOON } else { now }
    }

    fn write(&mut self, journal: &mut Journal) -> io::Result<()> {
        let bytes = journal.for_new_log();
        (&*self.file).write_all(&bytes)?;
        self.size += bytes.len() as u64;
        Ok(())
    }
}

impl Aof {
    /// Starts a rewrite with the keys as they are now.
    pub fn begin_rewrite(&mut self, keys: &mut Keyspace) {
        let file = private().create(true).truncate(true).write(true).open(self.folder.join(NEW_FILE));
        let file = match file {
            Ok(file) => Arc::new(file),
            Err(error) => return self.give_up_rewrite(keys, &error),
        };
        keys.journal.begin_snapshot();
        keys.begin_rewrite();
        self.rewrite = Some(Rewrite { file, size: 0, saved: false, syncing: None });
        tracing::info!(size = self.size, "the store's log is being rewritten");
    }

    /// Writes to the new file, if there is one, what is ready for it.
    pub fn write_to_new(&mut self, keys: &mut Keyspace) {
        if let Some(rewrite) = &mut self.rewrite
            && let Err(error) = rewrite.write(&mut keys.journal)
        {
            self.give_up_rewrite(keys, &error);
        }
    }

    /// Goes on with a rewrite; says whether it has come to its end.
    pub fn continue_rewrite(&mut self, keys: &mut Keyspace, at_once: bool) -> bool {
        loop {
            match self.step(keys, at_once) {
                Ok(true) => return true,
                Ok(false) if at_once && self.rewrite.is_some() => {}
                Ok(false) => return false,
                Err(error) => {
                    self.give_up_rewrite(keys, &error);
                    return false;
                }
            }
        }
    }

    fn step(&mut self, keys: &mut Keyspace, at_once: bool) -> io::Result<bool> {
        let Some(rewrite) = &mut self.rewrite else {
            return Ok(false);
        };
        if !rewrite.saved {
            rewrite.saved = !keys.continue_rewrite(STEP);
            rewrite.write(&mut keys.journal)?;
            return Ok(false);
        }
        if !at_once {
            let Some(syncing) = &rewrite.syncing else {
                match self.syncer.start(&rewrite.file) {
                    Started::Running(outcome) => rewrite.syncing = Some(outcome),
                    Started::Busy => {}
                    Started::NoThread(_) => {
                        // The end of the rewrite waits for the disk itself.
                        self.end_rewrite(&mut keys.journal)?;
                        return Ok(true);
                    }
                }
                return Ok(false);
            };
            match syncing.try_recv() {
                Err(TryRecvError::Empty) => return Ok(false),
                Ok(outcome) => outcome?,
                Err(TryRecvError::Disconnected) => {
                    return Err(io::Error::other("the thread that waits for the disk has ended"));
                }
            }
        }
        self.end_rewrite(&mut keys.journal)?;
        Ok(true)
    }

    fn end_rewrite(&mut self, journal: &mut Journal) -> io::Result<()> {
        let Some(rewrite) = &self.rewrite else {
            return Ok(());
        };
        rewrite.file.sync_data()?;
        fs::rename(self.folder.join(NEW_FILE), self.folder.join(FILE))?;
        // From here on the new file is the log, whatever else goes wrong.
        let Some(rewrite) = self.rewrite.take() else {
            return Ok(());
        };
        self.size = rewrite.size;
        self.base = self.size;
        self.file = rewrite.file;
        // It holds what the old file may have lacked, and which database it ends in is anyone's guess.
        self.pending.clear();
        self.problem = None;
        self.broken = None;
        self.rewrite_problem = None;
        self.retry_at = None;
        // What was begun was for the old file.
        self.syncer.running = None;
        journal.new_log();
        tracing::info!(size = self.size, "the store's log is rewritten");
        // Until the folder is on the disk a power cut may bring back the old file, which lacks what
        // comes from here on.
        self.folder_pending = true;
        Ok(())
    }

    /// Ends a rewrite that cannot be finished; it is tried again when the log has doubled again.
    fn give_up_rewrite(&mut self, keys: &mut Keyspace, error: &io::Error) {
        if self.rewrite_problem.is_none() {
            tracing::error!(%error, "the store's log could not be rewritten; the old one goes on");
        }
        self.rewrite_problem = Some(error.to_string());
        self.base = self.size;
        self.drop_rewrite(keys);
    }

    /// Leaves a rewrite where it is.
    pub fn drop_rewrite(&mut self, keys: &mut Keyspace) {
        keys.abandon_rewrite();
        if self.rewrite.take().is_some() {
            let _ = fs::remove_file(self.folder.join(NEW_FILE));
        }
    }
}
