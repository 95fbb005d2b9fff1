//! A stream: entries in the order in which they were added, and the groups that read them.

use std::collections::BTreeMap;
use std::ops::Bound::{Excluded, Unbounded};

use super::small_bytes::SmallBytes;
use super::undo::{Changes, Recorder};

mod changes;
mod entries;
mod group;
mod id;
mod node;
mod radix;

use changes::EntriesChange;
use group::GroupChange;

pub use entries::{Bound, Entries, Trim};
pub use group::{Consumer, Group, Pending};
pub use id::{Given, Id};
pub use node::Entry;

/// The bytes that a group takes in its stream's table besides its name.
const SLOT: usize = 64;

/// A stream; see the module's text.
#[derive(Debug, Default, Clone)]
pub struct Stream {
    /// The entries.
    pub entries: Entries,
    groups: BTreeMap<SmallBytes, Group>,
    heap: usize,
    changes: Recorder<StreamChange>,
}

/// How to undo a change of a stream.
#[derive(Debug)]
pub enum StreamChange {
    /// Removes a group.
    TakeGroup(SmallBytes),
    /// Puts a group back.
    PutGroup(SmallBytes, Box<Group>),
    /// Undoes the changes in a group: resets how far it had read, then undoes the group's own changes.
    Group(SmallBytes, Id, Option<u64>, Box<Changes<GroupChange>>),
    /// Undoes the changes in the entries, which are independent of the groups.
    Entries(Box<Changes<EntriesChange>>),
}

impl Stream {
    /// The groups by name.
    pub fn groups(&self) -> &BTreeMap<SmallBytes, Group> {
        &self.groups
    }

    /// Returns the group with this name, if there is one.
    pub fn group(&self, name: &[u8]) -> Option<&Group> {
        self.groups.get(name)
    }

    /// Returns the first group, or the one after `name`.
    pub fn group_after(&self, name: Option<&SmallBytes>) -> Option<(&SmallBytes, &Group)> {
        match name {
            Some(name) => self.groups.range::<SmallBytes, _>((Excluded(name), Unbounded)).next(),
            None => self.groups.first_key_value(),
        }
    }

    /// Adds a group; returns whether the name was free.
    pub fn add_group(&mut self, name: &[u8], group: Group) -> bool {
        if self.groups.contains_key(name) {
            return false;
        }
        let name = SmallBytes::new(name);
        self.heap += SLOT + name.heap_size() + group.footprint();
        self.changes.note(|| (StreamChange::TakeGroup(name.clone()), name.heap_size()));
        self.groups.insert(name, group);
        true
    }

    /// Removes a group; returns whether it existed.
    pub fn remove_group(&mut self, name: &[u8]) -> bool {
        let Some((name, group)) = self.groups.remove_entry(name) else { return false };
        let freed = SLOT + name.heap_size() + group.footprint();
        self.heap -= freed;
        self.changes.note(|| (StreamChange::PutGroup(name, Box::new(group)), freed));
        true
    }

    /// Changes a group; `change` can also read the entries.
    pub fn with_group<T>(&mut self, name: &[u8], change: impl FnOnce(&mut Group, &Entries) -> T) -> Option<T> {
        let group = self.groups.get_mut(name)?;
        self.heap -= group.footprint();
        let (last, read) = (group.last, group.read);
        if self.changes.is_on() {
            group.changes.start(Box::default());
        }
        let outcome = change(group, &self.entries);
        self.heap += group.footprint();
        if let Some(changes) = group.changes.stop() {
            let (name, held) = (SmallBytes::new(name), changes.size());
            self.changes.note(|| (StreamChange::Group(name, last, read, changes), held));
        }
        Some(outcome)
    }

    /// Undoes a change, which must be the last one.
    pub fn undo(&mut self, change: StreamChange) {
        match change {
            StreamChange::TakeGroup(name) => drop(self.remove_group(&name)),
            StreamChange::PutGroup(name, group) => drop(self.add_group(&name, *group)),
            StreamChange::Group(name, last, read, changes) => {
                self.with_group(&name, |group, _| {
                    changes.list.into_iter().rev().for_each(|change| group.undo(change));
                    (group.last, group.read) = (last, read);
                });
            }
            StreamChange::Entries(changes) => {
                changes.list.into_iter().rev().for_each(|change| self.entries.undo(change));
            }
        }
    }

    /// Starts recording changes, appending them to `changes`.
    pub fn start_noting(&mut self, changes: Box<Changes<StreamChange>>) {
        self.changes.start(changes);
        self.entries.changes.start(Box::default());
        self.entries.note_counters();
    }

    /// Stops recording; returns the changes, if any were being recorded.
    pub fn stop_noting(&mut self) -> Option<Box<Changes<StreamChange>>> {
        let entries = self.entries.changes.stop()?;
        let held = entries.size();
        self.changes.note(|| (StreamChange::Entries(entries), held));
        self.changes.stop()
    }

    /// An estimate of the memory that it takes, in bytes.
    pub fn footprint(&self) -> usize {
        size_of::<Self>() + 16 + self.entries.footprint() + self.heap
    }
}
