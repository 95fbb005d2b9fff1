//! Which channels this node wants, and which workers want them: one table for all workers.
//!
//! A worker comes here when its first client joins a channel and when its last one leaves, never for a
//! message. The lock is held only briefly.

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
    /// One bit for each worker that has clients on it.
    pub shards: u64,
    /// The ticket of its subscription; None before there is one.
    pub ticket: Option<Ticket>,
    /// Whether the subscription is acknowledged.
    pub subscribed: bool,
    /// Whether the workers were told that it is live; a counted channel is live once its value is known.
    pub live: bool,
    /// Whether messages may have been missed since it was live on an earlier connection.
    pub missed: bool,
    /// Its current value, if known.
    pub value: Option<ChannelValue>,
    /// The handle that counts it, if it is counted.
    pub presence: Option<Arc<ChannelHandle>>,
    /// Whether it delivers every message, not just the latest.
    pub every: bool,
    /// How a board shows its sorted set; None for other channels.
    pub board: Option<BoardRule>,
    /// Why a board, or in a cluster any channel, has nothing to show.
    pub no_board: Option<NoBoard>,
    /// Whether its total was read or heard since it was subscribed.
    pub counted: bool,
    /// Whether it lists who is here, the ticket of the list's own channel, and the list.
    pub lists: bool,
    pub list_ticket: Option<Ticket>,
    pub list: Listing,
    /// Whether its last client here left a moment ago; unless another joins in time, it is unsubscribed.
    pub lingers: bool,
    changed: bool,
    /// Its place among the channels that its opener's address may have.
    _opener: Option<Box<Permit>>,
}

/// What a worker learns about a channel when its first client joins.
#[derive(Debug)]
pub(super) struct Snapshot {
    pub live: bool,
    pub value: Option<ChannelValue>,
    pub presence: Option<Arc<ChannelHandle>>,
    /// Why it has nothing to show, if that is so.
    pub no_board: Option<NoBoard>,
    /// Whether it shows a sorted set.
    pub board: bool,
    /// The list of its members, if it has one.
    pub list: Option<Listing>,
}

impl ChannelRecord {
    /// Returns whether the list of its members is still missing; nobody can join before it comes.
    pub fn awaits_list(&self) -> bool {
        self.lists && matches!(self.list, Listing::Unknown)
    }

    /// Marks it as showing nothing, because its part of the store is out of reach. Returns whether its
    /// members should be told; they are told once.
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

/// The table of channels. The router works through what changed in it.
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
    /// Longer frames cannot be queued for any client.
    pub max_frame: usize,
    /// Handles that a rule change has replaced, and the workers that still have them, one bit each.
    pub retired: HashMap<Arc<str>, (Arc<ChannelHandle>, u64)>,
    pub changed: Vec<Arc<str>>,
    /// The store's state, as last announced; None before it is known.
    pub store: Option<StoreState>,
}

impl Registry {
    /// Creates an empty table over a presence and boards, for these rules.
    pub fn new(presence: Presence, boards: Boards, rules: Arc<Rules>, max_frame: usize) -> Self {
        let inner = Inner { rules, max_frame, ..Inner::default() };
        Self { presence, boards, inner: Mutex::new(inner), work: Notify::new(), told_exempt: AtomicBool::new(false) }
    }

    /// Returns the store's state; None before it is known.
    pub fn store(&self) -> Option<StoreState> {
        self.with(|inner| inner.store)
    }

    /// Returns whether the store is live; None before that is known.
    pub fn store_up(&self) -> Option<bool> {
        self.store().map(|state| state == StoreState::Live)
    }

    /// Warns, once, that an address without a limit has very many visitors.
    pub(super) fn tell_exempt(&self) {
        if !self.told_exempt.swap(true, Ordering::Relaxed) {
            tracing::warn!(
                "a private address has more visitors than limits.visitors_per_address, which does not apply to \
                 private addresses; if it is a proxy, name it in server.trusted_proxies"
            );
        }
    }

    /// Records a worker's first client on a channel. A new channel follows the newest rules, and `opener`
    /// is its place among the channels that its opener's address may have.
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
                // Earlier clients may have been refused; this one is told only after another reading.
                presence.live();
            }
            let snapshot = entry.snapshot();
            self.changed(inner, name);
            snapshot
        })
    }

    /// Returns how many channels this node has; None if the named one is among them.
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

    /// Waits until something has changed. Cancel-safe.
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
