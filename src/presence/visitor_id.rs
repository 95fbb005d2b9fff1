//! A visitor's identity, as far as the store and other nodes know.

/// A visitor's identity on one channel: a hash, so that nobody can be followed from channel to channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct VisitorId(pub [u8; 16]);
