//! The task that keeps the store in step with what is here: one loop, no locks, no waiting in it.
//!
//! What takes time runs as a job beside the loop, a bounded number at once and one a channel, and
//! comes back as an outcome (see [`super::transitions`]). The loop alone holds the state.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

use super::channel::Presence;
use super::channel_state::{ChannelState, Now, Step};
use super::lease::{Lease, NodeId};
use super::scripts::{ScriptReply, Scripts};
use super::transitions::{Done, Outcome};
use crate::backplane::{Error, Link};
use crate::config::{self, Rules};
use crate::memory;
use crate::metrics::Metrics;

/// Steps for channels that may be under way at once.
const JOBS: usize = 64;

pub struct Task {
    pub(super) presence: Presence,
    pub(super) config: config::Presence,
    pub(super) rules: Arc<Rules>,
    pub(super) scripts: Scripts,
    pub(super) metrics: Metrics,
    pub(super) link: watch::Receiver<Link>,
    pub(super) up: bool,
    pub(super) lease: Lease,
    pub(super) beating: bool,
    pub(super) beat_refused: bool,
    pub(super) next_beat: Instant,
    pub(super) entries: HashMap<Arc<str>, ChannelState>,
    pub(super) ready: VecDeque<Arc<str>>,
    pub(super) wakes: BinaryHeap<Reverse<(Instant, Arc<str>)>>,
    pub(super) jobs: JoinSet<Outcome>,
    pub(super) stepping: usize,
    pub(super) reaping: HashSet<NodeId>,
    pub(super) leaving: bool,
}

impl Task {
    pub fn new(
        presence: Presence,
        config: config::Presence,
        rules: Arc<Rules>,
        scripts: Scripts,
        metrics: Metrics,
    ) -> Self {
        let now = Instant::now();
        let mut task = Self {
            entries: HashMap::new(),
            link: scripts.link(),
            presence,
            config,
            rules,
            scripts,
            metrics,
            up: false,
            lease: Lease::new(),
            beating: false,
            beat_refused: false,
            next_beat: now,
            ready: VecDeque::new(),
            wakes: BinaryHeap::new(),
            jobs: JoinSet::new(),
            stepping: 0,
            reaping: HashSet::new(),
            leaving: false,
        };
        task.set_up();
        task
    }

    /// Begins to keep the channels that exist without anybody here.
    fn set_up(&mut self) {
        let now = Instant::now();
        for name in self.rules.standing() {
            let name: Arc<str> = name.into();
            self.entries
                .entry(name.clone())
                .or_insert_with(|| ChannelState::new(self.presence.channel(name), true, now, self.config.repair));
        }
    }

    /// Other rules are in effect.
    fn configure(&mut self, rules: Arc<Rules>) {
        for (name, entry) in &mut self.entries {
            entry.stand(rules.stands(name));
        }
        self.rules = rules;
        self.set_up();
        self.look_at_all();
    }

    /// Runs until the presence was closed and what it had stated is withdrawn.
    pub async fn run(mut self) {
        self.link.mark_changed();
        let presence = self.presence.clone();
        let mut live = presence.subscribed();
        loop {
            let wake = self.next_wake();
            tokio::select! {
                () = presence.work() => {}
                Some(outcome) = self.jobs.join_next() => {
                    // A job that panicked has said so; its channel is stated again by a repair.
                    if let Ok(outcome) = outcome {
                        self.take_in_changes();
                        if let Outcome::Left = outcome {
                            return;
                        }
                        self.settle(outcome);
                    }
                }
                changed = self.link.changed() => match changed {
                    Ok(()) => self.link_changed(),
                    Err(_) => return,
                },
                () = sleep_until(wake) => {}
            }
            if live != presence.subscribed() {
                live = !live;
                if !live {
                    self.entries.values_mut().for_each(ChannelState::unsubscribed);
                }
                self.look_at_all();
            }
            if let Some(rules) = presence.new_rules() {
                self.configure(rules);
            }
            self.take_in_changes();
            if presence.closing() && !self.leaving {
                self.look_at_all();
            }
            self.wake_up();
            self.beat_if_due();
            self.start_ready();
            if self.close_if_done() {
                return;
            }
        }
    }

    fn next_wake(&self) -> Instant {
        let beat = if self.up && !self.beating { self.next_beat } else { Instant::now() + self.config.heartbeat };
        self.wakes.peek().map_or(beat, |Reverse((at, _))| beat.min(*at))
    }

    fn now(&self) -> Now {
        Now { at: Instant::now(), subscribed: self.presence.subscribed(), closing: self.presence.closing() }
    }

    /// Takes in what happened to the handles since the last look.
    fn take_in_changes(&mut self) {
        let now = Instant::now();
        for channel in self.presence.changed() {
            let flags = channel.take_flags();
            let name = channel.name().clone();
            let entry = self.entries.entry(name.clone()).or_insert_with(|| {
                ChannelState::new(channel.clone(), self.rules.stands(&name), now, self.config.repair)
            });
            if !Arc::ptr_eq(&entry.channel, &channel) {
                // A channel that was left and joined again has a new handle; the old one is at 0.
                entry.channel = channel;
            }
            entry.note(flags, now, self.config.quiet);
            self.look_at(name);
        }
    }

    /// Queues a channel that has something to do, or sets its wake-up.
    pub(super) fn look_at(&mut self, name: Arc<str>) {
        let now = self.now();
        let Some(entry) = self.entries.get_mut(&name) else { return };
        if entry.done() {
            self.entries.remove(&name);
            memory::shrink(&mut self.entries);
            return;
        }
        if entry.queued || entry.busy {
            return;
        }
        if now.closing && entry.step(now).is_none() {
            return;
        }
        if entry.step(now).is_some() {
            entry.queued = true;
            self.ready.push_back(name);
            return;
        }
        let next = entry.next(now.at).max(now.at + Duration::from_millis(1));
        if entry.wake.is_none_or(|wake| next < wake) {
            entry.wake = Some(next);
            self.wakes.push(Reverse((next, name)));
        }
    }

    pub(super) fn look_at_all(&mut self) {
        let names: Vec<_> = self.entries.keys().cloned().collect();
        for name in names {
            self.look_at(name);
        }
    }

    fn wake_up(&mut self) {
        let now = Instant::now();
        while let Some(Reverse((at, name))) = self.wakes.peek().filter(|Reverse((at, _))| *at <= now).cloned() {
            self.wakes.pop();
            if let Some(entry) = self.entries.get_mut(&name).filter(|entry| entry.wake == Some(at)) {
                entry.wake = None;
                self.look_at(name);
            }
        }
    }

    /// Starts what is ready, as far as there are places. Without a lease nothing can be stated.
    fn start_ready(&mut self) {
        if !self.up || !self.lease.held {
            return;
        }
        let now = self.now();
        while self.stepping < JOBS {
            let Some(name) = self.ready.pop_front() else { return };
            let Some(entry) = self.entries.get_mut(&name) else { continue };
            entry.queued = false;
            match entry.step(now) {
                Some(step) => self.start(name, step),
                None => self.look_at(name),
            }
        }
    }

    fn start(&mut self, name: Arc<str>, step: Step) {
        let (Some(entry), Some(end)) = (self.entries.get_mut(&name), self.lease.end) else { return };
        entry.begin(step, Instant::now(), self.config.batch, self.config.repair);
        let done = Done {
            step,
            id: self.lease.id.clone(),
            number: entry.channel.here(),
            olds: entry.olds.clone(),
            heard: entry.channel.times_heard(),
        };
        if step == Step::State {
            self.metrics.statements.inc();
            // Until it is confirmed, nobody knows what stands in the store.
            entry.stated = None;
        }
        let (exact, list) = (entry.standing, !entry.listed && done.number > 0);
        let may_reap = self.lease.may_reap(self.config.lease);
        let scripts = self.scripts.clone();
        self.stepping += 1;
        self.jobs.spawn(async move {
            let result = carry_out(&scripts, &name, exact, list, end, may_reap, &done).await;
            Outcome::Step { name, done, result }
        });
    }

    fn beat_if_due(&mut self) {
        let now = Instant::now();
        if !self.up || self.beating || now < self.next_beat || self.leaving {
            return;
        }
        self.beating = true;
        self.next_beat = now + self.config.heartbeat;
        let (scripts, id, take) = (self.scripts.clone(), self.lease.id.clone(), self.lease.end.is_none());
        let (length, grace) = (self.config.lease.as_millis() as u64, self.config.grace.as_millis() as u64);
        self.jobs.spawn(async move {
            let result = scripts.heartbeat(&id, length, grace, take).await;
            Outcome::Beat { id, taken: take, result }
        });
    }

    fn link_changed(&mut self) {
        self.up = matches!(*self.link.borrow_and_update(), Link::Up(_));
        self.lease.held = false;
        if self.up {
            self.lease.connected = Instant::now();
            self.next_beat = Instant::now();
        }
    }

    /// When closing: once nothing is left to withdraw, gives the lease back. True ends the task.
    fn close_if_done(&mut self) -> bool {
        if !self.presence.closing() || self.leaving {
            return false;
        }
        if !self.up {
            // Nobody to withdraw it from; the other nodes will, when the lease has ended.
            return true;
        }
        let left = |entry: &ChannelState| {
            entry.busy || entry.listed || (entry.unstated() && !(entry.standing && entry.channel.here() == 0))
        };
        if self.entries.values().any(left) {
            return false;
        }
        self.leaving = true;
        let (scripts, id) = (self.scripts.clone(), self.lease.id.clone());
        self.jobs.spawn(async move {
            if let Err(error) = scripts.strike(&id).await {
                tracing::debug!(%error, "could not give the lease back; it ends by itself");
            }
            Outcome::Left
        });
        false
    }
}

/// Carries out one step. What fails midway is done again from the start, which changes nothing.
async fn carry_out(
    scripts: &Scripts,
    name: &str,
    exact: bool,
    list: bool,
    end: i64,
    may_reap: bool,
    done: &Done,
) -> Result<ScriptReply, Error> {
    match done.step {
        Step::State => {
            if list {
                scripts.list(&done.id, name).await?;
            }
            scripts.state(name, exact, &done.id, done.number, end, &done.olds).await
        }
        Step::Read => scripts.read(name, exact).await,
        Step::Unset => scripts.unset(name).await.map(|()| ScriptReply::Late),
        Step::Unlist => scripts.unlist(&done.id, name).await.map(|()| ScriptReply::Late),
        Step::Repair => {
            let dead = if may_reap { scripts.strangers(name).await? } else { Vec::new() };
            scripts.repair(name, exact, &dead).await
        }
    }
}
