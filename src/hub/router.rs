//! The state of the task between the store and the workers, and what its parts share. Its loop is in
//! `routing`.

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

/// The task between the store and the workers.
pub struct Router {
    /// The table of channels.
    pub registry: Arc<Registry>,
    /// Subscribes to channels of the store.
    pub feed: Subscriber,
    /// Builds and parses the names of keys and channels in the store.
    pub keys: Keys,
    /// Counts who is here.
    pub presence: Presence,
    /// The boards that headcount keeps of its own channels.
    pub trending: Trending,
    /// The state of the connection for commands.
    pub link: watch::Receiver<Link>,
    /// How the store answers this node's heartbeat.
    pub heartbeat: watch::Receiver<Heartbeat>,
    /// One sender per worker.
    pub shards: Vec<Sender>,
    /// The byte budget for what is on its way to them.
    pub room: ByteBudget,
    /// The node's metrics.
    pub metrics: Metrics,
    /// Channels that no client here is on any more, and when to unsubscribe from them. Each is here once.
    pub unwanted: VecDeque<(Instant, Arc<str>)>,
    /// The store's name in the log.
    pub store: String,
    /// What is known about the store, and what was announced.
    pub watch: StoreWatch,
    /// Handles announcements of revoked tokens.
    pub revoked: Announced,
}

/// A delivery, and one bit for each worker that it is for.
pub(super) type Addressed = (u64, Delivery);

impl Router {
    /// Handles an acknowledged subscription. It makes a channel without a count live.
    pub(super) fn subscribed(&self, name: &str, ticket: Ticket) -> Option<Addressed> {
        self.registry.with(|inner| {
            let (name, entry) = get(inner, name)?;
            // Another ticket means an older subscription: the channel was left and joined again meanwhile.
            if entry.ticket != Some(ticket) {
                return None;
            }
            entry.subscribed = true;
            if let Some(presence) = &entry.presence {
                // It is live for clients once its value is known.
                presence.live();
                return None;
            }
            (entry.live, entry.no_board) = (true, None);
            let gap = std::mem::take(&mut entry.missed);
            Some((entry.shards, Delivery::Live { channel: name, value: None, gap }))
        })
    }
}

/// Returns the delivery of a new value. The first value makes the channel live, and goes out with that
/// news.
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
