//! How the router handles member lists: changes go to the presence, lists to the workers.

use std::sync::Arc;

use bytes::Bytes;

use super::Delivery;
use super::router::{Addressed, Router, get};
use crate::backplane::Ticket;
use crate::presence::Listing;

/// Handles an acknowledged list subscription: every change of the list arrives from now on.
pub(super) fn subscribed(router: &Router, name: &str, ticket: Ticket) -> Option<Addressed> {
    router.registry.with(|inner| {
        let (_, entry) = get(inner, name)?;
        // Another ticket means an older subscription: the channel was left and joined again meanwhile.
        if entry.list_ticket == Some(ticket) {
            entry.presence.as_ref()?.listed();
        }
        None
    })
}

/// Passes on a published change of a list. The presence detects whether others are missing.
pub(super) fn changed(router: &Router, name: &str, message: Bytes) -> Option<Addressed> {
    router.registry.with(|inner| {
        let (_, entry) = get(inner, name)?;
        entry.presence.as_ref().filter(|_| entry.lists)?.news(message);
        None
    })
}

/// Handles the list of a channel's members. The first one makes the channel live if its count is known,
/// too.
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
