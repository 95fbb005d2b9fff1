//! Which channels have something to be done now, and when to look at the others again.

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

/// Gives back the memory of channels that are gone.
pub fn shrink(channels: &mut Channels) {
    let (taken, places) = (channels.len(), channels.capacity());
    if places > memory::SMALL && taken < places / 4 {
        channels.shrink_to(taken * 2);
    }
}

/// When a repair is due. There is some jitter, so that channels and nodes do not repair in step.
pub fn next_repair(every: Duration, random: &mut Rng, now: Instant) -> Instant {
    now + every.mul_f64(0.75 + random.f64() / 4.0)
}

/// Each total is looked at about once in this time, so many at once, in case somebody has deleted it.
const LOOK_EVERY: Duration = Duration::from_secs(1);
const LOOK_AT_ONCE: usize = 512;

/// The store can be told again. Where anybody lingers, those who come are stated before those who went: these channels
/// are to be looked at.
pub fn linger_on(channels: &mut Channels, now: Instant) -> Vec<Arc<str>> {
    let lingers = |(name, channel): (&Arc<str>, &mut ChannelState)| channel.linger_on(now).then(|| name.clone());
    channels.iter_mut().filter_map(lingers).collect()
}

/// See the module. A channel is in it at most once.
#[derive(Default)]
pub struct Schedule {
    ready: VecDeque<Arc<str>>,
    wakes: BinaryHeap<Reverse<(Instant, Arc<str>)>>,
    /// Channels that a node that closes still has to withdraw.
    remaining: usize,
}

impl Schedule {
    /// Queues a channel that has something to do, or sets its wake-up. To be called whenever it has
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

    /// The next channel that is ready.
    pub fn ready(&mut self) -> Option<Arc<str>> {
        let next = self.ready.pop_front();
        memory::shrink_queue(&mut self.ready);
        next
    }

    /// The next channel whose wake-up is due, and when that was set for.
    pub fn due(&mut self, now: Instant) -> Option<(Instant, Arc<str>)> {
        self.wakes.peek().filter(|Reverse((at, _))| *at <= now)?;
        let Reverse(due) = self.wakes.pop()?;
        if self.wakes.capacity() > memory::SMALL && self.wakes.len() < self.wakes.capacity() / 4 {
            self.wakes.shrink_to(self.wakes.len() * 2);
        }
        Some(due)
    }

    /// When the next wake-up is.
    pub fn next(&self) -> Option<Instant> {
        self.wakes.peek().map(|Reverse((at, _))| *at)
    }

    /// Whether nothing is left that a node that closes has to withdraw.
    pub fn is_withdrawn(&self) -> bool {
        self.remaining == 0
    }
}

/// The look at totals that somebody may have deleted, some at a time.
pub struct Look {
    /// One is under way.
    pub under_way: bool,
    /// When the next is due.
    pub next: Instant,
    from: usize,
}

impl Look {
    /// The first one is due now.
    pub fn new(now: Instant) -> Self {
        Self { under_way: false, next: now, from: 0 }
    }

    /// The channels whose turn it is, of those that must have a total.
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
