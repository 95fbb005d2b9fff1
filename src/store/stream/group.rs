//! A consumer group: how far it has read, and which entries are pending for which consumer.

use std::collections::{BTreeMap, BTreeSet};

use slab::Slab;

use crate::store::small_bytes::SmallBytes;
use crate::store::undo::Recorder;

use super::entries::Entries;
use super::id::Id;

/// The memory that a pending entry takes in its group and its consumer, in bytes.
const PENDING: usize = 96;
/// The memory that a consumer takes besides its name and its pending entries, in bytes.
const CONSUMER: usize = 176;

/// An entry that was delivered but not acknowledged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pending {
    /// The number of the consumer that has it.
    pub consumer: usize,
    /// When it was last delivered, in milliseconds since 1970.
    pub delivered: u64,
    /// How often it was delivered.
    pub count: u64,
}

/// A consumer of a group.
#[derive(Debug, Clone)]
pub struct Consumer {
    /// Its name.
    pub name: SmallBytes,
    /// When it last read or claimed entries; 0 if that was before a restart.
    pub seen: u64,
    /// The ids of the entries that it has not acknowledged.
    pub pending: BTreeSet<Id>,
}

/// A consumer group.
#[derive(Debug, Default, Clone)]
pub struct Group {
    /// The id of the last entry delivered to the group.
    pub last: Id,
    /// How many entries the group has read, if that is known.
    pub read: Option<u64>,
    pending: BTreeMap<Id, Pending>,
    names: BTreeMap<SmallBytes, usize>,
    consumers: Slab<Consumer>,
    heap: usize,
    /// Records how to undo changes, except those to `last` and `read`.
    pub changes: Recorder<GroupChange>,
}

/// A step that undoes a change to a group.
#[derive(Debug)]
pub enum GroupChange {
    /// Removes a consumer that has no pending entries.
    TakeConsumer(SmallBytes),
    /// Puts a consumer back with its pending entries.
    PutConsumer(Box<Consumer>, Vec<(Id, Pending)>),
    /// Restores when a consumer was last seen.
    See(usize, u64),
    /// Gives an entry back to the consumer that had it.
    Give(Id, Pending),
    /// Removes a pending entry.
    Forget(Id),
}

impl Group {
    /// Creates a group that has read up to an id.
    pub fn new(last: Id, read: Option<u64>) -> Self {
        Self { last, read, ..Self::default() }
    }

    /// An estimate of the memory that the group takes, in bytes.
    pub fn footprint(&self) -> usize {
        200 + self.heap + self.pending.len() * PENDING
    }

    /// The pending entries by id.
    pub fn pending(&self) -> &BTreeMap<Id, Pending> {
        &self.pending
    }

    /// The consumers by name, with their numbers.
    pub fn consumers(&self) -> impl ExactSizeIterator<Item = (usize, &Consumer)> {
        self.names.values().map(|number| (*number, &self.consumers[*number]))
    }

    /// The consumer with this number.
    pub fn consumer(&self, number: usize) -> Option<&Consumer> {
        self.consumers.get(number)
    }

    /// The number of the consumer with this name.
    pub fn find(&self, name: &[u8]) -> Option<usize> {
        self.names.get(name).copied()
    }

    /// Adds a consumer; `None` if the name is taken.
    pub fn add_consumer(&mut self, name: &[u8], now: u64) -> Option<usize> {
        if self.names.contains_key(name) {
            return None;
        }
        let name = SmallBytes::new(name);
        self.heap += CONSUMER + 2 * name.heap_size();
        let number = self.consumers.insert(Consumer { name: name.clone(), seen: now, pending: BTreeSet::new() });
        self.changes.note(|| (GroupChange::TakeConsumer(name.clone()), name.heap_size()));
        self.names.insert(name, number);
        Some(number)
    }

    /// Removes a consumer and its pending entries; returns how many entries were pending.
    pub fn remove_consumer(&mut self, name: &[u8]) -> Option<usize> {
        let number = self.names.remove(name)?;
        let consumer = self.consumers.try_remove(number)?;
        self.heap -= CONSUMER + 2 * consumer.name.heap_size();
        let had = consumer.pending.iter().filter_map(|id| self.pending.remove_entry(id));
        let pending: Vec<(Id, Pending)> = had.collect();
        let count = pending.len();
        let held = CONSUMER + count * PENDING;
        self.changes.note(|| (GroupChange::PutConsumer(Box::new(consumer), pending), held));
        Some(count)
    }

    /// Records when a consumer was last seen.
    pub fn see(&mut self, number: usize, now: u64) {
        if let Some(consumer) = self.consumers.get_mut(number) {
            let before = std::mem::replace(&mut consumer.seen, now);
            self.changes.note(|| (GroupChange::See(number, before), 0));
        }
    }

    /// Records the delivery of the next entry.
    pub fn advance(&mut self, entries: &Entries, id: Id) {
        self.read = match self.read {
            Some(read) if !entries.has_holes_from(id) => Some(read.saturating_add(1)),
            read if entries.added == 0 => read,
            _ => entries.added_up_to(id),
        };
        self.last = id;
    }

    /// How many entries the group has read, as a command's argument; -1 if unknown.
    pub fn read_text(&self) -> String {
        self.read.map_or(-1, |read| i64::try_from(read).unwrap_or(i64::MAX)).to_string()
    }

    /// How many entries the group has not read yet, if that is known.
    pub fn lag(&self, entries: &Entries) -> Option<i64> {
        if entries.added == 0 {
            return Some(0);
        }
        let read = match self.read {
            Some(read) if !entries.has_holes_from(self.last) => read,
            _ => entries.added_up_to(self.last)?,
        };
        Some(entries.added.wrapping_sub(read) as i64)
    }

    /// Gives an entry to a consumer, taking it from any other.
    pub fn give(&mut self, id: Id, pending: Pending) {
        let old = self.pending.insert(id, pending);
        self.changes.note(|| (old.map_or(GroupChange::Forget(id), |old| GroupChange::Give(id, old)), 0));
        if let Some(old) = old
            && old.consumer != pending.consumer
            && let Some(consumer) = self.consumers.get_mut(old.consumer)
        {
            consumer.pending.remove(&id);
        }
        if old.is_none_or(|old| old.consumer != pending.consumer)
            && let Some(consumer) = self.consumers.get_mut(pending.consumer)
        {
            consumer.pending.insert(id);
        }
    }

    /// Removes a pending entry; returns whether there was one.
    pub fn forget(&mut self, id: Id) -> bool {
        let Some(pending) = self.pending.remove(&id) else { return false };
        if let Some(consumer) = self.consumers.get_mut(pending.consumer) {
            consumer.pending.remove(&id);
        }
        self.changes.note(|| (GroupChange::Give(id, pending), 0));
        true
    }

    /// Undoes the last change.
    pub fn undo(&mut self, change: GroupChange) {
        match change {
            GroupChange::TakeConsumer(name) => drop(self.remove_consumer(&name)),
            GroupChange::PutConsumer(consumer, pending) => {
                self.heap += CONSUMER + 2 * consumer.name.heap_size();
                let name = consumer.name.clone();
                // A slab reuses the slot that was freed last, so the consumer gets its old number back.
                let number = self.consumers.insert(*consumer);
                self.names.insert(name, number);
                self.pending.extend(pending);
            }
            GroupChange::See(number, before) => self.see(number, before),
            GroupChange::Give(id, pending) => self.give(id, pending),
            GroupChange::Forget(id) => drop(self.forget(id)),
        }
    }
}
