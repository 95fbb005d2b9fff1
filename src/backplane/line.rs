//! One multiplexed connection to one server, for commands and scripts, kept up by a task.
//!
//! Every call has a deadline. A call that is not answered in time ends the connection for all callers: its
//! late answer must not be taken for another's, and a store that stalls is as good as gone. Any other
//! answer, even an error, leaves the connection up, unless it shows that the primary has changed.

use std::mem;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{Cmd, FromRedisValue, RedisResult, ScriptInvocation, Value};
use tokio::sync::{Notify, watch};
use tokio::time::error::Elapsed;
use tokio::time::{Instant, sleep, timeout};

use super::backoff::Backoff;
use super::connect::{Connection, Connector, Failure};
use super::error::Error;
use super::peer::{Peer, eviction, too_old};
use crate::metrics::Metrics;

/// The time between two liveness checks of a connection on which nothing else was answered.
const CHECK: Duration = Duration::from_millis(400);
/// How long a connection must last to reset the backoff.
const STABLE: Duration = Duration::from_secs(1);

/// Whether the store answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Link {
    /// Not connected, for this reason, which is empty until the first attempt has ended.
    Down(String),
    /// The store answers but refuses the connection, for this reason.
    Refused(String),
    /// Connected, to this peer.
    Up(Peer),
}

/// A handle to one connection; clones share it.
#[derive(Clone)]
pub(super) struct Line {
    shared: Arc<Shared>,
}

struct Shared {
    connector: Connector,
    current: Mutex<Current>,
    link: watch::Sender<Link>,
    /// Notified by a call that found the connection broken.
    broken: Notify,
    changed: Arc<Notify>,
    metrics: Metrics,
}

/// The connection in use, and what it has answered so far.
#[derive(Default)]
struct Current {
    connection: Option<Connection>,
    /// Identifies the connection: a call that fails ends only the one that it used.
    epoch: u64,
    /// Whether it has given an answer of any use.
    useful: bool,
    /// Whether it has given any answer since the last check.
    heard: bool,
}

impl Line {
    /// Creates a handle that connects as soon as [`Line::keep_up`] runs. `changed` is notified when its state changes.
    pub fn new(connector: Connector, metrics: Metrics, changed: Arc<Notify>) -> Self {
        let shared = Shared {
            connector,
            current: Mutex::default(),
            link: watch::Sender::new(Link::Down(String::new())),
            broken: Notify::new(),
            changed,
            metrics,
        };
        Self { shared: Arc::new(shared) }
    }

    /// Follows the state of the connection.
    pub fn link(&self) -> watch::Receiver<Link> {
        self.shared.link.subscribe()
    }

    /// Connects, and reconnects whenever the connection breaks. Runs until it is dropped.
    pub async fn keep_up(self) {
        let shared = &*self.shared;
        let mut backoff = Backoff::to_connect();
        let mut warned = String::new();
        loop {
            match shared.connector.commands().await {
                Ok(connection) => {
                    let (server, start) = (connection.server.clone(), Instant::now());
                    let epoch = shared.begin(connection);
                    // A store that denies us INFO may still let us count.
                    match self.ask::<String>(redis::cmd("INFO").arg("everything")).await {
                        Ok(info) => {
                            warn_of_store(&info, &mut warned);
                            shared.went_up(epoch, Peer::read(&info));
                        }
                        Err(Error::Down | Error::Lost(_)) => {}
                        Err(_) => shared.went_up(epoch, Peer::unknown()),
                    }
                    while shared.has(epoch) {
                        tokio::select! {
                            () = shared.broken.notified() => {}
                            () = self.check() => {}
                            why = shared.connector.moved(server.as_ref()) => shared.give_up(epoch, Link::Down(why)),
                        }
                    }
                    // A connection that breaks at once does not count as a success, whatever was answered on it.
                    if shared.was_useful() && start.elapsed() >= STABLE {
                        backoff.reset();
                    }
                }
                Err(Failure::Refused(why)) => shared.went_down(Link::Refused(why)),
                Err(Failure::Away(why)) => shared.went_down(Link::Down(why)),
            }
            sleep(backoff.pause()).await;
        }
    }

    /// Sends one command.
    ///
    /// # Errors
    /// See [`Error`]; after [`Error::Lost`] the command may or may not have been carried out.
    pub async fn command(&self, command: &Cmd) -> Result<Value, Error> {
        let answer = self.raw(command).await;
        self.shared.note(&answer);
        answer
    }

    /// Runs a script by its hash, and loads it if the store does not know it yet.
    ///
    /// # Errors
    /// As [`Line::command`].
    pub async fn run(&self, script: &ScriptInvocation<'_>) -> Result<Value, Error> {
        let (epoch, mut connection) = self.shared.get()?;
        let answer = timeout(self.shared.connector.response_timeout, script.invoke_async(&mut connection)).await;
        let answer = self.shared.judge(epoch, answer);
        self.shared.note(&answer);
        answer
    }

    /// Sends one command for a key that this server may have already, although it does not own the slot yet.
    ///
    /// # Errors
    /// As [`Line::command`].
    pub async fn asking(&self, command: &Cmd) -> Result<Value, Error> {
        let (epoch, mut connection) = self.shared.get()?;
        let mut both = redis::pipe();
        both.cmd("ASKING").ignore().add_command(command.clone());
        let answer = timeout(self.shared.connector.response_timeout, both.query_async(&mut connection)).await;
        let answer = self.shared.judge(epoch, answer.map(|answer| answer.map(|(value,): (Value,)| value)));
        self.shared.note(&answer);
        answer
    }

    /// Waits until the first attempt to connect has ended, for `limit` at most.
    pub async fn tried(&self, limit: Duration) {
        let mut link = self.link();
        let tried = link.wait_for(|link| !matches!(link, Link::Down(why) if why.is_empty()));
        let _ = timeout(limit, tried).await;
    }

    /// The number of connections so far, including the current one.
    pub fn epoch(&self) -> u64 {
        self.shared.lock().epoch
    }

    /// Checks that the connection answers, and returns when it does not. Otherwise a stall might go unnoticed.
    async fn check(&self) {
        loop {
            sleep(CHECK).await;
            if !mem::take(&mut self.shared.lock().heard)
                && let Err(Error::Down | Error::Lost(_)) = self.raw(&redis::cmd("PING")).await
            {
                return;
            }
        }
    }

    async fn ask<T: FromRedisValue>(&self, command: &Cmd) -> Result<T, Error> {
        self.raw(command).await.and_then(convert)
    }

    async fn raw(&self, command: &Cmd) -> Result<Value, Error> {
        let (epoch, mut connection) = self.shared.get()?;
        let answer = timeout(self.shared.connector.response_timeout, command.query_async(&mut connection)).await;
        self.shared.judge(epoch, answer)
    }
}

impl Shared {
    fn lock(&self) -> std::sync::MutexGuard<'_, Current> {
        self.current.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn begin(&self, connection: Connection) -> u64 {
        let mut current = self.lock();
        *current = Current { connection: Some(connection), epoch: current.epoch + 1, useful: false, heard: true };
        current.epoch
    }

    fn get(&self) -> Result<(u64, MultiplexedConnection), Error> {
        let current = self.lock();
        let connection = current.connection.as_ref().ok_or(Error::Down)?;
        Ok((current.epoch, connection.commands.clone()))
    }

    fn note<T>(&self, answer: &Result<T, Error>) {
        if answer.is_ok() {
            self.lock().useful = true;
        }
    }

    fn was_useful(&self) -> bool {
        self.lock().useful
    }

    /// Tells an answer from a broken connection, and has a broken connection replaced, once.
    fn judge(&self, epoch: u64, answer: Result<RedisResult<Value>, Elapsed>) -> Result<Value, Error> {
        let why = match answer.map(|answer| answer.map_err(|error| Error::of(&error))) {
            Ok(Ok(value)) => {
                self.lock().heard = true;
                return Ok(value);
            }
            Ok(Err(Error::Lost(why))) => why,
            Ok(Err(answered)) => {
                self.lock().heard = true;
                if self.connector.is_no_primary(&answered) {
                    self.give_up(epoch, Link::Refused(answered.reason()));
                }
                return Err(answered);
            }
            Err(_) => format!("no answer within {:?}", self.connector.response_timeout),
        };
        self.give_up(epoch, Link::Down(why.clone()));
        Err(Error::Lost(why))
    }

    /// Has a connection replaced, once.
    fn give_up(&self, epoch: u64, link: Link) {
        let mut current = self.lock();
        if current.epoch == epoch && current.connection.take().is_some() {
            drop(current);
            self.went_down(link);
            self.broken.notify_one();
        }
    }

    /// Whether this connection is still in use.
    fn has(&self, epoch: u64) -> bool {
        let current = self.lock();
        current.epoch == epoch && current.connection.is_some()
    }

    /// Reports the connection as up, unless another call has found it broken by now.
    fn went_up(&self, epoch: u64, peer: Peer) {
        let current = self.lock();
        if current.epoch == epoch && current.connection.is_some() {
            tracing::debug!(store = &*self.connector.shown, peer = peer.name, "connected to the store");
            self.link.send_replace(Link::Up(peer));
            self.changed.notify_one();
        }
    }

    fn went_down(&self, link: Link) {
        tracing::debug!(store = &*self.connector.shown, ?link, "no connection to the store");
        if let Link::Up(_) = self.link.send_replace(link) {
            self.metrics.store_lost.inc();
        }
        self.changed.notify_one();
    }
}

/// Warns the operator about a store that is too old or may evict a count, once for each problem.
fn warn_of_store(info: &str, warned: &mut String) {
    let (old, policy) = (too_old(info), eviction(info).unwrap_or_default());
    let problem = old.as_deref().unwrap_or(policy);
    if !problem.is_empty() && problem != warned {
        match &old {
            Some(why) => tracing::error!(why, "the store is too old: counts will fail"),
            None => tracing::warn!(
                policy,
                "the store may evict keys, and with them a count; set its maxmemory-policy to noeviction"
            ),
        }
    }
    problem.clone_into(warned);
}

/// Converts a reply to the expected type. A reply of another type is no reason to give up the connection,
/// which all callers share.
pub(super) fn convert<T: FromRedisValue>(value: Value) -> Result<T, Error> {
    T::from_redis_value(value).map_err(|error| Error::Reply(error.to_string()))
}
