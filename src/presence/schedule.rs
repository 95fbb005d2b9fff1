//! Which channels have something to do now, and when to look at the others again.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use fastrand::Rng;
use indexmap::IndexMap;

use super::channel_state::{ChannelState, Now};
use crate::memory;

/// The channels of this node, in an order that a run with the same seed repeats.
pub type Channels = IndexMap<Arc<str>, ChannelState>;

/// Frees the memory of channels that are gone.
pub fn shrink(channels: &mut Channels) {
    let (taken, places) = (channels.len(), channels.capacity());
    if places > memory::SMALL && taken < places / 4 {
        channels.shrink_to(taken * 2);
    }
}

/// When the next repair is due. Jitter keeps channels and nodes from repairing in step.
pub fn next_repair(every: Duration, random: &mut Rng, now: Instant) -> Instant {
    now + every.mul_f64(0.75 + random.f64() / 4.0)
}

/// About how often each total is checked for deletion, and how many are checked at once.
const LOOK_EVERY: Duration = Duration::from_secs(1);
const LOOK_AT_ONCE: usize = 512;

/// Extends lingering now that the store can be reached again, so that visitors who came are stated before those who
/// left. Returns the channels where anybody lingers; they must be looked at.
pub fn linger_on(channels: &mut Channels, now: Instant) -> Vec<Arc<str>> {
    let lingers = |(name, channel): (&Arc<str>, &mut ChannelState)| channel.linger_on(now).then(|| name.clone());
    channels.iter_mut().filter_map(lingers).collect()
}

/// See the module. A channel is in `ready` at most once.
#[derive(Default)]
pub struct Schedule {
    ready: VecDeque<Arc<str>>,
    wakes: BinaryHeap<Reverse<(Instant, Arc<str>)>>,
    /// How many channels must still be withdrawn before the node closes.
    remaining: usize,
}

impl Schedule {
    /// Queues a channel that has something to do, or sets its wake-up. Must be called whenever the channel has
    /// changed.
    pub fn consider(&mut self, name: &Arc<str>, channel: &mut ChannelState, now: Now) {
        let remains = channel.remains();
        match (std::mem::replace(&mut channel.remains, remains), remains) {
            (false, true) => self.remaining += 1,
            (true, false) => self.remaining -= 1,
            _ => {}
        }
        if channel.queued || channel.busy || channel.done() {
            return;
        }
        if channel.step(now).is_some() {
            channel.queued = true;
            return self.ready.push_back(name.clone());
        }
        if now.closing && !remains {
            return;
        }
        let next = channel.next(now.at).max(now.at + Duration::from_millis(1));
        if channel.wake.is_none_or(|wake| next < wake) {
            channel.wake = Some(next);
            self.wakes.push(Reverse((next, name.clone())));
        }
    }

    /// Takes the next channel that is ready.
    pub fn ready(&mut self) -> Option<Arc<str>> {
        let next = self.ready.pop_front();
        memory::shrink_queue(&mut self.ready);
        next
    }

    /// Takes the next channel whose wake-up is due, and the time for which it was set.
    pub fn due(&mut self, now: Instant) -> Option<(Instant, Arc<str>)> {
        self.wakes.peek().filter(|Reverse((at, _))| *at <= now)?;
        let Reverse(due) = self.wakes.pop()?;
        if self.wakes.capacity() > memory::SMALL && self.wakes.len() < self.wakes.capacity() / 4 {
            self.wakes.shrink_to(self.wakes.len() * 2);
        }
        Some(due)
    }

    /// When the next wake-up is due.
    pub fn next(&self) -> Option<Instant> {
        self.wakes.peek().map(|Reverse((at, _))| *at)
    }

    /// Whether nothing is left to withdraw before the node closes.
    pub fn is_withdrawn(&self) -> bool {
        self.remaining == 0
    }
}

/// The check for deleted totals, one group of channels at a time.
pub struct Look {
    /// Whether a check is under way.
    pub under_way: bool,
    /// When the next check is due.
    pub next: Instant,
    from: usize,
}

impl Look {
    /// Makes the first check due now.
    pub fn new(now: Instant) -> Self {
        Self { under_way: false, next: now, from: 0 }
    }

    /// Returns the channels whose turn it is, except those that need no total.
    pub fn turn(&mut self, channels: &Channels, now: Instant) -> Vec<Arc<str>> {
        let turns = u32::try_from(channels.len().div_ceil(LOOK_AT_ONCE)).unwrap_or(u32::MAX);
        self.next = now + LOOK_EVERY / turns.max(1);
        if self.from >= channels.len() {
            self.from = 0;
        }
        let turn = channels.iter().skip(self.from).take(LOOK_AT_ONCE);
        let names: Vec<_> = turn.filter(|(_, channel)| channel.has_total()).map(|(name, _)| name.clone()).collect();
        self.from += LOOK_AT_ONCE;
        self.under_way = !names.is_empty();
        names
    }
}
