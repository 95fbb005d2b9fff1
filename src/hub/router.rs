//! The task between the store and the workers: each message goes to the workers that want it.
//!
//! It follows the registry with subscriptions, the feed with deliveries, and the presence with
//! values. It waits for a worker that is behind, and with it the feed waits, down to the store.

use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::watch;

use super::queue::{ByteBudget, Queued, Sender};
use super::registry::{ChannelRecord, Inner, Registry};
use super::{Delivery, ws_frame};
use crate::backplane::{Event, Keys, Link, Subscriber};
use crate::memory;
use crate::metrics::Metrics;
use crate::presence::{Presence, Reading, Value};

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
    /// The state of the connection for commands.
    pub link: watch::Receiver<Link>,
    /// One sender a worker.
    pub shards: Vec<Sender>,
    /// What may be on its way to them.
    pub room: ByteBudget,
    /// What is counted.
    pub metrics: Metrics,
    /// The store's name in the log.
    pub store: String,
    /// Whether the subscription's connection stands.
    pub subscribed: bool,
    /// Why it does not.
    pub why: String,
}

/// A delivery and the workers that it is for, a bit each.
type Addressed = (u64, Delivery);

impl Router {
    /// Runs until the workers are gone.
    pub async fn run(mut self) {
        let (inbox, registry, presence) = (self.feed.inbox(), self.registry.clone(), self.presence.clone());
        self.link.mark_changed();
        loop {
            let out = tokio::select! {
                // What came first goes first: an acknowledgement before a reading of the same channel.
                biased;
                events = inbox.take() => events.into_iter().filter_map(|event| self.event(event)).collect(),
                values = presence.values() => values.into_iter().filter_map(|(name, value)| self.value(&name, value)).collect(),
                () = registry.work() => {
                    self.follow_interest();
                    Vec::new()
                }
                changed = self.link.changed() => match changed {
                    Ok(()) => self.store_changed().into_iter().collect(),
                    Err(_) => return,
                },
            };
            for (shards, delivery) in out {
                if !self.send(shards, delivery).await {
                    return;
                }
            }
        }
    }

    async fn send(&self, shards: u64, delivery: Delivery) -> bool {
        let room = self.room.take(delivery.bytes()).await;
        for (index, shard) in self.shards.iter().enumerate() {
            let queued = || Queued { delivery: delivery.clone(), room: room.clone() };
            // A worker takes from its queue whenever it runs; it is gone only when the node stops.
            if shards & 1 << index != 0 && shard.send(queued()).await.is_err() {
                return false;
            }
        }
        true
    }

    /// Subscribes to what is wanted and leaves what nobody wants.
    fn follow_interest(&self) {
        let (feed, keys) = (&self.feed, &self.keys);
        self.registry.with(|inner| {
            for name in Registry::take_changed(inner) {
                let Some(entry) = inner.channels.get_mut(&name) else { continue };
                if entry.shards != 0 && !entry.asked {
                    entry.asked = true;
                    feed.want(keys.total(&name));
                } else if entry.shards == 0 {
                    feed.leave(keys.total(&name));
                    if let Some(presence) = &entry.presence {
                        presence.release();
                    }
                    inner.channels.remove(&name);
                    memory::shrink(&mut inner.channels);
                    // Every worker has left it, and with it the handle from before.
                    if let Some((before, _)) = inner.retired.remove(&name) {
                        before.release();
                    }
                }
            }
            self.metrics.channels.set(inner.channels.len() as i64);
        });
    }

    fn event(&mut self, event: Event) -> Option<Addressed> {
        match event {
            Event::Up => {
                self.subscribed = true;
                self.presence.subscription(true);
                self.store_changed()
            }
            Event::Down(why) => {
                self.subscribed = false;
                self.why = why;
                self.presence.subscription(false);
                self.registry.with(|inner| {
                    for entry in inner.channels.values_mut() {
                        entry.missed |= entry.subscribed;
                        (entry.subscribed, entry.live) = (false, false);
                    }
                });
                self.store_changed()
            }
            Event::Subscribed(name) => self.keys.channel(&name).and_then(|name| self.subscribed(name)),
            Event::Message { channel, payload } => {
                let name = self.keys.channel(&channel)?;
                self.metrics.messages.inc();
                self.message(name, &payload)
            }
        }
    }

    fn subscribed(&self, name: &str) -> Option<Addressed> {
        self.registry.with(|inner| {
            let (name, entry) = get(inner, name)?;
            entry.subscribed = true;
            if let Some(presence) = &entry.presence {
                // It is live for the clients once its value is known.
                presence.live();
                return None;
            }
            entry.live = true;
            let gap = std::mem::take(&mut entry.missed);
            Some((entry.shards, Delivery::Live { channel: name, total: None, gap }))
        })
    }

    fn message(&self, name: &str, payload: &Bytes) -> Option<Addressed> {
        self.registry.with(|inner| {
            let max_frame = inner.max_frame;
            let (channel, entry) = get(inner, name)?;
            let integer = entry.presence.as_ref().and_then(|_| ws_frame::integer(payload));
            if let (Some(total), Some(presence)) = (integer, &entry.presence) {
                presence.heard();
                entry.total = Some(total);
                return Some((entry.shards, count(entry, channel, total)));
            }
            let frame = ws_frame::message(name, payload);
            if frame.len() > max_frame {
                tracing::error!(
                    channel = name,
                    bytes = payload.len(),
                    "a message is longer than limits.client_buffer and was not relayed"
                );
                return Some((entry.shards, Delivery::Live { channel, total: entry.total, gap: true }));
            }
            let paced = !entry.every && entry.presence.is_none();
            let delivery = match paced {
                true => Delivery::Latest { channel, total: None, frame },
                false => Delivery::Message { channel, frame },
            };
            Some((entry.shards, delivery))
        })
    }

    fn value(&self, name: &Arc<str>, value: Value) -> Option<Addressed> {
        self.registry.with(|inner| {
            let (channel, entry) = get(inner, name)?;
            // A message that arrived after the reading was asked for is newer than it.
            let stale = entry.presence.as_ref().is_none_or(|presence| presence.times_heard() != value.heard);
            match value.reading {
                Reading::Refused => return Some((entry.shards, Delivery::Refused { channel })),
                Reading::Total(total) if !stale && entry.total != Some(total) => {
                    entry.total = Some(total);
                    if entry.live {
                        return Some((entry.shards, count(entry, channel, total)));
                    }
                }
                Reading::Total(_) | Reading::Unknown => {}
            }
            if entry.live || !entry.subscribed {
                return None;
            }
            (entry.live, entry.missed) = (true, false);
            Some((entry.shards, Delivery::Live { channel, total: entry.total, gap: false }))
        })
    }

    /// Tells the workers when the store as a whole comes into reach or goes out of it.
    fn store_changed(&mut self) -> Option<Addressed> {
        let link = self.link.borrow_and_update().clone();
        let up = self.subscribed && matches!(link, Link::Up(_));
        let before = self.registry.store_up();
        let unknown = match &link {
            Link::Down(why) => why.is_empty(),
            Link::Up(_) => self.why.is_empty(),
        };
        // Before the first attempts have ended, nothing is known that a client could be told.
        if before.is_none() && !up && unknown {
            return None;
        }
        self.registry.with(|inner| inner.up = Some(up));
        if before == Some(up) {
            return None;
        }
        self.metrics.store_up.set(i64::from(up));
        let (peer, why) = match link {
            Link::Down(why) => (String::new(), why),
            Link::Up(peer) => (peer.name, self.why.clone()),
        };
        let store = &self.store;
        match (up, before) {
            (true, _) => tracing::info!(store, peer, "live: counts and messages are in step with the store"),
            (false, Some(true)) => {
                tracing::warn!(store, why, "degraded: the store is out of reach; clients are held, trying again");
            }
            (false, _) => tracing::warn!(store, why, "degraded: no store yet; clients are held, trying again"),
        }
        Some((u64::MAX, Delivery::Store { up }))
    }
}

/// The delivery of a count: the first one makes the channel live, and is told with that.
fn count(entry: &mut ChannelRecord, channel: Arc<str>, total: i64) -> Delivery {
    if std::mem::replace(&mut entry.live, true) {
        let frame = ws_frame::count(&channel, total);
        return Delivery::Latest { channel, total: Some(total), frame };
    }
    entry.missed = false;
    Delivery::Live { channel, total: Some(total), gap: false }
}

fn get<'a>(inner: &'a mut Inner, name: &str) -> Option<(Arc<str>, &'a mut ChannelRecord)> {
    let (name, _) = inner.channels.get_key_value(name)?;
    let name = name.clone();
    let entry = inner.channels.get_mut(&name)?;
    Some((name, entry))
}
