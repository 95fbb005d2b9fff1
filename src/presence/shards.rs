//! What is different in a cluster: one shard has the leases, others have the counts, and each may be away
//! while the rest goes on.

use std::sync::Arc;
use std::time::Instant;

use super::channel::{Reading, Value};
use super::effect::{Effect, StepJob};
use super::lease::NodeId;
use super::state::State;

impl State {
    /// The keys are spread over several servers.
    pub fn over_shards(mut self) -> Self {
        self.lease.sharded = true;
        self
    }

    /// The shard that has the leases is another, or has a new connection. It may have lost everything: nobody is
    /// reaped for a lease, and that this node's own lease is gone would be no surprise.
    pub fn leases_moved(&mut self, now: Instant) {
        (self.lease.watching, self.lease.proven, self.beat.next) = (now, false, now);
        self.strangers.begin_anew();
    }

    /// Whether a connection that comes up finds this node with a lease: other shards than that of the leases do
    /// not wait for it.
    pub(super) fn keeps_lease(&self) -> bool {
        self.lease.sharded && self.lease.end.is_some()
    }

    /// The ids that are dead if a step finds them missing once more.
    pub(super) fn ripe_strangers(&self, now: Instant) -> Option<Vec<NodeId>> {
        let apart = self.config.lease + self.config.grace;
        self.lease.sharded.then(|| self.strangers.ripe(apart, now))
    }

    /// Takes in what a step has seen of ids that have a share.
    pub(super) fn saw(&mut self, job: &StepJob, now: Instant) {
        if self.lease.sharded {
            self.strangers.saw(&job.seen, now);
        }
    }

    /// The shard of a channel is away, or refuses. The channel is left alone for a while, and its clients are told.
    pub(super) fn shard_away(&mut self, name: &Arc<str>, now: Instant) {
        if !self.lease.sharded {
            return;
        }
        let jitter = self.random.f64();
        if let Some(channel) = self.channels.get_mut(name) {
            channel.refused(now, jitter, false);
            let heard = channel.heard;
            self.effects.push(Effect::Value(name.clone(), Value { heard, reading: Reading::Away }));
        }
    }
}
