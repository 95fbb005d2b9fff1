//! Subscriptions and messages.

use crate::store::args::is;
use crate::store::data::Data;
use crate::store::error::{CommandError, Outcome};
use crate::store::glob;
use crate::store::pubsub::{Kind, Slot};
use crate::store::reply::Reply;
use crate::store::resp::Args;
use crate::store::server::Server;
use crate::store::small_bytes::SmallBytes;

/// Channels, patterns or shard channels that one client may listen to.
const MOST_NAMES: usize = 1 << 20;

pub fn publish(data: &mut Data, args: &Args, out: &mut Reply) -> Outcome {
    out.len(data.pubsub.publish(args[1], args[2], Kind::Channel)?);
    Ok(())
}

pub fn spublish(data: &mut Data, args: &Args, out: &mut Reply) -> Outcome {
    out.len(data.pubsub.publish(args[1], args[2], Kind::Shard)?);
    Ok(())
}

pub fn introspect(data: &mut Data, args: &Args, out: &mut Reply) -> Outcome {
    let kind = if args[1].len() > 5 && is(&args[1][..5], "SHARD") { Kind::Shard } else { Kind::Channel };
    match args {
        [_, what, pattern @ ..] if (is(what, "CHANNELS") || is(what, "SHARDCHANNELS")) && pattern.len() < 2 => {
            let found: Vec<&[u8]> = data
                .pubsub
                .active(kind)
                .filter(|name| pattern.first().is_none_or(|pattern| glob::matches(pattern, name)))
                .collect();
            out.bulks(found.into_iter());
        }
        [_, what, names @ ..] if is(what, "NUMSUB") || is(what, "SHARDNUMSUB") => {
            out.array(names.len() * 2);
            for name in names {
                out.bulk(name);
                out.len(data.pubsub.subscribers(kind, name));
            }
        }
        [_, what] if is(what, "NUMPAT") => out.len(data.pubsub.count(Kind::Pattern)),
        _ => return Err(super::unknown_subcommand("PUBSUB", args)),
    }
    Ok(())
}

fn join(server: &mut Server, slot: Slot, args: &Args, out: &mut Reply, kind: Kind, word: &str) -> Outcome {
    let Some(client) = server.clients.get_mut(slot) else {
        return Ok(());
    };
    for name in &args[1..] {
        if client.names(kind).len() >= MOST_NAMES && !client.names(kind).contains(*name) {
            return Err(CommandError::new("ERR a client may not listen to so many names"));
        }
        if client.names(kind).insert(SmallBytes::new(name)) {
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
        if client.names(kind).remove(name) {
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
