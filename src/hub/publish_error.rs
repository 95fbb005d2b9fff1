//! Why a message is not published.

/// Why a message is not published.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PublishError {
    /// The name is not a valid channel name, or is one of headcount's own.
    #[error("{0}")]
    BadName(String),
    /// No pattern in the configuration matches it.
    #[error("no pattern in the server's [[channels]] allows this channel")]
    NoChannel,
    /// Clients may not publish on it, or this one may not.
    #[error("this needs a channel with publish = \"token\", and a token that allows publishing on it")]
    Forbidden,
    /// It would be mistaken for the channel's count.
    #[error("an integer on a channel that counts would be its count; publish anything else")]
    Count,
    /// The token publishes more often than it may.
    #[error("this token publishes more often than limits.publishes_per_second allows; try again in a few seconds")]
    TooOften,
    /// Too much already waits for the store.
    #[error("too many messages wait for the store; try again in a few seconds")]
    Busy,
    /// The store did not accept it, or did not confirm that it did.
    #[error("the store did not confirm the message, which may or may not have been published: {0}")]
    Store(String),
}

impl PublishError {
    /// Returns its code on the wire.
    pub fn code(&self) -> &'static str {
        match self {
            Self::BadName(_) | Self::Count => "bad_request",
            Self::NoChannel | Self::Forbidden => "forbidden",
            Self::TooOften => "rate_limited",
            Self::Busy | Self::Store(_) => "unavailable",
        }
    }
}
