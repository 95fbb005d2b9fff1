//! What the presence looks up in the store besides its scripts: which ids are not nodes, and which totals are
//! missing.

use std::collections::BTreeMap;
use std::sync::Arc;

use redis::{Value, cmd};

use super::lease::NodeId;
use super::owner;
use super::scripts::{Scripts, Store, with};
use super::strangers::Sighting;
use crate::backplane::Error;
use crate::backplane::slots::slot;

/// The ids with a share on `channel` that are not nodes, as far as the node `own` can tell.
pub async fn strangers<S: Store>(scripts: &Scripts<S>, channel: &str, own: &NodeId) -> Result<Vec<NodeId>, Error> {
    no_nodes(scripts, sharers(scripts, channel).await?, own).await
}

/// Which ids with a share on `channel` are nodes, and which are not, as far as the node `own` can tell.
pub async fn sight<S: Store>(scripts: &Scripts<S>, channel: &str, own: &NodeId) -> Result<Sighting, Error> {
    let mut present = sharers(scripts, channel).await?;
    let missing = no_nodes(scripts, present.clone(), own).await?;
    present.retain(|id| !missing.contains(id));
    Ok(Sighting { present, missing })
}

/// The ids with a share on `channel`. Must be read before the nodes: an id is among the nodes before its first
/// statement, so an id that is then missing is dead. Damaged keys name nobody; the next node to write them repairs
/// them.
async fn sharers<S: Store>(scripts: &Scripts<S>, channel: &str) -> Result<Vec<NodeId>, Error> {
    let mut ids: Vec<Vec<u8>> = scripts.members("HKEYS", scripts.keys.tally(channel).as_bytes()).await?;
    let owners = scripts.pairs(scripts.keys.owner(channel).as_bytes()).await?;
    ids.extend(owners.iter().filter_map(|(_, entry)| Some(owner::node_of(entry)?.as_bytes().to_vec())));
    Ok(ids.iter().map(|id| NodeId::of(id)).collect())
}

/// Those of `ids` that are not among the nodes; none if nobody can tell. If the node `own` itself is missing, the
/// nodes were lost, and the missing ones are about to renew their leases.
pub(super) async fn no_nodes<S: Store>(
    scripts: &Scripts<S>,
    ids: Vec<NodeId>,
    own: &NodeId,
) -> Result<Vec<NodeId>, Error> {
    if ids.is_empty() {
        return Ok(Vec::new());
    }
    let mut command = with(cmd("ZMSCORE"), &[scripts.keys.nodes().as_bytes(), own.as_bytes()]);
    ids.iter().for_each(|id| {
        command.arg(id.as_bytes());
    });
    let ends: Vec<Option<f64>> = match scripts.ask_for(command).await {
        Err(error) if error.is_of_one_key() => return Ok(Vec::new()),
        reply => reply?,
    };
    let Some((Some(_), ends)) = ends.split_first() else { return Ok(Vec::new()) };
    Ok(ids.into_iter().zip(ends).filter(|(_, end)| end.is_none()).map(|(id, _)| id).collect())
}

/// Which of these channels have no total that is a string. In a cluster, each slot is asked separately, and slots
/// whose shard is away are left out.
pub async fn missing<S: Store>(scripts: &Scripts<S>, channels: &[Arc<str>]) -> Result<Vec<Arc<str>>, Error> {
    if !scripts.sharded {
        return missing_in_one_slot(scripts, channels).await;
    }
    let mut slots: BTreeMap<u16, Vec<Arc<str>>> = BTreeMap::new();
    for channel in channels {
        slots.entry(slot(scripts.keys.total(channel).as_bytes())).or_default().push(channel.clone());
    }
    let mut missing = Vec::new();
    for channels in slots.values() {
        match missing_in_one_slot(scripts, channels).await {
            Err(Error::Down | Error::Lost(_)) => {}
            some => missing.extend(some?),
        }
    }
    Ok(missing)
}

async fn missing_in_one_slot<S: Store>(scripts: &Scripts<S>, channels: &[Arc<str>]) -> Result<Vec<Arc<str>>, Error> {
    let mut command = cmd("MGET");
    channels.iter().for_each(|channel| {
        command.arg(scripts.keys.total(channel));
    });
    let totals: Vec<Value> = scripts.ask_for(command).await?;
    let missing = channels.iter().zip(totals).filter(|(_, total)| *total == Value::Nil);
    Ok(missing.map(|(channel, _)| channel.clone()).collect())
}
