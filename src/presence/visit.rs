//! What the presence asks of the store about visitors.

use super::effect::StepJob;
use super::lease::NodeId;
use super::owner::is_dying;
use super::scripts::{ScriptReply, Scripts, Store, decimal, flag};
use super::visitors::Batch;
use crate::backplane::Error;

/// The longest that one batch may keep the store busy, in milliseconds. What is left of it is another batch.
const BUDGET: &[u8] = b"2";
/// Visitors that one step of a sweep looks at.
const PAGE: &[u8] = b"500";

impl<S: Store> Scripts<S> {
    /// States a batch of visitors, and takes over what the node's older ids had.
    pub async fn visit(&self, channel: &str, job: &StepJob, batch: &Batch) -> Result<ScriptReply, Error> {
        let (from, to, end) = (decimal(batch.from), decimal(batch.to), decimal(job.end));
        let olds = decimal(job.olds.len());
        let changes: Vec<[u8; 17]> = batch
            .changes
            .iter()
            .map(|change| {
                let mut text = [if change.here { b'+' } else { b'-' }; 17];
                text[1..].copy_from_slice(&change.visitor.0);
                text
            })
            .collect();
        let mut arguments: Vec<&[u8]> = vec![job.id.as_bytes(), &batch.number, &from, &to, &end];
        arguments.extend([flag(job.exact), flag(job.ours), BUDGET, &olds]);
        arguments.extend(job.olds.iter().map(NodeId::as_bytes));
        arguments.extend(changes.iter().map(<[u8; 17]>::as_slice));
        let reply = self.ask(&self.sources.visit, channel, &arguments).await?;
        let [count, done] = reply.more.each_ref().map(|number| number.parse().ok());
        match (reply.known(), count, done) {
            (Some(known @ (ScriptReply::Total { .. } | ScriptReply::Unusable { .. })), Some(count), Some(done)) => {
                Ok(ScriptReply::Visited { reply: Box::new(known), count, done })
            }
            (Some(known), ..) => Ok(known),
            (None, ..) => Err(Error::Reply(reply.word)),
        }
    }

    /// Takes every dying number out of the people of a channel, page by page, and frees it.
    pub async fn sweep(&self, channel: &str, exact: bool) -> Result<(), Error> {
        let owners = self.pairs(self.keys.owner(channel).as_bytes()).await?;
        for (number, entry) in owners.iter().filter(|(_, entry)| is_dying(entry)) {
            let mut cursor = "0".to_owned();
            loop {
                let arguments = [number, entry, cursor.as_bytes(), PAGE, flag(exact)];
                let [next, _] = self.ask(&self.sources.sweep, channel, &arguments).await?.more;
                if next.is_empty() || next == "0" {
                    break;
                }
                cursor = next;
            }
        }
        Ok(())
    }
}
