//! The log on disk: every change in the order in which it was made, as commands in RESP.
//!
//! One file in a folder that one process at a time may use. What a round of the loop changed is
//! appended before its replies leave; how soon it is forced onto the disk, [`Fsync`] says. When the
//! file has doubled since it was last rewritten it is rewritten. Being plain RESP, `redis-cli --pipe < headcount.aof` loads it into any Redis.
//!
//! A write that fails is told: commands that write are refused with `MISCONF` until it succeeds, and
//! under [`Fsync::Always`] those whose changes are not on disk lose their connection, not get an OK.

use std::fs::{File, OpenOptions};
use std::io::{self, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::TryRecvError;

use super::keyspace::Keyspace;
use super::settings::Fsync;

pub mod repair;
mod replay;
mod rewrite;
mod syncer;

use rewrite::Rewrite;
use syncer::{Started, Syncer};

/// The log's name in its folder.
const FILE: &str = "headcount.aof";
/// The file whose lock says that the folder is in use.
const LOCK: &str = "lock";
/// The name of the file that a rewrite writes.
const NEW_FILE: &str = "headcount.aof.new";
/// Smaller logs are not worth a rewrite.
const SMALL: u64 = 1 << 20;
/// Milliseconds between two syncs, and until a failed write is tried again.
const SECOND: u64 = 1000;

/// A log that is open; see the module's text.
#[derive(Debug)]
pub struct Aof {
    folder: PathBuf,
    file: Arc<File>,
    /// Held for its lock.
    _lock: File,
    size: u64,
    /// How large it was when it was last rewritten.
    base: u64,
    fsync: Fsync,
    pending: Vec<u8>,
    problem: Option<String>,
    /// Why the file cannot be trusted to hold what was written to it. Only a new file mends that.
    broken: Option<String>,
    /// Why the last rewrite failed, if it did.
    rewrite_problem: Option<String>,
    /// Whether the new file's name is yet to be forced onto the disk, and why it could not be so far.
    folder_pending: bool,
    folder_problem: Option<String>,
    retry_at: Option<u64>,
    unsynced_since: Option<u64>,
    syncer: Syncer,
    rewrite: Option<Rewrite>,
    wanted: Wanted,
}

/// What became of a round in the log.
#[derive(Debug, Clone, Copy)]
pub struct Round {
    /// Whether changes of the round are not as safe as the settings demand.
    pub unsafe_changes: bool,
    /// Whether a rewrite has come to its end.
    pub rewritten: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wanted {
    Nothing,
    Rewrite,
    RewriteAtOnce,
}

impl Aof {
    /// Changes when the log is forced onto the disk.
    pub fn set_fsync(&mut self, fsync: Fsync) {
        self.fsync = fsync;
    }

    /// Why changes cannot be written down, if they cannot.
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

    /// Has the log rewritten, in steps after this round or whole before the round's replies leave.
    pub fn request_rewrite(&mut self, at_once: bool) {
        self.wanted = if at_once { Wanted::RewriteAtOnce } else { Wanted::Rewrite };
    }

    /// Writes down what the keys have left to be written, and does the log's other business.
    pub fn write_round(&mut self, keys: &mut Keyspace) -> Round {
        let now = keys.now;
        let wrote = !keys.journal.ready.is_empty();
        self.write_to_new(keys);
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
        let rewritten = self.rewrite.is_some() && self.continue_rewrite(keys, wanted == Wanted::RewriteAtOnce);
        Round { unsafe_changes: wrote && !safe, rewritten }
    }

    /// Forces the log onto the disk at the end.
    pub fn close(&mut self, keys: &mut Keyspace) {
        self.drop_rewrite(keys);
        if let Err(error) = self.file.sync_data() {
            tracing::error!(%error, "the store's log could not be forced onto the disk at the end");
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

    /// Writes what is ready. Says whether it is as safe as the settings demand.
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
                    tracing::info!("the store's log can be written again");
                }
                if self.broken.is_none() {
                    self.retry_at = None;
                }
                true
            }
            Err(error) => {
                if self.problem.is_none() {
                    tracing::error!(%error, "the store's log cannot be written; changes are refused");
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
            // Whatever part was written would look like damage to the next start.
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

    /// After a failed sync the kernel may have dropped what it could not write, and another sync would
    /// succeed without it. So the file is never trusted again: all keys go to a new one, and changes are
    /// refused until it is in place.
    fn distrust(&mut self, error: &io::Error) {
        if self.broken.is_none() {
            tracing::error!(%error, "the store's log could not be forced onto the disk; changes are refused until \
                a new log is written");
        }
        self.broken = Some(error.to_string());
    }

    /// Forces the name of a rewritten log onto the disk, once it is due.
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
                // It is with a rewritten file; this one has its turn next.
                Started::Busy => {}
                Started::NoThread(error) => {
                    tracing::warn!(%error, "no thread to wait for the disk: the store itself waits for it once a second");
                    if let Err(error) = self.file.sync_data() {
                        self.distrust(&error);
                    }
                    self.unsynced_since = None;
                }
            }
        }
    }

    fn has_doubled(&self) -> bool {
        self.size > SMALL && self.size / 2 > self.base
    }
}

/// How files are made: the data is for the server's user only.
fn private() -> OpenOptions {
    let mut options = File::options();
    options.mode(0o600);
    options
}

fn lock(folder: &Path) -> io::Result<File> {
    let file = private().create(true).truncate(false).write(true).open(folder.join(LOCK))?;
    rustix::fs::flock(&file, rustix::fs::FlockOperation::NonBlockingLockExclusive)?;
    Ok(file)
}

#[cfg(test)]
#[path = "aof_tests.rs"]
mod tests;
