//! Wrong passwords: each costs its client time, and the log hears of them once a minute.

use std::collections::BTreeSet;

use crate::store::pubsub::Slot;

/// This many wrong passwords are answered at once: a person's slips.
const FREE: u64 = 3;
/// Each further one is answered this much later, in milliseconds.
const STEP: u64 = 50;
/// The longest delay; whoever has a wrong password must still hear so before they give up waiting.
const LONGEST: u64 = 500;
/// Milliseconds after which one wrong password is forgotten.
const FORGET: u64 = 1000;
/// Milliseconds between two lines of the log.
const TELL: u64 = 60_000;

/// Keeps count of wrong passwords; see the module's text.
#[derive(Debug, Default)]
pub struct AuthGuard {
    /// Wrong passwords since the store started.
    pub total: u64,
    recent: u64,
    counted_at: u64,
    told_at: Option<u64>,
    untold: u64,
    /// Clients whose answer is held back: until when, their slot and number.
    held: BTreeSet<(u64, Slot, u64)>,
}

impl AuthGuard {
    /// Notes a wrong password; says until when its answer is to be held back, if at all.
    pub fn wrong(&mut self, now: u64, slot: Slot, id: u64) -> Option<u64> {
        self.total += 1;
        self.untold += 1;
        self.recent = self.recent.saturating_sub(now.saturating_sub(self.counted_at) / FORGET) + 1;
        self.counted_at = now;
        let delay = (self.recent.saturating_sub(FREE) * STEP).min(LONGEST);
        let until = (delay > 0).then_some(now + delay)?;
        self.held.insert((until, slot, id));
        Some(until)
    }

    /// How many wrong passwords are to be told of now, if any.
    pub fn next_line(&mut self, now: u64) -> Option<u64> {
        if self.told_at.is_some_and(|at| now < at + TELL) {
            return None;
        }
        self.told_at = Some(now);
        Some(std::mem::take(&mut self.untold))
    }

    /// When the next answer is to go out.
    pub fn next_time(&self) -> Option<u64> {
        self.held.first().map(|(until, ..)| *until)
    }

    /// The next client, with its number, whose answer may go out.
    pub fn release(&mut self, now: u64) -> Option<(Slot, u64)> {
        let (until, ..) = self.held.first()?;
        if *until > now {
            return None;
        }
        self.held.pop_first().map(|(_, slot, id)| (slot, id))
    }
}
