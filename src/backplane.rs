//! Access to the store: runs scripts, publishes and subscribes over one Redis URL.
//!
//! In: keys, scripts and channel names. Out: replies, and one ordered feed of messages and
//! subscription events. It reconnects by itself and reports state changes. It does not know
//! what the numbers mean, nor which kind of Redis it talks to: the embedded store is like any
//! other. In a cluster, each command and each channel goes to the primary that owns its slot. The rule:
//! every wait has a deadline, and every key name is in `keys`.

mod assignments;
mod backoff;
pub(crate) mod client;
mod connect;
mod error;
mod feed;
mod feeds;
mod following;
pub(crate) mod inbox;
pub(crate) mod keys;
mod line;
mod peer;
pub mod probe;
mod revoke;
mod sentinel;
mod shards;
pub(crate) mod slots;
pub(crate) mod subscriber;
mod tls;
pub(crate) mod topology;
pub(crate) mod tracker;
mod trackers;
mod wishes;

pub use client::{Client, Tenure};
pub use connect::Credentials;
pub use error::Error;
pub(crate) use error::in_its_own_words;
pub use inbox::{Event, Inbox};
pub use keys::{Keys, StoreKey};
pub use line::Link;
pub use peer::Peer;
pub use revoke::revoke;
pub(crate) use subscriber::Subscriber;
pub(crate) use tracker::Tracking;
pub(crate) use trackers::Trackers;
pub(crate) use wishes::Ticket;
