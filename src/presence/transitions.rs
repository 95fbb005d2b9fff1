//! How the outcomes of jobs are handled: the half of the state that learns from the store.

use std::sync::Arc;
use std::time::Instant;

use super::channel::{Reading, Value};
use super::channel_state::{ChannelState, Listed};
use super::channel_visitors::Visit;
use super::effect::{Effect, JobOutcome, News, Scrubbed, StepJob};
use super::lease::NodeId;
use super::script_reply::{HeartbeatReply, ScriptReply};
use super::state::PresenceState;
use super::step::Step;
use super::{leftovers, schedule};
use crate::backplane::Error;

/// How an ACL's refusal reads. The error code alone does not identify the refusal of a command inside a script.
const DENIED: [&str; 3] = ["NOPERM", "ACL failure", "The user executing the script can't"];
/// Why the key of a channel under a pattern is left alone.
const FOREIGN: &str = "the key exists and is not a count of ours";

impl PresenceState {
    /// Applies the outcome of a job.
    pub fn apply(&mut self, outcome: JobOutcome, now: Instant) {
        match outcome {
            JobOutcome::Beat { id, taken, result } => self.beaten(&id, taken, result, now),
            JobOutcome::Step(name, job, result) => {
                self.end_step(&job.id);
                self.stepped(&name, &job, result, now);
                self.look_at(name, now);
            }
            JobOutcome::Unlist(id, names, result) => {
                self.end_step(&id);
                for name in names {
                    self.unlisted(&name, &id, &result, now);
                    self.look_at(name, now);
                }
            }
            JobOutcome::Reap(id, result) => {
                let own = self.reapers.reaped(&id, result.is_err());
                match result {
                    Ok(_) if own => {}
                    Ok(channels) => self.tell(News::Reaped(id, channels)),
                    Err(error) => self.tell(News::NotYet("a dead node's shares are not withdrawn yet", error)),
                }
            }
            JobOutcome::Swept(name, result) => {
                self.reapers.swept(&name);
                if let Err(error) = result {
                    self.tell(News::NotYet("dead nodes' visitors are not swept out yet", error));
                }
            }
            JobOutcome::Look(result) => {
                self.look.under_way = false;
                for name in result.unwrap_or_default() {
                    if let Some(channel) = self.channels.get_mut(&name).filter(|channel| channel.has_total()) {
                        channel.repair_now(now);
                        self.look_at(name, now);
                    }
                }
            }
            JobOutcome::Audit(id, result) => {
                if id == self.lease.id {
                    self.audited(result.unwrap_or_default(), now);
                }
            }
            JobOutcome::Scrubbed(result) => self.scrubbed(result, now),
            JobOutcome::Left(result) => {
                if let Err(error) = result {
                    self.tell(News::NotYet("the lease is not given back; it ends by itself", error));
                }
                self.effects.push(Effect::End);
            }
        }
    }

    fn end_step(&mut self, id: &NodeId) {
        self.stepping -= 1;
        self.reapers.step_ended(id);
    }

    fn unlisted(&mut self, name: &Arc<str>, id: &NodeId, result: &Result<(), Error>, now: Instant) {
        let current = *id == self.lease.id;
        let Some(channel) = self.channels.get_mut(name) else { return };
        channel.busy = false;
        match result {
            Ok(()) if current => channel.listed = Listed::No,
            Err(Error::Refused(why)) => {
                let why = why.clone();
                self.step_refused(name, why, now);
            }
            Err(Error::Down | Error::Lost(_)) => self.shard_away(name, now),
            _ => {}
        }
        if result.is_ok() {
            self.step_allowed(name);
        }
    }

    fn beaten(&mut self, id: &NodeId, taken: bool, result: Result<HeartbeatReply, Error>, now: Instant) {
        self.beat.under_way = false;
        if *id != self.lease.id {
            return;
        }
        match result {
            Ok(HeartbeatReply::Held(end, dead, full)) => {
                let regained = !self.lease.held;
                self.lease.confirm(end, self.config.lease, now);
                if regained {
                    self.tell(News::Held(id.clone()));
                    schedule::linger_on(&mut self.channels, now).into_iter().for_each(|name| self.look_at(name, now));
                }
                // In a cluster, only one shard is full, and its channels are told.
                self.beat.accepted(full.filter(|_| !self.lease.sharded));
                self.tell_standing();
                if taken {
                    self.look_at_all(now);
                }
                if self.lease.may_reap(self.config.lease, now) {
                    let reaped = dead.into_iter().filter_map(|id| self.reapers.reap(id, &self.lease.id));
                    self.effects.extend(reaped.map(Effect::Run));
                }
                let busy = self.channels.values().flat_map(|channel| &channel.olds);
                let spent = self.reapers.strike_spent(&self.lease.id, busy);
                self.effects.extend(spent.into_iter().map(Effect::Run));
            }
            Ok(HeartbeatReply::Gone) => {
                self.tell(News::Gone { id: id.clone(), expected: !self.lease.proven });
                self.rotate(now);
            }
            Err(Error::Refused(why) | Error::Key(why) | Error::Reply(why)) => {
                // Nothing is stated until a heartbeat is accepted, so it is no news if the lease ends meanwhile.
                (self.lease.held, self.lease.proven) = (false, false);
                self.beat.refused(why, self.config.heartbeat, self.random.f64(), now);
                self.tell(News::Refused);
                self.tell_standing();
            }
            // It is unknown whether the store took the id, and an id may be taken only once.
            Err(Error::Down | Error::Lost(_)) if taken => {
                self.lease.id = (self.draw)();
            }
            Err(error) => self.tell(News::NotYet("no heartbeat", error)),
        }
    }

    /// Gives up the id: everything is stated anew under another one, which takes the old one's shares out.
    fn rotate(&mut self, now: Instant) {
        let id = (self.draw)();
        let old = self.lease.change_id(id, now);
        self.beat.next = now;
        for channel in self.channels.values_mut() {
            channel.rotate(&old, now);
        }
        self.reapers.give_up(old, self.stepping);
        self.look_at_all(now);
    }

    /// Reports whether the store lets this node count.
    fn tell_standing(&mut self) {
        self.effects.push(Effect::Heartbeat(self.beat.standing()));
    }

    /// In a cluster: leaves a channel alone for a while, because its shard is away or refuses, and tells its clients.
    fn shard_away(&mut self, name: &Arc<str>, now: Instant) {
        if !self.lease.sharded {
            return;
        }
        let jitter = self.random.f64();
        if let Some(channel) = self.channels.get_mut(name) {
            channel.refused(now, jitter, false);
            let heard = channel.heard;
            self.hand_on(name, heard, Reading::Away);
        }
    }

    /// In a cluster: records which shards are out of reach. Their channels are read as soon as they are back.
    pub fn shards_changed(&mut self, is_away: impl Fn(&str) -> bool, now: Instant) {
        let names: Vec<Arc<str>> = self.channels.keys().filter(|name| is_away(name)).cloned().collect();
        for name in names {
            self.with(&name, |channel| channel.unread |= channel.live);
            self.shard_away(&name, now);
            self.look_at(name, now);
        }
    }

    /// Looks at the channels on which the store says that this node has a share.
    fn audited(&mut self, names: Vec<String>, now: Instant) {
        let (every, random) = (self.config.repair, &mut self.random);
        let repair = || schedule::next_repair(every, random, now);
        for name in leftovers::take_up(&mut self.channels, names, &self.rules, now, repair) {
            self.look_at(name, now);
        }
    }

    /// Applies the result of scrubbing a page of the store's keys.
    fn scrubbed(&mut self, result: Result<Scrubbed, Error>, now: Instant) {
        self.scrub.under_way = false;
        match result {
            Ok(Scrubbed { next, shares }) => {
                self.scrub.cursor = next;
                // A share that came back just as its channel was taken off the list is in no list.
                self.audited(shares, now);
            }
            Err(error) => self.tell(News::NotYet("the store's keys are not scrubbed yet", error)),
        }
    }

    /// Starts sweeping dead nodes' visitors out of a channel.
    fn sweep(&mut self, name: &Arc<str>) {
        let job = self.reapers.sweep(name, self.rules.stands(name), &self.lease.id);
        self.effects.extend(job.map(Effect::Run));
    }

    /// Records that the store refused a step. That is the store's problem and not the channel's, so nobody is sent
    /// away, and the step is tried again. If an ACL denies a single channel, the node must stay ready all the same:
    /// visitors choose what they join.
    fn step_refused(&mut self, name: &Arc<str>, why: String, now: Instant) {
        let jitter = self.random.f64();
        let Some(channel) = self.channels.get_mut(name) else { return };
        let denied = DENIED.iter().any(|words| why.contains(words));
        // In a cluster, only one shard refuses, and the others go on.
        let sharded = self.lease.sharded;
        if channel.refused(now, jitter, !denied && !sharded) {
            self.beat.refusing += 1;
        }
        if denied {
            // Without a subscription, the denial has already been reported for the node as a whole.
            let told = if self.subscribed { News::Denied(name.clone(), why) } else { News::Refused };
            return self.tell(told);
        }
        self.tell(News::Refused);
        if sharded {
            return self.shard_away(name, now);
        }
        self.beat.refusal = why;
        self.tell_standing();
    }

    /// Records that the store has answered a step.
    fn step_allowed(&mut self, name: &Arc<str>) {
        if self.channels.get_mut(name).is_some_and(ChannelState::answered) {
            self.beat.refusing -= 1;
            self.tell_standing();
        }
    }

    fn stepped(&mut self, name: &Arc<str>, job: &StepJob, result: Result<ScriptReply, Error>, now: Instant) {
        let current = job.id == self.lease.id;
        if self.lease.sharded {
            self.strangers.saw(&job.seen, now);
        }
        let Some(channel) = self.channels.get_mut(name) else { return };
        channel.busy = false;
        let reply = match result {
            Err(Error::Down | Error::Lost(_)) => {
                channel.in_doubt(job, false, now);
                // The link's change is reported once for all channels; unconfirmed statements are repeated.
                channel.unread |= job.step == Step::Read;
                return self.shard_away(name, now);
            }
            Err(Error::Refused(why)) => {
                channel.in_doubt(job, true, now);
                channel.unread |= job.step == Step::Read;
                return self.step_refused(name, why, now);
            }
            Err(Error::Key(why) | Error::Reply(why)) => {
                channel.in_doubt(job, true, now);
                Err(why)
            }
            Ok(reply) => Ok(reply),
        };
        self.step_allowed(name);
        match (job.step, reply) {
            // A key that holds something else was not set up by headcount.
            (Step::Unset, _) => self.with(name, |channel| channel.unset = false),
            // Channels are taken off the list together; see `unlisted`.
            (Step::Unlist, _) => {}
            (_, Ok(reply)) => self.answered(name, job, reply, current, now),
            (_, Err(why)) => {
                self.with(name, |channel| channel.try_again(now));
                self.unusable(name, why, Reading::Unknown);
            }
        }
    }

    fn answered(&mut self, name: &Arc<str>, job: &StepJob, reply: ScriptReply, current: bool, now: Instant) {
        let Some(channel) = self.channels.get_mut(name) else { return };
        let visit = channel.visited(job, &reply);
        let reply = match reply {
            ScriptReply::Visited { reply, .. } => *reply,
            reply => reply,
        };
        let (done, damage) = match &reply {
            ScriptReply::Total { damage, .. } | ScriptReply::Unusable { damage, .. } => (true, damage.clone()),
            _ => (false, String::new()),
        };
        if done && current {
            channel.confirmed(job);
        }
        if !damage.is_empty() {
            self.tell(News::Mended(name.clone(), damage));
        }
        match visit {
            Visit::Nothing => {}
            Visit::Lost => self.tell(News::ShareLost(name.clone())),
            Visit::Sweep => self.sweep(name),
        }
        match reply {
            ScriptReply::Members(roll) => self.with(name, |channel| {
                channel.roster.read(&roll, now);
                channel.compare_lists(now);
            }),
            ScriptReply::Total { total, changed, dying, list, .. } => {
                if job.step == Step::Repair {
                    self.with(name, |channel| channel.roster.found(list));
                }
                if job.step == Step::Repair && changed {
                    self.tell(News::Repaired(name.clone(), total));
                }
                if job.step == Step::Repair && dying {
                    self.sweep(name);
                }
                self.usable(name, total);
                self.hand_on(name, job.heard, Reading::Total(total));
            }
            ScriptReply::Unusable { why, .. } => {
                self.with(name, |channel| channel.try_again(now));
                self.unusable(name, why, Reading::Unknown);
            }
            ScriptReply::Gone if current => {
                self.tell(News::Gone { id: job.id.clone(), expected: !self.lease.proven });
                self.rotate(now);
            }
            ScriptReply::Gone => {}
            ScriptReply::Late => {
                // Nothing more can be stated until a heartbeat has shown what became of the lease.
                (self.lease.held, self.beat.next) = (false, now);
            }
            // See [`ChannelState::visited`].
            ScriptReply::Lost | ScriptReply::Taken if job.step == Step::Visit => {}
            ScriptReply::Taken | ScriptReply::Visited { .. } | ScriptReply::Strangers => {}
            ScriptReply::Lost if current => {
                self.with(name, ChannelState::lost);
                self.tell(News::ShareLost(name.clone()));
            }
            ScriptReply::Lost => {}
            ScriptReply::Foreign => self.foreign(name, job, now),
        }
    }

    /// Handles a key that is somebody else's. Nobody is sent away from a channel that is named exactly, nor from one
    /// on which this node has a share. A repair leaves it to the next statement or reading to report this.
    fn foreign(&mut self, name: &Arc<str>, job: &StepJob, now: Instant) {
        let Some(channel) = self.channels.get_mut(name) else { return };
        let ours = channel.ours || channel.standing;
        if job.step == Step::Repair && !ours {
            return;
        }
        channel.try_again(now);
        if matches!(job.step, Step::State | Step::Visit) {
            // Nothing was stated, and there is no share. At most the channel is listed, until it is left.
            channel.stated = Some(0);
            channel.olds.clear();
            channel.listed = if job.list { Listed::Yes } else { channel.listed };
        }
        self.unusable(name, FOREIGN.to_owned(), if ours { Reading::Unknown } else { Reading::Refused });
    }

    /// Handles a key that does not hold our total: reports it once, and hands the reading on.
    fn unusable(&mut self, name: &Arc<str>, why: String, reading: Reading) {
        let Some(channel) = self.channels.get_mut(name) else { return };
        let heard = channel.heard;
        if !std::mem::replace(&mut channel.unusable, true) {
            self.tell(News::Unusable(name.clone(), why));
        }
        self.hand_on(name, heard, reading);
    }

    fn usable(&mut self, name: &Arc<str>, total: i64) {
        let Some(channel) = self.channels.get_mut(name) else { return };
        if std::mem::take(&mut channel.unusable) {
            self.tell(News::Usable(name.clone(), total));
        }
    }

    fn hand_on(&mut self, name: &Arc<str>, heard: u64, reading: Reading) {
        self.effects.push(Effect::Value(name.clone(), Value { heard, reading }));
    }

    fn with(&mut self, name: &Arc<str>, change: impl FnOnce(&mut ChannelState)) {
        if let Some(channel) = self.channels.get_mut(name) {
            change(channel);
        }
    }
}
