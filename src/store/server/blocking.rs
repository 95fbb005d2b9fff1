//! Clients that are blocked on keys: who waits, who is served, whose time is up.
//!
//! A blocked client keeps its command. When one of its keys gets a value of the awaited type, the command runs
//! again; if there is still nothing for the client, it keeps its turn.

use std::time::{Duration, Instant};

use super::call::note_run;
use super::client::Blocked;
use super::waiting::Awaited;
use super::{Row, StoreServer};
use crate::store::command;
use crate::store::error::{Block, CommandError};
use crate::store::pubsub::ClientSlot;
use crate::store::reply::Reply;
use crate::store::resp::{ArgList, Args};
use crate::store::small_bytes::SmallBytes;

/// The type that a key must keep while clients wait to read it for a group.
const STREAM: &str = "stream";
const STREAM_GONE: &str = "UNBLOCKED the stream key no longer exists";
const GROUP_GONE: &str = "NOGROUP the consumer group this client was blocked on no longer exists";

/// Blocks a client on keys.
pub fn block(server: &mut StoreServer, slot: ClientSlot, args: &Args, block: Block) {
    let Some(client) = server.clients.get_mut(slot) else {
        return;
    };
    let db = client.db;
    let mut block = block;
    let args = block.instead.take().unwrap_or_else(|| args.iter().map(|arg| SmallBytes::new(arg)).collect());
    let turn = server.waiting.begin(block.until, slot);
    for key in &block.keys {
        let awaited = Awaited { db, key: key.clone(), type_name: block.type_name };
        if server.waiting.join(awaited, turn, slot) {
            server.data.keys.await_key(db, key, true);
        }
    }
    client.blocked = Some(Blocked { args, block, turn });
}

/// Ends the wait of a client that was not answered by its command. The command still counts as run.
pub fn give_up(server: &mut StoreServer, slot: ClientSlot) {
    let blocked = server.clients.get(slot).and_then(|client| client.blocked.as_ref());
    let row = blocked.and_then(|blocked| (server.directory.find)(blocked.args.first()?));
    if let Some(number) = row.and_then(|row| (server.directory.number)(row, &[])) {
        server.data.calls.ran(number, Duration::ZERO, false);
    }
    unblock(server, slot);
}

/// Removes a client from all queues; its reply has been given, or never will be.
pub fn unblock(server: &mut StoreServer, slot: ClientSlot) {
    let Some(client) = server.clients.get_mut(slot) else {
        return;
    };
    let Some(blocked) = client.blocked.take() else {
        return;
    };
    let db = client.db;
    for key in blocked.block.keys {
        let awaited = Awaited { db, key, type_name: blocked.block.type_name };
        if server.waiting.leave(&awaited, blocked.turn) {
            server.data.keys.await_key(db, &awaited.key, false);
        }
    }
    server.waiting.end(blocked.block.until, slot);
    server.resumed.push(slot);
}

/// Serves the clients whose keys have changed, first come, first served.
pub fn serve_ready(server: &mut StoreServer) {
    let selected = server.data.keys.selected;
    while !server.data.keys.ready.is_empty() {
        for (db, key) in std::mem::take(&mut server.data.keys.ready) {
            server.data.keys.selected = db;
            let there = server.data.keys.contains(&key);
            let value = if there { server.data.keys.get(&key) } else { None };
            let type_name = value.map(|value| value.type_name());
            if type_name != Some(STREAM) {
                end_group_reads(server, &Awaited { db, key: key.clone(), type_name: STREAM });
            }
            if let Some(type_name) = type_name {
                serve_line(server, &Awaited { db, key, type_name });
            }
        }
    }
    server.data.keys.selected = selected;
}

/// Tells the clients that wait to read a stream for a group that the stream is gone.
fn end_group_reads(server: &mut StoreServer, awaited: &Awaited) {
    let mut last = 0;
    while let Some((turn, slot)) = server.waiting.next(awaited, last) {
        last = turn;
        if let Some(client) = server.clients.get_mut(slot)
            && client.blocked.as_ref().is_some_and(|blocked| blocked.block.needs_key)
        {
            client.reply.error(STREAM_GONE);
            server.data.calls.error(STREAM_GONE);
            give_up(server, slot);
            server.schedule(slot);
        }
    }
}

/// Serves the clients that wait for one key, as long as the key exists.
fn serve_line(server: &mut StoreServer, awaited: &Awaited) {
    let mut last = 0;
    while let Some((turn, slot)) = server.waiting.next(awaited, last) {
        last = turn;
        server.data.keys.selected = awaited.db;
        if !server.data.keys.contains(&awaited.key) {
            return;
        }
        try_again(server, slot);
    }
}

fn try_again(server: &mut StoreServer, slot: ClientSlot) {
    let Some(client) = server.clients.get_mut(slot) else {
        return;
    };
    let Some(blocked) = client.blocked.take() else {
        return;
    };
    let mut out = Reply { buf: Vec::new(), resp3: client.reply.resp3 };
    server.data.keys.selected = client.db;
    server.data.keys.tracking.reader = None;
    let args: ArgList = blocked.args.iter().map(|arg| &**arg).collect();
    let (command, started) = (command::find(args[0]), Instant::now());
    let outcome = command.map_or(Ok(()), |command| command.call(&mut server.data, &args, &mut out));
    if let (Some(command), Ok(()) | Err(CommandError::Error(_))) = (command, &outcome) {
        note_run(server, slot, Row::Data(command), &args, started.elapsed(), outcome.is_err());
    }
    drop(args);
    server.data.keys.journal.commit();
    let Some(client) = server.clients.get_mut(slot) else {
        return;
    };
    client.blocked = Some(blocked);
    match outcome {
        Ok(()) => client.reply.buf.append(&mut out.buf),
        Err(CommandError::Block(_)) => return,
        Err(CommandError::Error(mut text)) => {
            if text.starts_with("NOGROUP") {
                text = GROUP_GONE.into();
            }
            client.reply.error(&text);
            server.data.calls.error(&text);
        }
    }
    unblock(server, slot);
    server.schedule(slot);
}

/// Ends the waits that have timed out.
pub fn time_out(server: &mut StoreServer) {
    while let Some(slot) = server.waiting.next_over(server.data.keys.now) {
        if let Some(client) = server.clients.get_mut(slot) {
            client.reply.null_array();
        }
        give_up(server, slot);
        server.schedule(slot);
    }
}
