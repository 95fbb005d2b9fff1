//! What the task between the store and the workers has, and what all parts of it need. Its loop is in `routing`.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;

use tokio::sync::watch;

use super::queue::{ByteBudget, Sender};
use super::registry::{ChannelRecord, Inner, Registry};
use super::revocations::Announced;
use super::store_state::StoreWatch;
use super::{ChannelValue, Delivery, wire};
use crate::backplane::{Keys, Link, Subscriber, Ticket};
use crate::boards::Trending;
use crate::metrics::Metrics;
use crate::presence::{Heartbeat, Presence};

/// See the module.
pub struct Router {
    /// The table of channels.
    pub registry: Arc<Registry>,
    /// The subscription.
    pub feed: Subscriber,
    /// Key and channel names.
    pub keys: Keys,
    /// The count.
    pub presence: Presence,
    /// The boards that headcount keeps of its own channels.
    pub trending: Trending,
    /// The state of the connection for commands.
    pub link: watch::Receiver<Link>,
    /// What the store says to this node's heartbeat.
    pub heartbeat: watch::Receiver<Heartbeat>,
    /// One sender a worker.
    pub shards: Vec<Sender>,
    /// What may be on its way to them.
    pub room: ByteBudget,
    /// What is counted.
    pub metrics: Metrics,
    /// Channels that nobody here has any more, and when they are left. Each is here once.
    pub unwanted: VecDeque<(Instant, Arc<str>)>,
    /// The store's name in the log.
    pub store: String,
    /// What is known of the store, and told.
    pub watch: StoreWatch,
    /// What to do with announcements of tokens that are revoked.
    pub revoked: Announced,
}

/// A delivery and the workers that it is for, a bit each.
pub(super) type Addressed = (u64, Delivery);

impl Router {
    /// A channel is subscribed. Without a count, that makes it live.
    pub(super) fn subscribed(&self, name: &str, ticket: Ticket) -> Option<Addressed> {
        self.registry.with(|inner| {
            let (name, entry) = get(inner, name)?;
            // The channel was left and joined again meanwhile: that subscription is not this one.
            if entry.ticket != Some(ticket) {
                return None;
            }
            entry.subscribed = true;
            if let Some(presence) = &entry.presence {
                // It is live for the clients once its value is known.
                presence.live();
                return None;
            }
            (entry.live, entry.no_board) = (true, None);
            let gap = std::mem::take(&mut entry.missed);
            Some((entry.shards, Delivery::Live { channel: name, value: None, gap }))
        })
    }
}

/// The delivery of a new value: the first one makes the channel live, and is told with that.
pub(super) fn show(entry: &mut ChannelRecord, channel: Arc<str>, value: ChannelValue) -> Option<Delivery> {
    (entry.value, entry.counted, entry.no_board) = (Some(value.clone()), true, None);
    if !entry.live && entry.awaits_list() {
        return None;
    }
    if std::mem::replace(&mut entry.live, true) {
        let frame = wire::value(&channel, &value);
        return Some(Delivery::Latest { channel, value: Some(value), frame });
    }
    entry.missed = false;
    Some(Delivery::Live { channel, value: Some(value), gap: false })
}

pub(super) fn get<'a>(inner: &'a mut Inner, name: &str) -> Option<(Arc<str>, &'a mut ChannelRecord)> {
    let (name, _) = inner.channels.get_key_value(name)?;
    let name = name.clone();
    let entry = inner.channels.get_mut(&name)?;
    Some((name, entry))
}
