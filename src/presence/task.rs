//! The task that connects the state with the world: one loop, which waits only for the next event.
//!
//! Slow work runs as jobs alongside the loop, a bounded number at once and one per channel, and comes back as
//! outcomes. Only the loop holds the state, and only the state decides.

use std::future::pending;
use std::sync::Arc;
use std::time::Instant;

use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::sleep_until;

use super::channel::Presence;
use super::effect::{Effect, JobOutcome};
use super::jobs::Context;
use super::lease::NodeId;
use super::report::Report;
use super::scripts::Scripts;
use super::state::PresenceState;
use crate::backplane::topology::Away;
use crate::backplane::{Client, Link, Tenure};
use crate::config::{self, Rules};
use crate::metrics::Metrics;

/// See the module.
pub struct PresenceTask {
    presence: Presence,
    context: Context<Client>,
    link: watch::Receiver<Link>,
    /// Which shards are out of reach; None where the store is one server.
    away: Option<watch::Receiver<Away>>,
    /// The server that has the leases, and the connection to it.
    tenure: Tenure,
    state: PresenceState,
    report: Report,
    jobs: JoinSet<JobOutcome>,
}

impl PresenceTask {
    pub fn new(
        presence: Presence,
        config: config::PresenceConfig,
        rules: Arc<Rules>,
        link: watch::Receiver<Link>,
        scripts: Scripts<Client>,
        metrics: Metrics,
    ) -> Self {
        let mut state = PresenceState::new(
            config.clone(),
            rules.clone(),
            Instant::now(),
            fastrand::u64(..),
            Box::new(NodeId::draw),
        );
        if scripts.sharded {
            state = state.over_shards();
        }
        let away = scripts.away();
        let context = Context { scripts, config, rules };
        Self {
            presence,
            context,
            link,
            away,
            tenure: Tenure::default(),
            state,
            report: Report::new(metrics),
            jobs: JoinSet::new(),
        }
    }

    /// Runs until the presence is closed and everything that it stated is withdrawn.
    pub async fn run(mut self) {
        self.link.mark_changed();
        let presence = self.presence.clone();
        loop {
            let wake = self.state.wake(Instant::now());
            let mut outcome = None;
            tokio::select! {
                () = presence.work() => {}
                // A panic in a job has already been reported, and ends the process.
                Some(done) = self.jobs.join_next() => outcome = done.ok(),
                changed = self.link.changed() => match changed {
                    Ok(()) => {
                        let up = matches!(*self.link.borrow_and_update(), Link::Up(_));
                        self.state.link(up, Instant::now());
                    }
                    Err(_) => return,
                },
                () = changed(&mut self.away) => {
                    let scripts = &self.context.scripts;
                    self.state.shards_changed(|channel| scripts.is_away(channel), Instant::now());
                }
                () = sleep_until(wake.into()) => {}
            }
            let now = Instant::now();
            let tenure = self.context.scripts.tenure();
            if tenure != self.tenure {
                self.tenure = tenure;
                self.state.leases_moved(now);
            }
            self.take_in_changes(now);
            // All finished jobs are applied before anything new begins.
            while let Some(done) = outcome {
                self.state.apply(done, now);
                outcome = self.jobs.try_join_next().and_then(Result::ok);
            }
            self.state.advance(now);
            self.report.sum_up(now);
            if self.carry_out(now) {
                return;
            }
        }
    }

    /// Applies what happened to the handles since the last look.
    fn take_in_changes(&mut self, now: Instant) {
        self.state.subscription(self.presence.subscribed(), now);
        if let Some(rules) = self.presence.new_rules() {
            self.context.rules = rules.clone();
            self.state.configure(rules, now);
        }
        for change in self.presence.changes() {
            self.state.changed(change, now);
        }
        if self.presence.staying() {
            self.state.stay();
        }
        if self.presence.closing() {
            self.state.close(now);
        }
    }

    /// Carries out what the state asks. Returns true to end the task.
    fn carry_out(&mut self, now: Instant) -> bool {
        for effect in self.state.effects() {
            match effect {
                Effect::Run(job) => {
                    self.jobs.spawn(self.context.clone().carry_out(job));
                }
                Effect::Value(name, value) => self.presence.hand_on(name, value),
                Effect::Members(name, list) => self.presence.hand_on_list(name, list),
                Effect::Heartbeat(heartbeat) => self.presence.answered(heartbeat),
                Effect::Tell(news) => self.report.tell(news, now),
                Effect::End => return true,
            }
        }
        false
    }
}

/// Waits for a change; forever if there is nothing to watch.
async fn changed<T>(watched: &mut Option<watch::Receiver<T>>) {
    let Some(receiver) = watched else { return pending().await };
    if receiver.changed().await.is_err() {
        pending().await
    }
}
