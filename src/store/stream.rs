//! A stream: entries in the order in which they were added, and the groups that read them.

use std::collections::BTreeMap;
use std::ops::Bound::{Excluded, Unbounded};

use super::small_bytes::SmallBytes;

mod entries;
mod group;
mod id;
mod node;
mod radix;

pub use entries::{Bound, Entries, Trim};
pub use group::{Consumer, Group, Pending};
pub use id::{Given, Id};
pub use node::Entry;

/// What a group takes in its stream's table beside its name.
const SLOT: usize = 64;

/// A stream; see the module's text.
#[derive(Debug, Default, Clone)]
pub struct Stream {
    /// The entries.
    pub entries: Entries,
    groups: BTreeMap<SmallBytes, Group>,
    heap: usize,
}

impl Stream {
    /// The groups by name.
    pub fn groups(&self) -> &BTreeMap<SmallBytes, Group> {
        &self.groups
    }

    /// A group.
    pub fn group(&self, name: &[u8]) -> Option<&Group> {
        self.groups.get(name)
    }

    /// The first group, or the one after another.
    pub fn group_after(&self, name: Option<&SmallBytes>) -> Option<(&SmallBytes, &Group)> {
        match name {
            Some(name) => self.groups.range::<SmallBytes, _>((Excluded(name), Unbounded)).next(),
            None => self.groups.first_key_value(),
        }
    }

    /// Adds a group; returns whether there was none of this name.
    pub fn add_group(&mut self, name: &[u8], group: Group) -> bool {
        if self.groups.contains_key(name) {
            return false;
        }
        let name = SmallBytes::new(name);
        self.heap += SLOT + name.heap_size() + group.footprint();
        self.groups.insert(name, group);
        true
    }

    /// Removes a group; returns whether it was there.
    pub fn remove_group(&mut self, name: &[u8]) -> bool {
        let Some((name, group)) = self.groups.remove_entry(name) else { return false };
        self.heap -= SLOT + name.heap_size() + group.footprint();
        true
    }

    /// Changes a group, beside which the entries can be read.
    pub fn with_group<T>(&mut self, name: &[u8], change: impl FnOnce(&mut Group, &Entries) -> T) -> Option<T> {
        let group = self.groups.get_mut(name)?;
        self.heap -= group.footprint();
        let outcome = change(group, &self.entries);
        self.heap += group.footprint();
        Some(outcome)
    }

    /// An estimate of the bytes that it takes.
    pub fn footprint(&self) -> usize {
        size_of::<Self>() + 16 + self.entries.footprint() + self.heap
    }
}
