//! Subscribing to channels, patterns and shard channels, and unsubscribing from them.
//!
//! One command may name hundreds of thousands of channels. It is carried out in turns, and other clients have
//! theirs in between; the client's next command waits until all turns are done.

use crate::store::error::{CommandError, Outcome};
use crate::store::pubsub::{ClientSlot, SubscriptionKind};
use crate::store::reply::Reply;
use crate::store::resp::Args;
use crate::store::server::StoreServer;
use crate::store::server::client::{NAMES_A_TURN, Rest, What, name_cost};
use crate::store::small_bytes::SmallBytes;

/// How many channels, patterns or shard channels one client may subscribe to.
const MOST_NAMES: usize = 1 << 20;

fn join(
    server: &mut StoreServer,
    slot: ClientSlot,
    names: &[&[u8]],
    out: &mut Reply,
    kind: SubscriptionKind,
) -> Outcome {
    let Some(client) = server.clients.get_mut(slot) else {
        return Ok(());
    };
    for name in names {
        if client.names(kind).len() >= MOST_NAMES && !client.names(kind).contains(*name) {
            return Err(CommandError::new("ERR a client may not listen to so many names"));
        }
        if client.names(kind).insert(SmallBytes::new(name)) {
            client.names_bytes += name_cost(name);
            server.data.pubsub.subscribe(kind, name, slot);
        }
        acknowledge(out, kind, true, Some(name), client.subscriptions(kind));
    }
    Ok(())
}

fn leave(server: &mut StoreServer, slot: ClientSlot, names: &[&[u8]], out: &mut Reply, kind: SubscriptionKind) {
    let Some(client) = server.clients.get_mut(slot) else {
        return;
    };
    for name in names {
        if client.names(kind).swap_remove(*name) {
            client.names_bytes = client.names_bytes.saturating_sub(name_cost(name));
            server.data.pubsub.unsubscribe(kind, name, slot);
        }
        acknowledge(out, kind, false, Some(name), client.subscriptions(kind));
    }
}

/// Unsubscribes from one turn's share of all names of a kind. Returns whether there are more.
fn leave_some(server: &mut StoreServer, slot: ClientSlot, out: &mut Reply, kind: SubscriptionKind) -> bool {
    let Some(client) = server.clients.get_mut(slot) else {
        return false;
    };
    let names: Vec<SmallBytes> = client.names(kind).iter().take(NAMES_A_TURN).cloned().collect();
    let names: Vec<&[u8]> = names.iter().map(|name| &**name).collect();
    leave(server, slot, &names, out, kind);
    server.clients.get_mut(slot).is_some_and(|client| !client.names(kind).is_empty())
}

fn acknowledge(out: &mut Reply, kind: SubscriptionKind, joined: bool, name: Option<&[u8]>, count: usize) {
    let word = match (kind, joined) {
        (SubscriptionKind::Channel, true) => "subscribe",
        (SubscriptionKind::Channel, false) => "unsubscribe",
        (SubscriptionKind::Pattern, true) => "psubscribe",
        (SubscriptionKind::Pattern, false) => "punsubscribe",
        (SubscriptionKind::Shard, true) => "ssubscribe",
        (SubscriptionKind::Shard, false) => "sunsubscribe",
    };
    out.push(3);
    out.bulk(word.as_bytes());
    out.bulk_or_null(name);
    out.len(count);
}

fn begin(
    server: &mut StoreServer,
    slot: ClientSlot,
    args: &Args,
    out: &mut Reply,
    kind: SubscriptionKind,
    joins: bool,
) -> Outcome {
    let (now, later) = args[1..].split_at(NAMES_A_TURN.min(args.len() - 1));
    let what = match (joins, now) {
        (true, _) => {
            join(server, slot, now, out, kind)?;
            What::Join
        }
        (false, []) => {
            let Some(client) = server.clients.get_mut(slot) else { return Ok(()) };
            if client.names(kind).is_empty() {
                acknowledge(out, kind, false, None, client.subscriptions(kind));
            } else if leave_some(server, slot, out, kind) {
                put_off(server, slot, Rest::new(kind, What::LeaveAll, &[]));
            }
            return Ok(());
        }
        (false, _) => {
            leave(server, slot, now, out, kind);
            What::Leave
        }
    };
    if !later.is_empty() {
        put_off(server, slot, Rest::new(kind, what, later));
    }
    Ok(())
}

fn put_off(server: &mut StoreServer, slot: ClientSlot, rest: Rest) {
    if let Some(client) = server.clients.get_mut(slot) {
        client.rest = Some(Box::new(rest));
        server.resumed.push(slot);
    }
}

/// Continues the unfinished command of a client. Returns whether there is more to do.
pub fn go_on(server: &mut StoreServer, slot: ClientSlot, out: &mut Reply) -> bool {
    let Some(mut rest) = server.clients.get_mut(slot).and_then(|client| client.rest.take()) else {
        return false;
    };
    let names = rest.take();
    let names: Vec<&[u8]> = names.iter().map(|name| &**name).collect();
    let more = match rest.what {
        What::LeaveAll => leave_some(server, slot, out, rest.kind),
        What::Leave => {
            leave(server, slot, &names, out, rest.kind);
            !rest.is_empty()
        }
        What::Join => match join(server, slot, &names, out, rest.kind) {
            Ok(()) => !rest.is_empty(),
            Err(CommandError::Error(text)) => {
                out.error(&text);
                server.data.calls.error(&text);
                false
            }
            Err(CommandError::Block(_)) => false,
        },
    };
    if more && let Some(client) = server.clients.get_mut(slot) {
        client.rest = Some(rest);
    }
    more
}

pub fn subscribe(server: &mut StoreServer, slot: ClientSlot, args: &Args, out: &mut Reply) -> Outcome {
    begin(server, slot, args, out, SubscriptionKind::Channel, true)
}

pub fn psubscribe(server: &mut StoreServer, slot: ClientSlot, args: &Args, out: &mut Reply) -> Outcome {
    begin(server, slot, args, out, SubscriptionKind::Pattern, true)
}

pub fn ssubscribe(server: &mut StoreServer, slot: ClientSlot, args: &Args, out: &mut Reply) -> Outcome {
    begin(server, slot, args, out, SubscriptionKind::Shard, true)
}

pub fn unsubscribe(server: &mut StoreServer, slot: ClientSlot, args: &Args, out: &mut Reply) -> Outcome {
    begin(server, slot, args, out, SubscriptionKind::Channel, false)
}

pub fn punsubscribe(server: &mut StoreServer, slot: ClientSlot, args: &Args, out: &mut Reply) -> Outcome {
    begin(server, slot, args, out, SubscriptionKind::Pattern, false)
}

pub fn sunsubscribe(server: &mut StoreServer, slot: ClientSlot, args: &Args, out: &mut Reply) -> Outcome {
    begin(server, slot, args, out, SubscriptionKind::Shard, false)
}
