//! Which tokens are revoked, according to the store: read after every subscription and at each repair. In
//! between, announcements are heard at once.
//!
//! So a server that was cut off catches up when it is back, and closes clients whose tokens were revoked
//! meanwhile. While the store is away, the last known set holds.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::sync::Notify;
use tokio::time::{sleep, timeout};

use super::Delivery;
use super::queue::Sender;
use crate::auth::{Tokens, is_name, now_ms};
use crate::backplane::{Client, Error, Keys, Subscriber};
use crate::log::Throttle;

/// How many members one step of a reading asks for.
const PAGE: usize = 1000;
/// The most names that are kept.
const MOST: usize = 100_000;
/// The pause before checking again whether tokens are enabled, and after a failed reading.
const LOOK: Duration = Duration::from_secs(1);
/// The shortest pause between two readings, however many announcements come.
const REST: Duration = Duration::from_millis(200);
/// How long an expired name stays in the set, in milliseconds: clocks differ.
const KEPT: u64 = 3_600_000;

/// The router's handle for news about revocations.
#[derive(Debug, Clone)]
pub struct Announced {
    /// The name of both the set and the channel in the store.
    name: Arc<str>,
    tokens: Arc<Tokens>,
    due: Arc<Notify>,
}

impl Announced {
    /// Returns whether a channel of the store is the one for revocations.
    pub fn is_it(&self, channel: &str) -> bool {
        *channel == *self.name
    }

    /// Handles an acknowledged subscription: whatever was announced earlier is in the set, which is read
    /// now.
    pub fn subscribed(&self) {
        self.due.notify_one();
    }

    /// Handles an announced name. Returns the delivery for the workers, if the name is new.
    pub fn heard(&self, payload: &Bytes) -> Option<Delivery> {
        let name = std::str::from_utf8(payload).ok().filter(|name| is_name(name))?;
        self.due.notify_one();
        let news = self.tokens.revoked.announce(name, now_ms());
        news.then(|| Delivery::Revoked { names: [name.into()].into() })
    }
}

/// Reads the set; see the module.
pub struct Revocations {
    announced: Announced,
    client: Client,
    feed: Subscriber,
    shards: Vec<Sender>,
    repair: Duration,
    wanted: bool,
}

impl Revocations {
    /// Creates a reader for these workers, which reads every `repair`.
    pub fn new(
        tokens: Arc<Tokens>,
        client: Client,
        keys: &Keys,
        feed: Subscriber,
        shards: Vec<Sender>,
        repair: Duration,
    ) -> Self {
        let announced = Announced { name: keys.revoked().into(), tokens, due: Arc::default() };
        Self { announced, client, feed, shards, repair, wanted: false }
    }

    /// Returns the router's handle.
    pub fn announced(&self) -> Announced {
        self.announced.clone()
    }

    /// Runs until the workers are gone.
    pub async fn run(mut self) {
        let mut next = Instant::now();
        loop {
            self.follow();
            let due = timeout(LOOK.min(next.saturating_duration_since(Instant::now())), self.announced.due.notified());
            if due.await.is_err() && Instant::now() < next {
                continue;
            }
            next = Instant::now() + if self.wanted { self.repair } else { LOOK };
            if !self.wanted {
                continue;
            }
            match self.read().await {
                Ok(set) => {
                    let names = self.announced.tokens.revoked.replace(set, now_ms());
                    if !names.is_empty() && !self.deliver(names.into()).await {
                        return;
                    }
                }
                Err(error) => {
                    tracing::debug!(%error, "cannot read what is revoked");
                    next = Instant::now() + LOOK;
                }
            }
            sleep(REST).await;
        }
    }

    /// Subscribes while tokens are enabled, and unsubscribes when they no longer are.
    fn follow(&mut self) {
        let on = self.announced.tokens.are_on();
        if on != self.wanted {
            self.wanted = on;
            let name = self.announced.name.to_string();
            if on {
                self.feed.want(name);
            } else {
                self.feed.leave(&name);
            }
        }
    }

    async fn read(&self) -> Result<HashMap<Box<str>, u64>, Error> {
        static SAID: Throttle = Throttle::every(Duration::from_secs(3600));
        let (mut set, mut cursor, now) = (HashMap::new(), 0_u64, now_ms());
        loop {
            let mut scan = redis::cmd("ZSCAN");
            scan.arg(&*self.announced.name).arg(cursor).arg("COUNT").arg(PAGE);
            let (next, page): (u64, Vec<(Vec<u8>, f64)>) = self.client.command(&scan).await?;
            let names =
                page.into_iter().filter_map(|(name, until)| Some((String::from_utf8(name).ok()?, until as u64)));
            set.extend(
                names.filter(|(name, until)| *until > now && is_name(name)).map(|(name, until)| (name.into(), until)),
            );
            cursor = next;
            if set.len() > MOST {
                if SAID.pass().is_some() {
                    tracing::error!(most = MOST, "more is revoked than is kept; the rest is taken for good");
                }
                break;
            }
            if cursor == 0 {
                break;
            }
        }
        let mut trim = redis::cmd("ZREMRANGEBYSCORE");
        trim.arg(&*self.announced.name).arg("-inf").arg(format!("({}", now.saturating_sub(KEPT)));
        // Names that expired long ago are of no use, but if they stay, they do no harm.
        let _ = self.client.command::<i64>(&trim).await;
        Ok(set)
    }

    async fn deliver(&self, names: Arc<[Box<str>]>) -> bool {
        for shard in &self.shards {
            // A worker empties its queue whenever it runs; the queue closes only when the node stops.
            if shard.send(Delivery::Revoked { names: names.clone() }.into()).await.is_err() {
                return false;
            }
        }
        true
    }
}
