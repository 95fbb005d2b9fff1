//! Why a channel cannot be joined.

/// Why a channel cannot be joined.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum JoinError {
    /// No pattern of the config names it.
    #[error("no pattern in the server's [[channels]] allows this channel")]
    Forbidden,
    /// It is for those with a token that says so, and there is none, or it does not.
    #[error("this channel needs a token that allows it")]
    NoToken,
    /// It is no channel name at all.
    #[error("{0}")]
    BadName(String),
    /// Its members cannot be followed, as it is no board.
    #[error("only a board has members to follow")]
    NoBoard,
    /// As many members of the board are followed as may be.
    #[error("at most {0} members of a board are followed on this server")]
    TooManyFollowed(usize),
    /// The client has as many as it may have.
    #[error("a client may have {0} channels; leave one first")]
    TooMany(usize),
    /// The node has as many as it may have.
    #[error("the server has as many channels as limits.channels allows ({0}); try again later")]
    NodeFull(usize),
    /// Its address has opened as many as it may have.
    #[error(
        "clients of this address have opened as many channels as limits.channels_per_address allows; leave one first"
    )]
    AddressFull,
    /// Its address asks for more than it may.
    #[error("this address joins channels more often than {0} allows; try again in some seconds")]
    TooOften(&'static str),
}
