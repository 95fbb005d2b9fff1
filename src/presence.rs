//! How many sockets or visitors are present: this node's shares, its lease, and the sum over all nodes.
//!
//! This module takes in the joins and leaves of this node's sockets and what its subscription brings, and gives out
//! statements to the store and the channels' totals as [`Value`]s. It knows neither sockets nor how a value reaches
//! them. The rule: a node states what it has, under a lease; stating it twice changes nothing, and what a dead node
//! stated is withdrawn by any node that notices. So every retry is safe, and a dead node's share does not outlast its
//! lease for long.
//!
//! [`state`] decides, without I/O, a clock or a task; [`jobs`] talks to the store, through the scripts in `lua/`;
//! `task` connects the two. A simulation replaces `task` with a world of its own.

mod atomic;
mod beat;
pub mod belief;
mod channel;
mod channel_roster;
mod channel_state;
mod channel_visitors;
mod crowd;
mod digits;
pub mod effect;
pub mod jobs;
mod lease;
mod leftovers;
mod looks;
mod mark;
mod member;
pub mod members_read;
mod owner;
mod reapers;
mod report;
pub mod roster;
pub(crate) mod roster_news;
#[cfg(test)]
mod roster_tests;
mod schedule;
pub mod script_reply;
pub mod scripts;
mod scrub;
mod sources;
mod start;
pub mod state;
mod step;
pub(crate) mod strangers;
mod task;
mod transitions;
mod visit;
mod visitor_id;
pub mod visitors;

use std::sync::Arc;

pub(crate) use channel::VisitorProfile;
pub use channel::{ChannelHandle, HandleChange, Heartbeat, Presence, Reading, Value, flag};
pub use crowd::{Crowd, Joined, Origin};
pub use lease::NodeId;
pub use member::{Listing, MemberList, Profile};
use scripts::Scripts;
use task::PresenceTask;
pub use visitor_id::VisitorId;

use crate::backplane::{Client, Keys};
use crate::config::{self, Rules};
use crate::metrics::Metrics;
pub use crate::net::household::Household;

/// Makes the handle, and the task that serves it until [`Presence::close`] is carried out.
pub fn presence(
    config: config::PresenceConfig,
    rules: Arc<Rules>,
    client: Client,
    keys: Keys,
    metrics: Metrics,
) -> (Presence, impl Future<Output = ()> + Send) {
    let handle = Presence::default();
    let link = client.link();
    let task = PresenceTask::new(handle.clone(), config, rules, link, Scripts::new(client, keys), metrics);
    (handle, task.run())
}
