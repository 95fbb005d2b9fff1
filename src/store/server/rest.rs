//! The rest of a command that names too much for one turn.

use crate::store::pubsub::SubscriptionKind;
use crate::store::small_bytes::SmallBytes;

/// How many names are subscribed or unsubscribed per turn; other clients have their turns in between.
pub const NAMES_A_TURN: usize = 4096;

/// What to do with the names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum What {
    /// Subscribe to them.
    Join,
    /// Unsubscribe from them.
    Leave,
    /// Unsubscribe from all names of this kind that the client has.
    LeaveAll,
}

/// The rest of a command; see the module documentation.
#[derive(Debug)]
pub struct Rest {
    /// The kind of names.
    pub kind: SubscriptionKind,
    /// What to do with them.
    pub what: What,
    /// The names, in reverse order.
    names: Vec<SmallBytes>,
    /// Whether it waits until its client has fetched pending output.
    pub stalled: bool,
    bytes: usize,
}

impl Rest {
    /// Creates the rest of a command from the remaining names.
    pub fn new(kind: SubscriptionKind, what: What, names: &[&[u8]]) -> Self {
        let bytes = names.iter().map(|name| name.len() + size_of::<SmallBytes>()).sum();
        Self {
            kind,
            what,
            names: names.iter().rev().map(|name| SmallBytes::new(name)).collect(),
            stalled: false,
            bytes,
        }
    }

    /// Takes the names of one turn, in their original order.
    pub fn take(&mut self) -> Vec<SmallBytes> {
        let mut taken = self.names.split_off(self.names.len().saturating_sub(NAMES_A_TURN));
        taken.reverse();
        taken
    }

    /// Whether no names are left.
    pub fn is_empty(&self) -> bool {
        self.names.is_empty()
    }

    /// The memory that the names use, in bytes.
    pub fn bytes(&self) -> usize {
        self.bytes
    }
}
