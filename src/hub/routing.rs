//! The task between the store and the workers: each message goes to the workers that want it.
//!
//! It turns registry changes into subscriptions, and feed events and presence values into deliveries. When
//! a worker is behind, the task waits, and the backpressure reaches the feed and then the store.

use std::future::pending;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use tokio::time::sleep_until;

use super::queue::Queued;
use super::router::{Addressed, Router, get, show};
use super::store_state::{StoreChange, StoreState, Subscription};
use super::{ChannelValue, Delivery, NoBoard, away, interest, listing, wire};
use crate::backplane::Event;
use crate::boards;
use crate::log::Throttle;
use crate::presence::{Reading, Value};
use crate::text::parse_int;

/// Waits until this time, or forever if there is none.
async fn until(at: Option<Instant>) {
    match at {
        Some(at) => sleep_until(at.into()).await,
        None => pending().await,
    }
}

impl Router {
    /// Runs until the workers are gone.
    pub async fn run(mut self) {
        let (inbox, registry, presence) = (self.feed.inbox(), self.registry.clone(), self.presence.clone());
        let boards = registry.boards.clone();
        self.link.mark_changed();
        loop {
            let due = self.watch.due(Instant::now());
            let out: Vec<Addressed> = tokio::select! {
                // An acknowledgement must be handled before a reading of the same channel.
                biased;
                events = inbox.take() => events.into_iter().flat_map(|event| self.event(event)).collect(),
                values = presence.values() => values.into_iter().filter_map(|(name, value)| self.value(&name, value)).collect(),
                lists = presence.lists() => {
                    lists.into_iter().flat_map(|(name, list)| listing::listed(&self, &name, list)).collect()
                }
                news = boards.news() => {
                    news.into_iter().flat_map(|(name, news)| self.board_news(&name, news)).collect()
                }
                () = registry.work() => {
                    interest::follow(&mut self);
                    Vec::new()
                }
                () = until(self.unwanted.front().map(|(at, _)| *at)) => {
                    interest::leave_unwanted(&mut self);
                    Vec::new()
                }
                changed = self.link.changed() => match changed {
                    Ok(()) => {
                        self.watch.link = self.link.borrow_and_update().clone();
                        Vec::new()
                    }
                    Err(_) => return,
                },
                changed = self.heartbeat.changed() => match changed {
                    Ok(()) => {
                        self.watch.heartbeat = self.heartbeat.borrow_and_update().clone();
                        Vec::new()
                    }
                    Err(_) => return,
                },
                () = sleep_until(due.unwrap_or_else(Instant::now).into()), if due.is_some() => Vec::new(),
            };
            let news = self.watch.news(Instant::now()).and_then(|change| self.store_changed(change));
            for (shards, delivery) in out.into_iter().chain(news) {
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
            // A worker empties its queue whenever it runs; the queue closes only when the node stops.
            if shards & 1 << index != 0 && shard.send(queued()).await.is_err() {
                return false;
            }
        }
        true
    }

    fn event(&mut self, event: Event) -> impl Iterator<Item = Addressed> + use<> {
        let (one, more) = match event {
            Event::Away { channels, why } => (None, away::away(self, &channels, &why)),
            other => (self.event_of_one(other), Vec::new()),
        };
        one.into_iter().chain(more)
    }

    fn event_of_one(&mut self, event: Event) -> Option<Addressed> {
        match event {
            Event::Up => {
                self.watch.subscription = Subscription::Up;
                self.presence.subscription(true);
                None
            }
            Event::Down(why) => away::unsubscribed(self, Subscription::Down(why)),
            Event::Refused(why) => away::unsubscribed(self, Subscription::Refused(why)),
            Event::Subscribed { channel, .. } | Event::Moved { channel, .. } if self.revoked.is_it(&channel) => {
                self.revoked.subscribed();
                None
            }
            Event::Message { channel, payload } if self.revoked.is_it(&channel) => {
                self.revoked.heard(&payload).map(|delivery| (u64::MAX, delivery))
            }
            Event::Subscribed { channel, ticket } => {
                if let Some(name) = self.keys.of_members(&channel) {
                    return listing::subscribed(self, name, ticket);
                }
                self.keys.channel(&channel).and_then(|name| self.subscribed(name, ticket))
            }
            Event::Moved { channel, ticket } => match self.keys.of_members(&channel) {
                Some(name) => listing::subscribed(self, name, ticket),
                None => away::moved(self, self.keys.channel(&channel)?, ticket),
            },
            Event::Away { .. } => None,
            Event::Message { channel, payload } => {
                if let Some(name) = self.keys.of_members(&channel) {
                    return listing::changed(self, name, payload);
                }
                let name = self.keys.channel(&channel)?;
                self.metrics.messages.inc();
                self.message(name, &payload)
            }
        }
    }

    /// Routes a message. The lock that all joins take is held for the look-up, but not while the frame is
    /// built.
    fn message(&self, name: &str, payload: &Bytes) -> Option<Addressed> {
        if let Some(total) = parse_int(payload)
            && let Some(shown) = self.count(name, total)
        {
            return shown;
        }
        let found = self.registry.with(|inner| {
            let max_frame = inner.max_frame;
            let (channel, entry) = get(inner, name)?;
            Some((channel, entry.shards, !entry.every && entry.presence.is_none(), entry.value.clone(), max_frame))
        });
        let (channel, shards, paced, value, max_frame) = found?;
        let frame = wire::message(name, payload);
        if frame.len() > max_frame {
            self.log_too_long(name, payload.len());
            return Some((shards, Delivery::Live { channel, value, gap: true }));
        }
        let delivery = match paced {
            true => Delivery::Latest { channel, value: None, frame },
            false => Delivery::Message { channel, frame },
        };
        Some((shards, delivery))
    }

    /// Handles an integer. On a counted channel it is the total; for any other channel, returns None. The
    /// total is held back while the channel still waits for its list of members.
    fn count(&self, name: &str, total: i64) -> Option<Option<Addressed>> {
        self.registry.with(|inner| {
            let (channel, entry) = get(inner, name)?;
            entry.presence.as_ref()?.heard();
            self.trending.note(&channel, total);
            let shown = show(entry, channel, ChannelValue::Count(total));
            Some(shown.map(|delivery| (entry.shards, delivery)))
        })
    }

    fn log_too_long(&self, channel: &str, bytes: usize) {
        static SAID: Throttle = Throttle::new();
        self.metrics.too_long.inc();
        if let Some(left_out) = SAID.pass() {
            tracing::error!(
                channel,
                bytes,
                left_out,
                "a message is longer than limits.client_buffer and was not relayed"
            );
        }
    }

    fn value(&self, name: &Arc<str>, value: Value) -> Option<Addressed> {
        self.registry.with(|inner| {
            let (channel, entry) = get(inner, name)?;
            // A message that arrived after the reading was requested is newer.
            let stale = entry.presence.as_ref().is_none_or(|presence| presence.times_heard() != value.heard);
            match value.reading {
                Reading::Away => {
                    let news = entry.degrade(&self.metrics);
                    return news.then_some((entry.shards, Delivery::NoBoard { channel, why: NoBoard::Away }));
                }
                Reading::Refused => return Some((entry.shards, Delivery::Refused { channel })),
                Reading::Total(total) if !stale && entry.value != Some(ChannelValue::Count(total)) => {
                    entry.value = Some(ChannelValue::Count(total));
                    self.trending.note(&channel, total);
                    if entry.live {
                        return Some((entry.shards, show(entry, channel, ChannelValue::Count(total))?));
                    }
                }
                Reading::Total(_) | Reading::Unknown => {}
            }
            if entry.live || !entry.subscribed {
                return None;
            }
            entry.counted = true;
            if entry.awaits_list() {
                return None;
            }
            (entry.live, entry.missed, entry.no_board) = (true, false, None);
            Some((entry.shards, Delivery::Live { channel, value: entry.value.clone(), gap: false }))
        })
    }

    /// Returns the news of a board: the board itself, then the followed members.
    fn board_news(&self, name: &Arc<str>, news: boards::BoardNews) -> Vec<Addressed> {
        let shown = news.board.map(|board| board.map(|board| ChannelValue::Board(board.json().into())));
        let places: Vec<_> = news
            .places
            .into_iter()
            .filter_map(|(member, place)| {
                let frame = wire::place(name, &boards::place_json(&member, place));
                Some((Arc::<str>::from(String::from_utf8(member).ok()?), frame))
            })
            .collect();
        self.registry.with(|inner| {
            let max_frame = inner.max_frame;
            let Some((channel, entry)) = get(inner, name) else { return Vec::new() };
            if entry.board.is_none() {
                return Vec::new();
            }
            let fits = |value: &ChannelValue| matches!(value, ChannelValue::Board(json) if json.len() < max_frame / 2);
            let why = match &shown {
                Some(Ok(value)) if !fits(value) => Some(NoBoard::TooLarge),
                Some(Err(boards::NoReading::NotAnOrderedSet)) => Some(NoBoard::NotAnOrderedSet),
                Some(Err(boards::NoReading::Away)) => Some(NoBoard::Away),
                _ => None,
            };
            let board = match (shown, why) {
                (Some(_), Some(NoBoard::Away)) => {
                    let news = entry.degrade(&self.metrics);
                    news.then(|| Delivery::NoBoard { channel: channel.clone(), why: NoBoard::Away })
                }
                (Some(_), Some(why)) => {
                    (entry.live, entry.value, entry.no_board) = (false, None, Some(why));
                    Some(Delivery::NoBoard { channel: channel.clone(), why })
                }
                (Some(Ok(value)), None) => show(entry, channel.clone(), value),
                _ => None,
            };
            let shards = entry.shards;
            let places =
                places.into_iter().map(|(member, frame)| Delivery::Place { channel: channel.clone(), member, frame });
            board.into_iter().chain(places).map(|delivery| (shards, delivery)).collect()
        })
    }

    /// Logs the store's new state, and tells the workers if it makes a difference to clients.
    fn store_changed(&self, change: StoreChange) -> Option<Addressed> {
        let (up, store, why) = (change.now == StoreState::Live, &self.store, change.why);
        self.registry.with(|inner| inner.store = Some(change.now));
        self.metrics.store_up.set(i64::from(up));
        match (change.now, change.before) {
            (StoreState::Live, _) => {
                tracing::info!(store, peer = why, "live: counts and messages are in step with the store");
            }
            (StoreState::Refused, _) => tracing::error!(
                store,
                why,
                "refused: the store answers, but this server may not count there; clients stay connected, retrying"
            ),
            (StoreState::Degraded, None) => {
                tracing::warn!(store, why, "degraded: no store yet; clients stay connected, retrying");
            }
            (StoreState::Degraded, Some(_)) => {
                tracing::warn!(store, why, "degraded: the store is unreachable; clients stay connected, retrying");
            }
        }
        let before = change.before.map(|state| state == StoreState::Live);
        (before != Some(up)).then_some((u64::MAX, Delivery::Store { up }))
    }
}
