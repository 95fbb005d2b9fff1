//! The value that a channel shows.

use std::sync::Arc;

/// The newest value of a channel. A published text is not one: nobody who joins later gets it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ChannelValue {
    /// How many are present.
    Count(i64),
    /// A board, as the members of a JSON object, without its braces.
    Board(Arc<str>),
}
