//! What the state asks of the world: jobs to do, values to hand on, news to report.

use std::sync::Arc;

use super::channel::{Heartbeat, Value};
use super::lease::NodeId;
use super::member::Listing;
use super::script_reply::{HeartbeatReply, ScriptReply};
use super::step::Step;
use super::strangers::Sighting;
use super::visitors::{Batch, Confirmed};
use crate::backplane::Error;
use crate::config::channels::MembersRule;

/// Something for the task, or for a simulation, to do.
#[derive(Debug)]
pub enum Effect {
    /// Run this job alongside the loop, and bring back its outcome.
    Run(Job),
    /// Hand on what the store says of a channel.
    Value(Arc<str>, Value),
    /// Hand on who is on a channel.
    Members(Arc<str>, Listing),
    /// Hand on how the store answered the heartbeat.
    Heartbeat(Heartbeat),
    /// Log and count this news.
    Tell(News),
    /// End the task: everything is withdrawn.
    End,
}

/// Work that needs the store.
#[derive(Debug, Clone)]
pub enum Job {
    /// Renew the lease, or take one.
    Beat {
        /// The id that the lease is for.
        id: NodeId,
        /// Whether to take a new lease.
        take: bool,
    },
    /// One step for one channel.
    Step(Arc<str>, Box<StepJob>),
    /// Take channels off the list of this id.
    Unlist(NodeId, Vec<Arc<str>>),
    /// Withdraw everything that a node stated before its lease ended.
    Reap(NodeId),
    /// Sweep dying numbers out of a channel; the flag says whether the config names it exactly. Numbers of these ids
    /// are swept at once: the ids are this node's own, and all of its visitors are stated.
    Sweep(Arc<str>, bool, Vec<NodeId>),
    /// Find out which of these channels have lost their total.
    Look(Vec<Arc<str>>),
    /// Read which channels are on this node's list in the store.
    Audit(NodeId),
    /// Search the page of the store's keys at this cursor for what dead nodes have left. The id is this node's own.
    Scrub(String, NodeId),
    /// Give this node's lease back.
    Leave {
        /// Its id, under which nothing is left.
        id: NodeId,
        /// Its earlier ids, under which something may be left.
        spent: Vec<NodeId>,
    },
}

/// A step for a channel, and the data that it began with.
#[derive(Debug, Clone)]
pub struct StepJob {
    /// What to do.
    pub step: Step,
    /// The id under which to do it.
    pub id: NodeId,
    /// How many are here.
    pub number: u64,
    /// The share that the store last confirmed, if it is certain.
    pub share: Option<u64>,
    /// What the store last confirmed of the visitors; None if that is uncertain or there are none.
    pub visitors: Confirmed,
    /// How its members are listed, if they are.
    pub members: Option<MembersRule>,
    /// The list that the confirmed visitors are on; empty if there is none.
    pub epoch: Box<str>,
    /// The secret for handles, if a new list begins.
    pub secret: Box<str>,
    /// Who came and who left, for `Step::Visit`.
    pub batch: Option<Batch>,
    /// Older ids whose shares must be taken out.
    pub olds: Vec<NodeId>,
    /// How many integers had arrived when the step began.
    pub heard: u64,
    /// Whether the config names the channel exactly.
    pub exact: bool,
    /// Whether this node has a confirmed share on the channel.
    pub ours: bool,
    /// Whether the channel must be put into this node's list first.
    pub list: bool,
    /// The end of the lease as last confirmed.
    pub end: i64,
    /// Whether dead nodes' shares may be withdrawn.
    pub may_reap: bool,
    /// In a cluster: the ids that have been missing among the nodes for long enough to be dead. None on one server,
    /// where one look is enough.
    pub strangers: Option<Vec<NodeId>>,
    /// What the step has seen of the ids that have a share.
    pub seen: Sighting,
}

/// What a page of the store's keys contained.
#[derive(Debug)]
pub struct Scrubbed {
    /// Where the next page begins.
    pub next: String,
    /// Channels on which the store has a share of this node.
    pub shares: Vec<String>,
}

/// The outcome of a job.
#[derive(Debug)]
pub enum JobOutcome {
    /// See [`Job::Beat`].
    Beat {
        /// The id that it was for.
        id: NodeId,
        /// Whether a new lease was asked for.
        taken: bool,
        /// What the store said.
        result: Result<HeartbeatReply, Error>,
    },
    /// See [`Job::Step`].
    Step(Arc<str>, Box<StepJob>, Result<ScriptReply, Error>),
    /// See [`Job::Unlist`].
    Unlist(NodeId, Vec<Arc<str>>, Result<(), Error>),
    /// See [`Job::Reap`]; with the number of channels that the node had.
    Reap(NodeId, Result<usize, Error>),
    /// See [`Job::Sweep`].
    Swept(Arc<str>, Result<(), Error>),
    /// See [`Job::Look`]; with the channels that have lost their total.
    Look(Result<Vec<Arc<str>>, Error>),
    /// See [`Job::Audit`].
    Audit(NodeId, Result<Vec<String>, Error>),
    /// See [`Job::Scrub`].
    Scrubbed(Result<Scrubbed, Error>),
    /// See [`Job::Leave`].
    Left(Result<(), Error>),
}

/// What an operator may want to know, reported once per change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum News {
    /// A statement is on its way.
    Stating,
    /// The lease is held.
    Held(NodeId),
    /// This node's lease had ended.
    Gone {
        /// The id that is spent.
        id: NodeId,
        /// Whether it was to be expected, after an outage or a refusal that was already reported.
        expected: bool,
    },
    /// The store answered with an error that concerns no single key.
    Refused,
    /// The store's ACL does not let this node count on a channel; with the store's error.
    Denied(Arc<str>, String),
    /// A channel's key cannot hold a count; with the reason.
    Unusable(Arc<str>, String),
    /// A channel can be counted again; with its total.
    Usable(Arc<str>, i64),
    /// A total was changed because it did not match the shares.
    Repaired(Arc<str>, i64),
    /// The store had lost this node's share of a channel; it is stated again.
    ShareLost(Arc<str>),
    /// Some of our own keys of a channel were damaged and have been repaired; with the damage.
    Mended(Arc<str>, String),
    /// A dead node's shares were withdrawn; with the number of its channels.
    Reaped(NodeId, usize),
    /// Something failed and will be tried again.
    NotYet(&'static str, Error),
}
