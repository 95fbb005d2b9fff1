//! The queues in which blocked clients wait for keys.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use crate::store::pubsub::ClientSlot;
use crate::store::small_bytes::SmallBytes;

/// What a client waits for: a database, a key in it, and the type that the key must get.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Awaited {
    /// The database.
    pub db: usize,
    /// The key.
    pub key: SmallBytes,
    /// The type, as `TYPE` reports it.
    pub type_name: &'static str,
}

/// Who waits for which key, and until when.
#[derive(Debug, Default)]
pub struct Waiting {
    /// The clients that wait for each key, by turn: first come, first served.
    lines: HashMap<Awaited, BTreeMap<u64, ClientSlot>>,
    /// When waits end, in milliseconds since 1970.
    deadlines: BTreeSet<(u64, ClientSlot)>,
    /// The last turn that was given out.
    turn: u64,
    clients: usize,
}

impl Waiting {
    /// How many clients are waiting.
    pub fn len(&self) -> usize {
        self.clients
    }

    /// How many of them have a deadline.
    pub fn timed(&self) -> usize {
        self.deadlines.len()
    }

    /// Begins the wait of a client and returns its turn.
    pub fn begin(&mut self, until: Option<u64>, slot: ClientSlot) -> u64 {
        self.turn += 1;
        self.clients += 1;
        self.deadlines.extend(until.map(|until| (until, slot)));
        self.turn
    }

    /// Ends a client's wait, once it has left all queues.
    pub fn end(&mut self, until: Option<u64>, slot: ClientSlot) {
        self.clients -= 1;
        if let Some(until) = until {
            self.deadlines.remove(&(until, slot));
        }
    }

    /// Adds a client to a queue; returns whether it was not there yet.
    pub fn join(&mut self, awaited: Awaited, turn: u64, slot: ClientSlot) -> bool {
        self.lines.entry(awaited).or_default().insert(turn, slot).is_none()
    }

    /// Removes a client from a queue; returns whether it was there.
    pub fn leave(&mut self, awaited: &Awaited, turn: u64) -> bool {
        let Some(line) = self.lines.get_mut(awaited) else { return false };
        let was_there = line.remove(&turn).is_some();
        if line.is_empty() {
            self.lines.remove(awaited);
        }
        was_there
    }

    /// The first client in a queue whose turn comes after `turn`.
    pub fn next(&self, awaited: &Awaited, turn: u64) -> Option<(u64, ClientSlot)> {
        let (turn, slot) = self.lines.get(awaited)?.range(turn + 1..).next()?;
        Some((*turn, *slot))
    }

    /// The earliest deadline.
    pub fn next_deadline(&self) -> Option<u64> {
        self.deadlines.first().map(|(at, _)| *at)
    }

    /// Removes and returns a client whose deadline has passed.
    pub fn next_over(&mut self, now: u64) -> Option<ClientSlot> {
        let (at, _) = self.deadlines.first()?;
        if *at > now {
            return None;
        }
        self.deadlines.pop_first().map(|(_, slot)| slot)
    }
}
