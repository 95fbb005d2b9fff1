//! One subscription: which channels are wanted on it, and who receives what arrives.
//!
//! The connection itself, and the commands sent on it, are in `following`.

use std::mem::{Discriminant, discriminant};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use redis::{PushInfo, PushKind, RedisResult, Value};
use tokio::sync::Notify;
use tokio::time::timeout;

use super::connect::{Connection, Connector, Failure};
use super::error::Error;
use super::inbox::Inbox;
use super::wishes::{Ticket, Wishes};
use crate::metrics::Metrics;

/// The state of a subscription as a whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum FeedState {
    /// The store acknowledges subscriptions.
    Up,
    /// The connection is gone, for this reason.
    Down(String),
    /// The store answers but refuses every subscription, for this reason.
    Refused(String),
}

/// Receives what arrives on a subscription. No method may block.
pub(super) trait FeedListener: Send + Sync + 'static {
    /// The state of the subscription as a whole has changed.
    fn state(&self, state: FeedState);
    /// The wish with this ticket is fulfilled.
    fn subscribed(&self, channel: String, ticket: Ticket);
    /// A message arrived.
    fn message(&self, channel: String, payload: Bytes);
}

/// See the module.
pub(super) struct Feed {
    pub connector: Connector,
    wishes: Mutex<Wishes>,
    pub changed: Notify,
    /// While it is full, the connection is not read.
    inbox: Arc<Inbox>,
    pub listener: Box<dyn FeedListener>,
    /// The kind of the last reported state, so that no state is reported twice in a row.
    said: Mutex<Option<Discriminant<FeedState>>>,
    pub metrics: Metrics,
}

/// How a connection ended.
pub(super) enum Ended {
    /// The other end closed it.
    Closed(String),
    /// We gave up on it.
    GivenUp(String),
}

impl Feed {
    pub fn new(connector: Connector, inbox: Arc<Inbox>, listener: Box<dyn FeedListener>, metrics: Metrics) -> Self {
        let (wishes, changed, said) = (Mutex::default(), Notify::new(), Mutex::default());
        Self { connector, wishes, changed, inbox, listener, said, metrics }
    }

    /// Wants a channel; [`FeedListener::subscribed`] is called with this ticket once it is live.
    pub fn want(&self, channel: String, ticket: Ticket) {
        self.wishes().want(channel, ticket);
        self.changed.notify_one();
    }

    /// Stops wanting a channel.
    pub fn leave(&self, channel: &str) {
        self.wishes().leave(channel);
        self.changed.notify_one();
    }

    pub fn wishes(&self) -> MutexGuard<'_, Wishes> {
        self.wishes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Connects; nothing is subscribed yet.
    pub async fn connect(self: &Arc<Self>) -> Result<Connection, Failure> {
        let feed = self.clone();
        let receive = move |push: PushInfo| {
            feed.receive(push);
            Ok(())
        };
        let connection = self.connector.subscription(&self.inbox, receive).await?;
        self.wishes().begin_anew();
        Ok(connection)
    }

    /// Reports the state of the subscription as a whole if it has changed.
    pub fn say(&self, state: FeedState) {
        let kind = discriminant(&state);
        let before = self.said.lock().unwrap_or_else(PoisonError::into_inner).replace(kind);
        if before != Some(kind) {
            self.listener.state(state);
        }
    }

    /// Passes a push from the store on to the listener. Pushes that are neither messages nor acknowledgements
    /// are ignored.
    fn receive(&self, push: PushInfo) {
        let mut data = push.data.into_iter();
        let channel = match data.next() {
            Some(Value::BulkString(name)) => String::from_utf8(name).ok(),
            Some(Value::SimpleString(name)) => Some(name),
            _ => None,
        };
        // Only names that we subscribed to come back, and all of ours are UTF-8.
        let Some(channel) = channel else { return };
        match push.kind {
            PushKind::Subscribe => {
                self.say(FeedState::Up);
                let ticket = self.wishes().answered(&channel, true);
                if let Some(ticket) = ticket {
                    self.listener.subscribed(channel, ticket);
                }
            }
            PushKind::Unsubscribe => drop(self.wishes().answered(&channel, false)),
            PushKind::Message => {
                let payload = match data.next() {
                    Some(Value::BulkString(payload)) => Bytes::from(payload),
                    Some(Value::SimpleString(payload)) => Bytes::from(payload),
                    _ => return,
                };
                self.listener.message(channel, payload);
            }
            _ => {}
        }
    }

    /// Waits for an answer, which may be an error. The answer comes after all messages that were published
    /// before it, and it cannot come while the fan-out lags and nothing is read. So the deadline starts over
    /// as long as messages arrive or cannot be read.
    pub async fn patiently<T>(&self, answer: impl Future<Output = RedisResult<T>>) -> Result<Result<T, Error>, Ended> {
        let mut answer = std::pin::pin!(answer);
        loop {
            let came = self.inbox.came();
            match timeout(self.connector.response_timeout, &mut answer).await {
                Ok(Ok(value)) => return Ok(Ok(value)),
                Ok(Err(error)) => match Error::of(&error) {
                    Error::Lost(why) => return Err(Ended::Closed(why)),
                    answered => return Ok(Err(answered)),
                },
                Err(_) if self.inbox.goes_on(came) => {}
                Err(_) => {
                    return Err(Ended::GivenUp(format!("no answer within {:?}", self.connector.response_timeout)));
                }
            }
        }
    }
}
