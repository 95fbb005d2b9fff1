//! The handles that others hold: a channel's tally on this node, and the totals that come back.
//!
//! Both directions are mailboxes that merge: a channel is in a mailbox at most once, however often it changes. So
//! mailboxes are bounded by the number of channels, and nobody ever waits to post.

use std::collections::HashMap;
use std::fmt;
use std::mem;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use tokio::sync::{Notify, watch};

use super::crowd::{Crowd, Joined, Moved, Origin};
use super::mark::{Mark, Seen};
use super::member::{Listing, Profile};
use super::visitor_id::VisitorId;
use crate::config::{Count, Rules};

/// How many messages about a list of members may wait for the task.
const MAX_NEWS: usize = 1024;

/// What happened to a channel since the task last looked.
pub mod flag {
    /// The number of sockets or visitors here may have changed.
    pub const TALLY: u8 = 2;
    /// The subscription was acknowledged.
    pub const LIVE: u8 = 4;
    /// An integer arrived on the channel.
    pub const HEARD: u8 = 8;
    /// Nobody on this node has the channel any more.
    pub const RELEASED: u8 = 16;
    /// Changes of the list of members arrive from now on.
    pub const LISTED: u8 = 32;
    /// Something was published about the list of members.
    pub const NEWS: u8 = 64;
    /// The shard of the subscription is gone.
    pub(crate) const AWAY: u8 = 128;
}

/// What a handle tells the task when the task looks at it.
#[derive(Debug, Clone)]
pub struct HandleChange {
    /// The channel.
    pub name: Arc<str>,
    /// The handle's number; of two handles with one name, the later one has the higher number.
    pub handle: u64,
    /// What happened; see [`flag`].
    pub flags: u8,
    /// How many are here now, where sockets are counted.
    pub here: u64,
    /// Where visitors are counted: who came and who left since the last look.
    pub visitors: Option<Vec<Moved>>,
    /// Which of them left and must not linger.
    pub at_once: Vec<VisitorId>,
    /// What was published about the list of members.
    pub news: Vec<Bytes>,
    /// How many integers have arrived by now.
    pub heard: u64,
}

/// A counted channel on this node.
pub struct ChannelHandle {
    name: Arc<str>,
    number: u64,
    mark: Mark,
    /// Whether the subscription's shard is gone; of this and an acknowledgement, the later one holds.
    away: AtomicBool,
    crowd: Option<Box<Crowd>>,
    news: Mutex<Vec<Bytes>>,
    shared: Arc<Shared>,
}

/// A visitor's id, and what others are told of it.
pub type VisitorProfile = (VisitorId, Option<Arc<Profile>>);

impl ChannelHandle {
    /// Counts one more; `who` and `origin` matter only where visitors are counted.
    pub fn join(self: &Arc<Self>, origin: Origin, who: impl FnOnce() -> VisitorProfile) -> Joined {
        let (news, joined) = match &self.crowd {
            Some(crowd) => {
                let (id, profile) = who();
                crowd.join(id, origin, profile)
            }
            None => {
                self.mark.come();
                (true, Joined::Counted)
            }
        };
        if news {
            self.mark(flag::TALLY);
        }
        joined
    }

    /// Applies what a token says of somebody who is here.
    pub fn describe(self: &Arc<Self>, (id, profile): VisitorProfile) {
        if let (Some(crowd), Some(profile)) = (&self.crowd, profile)
            && crowd.describe(id, profile)
        {
            self.mark(flag::TALLY);
        }
    }

    /// Counts one less; `who` is as in [`ChannelHandle::join`].
    pub fn leave(self: &Arc<Self>, who: impl FnOnce() -> VisitorId) {
        let news = match &self.crowd {
            Some(crowd) => crowd.leave(who()),
            None => {
                self.mark.go();
                true
            }
        };
        if news {
            self.mark(flag::TALLY);
        }
    }

    /// As [`ChannelHandle::leave`], for somebody who must not linger.
    pub fn leave_at_once(self: &Arc<Self>, who: impl FnOnce() -> VisitorId) {
        match &self.crowd {
            Some(crowd) => {
                if crowd.leave_at_once(who()) {
                    self.mark(flag::TALLY);
                }
            }
            None => self.leave(who),
        }
    }

    /// What the channel counts.
    pub fn counts(&self) -> Count {
        if self.crowd.is_some() { Count::Visitors } else { Count::Sockets }
    }

    /// Records that the subscription was acknowledged: every change arrives from now on, so the value must be read.
    pub fn live(self: &Arc<Self>) {
        self.away.store(false, Ordering::Release);
        self.mark(flag::LIVE);
    }

    /// Records that the subscription's shard is gone: the channel is not live until the next [`ChannelHandle::live`].
    pub fn away(self: &Arc<Self>) {
        self.away.store(true, Ordering::Release);
        self.mark(flag::AWAY);
    }

    /// Counts an integer that arrived. Readings that are under way are older than it.
    pub fn heard(self: &Arc<Self>) {
        self.mark.hear();
        self.mark(flag::HEARD);
    }

    /// Records that every change of the list of members arrives from now on.
    pub fn listed(self: &Arc<Self>) {
        self.mark(flag::LISTED);
    }

    /// Passes on what was published about the list of members.
    pub fn news(self: &Arc<Self>, message: Bytes) {
        let mut news = lock(&self.news);
        if news.len() >= MAX_NEWS {
            // The gap makes the task read the list again.
            news.clear();
        }
        news.push(message);
        drop(news);
        self.mark(flag::NEWS);
    }

    /// Records that nobody on this node has the channel any more.
    pub fn release(self: &Arc<Self>) {
        self.mark(flag::RELEASED);
    }

    /// How many integers have arrived; shows whether a [`Value`] is older than one of them.
    pub fn times_heard(&self) -> u64 {
        self.mark.heard()
    }

    /// Takes what happened since the last look. Whatever happens later posts the handle again.
    fn take_change(&self) -> HandleChange {
        let Seen { flags, here, heard } = self.mark.take();
        let outdated = if self.away.load(Ordering::Acquire) { flag::LIVE } else { flag::AWAY };
        HandleChange {
            name: self.name.clone(),
            handle: self.number,
            flags: flags & !outdated,
            here,
            visitors: self.crowd.as_ref().map(|crowd| crowd.take_changes()),
            at_once: self.crowd.as_ref().map(|crowd| crowd.take_at_once()).unwrap_or_default(),
            news: mem::take(&mut *lock(&self.news)),
            heard,
        }
    }

    fn mark(self: &Arc<Self>, bit: u8) {
        if self.mark.set(bit) {
            lock(&self.shared.changed).push(self.clone());
            self.shared.work.notify_one();
        }
    }
}

/// What the store says of a channel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reading {
    /// The total.
    Total(i64),
    /// In a cluster: unknown, because the shard that has the key is out of reach.
    Away,
    /// The key holds no integer; the channel carries messages, but no count for now.
    Unknown,
    /// The key belongs to somebody else, so the channel must not be joined.
    Refused,
}

/// A reading, and how many integers had arrived before it was requested.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Value {
    /// See [`ChannelHandle::times_heard`]: if it has changed since, this reading is stale.
    pub heard: u64,
    /// What was read.
    pub reading: Reading,
}

/// The store's answer to this node's last heartbeat on the current connection.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Heartbeat {
    /// There is no answer yet.
    #[default]
    Unanswered,
    /// It was accepted: this node may count.
    Accepted,
    /// It was refused, with the reason: nothing is counted until one is accepted.
    Refused(String),
}

/// The mailboxes between the presence task and everything else.
#[derive(Default)]
struct Shared {
    handles: AtomicU64,
    changed: Mutex<Vec<Arc<ChannelHandle>>>,
    work: Notify,
    values: Mutex<HashMap<Arc<str>, Value>>,
    fresh: Notify,
    lists: Mutex<HashMap<Arc<str>, Listing>>,
    fresh_lists: Notify,
    subscription: AtomicBool,
    heartbeat: watch::Sender<Heartbeat>,
    staying: AtomicBool,
    closing: AtomicBool,
    rules: Mutex<Option<Arc<Rules>>>,
}

/// A handle to the presence. Clones share it.
#[derive(Clone, Default)]
pub struct Presence {
    shared: Arc<Shared>,
}

impl Presence {
    /// Makes a channel's handle on this node. At most one handle per name may be in use at a time.
    pub fn channel(&self, name: Arc<str>, count: Count) -> Arc<ChannelHandle> {
        let shared = self.shared.clone();
        let number = shared.handles.fetch_add(1, Ordering::Relaxed) + 1;
        let crowd = (count == Count::Visitors).then(Box::default);
        let news = Mutex::default();
        Arc::new(ChannelHandle { name, number, mark: Mark::new(), away: false.into(), crowd, news, shared })
    }

    /// Sets whether messages arrive at all. If not, channels are stated without waiting for their subscriptions.
    pub fn subscription(&self, up: bool) {
        self.shared.subscription.store(up, Ordering::Release);
        self.shared.work.notify_one();
    }

    /// Follows the store's answers to this node's heartbeats.
    pub fn heartbeat(&self) -> watch::Receiver<Heartbeat> {
        self.shared.heartbeat.subscribe()
    }

    pub(super) fn answered(&self, heartbeat: Heartbeat) {
        self.shared.heartbeat.send_if_modified(|before| {
            let news = *before != heartbeat;
            *before = heartbeat;
            news
        });
    }

    /// Applies new rules: which channels are set up as 0, and which disappear with their last share.
    pub fn configure(&self, rules: Arc<Rules>) {
        *lock(&self.shared.rules) = Some(rules);
        self.shared.work.notify_one();
    }

    /// Records that this node is about to stop: from now on visitors stay counted for longer, as they are on their
    /// way to another node.
    pub fn stay(&self) {
        self.shared.staying.store(true, Ordering::Release);
        self.shared.work.notify_one();
    }

    /// Asks the task to withdraw what is left and to end.
    pub fn close(&self) {
        self.shared.closing.store(true, Ordering::Release);
        self.shared.work.notify_one();
    }

    /// Waits for readings, and takes the newest for each channel. Cancel-safe.
    pub async fn values(&self) -> HashMap<Arc<str>, Value> {
        loop {
            let values = mem::take(&mut *lock(&self.shared.values));
            if !values.is_empty() {
                return values;
            }
            self.shared.fresh.notified().await;
        }
    }

    pub(super) fn hand_on(&self, name: Arc<str>, value: Value) {
        lock(&self.shared.values).insert(name, value);
        self.shared.fresh.notify_one();
    }

    /// Waits for lists of members, and takes the newest for each channel. Cancel-safe.
    pub async fn lists(&self) -> HashMap<Arc<str>, Listing> {
        loop {
            let lists = mem::take(&mut *lock(&self.shared.lists));
            if !lists.is_empty() {
                return lists;
            }
            self.shared.fresh_lists.notified().await;
        }
    }

    pub(super) fn hand_on_list(&self, name: Arc<str>, list: Listing) {
        lock(&self.shared.lists).insert(name, list);
        self.shared.fresh_lists.notify_one();
    }

    pub(super) async fn work(&self) {
        self.shared.work.notified().await;
    }

    pub(super) fn changes(&self) -> Vec<HandleChange> {
        let changed = mem::take(&mut *lock(&self.shared.changed));
        changed.iter().map(|channel| channel.take_change()).collect()
    }

    /// Takes the rules that were applied since the last look.
    pub(super) fn new_rules(&self) -> Option<Arc<Rules>> {
        lock(&self.shared.rules).take()
    }

    pub(super) fn subscribed(&self) -> bool {
        self.shared.subscription.load(Ordering::Acquire)
    }

    pub(super) fn staying(&self) -> bool {
        self.shared.staying.load(Ordering::Acquire)
    }

    pub(super) fn closing(&self) -> bool {
        self.shared.closing.load(Ordering::Acquire)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl fmt::Debug for ChannelHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ChannelHandle")
            .field("name", &self.name)
            .field("here", &self.mark.here())
            .finish_non_exhaustive()
    }
}
