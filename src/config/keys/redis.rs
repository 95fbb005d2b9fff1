//! `[redis]`: which store keeps the counts and carries the messages.

use super::row::{Kind::*, section};

section! {
    [redis]

    /// The store: redis://[user:password@]host[:port][/database] or redis+unix:///path/to/socket.
    /// All servers with the same store show the same numbers.
    url = "redis://127.0.0.1:6379": Url, restart;

    /// A file that contains the store's password, so that the URL need not. The server's user must be able
    /// to read it, and nobody else should. A relative name is looked up among systemd's credentials first
    /// (LoadCredential=), then in the working directory.
    password_file = "": SecretFile, restart;

    /// Put in front of every key and channel name, so that two installations can share one store.
    /// Warning: pub/sub ignores databases, so another database number does not separate the messages.
    key_prefix = "": Text, restart;

    /// How long to wait for a connection to the store.
    connect_timeout = "2s": Duration(10, 60_000), restart;

    /// How long to wait for an answer from the store. If it takes longer, the store counts as away.
    response_timeout = "1s": Duration(10, 60_000), restart;
}
