//! What the router does with the lists of who is on a channel: changes to the presence, lists to the workers.

use std::sync::Arc;

use bytes::Bytes;

use super::Delivery;
use super::router::{Addressed, Router, get};
use crate::backplane::Ticket;
use crate::presence::Listing;

/// Every change of a list arrives from now on.
pub(super) fn subscribed(router: &Router, name: &str, ticket: Ticket) -> Option<Addressed> {
    router.registry.with(|inner| {
        let (_, entry) = get(inner, name)?;
        // The channel was left and joined again meanwhile: that subscription is not this one.
        if entry.list_ticket == Some(ticket) {
            entry.presence.as_ref()?.listed();
        }
        None
    })
}

/// Something was published about a list. Which news are missing, the presence knows.
pub(super) fn changed(router: &Router, name: &str, message: Bytes) -> Option<Addressed> {
    router.registry.with(|inner| {
        let (_, entry) = get(inner, name)?;
        entry.presence.as_ref().filter(|_| entry.lists)?.news(message);
        None
    })
}

/// Who is on a channel. The first list makes it live, once its count is known, too.
pub(super) fn listed(router: &Router, name: &Arc<str>, list: Listing) -> Vec<Addressed> {
    router.registry.with(|inner| {
        let Some((channel, entry)) = get(inner, name).filter(|(_, entry)| entry.lists) else { return Vec::new() };
        entry.list = list.clone();
        let shards = entry.shards;
        let mut out = vec![(shards, Delivery::Members { channel: channel.clone(), list })];
        if !entry.live && entry.subscribed && entry.counted {
            (entry.live, entry.missed) = (true, false);
            out.push((shards, Delivery::Live { channel, value: entry.value.clone(), gap: false }));
        }
        out
    })
}
