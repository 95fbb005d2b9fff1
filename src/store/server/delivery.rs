//! Delivers published messages to subscribers.

use super::client::name_cost;
use super::{StoreServer, UNREAD};
use crate::store::pubsub::{ClientSlot, SubscriptionKind};
use crate::store::reply::Reply;
use crate::store::small_bytes::SmallBytes;

/// A subscriber with at most this many pending bytes is not dropped during a round, whatever its limit, because
/// the round's messages are sent only when it ends.
const KEPT_UNSENT: usize = 1 << 20;

/// The replies of the client whose command has just run, and where the last one begins.
pub struct Own<'a> {
    /// The client.
    pub slot: ClientSlot,
    /// Where the last reply begins.
    pub mark: &'a mut usize,
    /// The replies.
    pub out: &'a mut Reply,
}

impl Own<'_> {
    /// Inserts a frame before the last reply.
    pub fn put(&mut self, frame: &[u8]) {
        let at = *self.mark;
        self.out.buf.splice(at..at, frame.iter().copied());
        *self.mark += frame.len();
    }
}

/// Delivers what the last command has published. A client that published to itself gets the message before the
/// reply that `own` points to.
pub fn deliver(server: &mut StoreServer, mut own: Option<Own<'_>>) {
    server.data.pubsub.outgoing = 0;
    for message in std::mem::take(&mut server.data.pubsub.outbox) {
        let mut frames = Frames::default();
        let (channel, payload) = (&*message.channel, &*message.payload);
        let parts = [message.kind.message(), channel, payload];
        let direct: Vec<ClientSlot> = server.data.pubsub.direct(&message).collect();
        for slot in direct {
            deliver_to(server, slot, &parts, &mut frames, &mut own);
        }
        let matching: Vec<(SmallBytes, Vec<ClientSlot>)> = server
            .data
            .pubsub
            .matching(channel, message.kind)
            .map(|(pattern, slots)| (pattern.clone(), slots.iter().copied().collect()))
            .collect();
        for (pattern, slots) in matching {
            let mut frames = Frames::default();
            let parts = [SubscriptionKind::Pattern.message(), &pattern, channel, payload];
            for slot in slots {
                deliver_to(server, slot, &parts, &mut frames, &mut own);
            }
        }
    }
}

fn deliver_to(
    server: &mut StoreServer,
    slot: ClientSlot,
    parts: &[&[u8]],
    frames: &mut Frames,
    own: &mut Option<Own<'_>>,
) {
    if let Some(own) = own
        && own.slot == slot
    {
        return own.put(frames.get(own.out.resp3, parts));
    }
    let Some(client) = server.clients.get_mut(slot).filter(|client| !client.departed) else {
        return;
    };
    let (limit, frame) = (server.settings.max_pending_output, frames.get(client.reply.resp3, parts));
    if client.pending() > limit.max(KEPT_UNSENT) {
        return server.drop_reader(slot, UNREAD, limit);
    }
    client.reply.buf.extend_from_slice(frame);
    server.schedule(slot);
    server.recount(slot);
    server.shed();
}

/// Ends at most `most` subscriptions of a client; returns whether none are left.
pub fn leave_some(server: &mut StoreServer, slot: ClientSlot, most: usize) -> bool {
    let Some(client) = server.clients.get_mut(slot) else {
        return true;
    };
    let mut left = most;
    for kind in [SubscriptionKind::Channel, SubscriptionKind::Pattern, SubscriptionKind::Shard] {
        while left > 0
            && let Some(name) = client.names(kind).pop()
        {
            left -= 1;
            client.names_bytes = client.names_bytes.saturating_sub(name_cost(&name));
            server.data.pubsub.unsubscribe(kind, &name, slot);
        }
    }
    !client.is_subscriber()
}

/// A message in wire format, encoded once per protocol.
#[derive(Default)]
struct Frames {
    resp2: Option<Vec<u8>>,
    resp3: Option<Vec<u8>>,
}

impl Frames {
    fn get(&mut self, resp3: bool, parts: &[&[u8]]) -> &[u8] {
        let frame = if resp3 { &mut self.resp3 } else { &mut self.resp2 };
        frame.get_or_insert_with(|| {
            let mut reply = Reply { resp3, ..Reply::default() };
            reply.push(parts.len());
            parts.iter().for_each(|part| reply.bulk(part));
            reply.buf
        })
    }
}
