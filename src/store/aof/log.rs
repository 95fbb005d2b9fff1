//! An open log: appending, syncing, and deciding when to rewrite it.

use std::fs::{self, File};
use std::io::{self, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::TryRecvError;

use super::files::{FILE, LOCK, NEW_FILE, lock, private};
use super::replay::replay;
use super::rewrite::Rewrite;
use super::syncer::{Started, Syncer};
use crate::store::StoreError;
use crate::store::data::Data;
use crate::store::journal::Journal;
use crate::store::keyspace::Keyspace;
use crate::store::settings::Fsync;

/// A log of up to this many bytes is not rewritten when it doubles.
const SMALL: u64 = 1 << 20;
/// Milliseconds between two syncs, and before a failed write is retried.
const SECOND: u64 = 1000;

/// An open log; see the documentation of `aof`.
#[derive(Debug)]
pub struct Aof {
    folder: PathBuf,
    file: Arc<File>,
    /// Kept open for its lock.
    _lock: File,
    size: u64,
    /// The size against which the growth of the log is measured.
    base: u64,
    fsync: Fsync,
    pending: Vec<u8>,
    problem: Option<String>,
    /// Why the file cannot be trusted to hold what was written to it. Only a new file fixes that.
    broken: Option<String>,
    /// Why the last rewrite failed, if it did.
    rewrite_problem: Option<String>,
    /// Whether the new file's name must still be synced to disk, and why that failed, if it did.
    folder_pending: bool,
    folder_problem: Option<String>,
    retry_at: Option<u64>,
    unsynced_since: Option<u64>,
    syncer: Syncer,
    rewrite: Option<Rewrite>,
    wanted: Wanted,
}

/// The outcome of a round for the log.
#[derive(Debug, Clone, Copy)]
pub struct Round {
    /// Whether changes of the round are less safe than the settings demand.
    pub unsafe_changes: bool,
    /// Whether a rewrite has finished.
    pub rewritten: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wanted {
    Nothing,
    Rewrite,
    RewriteAtOnce,
}

impl Aof {
    /// Locks the folder, replays its log into `data`, and prepares the log for appending.
    pub fn open(folder: &Path, fsync: Fsync, data: &mut Data) -> Result<Self, StoreError> {
        let at = |path: &Path| {
            let path = path.to_owned();
            move |source: io::Error| StoreError::Folder { path, source }
        };
        fs::create_dir_all(folder).map_err(at(folder))?;
        let lock = lock(folder).map_err(|source| match source.kind() {
            io::ErrorKind::WouldBlock => StoreError::Locked { path: folder.to_owned() },
            _ => StoreError::Folder { path: folder.join(LOCK), source },
        })?;
        let _ = fs::remove_file(folder.join(NEW_FILE));
        let path = folder.join(FILE);
        let mut file = private().create(true).truncate(false).read(true).write(true).open(&path).map_err(at(&path))?;
        let good = replay(&mut file, &path, data)?.good;
        let size = file.metadata().map_err(at(&path))?.len();
        if good < size {
            tracing::warn!(path = %path.display(), offset = good, lost = size - good,
                "the store's log ends in the middle of a change; cut it off");
            file.set_len(good).map_err(at(&path))?;
        }
        file.seek(SeekFrom::Start(good)).map_err(at(&path))?;
        data.keys.journal.enabled = true;
        tracing::info!(path = %path.display(), size = good, "read the store's log");
        Ok(Self {
            folder: folder.to_owned(),
            file: Arc::new(file),
            _lock: lock,
            size: good,
            base: good,
            fsync,
            pending: Vec::new(),
            problem: None,
            broken: None,
            rewrite_problem: None,
            folder_pending: false,
            folder_problem: None,
            retry_at: None,
            unsynced_since: None,
            syncer: Syncer::default(),
            rewrite: None,
            wanted: Wanted::Nothing,
        })
    }

    /// Changes when the log is synced to disk.
    pub fn set_fsync(&mut self, fsync: Fsync) {
        self.fsync = fsync;
    }

    /// Why changes cannot be logged, if they cannot.
    pub fn problem(&self) -> Option<&str> {
        self.broken.as_deref().or(self.folder_problem.as_deref()).or(self.problem.as_deref())
    }

    /// Why the last rewrite failed, if it did.
    pub fn rewrite_problem(&self) -> Option<&str> {
        self.rewrite_problem.as_deref()
    }

    /// Whether the log is being rewritten.
    pub fn is_rewriting(&self) -> bool {
        self.rewrite.is_some()
    }

    /// How large the log is, in bytes.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Requests a rewrite of the log: in steps after this round, or completely before the round's replies are sent.
    pub fn request_rewrite(&mut self, at_once: bool) {
        self.wanted = if at_once { Wanted::RewriteAtOnce } else { Wanted::Rewrite };
    }

    /// Writes the changes of a round to the log, and continues its syncs and rewrites.
    pub fn write_round(&mut self, keys: &mut Keyspace) -> Round {
        let now = keys.now;
        let wrote = !keys.journal.ready.is_empty();
        if let Some(rewrite) = &mut self.rewrite
            && let Err(error) = rewrite.write(&mut keys.journal)
        {
            self.give_up_rewrite(keys, &error);
        }
        let safe = self.append(&mut keys.journal.ready, now);
        self.sync(wrote, now);
        self.sync_folder(now);
        if self.broken.is_some() && self.rewrite.is_none() && self.retry_at.is_none_or(|at| at <= now) {
            self.retry_at = Some(now + SECOND);
            self.wanted = Wanted::Rewrite;
        }
        let safe = safe && self.broken.is_none() && !self.folder_pending;
        let wanted = std::mem::replace(&mut self.wanted, Wanted::Nothing);
        if self.rewrite.is_none() && (self.has_doubled() || wanted != Wanted::Nothing) {
            self.begin_rewrite(keys);
        }
        let rewritten = self.continue_rewrite(keys, wanted == Wanted::RewriteAtOnce);
        Round { unsafe_changes: wrote && !safe, rewritten }
    }

    /// Syncs the log to disk at shutdown.
    pub fn close(&mut self, keys: &mut Keyspace) {
        self.drop_rewrite(keys);
        if let Err(error) = self.file.sync_data() {
            tracing::error!(%error, "the store's log could not be synced to disk at shutdown");
        }
    }

    /// When the log needs attention.
    pub fn next_time(&self, now: u64) -> Option<u64> {
        let rewrite = self.rewrite.as_ref().map(|rewrite| rewrite.next_time(now));
        let sync = match self.fsync {
            Fsync::EverySecond => self.unsynced_since.map(|since| since + SECOND),
            Fsync::Always | Fsync::No => None,
        };
        let folder = self.folder_pending && self.folder_problem.is_none();
        let wanted = (self.wanted != Wanted::Nothing || folder).then_some(now);
        [rewrite, sync, self.retry_at, wanted].into_iter().flatten().min()
    }

    /// Writes what is ready; returns whether nothing is left to be written.
    fn append(&mut self, ready: &mut Vec<u8>, now: u64) -> bool {
        self.pending.append(ready);
        let retry = self.retry_at.is_some_and(|at| at <= now);
        if self.pending.is_empty() && !retry {
            return true;
        }
        if self.retry_at.is_some() && !retry {
            return false;
        }
        match self.write() {
            Ok(()) => {
                if self.problem.take().is_some() {
                    tracing::info!("the store's log is writable again");
                }
                if self.broken.is_none() {
                    self.retry_at = None;
                }
                true
            }
            Err(error) => {
                if self.problem.is_none() {
                    tracing::error!(%error, "the store's log cannot be written; writes are refused");
                }
                self.problem = Some(error.to_string());
                self.retry_at = Some(now + SECOND);
                false
            }
        }
    }

    fn write(&mut self) -> io::Result<()> {
        let mut file = &*self.file;
        if let Err(error) = file.write_all(&self.pending) {
            // A partial write would look like damage at the next start.
            file.set_len(self.size)?;
            file.seek(SeekFrom::Start(self.size))?;
            return Err(error);
        }
        self.size += self.pending.len() as u64;
        self.pending.clear();
        if self.fsync == Fsync::Always
            && let Err(error) = file.sync_data()
        {
            self.distrust(&error);
        }
        Ok(())
    }

    /// After a failed sync the kernel may have dropped what it could not write, and another sync would succeed
    /// without it. So the file is never trusted again: all keys are written to a new one, and changes are refused
    /// until that one is in place.
    fn distrust(&mut self, error: &io::Error) {
        if self.broken.is_none() {
            tracing::error!(%error, "the store's log could not be synced to disk; writes are refused until \
                a new log is written");
        }
        self.broken = Some(error.to_string());
    }

    /// Syncs the name of a rewritten log to disk, once that is due.
    fn sync_folder(&mut self, now: u64) {
        if !self.folder_pending || self.retry_at.is_some_and(|at| at > now) {
            return;
        }
        match File::open(&self.folder).and_then(|folder| folder.sync_all()) {
            Ok(()) => {
                self.folder_pending = false;
                self.folder_problem = None;
            }
            Err(error) => {
                if self.folder_problem.is_none() {
                    tracing::error!(%error, folder = %self.folder.display(), "the store's log is rewritten, but its \
                        folder could not be forced onto the disk: after a power cut the old log may be back; \
                        changes are refused until it can");
                }
                self.folder_problem = Some(error.to_string());
                self.retry_at = Some(now + SECOND);
            }
        }
    }

    /// Syncs in the background once a second.
    fn sync(&mut self, wrote: bool, now: u64) {
        if self.fsync != Fsync::EverySecond {
            self.unsynced_since = None;
            return;
        }
        if wrote && self.unsynced_since.is_none() {
            self.unsynced_since = Some(now);
        }
        if let Some(running) = &self.syncer.running {
            match running.try_recv() {
                Err(TryRecvError::Empty) => return,
                Ok(Err(error)) => self.distrust(&error),
                Ok(Ok(())) => {}
                Err(TryRecvError::Disconnected) => {
                    self.distrust(&io::Error::other("the thread that waits for the disk has ended"));
                }
            }
            self.syncer.running = None;
        }
        if self.unsynced_since.is_some_and(|since| since + SECOND <= now) {
            match self.syncer.start(&self.file) {
                Started::Running(outcome) => {
                    self.syncer.running = Some(outcome);
                    self.unsynced_since = None;
                }
                // The thread is busy with other files; this one is tried again later.
                Started::Busy => {}
                Started::NoThread(error) => {
                    tracing::warn!(%error, "cannot start a thread that syncs the log; the store waits for the disk \
                        itself once a second");
                    if let Err(error) = self.file.sync_data() {
                        self.distrust(&error);
                    }
                    self.unsynced_since = None;
                }
            }
        }
    }

    fn begin_rewrite(&mut self, keys: &mut Keyspace) {
        match Rewrite::begin(&self.folder, keys) {
            Ok(rewrite) => {
                self.rewrite = Some(rewrite);
                tracing::info!(size = self.size, "rewriting the store's log");
            }
            Err(error) => self.give_up_rewrite(keys, &error),
        }
    }

    /// Continues a rewrite, if one is under way; returns whether it has finished.
    fn continue_rewrite(&mut self, keys: &mut Keyspace, at_once: bool) -> bool {
        let Some(rewrite) = &mut self.rewrite else { return false };
        match rewrite.advance(keys, &mut self.syncer, at_once) {
            Ok(true) => {
                self.take_over_rewritten(&mut keys.journal);
                true
            }
            Ok(false) => false,
            Err(error) => {
                self.give_up_rewrite(keys, &error);
                false
            }
        }
    }

    /// Makes the new file the log.
    fn take_over_rewritten(&mut self, journal: &mut Journal) {
        let Some(rewrite) = self.rewrite.take() else { return };
        self.size = rewrite.size;
        self.base = self.size;
        self.file = rewrite.file;
        // The new file holds whatever the old one may have lacked, and its last selected database is unknown.
        self.pending.clear();
        self.problem = None;
        self.broken = None;
        self.rewrite_problem = None;
        self.retry_at = None;
        // Any sync still running is for the old file.
        self.syncer.running = None;
        journal.new_log();
        tracing::info!(size = self.size, "rewrote the store's log");
        // Until the folder is synced, a power cut may bring back the old file, which lacks all changes from now on.
        self.folder_pending = true;
    }

    /// Gives up a rewrite that has failed; it is retried when the log has doubled again.
    fn give_up_rewrite(&mut self, keys: &mut Keyspace, error: &io::Error) {
        if self.rewrite_problem.is_none() {
            tracing::error!(%error, "the store's log could not be rewritten; the old one stays in use");
        }
        self.rewrite_problem = Some(error.to_string());
        self.base = self.size;
        self.drop_rewrite(keys);
    }

    /// Abandons a rewrite, and removes its file.
    fn drop_rewrite(&mut self, keys: &mut Keyspace) {
        keys.abandon_rewrite();
        if self.rewrite.take().is_some() {
            let _ = fs::remove_file(self.folder.join(NEW_FILE));
        }
    }

    fn has_doubled(&self) -> bool {
        self.size > SMALL && self.size / 2 > self.base
    }
}

#[cfg(test)]
#[path = "log_tests.rs"]
mod tests;
