//! Wrong passwords: their answers are delayed, and the log reports them at most once a minute.

use std::collections::BTreeSet;

use crate::store::pubsub::ClientSlot;

/// How many wrong passwords are answered without delay, because people mistype.
const FREE: u64 = 3;
/// How much longer each further answer is delayed, in milliseconds.
const STEP: u64 = 50;
/// The longest delay, in milliseconds. Clients with a wrong password must get their answer before they give up
/// waiting.
const LONGEST: u64 = 500;
/// How long it takes until one wrong password is forgotten, in milliseconds.
const FORGET: u64 = 1000;
/// The least time between two log lines, in milliseconds.
const TELL: u64 = 60_000;

/// Counts wrong passwords; see the module documentation.
#[derive(Debug, Default)]
pub struct AuthGuard {
    /// Wrong passwords since the store started.
    pub total: u64,
    recent: u64,
    counted_at: u64,
    told_at: Option<u64>,
    untold: u64,
    /// Clients whose answer is held back: until when, slot and ID.
    held: BTreeSet<(u64, ClientSlot, u64)>,
}

impl AuthGuard {
    /// Notes a wrong password; returns until when its answer must be held back, if at all.
    pub fn wrong(&mut self, now: u64, slot: ClientSlot, id: u64) -> Option<u64> {
        self.total += 1;
        self.untold += 1;
        self.recent = self.recent.saturating_sub(now.saturating_sub(self.counted_at) / FORGET) + 1;
        self.counted_at = now;
        let delay = (self.recent.saturating_sub(FREE) * STEP).min(LONGEST);
        let until = (delay > 0).then_some(now + delay)?;
        self.held.insert((until, slot, id));
        Some(until)
    }

    /// Returns how many wrong passwords to log now, if a log line is due.
    pub fn next_line(&mut self, now: u64) -> Option<u64> {
        if self.told_at.is_some_and(|at| now < at + TELL) {
            return None;
        }
        self.told_at = Some(now);
        Some(std::mem::take(&mut self.untold))
    }

    /// When the next answer is due.
    pub fn next_time(&self) -> Option<u64> {
        self.held.first().map(|(until, ..)| *until)
    }

    /// Returns the next client whose answer is due: slot and ID.
    pub fn release(&mut self, now: u64) -> Option<(ClientSlot, u64)> {
        let (until, ..) = self.held.first()?;
        if *until > now {
            return None;
        }
        self.held.pop_first().map(|(_, slot, id)| (slot, id))
    }
}
