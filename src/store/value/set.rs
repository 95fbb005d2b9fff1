//! A set: strings, each once.

use indexmap::IndexSet;

use crate::store::number::parse_int;
use crate::store::small_bytes::SmallBytes;
use crate::store::undo::Recorder;

/// Strings, each once.
#[derive(Debug, Default, Clone)]
pub struct Set {
    members: IndexSet<SmallBytes>,
    heap: usize,
    outgrown: bool,
    /// What takes its changes back.
    pub changes: Recorder<SetChange>,
}

/// What takes a change of a set back.
#[derive(Debug)]
pub enum SetChange {
    /// Takes out the last member. Whether the set had outgrown its compact form.
    Pop(bool),
    /// Puts a member back at a position; what is there now goes to the end.
    PutBack(usize, SmallBytes),
}

impl Set {
    /// The number of members.
    pub fn len(&self) -> usize {
        self.members.len()
    }

    /// Whether this is a member.
    pub fn contains(&self, member: &[u8]) -> bool {
        self.members.contains(member)
    }

    /// A member by its position, which stays as long as nothing is removed.
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

    /// Takes a member out; returns whether it was there.
    pub fn remove(&mut self, member: &[u8]) -> bool {
        let position = self.members.get_index_of(member);
        position.is_some_and(|position| self.remove_at(position).is_some())
    }

    /// Takes the member at a position out.
    pub fn remove_at(&mut self, position: usize) -> Option<SmallBytes> {
        let member = self.members.swap_remove_index(position)?;
        self.heap -= member.heap_size();
        self.changes.note(|| (SetChange::PutBack(position, member.clone()), member.heap_size()));
        Some(member)
    }

    /// Takes the last change back that there was.
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

    /// Whether Redis would keep it in one block, which one `SSCAN` call returns whole.
    pub fn is_compact(&self) -> bool {
        !self.outgrown
    }

    /// An estimate of the bytes that it takes.
    pub fn footprint(&self) -> usize {
        120 + self.members.len() * 45 + self.heap
    }
}
