//! The member list of a channel, as told to the clients of one worker: the whole list once, then what
//! changed.
//!
//! A joiner gets the list as it was last pushed, and every push is the difference from the one before, so
//! one frame serves all. A socket that was behind gets the whole list.

use std::time::Instant;

use super::send_queue::QueuedFrame;
use super::shard::Shard;
use super::wire;
use crate::presence::Listing;

/// Takes in a new list of a channel's members, and tells its clients as soon as the pace allows.
pub(super) fn list(shard: &mut Shard, name: &str, listing: Listing, now: Instant) {
    let (interval, most) = (shard.interval(), shard.limits.client_buffer / 2);
    let Some(&index) = shard.by_name.get(name) else { return };
    let Some(channel) = shard.channels.get_mut(index as usize) else { return };
    let list = channel.list.get_or_insert_default();
    list.offer(match listing {
        Listing::Shown(list) if list.bytes() > most => Listing::Hidden,
        listing => listing,
    });
    if !channel.live {
        // Nobody has been told anything yet.
        list.advance(name, now);
        channel.greeting = None;
        return;
    }
    if let Some(frame) = channel.members_due(now, interval) {
        return shard.push(index, frame, QueuedFrame::Members);
    }
    shard.wait(index);
}

/// Stops listing a channel's members, and tells its clients so.
pub(super) fn end_list(shard: &mut Shard, index: u32) {
    let Some(channel) = shard.channels.get_mut(index as usize) else { return };
    if channel.list.take().is_none() {
        return;
    }
    channel.greeting = None;
    let frame = wire::members(&channel.name, &Listing::Hidden);
    for id in channel.members.clone() {
        shard.send(id, frame.clone());
    }
}
