//! The subscription: one connection of its own, and one ordered queue of what arrives on it.
//!
//! Wanted channels are stated by [`Feed::want`] and [`Feed::leave`]; a task makes the connection
//! follow, and after every reconnect subscribes to all of them anew. The queue is bounded: when the
//! fan-out falls behind, the connection is no longer read, and TCP carries the pressure back to the
//! store. If the store then cuts the connection, that is told as an error; what follows is the same as
//! with any lost subscription.

use std::collections::{HashSet, VecDeque};
use std::mem;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use bytes::Bytes;
use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Client, ConnectionAddr, ProtocolVersion, PushInfo, PushKind, Value};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, UnixStream};
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio::task::coop::has_budget_remaining;
use tokio::time::{sleep, timeout};

use super::retry::Backoff;
use crate::config;
use crate::metrics::Metrics;

/// Bytes of payload that may wait for the fan-out before the connection is no longer read.
const QUEUE_BYTES: usize = 4 << 20;
/// Events that may wait, counted beside the bytes.
const QUEUE_EVENTS: usize = 16_384;
/// Bytes that are read without once having to wait for the store: where so much lies ready, this node
/// is behind. The kernel alone holds more before a store's own limit is reached.
const BEHIND: usize = 256 << 10;
/// A connection that ends within this time after it was behind ended for that, if the store takes the
/// next one.
const RECENTLY: Duration = Duration::from_secs(2);
/// Channels in one SUBSCRIBE.
const BATCH: usize = 512;
/// Between two checks that the connection is alive.
const CHECK: Duration = Duration::from_secs(1);

/// What arrives, in the order in which it arrived.
#[derive(Debug)]
pub enum Event {
    /// Connected; every wanted channel will be subscribed anew.
    Up,
    /// The connection is gone, and why. Messages may be missed until a channel is subscribed again.
    Down(String),
    /// The store acknowledged a subscription: what is published from now on will arrive.
    Subscribed(String),
    /// A message. The name is the store's, with the prefix.
    Message {
        /// The channel's name in the store.
        channel: String,
        /// The bytes, as published.
        payload: Bytes,
    },
}

/// The queue between the connection and the fan-out.
#[derive(Default)]
pub struct Inbox {
    state: Mutex<Queue>,
    filled: Notify,
}

#[derive(Default)]
struct Queue {
    events: VecDeque<Event>,
    bytes: usize,
    /// How many events came in all.
    came: u64,
    /// Bytes read since there was nothing to read.
    unbroken: usize,
    /// When that was last as much as [`BEHIND`].
    behind: Option<Instant>,
    reader: Option<Waker>,
}

impl Queue {
    fn full(&self) -> bool {
        self.bytes >= QUEUE_BYTES || self.events.len() >= QUEUE_EVENTS
    }

    /// Whether more came since there were `came`, or could not for want of room.
    fn goes_on(&self, came: u64) -> bool {
        self.came != came || self.full()
    }
}

impl Inbox {
    fn lock(&self) -> std::sync::MutexGuard<'_, Queue> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn push(&self, event: Event) {
        let mut queue = self.lock();
        if let Event::Message { payload, .. } = &event {
            queue.bytes += payload.len();
        }
        queue.came += 1;
        queue.events.push_back(event);
        drop(queue);
        self.filled.notify_one();
    }

    /// Waits until there is something, and takes all of it. Cancel safe.
    pub async fn take(&self) -> VecDeque<Event> {
        loop {
            let events = self.take_now();
            if !events.is_empty() {
                return events;
            }
            self.filled.notified().await;
        }
    }

    fn take_now(&self) -> VecDeque<Event> {
        let mut queue = self.lock();
        queue.bytes = 0;
        if let Some(reader) = queue.reader.take() {
            reader.wake();
        }
        mem::take(&mut queue.events)
    }

    /// So much was read; or nothing was there.
    fn read(&self, bytes: Option<usize>) {
        let mut queue = self.lock();
        queue.unbroken = bytes.map_or(0, |bytes| queue.unbroken + bytes);
        if queue.unbroken >= BEHIND {
            queue.behind = Some(Instant::now());
        }
    }

    /// Whether this node was behind just now; asked once a connection.
    fn was_behind(&self) -> bool {
        let mut queue = self.lock();
        queue.unbroken = 0;
        queue.behind.take().is_some_and(|at| at.elapsed() < RECENTLY)
    }

    fn poll_room(&self, cx: &Context<'_>) -> Poll<()> {
        let mut queue = self.lock();
        if !queue.full() {
            return Poll::Ready(());
        }
        queue.reader = Some(cx.waker().clone());
        Poll::Pending
    }
}

/// A handle to state which channels are wanted.
#[derive(Clone)]
pub struct Feed {
    shared: Arc<Shared>,
}

struct Shared {
    client: Client,
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

impl Feed {
    /// A feed that connects as soon as [`Feed::keep_up`] runs.
    ///
    /// # Errors
    /// The URL names no store.
    pub fn new(config: &config::Redis, metrics: Metrics) -> Result<Self, redis::RedisError> {
        let shared = Shared {
            client: Client::open(config.url.as_str())?,
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
            let came = self.inbox.lock().came;
            match timeout(self.response_timeout, &mut answer).await {
                Ok(Ok(value)) => return Ok(value),
                Ok(Err(error)) => return Err(error.to_string()),
                Err(_) if self.inbox.lock().goes_on(came) => {}
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

trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

/// A stream that is read only while the inbox has room.
struct Gated {
    io: Box<dyn Stream>,
    inbox: Arc<Inbox>,
}

impl AsyncRead for Gated {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<std::io::Result<()>> {
        std::task::ready!(self.inbox.poll_room(cx));
        // Without a budget, nothing says whether anything is there.
        let (before, could) = (buf.filled().len(), has_budget_remaining());
        let polled = Pin::new(&mut self.io).poll_read(cx, buf);
        match polled {
            Poll::Pending if could => self.inbox.read(None),
            _ => self.inbox.read(Some(buf.filled().len() - before)),
        }
        polled
    }
}

impl AsyncWrite for Gated {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<std::io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}
