//! Why a channel cannot be joined.

/// Why a channel cannot be joined.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum JoinError {
    /// No pattern in the configuration matches it.
    #[error("no pattern in the server's [[channels]] allows this channel")]
    Forbidden,
    /// It needs a token that allows it, and the client has none, or one that does not.
    #[error("this channel needs a token that allows it")]
    NoToken,
    /// The name of the channel, or of the member to follow, is not valid.
    #[error("{0}")]
    BadName(String),
    /// A member to follow was named, but the channel is not a board.
    #[error("only a board has members to follow")]
    NoBoard,
    /// The board already has as many followed members as it may have.
    #[error("at most {0} members of a board are followed on this server")]
    TooManyFollowed(usize),
    /// The client has as many channels as it may have.
    #[error("a client may have {0} channels; leave one first")]
    TooMany(usize),
    /// The node has as many channels as it may have.
    #[error("the server has as many channels as limits.channels allows ({0}); try again later")]
    NodeFull(usize),
    /// Its address has opened as many channels as it may.
    #[error(
        "clients of this address have opened as many channels as limits.channels_per_address allows; leave one first"
    )]
    AddressFull,
    /// Its address joins or opens channels more often than it may.
    #[error("this address joins channels more often than {0} allows; try again in a few seconds")]
    TooOften(&'static str),
}
