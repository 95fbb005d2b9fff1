//! Channels and their subscribers on this node: the fan-out.
//!
//! In: joins and leaves of sockets, messages and readings from the right. Out: bytes to sockets,
//! and interest in channels to the right. It knows nothing of HTTP or of what a client says.
//! The rules: a message is framed once and every socket gets the same bytes; no task is woken and
//! nothing is allocated for a socket that can take them at once; a client that cannot has a bound.

mod fanout;
pub mod identity;
mod pacer;
pub mod queue;
pub mod registry;
pub mod router;
mod rule_change;
mod send_queue;
pub mod shard;
mod store_state;
pub mod wire;
pub mod ws_frame;

use bytes::Bytes;
use std::sync::Arc;

pub use identity::Identity;
pub use registry::Registry;
pub use router::Router;
pub use shard::{CloseReason, JoinError, Shard, SocketId};
pub use store_state::{StoreState, StoreWatch};

/// What the router hands to a worker.
#[derive(Debug, Clone)]
pub enum Delivery {
    /// A message of a channel that delivers every one, or that is no count.
    Message {
        /// The channel.
        channel: Arc<str>,
        /// The whole frame.
        frame: Bytes,
    },
    /// The newest value of a channel that delivers the latest.
    Latest {
        /// The channel.
        channel: Arc<str>,
        /// The number, if it is a count.
        total: Option<i64>,
        /// The whole frame.
        frame: Bytes,
    },
    /// The channel's subscription is live (again).
    Live {
        /// The channel.
        channel: Arc<str>,
        /// The count, where there is one and it is known.
        total: Option<i64>,
        /// Messages may have been missed since it was live before.
        gap: bool,
    },
    /// The channel cannot be joined: its key is somebody else's.
    Refused {
        /// The channel.
        channel: Arc<str>,
    },
    /// Whether the store is in reach.
    Store {
        /// True: live. False: degraded.
        up: bool,
    },
}

impl Delivery {
    /// Bytes of its frame.
    fn bytes(&self) -> usize {
        match self {
            Self::Message { frame, .. } | Self::Latest { frame, .. } => frame.len(),
            _ => 0,
        }
    }
}
