//! What the presence knows of one channel, and what is to be done for it next. No I/O here.

use std::time::{Duration, Instant};

use super::channel::{Change, flag};
use super::channel_roster::ChannelRoster;
use super::effect::StepJob;
use super::lease::NodeId;
use super::step::Step;
use super::visitors::Visitors;

/// The ids that a node may have had on a channel before it could state it again. More than a few
/// mean a store that comes and goes for long; those beyond are withdrawn as dead nodes are.
const MAX_OLDS: usize = 8;
/// How long a channel whose key is damaged or somebody else's waits before it is tried again.
const TRY_AGAIN: Duration = Duration::from_secs(1);
/// The first and the longest wait after the store refused a step.
const FIRST_REST: Duration = Duration::from_millis(100);
const LONGEST_REST: Duration = Duration::from_secs(2);

/// The conditions that hold for all channels.
#[derive(Debug, Clone, Copy)]
pub struct Now {
    /// The time.
    pub at: Instant,
    /// Whether messages arrive; if not, a channel is stated without waiting for its subscription.
    pub subscribed: bool,
    /// Whether this node is leaving: nothing is waited for.
    pub closing: bool,
    /// Whether there is a lease. Without one, nobody can say of those who linger that they have come elsewhere.
    pub held: bool,
}

/// Whether the channel is in this node's list in the store, where its share is found if it dies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Listed {
    /// It is not, and there is no share.
    No,
    /// It may be, and there may be a share: a statement was begun.
    Maybe,
    /// It is.
    Yes,
}

/// One channel.
#[derive(Debug)]
pub struct ChannelState {
    /// The handle that counts; 0 before there was one.
    pub handle: u64,
    /// How many are here.
    pub here: u64,
    /// Who is here, where visitors are counted.
    pub visitors: Option<Box<Visitors>>,
    /// How long a visitor whose last socket went is still counted.
    pub linger: Duration,
    /// The list of its members.
    pub roster: ChannelRoster,
    /// What was stated under an earlier number is to be swept out, once all is stated again.
    pub sweeps: bool,
    /// How many integers have arrived on it.
    pub heard: u64,
    /// Named exactly in the config: it exists without anybody here.
    pub standing: bool,
    /// It was, and is no more: what it was set up as is to be taken back before anything is stated.
    pub unset: bool,
    /// The number confirmed under the current id; None if that is not certain.
    pub stated: Option<u64>,
    /// Older ids that may have a share.
    pub olds: Vec<NodeId>,
    /// See [`Listed`].
    pub listed: Listed,
    /// This node had a share confirmed and has not taken it out since: the key is not somebody else's.
    pub ours: bool,
    /// A step is under way.
    pub busy: bool,
    /// Waits in the queue for a free place.
    pub queued: bool,
    /// The subscription is acknowledged.
    pub live: bool,
    /// Its shard's subscription is gone, so that it is not waited for.
    pub deaf: bool,
    /// The value is to be read, as soon as possible.
    pub unread: bool,
    /// It was said that the key holds no count.
    pub unusable: bool,
    /// When the next wake-up is set.
    pub wake: Option<Instant>,
    /// Is among those that a node that closes still has to withdraw.
    pub remains: bool,
    released: bool,
    not_before: Instant,
    settle: Option<Instant>,
    repair: Instant,
    /// How often in a row the store has refused a step, and until when it is left alone.
    refusals: u32,
    rest: Option<Instant>,
    /// It did so for a reason of its own.
    store_refuses: bool,
}

impl ChannelState {
    /// A channel that nobody has yet. Its first repair is at `repair`.
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
            // A channel that is named exactly is set up by stating it, also as 0.
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
            // Until somebody here has it.
            released: standing,
            not_before: now,
            settle: None,
            repair,
            refusals: 0,
            rest: None,
            store_refuses: false,
        }
    }

    /// A channel that nobody has, and on which the store may have a share of this node.
    pub fn left_behind(standing: bool, now: Instant, repair: Instant) -> Self {
        Self { stated: None, listed: Listed::Maybe, released: true, ..Self::new(standing, now, repair) }
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
    pub fn note(&mut self, change: &Change, now: Instant, quiet: Duration) {
        if change.handle < self.handle {
            // A channel that was left and joined again has a new handle; the old one is at 0.
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

    /// The connection that the subscription was on is gone.
    pub fn unsubscribed(&mut self) {
        self.live = false;
        self.roster.unsubscribed();
    }

    /// This node has a new id: what stood under the old one is to be taken out with the next statement.
    pub fn rotate(&mut self, old: &NodeId, now: Instant) {
        if self.listed != Listed::No && self.olds.len() < MAX_OLDS && !self.olds.contains(old) {
            self.olds.push(old.clone());
        }
        self.stated = if self.standing { None } else { Some(0) };
        self.listed = Listed::No;
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

    /// When to look again, if nothing happens before.
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
        // One that only waits for its subscription is woken by that.
        if self.unstated() && self.not_before > now {
            next = next.min(self.not_before);
        }
        next
    }

    /// Whether the store does not know yet what is here.
    pub fn unstated(&self) -> bool {
        self.stated != Some(self.here) || !self.olds.is_empty() || self.visits()
    }

    /// Whether nobody on this node has the channel.
    pub fn released(&self) -> bool {
        self.released
    }

    /// Whether something may be left in the store that this node has to take out before it ends. The 0
    /// of a channel that exists without anybody stays.
    pub fn remains(&self) -> bool {
        let may_have = self.listed != Listed::No || !self.olds.is_empty() || self.here > 0;
        self.busy || self.has_visitors() || (self.unstated() && may_have)
    }

    /// Whether nothing is left to be known or done.
    pub fn done(&self) -> bool {
        let idle = self.released && !self.standing && !self.unset && !self.busy;
        idle && self.listed == Listed::No && !self.has_visitors() && !self.unstated()
    }

    /// Whether its total must exist: the store has confirmed a share, or that the channel stands.
    pub fn has_total(&self) -> bool {
        !self.busy && !self.unusable && (self.has_share() || (self.standing && self.stated.is_some()))
    }

    /// A step begins. The next repair is then due at `repair`.
    pub fn begin(&mut self, step: Step, now: Instant, batch: Duration, repair: Instant) {
        (self.busy, self.rest) = (true, None);
        match step {
            Step::State => {
                self.not_before = now + batch;
                (self.unread, self.settle) = (false, None);
                // Until it is confirmed, nobody knows what stands in the store.
                self.stated = None;
                if self.here > 0 && self.listed == Listed::No {
                    self.listed = Listed::Maybe;
                }
            }
            Step::Visit => {
                // Those who are left are stated at once.
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
            // Until it is confirmed, nobody knows whether it is still there.
            Step::Unlist => self.listed = Listed::Maybe,
            Step::Unset => {}
        }
    }

    /// The store has taken what a step brought.
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

    /// The store refused a step, for a reason of its own or of this channel's. It is left alone for a
    /// while, longer each time. True if it is the store's from now on.
    pub fn refused(&mut self, now: Instant, jitter: f64, store: bool) -> bool {
        let rest = FIRST_REST.saturating_mul(1 << self.refusals.min(8)).min(LONGEST_REST);
        self.refusals += 1;
        self.rest = Some(now + rest.mul_f64(0.5 + jitter / 2.0));
        let before = self.store_refuses;
        // Once it was the store's, it stays that until the store answers.
        self.store_refuses |= store;
        self.store_refuses && !before
    }

    /// The store has answered. True if it refused for a reason of its own before.
    pub fn answered(&mut self) -> bool {
        (self.rest, self.refusals) = (None, 0);
        std::mem::take(&mut self.store_refuses)
    }

    /// The key holds no count: what is here is not stated again at once, but the key is looked at soon.
    pub fn try_again(&mut self, now: Instant) {
        self.not_before = now + TRY_AGAIN;
        self.repair = self.repair.min(now + TRY_AGAIN);
    }

    /// The next repair is later.
    pub fn put_off_repair(&mut self, by: Duration) {
        self.repair += by;
    }

    /// The total was found missing.
    pub fn repair_now(&mut self, now: Instant) {
        self.repair = self.repair.min(now);
    }
}
