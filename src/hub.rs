//! Channels and their subscribers on this node: the fan-out.
//!
//! In: joins and leaves of sockets, messages and readings from the right. Out: bytes to sockets,
//! and interest in channels to the right. It knows nothing of HTTP or of what a client says.
//! The rules: a message is framed once and every socket gets the same bytes; no task is woken and
//! nothing is allocated for a socket that can take them at once; a client that cannot has a bound.

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

/// A socket's number on its worker. It is used anew after the socket is gone.
pub type SocketId = u32;

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
        /// What it shows from now on, if that is not a text.
        value: Option<ChannelValue>,
        /// The whole frame.
        frame: Bytes,
    },
    /// The channel's subscription is live (again).
    Live {
        /// The channel.
        channel: Arc<str>,
        /// What it shows, where that is known.
        value: Option<ChannelValue>,
        /// Messages may have been missed since it was live before.
        gap: bool,
    },
    /// Who is on the channel.
    Members {
        /// The channel.
        channel: Arc<str>,
        /// Who.
        list: Listing,
    },
    /// The channel cannot be joined: its key is somebody else's.
    Refused {
        /// The channel.
        channel: Arc<str>,
    },
    /// The channel has nothing to show for now. Its members stay, and are told once it has.
    NoBoard {
        /// The channel.
        channel: Arc<str>,
        /// Why.
        why: NoBoard,
    },
    /// Where a followed member of a board stands.
    Place {
        /// The channel.
        channel: Arc<str>,
        /// The member.
        member: Arc<str>,
        /// The whole frame.
        frame: Bytes,
    },
    /// Tokens were revoked: whoever is here with one of them is closed.
    Revoked {
        /// Their names, `sub:…` or `jti:…`.
        names: Arc<[Box<str>]>,
    },
    /// Whether the store is in reach.
    Store {
        /// True: live. False: degraded.
        up: bool,
    },
}

/// Why a board has nothing to show, or, in a cluster, any channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NoBoard {
    /// The part of the store that has it is out of reach.
    Away,
    /// Its key holds something else.
    NotAnOrderedSet,
    /// It is longer than what may wait for a client.
    TooLarge,
}

impl NoBoard {
    /// The error's code and message.
    pub(crate) fn told(self) -> (&'static str, &'static str) {
        match self {
            Self::Away => ("away", "the part of the store that has the channel is out of reach"),
            Self::NotAnOrderedSet => ("not_an_ordered_set", "the channel's key in the store is not a sorted set"),
            Self::TooLarge => ("board_too_large", "the board is longer than the server's limits.client_buffer"),
        }
    }
}

impl Delivery {
    /// The channel that it is about.
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

    /// Bytes of its frame.
    fn bytes(&self) -> usize {
        match self {
            Self::Message { frame, .. } | Self::Latest { frame, .. } | Self::Place { frame, .. } => frame.len(),
            // Those who left are in the news of it, too.
            Self::Members { list: Listing::Shown(list), .. } => 2 * list.bytes(),
            _ => 0,
        }
    }
}
