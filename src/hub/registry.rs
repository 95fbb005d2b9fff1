//! Which channels this node wants, and which workers want them: one table for all workers.
//!
//! A worker asks here when its first client joins a channel and when its last one leaves, never
//! for a message. The lock is held for a look-up.

use std::collections::HashMap;
use std::mem;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::Notify;

use super::NoBoard;
use super::channel_value::ChannelValue;
use super::store_state::StoreState;
use crate::backplane::Ticket;
use crate::boards::Boards;
use crate::config::channels::BoardRule;
use crate::config::{Deliver, Rules};
use crate::metrics::Metrics;
use crate::net::address_limits::Permit;
use crate::presence::{ChannelHandle, Listing, Presence};

/// One channel on this node.
#[derive(Debug, Default)]
pub(super) struct ChannelRecord {
    /// A bit for each worker that has clients on it.
    pub shards: u64,
    /// The wish for its subscription; None before there is one.
    pub ticket: Option<Ticket>,
    /// The subscription is acknowledged.
    pub subscribed: bool,
    /// Told to the workers as live; a count is live once its value is known.
    pub live: bool,
    /// It was live on an earlier connection, and messages may have been missed since.
    pub missed: bool,
    /// What it shows, where that is known.
    pub value: Option<ChannelValue>,
    /// The handle that counts it, for a channel that is counted.
    pub presence: Option<Arc<ChannelHandle>>,
    /// It delivers every message, not just the latest.
    pub every: bool,
    /// What is shown of a sorted set, for a board.
    pub board: Option<BoardRule>,
    /// Why it has nothing to show, for a board or in a cluster.
    pub no_board: Option<NoBoard>,
    /// Its total was read, or heard, since it was subscribed.
    pub counted: bool,
    /// Whether it lists who is here; the wish for the list's own channel; who is.
    pub lists: bool,
    pub list_ticket: Option<Ticket>,
    pub list: Listing,
    /// Nobody here has it, or nobody had a moment ago; it is to be left unless somebody comes.
    pub lingers: bool,
    changed: bool,
    /// The place that it takes among the channels of an address.
    _opener: Option<Box<Permit>>,
}

/// What a worker learns of a channel that its first client joins.
#[derive(Debug)]
pub(super) struct Snapshot {
    pub live: bool,
    pub value: Option<ChannelValue>,
    pub presence: Option<Arc<ChannelHandle>>,
    /// Why a board has nothing to show.
    pub no_board: Option<NoBoard>,
    /// It shows a sorted set.
    pub board: bool,
    /// Who is here, where that is listed.
    pub list: Option<Listing>,
}

impl ChannelRecord {
    /// Whether the list of its members is still to come, without which it cannot be joined.
    pub fn awaits_list(&self) -> bool {
        self.lists && matches!(self.list, Listing::Unknown)
    }

    /// Its part of the store is out of reach, so that it shows nothing for now. Whether its members are to be told,
    /// which they are once.
    pub fn degrade(&mut self, metrics: &Metrics) -> bool {
        (self.live, self.value) = (false, None);
        let news = self.no_board.replace(NoBoard::Away) != Some(NoBoard::Away);
        metrics.channels_degraded.inc_by(u64::from(news));
        news
    }

    pub fn snapshot(&self) -> Snapshot {
        let (value, presence) = (self.value.clone(), self.presence.clone());
        let list = self.lists.then(|| self.list.clone());
        Snapshot { live: self.live, value, presence, no_board: self.no_board, board: self.board.is_some(), list }
    }
}

/// The table. The router works through what changed in it.
pub struct Registry {
    pub(super) presence: Presence,
    pub(super) boards: Boards,
    inner: Mutex<Inner>,
    work: Notify,
    told_exempt: AtomicBool,
}

#[derive(Default)]
pub(super) struct Inner {
    pub channels: HashMap<Arc<str>, ChannelRecord>,
    /// Which channels exist, and how they deliver.
    pub rules: Arc<Rules>,
    /// Frames longer than this cannot be held for anybody.
    pub max_frame: usize,
    /// Handles of channels that are not counted any more, and the workers that still have them.
    pub retired: HashMap<Arc<str>, (Arc<ChannelHandle>, u64)>,
    pub changed: Vec<Arc<str>>,
    /// How this node stands with its store, as told; None before that is known.
    pub store: Option<StoreState>,
}

impl Registry {
    /// An empty table over a presence and boards, for these rules.
    pub fn new(presence: Presence, boards: Boards, rules: Arc<Rules>, max_frame: usize) -> Self {
        let inner = Inner { rules, max_frame, ..Inner::default() };
        Self { presence, boards, inner: Mutex::new(inner), work: Notify::new(), told_exempt: AtomicBool::new(false) }
    }

    /// How this node stands with its store; None before that is known.
    pub fn store(&self) -> Option<StoreState> {
        self.with(|inner| inner.store)
    }

    /// Whether the store is live; None before that is known.
    pub fn store_up(&self) -> Option<bool> {
        self.store().map(|state| state == StoreState::Live)
    }

    /// Says once that an address that has no limit is where very many visitors come from.
    pub(super) fn tell_exempt(&self) {
        if !self.told_exempt.swap(true, Ordering::Relaxed) {
            tracing::warn!(
                "a private address has more visitors than limits.visitors_per_address, which does not apply to \
                 private addresses; if it is a proxy, name it in server.trusted_proxies"
            );
        }
    }

    /// A worker has its first client on a channel. Counted and delivered is by the newest rules.
    /// `opener`: the place of a new one among those that its opener's address may have.
    pub(super) fn enter(&self, shard: u8, name: &Arc<str>, opener: Option<Box<Permit>>) -> Snapshot {
        self.with(|inner| {
            let Inner { channels, rules, .. } = inner;
            let entry = channels.entry(name.clone()).or_insert_with(|| {
                let rule = rules.find(name);
                let counted = rule.filter(|rule| rule.counted());
                if let Some(board) = rule.and_then(|rule| rule.board) {
                    self.boards.want(name.clone(), board);
                }
                ChannelRecord {
                    presence: counted.map(|rule| self.presence.channel(name.clone(), rule.count)),
                    every: rule.is_some_and(|rule| rule.deliver == Deliver::Every),
                    board: rule.and_then(|rule| rule.board),
                    lists: rule.is_some_and(|rule| rule.members.is_some()),
                    _opener: opener,
                    ..ChannelRecord::default()
                }
            });
            entry.shards |= 1 << shard;
            if entry.subscribed
                && !entry.live
                && let Some(presence) = &entry.presence
            {
                // Refused to those who were here before; this one has not been told.
                presence.live();
            }
            let snapshot = entry.snapshot();
            self.changed(inner, name);
            snapshot
        })
    }

    /// How many channels this node has, unless the one of this name is among them.
    pub(super) fn channels_without(&self, name: &str) -> Option<usize> {
        self.with(|inner| (!inner.channels.contains_key(name)).then_some(inner.channels.len()))
    }

    pub(super) fn leave(&self, shard: u8, name: &Arc<str>) {
        self.with(|inner| {
            if let Some(entry) = inner.channels.get_mut(name) {
                entry.shards &= !(1 << shard);
                if entry.shards == 0 {
                    self.changed(inner, name);
                }
            }
            inner.let_go(shard, name);
        });
    }

    pub(super) fn changed(&self, inner: &mut Inner, name: &Arc<str>) {
        let Some(entry) = inner.channels.get_mut(name) else { return };
        if !mem::replace(&mut entry.changed, true) {
            inner.changed.push(name.clone());
            self.work.notify_one();
        }
    }

    /// Waits until something changed. Cancel safe.
    pub(super) async fn work(&self) {
        self.work.notified().await;
    }

    pub(super) fn take_changed(inner: &mut Inner) -> Vec<Arc<str>> {
        let names = mem::take(&mut inner.changed);
        for name in &names {
            if let Some(entry) = inner.channels.get_mut(name) {
                entry.changed = false;
            }
        }
        names
    }

    pub(super) fn with<T>(&self, work: impl FnOnce(&mut Inner) -> T) -> T {
        work(&mut self.inner.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
