//! The work that needs the store. A job that fails midway starts over; doing things twice changes nothing.

use std::sync::Arc;
use std::time::Duration;

use super::belief::Belief;
use super::effect::{Job, JobOutcome, StepJob};
use super::lease::NodeId;
use super::script_reply::ScriptReply;
use super::scripts::{Scripts, Store, Upkeep};
use super::step::Step;
use super::{looks, members_read};
use crate::backplane::Error;
use crate::config::{self, Rules};

/// What a job knows besides its parameters.
#[derive(Clone)]
pub struct Context<S> {
    /// The way to the store.
    pub scripts: Scripts<S>,
    /// How long a lease and its grace last.
    pub config: config::PresenceConfig,
    /// Which channels are named exactly.
    pub rules: Arc<Rules>,
}

impl<S: Store> Context<S> {
    /// Carries out a job.
    pub async fn carry_out(self, job: Job) -> JobOutcome {
        match job {
            Job::Beat { id, take } => {
                let (length, grace) = (millis(self.config.lease), millis(self.config.grace));
                let result = self.scripts.heartbeat(&id, length, grace, take).await;
                JobOutcome::Beat { id, taken: take, result }
            }
            Job::Step(name, mut job) => {
                let result = self.step(&name, &mut job).await;
                JobOutcome::Step(name, job, result)
            }
            Job::Unlist(id, names) => {
                let result = self.scripts.unlist(&id, &names).await;
                JobOutcome::Unlist(id, names, result)
            }
            Job::Reap(id) => {
                let result = self.reap(&id).await;
                JobOutcome::Reap(id, result)
            }
            Job::Sweep(name, exact, settled) => {
                let result = self.scripts.sweep(&name, exact, self.rules.members(&name), &settled).await;
                JobOutcome::Swept(name, result)
            }
            Job::Look(names) => {
                let missing = looks::missing(&self.scripts, &names).await;
                JobOutcome::Look(missing)
            }
            Job::Scrub(cursor, id) => JobOutcome::Scrubbed(self.scrub(&cursor, &id).await),
            Job::Audit(id) => {
                let result = self.scripts.audit(&id).await;
                JobOutcome::Audit(id, result)
            }
            Job::Leave { id, spent } => JobOutcome::Left(self.leave(&id, &spent).await),
        }
    }

    async fn step(&self, name: &str, job: &mut StepJob) -> Result<ScriptReply, Error> {
        let scripts = &self.scripts;
        // In a cluster, the node's list and the channel may be on different servers.
        let (sharded, mut list) = (job.strangers.is_some(), job.list);
        if sharded && std::mem::take(&mut list) {
            match scripts.list(&job.id, name, job.end).await {
                // If this node dies, the share is found as that of a stranger.
                Err(Error::Down | Error::Lost(_)) => job.list = false,
                listed => {
                    if !listed? {
                        return Ok(ScriptReply::Late);
                    }
                }
            }
        }
        match job.step {
            Step::State => {
                scripts.state(name, job.exact, job.ours, &job.id, job.number, job.end, &job.olds, list).await
            }
            Step::Visit => match &job.batch {
                Some(batch) => scripts.visit(name, job, batch, list).await,
                None => Ok(ScriptReply::Late),
            },
            Step::Read => scripts.read(name, job.exact, belief(job)).await,
            Step::Members => members_read::members_of(scripts, name, job.members).await.map(ScriptReply::Members),
            Step::Unset => scripts.unset(name).await.map(|()| ScriptReply::Late),
            Step::Unlist => scripts.unlist(&job.id, &[name.into()]).await.map(|()| ScriptReply::Late),
            Step::Repair => {
                if !sharded {
                    // Everything in one step, unless the script finds an id that is not a node.
                    let upkeep = Upkeep { list: list.then_some(job.end), strangers: job.may_reap };
                    match scripts.repair(name, job.exact, belief(job), job.members, &[], Some(upkeep)).await? {
                        ScriptReply::Strangers => {}
                        reply => return Ok(reply),
                    }
                }
                let dead = if job.may_reap { self.dead(name, job).await? } else { Vec::new() };
                let reply = scripts.repair(name, job.exact, belief(job), job.members, &dead, None).await?;
                if matches!(reply, ScriptReply::Total { dying: true, .. }) && !dead.is_empty() {
                    scripts.sweep(name, job.exact, job.members, &dead).await?;
                }
                Ok(reply)
            }
        }
    }

    /// Withdraws the shares of dead nodes that have one on a channel, and returns their ids.
    async fn dead(&self, name: &str, job: &mut StepJob) -> Result<Vec<NodeId>, Error> {
        let Some(ripe) = &job.strangers else {
            return self.withdraw_strangers(name, &job.id).await;
        };
        job.seen = match looks::sight(&self.scripts, name, &job.id).await {
            // The shard that has the nodes is away, so nobody is known to be dead.
            Err(Error::Down | Error::Lost(_)) => return Ok(Vec::new()),
            seen => seen?,
        };
        let dead: Vec<NodeId> = job.seen.missing.iter().filter(|id| ripe.contains(id)).cloned().collect();
        for id in &dead {
            match self.reap(id).await {
                Err(Error::Down | Error::Lost(_)) => {}
                reaped => drop(reaped?),
            }
        }
        Ok(dead)
    }

    /// Withdraws everything of ids that have a share on a channel but are not nodes. Returns these ids.
    pub(super) async fn withdraw_strangers(&self, channel: &str, own: &NodeId) -> Result<Vec<NodeId>, Error> {
        let dead = looks::strangers(&self.scripts, channel, own).await?;
        for id in &dead {
            // The id's entry among the nodes was lost, so nobody else withdraws the rest.
            self.reap(id).await?;
        }
        Ok(dead)
    }

    /// Withdraws every share of `id`, channel by channel, then removes it from the nodes. A lease that has ended is
    /// never renewed, so this is final. Several nodes may do it at once, and if one dies midway, another takes over.
    pub(super) async fn reap(&self, id: &NodeId) -> Result<usize, Error> {
        let channels = self.scripts.listed(id).await?;
        let mut failed = None;
        for channel in &channels {
            match self.withdraw(channel, id).await {
                // In a cluster, shares on other shards are withdrawn even if one shard is away.
                Err(error @ (Error::Down | Error::Lost(_))) if !self.scripts.sharded => return Err(error),
                // A failure on one channel does not stop the others, but the id is then kept.
                Err(error) => failed = Some(error),
                Ok(()) => {}
            }
        }
        if let Some(error) = failed {
            return Err(error);
        }
        self.scripts.strike(id).await?;
        Ok(channels.len())
    }

    async fn withdraw(&self, channel: &str, id: &NodeId) -> Result<(), Error> {
        let exact = self.rules.stands(channel);
        let (members, dead) = (self.rules.members(channel), std::slice::from_ref(id));
        match self.scripts.repair(channel, exact, Belief::none(id), members, dead, None).await? {
            ScriptReply::Total { dying: false, .. } => Ok(()),
            _ => self.scripts.sweep(channel, exact, members, dead).await,
        }
    }

    /// Gives back this node's lease, once what may be left under its earlier ids is withdrawn.
    async fn leave(&self, id: &NodeId, spent: &[NodeId]) -> Result<(), Error> {
        for old in spent {
            self.reap(old).await?;
        }
        self.scripts.strike(id).await
    }
}

fn belief(job: &StepJob) -> Belief<'_> {
    Belief { id: &job.id, share: job.share, visitors: job.visitors, epoch: &job.epoch }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
