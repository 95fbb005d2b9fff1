//! The subscriptions of a cluster: one feed for each primary, with the channels whose slots it owns.
//!
//! All feeds fill one queue, and none is read while the queue is full. The rule: each decision about a channel
//! is made and announced under one lock, so that events from two feeds are announced in one order.

use std::collections::HashMap;
use std::mem::{Discriminant, discriminant};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::watch;
use tokio::task::AbortHandle;
use tokio::time::timeout;

use super::assignments::{Assignments, FeedId, FeedOrder};
use super::connect::Connector;
use super::feed::{Feed, FeedListener, FeedState};
use super::following;
use super::inbox::{Event, Inbox};
use super::slots::slot;
use super::topology::Topology;
use super::wishes::Ticket;
use crate::config::HostPort;
use crate::metrics::Metrics;

/// How long a feed that is no longer needed may live on.
const IDLE: Duration = Duration::from_secs(2);

/// See the module.
pub(super) struct Feeds {
    connector: Connector,
    inbox: Arc<Inbox>,
    metrics: Metrics,
    topology: watch::Receiver<Arc<Topology>>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    assignments: Assignments,
    topology: Arc<Topology>,
    feeds: HashMap<FeedId, Running>,
    by_server: HashMap<HostPort, FeedId>,
    last: FeedId,
    /// The kind of the last state that was reported for all feeds together.
    said: Option<Discriminant<Event>>,
}

/// A feed and the task that keeps it up; the task ends on drop.
struct Running {
    server: HostPort,
    feed: Arc<Feed>,
    task: AbortHandle,
    state: Option<FeedState>,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Feeds {
    pub fn new(
        connector: Connector,
        inbox: Arc<Inbox>,
        topology: watch::Receiver<Arc<Topology>>,
        metrics: Metrics,
    ) -> Self {
        Self { connector, inbox, metrics, topology, state: Mutex::default() }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Wants a channel, on the feed of its slot's owner.
    pub fn want(&self, channel: String) -> Ticket {
        let mut state = self.lock();
        let slot = slot(channel.as_bytes());
        let feed = state.feed_of(slot);
        let (ticket, orders) = state.assignments.want(channel, slot, feed);
        state.tell(orders);
        ticket
    }

    /// Stops wanting a channel.
    pub fn leave(&self, channel: &str) {
        let mut state = self.lock();
        let orders = state.assignments.leave(channel);
        state.tell(orders);
    }

    /// Follows the topology. Runs until it is dropped.
    pub async fn keep_up(self: Arc<Self>) {
        let mut topology = self.topology.clone();
        topology.mark_changed();
        loop {
            match timeout(IDLE, topology.changed()).await {
                Ok(Ok(())) => {
                    let now = topology.borrow_and_update().clone();
                    self.follow(now);
                }
                Ok(Err(_)) => return,
                Err(_) => {}
            }
            self.end_idle();
        }
    }

    fn follow(self: &Arc<Self>, topology: Arc<Topology>) {
        let mut state = self.lock();
        for server in topology.primaries() {
            if !state.by_server.contains_key(server) {
                state.last += 1;
                let (id, hub) = (state.last, Arc::downgrade(self));
                let listener = Box::new(Ear { id, hub });
                let connector = self.connector.to(server);
                let feed = Arc::new(Feed::new(connector, self.inbox.clone(), listener, self.metrics.clone()));
                let task = tokio::spawn(following::keep_up(feed.clone())).abort_handle();
                state.feeds.insert(id, Running { server: server.clone(), feed, task, state: None });
                state.by_server.insert(server.clone(), id);
            }
        }
        state.topology = topology;
        let State { assignments, topology, by_server, .. } = &mut *state;
        let orders = assignments.follow(|slot| by_server.get(topology.owner(slot)?).copied());
        state.tell(orders);
    }

    /// Ends the feeds of servers that own no slot and that no channel uses any more.
    fn end_idle(&self) {
        let mut state = self.lock();
        let State { assignments, topology, feeds, .. } = &*state;
        let idle = |id: FeedId, server: &HostPort| !topology.primaries().contains(server) && !assignments.uses(id);
        let gone: Vec<FeedId> =
            feeds.iter().filter(|(id, running)| idle(**id, &running.server)).map(|(id, _)| *id).collect();
        let ended: Vec<Running> = gone.iter().filter_map(|id| state.feeds.remove(id)).collect();
        for running in &ended {
            state.by_server.remove(&running.server);
        }
        if !ended.is_empty() {
            self.say_how_it_is(&mut state);
        }
    }

    /// Reports the state of the feeds as a whole: up while any of them is up.
    fn say_how_it_is(&self, state: &mut State) {
        let best = state.feeds.values().filter_map(|running| running.state.as_ref()).max_by_key(|state| match state {
            FeedState::Up => 2,
            FeedState::Refused(_) => 1,
            FeedState::Down(_) => 0,
        });
        let event = match best {
            None => return,
            Some(FeedState::Up) => Event::Up,
            Some(FeedState::Refused(why)) => Event::Refused(why.clone()),
            Some(FeedState::Down(why)) => Event::Down(why.clone()),
        };
        if state.said.replace(discriminant(&event)) != Some(discriminant(&event)) {
            self.inbox.push(event);
        }
    }
}

impl State {
    fn feed_of(&self, slot: u16) -> Option<FeedId> {
        self.by_server.get(self.topology.owner(slot)?).copied()
    }

    fn tell(&self, orders: Vec<FeedOrder>) {
        for order in orders {
            match order {
                FeedOrder::Want(id, channel, ticket) => {
                    if let Some(running) = self.feeds.get(&id) {
                        running.feed.want(channel, ticket);
                    }
                }
                FeedOrder::Leave(id, channel) => {
                    if let Some(running) = self.feeds.get(&id) {
                        running.feed.leave(&channel);
                    }
                }
            }
        }
    }
}

/// Receives what arrives on one feed.
struct Ear {
    id: FeedId,
    hub: Weak<Feeds>,
}

impl FeedListener for Ear {
    fn state(&self, now: FeedState) {
        let Some(hub) = self.hub.upgrade() else { return };
        let mut state = hub.lock();
        if let FeedState::Down(why) | FeedState::Refused(why) = &now {
            let channels = state.assignments.lost(self.id);
            if !channels.is_empty() {
                hub.inbox.push(Event::Away { channels, why: why.clone() });
            }
        }
        if let Some(running) = state.feeds.get_mut(&self.id) {
            running.state = Some(now);
            hub.say_how_it_is(&mut state);
        }
    }

    fn subscribed(&self, channel: String, ticket: Ticket) {
        let Some(hub) = self.hub.upgrade() else { return };
        let mut state = hub.lock();
        let Some((fulfilled, orders)) = state.assignments.acknowledged(self.id, &channel, ticket) else { return };
        state.tell(orders);
        let ticket = fulfilled.ticket;
        hub.inbox.push(match fulfilled.moved {
            true => Event::Moved { channel, ticket },
            false => Event::Subscribed { channel, ticket },
        });
    }

    fn message(&self, channel: String, payload: Bytes) {
        let Some(hub) = self.hub.upgrade() else { return };
        let state = hub.lock();
        if state.assignments.hears(self.id, &channel) {
            hub.inbox.push(Event::Message { channel, payload });
        }
    }
}
