//! Withdraws what dead nodes had stated.
//!
//! A lease that has ended is never renewed, so withdrawing is final. Several nodes may do it at
//! once, and one that dies midway is followed by another: each step changes nothing when repeated.

use std::sync::Arc;

use super::lease::NodeId;
use super::scripts::Scripts;
use crate::backplane::Error;
use crate::config::Rules;

/// Withdraws every tally of `id`, channel by channel, then strikes it from the nodes.
pub async fn reap(scripts: Scripts, rules: Arc<Rules>, id: NodeId) -> Result<usize, Error> {
    let channels = scripts.listed(&id).await?;
    for channel in &channels {
        let exact = rules.stands(channel);
        match scripts.repair(channel, exact, std::slice::from_ref(&id)).await {
            // A key that holds something else keeps no tally of ours from being withdrawn.
            Ok(_) => {}
            Err(error) if error.is_of_one_key() => {}
            Err(error) => return Err(error),
        }
    }
    scripts.strike(&id).await?;
    Ok(channels.len())
}
