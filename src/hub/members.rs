//! Who is on a channel, as the clients of one worker are told: the whole list once, then what changed.
//!
//! A joiner gets the list as it was last pushed, and every push is the difference to the one before, so one
//! frame serves all. A socket that was behind gets the whole list.

use std::time::Instant;

use super::send_queue::QueuedFrame;
use super::shard::Shard;
use super::wire;
use crate::presence::Listing;

/// Takes in who is on a channel, and tells its clients as soon as the pace allows.
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
        // Nobody was told anything yet.
        list.advance(name, now);
        channel.greeting = None;
        return;
    }
    if let Some(frame) = channel.members_due(now, interval) {
        return shard.push(index, frame, QueuedFrame::Members);
    }
    shard.wait(index);
}

/// No list of this channel's members is kept any more.
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
