//! One multiplexed connection for commands and scripts, kept up by a task.
//!
//! Every call has a deadline. A call that is not answered in time ends the connection for all: its
//! late answer must not be taken for another's, and a store that stalls is a store that is away.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Cmd, FromRedisValue, RedisResult, ScriptInvocation, Value};
use tokio::sync::{Notify, watch};
use tokio::time::error::Elapsed;
use tokio::time::{sleep, timeout};

use super::backoff::Backoff;
use super::error::{Error, describe};
use crate::config;
use crate::metrics::Metrics;

/// Whether the store answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Link {
    /// Not connected, and why; empty before the first attempt has ended.
    Down(String),
    /// Connected, and to whom.
    Up(Peer),
}

/// What the store says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Peer {
    /// Its kind and version, such as "redis 7.0.15", as far as it tells.
    pub name: String,
    /// Whether it is an embedded store of ours; None if it does not tell.
    pub ours: Option<bool>,
}

/// A handle to the store; clones share one connection.
#[derive(Clone)]
pub struct Client {
    shared: Arc<Shared>,
}

struct Shared {
    redis: redis::Client,
    shown: String,
    connect_timeout: Duration,
    response_timeout: Duration,
    connection: Mutex<Option<(u64, MultiplexedConnection)>>,
    link: watch::Sender<Link>,
    /// Rung by a call that found the connection broken.
    broken: Notify,
    metrics: Metrics,
}

impl Client {
    /// A handle that connects as soon as [`Client::keep_up`] runs.
    ///
    /// # Errors
    /// The URL names no store.
    pub fn new(config: &config::Redis, metrics: Metrics) -> Result<Self, redis::RedisError> {
        let shared = Shared {
            redis: redis::Client::open(config.url.as_str())?,
            shown: config.shown(),
            connect_timeout: config.connect_timeout,
            response_timeout: config.response_timeout,
            connection: Mutex::new(None),
            link: watch::Sender::new(Link::Down(String::new())),
            broken: Notify::new(),
            metrics,
        };
        Ok(Self { shared: Arc::new(shared) })
    }

    /// Follows the state of the connection.
    pub fn link(&self) -> watch::Receiver<Link> {
        self.shared.link.subscribe()
    }

    /// Connects, and connects again whenever the connection breaks. Runs until it is dropped.
    pub async fn keep_up(self) {
        let shared = &*self.shared;
        let mut backoff = Backoff::default();
        let mut epoch = 0;
        loop {
            match shared.connect().await {
                Ok(connection) => {
                    epoch += 1;
                    backoff.reset();
                    shared.set(Some((epoch, connection)));
                    match self.command::<String>(redis::cmd("INFO").arg("everything")).await {
                        Ok(info) => {
                            warn_of_eviction(&info);
                            shared.went_up(Peer::read(&info));
                        }
                        // One that does not let us ask may still let us count.
                        Err(Error::Refused(_) | Error::Key(_) | Error::Reply(_)) => {
                            shared.went_up(Peer { name: "a store".to_owned(), ours: None });
                        }
                        Err(Error::Down | Error::Lost(_)) => {}
                    }
                    shared.broken.notified().await;
                }
                Err(why) => shared.went_down(&why),
            }
            sleep(backoff.next()).await;
        }
    }

    /// Sends one command.
    ///
    /// # Errors
    /// See [`Error`]; after [`Error::Lost`] the command may or may not have been carried out.
    pub async fn command<T: FromRedisValue>(&self, command: &Cmd) -> Result<T, Error> {
        let (epoch, mut connection) = self.shared.get()?;
        let answer = timeout(self.shared.response_timeout, command.query_async(&mut connection)).await;
        convert(self.shared.judge(epoch, answer)?)
    }

    /// Runs a script by its hash, and loads it where the store does not know it yet.
    ///
    /// # Errors
    /// See [`Error`]; after [`Error::Lost`] the script may or may not have been run.
    pub async fn run<T: FromRedisValue>(&self, script: &ScriptInvocation<'_>) -> Result<T, Error> {
        let (epoch, mut connection) = self.shared.get()?;
        let answer = timeout(self.shared.response_timeout, script.invoke_async(&mut connection)).await;
        convert(self.shared.judge(epoch, answer)?)
    }
}

impl Shared {
    async fn connect(&self) -> Result<MultiplexedConnection, String> {
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(self.connect_timeout))
            .set_response_timeout(Some(self.response_timeout));
        let connecting = self.redis.get_multiplexed_async_connection_with_config(&config);
        match timeout(self.connect_timeout, connecting).await {
            Ok(Ok(connection)) => Ok(connection),
            Ok(Err(error)) => Err(describe(&error)),
            Err(_) => Err(format!("no answer within {:?}", self.connect_timeout)),
        }
    }

    fn get(&self) -> Result<(u64, MultiplexedConnection), Error> {
        let connection = self.connection.lock().unwrap_or_else(PoisonError::into_inner);
        connection.clone().ok_or(Error::Down)
    }

    fn set(&self, connection: Option<(u64, MultiplexedConnection)>) {
        *self.connection.lock().unwrap_or_else(PoisonError::into_inner) = connection;
    }

    /// Tells an answer from a broken connection, and has the latter replaced once.
    fn judge(&self, epoch: u64, answer: Result<RedisResult<Value>, Elapsed>) -> Result<Value, Error> {
        let why = match answer.map(|answer| answer.map_err(|error| Error::of(&error))) {
            Ok(Ok(value)) => return Ok(value),
            Ok(Err(Error::Lost(why))) => why,
            Ok(Err(answered)) => return Err(answered),
            Err(_) => format!("no answer within {:?}", self.response_timeout),
        };
        let mut connection = self.connection.lock().unwrap_or_else(PoisonError::into_inner);
        if connection.as_ref().is_some_and(|(current, _)| *current == epoch) {
            *connection = None;
            drop(connection);
            self.went_down(&why);
            self.broken.notify_one();
        }
        Err(Error::Lost(why))
    }

    fn went_up(&self, peer: Peer) {
        tracing::debug!(store = self.shown, peer = peer.name, "connected to the store");
        self.link.send_replace(Link::Up(peer));
    }

    fn went_down(&self, why: &str) {
        tracing::debug!(store = self.shown, why, "no connection to the store");
        if let Link::Up(_) = self.link.send_replace(Link::Down(why.to_owned())) {
            self.metrics.store_lost.inc();
        }
    }
}

/// The reply as what was asked for. One that is something else arrived all the same: it is no reason to
/// give up the connection that everybody shares.
fn convert<T: FromRedisValue>(value: Value) -> Result<T, Error> {
    T::from_redis_value(value).map_err(|error| Error::Reply(error.to_string()))
}

impl Peer {
    fn read(info: &str) -> Self {
        let ours = field(info, "headcount_version");
        let (kind, version) = match (ours, field(info, "valkey_version"), field(info, "redis_version")) {
            (Some(version), _, _) => ("headcount", version),
            (None, Some(version), _) => ("valkey", version),
            (None, None, Some(version)) => ("redis", version),
            _ => ("a store", ""),
        };
        Self { name: format!("{kind} {version}").trim_end().to_owned(), ours: Some(ours.is_some()) }
    }
}

/// A field of an answer to INFO.
fn field<'a>(info: &'a str, name: &str) -> Option<&'a str> {
    info.lines().find_map(|line| line.trim_end().strip_prefix(name)?.strip_prefix(':'))
}

/// A store that may evict keys may evict a count; its operator should hear of it.
fn warn_of_eviction(info: &str) {
    let limit = field(info, "maxmemory").unwrap_or("0");
    let policy = field(info, "maxmemory_policy").unwrap_or("noeviction");
    if limit != "0" && policy != "noeviction" {
        tracing::warn!(
            policy,
            "the store may evict keys, and with them a count; set its maxmemory-policy to noeviction"
        );
    }
}
