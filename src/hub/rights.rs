//! What a client's token allows, and what happens when that changes.

use std::collections::HashSet;

use super::join_error::JoinError;
use super::known::SomebodyElse;
use super::publish_error::PublishError;
use super::publishing::check;
use super::shard::Shard;
use super::sockets::CloseReason;
use super::{SocketId, wire};
use crate::auth::Grant;

/// Replaces a client's token. On channels that it has already joined, it stays who it was.
///
/// # Errors
/// The new token's `sub` differs from the previous one's.
pub fn renew(shard: &mut Shard, id: SocketId, grant: Grant) -> Result<(), SomebodyElse> {
    let Some(socket) = shard.sockets.get_mut(id) else { return Ok(()) };
    if socket.known.get_or_insert_default().renew(grant)? {
        socket.places.iter_mut().for_each(|place| place.earlier = true);
    }
    // The token's info applies to the channels that were joined under its name.
    for place in socket.places.clone().iter().filter(|place| !place.earlier && !place.watch) {
        let Some(channel) = shard.channels.get(place.channel as usize) else { continue };
        if let Some(presence) = &channel.presence {
            presence.describe(socket.who(&channel.name, false));
        }
    }
    Ok(())
}

/// Returns what a client's token allows, if it has shown one.
pub fn grant(shard: &Shard, id: SocketId) -> Option<&Grant> {
    shard.sockets.get(id)?.known.as_ref()?.grant()
}

/// Marks for closing every client whose token has one of these names.
pub(super) fn revoke(shard: &mut Shard, names: &HashSet<Box<str>>) {
    let ids: Vec<SocketId> = shard.sockets.ids().collect();
    for id in ids {
        let known = shard.sockets.get_mut(id).and_then(|socket| socket.known.as_mut());
        let Some(known) = known.filter(|known| !known.revoked) else { continue };
        if known.grant().is_some_and(|grant| grant.names().any(|name| names.contains(&*name))) {
            known.revoked = true;
            shard.sockets.doom(id, CloseReason::Revoked);
        }
    }
}

/// Checks whether a client may publish this.
///
/// # Errors
/// [`PublishError`]
pub fn may_publish(shard: &Shard, id: SocketId, channel: &str, payload: &str) -> Result<(), PublishError> {
    check(&shard.rules, grant(shard, id), channel, payload)
}

/// Removes members whose tokens do not allow them from a channel that requires a token.
pub(super) fn expel_without_right(shard: &mut Shard, name: &str, index: u32) {
    let Some(channel) = shard.channels.get(index as usize) else { return };
    let without = |id: &SocketId| {
        let Some(socket) = shard.sockets.get(*id) else { return false };
        let place = socket.places.iter().find(|place| place.channel == index);
        place.is_some_and(|place| !socket.may_be_on(name, place.watch))
    };
    let expelled: Vec<SocketId> = channel.members.iter().copied().filter(without).collect();
    let frame = wire::error("forbidden", Some(name), &JoinError::NoToken.to_string());
    for id in expelled {
        shard.leave(id, name);
        shard.send(id, frame.clone());
    }
}
