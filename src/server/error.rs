//! Why a server fails to start or to keep running.

use std::io;

use crate::store::StoreError;

/// Why a server failed to start or to keep running.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// An address cannot be listened on.
    #[error("cannot listen on {address}: {error}; {}", way_out(.error))]
    Listen {
        /// The address or path.
        address: String,
        /// What the kernel said.
        error: io::Error,
    },
    /// A socket that the service manager handed over cannot be used.
    #[error("the service manager's socket {name:?} cannot be used: {error}")]
    Inherit {
        /// Its name there.
        name: String,
        /// What is wrong with it.
        error: io::Error,
    },
    /// TLS is configured, but the service manager holds no socket for it.
    #[error(
        "server.listen has an address with tls:, and none of the service manager's sockets is for TLS: put \
         FileDescriptorName=tls into the [Socket] of its unit, or take that address out of server.listen"
    )]
    NoTls,
    /// The store's URL cannot be used.
    #[error("redis.url cannot be used: {0}")]
    Store(#[from] redis::RedisError),
    /// A worker ended, so its clients are no longer served.
    #[error("a worker ended unexpectedly; the log says why")]
    Worker,
    /// The embedded store cannot be served, or its folder cannot be used.
    #[error("{0}")]
    Embedded(#[from] StoreError),
    /// The system did not provide a thread, an epoll or a signal handler.
    #[error("the system did not give this process what it needs to run: {0}")]
    System(#[from] io::Error),
}

/// Suggests what to do when an address cannot be listened on.
fn way_out(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::PermissionDenied => {
            "a port below 1024 is for root, or for systemd to hold (headcount.socket); or set server.listen or PORT \
             to another"
        }
        _ => "free it, or set server.listen or PORT to another",
    }
}
