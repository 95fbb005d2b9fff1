//! The store's state as this node sees it, and when to announce it. Pure: the time comes in as an argument.
//!
//! The store is live when it has accepted the last heartbeat and acknowledges subscriptions. If it answers
//! but refuses either, that is a state of its own. However often the state changes, it is announced at most
//! once a second, and only the latest state is. A broken connection is announced only after there was time
//! to reconnect: a store that accepts the new connection, or refuses it, is not out of reach.

use std::time::{Duration, Instant};

use crate::backplane::Link;
use crate::presence::Heartbeat;

/// The shortest time between two announcements.
const PERIOD: Duration = Duration::from_secs(1);
/// How long a connection may be gone before that is announced.
const BLINK: Duration = Duration::from_millis(250);

/// The store's state as this node sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StoreState {
    /// Counts and messages are in step with the store.
    Live,
    /// The store answers, but refuses to let this node count or subscribe.
    Refused,
    /// The store is out of reach.
    Degraded,
}

/// The state of the subscription connection.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) enum Subscription {
    /// No attempt has ended yet.
    #[default]
    Unknown,
    /// Subscriptions are acknowledged.
    Up,
    /// The store answers, but refuses them for this reason.
    Refused(String),
    /// The connection is gone for this reason.
    Down(String),
}

/// A change to announce.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct StoreChange {
    pub before: Option<StoreState>,
    pub now: StoreState,
    /// Why the store is not live, or its name if it is.
    pub why: String,
}

/// What is known about the store, and what was announced.
#[derive(Debug)]
pub struct StoreWatch {
    pub(super) link: Link,
    pub(super) heartbeat: Heartbeat,
    pub(super) subscription: Subscription,
    told: Option<(StoreState, String)>,
    told_at: Option<Instant>,
    /// Since when it has been out of reach.
    gone: Option<Instant>,
}

impl Default for StoreWatch {
    fn default() -> Self {
        Self {
            link: Link::Down(String::new()),
            heartbeat: Heartbeat::default(),
            subscription: Subscription::default(),
            told: None,
            told_at: None,
            gone: None,
        }
    }
}

impl StoreWatch {
    /// Returns the change to announce now, if any. It then counts as announced.
    pub(super) fn news(&mut self, now: Instant) -> Option<StoreChange> {
        if self.due(now).is_none_or(|at| now < at) {
            return None;
        }
        let (state, why) = self.state()?;
        let before = self.told.replace((state, reason(state, &why).to_owned())).map(|(before, _)| before);
        self.told_at = Some(now);
        Some(StoreChange { before, now: state, why })
    }

    /// Returns when [`StoreWatch::news`] will have something, as things stand.
    pub(super) fn due(&mut self, now: Instant) -> Option<Instant> {
        let Some((state, why)) = self.state() else {
            self.gone = None;
            return None;
        };
        self.gone = (state == StoreState::Degraded).then(|| self.gone.unwrap_or(now));
        let news = self.told.as_ref().is_none_or(|(told, of)| *told != state || of != reason(state, &why));
        // Before its first announcement, a node does not wait for a reconnect.
        let blinks = self.gone.filter(|_| self.told.is_some()).map(|since| since + BLINK);
        news.then(|| self.told_at.map_or(now, |at| at + PERIOD).max(blinks.unwrap_or(now)))
    }

    /// Returns how things stand; None while that depends on an answer still to come.
    fn state(&self) -> Option<(StoreState, String)> {
        let peer = match &self.link {
            Link::Down(why) if why.is_empty() => return None,
            Link::Down(why) => return Some((StoreState::Degraded, why.clone())),
            Link::Refused(why) => return Some((StoreState::Refused, why.clone())),
            Link::Up(peer) => peer,
        };
        match (&self.heartbeat, &self.subscription) {
            (Heartbeat::Refused(why), _) | (_, Subscription::Refused(why)) => Some((StoreState::Refused, why.clone())),
            (_, Subscription::Down(why)) => Some((StoreState::Degraded, why.clone())),
            (Heartbeat::Unanswered, _) | (_, Subscription::Unknown) => None,
            (Heartbeat::Accepted, Subscription::Up) => Some((StoreState::Live, peer.name.clone())),
        }
    }
}

/// The part of a reason that makes a change worth announcing: for a refusal, the first word of the store's
/// error.
fn reason(state: StoreState, why: &str) -> &str {
    match state {
        StoreState::Refused => why.split_whitespace().next().unwrap_or_default(),
        StoreState::Live | StoreState::Degraded => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backplane::Peer;

    fn up() -> Link {
        Link::Up(Peer { name: "redis 7".to_owned(), ours: None })
    }

    fn live() -> StoreWatch {
        let (link, heartbeat, subscription) = (up(), Heartbeat::Accepted, Subscription::Up);
        StoreWatch { link, heartbeat, subscription, ..StoreWatch::default() }
    }

    #[test]
    fn it_is_live_only_once_the_heartbeat_is_accepted_and_subscriptions_are_acknowledged() {
        let now = Instant::now();
        let mut watch = StoreWatch::default();
        assert_eq!(watch.news(now), None, "nothing is known yet");
        watch.link = up();
        assert_eq!(watch.news(now), None, "the heartbeat is not answered");
        watch.heartbeat = Heartbeat::Accepted;
        assert_eq!(watch.news(now), None, "no subscription is acknowledged");
        watch.subscription = Subscription::Up;
        let change = watch.news(now).unwrap();
        assert_eq!((change.before, change.now, &*change.why), (None, StoreState::Live, "redis 7"));
        assert_eq!(watch.news(now), None, "told once");
    }

    #[test]
    fn whatever_is_refused_is_a_state_of_its_own() {
        let no = || "READONLY no writes".to_owned();
        for refused in [
            StoreWatch { link: Link::Refused(no()), ..live() },
            StoreWatch { heartbeat: Heartbeat::Refused(no()), ..live() },
            StoreWatch { subscription: Subscription::Refused(no()), ..live() },
        ] {
            assert_eq!(refused.state(), Some((StoreState::Refused, no())));
        }
    }

    #[test]
    fn a_store_that_comes_and_goes_is_told_of_once_a_second_and_only_as_it_is_then() {
        let (mut watch, start) = (live(), Instant::now());
        assert!(watch.news(start).is_some());
        let mut told = 0;
        for step in 1..3_000 {
            let now = start + Duration::from_millis(step);
            watch.link = if step % 7 < 3 { up() } else { Link::Down(format!("error {step}")) };
            told += usize::from(watch.news(now).is_some());
        }
        assert!(told <= 2, "{told} changes in three seconds");
        watch.link = up();
        let end = start + Duration::from_secs(9);
        assert!(watch.news(end).is_none_or(|change| change.now == StoreState::Live));
        assert_eq!(watch.due(end), None);
    }

    #[test]
    fn a_store_that_is_back_at_once_or_refuses_was_not_out_of_reach() {
        let (mut watch, start) = (live(), Instant::now());
        assert!(watch.news(start).is_some());
        let at = |millis: u64| start + Duration::from_millis(5_000 + millis);
        watch.subscription = Subscription::Down("it closed the connection".to_owned());
        assert_eq!((watch.news(at(0)), watch.due(at(0))), (None, Some(at(250))));
        watch.subscription = Subscription::Up;
        assert_eq!((watch.news(at(200)), watch.due(at(200))), (None, None));
        watch.subscription = Subscription::Down("it closed the connection".to_owned());
        assert_eq!(watch.news(at(300)), None);
        watch.subscription = Subscription::Refused("NOPERM no".to_owned());
        assert_eq!(watch.news(at(400)).map(|change| change.now), Some(StoreState::Refused));
        watch.link = Link::Down("it is gone".to_owned());
        assert_eq!(watch.news(at(2_000)), None);
        assert_eq!(watch.news(at(2_250)).map(|change| change.now), Some(StoreState::Degraded));
    }

    #[test]
    fn a_refusal_for_another_reason_is_news_and_the_same_in_other_words_is_not() {
        let (mut watch, start) = (live(), Instant::now());
        let mut told = |seconds, why: &str| {
            watch.heartbeat = Heartbeat::Refused(why.to_owned());
            watch.news(start + Duration::from_secs(seconds)).is_some()
        };
        assert_eq!([told(0, "OOM 1"), told(2, "OOM 2"), told(4, "LOADING")], [true, false, true]);
    }
}
