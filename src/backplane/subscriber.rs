//! The subscription: one connection of its own, and one ordered queue of what arrives on it.
//!
//! Wanted channels are stated by [`Subscriber::want`] and [`Subscriber::leave`]; a task makes the connection
//! follow, and after every reconnect subscribes to all of them anew. The queue is bounded: when the
//! fan-out falls behind, the connection is no longer read, and TCP carries the pressure back to the
//! store. If the store then cuts the connection, that is told as an error; what follows is the same as
//! with any lost subscription.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, ConnectionAddr, ProtocolVersion, PushInfo, PushKind, Value};
use tokio::net::{TcpStream, UnixStream};
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

use super::backoff::Backoff;
use super::inbox::{Event, Gated, Inbox, Stream};
use crate::config;
use crate::metrics::Metrics;

/// Channels in one SUBSCRIBE.
const BATCH: usize = 512;
/// Between two checks that the connection is alive.
const CHECK: Duration = Duration::from_secs(1);

/// A handle to state which channels are wanted.
#[derive(Clone)]
pub struct Subscriber {
    shared: Arc<Shared>,
}

struct Shared {
    client: redis::Client,
    shown: String,
    connect_timeout: Duration,
    response_timeout: Duration,
    wanted: Mutex<Wanted>,
    changed: Notify,
    inbox: Arc<Inbox>,
    metrics: Metrics,
}

/// What is wanted, and what the current connection has not been told yet.
#[derive(Default)]
struct Wanted {
    channels: HashSet<String>,
    told: HashSet<String>,
    changes: HashSet<String>,
}

impl Subscriber {
    /// A feed that connects as soon as [`Subscriber::keep_up`] runs.
    ///
    /// # Errors
    /// The URL names no store.
    pub fn new(config: &config::Redis, metrics: Metrics) -> Result<Self, redis::RedisError> {
        let shared = Shared {
            client: redis::Client::open(config.url.as_str())?,
            shown: config.shown(),
            connect_timeout: config.connect_timeout,
            response_timeout: config.response_timeout,
            wanted: Mutex::default(),
            changed: Notify::new(),
            inbox: Arc::default(),
            metrics,
        };
        Ok(Self { shared: Arc::new(shared) })
    }

    /// The queue that the fan-out takes from.
    pub fn inbox(&self) -> Arc<Inbox> {
        self.shared.inbox.clone()
    }

    /// Wants a channel; [`Event::Subscribed`] tells when it is live.
    pub fn want(&self, channel: String) {
        self.change(channel, true);
    }

    /// Wants a channel no longer.
    pub fn leave(&self, channel: String) {
        self.change(channel, false);
    }

    fn change(&self, channel: String, on: bool) {
        let mut wanted = self.shared.lock();
        if on {
            wanted.channels.insert(channel.clone());
        } else {
            wanted.channels.remove(&channel);
        }
        wanted.changes.insert(channel);
        drop(wanted);
        self.shared.changed.notify_one();
    }

    /// Connects, follows what is wanted, and connects again. Runs until it is dropped.
    pub async fn keep_up(self) {
        let shared = &*self.shared;
        let mut backoff = Backoff::default();
        // Said at the first attempt too, since before it nobody knows.
        let mut down = false;
        let mut cut: Option<String> = None;
        loop {
            let why = match shared.connect().await {
                Ok(mut connection) => {
                    if let Some(why) = cut.take() {
                        shared.say_cut(&why);
                    }
                    backoff.reset();
                    shared.inbox.push(Event::Up);
                    down = false;
                    shared.forget_told();
                    let why = shared.follow(&mut connection).await;
                    shared.metrics.store_lost.inc();
                    cut = shared.inbox.was_behind().then(|| why.clone());
                    why
                }
                Err(why) => {
                    // A store that is gone had its own reasons.
                    cut = None;
                    why
                }
            };
            tracing::debug!(store = shared.shown, why, "no subscription");
            if !std::mem::replace(&mut down, true) {
                shared.inbox.push(Event::Down(why));
            }
            sleep(backoff.next()).await;
        }
    }
}

impl Shared {
    fn lock(&self) -> std::sync::MutexGuard<'_, Wanted> {
        self.wanted.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A new connection knows nothing: everything wanted is a change.
    fn forget_told(&self) {
        let mut wanted = self.lock();
        wanted.told.clear();
        wanted.changes = wanted.channels.clone();
    }

    /// Says that a connection ended because this node did not keep up.
    fn say_cut(&self, why: &str) {
        self.metrics.store_cut.inc();
        tracing::error!(
            store = self.shown,
            why,
            "the store ended the subscription while this node was behind with it, as over its \
             client-output-buffer-limit for pubsub; messages were missed: publish less, or raise that limit"
        );
    }

    /// Tells the connection what changed until it breaks; returns why.
    async fn follow(&self, connection: &mut Connection) -> String {
        let mut check = tokio::time::interval(CHECK);
        check.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            if let Err(why) = self.tell(&mut connection.commands).await {
                return why;
            }
            tokio::select! {
                () = self.changed.notified() => {}
                _ = &mut connection.driver => return "the store closed the connection".to_owned(),
                _ = check.tick() => {
                    let ping = redis::cmd("PING");
                    if let Err(why) = self.patiently(connection.commands.send_packed_command(&ping)).await {
                        return why;
                    }
                }
            }
        }
    }

    async fn tell(&self, commands: &mut MultiplexedConnection) -> Result<(), String> {
        loop {
            let (join, leave) = self.next_changes();
            if join.is_empty() && leave.is_empty() {
                return Ok(());
            }
            for (name, channels) in [("SUBSCRIBE", join), ("UNSUBSCRIBE", leave)] {
                if channels.is_empty() {
                    continue;
                }
                match name {
                    "SUBSCRIBE" => self.patiently(commands.subscribe(&channels)).await?,
                    _ => self.patiently(commands.unsubscribe(&channels)).await?,
                }
            }
        }
    }

    /// The next changes in a bounded number; what came and went in between is left out.
    fn next_changes(&self) -> (Vec<String>, Vec<String>) {
        let mut wanted = self.lock();
        let some: Vec<String> = wanted.changes.iter().take(BATCH).cloned().collect();
        let (mut join, mut leave) = (Vec::new(), Vec::new());
        for channel in some {
            wanted.changes.remove(&channel);
            match (wanted.channels.contains(&channel), wanted.told.contains(&channel)) {
                (true, false) => {
                    wanted.told.insert(channel.clone());
                    join.push(channel);
                }
                (false, true) => {
                    wanted.told.remove(&channel);
                    leave.push(channel);
                }
                // Left and wanted again before the store was told: its subscription never ended.
                (true, true) => self.inbox.push(Event::Subscribed(channel)),
                (false, false) => {}
            }
        }
        (join, leave)
    }

    /// Waits for an answer. It comes behind the messages that were published before it, and not at
    /// all while the fan-out is behind and nothing is read: as long as messages come, or cannot, the
    /// deadline starts anew.
    async fn patiently<T>(&self, answer: impl Future<Output = redis::RedisResult<T>>) -> Result<T, String> {
        let mut answer = std::pin::pin!(answer);
        loop {
            let came = self.inbox.came();
            match timeout(self.response_timeout, &mut answer).await {
                Ok(Ok(value)) => return Ok(value),
                Ok(Err(error)) => return Err(error.to_string()),
                Err(_) if self.inbox.goes_on(came) => {}
                Err(_) => return Err(format!("no answer within {:?}", self.response_timeout)),
            }
        }
    }

    async fn connect(&self) -> Result<Connection, String> {
        match timeout(self.connect_timeout, self.open()).await {
            Ok(Ok(connection)) => Ok(connection),
            Ok(Err(error)) => Err(error.to_string()),
            Err(_) => Err(format!("no answer within {:?}", self.connect_timeout)),
        }
    }

    async fn open(&self) -> Result<Connection, redis::RedisError> {
        let info = self.client.get_connection_info();
        let settings = info.redis_settings().clone().set_protocol(ProtocolVersion::RESP3);
        let inbox = self.inbox.clone();
        let config = AsyncConnectionConfig::new()
            .set_response_timeout(None)
            .set_push_sender(move |push: PushInfo| receive(&inbox, push));
        let io: Box<dyn Stream> = match info.addr() {
            ConnectionAddr::Unix(path) => Box::new(UnixStream::connect(path).await?),
            ConnectionAddr::Tcp(host, port) => {
                let stream = TcpStream::connect((host.as_str(), *port)).await?;
                stream.set_nodelay(true)?;
                Box::new(stream)
            }
            _ => return Err((redis::ErrorKind::InvalidClientConfig, "only TCP and Unix sockets are supported").into()),
        };
        let gated = Gated { io, inbox: self.inbox.clone() };
        let (commands, driver) = MultiplexedConnection::new_with_config(&settings, gated, config).await?;
        Ok(Connection { commands, driver: tokio::spawn(driver) })
    }
}

struct Connection {
    commands: MultiplexedConnection,
    driver: JoinHandle<()>,
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

/// Turns a push of the store into an event. What is no message and no acknowledgement is not ours.
fn receive(inbox: &Inbox, push: PushInfo) -> Result<(), ()> {
    let mut data = push.data.into_iter();
    let channel = match data.next() {
        Some(Value::BulkString(name)) => String::from_utf8(name).ok(),
        Some(Value::SimpleString(name)) => Some(name),
        _ => None,
    };
    // Only names that we subscribed to come back, and ours are UTF-8.
    let Some(channel) = channel else { return Ok(()) };
    match push.kind {
        PushKind::Subscribe => inbox.push(Event::Subscribed(channel)),
        PushKind::Message => {
            let payload = match data.next() {
                Some(Value::BulkString(payload)) => Bytes::from(payload),
                Some(Value::SimpleString(payload)) => Bytes::from(payload),
                _ => return Ok(()),
            };
            inbox.push(Event::Message { channel, payload });
        }
        _ => {}
    }
    Ok(())
}
