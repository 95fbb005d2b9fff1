//! Why a store could not be opened or could not continue.

use std::path::PathBuf;

/// Why a store could not be opened or could not continue.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The listener or the loop failed.
    #[error("the embedded store cannot serve: {0}")]
    Serve(#[source] std::io::Error),
    /// The folder or the log in it cannot be used.
    #[error("the embedded store cannot use {}: {source}", path.display())]
    Folder {
        /// The path that cannot be used.
        path: PathBuf,
        /// The reason.
        source: std::io::Error,
    },
    /// Another process keeps its store in the folder.
    #[error("the embedded store cannot use {}: another process does; stop it, or set another store.path", path.display())]
    Locked {
        /// The folder.
        path: PathBuf,
    },
    /// The log is damaged, and not only at its end.
    #[error(
        "the embedded store's log {} is damaged at byte {offset}: {reason}; restore it from a copy, or run \
         `headcount store repair {}` to cut it there and lose what follows",
        path.display(), path.parent().unwrap_or(path).display()
    )]
    Damaged {
        /// The log.
        path: PathBuf,
        /// The start of the command that cannot be read or run.
        offset: u64,
        /// The end of the last complete change before it.
        good: u64,
        /// What is wrong with it.
        reason: String,
    },
    /// The thread ended on its own, which is a bug.
    #[error("the embedded store's thread ended unexpectedly")]
    Ended,
}
