//! How one client tracks the keys that it reads, as `CLIENT TRACKING` has set it.

use std::collections::BTreeSet;

use crate::store::pubsub::Slot;
use crate::store::small_bytes::SmallBytes;
use crate::store::tracking::ClientId;

/// Which reads are remembered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// All.
    Every,
    /// Those after `CLIENT CACHING YES`.
    OptIn,
    /// All but those after `CLIENT CACHING NO`.
    OptOut,
    /// None: every change under the client's prefixes is told.
    Broadcast,
}

/// How a client tracks.
#[derive(Debug)]
pub struct Tracks {
    /// Which reads are remembered.
    pub mode: Mode,
    /// Whether `CLIENT CACHING` was said, for the next command.
    pub caching: bool,
    /// Whether it is not told of what it changed itself.
    pub no_loop: bool,
    /// Who is told in its place: number and slot.
    pub redirect: Option<(ClientId, Slot)>,
    /// Whether that one was found gone.
    pub broken: bool,
    /// The prefixes that it asked for.
    pub prefixes: BTreeSet<SmallBytes>,
}

impl Tracks {
    /// Whether what the next command reads is remembered.
    pub fn remembers(&self) -> bool {
        match self.mode {
            Mode::Every => true,
            Mode::OptIn => self.caching,
            Mode::OptOut => !self.caching,
            Mode::Broadcast => false,
        }
    }
}
