//! What happened to a channel since the task last looked: the only part of the handles without a lock.
//!
//! A handle is in the mailbox once, however often it is marked. Whatever was counted before a mark is seen by the
//! look that takes the mark: taking and marking change the same byte, and each reads what the other wrote.
//! `tests/model` tries every order of the two, on this very file.

use super::atomic::{AtomicU8, AtomicU64, Ordering};

/// The handle already waits in the mailbox.
const QUEUED: u8 = 1;

/// See the module.
pub struct Mark {
    flags: AtomicU8,
    here: AtomicU64,
    heard: AtomicU64,
}

/// What a look has seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Seen {
    /// The bits that were marked.
    pub flags: u8,
    /// How many are here.
    pub here: u64,
    /// How many integers have arrived.
    pub heard: u64,
}

impl Mark {
    /// Starts with nothing marked.
    pub fn new() -> Self {
        Self { flags: AtomicU8::new(0), here: AtomicU64::new(0), heard: AtomicU64::new(0) }
    }

    /// Counts one more.
    pub fn come(&self) {
        self.here.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts one less.
    pub fn go(&self) {
        self.here.fetch_sub(1, Ordering::Relaxed);
    }

    /// Counts an integer that arrived.
    pub fn hear(&self) {
        self.heard.fetch_add(1, Ordering::Relaxed);
    }

    /// How many are here.
    pub fn here(&self) -> u64 {
        self.here.load(Ordering::Relaxed)
    }

    /// How many integers have arrived.
    pub fn heard(&self) -> u64 {
        self.heard.load(Ordering::Relaxed)
    }

    /// Marks what happened. Returns true if the handle must be posted.
    pub fn set(&self, bit: u8) -> bool {
        self.flags.fetch_or(bit | QUEUED, Ordering::AcqRel) & QUEUED == 0
    }

    /// Takes what happened since the last look. Whatever happens later posts the handle again.
    pub fn take(&self) -> Seen {
        let flags = self.flags.swap(0, Ordering::AcqRel);
        Seen { flags, here: self.here(), heard: self.heard() }
    }
}
