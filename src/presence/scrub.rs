//! The scrub: every server goes through headcount's own keys in the store, page by page, forever.
//!
//! What a dead node left is found by its entry among the nodes, by its list, and by any node on the same channel. If
//! one of these keys was lost or damaged as the node died, or came back with older data, nobody else knows of the
//! rest. The key names themselves show what there is, so nothing that has a key stays behind for good.

use std::time::Instant;

use redis::cmd;

use super::belief::Belief;
use super::effect::Scrubbed;
use super::jobs::Context;
use super::lease::NodeId;
use super::looks;
use super::script_reply::ScriptReply;
use super::scripts::{Scripts, Store};
use super::strangers::Sighting;
use crate::backplane::{Error, StoreKey};

/// How many of the store's keys, ours and others', one page covers.
const PAGE: &[u8] = b"500";

/// How far this node's scrub has got.
#[derive(Debug)]
pub struct Scrub {
    /// Whether a page is being looked at.
    pub under_way: bool,
    /// When the next page is due.
    pub next: Instant,
    /// Where the next page begins, as a cursor of the store.
    pub cursor: String,
}

impl Scrub {
    /// Makes the first page due at `next`.
    pub fn new(next: Instant) -> Self {
        Self { under_way: false, next, cursor: FIRST.to_owned() }
    }
}

/// The cursor with which a scan begins.
const FIRST: &str = "0";

/// What a page of keys named.
#[derive(Default)]
struct Page {
    next: String,
    /// Ids that have a list.
    ids: Vec<NodeId>,
    /// Channels that are counted.
    channels: Vec<String>,
}

/// Reads our keys on one page.
async fn page<S: Store>(scripts: &Scripts<S>, cursor: &str) -> Result<Page, Error> {
    let mut command = cmd("SCAN");
    command.arg(cursor).arg("MATCH").arg(scripts.keys.pattern()).arg("COUNT").arg(PAGE);
    let (next, names): (String, Vec<Vec<u8>>) = scripts.ask_for(command).await?;
    let mut page = Page { next, ..Page::default() };
    for name in &names {
        match scripts.keys.parse(name) {
            Some(StoreKey::Node(id)) => page.ids.push(NodeId::of(id)),
            Some(StoreKey::OfChannel(channel)) => page.channels.push(channel.to_owned()),
            None => {}
        }
    }
    page.channels.sort_unstable();
    page.channels.dedup();
    page.ids.sort_unstable();
    Ok(page)
}

impl<S: Store> Context<S> {
    /// Looks at one page: withdraws what ids that are no longer nodes have left, and repairs every channel on it.
    pub(super) async fn scrub(&self, cursor: &str, own: &NodeId) -> Result<Scrubbed, Error> {
        let Page { next, ids, channels } = page(&self.scripts, cursor).await?;
        for id in &looks::no_nodes(&self.scripts, ids, own).await? {
            go_on(self.reap(id).await)?;
        }
        let mut shares = Vec::new();
        for channel in channels {
            if go_on(self.scrub_channel(&channel, own).await)?.unwrap_or_default() {
                shares.push(channel);
            }
        }
        Ok(Scrubbed { next, shares })
    }

    /// Repairs a channel. Returns whether this node has a share there.
    async fn scrub_channel(&self, channel: &str, own: &NodeId) -> Result<bool, Error> {
        let exact = self.rules.stands(channel);
        let members = self.rules.members(channel);
        let Sighting { present, missing: dead } = looks::sight(&self.scripts, channel, own).await?;
        for id in &dead {
            self.reap(id).await?;
        }
        if let ScriptReply::Total { dying: true, .. } =
            self.scripts.repair(channel, exact, Belief::none(own), members, &dead, None).await?
        {
            self.scripts.sweep(channel, exact, members, &dead).await?;
        }
        Ok(present.contains(own))
    }
}

/// Ignores an error or a denial on one key, so that the others are still looked at: a node on that channel reports
/// it. Without a connection, the page is looked at again.
fn go_on<T>(result: Result<T, Error>) -> Result<Option<T>, Error> {
    match result {
        Err(error @ (Error::Down | Error::Lost(_))) => Err(error),
        result => Ok(result.ok()),
    }
}
