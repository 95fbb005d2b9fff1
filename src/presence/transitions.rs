//! What becomes of a job's outcome: the other half of the task, which the loop calls.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::channel::{Presence, Reading, Value};
use super::channel_state::Step;
use super::lease::NodeId;
use super::reap::reap;
use super::scripts::{HeartbeatReply, ScriptReply};
use super::task::Task;
use crate::backplane::Error;

/// How long a channel whose statement was refused waits before it is stated again.
const REFUSED: Duration = Duration::from_secs(1);

/// What a job came back with.
pub(super) enum Outcome {
    Beat { id: NodeId, taken: bool, result: Result<HeartbeatReply, Error> },
    Step { name: Arc<str>, done: Done, result: Result<ScriptReply, Error> },
    Reap { id: NodeId, result: Result<usize, Error> },
    Left,
}

/// The step that a job carried out, with what it was begun with.
pub(super) struct Done {
    pub step: Step,
    pub id: NodeId,
    pub number: u64,
    pub olds: Vec<NodeId>,
    pub heard: u64,
}

impl Task {
    pub(super) fn settle(&mut self, outcome: Outcome) {
        match outcome {
            Outcome::Beat { id, taken, result } => self.beaten(&id, taken, result),
            Outcome::Step { name, done, result } => {
                self.stepping -= 1;
                self.stepped(&name, done, result);
                self.look_at(name);
            }
            Outcome::Reap { id, result } => {
                self.reaping.remove(&id);
                match result {
                    Ok(channels) => {
                        self.metrics.reaped.inc();
                        tracing::info!(
                            node = id.as_str(),
                            channels,
                            "withdrew the tallies of a node whose lease ended"
                        );
                    }
                    Err(error) => {
                        tracing::debug!(node = id.as_str(), %error, "could not withdraw a dead node's tallies yet")
                    }
                }
            }
            Outcome::Left => {}
        }
    }

    fn beaten(&mut self, id: &NodeId, taken: bool, result: Result<HeartbeatReply, Error>) {
        self.beating = false;
        if *id != self.lease.id {
            return;
        }
        match result {
            Ok(HeartbeatReply::Held(end, dead)) => {
                if !self.lease.held {
                    tracing::debug!(node = id.as_str(), "the lease is held");
                }
                (self.lease.end, self.lease.held) = (Some(end), true);
                if std::mem::take(&mut self.beat_refused) {
                    self.presence.refused(false);
                    tracing::info!("the store allows the heartbeat again");
                }
                if taken {
                    self.look_at_all();
                }
                self.reap(dead);
            }
            Ok(HeartbeatReply::Gone) => {
                self.metrics.lease_lost.inc();
                // After an outage, which was told, that is to be expected.
                if self.lease.held {
                    tracing::warn!(
                        node = id.as_str(),
                        "this node's lease had ended; stating everything under a new id"
                    );
                }
                self.rotate();
            }
            Err(Error::Refused(why) | Error::Key(why) | Error::Reply(why)) => {
                self.metrics.refused.inc();
                if !std::mem::replace(&mut self.beat_refused, true) {
                    self.presence.refused(true);
                    tracing::error!(why, "the store refuses the heartbeat: nothing is counted until it allows it");
                }
            }
            // Whether the store took it is not known; an id is taken once only.
            Err(_) if taken => self.lease.id = NodeId::draw(),
            Err(error) => tracing::debug!(%error, "no heartbeat"),
        }
    }

    /// Gives up the id: everything is stated anew under another, which takes the old one's out.
    fn rotate(&mut self) {
        let old = self.lease.renew_id();
        let now = Instant::now();
        self.next_beat = now;
        for entry in self.entries.values_mut() {
            entry.rotate(&old, now);
        }
    }

    fn reap(&mut self, dead: Vec<NodeId>) {
        if !self.lease.may_reap(self.config.lease) {
            return;
        }
        for id in dead {
            if id == self.lease.id || !self.reaping.insert(id.clone()) {
                continue;
            }
            let (scripts, rules) = (self.scripts.clone(), self.rules.clone());
            self.jobs.spawn(async move { Outcome::Reap { result: reap(scripts, rules, id.clone()).await, id } });
        }
    }

    fn stepped(&mut self, name: &Arc<str>, done: Done, result: Result<ScriptReply, Error>) {
        let Some(entry) = self.entries.get_mut(name) else { return };
        entry.busy = false;
        let current = done.id == self.lease.id;
        if !current && done.step == Step::State && !entry.olds.contains(&done.id) {
            // It was under way while the id changed: it may have arrived under the old one.
            entry.olds.push(done.id.clone());
        }
        let answer = match result {
            // A key that holds something else was not set up by us.
            Ok(_) | Err(Error::Key(_) | Error::Reply(_)) if done.step == Step::Unset => {
                entry.unset = false;
                return;
            }
            Ok(answer) => answer,
            Err(Error::Key(why) | Error::Reply(why)) => return self.refused(name, done.step, &why),
            // The store's matter, and no channel's: nobody is sent away, and it is tried again.
            Err(Error::Refused(why)) => {
                tracing::debug!(channel = &**name, step = ?done.step, why, "the store refuses; trying again");
                self.metrics.refused.inc();
                entry.unread |= done.step == Step::Read;
                entry.rest_until(Instant::now() + REFUSED);
                return;
            }
            // The link's change says it once for all; what is not confirmed is stated again.
            Err(Error::Down | Error::Lost(_)) => {
                entry.unread |= done.step == Step::Read;
                return;
            }
        };
        match (done.step, &answer) {
            (Step::State, ScriptReply::Total { .. }) if current => {
                entry.stated = Some(done.number);
                entry.listed |= done.number > 0;
                entry.olds.retain(|old| !done.olds.contains(old));
            }
            (Step::State, ScriptReply::Late) => {
                self.next_beat = Instant::now();
                return;
            }
            (Step::State, ScriptReply::Foreign) => {
                // Nothing was stated; it is only listed, and comes off the list when it is left.
                (entry.stated, entry.listed) = (Some(0), entry.listed || done.number > 0);
                return self.refused(name, done.step, "the key exists and is not a count of ours");
            }
            (Step::Read, ScriptReply::Foreign) if !entry.standing => {
                return self.refused(name, done.step, "the key exists and is not a count of ours");
            }
            (Step::Unlist, _) => {
                entry.listed &= !current;
                return;
            }
            _ => {}
        }
        match answer {
            ScriptReply::Total { total, changed } => {
                if changed {
                    self.metrics.repaired.inc();
                    tracing::warn!(channel = &**name, total, "repaired a total that the tallies did not bear out");
                }
                if std::mem::take(&mut entry.refused) {
                    tracing::info!(channel = &**name, total, "the channel is counted again");
                }
                hand_on(&self.presence, name, done.heard, Reading::Total(total));
            }
            // A pattern's channel is refused when it is stated or read; a repair must not outrun that.
            ScriptReply::Foreign if !entry.standing => {}
            ScriptReply::Foreign => hand_on(&self.presence, name, done.heard, Reading::Unknown),
            ScriptReply::Late => {}
        }
    }

    /// A key that holds something else than our total: say so once, and go on with the rest.
    fn refused(&mut self, name: &Arc<str>, step: Step, why: &str) {
        let Some(entry) = self.entries.get_mut(name) else { return };
        self.metrics.refused.inc();
        entry.put_off(Instant::now() + REFUSED, step == Step::State);
        if !std::mem::replace(&mut entry.refused, true) {
            tracing::error!(
                channel = &**name,
                why,
                "the channel cannot be counted: free its key, or name another channel"
            );
        }
        let foreign = [Step::State, Step::Read].contains(&step) && !entry.standing;
        let reading = if foreign { Reading::Refused } else { Reading::Unknown };
        hand_on(&self.presence, name, entry.channel.times_heard(), reading);
    }
}

fn hand_on(presence: &Presence, name: &Arc<str>, heard: u64, reading: Reading) {
    presence.hand_on(name.clone(), Value { heard, reading });
}
