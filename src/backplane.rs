//! The way to the store: run a script, publish, subscribe, over one Redis URL.
//!
//! In: keys, scripts and channel names. Out: replies, and one ordered feed of messages and
//! subscription events. It reconnects by itself and tells when the state changes. It does not know
//! what the numbers mean, nor which kind of Redis it talks to: the embedded store is one like any
//! other. The rule: every wait has a deadline, and every key name is in [`keys`].

pub mod commands;
pub mod feed;
pub mod inbox;
pub mod keys;
mod retry;

pub use commands::{Commands, Error, Link, Peer};
pub use feed::Feed;
pub use inbox::{Event, Inbox};
pub use keys::Keys;
