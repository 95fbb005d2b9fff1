//! What the presence knows of one channel, and which step it takes for it next. No I/O here.

use std::time::{Duration, Instant};

use super::channel::{HandleChange, flag};
use super::channel_roster::ChannelRoster;
use super::effect::StepJob;
use super::lease::NodeId;
use super::step::Step;
use super::visitors::Visitors;

/// The most older ids that a channel keeps until it can be stated again. More than a few mean that the store has long
/// been unstable; shares under further ids are withdrawn like those of dead nodes.
const MAX_OLDS: usize = 8;
/// How long a channel waits before the next try if its key is damaged or somebody else's.
const TRY_AGAIN: Duration = Duration::from_secs(1);
/// The first and the longest wait after the store has refused a step.
const FIRST_REST: Duration = Duration::from_millis(100);
const LONGEST_REST: Duration = Duration::from_secs(2);

/// The conditions that hold for all channels.
#[derive(Debug, Clone, Copy)]
pub struct Now {
    /// The time.
    pub at: Instant,
    /// Whether messages arrive; if not, a channel is stated without waiting for its subscription.
    pub subscribed: bool,
    /// Whether this node is leaving, so that nothing is waited for.
    pub closing: bool,
    /// Whether there is a lease. Without one, lingering visitors stay counted, as the nodes that they moved to may be
    /// unable to say so.
    pub held: bool,
}

/// Whether the channel is in this node's list in the store, by which its shares are found if the node dies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Listed {
    /// It is not in the list, and there is no share.
    No,
    /// It may be in the list, and there may be a share: a statement was begun.
    Maybe,
    /// It is in the list.
    Yes,
}

/// One channel.
#[derive(Debug)]
pub struct ChannelState {
    /// The number of the current handle; 0 until there is one.
    pub handle: u64,
    /// How many are here.
    pub here: u64,
    /// Who is here, where visitors are counted.
    pub visitors: Option<Box<Visitors>>,
    /// How long a visitor is still counted after its last socket left.
    pub linger: Duration,
    /// The list of the channel's members.
    pub roster: ChannelRoster,
    /// Whether what was stated under an earlier number must be swept out once everything is stated again.
    pub sweeps: bool,
    /// How many integers have arrived on the channel.
    pub heard: u64,
    /// Whether the config names the channel exactly, so that it exists even when nobody is here.
    pub standing: bool,
    /// Whether the config no longer names it exactly, and its initial 0 must be taken back before anything is stated.
    pub unset: bool,
    /// The number confirmed under the current id; None if it is uncertain.
    pub stated: Option<u64>,
    /// Older ids that may have a share.
    pub olds: Vec<NodeId>,
    /// See [`Listed`].
    pub listed: Listed,
    /// Whether this node has a confirmed share that it has not taken out: the key is then not somebody else's.
    pub ours: bool,
    /// Whether a step is under way.
    pub busy: bool,
    /// Whether the channel waits in the queue for a free place.
    pub queued: bool,
    /// Whether the subscription is acknowledged.
    pub live: bool,
    /// Whether the subscription's shard is gone; the channel is then stated without waiting for it.
    pub deaf: bool,
    /// Whether the value must be read as soon as possible.
    pub unread: bool,
    /// Whether it was reported that the key holds no count.
    pub unusable: bool,
    /// The time for which the next wake-up is set.
    pub wake: Option<Instant>,
    /// Whether the schedule counts it among the channels to withdraw before the node closes.
    pub remains: bool,
    released: bool,
    not_before: Instant,
    settle: Option<Instant>,
    repair: Instant,
    /// How many steps in a row the store has refused, and until when the channel is left alone.
    refusals: u32,
    rest: Option<Instant>,
    /// Whether the store refused for a reason of its own.
    store_refuses: bool,
}

impl ChannelState {
    /// A channel that nobody here has joined yet. Its first repair is at `repair`.
    pub fn new(standing: bool, now: Instant, repair: Instant) -> Self {
        Self {
            handle: 0,
            here: 0,
            visitors: None,
            linger: Duration::ZERO,
            roster: ChannelRoster::new(),
            sweeps: false,
            heard: 0,
            standing,
            unset: false,
            // Stating a channel that is named exactly sets it up, even as 0.
            stated: if standing { None } else { Some(0) },
            olds: Vec::new(),
            listed: Listed::No,
            ours: false,
            busy: false,
            queued: false,
            live: false,
            deaf: false,
            unread: false,
            unusable: false,
            wake: None,
            remains: false,
            // A channel that is named exactly has nobody here at first.
            released: standing,
            not_before: now,
            settle: None,
            repair,
            refusals: 0,
            rest: None,
            store_refuses: false,
        }
    }

    /// A channel that nobody here has, but on which the store may have a share of this node.
    pub fn left_behind(standing: bool, now: Instant, repair: Instant) -> Self {
        Self { stated: None, listed: Listed::Maybe, released: true, ..Self::new(standing, now, repair) }
    }

    /// Records whether the config names the channel exactly from now on.
    pub fn stand(&mut self, standing: bool) {
        if std::mem::replace(&mut self.standing, standing) != standing {
            self.unset = !standing;
            // A channel that is now named exactly must be set up, even as 0.
            self.stated = if standing { None } else { self.stated };
        }
    }

    /// Applies what happened to the handle.
    pub fn note(&mut self, change: &HandleChange, now: Instant, quiet: Duration) {
        if change.handle < self.handle {
            // The channel was left and joined again with a new handle; the old one has nobody left.
            return;
        }
        (self.handle, self.here, self.heard) = (change.handle, change.here, change.heard);
        self.note_gone_at_once(&change.at_once, now);
        self.note_visitors(change.visitors.as_deref(), now);
        if change.flags & flag::TALLY != 0 {
            self.released = false;
        }
        if change.flags & flag::LIVE != 0 {
            (self.live, self.unread, self.released, self.deaf) = (true, true, false, false);
        }
        if change.flags & flag::AWAY != 0 {
            (self.live, self.deaf) = (false, true);
            self.roster.tear();
        }
        if change.flags & flag::HEARD != 0 {
            self.settle = Some(now + quiet);
        }
        if !self.released {
            self.roster.hear(change, now);
            self.compare_lists(now);
        }
        if change.flags & flag::RELEASED != 0 {
            (self.released, self.live, self.settle, self.unread) = (true, false, None, false);
            self.roster.release();
        }
    }

    /// Records that the connection of the subscription is gone.
    pub fn unsubscribed(&mut self) {
        self.live = false;
        self.roster.unsubscribed();
    }

    /// Records that this node has a new id: what stood under the old one is taken out with the next statement.
    pub fn rotate(&mut self, old: &NodeId, now: Instant) {
        if self.listed != Listed::No && self.olds.len() < MAX_OLDS && !self.olds.contains(old) {
            self.olds.push(old.clone());
        }
        self.stated = if self.standing { None } else { Some(0) };
        self.listed = Listed::No;
        self.not_before = now;
    }

    /// The step to take now, if any.
    pub fn step(&self, now: Now) -> Option<Step> {
        if self.busy || self.rest.is_some_and(|until| now.at < until) {
            return None;
        }
        if self.unset {
            return Some(Step::Unset);
        }
        if self.unstated() {
            let ready =
                self.live || self.deaf || self.released || !self.is_anybody_here() || !now.subscribed || now.closing;
            let stands = now.closing && !self.remains();
            if ready && !stands && (now.at >= self.not_before || now.closing) {
                return Some(if self.visits() { Step::Visit } else { Step::State });
            }
        } else if self.listed != Listed::No && self.here == 0 && !self.has_visitors() && !now.closing {
            return Some(Step::Unlist);
        }
        if now.closing {
            return None;
        }
        if self.live && (self.unread || self.settle.is_some_and(|at| now.at >= at)) {
            return Some(Step::Read);
        }
        if self.roster.is_due(now.at) {
            return Some(Step::Members);
        }
        (now.at >= self.repair).then_some(Step::Repair)
    }

    /// When to look again if nothing happens before.
    pub fn next(&self, now: Instant) -> Instant {
        if let Some(until) = self.rest.filter(|until| *until > now) {
            return until;
        }
        let mut next = self.repair;
        if let Some(tick) = self.visitors.as_ref().and_then(|visitors| visitors.next_tick()).filter(|at| *at > now) {
            next = next.min(tick);
        }
        if let Some(settle) = self.settle.filter(|_| self.live) {
            next = next.min(settle);
        }
        if let Some(list) = self.roster.next() {
            next = next.min(list);
        }
        // A channel that only waits for its subscription is woken when that is acknowledged.
        if self.unstated() && self.not_before > now {
            next = next.min(self.not_before);
        }
        next
    }

    /// Whether what is here must still be stated.
    pub fn unstated(&self) -> bool {
        self.stated != Some(self.here) || !self.olds.is_empty() || self.visits()
    }

    /// Whether nobody on this node has the channel.
    pub fn released(&self) -> bool {
        self.released
    }

    /// Whether the store may hold something that this node must take out before it ends. The 0 of a channel that is
    /// named exactly may stay.
    pub fn remains(&self) -> bool {
        let may_have = self.listed != Listed::No || !self.olds.is_empty() || self.here > 0;
        self.busy || self.has_visitors() || (self.unstated() && may_have)
    }

    /// Whether nothing is left to know or do.
    pub fn done(&self) -> bool {
        let idle = self.released && !self.standing && !self.unset && !self.busy;
        idle && self.listed == Listed::No && !self.has_visitors() && !self.unstated()
    }

    /// Whether its total must exist: the store has confirmed a share, or a channel that is named exactly.
    pub fn has_total(&self) -> bool {
        !self.busy && !self.unusable && (self.has_share() || (self.standing && self.stated.is_some()))
    }

    /// Begins a step. After a repair, the next one is due at `repair`.
    pub fn begin(&mut self, step: Step, now: Instant, batch: Duration, repair: Instant) {
        (self.busy, self.rest) = (true, None);
        match step {
            Step::State => {
                self.not_before = now + batch;
                (self.unread, self.settle) = (false, None);
                // Until it is confirmed, nobody knows what the store has.
                self.stated = None;
                if self.here > 0 && self.listed == Listed::No {
                    self.listed = Listed::Maybe;
                }
            }
            Step::Visit => {
                // If visitors are left, the next batch follows at once.
                let more = self.visitors.as_ref().is_some_and(|visitors| visitors.unstated());
                self.not_before = if more { now } else { now + batch };
                (self.unread, self.settle) = (false, None);
                if self.is_anybody_here() && self.listed == Listed::No {
                    self.listed = Listed::Maybe;
                }
            }
            Step::Read => (self.unread, self.settle) = (false, None),
            Step::Members => self.roster.begin(),
            Step::Repair => self.repair = repair,
            // Until it is confirmed, the channel may still be in the list.
            Step::Unlist => self.listed = Listed::Maybe,
            Step::Unset => {}
        }
    }

    /// Records that the store has carried out a step.
    pub fn confirmed(&mut self, job: &StepJob) {
        if job.list {
            self.listed = Listed::Yes;
        }
        if job.step == Step::State {
            self.stated = Some(job.number);
        }
        if matches!(job.step, Step::State | Step::Visit) {
            self.ours = self.has_share();
            self.olds.retain(|old| !job.olds.contains(old));
        }
    }

    /// Records that the store refused a step, for a reason of its own or of this channel's. The channel is left alone
    /// for a while, longer each time. Returns true if the store has just begun to refuse for its own reason.
    pub fn refused(&mut self, now: Instant, jitter: f64, store: bool) -> bool {
        let rest = FIRST_REST.saturating_mul(1 << self.refusals.min(8)).min(LONGEST_REST);
        self.refusals += 1;
        self.rest = Some(now + rest.mul_f64(0.5 + jitter / 2.0));
        let before = self.store_refuses;
        // A refusal for the store's own reason stands until the store answers.
        self.store_refuses |= store;
        self.store_refuses && !before
    }

    /// Records that the store has answered. Returns true if it had refused for a reason of its own.
    pub fn answered(&mut self) -> bool {
        (self.rest, self.refusals) = (None, 0);
        std::mem::take(&mut self.store_refuses)
    }

    /// Delays the next statement of a channel whose key holds no count, and makes a repair due soon.
    pub fn try_again(&mut self, now: Instant) {
        self.not_before = now + TRY_AGAIN;
        self.repair = self.repair.min(now + TRY_AGAIN);
    }

    /// Puts off the next repair.
    pub fn put_off_repair(&mut self, by: Duration) {
        self.repair += by;
    }

    /// Makes a repair due now.
    pub fn repair_now(&mut self, now: Instant) {
        self.repair = self.repair.min(now);
    }
}
