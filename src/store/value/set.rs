//! A set of distinct strings.

use indexmap::IndexSet;

use crate::store::number::parse_int;
use crate::store::small_bytes::SmallBytes;
use crate::store::undo::Recorder;

/// Distinct strings.
#[derive(Debug, Default, Clone)]
pub struct Set {
    members: IndexSet<SmallBytes>,
    heap: usize,
    outgrown: bool,
    /// Records how to undo its changes.
    pub changes: Recorder<SetChange>,
}

/// A step that undoes a change to a set.
#[derive(Debug)]
pub enum SetChange {
    /// Removes the last member. The flag says whether the set had outgrown its compact form.
    Pop(bool),
    /// Puts a member back at its position; the member there moves to the end.
    PutBack(usize, SmallBytes),
}

impl Set {
    /// The number of members.
    pub fn len(&self) -> usize {
        self.members.len()
    }

    /// Whether the set has this member.
    pub fn contains(&self, member: &[u8]) -> bool {
        self.members.contains(member)
    }

    /// The member at a position. Positions stay the same as long as nothing is removed.
    pub fn at(&self, position: usize) -> Option<&[u8]> {
        self.members.get_index(position).map(|member| &**member)
    }

    /// All members.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &[u8]> {
        self.members.iter().map(|member| &**member)
    }

    /// Adds a member; returns whether it is new.
    pub fn insert(&mut self, member: &[u8]) -> bool {
        if self.members.contains(member) {
            return false;
        }
        let had_outgrown = self.outgrown;
        self.outgrown |= self.members.len() >= 512 || parse_int(member).is_none();
        let member = SmallBytes::new(member);
        self.heap += member.heap_size();
        self.changes.note(|| (SetChange::Pop(had_outgrown), 0));
        self.members.insert(member)
    }

    /// Removes a member; returns whether it was there.
    pub fn remove(&mut self, member: &[u8]) -> bool {
        let position = self.members.get_index_of(member);
        position.is_some_and(|position| self.remove_at(position).is_some())
    }

    /// Removes the member at a position, and returns it.
    pub fn remove_at(&mut self, position: usize) -> Option<SmallBytes> {
        let member = self.members.swap_remove_index(position)?;
        self.heap -= member.heap_size();
        self.changes.note(|| (SetChange::PutBack(position, member.clone()), member.heap_size()));
        Some(member)
    }

    /// Undoes the last change.
    pub fn undo(&mut self, change: SetChange) {
        match change {
            SetChange::Pop(outgrown) => {
                if let Some(member) = self.members.pop() {
                    self.heap -= member.heap_size();
                }
                self.outgrown = outgrown;
            }
            SetChange::PutBack(position, member) => {
                self.heap += member.heap_size();
                let (last, _) = self.members.insert_full(member);
                self.members.swap_indices(position, last);
            }
        }
    }

    /// Whether Redis would keep the set in one block, which a single `SSCAN` call returns completely.
    pub fn is_compact(&self) -> bool {
        !self.outgrown
    }

    /// An estimate of the memory that the set takes, in bytes.
    pub fn footprint(&self) -> usize {
        120 + self.members.len() * 45 + self.heap
    }
}
