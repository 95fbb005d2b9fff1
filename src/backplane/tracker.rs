//! One connection for reading keys and for hearing from the store when they change.
//!
//! In: a read-only script over one key. Out: its replies, and news about keys that were read before, from the
//! store's client-side caching (`CLIENT TRACKING ON OPTIN`). A key is reported once, until it is read
//! again. If the store refuses tracking, that is reported too, and readers have to poll. The
//! rule: news merges while nobody takes it, so that it is bounded by the keys that are read.

use std::collections::HashSet;
use std::mem;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use redis::aio::MultiplexedConnection;
use redis::{PushInfo, PushKind, Script, Value, cmd, pipe};
use tokio::sync::{Notify, watch};
use tokio::time::{sleep, timeout};

use super::backoff::Backoff;
use super::connect::{Connection, Connector, Failure};
use super::error::Error;

/// The time between two liveness checks: without them, a store that has fallen silent would look like one
/// where nothing changes.
const CHECK: Duration = Duration::from_millis(500);
/// A connection that lasts this long counts as a success.
const STABLE: Duration = Duration::from_secs(5);
/// How many changed keys are listed one by one; beyond that, the news is that any key may have changed.
const KEYS: usize = 100_000;

/// What happened since the news was last taken.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct TrackerNews {
    /// There is a new connection, on which nothing has been read yet.
    pub connected: Option<Tracking>,
    /// Any key may have changed.
    pub all: bool,
    /// These keys changed.
    pub keys: HashSet<Vec<u8>>,
}

/// Whether the store reports changes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Tracking {
    /// It does.
    On,
    /// It refuses, in these words.
    Refused(String),
}

/// A handle; clones share one connection.
#[derive(Clone)]
pub(super) struct Tracker {
    shared: Arc<Shared>,
}

struct Shared {
    connector: Connector,
    script: Script,
    current: Mutex<Option<Current>>,
    mailbox: Arc<Mailbox>,
    broken: Notify,
    /// Whether the first attempt to connect has ended.
    tried: watch::Sender<bool>,
}

/// Collects news until somebody takes it.
#[derive(Default)]
pub(super) struct Mailbox {
    news: Mutex<TrackerNews>,
    fresh: Notify,
}

struct Current {
    epoch: u64,
    connection: Connection,
    tracking: bool,
}

impl Tracker {
    /// Creates a handle for running one script. It connects as soon as [`Tracker::keep_up`] runs. News goes into
    /// `mailbox`.
    pub fn new(connector: Connector, script: Script, mailbox: Arc<Mailbox>) -> Self {
        let shared = Shared {
            connector,
            script,
            current: Mutex::default(),
            mailbox,
            broken: Notify::new(),
            tried: watch::Sender::new(false),
        };
        Self { shared: Arc::new(shared) }
    }

    /// Runs the script on one key. If the store reports changes, the key's next change will be in the news.
    ///
    /// # Errors
    /// See [`Error`]; after [`Error::Lost`] there will be a new connection.
    pub async fn read(&self, key: &str, args: &[Vec<u8>]) -> Result<Value, Error> {
        let shared = &*self.shared;
        if !*shared.tried.borrow() {
            // In a cluster, other trackers may have connected before this one.
            let mut tried = shared.tried.subscribe();
            let _ = timeout(shared.connector.response_timeout, tried.wait_for(|tried| *tried)).await;
        }
        let (epoch, mut commands, tracking) = shared.get()?;
        let mut pipeline = pipe();
        if tracking {
            pipeline.cmd("CLIENT").arg("CACHING").arg("YES").ignore();
        }
        pipeline.cmd("EVALSHA").arg(shared.script.get_hash()).arg(1).arg(key).arg(args);
        let error = match timeout(shared.connector.response_timeout, pipeline.query_async(&mut commands)).await {
            Ok(Ok(replies)) => return one(replies),
            Ok(Err(error)) => Error::of(&error),
            Err(_) => Error::Lost(format!("no answer within {:?}", shared.connector.response_timeout)),
        };
        match error {
            Error::Lost(why) => Err(shared.lost(epoch, why)),
            // The store lost its scripts, and perhaps the keys that it tracked: start over with a new connection.
            Error::Refused(why) if why.starts_with("NOSCRIPT") => Err(shared.lost(epoch, why)),
            other => Err(other),
        }
    }

    /// Connects, and reconnects whenever the connection breaks. Runs until it is dropped.
    pub async fn keep_up(self) {
        let shared = &*self.shared;
        let (mut backoff, mut absence) = (Backoff::to_connect(), Backoff::to_find());
        for epoch in 0.. {
            let ended = Arc::<Notify>::default();
            match shared.connect(ended.clone()).await {
                Ok((connection, tracking)) => {
                    let start = Instant::now();
                    *lock(&shared.current) = Some(Current { epoch, connection, tracking: tracking == Tracking::On });
                    shared
                        .mailbox
                        .put(|news| *news = TrackerNews { connected: Some(tracking), ..TrackerNews::default() });
                    shared.tried.send_replace(true);
                    shared.watch(epoch, &ended).await;
                    if start.elapsed() >= STABLE {
                        backoff.reset();
                    }
                }
                Err(failure) => {
                    shared.tried.send_replace(true);
                    let is_away = matches!(failure, Failure::Away(_));
                    let why = failure.into_reason();
                    tracing::debug!(store = &*shared.connector.shown, why, "no connection for boards");
                    if is_away {
                        sleep(absence.pause()).await;
                        continue;
                    }
                }
            }
            absence.reset();
            sleep(backoff.pause()).await;
        }
    }
}

fn one(mut replies: Vec<Value>) -> Result<Value, Error> {
    match replies.pop() {
        Some(reply) if replies.is_empty() => Ok(reply),
        _ => Err(Error::Reply("not one reply to one script".to_owned())),
    }
}

impl Shared {
    /// Connects. `ended` is notified when the store ends the connection.
    async fn connect(&self, ended: Arc<Notify>) -> Result<(Connection, Tracking), Failure> {
        let mailbox = self.mailbox.clone();
        let receive = move |push: PushInfo| {
            match push.kind {
                PushKind::Invalidate => mailbox.changed(push.data),
                PushKind::Disconnection => ended.notify_one(),
                _ => {}
            }
            Ok(())
        };
        let connection = self.connector.commands_and_pushes(receive).await?;
        let mut commands = connection.commands.clone();
        let tracking = cmd("CLIENT").arg("TRACKING").arg("ON").arg("OPTIN").exec_async(&mut commands).await;
        let tracking = match tracking.map_err(|error| Error::of(&error)) {
            Ok(()) => Tracking::On,
            Err(Error::Lost(why)) => return Err(Failure::Away(why)),
            // An error is an answer too: the connection works.
            Err(error) => Tracking::Refused(error.reason()),
        };
        self.script.prepare_invoke().load_async(&mut commands).await?;
        Ok((connection, tracking))
    }

    /// Waits until the connection can no longer be used.
    async fn watch(&self, epoch: u64, ended: &Notify) {
        let server = lock(&self.current).as_ref().and_then(|current| current.connection.server.clone());
        let mut moved = pin!(self.connector.moved(server.as_ref()));
        loop {
            let Ok((_, mut commands, _)) = self.get() else { return };
            tokio::select! {
                () = self.broken.notified() => {}
                () = ended.notified() => {
                    self.lost(epoch, "the store ended the connection".to_owned());
                }
                why = &mut moved => {
                    self.lost(epoch, why);
                    return;
                }
                () = sleep(CHECK) => {
                    let ping = cmd("PING");
                    let why = match timeout(self.connector.response_timeout, ping.exec_async(&mut commands)).await {
                        Ok(Err(error)) => match Error::of(&error) {
                            Error::Lost(why) => why,
                            _ => continue,
                        },
                        Ok(Ok(())) => continue,
                        Err(_) => format!("no answer within {:?}", self.connector.response_timeout),
                    };
                    self.lost(epoch, why);
                }
            }
        }
    }

    fn get(&self) -> Result<(u64, MultiplexedConnection, bool), Error> {
        let current = lock(&self.current);
        let current = current.as_ref().ok_or(Error::Down)?;
        Ok((current.epoch, current.connection.commands.clone(), current.tracking))
    }

    /// Gives up a connection, once.
    fn lost(&self, epoch: u64, why: String) -> Error {
        let mut current = lock(&self.current);
        if current.as_ref().is_some_and(|current| current.epoch == epoch) {
            *current = None;
            // Changes to the keys that were read on it will not be reported.
            self.mailbox.put(|news| news.all = true);
            tracing::debug!(store = &*self.connector.shown, why, "the connection for boards is lost");
            self.broken.notify_one();
        }
        Error::Lost(why)
    }
}

impl Mailbox {
    /// Waits for news and takes it. Cancel safe.
    pub async fn take(&self) -> TrackerNews {
        loop {
            let news = mem::take(&mut *lock(&self.news));
            if news != TrackerNews::default() {
                return news;
            }
            self.fresh.notified().await;
        }
    }

    pub fn put(&self, change: impl FnOnce(&mut TrackerNews)) {
        change(&mut lock(&self.news));
        self.fresh.notify_one();
    }

    /// Notes the keys that an invalidation from the store names.
    fn changed(&self, data: Vec<Value>) {
        self.put(|news| match data.into_iter().next() {
            Some(Value::Array(keys)) if news.keys.len() + keys.len() <= KEYS => {
                news.keys.extend(keys.into_iter().filter_map(|key| match key {
                    Value::BulkString(key) => Some(key),
                    _ => None,
                }));
            }
            // Null means every key, as after FLUSHALL. Too many keys are treated the same.
            _ => (news.all, news.keys) = (true, HashSet::new()),
        });
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
