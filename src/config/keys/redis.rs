//! `[redis]`: which store keeps the counts and carries the messages.

use super::row::{ValueType::*, section};

section! {
    [redis]

    /// The store. All servers with the same store show the same numbers.
    ///   redis://[user:password@]host[:port][/database]      one server
    ///   rediss://...                                        the same, over TLS
    ///   redis+unix:///path/to/socket
    ///   redis+sentinel://[user:password@]host[:port],.../primary[/database]
    ///                                                       the primary that these sentinels name
    ///   rediss+sentinel://...                               the same, over TLS
    ///   redis+cluster://[user:password@]host[:port],...     the cluster that these servers are part of
    ///   rediss+cluster://...                                the same, over TLS
    url = "redis://127.0.0.1:6379": Url, restart;

    /// A file that contains the store's password, so that the URL need not. The server's user must be able
    /// to read it, and nobody else should. A relative name is looked up among systemd's credentials first
    /// (LoadCredential=), then in the working directory.
    password_file = "": SecretFile, restart;

    /// For an address with TLS: the authorities to trust, as a PEM file. Without it, the system's are
    /// trusted. The files of this key and the next two are read again for each new connection.
    ca = "": Text, restart;

    /// For an address with TLS: this server's own certificate with its chain, as a PEM file.
    certificate = "": Text, restart;

    /// That certificate's private key, as a PEM file.
    key = "": SecretFile, restart;

    /// The user name for the sentinels, if they have users.
    sentinel_user = "": Text, restart;

    /// A file that contains the password for the sentinels, if they want one.
    sentinel_password_file = "": SecretFile, restart;

    /// Put in front of every key and channel name, so that two installations can share one store.
    /// Warning: pub/sub ignores databases, so another database number does not separate the messages.
    key_prefix = "": Text, restart;

    /// How long to wait for a connection to the store.
    connect_timeout = "2s": Duration(10, 60_000), restart;

    /// How long to wait for an answer from the store. If it takes longer, the store counts as away.
    response_timeout = "1s": Duration(10, 60_000), restart;
}
