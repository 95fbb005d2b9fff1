//! What clients publish: who may, how often, and how it gets to the store.
//!
//! In: messages from WebSocket clients and HTTP requests. Out: PUBLISH to the store, in order within each
//! channel, and an answer to each message. The rules: what waits for the store is bounded in number and in
//! bytes; nobody publishes on one of headcount's own names, or sets a count.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, VecDeque};
use std::hash::{BuildHasher, RandomState};
use std::num::NonZeroU32;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use governor::{DefaultKeyedRateLimiter, Quota, RateLimiter};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};
use tokio::task::JoinSet;

use super::publish_error::PublishError;
use crate::auth::{Grant, Right, now_ms};
use crate::backplane::{Client, Keys};
use crate::config::Rules;
use crate::config::channels::check_name;
use crate::log::Throttle;
use crate::metrics::{Limit, Limited, Metrics};
use crate::text::parse_int;

/// How many messages may wait for the store.
const WAITING: usize = 1024;
/// How many bytes these may have.
const BYTES: usize = 4 << 20;
/// How many messages may be in flight, or wait for an earlier one on their channel.
const UNANSWERED: usize = 64;
/// How many seconds' worth of messages a token may save up.
const SAVED: u32 = 10;
/// Tokens with a full allowance are forgotten only when there are more than twice this many.
const REMEMBERED: usize = 4096;

/// Checks whether a message may be published on a channel with this token.
///
/// # Errors
/// [`PublishError`]
pub fn check(rules: &Rules, grant: Option<&Grant>, channel: &str, payload: &str) -> Result<(), PublishError> {
    check_name(channel).map_err(|why| PublishError::BadName(why.to_string()))?;
    let rule = rules.find(channel).ok_or(PublishError::NoChannel)?;
    let allowed = grant.is_some_and(|grant| grant.allows(Right::Publish, channel, now_ms()));
    if !rule.publish || !allowed {
        return Err(PublishError::Forbidden);
    }
    if rule.counted() && parse_int(payload.as_bytes()).is_some() {
        return Err(PublishError::Count);
    }
    Ok(())
}

/// A message on its way.
struct Publication {
    channel: String,
    payload: String,
    answer: oneshot::Sender<Result<(), PublishError>>,
    _room: OwnedSemaphorePermit,
}

/// A handle for publishing; clones share its queue and its rate.
#[derive(Clone)]
pub struct Publisher {
    waiting: mpsc::Sender<Publication>,
    room: Arc<Semaphore>,
    rate: Arc<Rate>,
}

/// Publishes what was queued. Runs until every [`Publisher`] is dropped.
pub struct Publishing {
    work: mpsc::Receiver<Publication>,
    client: Client,
    keys: Keys,
}

/// Creates a queue to the store, for this many messages per second and token; 0 means no limit.
pub fn publishing(client: Client, keys: Keys, per_second: u32, metrics: Metrics) -> (Publisher, Publishing) {
    let (waiting, work) = mpsc::channel(WAITING);
    let rate = Arc::new(Rate::new(per_second, metrics));
    (Publisher { waiting, room: Arc::new(Semaphore::new(BYTES)), rate }, Publishing { work, client, keys })
}

impl Publisher {
    /// Changes the rate.
    pub fn configure(&self, per_second: u32) {
        self.rate.configure(per_second);
    }

    /// Queues a message that [`check`] allows. The answer comes once the store has the message.
    ///
    /// # Errors
    /// There are too many messages, from this token or in all.
    pub fn publish(
        &self,
        grant: Option<&Grant>,
        channel: &str,
        payload: &str,
    ) -> Result<oneshot::Receiver<Result<(), PublishError>>, PublishError> {
        if !self.rate.allows(grant) {
            return Err(PublishError::TooOften);
        }
        let bytes = u32::try_from(payload.len() + channel.len()).map_err(|_| PublishError::Busy)?;
        let room = self.room.clone().try_acquire_many_owned(bytes).map_err(|_| PublishError::Busy)?;
        let (answer, answered) = oneshot::channel();
        let publication = Publication { channel: channel.into(), payload: payload.into(), answer, _room: room };
        self.waiting.try_send(publication).map_err(|_| PublishError::Busy)?;
        Ok(answered)
    }
}

impl Publishing {
    /// Runs the queue; see the struct.
    pub async fn run(mut self) {
        // Messages of one channel go one after another: of several in flight, the last could arrive first.
        let (mut under_way, mut behind, mut unanswered) = (JoinSet::new(), HashMap::new(), 0);
        loop {
            let next = tokio::select! {
                Some(publication) = self.work.recv(), if unanswered < UNANSWERED => {
                    unanswered += 1;
                    match behind.entry(publication.channel.clone()) {
                        Entry::Vacant(place) => {
                            place.insert(VecDeque::new());
                            Some(publication)
                        }
                        Entry::Occupied(mut place) => {
                            place.get_mut().push_back(publication);
                            None
                        }
                    }
                }
                Some(done) = under_way.join_next() => {
                    unanswered -= 1;
                    // A panic has been logged already, and it ends the process.
                    let Ok(channel) = done else { continue };
                    let next = behind.get_mut(&channel).and_then(VecDeque::pop_front);
                    if next.is_none() {
                        behind.remove(&channel);
                    }
                    next
                }
                else => return,
            };
            if let Some(publication) = next {
                under_way.spawn(carry_out(self.client.clone(), self.keys.total(&publication.channel), publication));
            }
        }
    }
}

/// Publishes one message, and returns its channel.
async fn carry_out(client: Client, name: String, publication: Publication) -> String {
    let mut command = redis::cmd("PUBLISH");
    command.arg(name).arg(&publication.payload);
    let published = client.command::<i64>(&command).await;
    // The client that published it may be gone.
    let _ = publication.answer.send(published.map(drop).map_err(|error| PublishError::Store(error.to_string())));
    publication.channel
}

/// Limits how often each token publishes.
struct Rate {
    limiter: RwLock<(u32, Option<Arc<DefaultKeyedRateLimiter<u64>>>)>,
    /// How many tokens were left when those with a full allowance were last forgotten.
    kept: AtomicUsize,
    hasher: RandomState,
    metrics: Metrics,
}

impl Rate {
    fn new(per_second: u32, metrics: Metrics) -> Self {
        let limiter = RwLock::new((per_second, limiter(per_second)));
        Self { limiter, kept: AtomicUsize::new(REMEMBERED), hasher: RandomState::new(), metrics }
    }

    fn configure(&self, per_second: u32) {
        let mut current = self.limiter.write().unwrap_or_else(PoisonError::into_inner);
        if current.0 != per_second {
            *current = (per_second, limiter(per_second));
        }
    }

    /// Tokens without a name share one allowance.
    fn allows(&self, grant: Option<&Grant>) -> bool {
        static SAID: Throttle = Throttle::every(Duration::from_secs(60));
        let limiter = self.limiter.read().unwrap_or_else(PoisonError::into_inner).1.clone();
        let Some(limiter) = limiter else { return true };
        let name = grant.and_then(|grant| grant.names().next()).unwrap_or_default();
        let allowed = limiter.check_key(&self.hasher.hash_one(name)).is_ok();
        if limiter.len() > 2 * self.kept.load(Ordering::Relaxed) {
            limiter.retain_recent();
            limiter.shrink_to_fit();
            self.kept.store(limiter.len().max(REMEMBERED), Ordering::Relaxed);
        }
        if !allowed {
            self.metrics.limited.get_or_create(&Limited { limit: Limit::Publishes }).inc();
            if SAID.pass().is_some() {
                tracing::warn!("a token met limits.publishes_per_second; what it publishes beyond that is refused");
            }
        }
        allowed
    }
}

fn limiter(per_second: u32) -> Option<Arc<DefaultKeyedRateLimiter<u64>>> {
    let rate = NonZeroU32::new(per_second)?;
    let burst = rate.saturating_mul(NonZeroU32::new(SAVED)?);
    Some(Arc::new(RateLimiter::keyed(Quota::per_second(rate).allow_burst(burst))))
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;
    use crate::auth::Rights;
    use crate::config::{Overrides, load_from};

    fn grant(sub: &str, pattern: &str) -> Grant {
        let rights = Rights { publish: vec![pattern.into()], ..Rights::default() };
        Grant { sub: Some(sub.into()), jti: None, info: None, made: 0, ends: u64::MAX, rights }
    }

    #[test]
    fn nothing_is_published_to_other_names_or_as_a_count() {
        let mut rules = Rules::clone(&load_from(&Overrides::default(), HashMap::new()).unwrap().config.channels);
        for rule in rules.0.iter_mut().filter(|rule| rule.board.is_none() && rule.pattern != "page:/*") {
            rule.publish = true;
        }
        let all = grant("ann", "*");
        let checked = |grant, channel: &str, payload: &str| check(&rules, grant, channel, payload);
        assert_eq!(checked(Some(&all), "public:a", "5"), Ok(()));
        assert_eq!(checked(Some(&all), "users:count", "\"5\""), Ok(()));
        for number in ["5", "0", "-1", "9223372036854775807"] {
            assert_eq!(checked(Some(&all), "users:count", number), Err(PublishError::Count));
        }
        for name in ["headcount:v1:revoked", "headcount:x", "", "a b", "a{b}"] {
            assert!(matches!(checked(Some(&all), name, "{}"), Err(PublishError::BadName(_))), "{name}");
        }
        assert_eq!(checked(Some(&all), "elsewhere", "{}"), Err(PublishError::NoChannel));
        assert_eq!(checked(Some(&all), "page:/a", "{}"), Err(PublishError::Forbidden));
        assert_eq!(checked(Some(&all), "board:a", "{}"), Err(PublishError::Forbidden));
        assert_eq!(checked(None, "public:a", "{}"), Err(PublishError::Forbidden));
        assert_eq!(checked(Some(&grant("ann", "public:b")), "public:a", "{}"), Err(PublishError::Forbidden));
    }

    #[test]
    fn a_rate_is_a_tokens_own_and_those_that_are_full_are_forgotten() {
        let rate = Rate::new(3, Metrics::default());
        let allowed = |name: &str| (0..100).filter(|_| rate.allows(Some(&grant(name, "*")))).count();
        assert!((30..35).contains(&allowed("ann")) && (30..35).contains(&allowed("bob")));
        rate.configure(0);
        assert_eq!(allowed("ann"), 100);
        rate.configure(1_000_000);
        for n in 0..20_000 {
            rate.allows(Some(&grant(&n.to_string(), "*")));
        }
        let kept = rate.limiter.read().unwrap().1.as_ref().unwrap().len();
        assert!(kept < 10_000, "{kept}");
    }
}
