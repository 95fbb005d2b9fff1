//! Channels and their subscribers on this node: the fan-out.
//!
//! In: joins and leaves of sockets, messages and readings from the store side. Out: bytes to sockets, and
//! interest in channels towards the store. It knows nothing of HTTP or of what a client says. The rules: a
//! message is framed once, and every socket gets the same bytes; a socket that can take them at once costs
//! no wakeup and no allocation; for one that cannot, the queue is bounded.

mod away;
mod channel_value;
mod fanout;
mod followers;
pub mod identity;
mod interest;
mod join_error;
mod known;
mod listing;
mod local;
mod local_members;
mod members;
mod pacer;
mod publish_error;
pub mod publishing;
pub mod queue;
pub mod registry;
pub mod revocations;
pub mod rights;
pub mod router;
mod routing;
mod rule_change;
mod send_queue;
pub mod shard;
mod sockets;
mod store_state;
pub mod wire;
pub mod ws_frame;

use bytes::Bytes;
use std::sync::Arc;

use crate::presence::Listing;

pub use channel_value::ChannelValue;
pub use identity::Identity;
pub use join_error::JoinError;
pub use known::Known;
pub use publish_error::PublishError;
pub use publishing::Publisher;
pub use registry::Registry;
pub use router::Router;
pub use rule_change::configure;
pub use shard::Shard;
pub use sockets::CloseReason;
pub use store_state::{StoreState, StoreWatch};

/// A socket's number on its worker. It is reused once the socket is gone.
pub type SocketId = u32;

/// What the router hands to a worker.
#[derive(Debug, Clone)]
pub enum Delivery {
    /// Any message but a count, on a channel that is counted or delivers every message.
    Message {
        /// The channel.
        channel: Arc<str>,
        /// The complete frame.
        frame: Bytes,
    },
    /// The newest value, or the newest message on a channel that delivers only the latest.
    Latest {
        /// The channel.
        channel: Arc<str>,
        /// The channel's new value; None if the frame is a plain message.
        value: Option<ChannelValue>,
        /// The complete frame.
        frame: Bytes,
    },
    /// The channel's subscription is live (again).
    Live {
        /// The channel.
        channel: Arc<str>,
        /// Its current value, if known.
        value: Option<ChannelValue>,
        /// Whether messages may have been missed.
        gap: bool,
    },
    /// The list of who is on the channel.
    Members {
        /// The channel.
        channel: Arc<str>,
        /// The list.
        list: Listing,
    },
    /// The channel cannot be joined: its key in the store is not a count of ours.
    Refused {
        /// The channel.
        channel: Arc<str>,
    },
    /// The channel has nothing to show for now. Its members stay, and are told once it has something.
    NoBoard {
        /// The channel.
        channel: Arc<str>,
        /// Why.
        why: NoBoard,
    },
    /// The place of a followed board member.
    Place {
        /// The channel.
        channel: Arc<str>,
        /// The member.
        member: Arc<str>,
        /// The complete frame.
        frame: Bytes,
    },
    /// Tokens were revoked: clients that use one of them are closed.
    Revoked {
        /// Their names, `sub:…` or `jti:…`.
        names: Arc<[Box<str>]>,
    },
    /// The store's state has changed.
    Store {
        /// Whether it is live; if not, clients are told that it is degraded.
        up: bool,
    },
}

/// Why a board, or in a cluster any channel, has nothing to show.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NoBoard {
    /// The part of the store that holds it is out of reach.
    Away,
    /// Its key holds something other than a sorted set.
    NotAnOrderedSet,
    /// It is too long to be queued for a client.
    TooLarge,
}

impl NoBoard {
    /// Returns the error's code and message.
    pub(crate) fn told(self) -> (&'static str, &'static str) {
        match self {
            Self::Away => ("away", "the part of the store that has the channel is out of reach"),
            Self::NotAnOrderedSet => ("not_an_ordered_set", "the channel's key in the store is not a sorted set"),
            Self::TooLarge => ("board_too_large", "the board is too long for the server's limits.client_buffer"),
        }
    }
}

impl Delivery {
    /// Returns the channel that it is about, if it is about one.
    fn channel(&self) -> Option<&Arc<str>> {
        match self {
            Self::Message { channel, .. }
            | Self::Latest { channel, .. }
            | Self::Live { channel, .. }
            | Self::Members { channel, .. }
            | Self::Refused { channel }
            | Self::NoBoard { channel, .. }
            | Self::Place { channel, .. } => Some(channel),
            Self::Revoked { .. } | Self::Store { .. } => None,
        }
    }

    /// Returns the size of its frame in bytes.
    fn bytes(&self) -> usize {
        match self {
            Self::Message { frame, .. } | Self::Latest { frame, .. } | Self::Place { frame, .. } => frame.len(),
            // The frame of changes also names the members who left.
            Self::Members { list: Listing::Shown(list), .. } => 2 * list.bytes(),
            _ => 0,
        }
    }
}
