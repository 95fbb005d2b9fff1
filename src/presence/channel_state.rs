//! What the presence knows of one channel, and what is to be done for it next. No I/O here.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::channel::{ChannelHandle, flag};
use super::lease::NodeId;

/// The ids that a node may have had on a channel before it could state it again. More than a few
/// mean a store that comes and goes for long; those beyond are withdrawn as dead nodes are.
const MAX_OLDS: usize = 8;

/// One thing to do for a channel. A channel does one at a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// State the number that is here.
    State,
    /// Read the total.
    Read,
    /// Strike the channel from this node's list.
    Unlist,
    /// Repair the total.
    Repair,
    /// Take back the 0 that it was set up as.
    Unset,
}

/// The conditions that hold for all channels.
#[derive(Debug, Clone, Copy)]
pub struct Now {
    /// The time.
    pub at: Instant,
    /// Whether messages arrive; if not, a channel is stated without waiting for its subscription.
    pub subscribed: bool,
    /// Whether this node is leaving: nothing is waited for.
    pub closing: bool,
}

/// One channel.
#[derive(Debug)]
pub struct ChannelState {
    /// The handle that counts.
    pub channel: Arc<ChannelHandle>,
    /// Named exactly in the config: it exists without anybody here.
    pub standing: bool,
    /// It was, and is no more: what it was set up as is to be taken back before anything is stated.
    pub unset: bool,
    /// The number confirmed under the current id; None if that is not certain.
    pub stated: Option<u64>,
    /// Older ids that may have a tally.
    pub olds: Vec<NodeId>,
    /// In this node's list, under the current id.
    pub listed: bool,
    /// A step is under way.
    pub busy: bool,
    /// Waits in the queue for a free place.
    pub queued: bool,
    /// The subscription is acknowledged.
    pub live: bool,
    /// The value is to be read, as soon as possible.
    pub unread: bool,
    /// A refusal has been said.
    pub refused: bool,
    /// When the next wake-up is set.
    pub wake: Option<Instant>,
    released: bool,
    not_before: Instant,
    settle: Option<Instant>,
    repair: Instant,
    /// The store refused the last step: before this, no other is begun.
    rest: Option<Instant>,
}

impl ChannelState {
    pub fn new(channel: Arc<ChannelHandle>, standing: bool, now: Instant, repair: Duration) -> Self {
        Self {
            channel,
            standing,
            unset: false,
            // A channel that is named exactly is set up by stating it, also as 0.
            stated: if standing { None } else { Some(0) },
            olds: Vec::new(),
            listed: false,
            busy: false,
            queued: false,
            live: false,
            unread: false,
            refused: false,
            wake: None,
            // Until somebody here has it.
            released: standing,
            not_before: now,
            settle: None,
            repair: now + spread(repair),
            rest: None,
        }
    }

    /// The config names it exactly from now on, or no more.
    pub fn stand(&mut self, standing: bool) {
        if std::mem::replace(&mut self.standing, standing) != standing {
            self.unset = !standing;
            // Under the other rule even a 0 means something else.
            self.stated = if standing { None } else { self.stated };
        }
    }

    /// Takes in what happened to the handle.
    pub fn note(&mut self, flags: u8, now: Instant, quiet: Duration) {
        if flags & flag::TALLY != 0 {
            self.released = false;
        }
        if flags & flag::LIVE != 0 {
            (self.live, self.unread, self.released) = (true, true, false);
        }
        if flags & flag::HEARD != 0 {
            self.settle = Some(now + quiet);
        }
        if flags & flag::RELEASED != 0 {
            (self.released, self.live, self.settle, self.unread) = (true, false, None, false);
        }
    }

    /// The connection that the subscription was on is gone.
    pub fn unsubscribed(&mut self) {
        self.live = false;
    }

    /// This node has a new id: what stood under the old one is to be taken out with the next
    /// statement.
    pub fn rotate(&mut self, old: &NodeId, now: Instant) {
        let tallied = self.listed || self.stated != Some(0);
        if tallied && self.olds.len() < MAX_OLDS && !self.olds.contains(old) {
            self.olds.push(old.clone());
        }
        self.stated = if self.standing { None } else { Some(0) };
        self.listed = false;
        self.not_before = now;
    }

    /// What is to be done now, if anything.
    pub fn step(&self, now: Now) -> Option<Step> {
        if self.busy || self.rest.is_some_and(|until| now.at < until) {
            return None;
        }
        if self.unset {
            return Some(Step::Unset);
        }
        let here = self.channel.here();
        if self.unstated() {
            let ready = self.live || here == 0 || !now.subscribed || now.closing;
            if ready && (now.at >= self.not_before || now.closing) {
                return Some(Step::State);
            }
        } else if self.listed && here == 0 {
            return Some(Step::Unlist);
        }
        if now.closing {
            return None;
        }
        if self.live && (self.unread || self.settle.is_some_and(|at| now.at >= at)) {
            return Some(Step::Read);
        }
        (now.at >= self.repair).then_some(Step::Repair)
    }

    /// When to look again, if nothing happens before.
    pub fn next(&self, now: Instant) -> Instant {
        if let Some(until) = self.rest.filter(|until| *until > now) {
            return until;
        }
        let mut next = self.repair;
        if let Some(settle) = self.settle.filter(|_| self.live) {
            next = next.min(settle);
        }
        // One that only waits for its subscription is woken by that.
        if self.unstated() && self.not_before > now {
            next = next.min(self.not_before);
        }
        next
    }

    /// Whether the store does not know yet what is here.
    pub fn unstated(&self) -> bool {
        self.stated != Some(self.channel.here()) || !self.olds.is_empty()
    }

    /// Whether nothing is left to be known or done.
    pub fn done(&self) -> bool {
        self.released && !self.standing && !self.unset && !self.busy && !self.listed && !self.unstated()
    }

    /// A step begins.
    pub fn begin(&mut self, step: Step, now: Instant, batch: Duration, repair: Duration) {
        (self.busy, self.rest) = (true, None);
        match step {
            Step::State => {
                self.not_before = now + batch;
                (self.unread, self.settle) = (false, None);
            }
            Step::Read => (self.unread, self.settle) = (false, None),
            Step::Repair => self.repair = now + spread(repair),
            Step::Unlist | Step::Unset => {}
        }
    }

    /// The store as a whole refused a step: leave it alone for a while.
    pub fn rest_until(&mut self, until: Instant) {
        self.rest = Some(until);
    }

    /// A statement was refused: do not ask again at once, but have the total looked at.
    pub fn put_off(&mut self, until: Instant, repair_now: bool) {
        self.not_before = until;
        if repair_now {
            self.repair = self.repair.min(Instant::now());
        }
    }
}

/// A period with some jitter, so that channels and nodes do not repair in step.
fn spread(period: Duration) -> Duration {
    period.mul_f64(0.75 + fastrand::f64() / 4.0)
}
