//! The subscription: one connection of its own, and one ordered queue of what arrives on it.
//!
//! [`Subscriber::want`] and [`Subscriber::leave`] say which channels are wanted; a task makes the
//! connection follow, and after every reconnect subscribes to all of them anew. The queue is bounded:
//! when the fan-out falls behind, the connection is no longer read, and TCP carries the pressure back
//! to the store. If the store then cuts the connection, that is logged as an error; what follows is the
//! same as with any lost subscription.

use std::mem::{Discriminant, discriminant};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use redis::{FromRedisValue, PushInfo, PushKind, RedisResult, Value};
use tokio::sync::{Notify, watch};
use tokio::time::{Instant, Interval, MissedTickBehavior, interval, sleep, sleep_until, timeout};

use super::backoff::Backoff;
use super::connect::{Connection, Connector, Credentials, Failure};
use super::error::Error;
use super::inbox::{Event, Inbox};
use super::peer::Process;
use super::wishes::{Ticket, Wishes};
use crate::config;
use crate::log::Throttle;
use crate::metrics::Metrics;

/// Channels in one SUBSCRIBE.
const BATCH: usize = 512;
/// Between two checks that the connection is alive.
const CHECK: Duration = Duration::from_secs(1);

/// A handle to say which channels are wanted.
#[derive(Clone)]
pub struct Subscriber {
    shared: Arc<Shared>,
}

struct Shared {
    connector: Connector,
    wishes: Mutex<Wishes>,
    changed: Notify,
    inbox: Arc<Inbox>,
    /// What was said last of the subscription as a whole, so that nothing is said twice.
    said: Mutex<Option<Discriminant<Event>>>,
    metrics: Metrics,
}

/// How a connection ended.
enum Ended {
    /// The other end closed it.
    Closed(String),
    /// We gave it up.
    GivenUp(String),
}

impl Subscriber {
    /// A subscriber that connects as soon as [`Subscriber::keep_up`] runs.
    ///
    /// # Errors
    /// The URL names no store.
    pub fn new(
        config: &config::Redis,
        credentials: watch::Receiver<Option<Credentials>>,
        metrics: Metrics,
    ) -> Result<Self, redis::RedisError> {
        let shared = Shared {
            connector: Connector::new(config, credentials)?,
            wishes: Mutex::default(),
            changed: Notify::new(),
            inbox: Arc::default(),
            said: Mutex::default(),
            metrics,
        };
        Ok(Self { shared: Arc::new(shared) })
    }

    /// The queue that the fan-out takes from.
    pub fn inbox(&self) -> Arc<Inbox> {
        self.shared.inbox.clone()
    }

    /// Wants a channel; [`Event::Subscribed`] with this ticket says that it is live.
    pub fn want(&self, channel: String) -> Ticket {
        let ticket = self.shared.wishes().want(channel);
        self.shared.changed.notify_one();
        ticket
    }

    /// Wants a channel no longer.
    pub fn leave(&self, channel: String) {
        self.shared.wishes().leave(channel);
        self.shared.changed.notify_one();
    }

    /// Connects, follows what is wanted, and connects again. Runs until it is dropped.
    pub async fn keep_up(self) {
        let shared = &self.shared;
        let mut backoff = Backoff::to_connect();
        // The process that closed the last connection.
        let mut closed_by: Option<Process> = None;
        loop {
            let event = match shared.connect().await {
                Ok(connection) => {
                    let start = Instant::now();
                    let mut process = None;
                    let ended = Following::new(shared, connection).follow(closed_by.take(), &mut process).await;
                    shared.metrics.store_lost.inc();
                    // One that is closed at once is no success, whatever was said on it.
                    if start.elapsed() >= CHECK {
                        backoff.reset();
                    }
                    Event::Down(match ended {
                        Ended::Closed(why) => {
                            closed_by = process;
                            why
                        }
                        Ended::GivenUp(why) => why,
                    })
                }
                Err(failure) => {
                    // A store that is gone had its own reasons.
                    closed_by = None;
                    match failure {
                        Failure::Away(why) => Event::Down(why),
                        Failure::Refused(why) => Event::Refused(why),
                    }
                }
            };
            tracing::debug!(store = &*shared.connector.shown, ?event, "no subscription");
            shared.say(event);
            sleep(backoff.pause()).await;
        }
    }
}

impl Shared {
    fn wishes(&self) -> MutexGuard<'_, Wishes> {
        self.wishes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn connect(self: &Arc<Self>) -> Result<Connection, Failure> {
        let shared = self.clone();
        let receive = move |push: PushInfo| {
            shared.receive(push);
            Ok(())
        };
        let connection = self.connector.subscription(&self.inbox, receive).await?;
        self.wishes().begin_anew();
        Ok(connection)
    }

    /// Tells how the subscription as a whole is, if that is news.
    fn say(&self, event: Event) {
        let kind = discriminant(&event);
        let before = self.said.lock().unwrap_or_else(PoisonError::into_inner).replace(kind);
        if before != Some(kind) {
            self.inbox.push(event);
        }
    }

    /// Turns a push of the store into an event. What is neither a message nor an acknowledgement is not
    /// ours.
    fn receive(&self, push: PushInfo) {
        let mut data = push.data.into_iter();
        let channel = match data.next() {
            Some(Value::BulkString(name)) => String::from_utf8(name).ok(),
            Some(Value::SimpleString(name)) => Some(name),
            _ => None,
        };
        // Only names that we subscribed to come back, and ours are UTF-8.
        let Some(channel) = channel else { return };
        match push.kind {
            PushKind::Subscribe => {
                self.say(Event::Up);
                let ticket = self.wishes().answered(&channel, true);
                if let Some(ticket) = ticket {
                    self.inbox.push(Event::Subscribed { channel, ticket });
                }
            }
            PushKind::Unsubscribe => drop(self.wishes().answered(&channel, false)),
            PushKind::Message => {
                let payload = match data.next() {
                    Some(Value::BulkString(payload)) => Bytes::from(payload),
                    Some(Value::SimpleString(payload)) => Bytes::from(payload),
                    _ => return,
                };
                self.inbox.push(Event::Message { channel, payload });
            }
            _ => {}
        }
    }

    /// Waits for an answer, also for one that is an error. It comes behind the messages that were
    /// published before it, and not at all while the fan-out is behind and nothing is read: as long as
    /// messages come, or cannot, the deadline starts anew.
    async fn patiently<T>(&self, answer: impl Future<Output = RedisResult<T>>) -> Result<Result<T, Error>, Ended> {
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

/// One connection, and what it is told.
struct Following<'a> {
    shared: &'a Shared,
    connection: Connection,
    /// The store refuses subscriptions for a reason of its own.
    refused: bool,
    /// When what was refused or denied is tried again.
    again: Option<Instant>,
    backoff: Backoff,
}

impl<'a> Following<'a> {
    fn new(shared: &'a Shared, connection: Connection) -> Self {
        Self { shared, connection, refused: false, again: None, backoff: Backoff::to_ask_again() }
    }

    /// Tells the connection what changed until it ends. `process` becomes the one that it is with.
    async fn follow(mut self, closed_by: Option<Process>, process: &mut Option<Process>) -> Ended {
        let mut check = interval(CHECK);
        check.set_missed_tick_behavior(MissedTickBehavior::Delay);
        *process = match self.ask_who_it_is().await {
            Ok(process) => process,
            Err(ended) => return ended,
        };
        if Process::cut_off(closed_by.as_ref(), process.as_ref()) {
            self.log_cut();
        }
        let (shared, server) = (self.shared, self.connection.server.clone());
        let steps = async {
            loop {
                if let Err(ended) = self.step(&mut check).await {
                    return ended;
                }
            }
        };
        tokio::select! {
            ended = steps => ended,
            why = shared.connector.moved(server.as_ref()) => Ended::GivenUp(why),
        }
    }

    async fn step(&mut self, check: &mut Interval) -> Result<(), Ended> {
        // While the store refuses everything, what is new waits with the rest.
        if !self.refused || self.again.is_none() {
            self.tell().await?;
        }
        let again = self.again;
        tokio::select! {
            () = self.shared.changed.notified() => {}
            _ = &mut self.connection.driver => {
                return Err(Ended::Closed("the store closed the connection".to_owned()));
            }
            _ = check.tick() => self.check().await?,
            () = sleep_until(again.unwrap_or_else(Instant::now)), if again.is_some() => {
                self.again = None;
                self.try_a_denied_one().await?;
            }
        }
        Ok(())
    }

    /// Sees that the store answers on this connection. What it answers does not matter.
    async fn check(&mut self) -> Result<(), Ended> {
        let ping = redis::cmd("PING");
        let answer = self.shared.patiently(self.connection.commands.send_packed_command(&ping)).await?;
        // With nothing to subscribe to, an answer is as much as can be had.
        if answer.is_ok() && !self.refused && self.shared.wishes().denied() == 0 {
            self.shared.say(Event::Up);
        }
        Ok(())
    }

    /// Which process of the store this is; None where it does not tell.
    async fn ask_who_it_is(&mut self) -> Result<Option<Process>, Ended> {
        let info = redis::cmd("INFO");
        let answer = self.shared.patiently(self.connection.commands.send_packed_command(&info)).await?;
        let text = answer.ok().and_then(|value| String::from_redis_value(value).ok());
        Ok(text.as_deref().and_then(Process::read))
    }

    fn log_cut(&self) {
        static SAID: Throttle = Throttle::new();
        self.shared.metrics.store_cut.inc();
        if let Some(left_out) = SAID.pass() {
            tracing::error!(
                store = &*self.shared.connector.shown,
                left_out,
                "the store cut the subscription off and runs on, as it does when more waits for a subscriber than \
                 its client-output-buffer-limit for pubsub allows; messages were missed: publish less, or raise \
                 that limit"
            );
        }
    }

    /// Tells the store everything that changed, in bounded steps, or as far as it takes it.
    async fn tell(&mut self) -> Result<(), Ended> {
        loop {
            let changes = self.shared.wishes().next(BATCH);
            for (channel, ticket) in changes.fulfilled {
                self.shared.inbox.push(Event::Subscribed { channel, ticket });
            }
            if !changes.leave.is_empty() {
                let unsubscribed = self.connection.commands.unsubscribe(&changes.leave);
                if let Err(error) = self.shared.patiently(unsubscribed).await? {
                    self.shared.wishes().kept(&changes.leave);
                    self.shared.wishes().refused(&changes.join);
                    self.refuse(error);
                    return Ok(());
                }
                self.refused = false;
            }
            if !changes.join.is_empty() {
                self.subscribe(changes.join).await?;
            }
            if self.refused || self.shared.wishes().is_settled() {
                return Ok(());
            }
        }
    }

    /// Subscribes to these. Where the store allows only some of them, the others are found by halving.
    async fn subscribe(&mut self, channels: Vec<String>) -> Result<(), Ended> {
        let mut parts = vec![channels];
        while let Some(mut part) = parts.pop() {
            let subscribed = self.connection.commands.subscribe(&part);
            let Err(error) = self.shared.patiently(subscribed).await? else {
                self.refused = false;
                continue;
            };
            if !is_of_a_channel(&error) {
                parts.push(part);
                parts.iter().for_each(|part| self.shared.wishes().refused(part));
                self.refuse(error);
                return Ok(());
            }
            if part.len() == 1 {
                part.iter().for_each(|channel| self.deny(channel, &error));
            } else {
                parts.push(part.split_off(part.len() / 2));
                parts.push(part);
            }
        }
        self.refuse_if_all_are_denied();
        Ok(())
    }

    /// Whether what was denied is allowed by now is seen by one channel; then all are tried.
    async fn try_a_denied_one(&mut self) -> Result<(), Ended> {
        let Some(channel) = self.shared.wishes().retry_one() else { return Ok(()) };
        self.tell().await?;
        if !self.shared.wishes().is_denied(&channel) {
            self.backoff.reset();
            self.shared.wishes().retry_all();
        }
        Ok(())
    }

    fn deny(&mut self, channel: &str, error: &Error) {
        static SAID: Throttle = Throttle::new();
        self.shared.metrics.refused.inc();
        self.shared.wishes().deny(channel);
        self.ask_again();
        if let Some(left_out) = SAID.pass() {
            tracing::error!(
                channel,
                %error,
                left_out,
                "the store does not let this server subscribe to a channel: allow it in the user's ACL (&pattern)"
            );
        }
    }

    /// With not one channel that is allowed, it is the store that refuses.
    fn refuse_if_all_are_denied(&mut self) {
        if self.shared.wishes().all_are_denied() {
            self.shared.say(Event::Refused("NOPERM it lets this server subscribe to none of its channels".to_owned()));
        }
    }

    /// The store takes no subscription for now. If none is live, nothing arrives.
    fn refuse(&mut self, error: Error) {
        self.shared.metrics.refused.inc();
        self.refused = true;
        self.ask_again();
        let live = self.shared.wishes().live();
        if live == 0 {
            self.shared.say(Event::Refused(error.reason()));
        }
    }

    fn ask_again(&mut self) {
        if self.again.is_none() {
            self.again = Some(Instant::now() + self.backoff.pause());
        }
    }
}

/// Whether it is some of the channels that the store does not allow, and not the command.
fn is_of_a_channel(error: &Error) -> bool {
    let text = error.reason();
    text.contains("NOPERM") && text.contains("channel") && !text.contains(" command")
}
