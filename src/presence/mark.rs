//! What happened to a channel since the task last looked: the one part of the handles without a lock.
//!
//! A handle is in the mailbox once, however often it is marked. Whatever was counted before a mark is seen by
//! the look that takes the mark: taking and marking change the same byte, and each reads what the other wrote.
//! `tests/model` tries every order of both, on this very file.

use super::atomic::{AtomicU8, AtomicU64, Ordering};

/// It waits in the mailbox already.
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
    /// Nothing has happened yet.
    pub fn new() -> Self {
        Self { flags: AtomicU8::new(0), here: AtomicU64::new(0), heard: AtomicU64::new(0) }
    }

    /// One more is here.
    pub fn come(&self) {
        self.here.fetch_add(1, Ordering::Relaxed);
    }

    /// One less is here.
    pub fn go(&self) {
        self.here.fetch_sub(1, Ordering::Relaxed);
    }

    /// An integer arrived.
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

    /// Marks what happened. True if the handle is to be posted.
    pub fn set(&self, bit: u8) -> bool {
        self.flags.fetch_or(bit | QUEUED, Ordering::AcqRel) & QUEUED == 0
    }

    /// Takes what happened since the last look. Whatever happens after this posts the handle again.
    pub fn take(&self) -> Seen {
        let flags = self.flags.swap(0, Ordering::AcqRel);
        Seen { flags, here: self.here(), heard: self.heard() }
    }
}
