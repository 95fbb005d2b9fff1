//! Subscriptions.

use crate::store::error::{CommandError, Outcome};
use crate::store::pubsub::{Kind, Slot};
use crate::store::reply::Reply;
use crate::store::resp::Args;
use crate::store::server::Server;
use crate::store::server::client::name_cost;
use crate::store::small_bytes::SmallBytes;

/// Channels, patterns or shard channels that one client may listen to.
const MOST_NAMES: usize = 1 << 20;

fn join(server: &mut Server, slot: Slot, args: &Args, out: &mut Reply, kind: Kind, word: &str) -> Outcome {
    let Some(client) = server.clients.get_mut(slot) else {
        return Ok(());
    };
    for name in &args[1..] {
        if client.names(kind).len() >= MOST_NAMES && !client.names(kind).contains(*name) {
            return Err(CommandError::new("ERR a client may not listen to so many names"));
        }
        if client.names(kind).insert(SmallBytes::new(name)) {
            client.names_bytes += name_cost(name);
            server.data.pubsub.subscribe(kind, name, slot);
        }
        acknowledge(out, word, Some(name), client.subscriptions(kind));
    }
    Ok(())
}

fn leave(server: &mut Server, slot: Slot, args: &Args, out: &mut Reply, kind: Kind, word: &str) -> Outcome {
    let Some(client) = server.clients.get_mut(slot) else {
        return Ok(());
    };
    let names: Vec<SmallBytes> = match &args[1..] {
        [] => client.names(kind).iter().cloned().collect(),
        names => names.iter().map(|name| SmallBytes::new(name)).collect(),
    };
    for name in &names {
        if client.names(kind).swap_remove(name) {
            client.names_bytes = client.names_bytes.saturating_sub(name_cost(name));
            server.data.pubsub.unsubscribe(kind, name, slot);
        }
        acknowledge(out, word, Some(name), client.subscriptions(kind));
    }
    if names.is_empty() {
        acknowledge(out, word, None, client.subscriptions(kind));
    }
    Ok(())
}

fn acknowledge(out: &mut Reply, word: &str, name: Option<&[u8]>, count: usize) {
    out.push(3);
    out.bulk(word.as_bytes());
    out.bulk_or_null(name);
    out.len(count);
}

pub fn subscribe(server: &mut Server, slot: Slot, args: &Args, out: &mut Reply) -> Outcome {
    join(server, slot, args, out, Kind::Channel, "subscribe")
}

pub fn psubscribe(server: &mut Server, slot: Slot, args: &Args, out: &mut Reply) -> Outcome {
    join(server, slot, args, out, Kind::Pattern, "psubscribe")
}

pub fn ssubscribe(server: &mut Server, slot: Slot, args: &Args, out: &mut Reply) -> Outcome {
    join(server, slot, args, out, Kind::Shard, "ssubscribe")
}

pub fn unsubscribe(server: &mut Server, slot: Slot, args: &Args, out: &mut Reply) -> Outcome {
    leave(server, slot, args, out, Kind::Channel, "unsubscribe")
}

pub fn punsubscribe(server: &mut Server, slot: Slot, args: &Args, out: &mut Reply) -> Outcome {
    leave(server, slot, args, out, Kind::Pattern, "punsubscribe")
}

pub fn sunsubscribe(server: &mut Server, slot: Slot, args: &Args, out: &mut Reply) -> Outcome {
    leave(server, slot, args, out, Kind::Shard, "sunsubscribe")
}
