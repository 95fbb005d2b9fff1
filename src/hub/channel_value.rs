//! What a channel that delivers the latest shows.

use std::sync::Arc;

/// The newest value of a channel. A text that was published is none: nobody who joins later hears it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ChannelValue {
    /// How many are there.
    Count(i64),
    /// A board, as the members of an object that tells it.
    Board(Arc<str>),
}
