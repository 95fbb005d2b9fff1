//! What the state asks of the world: jobs to be done, values to be handed on, news to be told.

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

/// Something for the shell to do.
#[derive(Debug)]
pub enum Effect {
    /// Do this beside the loop, and bring back its outcome.
    Run(Job),
    /// What the store says of a channel.
    Value(Arc<str>, Value),
    /// Who is on a channel.
    Members(Arc<str>, Listing),
    /// What the store says to the heartbeat.
    Heartbeat(Heartbeat),
    /// Log it and count it.
    Tell(News),
    /// Everything is withdrawn: the task may end.
    End,
}

/// Work that needs the store.
#[derive(Debug, Clone)]
pub enum Job {
    /// Renew the lease, or take one.
    Beat {
        /// For this id.
        id: NodeId,
        /// Whether it is a new one.
        take: bool,
    },
    /// One step for one channel.
    Step(Arc<str>, Box<StepJob>),
    /// Strike channels from the list of this id.
    Unlist(NodeId, Vec<Arc<str>>),
    /// Withdraw everything that a node has stated whose lease has ended.
    Reap(NodeId),
    /// Sweep dying numbers out of a channel that may be named exactly: at once those of these ids, which are this
    /// node's and whose visitors are all stated.
    Sweep(Arc<str>, bool, Vec<NodeId>),
    /// Look which of these channels have lost their total.
    Look(Vec<Arc<str>>),
    /// Look which channels this node's list in the store names.
    Audit(NodeId),
    /// Look at a page of the store's keys from here on, for what dead nodes have left. Not under this id.
    Scrub(String, NodeId),
    /// Give this node's lease back.
    Leave {
        /// Its id, under which nothing is left.
        id: NodeId,
        /// Ids that it gave up before, under which something may be left.
        spent: Vec<NodeId>,
    },
}

/// A step for a channel, and what it was begun with.
#[derive(Debug, Clone)]
pub struct StepJob {
    /// What to do.
    pub step: Step,
    /// Under this id.
    pub id: NodeId,
    /// How many are here.
    pub number: u64,
    /// The share that the store last confirmed, if that is certain.
    pub share: Option<u64>,
    /// What it last confirmed of the visitors; None also if there are none.
    pub visitors: Confirmed,
    /// How its members are listed, if they are.
    pub members: Option<MembersRule>,
    /// The list that the confirmed visitors are on; empty where there is none.
    pub epoch: Box<str>,
    /// What handles are made with on a list that begins.
    pub secret: Box<str>,
    /// Who came and who went, for `Step::Visit`.
    pub batch: Option<Batch>,
    /// Older ids whose shares are to be taken out.
    pub olds: Vec<NodeId>,
    /// How many integers had arrived.
    pub heard: u64,
    /// Whether the channel is named exactly.
    pub exact: bool,
    /// Whether this node has had a share on it.
    pub ours: bool,
    /// Whether the channel is to be put into this node's list first.
    pub list: bool,
    /// The end of the lease as last confirmed.
    pub end: i64,
    /// Whether dead nodes' shares may be withdrawn.
    pub may_reap: bool,
    /// In a cluster: the ids that have been missing among the nodes for long enough to be dead. None where one look is
    /// enough.
    pub strangers: Option<Vec<NodeId>>,
    /// What the step has seen of ids that have a share.
    pub seen: Sighting,
}

/// What a look at a page of the store's keys has found.
#[derive(Debug)]
pub struct Scrubbed {
    /// Where the next page begins.
    pub next: String,
    /// Channels on which the store has a share of this node.
    pub shares: Vec<String>,
}

/// What a job came back with.
#[derive(Debug)]
pub enum Outcome {
    /// See [`Job::Beat`].
    Beat {
        /// The id that it was for.
        id: NodeId,
        /// Whether it was a new one.
        taken: bool,
        /// What the store said.
        result: Result<HeartbeatReply, Error>,
    },
    /// See [`Job::Step`].
    Step(Arc<str>, Box<StepJob>, Result<ScriptReply, Error>),
    /// See [`Job::Unlist`].
    Unlist(NodeId, Vec<Arc<str>>, Result<(), Error>),
    /// See [`Job::Reap`]; how many channels the node had.
    Reap(NodeId, Result<usize, Error>),
    /// See [`Job::Sweep`].
    Swept(Arc<str>, Result<(), Error>),
    /// See [`Job::Look`]; those that have.
    Look(Result<Vec<Arc<str>>, Error>),
    /// See [`Job::Audit`].
    Audit(NodeId, Result<Vec<String>, Error>),
    /// See [`Job::Scrub`].
    Scrubbed(Result<Scrubbed, Error>),
    /// See [`Job::Leave`]
    Left(Result<(), Error>),
}

/// What an operator may want to know, once a change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum News {
    /// A statement is on its way.
    Stating,
    /// The lease is held.
    Held(NodeId),
    /// This node's lease had ended; `expected` after an outage, which was told.
    Gone {
        /// The id that is spent.
        id: NodeId,
        /// Whether the connection was new.
        expected: bool,
    },
    /// The store answered with an error that concerns no single key.
    Refused,
    /// The store's ACL does not let this node count on a channel; its error.
    Denied(Arc<str>, String),
    /// A channel's key cannot be counted in, and why.
    Unusable(Arc<str>, String),
    /// It can again; the total.
    Usable(Arc<str>, i64),
    /// A total was changed, because it did not match the shares.
    Repaired(Arc<str>, i64),
    /// The store had lost this node's share of a channel, which is stated again.
    ShareLost(Arc<str>),
    /// One of our own keys of a channel was damaged, and how; it is mended.
    Mended(Arc<str>, String),
    /// A dead node's shares of so many channels were withdrawn.
    Reaped(NodeId, usize),
    /// Something failed that will be tried again.
    NotYet(&'static str, Error),
}
