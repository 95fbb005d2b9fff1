//! Everything that a node knows and decides about the count: its channels, its lease, what is due.
//!
//! In: what happened, and the time. Out: effects. There is no I/O here, no clock and no task, so a
//! simulation runs the same code as the product. What becomes of a job's outcome is in
//! `transitions`.

use std::sync::Arc;
use std::time::{Duration, Instant};

use fastrand::Rng;
use indexmap::{IndexMap, IndexSet};

use super::channel::{Change, Heartbeat};
use super::channel_state::{ChannelState, Now, Step};
use super::effect::{Effect, Job, News};
use super::lease::{Lease, NodeId};
use super::schedule::{Channels, Look, Schedule};
use super::scrub::Scrub;
use super::strangers::Strangers;
use crate::config::{self, Rules};

/// Steps for channels that may be under way at once.
const JOBS: usize = 64;
/// How much longer visitors linger who are sent to another node: the pause that most are asked to make.
const ON_THE_WAY: Duration = Duration::from_secs(1);
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
    subscribed: bool,
    staying: bool,
    pub(super) closing: bool,
    leaving: bool,
    pub(super) channels: Channels,
    schedule: Schedule,
    /// Steps under way.
    pub(super) stepping: usize,
    /// Nodes that are being reaped, and whether it is an id that this node has given up.
    pub(super) reaping: IndexMap<NodeId, bool>,
    /// Ids that this node has given up and that may still have something in the store, and how many
    /// steps are under way with each.
    pub(super) spent: IndexMap<NodeId, usize>,
    pub(super) look: Look,
    pub(super) audit: Instant,
    pub(super) scrub: Scrub,
    /// Channels that dead nodes' visitors are swept out of.
    pub(super) sweeping: IndexSet<Arc<str>>,
    /// The stamp of the last batch of visitors.
    pub(super) stamps: u64,
    /// Channels whose last step the store refused for a reason of its own.
    pub(super) refusing: usize,
    /// What it said.
    pub(super) refusal: String,
    pub(super) effects: Vec<Effect>,
}

/// The heartbeat.
pub(super) struct Beat {
    pub under_way: bool,
    pub next: Instant,
    /// How often in a row the store has refused it.
    pub refusals: u32,
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
            beat: Beat { under_way: false, next: now, refusals: 0 },
            up: false,
            subscribed: false,
            staying: false,
            closing: false,
            leaving: false,
            channels: Channels::new(),
            schedule: Schedule::default(),
            stepping: 0,
            reaping: IndexMap::new(),
            spent: IndexMap::new(),
            look: Look::new(now),
            audit: now,
            scrub: Scrub::new(now),
            sweeping: IndexSet::new(),
            stamps: 0,
            refusing: 0,
            refusal: String::new(),
            effects: Vec::new(),
        };
        state.set_up(now);
        state
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
        (self.lease.held, self.lease.proven) = (up && self.keeps_lease(), false);
        if !self.keeps_lease() {
            self.effects.push(Effect::Heartbeat(Heartbeat::Unanswered));
        }
        if up {
            self.lease.watching = now;
            self.beat.next = now;
            self.audit = now;
        }
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

    /// This node sends its clients elsewhere: visitors linger until they had the time to get there.
    pub fn stay(&mut self) {
        self.staying = true;
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
    pub fn effects(&mut self) -> Vec<Effect> {
        std::mem::take(&mut self.effects)
    }

    pub(super) fn tell(&mut self, news: News) {
        self.effects.push(Effect::Tell(news));
    }

    fn now(&self, at: Instant) -> Now {
        Now { at, subscribed: self.subscribed, closing: self.closing }
    }

    /// How long a visitor of the channel stays counted who leaves now.
    fn linger(&self, name: &str) -> Duration {
        let linger = self.rules.linger(name);
        if self.staying && !self.closing && !linger.is_zero() { linger + ON_THE_WAY } else { linger }
    }

    /// With some jitter, so that channels and nodes do not repair in step.
    pub(super) fn next_repair(&mut self, now: Instant) -> Instant {
        now + self.config.repair.mul_f64(0.75 + self.random.f64() / 4.0)
    }

    /// Sees to a channel that may have changed: queues it, has it woken later, or forgets it.
    pub(super) fn look_at(&mut self, name: Arc<str>, at: Instant) {
        let now = self.now(at);
        let Some(channel) = self.channels.get_mut(&name) else { return };
        channel.tick(at);
        self.show_members(&name, at);
        let Some(channel) = self.channels.get_mut(&name) else { return };
        self.schedule.consider(&name, channel, now);
        if channel.done() {
            if channel.answered() {
                self.refusing -= 1;
            }
            self.channels.swap_remove(&name);
            self.shrink();
        }
    }

    pub(super) fn look_at_all(&mut self, now: Instant) {
        let names: Vec<_> = self.channels.keys().cloned().collect();
        for name in names {
            self.look_at(name, now);
        }
    }

    /// Gives back the memory of channels that are gone.
    fn shrink(&mut self) {
        let (taken, places) = (self.channels.len(), self.channels.capacity());
        if places > crate::memory::SMALL && taken < places / 4 {
            self.channels.shrink_to(taken * 2);
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
        // Those that are being reaped, too: that ends with the task.
        let mut spent: Vec<NodeId> = self.spent.drain(..).map(|(id, _)| id).collect();
        spent.extend(self.reaping.iter().filter(|(_, own)| **own).map(|(id, _)| id.clone()));
        self.effects.push(Effect::Run(Job::Leave { id: self.lease.id.clone(), spent }));
    }
}
