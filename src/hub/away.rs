//! What happens to channels while the store, or in a cluster their shard of it, is out of reach.

use super::router::{Addressed, Router, get};
use super::store_state::Subscription;
use super::{Delivery, NoBoard};
use crate::backplane::Ticket;

/// Handles the loss of the whole subscription: nothing arrives any more.
pub(super) fn unsubscribed(router: &mut Router, subscription: Subscription) -> Option<Addressed> {
    router.watch.subscription = subscription;
    router.presence.subscription(false);
    router.registry.with(|inner| {
        for entry in inner.channels.values_mut() {
            entry.missed |= entry.subscribed;
            (entry.subscribed, entry.live, entry.counted) = (false, false, false);
        }
    });
    None
}

/// Handles the loss of the shard that holds these channels.
pub(super) fn away(router: &Router, names: &[String], why: &str) -> Vec<Addressed> {
    tracing::warn!(store = router.store, channels = names.len(), why, "a shard of the store is out of reach");
    router.registry.with(|inner| {
        let mut told = Vec::new();
        for name in names.iter().filter_map(|name| router.keys.channel(name)) {
            let Some((channel, entry)) = get(inner, name) else { continue };
            entry.missed |= entry.subscribed;
            (entry.subscribed, entry.counted) = (false, false);
            if let Some(presence) = &entry.presence {
                presence.away();
            }
            let news = entry.degrade(&router.metrics);
            told.extend(news.then_some((entry.shards, Delivery::NoBoard { channel, why: NoBoard::Away })));
        }
        told
    })
}

/// Handles a channel whose slot has moved: it is subscribed at another shard, and messages may have been
/// missed.
pub(super) fn moved(router: &Router, name: &str, ticket: Ticket) -> Option<Addressed> {
    router.registry.with(|inner| {
        let (_, entry) = get(inner, name)?;
        entry.missed |= entry.subscribed;
        entry.live = false;
        Some(())
    })?;
    router.subscribed(name, ticket)
}
