//! Everything that a node knows and decides about the count: its channels, its lease, what is due.
//!
//! In: what happened, and the time. Out: effects. There is no I/O here, no clock and no task, so a
//! simulation runs the same code as the product. What becomes of a job's outcome is in `transitions`.

use std::sync::Arc;
use std::time::{Duration, Instant};

use fastrand::Rng;

use super::beat::Beat;
use super::channel::{Change, Heartbeat};
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

/// Steps for channels that may be under way at once.
const JOBS: usize = 64;
/// How much longer visitors linger who are sent to another node: the pause that most are asked to make.
const ON_THE_WAY: Duration = Duration::from_secs(1);
/// However short leases are, a node that the store refuses, or whose key is damaged, tries again only after a while.
const LEAST_HOLD: Duration = Duration::from_secs(3);
/// Channels that come off the list at once.
const UNLISTED: usize = 512;

/// The state; see the module.
pub struct State {
    pub(super) config: config::Presence,
    pub(super) rules: Arc<Rules>,
    pub(super) random: Rng,
    pub(super) draw: Box<dyn FnMut() -> NodeId + Send>,
    pub(super) lease: Lease,
    /// In a cluster: who has a share and no lease.
    pub(super) strangers: Strangers,
    pub(super) beat: Beat,
    up: bool,
    pub(super) subscribed: bool,
    staying: bool,
    pub(super) closing: bool,
    leaving: bool,
    pub(super) channels: Channels,
    schedule: Schedule,
    /// Steps under way.
    pub(super) stepping: usize,
    pub(super) reapers: Reapers,
    pub(super) look: Look,
    audit: Instant,
    pub(super) scrub: Scrub,
    /// The stamp of the last batch of visitors.
    stamps: u64,
    pub(super) effects: Vec<Effect>,
}

impl State {
    /// A node without a connection. `seed` spreads its repairs, `draw` draws its ids.
    pub fn new(
        config: config::Presence,
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

    /// The keys are spread over several servers.
    pub fn over_shards(mut self) -> Self {
        self.lease.sharded = true;
        self
    }

    /// Begins to keep the channels that exist without anybody here.
    fn set_up(&mut self, now: Instant) {
        let names: Vec<Arc<str>> = self.rules.standing().map(Arc::from).collect();
        for name in names {
            let repair = self.next_repair(now);
            self.channels.entry(name.clone()).or_insert_with(|| ChannelState::new(true, now, repair));
            self.look_at(name, now);
        }
    }

    /// Other rules are in effect.
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

    /// The connection for commands came up or went down.
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

    /// In a cluster: the shard that has the leases is another, or has a new connection. It may have lost everything:
    /// nobody is reaped for a lease, and that this node's own lease is gone would be no surprise.
    pub fn leases_moved(&mut self, now: Instant) {
        (self.lease.watching, self.lease.proven, self.beat.next) = (now, false, now);
        self.strangers.begin_anew();
    }

    /// Messages arrive from now on, or no more.
    pub fn subscription(&mut self, up: bool, now: Instant) {
        if std::mem::replace(&mut self.subscribed, up) != up {
            if !up {
                self.channels.values_mut().for_each(ChannelState::unsubscribed);
            }
            self.look_at_all(now);
        }
    }

    /// This node sends its clients elsewhere: visitors linger until they are there. It leaves out a round of repairs.
    pub fn stay(&mut self) {
        if !std::mem::replace(&mut self.staying, true) {
            self.channels.values_mut().for_each(|channel| channel.put_off_repair(self.config.repair));
        }
    }

    /// This node leaves: nobody is here any more, and what it has stated is to be withdrawn.
    pub fn close(&mut self, now: Instant) {
        if !std::mem::replace(&mut self.closing, true) {
            for (name, channel) in &mut self.channels {
                channel.empty(now, self.rules.linger(name));
            }
            self.look_at_all(now);
        }
    }

    /// Takes in what happened to a handle.
    pub fn changed(&mut self, mut change: Change, now: Instant) {
        if self.closing {
            // Sockets that did not say goodbye end with the process.
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

    /// Begins whatever is due. To be called after everything that happened, and at [`State::wake`].
    pub fn advance(&mut self, now: Instant) {
        self.wake_up(now);
        self.beat_if_due(now);
        self.look_if_due(now);
        self.audit_if_due(now);
        self.scrub_if_due(now);
        self.start_ready(now);
        self.leave_if_done();
    }

    /// The id that this node states under.
    pub fn id(&self) -> &NodeId {
        &self.lease.id
    }

    /// When to advance at the latest.
    pub fn wake(&self, now: Instant) -> Instant {
        let idle = now + self.config.heartbeat;
        let beat = if self.may_beat() { self.beat.next } else { idle };
        let look = if self.may_look() { self.look.next } else { idle };
        self.schedule.next().map_or(beat, |at| beat.min(at)).min(look)
    }

    /// Takes what is to be done.
    pub fn effects(&mut self) -> std::vec::Drain<'_, Effect> {
        self.effects.drain(..)
    }

    pub(super) fn tell(&mut self, news: News) {
        self.effects.push(Effect::Tell(news));
    }

    fn now(&self, at: Instant) -> Now {
        Now { at, subscribed: self.subscribed, closing: self.closing, held: self.may_step() }
    }

    /// How long a visitor of the channel stays counted who leaves now.
    fn linger(&self, name: &str) -> Duration {
        let linger = self.rules.linger(name);
        if self.staying && !self.closing && !linger.is_zero() { linger + ON_THE_WAY } else { linger }
    }

    /// How long those are waited for who are missing from a list after data were lost.
    fn hold(&self) -> Duration {
        LEAST_HOLD.max(self.config.lease + self.config.grace + self.config.heartbeat)
    }

    pub(super) fn next_repair(&mut self, now: Instant) -> Instant {
        schedule::next_repair(self.config.repair, &mut self.random, now)
    }

    /// Sees to a channel that may have changed: queues it, has it woken later, or forgets it.
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

    /// Whether channels may be worked on. Without a lease nothing can be stated.
    pub(super) fn may_step(&self) -> bool {
        self.up && self.lease.held
    }

    /// Starts what is ready, as far as there are places. Channels that come off the list do so together.
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

    /// Compares its list in the store with what it knows: a store that came back with what it had a
    /// while ago may have a share that this node took out since, and nobody else would.
    fn audit_if_due(&mut self, now: Instant) {
        if self.may_step() && !self.closing && now >= self.audit {
            self.audit = self.next_repair(now);
            self.effects.push(Effect::Run(Job::Audit(self.lease.id.clone())));
        }
    }

    /// Looks at the next page of the store's keys. In a cluster, one look is not enough to tell who is dead.
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

    /// When closing: once nothing is left to withdraw, gives the leases back.
    fn leave_if_done(&mut self) {
        if !self.closing || self.leaving {
            return;
        }
        if !self.up {
            // Nobody to withdraw it from; the other nodes will, when the lease has ended.
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
