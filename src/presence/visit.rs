//! The presence's requests to the store about visitors.

use super::digits::Digits;
use super::effect::StepJob;
use super::lease::NodeId;
use super::member::Profile;
use super::owner::{dying_of, is_dying};
use super::script_reply::ScriptReply;
use super::scripts::{Scripts, Store, bounds, entered, flag};
use super::visitors::{Batch, PAGE};
use crate::backplane::Error;
use crate::config::channels::MembersRule;

/// The longest that one batch may keep the store busy, in milliseconds. The rest goes into another batch.
const BUDGET: &[u8] = b"2";

impl<S: Store> Scripts<S> {
    /// States a batch of visitors, and takes over what the node's older ids had. `list`: does the work of
    /// [`Self::list`] in the same step, on one server.
    pub async fn visit(&self, channel: &str, job: &StepJob, batch: &Batch, list: bool) -> Result<ScriptReply, Error> {
        let (from, to, end) = (Digits::of(batch.from), Digits::of(batch.to), Digits::of(job.end));
        let olds = Digits::of(job.olds.len());
        let changes: Vec<Vec<u8>> = batch
            .changes
            .iter()
            .map(|change| match change.here {
                false => [b"-", &change.visitor.0[..]].concat(),
                true => {
                    // Another node may list members even if this one does not.
                    let profile = change.profile.as_deref().filter(|_| job.members.is_some());
                    [b"+", &change.visitor.0[..], Profile::entry(profile).as_bytes()].concat()
                }
            })
            .collect();
        let (most, bytes) = bounds(job.members);
        let mut arguments: Vec<&[u8]> = Vec::with_capacity(15 + job.olds.len() + changes.len());
        arguments.extend([job.id.as_bytes(), &batch.number, &from, &to, &end]);
        arguments.extend([flag(job.exact), flag(job.ours), BUDGET, flag(job.members.is_some())]);
        arguments.extend([job.epoch.as_bytes(), job.secret.as_bytes(), &most, &bytes, &olds, entered(channel, list)]);
        arguments.extend(job.olds.iter().map(NodeId::as_bytes));
        arguments.extend(changes.iter().map(Vec::as_slice));
        let reply = self.listing(&self.sources.visit, channel, list.then_some(&job.id), &arguments).await?;
        let [count, done, epoch, secret] = &reply.more;
        match (reply.known(), count.parse().ok(), done.parse().ok()) {
            (Some(known @ (ScriptReply::Total { .. } | ScriptReply::Unusable { .. })), Some(count), Some(done)) => {
                let (epoch, secret) = (epoch.clone(), secret.clone());
                Ok(ScriptReply::Visited { reply: Box::new(known), count, done, epoch, secret })
            }
            (Some(known), ..) => Ok(known),
            (None, ..) => Err(Error::Reply(reply.word)),
        }
    }

    /// Takes dying numbers out of a channel's people, page by page, and frees them: numbers of the nodes in
    /// `settled`, whose visitors are stated under other numbers or gone, and numbers that have been dying for long.
    pub async fn sweep(
        &self,
        channel: &str,
        exact: bool,
        members: Option<MembersRule>,
        settled: &[NodeId],
    ) -> Result<(), Error> {
        let (page, (most, bytes)) = (Digits::of(PAGE), bounds(members));
        let owners = self.pairs(self.keys.owner(channel).as_bytes()).await?;
        for (number, entry) in owners.iter().filter(|(_, entry)| is_dying(entry)) {
            let settled = flag(dying_of(entry).is_some_and(|node| settled.contains(&node)));
            let mut cursor = "0".to_owned();
            loop {
                let arguments = [number, entry, cursor.as_bytes(), &page, flag(exact), &most, &bytes, settled];
                let [next, ..] = self.ask(&self.sources.sweep, channel, &arguments).await?.more;
                if next.is_empty() || next == "0" {
                    break;
                }
                cursor = next;
            }
        }
        Ok(())
    }
}
