//! How a step begins: what the store is asked, given what this node knows.

use super::channel_state::{ChannelState, Listed};
use super::effect::StepJob;
use super::lease::NodeId;
use super::step::Step;
use super::strangers::Sighting;

/// What a step begins with, besides what is known of its channel.
pub struct Terms {
    /// The node's id.
    pub id: NodeId,
    /// The end of its lease as last confirmed.
    pub end: i64,
    /// Whether dead nodes' shares may be withdrawn; in a cluster, `strangers` says whose.
    pub may_reap: bool,
    /// See [`StepJob::strangers`].
    pub strangers: Option<Vec<NodeId>>,
    /// For a batch of visitors: a number to use if the node has none on the channel, and the batch's stamp.
    pub batch: Option<([u8; 2], u64)>,
}

/// Makes the job of a step for a channel that has none under way.
pub fn job(channel: &mut ChannelState, step: Step, terms: Terms) -> StepJob {
    // If it is uncertain which visitors the store has, the script gets no share and no visitors to compare.
    let (share, visitors) = match channel.confirmed_visitors() {
        Some(visitors) => (channel.stated, visitors),
        None => (None, None),
    };
    let batch = terms.batch.map(|(number, stamp)| channel.batch(number, stamp));
    StepJob {
        step,
        id: terms.id,
        number: channel.here,
        share,
        visitors,
        members: channel.roster.rule_for(step),
        epoch: channel.epoch().into(),
        secret: channel.roster.secret.clone(),
        batch,
        olds: channel.olds.clone(),
        heard: channel.heard,
        exact: channel.standing,
        ours: channel.ours,
        // A repair lists the channel again, in case the list was lost.
        list: match step {
            Step::State | Step::Visit => channel.is_anybody_here() && channel.listed != Listed::Yes,
            Step::Repair => channel.listed != Listed::No,
            Step::Read | Step::Members | Step::Unlist | Step::Unset => false,
        },
        end: terms.end,
        may_reap: terms.may_reap,
        strangers: terms.strangers,
        seen: Sighting::default(),
    }
}
