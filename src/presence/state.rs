//! Everything that a node knows and decides about the count: its channels, its lease, and what is due.
//!
//! This module turns events and the time into effects. There is no I/O here, no clock and no task, so a simulation
//! runs the same code as the product. Outcomes of jobs are handled in `transitions`.

use std::sync::Arc;
use std::time::{Duration, Instant};

use fastrand::Rng;

use super::beat::Beat;
use super::channel::{HandleChange, Heartbeat};
use super::channel_state::{ChannelState, Now};
use super::effect::{Effect, Job, News};
use super::lease::{Lease, NodeId};
use super::reapers::Reapers;
use super::schedule::{self, Channels, Look, Schedule};
use super::scrub::Scrub;
use super::start::{self, Terms};
use super::step::Step;
use super::strangers::Strangers;
use crate::config::{self, Rules};

/// How many channel steps may be under way at once.
const JOBS: usize = 64;
/// How much longer visitors linger if they are sent to another node: most are asked to pause no longer.
const ON_THE_WAY: Duration = Duration::from_secs(1);
/// The shortest hold: even with short leases, a node that was refused or has a damaged key may be slow to retry.
const LEAST_HOLD: Duration = Duration::from_secs(3);
/// How many channels are taken off the list at once.
const UNLISTED: usize = 512;

/// The state; see the module.
pub struct PresenceState {
    pub(super) config: config::PresenceConfig,
    pub(super) rules: Arc<Rules>,
    pub(super) random: Rng,
    pub(super) draw: Box<dyn FnMut() -> NodeId + Send>,
    pub(super) lease: Lease,
    /// In a cluster: ids that have a share but no lease.
    pub(super) strangers: Strangers,
    pub(super) beat: Beat,
    up: bool,
    pub(super) subscribed: bool,
    staying: bool,
    pub(super) closing: bool,
    leaving: bool,
    pub(super) channels: Channels,
    schedule: Schedule,
    /// How many steps are under way.
    pub(super) stepping: usize,
    pub(super) reapers: Reapers,
    pub(super) look: Look,
    audit: Instant,
    pub(super) scrub: Scrub,
    /// The stamp of the last batch of visitors.
    stamps: u64,
    pub(super) effects: Vec<Effect>,
}

impl PresenceState {
    /// Makes a node without a connection. `seed` seeds its random numbers, `draw` draws its ids.
    pub fn new(
        config: config::PresenceConfig,
        rules: Arc<Rules>,
        now: Instant,
        seed: u64,
        mut draw: Box<dyn FnMut() -> NodeId + Send>,
    ) -> Self {
        let mut state = Self {
            lease: Lease::new(draw(), now),
            strangers: Strangers::default(),
            config,
            rules,
            random: Rng::with_seed(seed),
            draw,
            beat: Beat::new(now),
            up: false,
            subscribed: false,
            staying: false,
            closing: false,
            leaving: false,
            channels: Channels::new(),
            schedule: Schedule::default(),
            stepping: 0,
            reapers: Reapers::default(),
            look: Look::new(now),
            audit: now,
            scrub: Scrub::new(now),
            stamps: 0,
            effects: Vec::new(),
        };
        state.set_up(now);
        state
    }

    /// Marks the keys as spread over several servers.
    pub fn over_shards(mut self) -> Self {
        self.lease.sharded = true;
        self
    }

    /// Sets up the channels that exist even when nobody is here.
    fn set_up(&mut self, now: Instant) {
        let names: Vec<Arc<str>> = self.rules.standing().map(Arc::from).collect();
        for name in names {
            let repair = self.next_repair(now);
            self.channels.entry(name.clone()).or_insert_with(|| ChannelState::new(true, now, repair));
            self.look_at(name, now);
        }
    }

    /// Applies new rules.
    pub fn configure(&mut self, rules: Arc<Rules>, now: Instant) {
        let hold = self.hold();
        for (name, channel) in &mut self.channels {
            channel.stand(rules.stands(name));
            channel.list_members(rules.members(name), hold, now);
        }
        self.rules = rules;
        self.set_up(now);
        self.look_at_all(now);
    }

    /// Records that the connection for commands came up or went down.
    pub fn link(&mut self, up: bool, now: Instant) {
        self.up = up;
        (self.lease.held, self.lease.proven) = (up && self.lease.outlives_links(), false);
        if !self.lease.outlives_links() {
            self.effects.push(Effect::Heartbeat(Heartbeat::Unanswered));
        }
        if up {
            self.lease.watching = now;
            self.beat.next = now;
            self.audit = now;
        }
    }

    /// In a cluster: records that the leases are on another shard, or reached over a new connection. The shard may
    /// have lost everything, so nobody is reaped for now, and the loss of this node's own lease is expected.
    pub fn leases_moved(&mut self, now: Instant) {
        (self.lease.watching, self.lease.proven, self.beat.next) = (now, false, now);
        self.strangers.begin_anew();
    }

    /// Records whether messages arrive from now on.
    pub fn subscription(&mut self, up: bool, now: Instant) {
        if std::mem::replace(&mut self.subscribed, up) != up {
            if !up {
                self.channels.values_mut().for_each(ChannelState::unsubscribed);
            }
            self.look_at_all(now);
        }
    }

    /// Prepares to send clients elsewhere: visitors linger until they arrive. One round of repairs is skipped.
    pub fn stay(&mut self) {
        if !std::mem::replace(&mut self.staying, true) {
            self.channels.values_mut().for_each(|channel| channel.put_off_repair(self.config.repair));
        }
    }

    /// Prepares to leave: nobody is here any more, and everything that was stated must be withdrawn.
    pub fn close(&mut self, now: Instant) {
        if !std::mem::replace(&mut self.closing, true) {
            for (name, channel) in &mut self.channels {
                channel.empty(now, self.rules.linger(name));
            }
            self.look_at_all(now);
        }
    }

    /// Applies what happened to a handle.
    pub fn changed(&mut self, mut change: HandleChange, now: Instant) {
        if self.closing {
            // Sockets that are still open end with the process, so nobody counts as here.
            change.here = 0;
            change.visitors.iter_mut().flatten().for_each(|(_, here, _)| *here = false);
        }
        let repair = self.next_repair(now);
        let standing = self.rules.stands(&change.name);
        let linger = self.linger(&change.name);
        let (members, hold) = (self.rules.members(&change.name), self.hold());
        let channel =
            self.channels.entry(change.name.clone()).or_insert_with(|| ChannelState::new(standing, now, repair));
        channel.linger = linger;
        channel.list_members(members, hold, now);
        channel.note(&change, now, self.config.quiet);
        self.look_at(change.name, now);
    }

    /// Begins whatever is due. Must be called after every event, and at [`PresenceState::wake`].
    pub fn advance(&mut self, now: Instant) {
        self.wake_up(now);
        self.beat_if_due(now);
        self.look_if_due(now);
        self.audit_if_due(now);
        self.scrub_if_due(now);
        self.start_ready(now);
        self.leave_if_done();
    }

    /// The id under which this node makes its statements.
    pub fn id(&self) -> &NodeId {
        &self.lease.id
    }

    /// When to call [`PresenceState::advance`] at the latest.
    pub fn wake(&self, now: Instant) -> Instant {
        let idle = now + self.config.heartbeat;
        let beat = if self.may_beat() { self.beat.next } else { idle };
        let look = if self.may_look() { self.look.next } else { idle };
        self.schedule.next().map_or(beat, |at| beat.min(at)).min(look)
    }

    /// Drains the pending effects.
    pub fn effects(&mut self) -> std::vec::Drain<'_, Effect> {
        self.effects.drain(..)
    }

    pub(super) fn tell(&mut self, news: News) {
        self.effects.push(Effect::Tell(news));
    }

    fn now(&self, at: Instant) -> Now {
        Now { at, subscribed: self.subscribed, closing: self.closing, held: self.may_step() }
    }

    /// How long a visitor who leaves the channel now stays counted.
    fn linger(&self, name: &str) -> Duration {
        let linger = self.rules.linger(name);
        if self.staying && !self.closing && !linger.is_zero() { linger + ON_THE_WAY } else { linger }
    }

    /// How long a list waits for members who are missing after a loss of data.
    fn hold(&self) -> Duration {
        LEAST_HOLD.max(self.config.lease + self.config.grace + self.config.heartbeat)
    }

    pub(super) fn next_repair(&mut self, now: Instant) -> Instant {
        schedule::next_repair(self.config.repair, &mut self.random, now)
    }

    /// Looks at a channel that may have changed: queues it, sets its wake-up, or forgets it.
    pub(super) fn look_at(&mut self, name: Arc<str>, at: Instant) {
        let now = self.now(at);
        let Some(channel) = self.channels.get_mut(&name) else { return };
        channel.tick(now);
        if let Some(list) = channel.roster.news(at) {
            self.effects.push(Effect::Members(name.clone(), list));
        }
        self.schedule.consider(&name, channel, now);
        if channel.done() {
            if channel.answered() {
                self.beat.refusing -= 1;
            }
            self.channels.swap_remove(&name);
            schedule::shrink(&mut self.channels);
        }
    }

    pub(super) fn look_at_all(&mut self, now: Instant) {
        let names: Vec<_> = self.channels.keys().cloned().collect();
        for name in names {
            self.look_at(name, now);
        }
    }

    fn wake_up(&mut self, now: Instant) {
        while let Some((at, name)) = self.schedule.due(now) {
            if let Some(channel) = self.channels.get_mut(&name).filter(|channel| channel.wake == Some(at)) {
                channel.wake = None;
                self.look_at(name, now);
            }
        }
    }

    /// Whether channels may be worked on. Nothing can be stated without a lease.
    pub(super) fn may_step(&self) -> bool {
        self.up && self.lease.held
    }

    /// Starts what is ready while there are free places. Channels are taken off the list together.
    fn start_ready(&mut self, at: Instant) {
        let now = self.now(at);
        let mut unlisted = Vec::new();
        while self.may_step() && self.stepping < JOBS && unlisted.len() < UNLISTED {
            let Some(name) = self.schedule.ready() else { break };
            let Some(channel) = self.channels.get_mut(&name) else { continue };
            channel.queued = false;
            match channel.step(now) {
                Some(Step::Unlist) => {
                    channel.begin(Step::Unlist, at, self.config.batch, at);
                    unlisted.push(name);
                }
                Some(step) => self.start(name, step, at),
                None => self.look_at(name, at),
            }
        }
        if !unlisted.is_empty() {
            self.stepping += 1;
            self.effects.push(Effect::Run(Job::Unlist(self.lease.id.clone(), unlisted)));
        }
    }

    /// Begins a step for a channel.
    fn start(&mut self, name: Arc<str>, step: Step, now: Instant) {
        let repair = self.next_repair(now);
        let apart = self.config.lease + self.config.grace;
        let (Some(channel), Some(end)) = (self.channels.get_mut(&name), self.lease.limit()) else { return };
        if step == Step::Visit && channel.roster.is_kept() && channel.roster.secret.is_empty() {
            channel.roster.secret = (self.draw)().to_string().into();
        }
        let batch = (step == Step::Visit).then(|| {
            self.stamps += 1;
            (self.random.u16(..).to_be_bytes(), self.stamps)
        });
        let terms = Terms {
            id: self.lease.id.clone(),
            end,
            may_reap: self.lease.may_reap(self.config.lease, now),
            strangers: self.lease.sharded.then(|| self.strangers.ripe(apart, now)),
            batch,
        };
        let job = start::job(channel, step, terms);
        channel.begin(step, now, self.config.batch, repair);
        self.stepping += 1;
        if matches!(step, Step::State | Step::Visit) {
            self.tell(News::Stating);
        }
        self.effects.push(Effect::Run(Job::Step(name.clone(), Box::new(job))));
        self.look_at(name, now);
    }

    /// Audits this node's list in the store: a store that went back to older data may again have a share that this
    /// node has taken out since, and no other node would notice.
    fn audit_if_due(&mut self, now: Instant) {
        if self.may_step() && !self.closing && now >= self.audit {
            self.audit = self.next_repair(now);
            self.effects.push(Effect::Run(Job::Audit(self.lease.id.clone())));
        }
    }

    /// Scrubs the next page of the store's keys. Not in a cluster, where one look cannot tell who is dead.
    fn scrub_if_due(&mut self, now: Instant) {
        let may = self.may_step() && !self.closing && !self.lease.sharded;
        let may = may && self.lease.may_reap(self.config.lease, now);
        if may && !self.scrub.under_way && now >= self.scrub.next {
            (self.scrub.under_way, self.scrub.next) = (true, self.next_repair(now));
            self.effects.push(Effect::Run(Job::Scrub(self.scrub.cursor.clone(), self.lease.id.clone())));
        }
    }

    fn may_beat(&self) -> bool {
        self.up && !self.beat.under_way && !self.leaving
    }

    fn may_look(&self) -> bool {
        self.may_step() && !self.closing && !self.look.under_way
    }

    fn beat_if_due(&mut self, now: Instant) {
        if !self.may_beat() || now < self.beat.next {
            return;
        }
        self.beat.under_way = true;
        self.beat.next = now + self.config.heartbeat;
        let (id, take) = (self.lease.id.clone(), self.lease.end.is_none());
        self.effects.push(Effect::Run(Job::Beat { id, take }));
    }

    fn look_if_due(&mut self, now: Instant) {
        if !self.may_look() || now < self.look.next {
            return;
        }
        let names = self.look.turn(&self.channels, now);
        if !names.is_empty() {
            self.effects.push(Effect::Run(Job::Look(names)));
        }
    }

    /// When closing: gives the lease back once nothing is left to withdraw.
    fn leave_if_done(&mut self) {
        if !self.closing || self.leaving {
            return;
        }
        if !self.up {
            // The store is out of reach; the other nodes withdraw everything once the lease has ended.
            self.leaving = true;
            self.effects.push(Effect::End);
            return;
        }
        if !self.schedule.is_withdrawn() || self.beat.under_way {
            return;
        }
        self.leaving = true;
        let spent = self.reapers.take_spent();
        self.effects.push(Effect::Run(Job::Leave { id: self.lease.id.clone(), spent }));
    }
}
