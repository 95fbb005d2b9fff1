//! The handles that others hold: a channel's tally on this node, and the totals that come back.
//!
//! Both directions are mailboxes that merge: a channel is in the mailbox at most once however often
//! it changes, so they are bounded by the number of channels and nobody ever waits to post.

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

/// Messages about a list of members that may wait for the task.
const MAX_NEWS: usize = 1024;

/// What happened to a channel since the task last looked.
pub mod flag {
    /// Its number here may have changed.
    pub const TALLY: u8 = 2;
    /// Its subscription was acknowledged.
    pub const LIVE: u8 = 4;
    /// An integer arrived on it.
    pub const HEARD: u8 = 8;
    /// Nobody on this node has it any more.
    pub const RELEASED: u8 = 16;
    /// Changes of the list of its members arrive from now on.
    pub const LISTED: u8 = 32;
    /// Something was published about that list.
    pub const NEWS: u8 = 64;
    /// The shard that its subscription was on is gone.
    pub const AWAY: u8 = 128;
}

/// What a handle says when the task looks at it.
#[derive(Debug, Clone)]
pub struct Change {
    /// The channel.
    pub name: Arc<str>,
    /// Which handle of that name; a later one has a higher number.
    pub handle: u64,
    /// What happened; see [`flag`].
    pub flags: u8,
    /// How many are here now, where sockets are counted.
    pub here: u64,
    /// Where visitors are counted: who came and who went since the last look.
    pub visitors: Option<Vec<Moved>>,
    /// Who of them went and is not to linger.
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
    /// The shard that its subscription was on is gone: of that and the acknowledgement, the last holds.
    away: AtomicBool,
    crowd: Option<Box<Crowd>>,
    news: Mutex<Vec<Bytes>>,
    shared: Arc<Shared>,
}

/// Who somebody is, and what others are told of it.
pub type Who = (VisitorId, Option<Arc<Profile>>);

impl ChannelHandle {
    /// One more is here; `who` it is and from where matters where visitors are counted.
    pub fn join(self: &Arc<Self>, origin: Origin, who: impl FnOnce() -> Who) -> Joined {
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

    /// A token says this of somebody who is here.
    pub fn describe(self: &Arc<Self>, (id, profile): Who) {
        if let (Some(crowd), Some(profile)) = (&self.crowd, profile)
            && crowd.describe(id, profile)
        {
            self.mark(flag::TALLY);
        }
    }

    /// One less is here; as with [`ChannelHandle::join`].
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

    /// [`ChannelHandle::leave`] of somebody who is not to linger.
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

    /// What it counts.
    pub fn counts(&self) -> Count {
        if self.crowd.is_some() { Count::Visitors } else { Count::Sockets }
    }

    /// Its subscription was acknowledged: from now on every change arrives, so its value is due.
    pub fn live(self: &Arc<Self>) {
        self.away.store(false, Ordering::Release);
        self.mark(flag::LIVE);
    }

    /// The shard that its subscription was on is gone: it is not live until that is said again.
    pub fn away(self: &Arc<Self>) {
        self.away.store(true, Ordering::Release);
        self.mark(flag::AWAY);
    }

    /// An integer arrived on it. Readings that were under way are older than it.
    pub fn heard(self: &Arc<Self>) {
        self.mark.hear();
        self.mark(flag::HEARD);
    }

    /// Every change of the list of its members arrives from now on.
    pub fn listed(self: &Arc<Self>) {
        self.mark(flag::LISTED);
    }

    /// Something was published about that list.
    pub fn news(self: &Arc<Self>, message: Bytes) {
        let mut news = lock(&self.news);
        if news.len() >= MAX_NEWS {
            // With a gap, what follows is read.
            news.clear();
        }
        news.push(message);
        drop(news);
        self.mark(flag::NEWS);
    }

    /// Nobody on this node has it any more.
    pub fn release(self: &Arc<Self>) {
        self.mark(flag::RELEASED);
    }

    /// How many integers have arrived; tells whether a [`Value`] is older than one of them.
    pub fn times_heard(&self) -> u64 {
        self.mark.heard()
    }

    /// What happened since the last look. Whatever happens after this posts the handle again.
    fn take_change(&self) -> Change {
        let Seen { flags, here, heard } = self.mark.take();
        let outdated = if self.away.load(Ordering::Acquire) { flag::LIVE } else { flag::AWAY };
        Change {
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
    /// In a cluster: nobody can say, because the shard that has the key is out of reach.
    Away,
    /// The key holds no integer; the channel carries messages, but no count for now.
    Unknown,
    /// The key belongs to somebody else: the channel is not to be joined.
    Refused,
}

/// A reading, and how many integers had arrived before it was asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Value {
    /// See [`ChannelHandle::times_heard`]: with a different number there now, this reading is stale.
    pub heard: u64,
    /// What was read.
    pub reading: Reading,
}

/// What the store said to this node's last heartbeat on the connection that it has.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Heartbeat {
    /// Nothing yet.
    #[default]
    Unanswered,
    /// It was accepted: this node may count.
    Accepted,
    /// It was refused, and why: nothing is counted until it is accepted.
    Refused(String),
}

/// The mailboxes between the presence task and everybody else.
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
    /// A channel's handle on this node. At most one handle of a name is in use at a time.
    pub fn channel(&self, name: Arc<str>, count: Count) -> Arc<ChannelHandle> {
        let shared = self.shared.clone();
        let number = shared.handles.fetch_add(1, Ordering::Relaxed) + 1;
        let crowd = (count == Count::Visitors).then(Box::default);
        let news = Mutex::default();
        Arc::new(ChannelHandle { name, number, mark: Mark::new(), away: false.into(), crowd, news, shared })
    }

    /// Whether messages arrive at all. Without, a channel is not waited for before it is stated.
    pub fn subscription(&self, up: bool) {
        self.shared.subscription.store(up, Ordering::Release);
        self.shared.work.notify_one();
    }

    /// Follows what the store says to this node's heartbeat.
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

    /// Puts other rules into effect: which channels are set up as 0, and which go with their last tally.
    pub fn configure(&self, rules: Arc<Rules>) {
        *lock(&self.shared.rules) = Some(rules);
        self.shared.work.notify_one();
    }

    /// This node is about to stop: from now on visitors stay counted for longer, as they are sent to another
    /// node and on their way there.
    pub fn stay(&self) {
        self.shared.staying.store(true, Ordering::Release);
        self.shared.work.notify_one();
    }

    /// Asks the task to withdraw what is left and to end.
    pub fn close(&self) {
        self.shared.closing.store(true, Ordering::Release);
        self.shared.work.notify_one();
    }

    /// Waits for readings, and takes the newest of each channel. Cancel safe.
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

    /// Waits for lists of members, and takes the newest of each channel. Cancel safe.
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

    pub(super) fn changes(&self) -> Vec<Change> {
        let changed = mem::take(&mut *lock(&self.shared.changed));
        changed.iter().map(|channel| channel.take_change()).collect()
    }

    /// Rules that were put into effect since the last look.
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
