//! How one client tracks the keys that it reads, as set by `CLIENT TRACKING`.

use std::collections::BTreeSet;

use crate::store::pubsub::ClientSlot;
use crate::store::small_bytes::SmallBytes;
use crate::store::tracking::ClientId;

/// Which reads are remembered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// All reads.
    Every,
    /// Reads after `CLIENT CACHING YES`.
    OptIn,
    /// All reads except those after `CLIENT CACHING NO`.
    OptOut,
    /// No reads: the client is notified of every change under its prefixes.
    Broadcast,
}

/// The tracking state of a client.
#[derive(Debug)]
pub struct Tracks {
    /// Which reads are remembered.
    pub mode: Mode,
    /// Whether `CLIENT CACHING` was called for the next command.
    pub caching: bool,
    /// Whether it is not notified of its own changes.
    pub no_loop: bool,
    /// The client that is notified in its place: ID and slot.
    pub redirect: Option<(ClientId, ClientSlot)>,
    /// Whether the client that it redirects to was found gone.
    pub broken: bool,
    /// The prefixes that it asked for.
    pub prefixes: BTreeSet<SmallBytes>,
}

impl Tracks {
    /// Whether the keys that the next command reads are remembered.
    pub fn remembers(&self) -> bool {
        match self.mode {
            Mode::Every => true,
            Mode::OptIn => self.caching,
            Mode::OptOut => !self.caching,
            Mode::Broadcast => false,
        }
    }
}
