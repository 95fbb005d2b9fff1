//! The subscription: which channels are wanted, and one ordered queue of what arrives on them.
//!
//! [`Subscriber::want`] and [`Subscriber::leave`] say which channels are wanted; tasks update the connections
//! to match, one to the store or one to each primary of a cluster. The queue is bounded: when the fan-out
//! falls behind, no connection is read, and TCP carries the backpressure to the store.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use tokio::sync::watch;

use super::connect::{Connector, Credentials};
use super::feed::{Feed, FeedListener, FeedState};
use super::feeds::Feeds;
use super::following;
use super::inbox::{Event, Inbox};
use super::topology::Topology;
use super::wishes::Ticket;
use crate::config;
use crate::metrics::Metrics;

/// A handle for choosing which channels are wanted.
#[derive(Clone)]
pub struct Subscriber {
    inbox: Arc<Inbox>,
    tickets: Arc<AtomicU64>,
    way: Way,
}

#[derive(Clone)]
enum Way {
    One(Arc<Feed>),
    Many(Arc<Feeds>),
}

impl Subscriber {
    /// Creates a subscriber that connects as soon as [`Subscriber::keep_up`] runs. In a cluster, it follows `topology`.
    ///
    /// # Errors
    /// The URL names no store.
    pub fn new(
        config: &config::Redis,
        credentials: watch::Receiver<Option<Credentials>>,
        topology: Option<watch::Receiver<Arc<Topology>>>,
        metrics: Metrics,
    ) -> Result<Self, redis::RedisError> {
        let (connector, inbox) = (Connector::new(config, credentials)?, Arc::<Inbox>::default());
        let way = match topology {
            Some(topology) => Way::Many(Arc::new(Feeds::new(connector, inbox.clone(), topology, metrics))),
            None => {
                let listener = Box::new(Direct(inbox.clone()));
                Way::One(Arc::new(Feed::new(connector, inbox.clone(), listener, metrics)))
            }
        };
        Ok(Self { inbox, tickets: Arc::default(), way })
    }

    /// Returns the queue that the fan-out reads from.
    pub fn inbox(&self) -> Arc<Inbox> {
        self.inbox.clone()
    }

    /// Wants a channel. [`Event::Subscribed`] with the returned ticket says that it is live.
    pub fn want(&self, channel: String) -> Ticket {
        match &self.way {
            Way::One(feed) => {
                let ticket = self.tickets.fetch_add(1, Ordering::Relaxed) + 1;
                feed.want(channel, ticket);
                ticket
            }
            Way::Many(feeds) => feeds.want(channel),
        }
    }

    /// Stops wanting a channel.
    pub fn leave(&self, channel: &str) {
        match &self.way {
            Way::One(feed) => feed.leave(channel),
            Way::Many(feeds) => feeds.leave(channel),
        }
    }

    /// Keeps the connections and their subscriptions up. Runs until it is dropped.
    pub async fn keep_up(self) {
        match self.way {
            Way::One(feed) => following::keep_up(feed).await,
            Way::Many(feeds) => feeds.keep_up().await,
        }
    }
}

/// Puts what arrives on a single subscription straight into the queue.
struct Direct(Arc<Inbox>);

impl FeedListener for Direct {
    fn state(&self, state: FeedState) {
        self.0.push(match state {
            FeedState::Up => Event::Up,
            FeedState::Down(why) => Event::Down(why),
            FeedState::Refused(why) => Event::Refused(why),
        });
    }

    fn subscribed(&self, channel: String, ticket: Ticket) {
        self.0.push(Event::Subscribed { channel, ticket });
    }

    fn message(&self, channel: String, payload: Bytes) {
        self.0.push(Event::Message { channel, payload });
    }
}
