//! What is left of a command that names very much, after a turn.

use crate::store::pubsub::Kind;
use crate::store::small_bytes::SmallBytes;

/// Names that are joined or left in one turn; the others have theirs before the rest is.
pub const NAMES_A_TURN: usize = 4096;

/// What is done with names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum What {
    /// They are joined.
    Join,
    /// They are left.
    Leave,
    /// All that the client has are left.
    LeaveAll,
}

/// See the module's text.
#[derive(Debug)]
pub struct Rest {
    /// What kind of names they are.
    pub kind: Kind,
    /// What is done with them.
    pub what: What,
    /// The names, the last first.
    names: Vec<SmallBytes>,
    /// It waits until what its client has not fetched is gone.
    pub stalled: bool,
    bytes: usize,
}

impl Rest {
    /// The names that are left.
    pub fn new(kind: Kind, what: What, names: &[&[u8]]) -> Self {
        let bytes = names.iter().map(|name| name.len() + size_of::<SmallBytes>()).sum();
        Self {
            kind,
            what,
            names: names.iter().rev().map(|name| SmallBytes::new(name)).collect(),
            stalled: false,
            bytes,
        }
    }

    /// Takes those of one turn, in their order.
    pub fn take(&mut self) -> Vec<SmallBytes> {
        let mut taken = self.names.split_off(self.names.len().saturating_sub(NAMES_A_TURN));
        taken.reverse();
        taken
    }

    /// Whether none are left.
    pub fn is_empty(&self) -> bool {
        self.names.is_empty()
    }

    /// What they take in memory, in bytes.
    pub fn bytes(&self) -> usize {
        self.bytes
    }
}
