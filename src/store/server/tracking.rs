//! Sends invalidations to clients that cache what they read.
//!
//! As in Redis, other clients are notified at once, the client that ran the command after its reply, and clients
//! that track prefixes at the end of the round. A client that speaks RESP3 is notified by a push; any other can
//! redirect its invalidations to another connection, which subscribes to them.

use std::collections::BTreeMap;

use super::client::Client;
use super::delivery::Own;
use super::tracks::Mode;
use super::{StoreServer, UNREAD};
use crate::store::pubsub::ClientSlot;
use crate::store::reply::Reply;
use crate::store::small_bytes::SmallBytes;
use crate::store::tracking::{Broadcast, ClientId, Notice};

/// The channel on which clients that do not speak RESP3 get invalidations.
const CHANNEL: &[u8] = b"__redis__:invalidate";

/// Remembers the keys that the client's next command reads, if its tracking mode asks for that.
pub fn begin(server: &mut StoreServer, slot: ClientSlot) {
    if server.trackers.is_empty() {
        return;
    }
    let Some(client) = server.clients.get(slot) else { return };
    let remembers = client.tracks.as_ref().is_some_and(|tracks| tracks.remembers());
    server.data.keys.tracking.reader = remembers.then_some(client.id);
    server.data.keys.tracking.writer = Some(client.id);
}

/// Clears the effect of `CLIENT CACHING`, which lasts for one command or transaction.
pub fn end(client: &mut Client, command: &str) {
    if let Some(tracks) = &mut client.tracks
        && client.transaction.is_none()
        && command != "client"
    {
        tracks.caching = false;
    }
}

/// Stops tracking keys for a client.
pub fn stop(server: &mut StoreServer, slot: ClientSlot) {
    let Some(client) = server.clients.get_mut(slot) else { return };
    let Some(tracks) = client.tracks.take() else { return };
    for prefix in &tracks.prefixes {
        client.names_bytes = client.names_bytes.saturating_sub(super::client::name_cost(prefix));
        server.data.keys.tracking.unsubscribe(prefix, client.id);
    }
    server.trackers.remove(&client.id);
    server.data.keys.tracking.count(false);
}

/// Sends the invalidations that the last command or expiry has caused. Returns those that the command's own client
/// must get after the reply.
pub fn deliver(server: &mut StoreServer, mut own: Option<Own<'_>>) -> Vec<u8> {
    server.data.keys.tracking.reader = None;
    server.data.keys.tracking.writer = None;
    let mut later = Vec::new();
    for notice in server.data.keys.tracking.take_notices() {
        let (keys, ids, writer) = match notice {
            Notice::Key(key, ids, writer) => (Some(array([&*key].into_iter())), ids, writer),
            Notice::Lost(ids) => (None, ids, None),
            Notice::Flushed => (None, server.trackers.keys().copied().collect(), None),
        };
        let flushed = keys.is_none();
        for id in ids {
            let Some(&slot) = server.trackers.get(&id) else { continue };
            let tracks = server.clients.get(slot).and_then(|client| client.tracks.as_ref());
            let Some(tracks) = tracks else { continue };
            // Skip what a client read before it used BCAST and, with NOLOOP, what it wrote itself.
            if !flushed && (tracks.mode == Mode::Broadcast || tracks.no_loop && writer == Some(id)) {
                continue;
            }
            tell(server, slot, keys.as_deref(), &mut own, &mut later);
        }
    }
    later
}

/// Notifies clients that track prefixes which keys with those prefixes have changed in this round.
pub fn broadcast(server: &mut StoreServer) {
    for Broadcast { clients, keys } in server.data.keys.tracking.take_broadcasts() {
        let all = keys.as_ref().map(|keys| array(keys.keys().map(|key| &**key)));
        for id in clients {
            let Some(&slot) = server.trackers.get(&id) else { continue };
            let tracks = server.clients.get(slot).and_then(|client| client.tracks.as_ref());
            let others = match &keys {
                Some(keys) if tracks.is_some_and(|tracks| tracks.no_loop) => Some(written_by_others(keys, id)),
                _ => None,
            };
            match others {
                Some(None) => {}
                Some(Some(others)) => tell(server, slot, Some(&others), &mut None, &mut Vec::new()),
                None => tell(server, slot, all.as_deref(), &mut None, &mut Vec::new()),
            }
        }
    }
}

/// Encodes the keys that other clients changed, if there are any.
fn written_by_others(keys: &BTreeMap<SmallBytes, Option<ClientId>>, client: ClientId) -> Option<Vec<u8>> {
    let others: Vec<&[u8]> =
        keys.iter().filter(|(_, writer)| **writer != Some(client)).map(|(key, _)| &**key).collect();
    (!others.is_empty()).then(|| array(others.into_iter()))
}

fn array<'a>(keys: impl Iterator<Item = &'a [u8]>) -> Vec<u8> {
    let keys: Vec<&[u8]> = keys.collect();
    let mut reply = Reply::default();
    reply.bulks(keys.into_iter());
    reply.buf
}

/// Notifies one tracking client, or the client that it redirects to. If `keys` is `None`, everything may have
/// changed.
fn tell(
    server: &mut StoreServer,
    slot: ClientSlot,
    keys: Option<&[u8]>,
    own: &mut Option<Own<'_>>,
    later: &mut Vec<u8>,
) {
    let Some(client) = server.clients.get_mut(slot) else { return };
    let Some(tracks) = &mut client.tracks else { return };
    let speaks_resp3 = client.reply.resp3;
    let value = keys.unwrap_or(if speaks_resp3 { b"_\r\n" } else { b"$-1\r\n" });
    let is_own = own.as_ref().is_some_and(|own| own.slot == slot);
    let mut frame = Reply { resp3: speaks_resp3, ..Reply::default() };
    let mut target = slot;
    if let Some((id, place)) = tracks.redirect {
        match server.clients.get(place).filter(|other| other.id == id) {
            Some(other) => {
                target = place;
                frame.resp3 = other.reply.resp3;
                if !frame.resp3 && !other.is_subscriber() {
                    return;
                }
            }
            None => {
                if let Some(tracks) = server.clients.get_mut(slot).and_then(|client| client.tracks.as_mut()) {
                    tracks.broken = true;
                }
                if speaks_resp3 {
                    frame.push(2);
                    frame.bulk(b"tracking-redir-broken");
                    frame.int(id as i64);
                    send(server, slot, &frame.buf, is_own.then_some(later), own);
                }
                return;
            }
        }
    } else if !speaks_resp3 {
        return;
    }
    if frame.resp3 {
        frame.push(2);
        frame.bulk(b"invalidate");
    } else {
        frame.push(3);
        frame.bulk(b"message");
        frame.bulk(CHANNEL);
    }
    frame.buf.extend_from_slice(value);
    send(server, target, &frame.buf, is_own.then_some(later), own);
}

/// Queues a frame for a client. If that client runs the current command, invalidations of its own go after its
/// reply, and those redirected to it by other clients go before.
fn send(
    server: &mut StoreServer,
    slot: ClientSlot,
    frame: &[u8],
    later: Option<&mut Vec<u8>>,
    own: &mut Option<Own<'_>>,
) {
    if let Some(own) = own
        && own.slot == slot
    {
        match later {
            Some(later) => later.extend_from_slice(frame),
            None => own.put(frame),
        }
        return;
    }
    let limit = server.settings.max_pending_output;
    let Some(client) = server.clients.get_mut(slot) else { return };
    if client.closing {
        return;
    }
    if client.pending() == 0 {
        client.pushed = 0;
    }
    // Replies may have any size, but pushes that the client did not request are limited.
    client.pushed += frame.len();
    if client.pushed > limit {
        return server.drop_reader(slot, UNREAD, limit);
    }
    client.reply.buf.extend_from_slice(frame);
    server.schedule(slot);
    server.recount(slot);
    server.shed();
}
