//! Transactions: commands that run together, and keys that must not change until then.

use crate::store::error::{CommandError, EXECABORT, Outcome};
use crate::store::pubsub::ClientSlot;
use crate::store::reply::Reply;
use crate::store::resp::{ArgList, Args};
use crate::store::server::call::call;
use crate::store::server::client::{Since, Transaction, name_cost};
use crate::store::server::commands::subscribe;
use crate::store::server::{StoreServer, permissions, watches};
use crate::store::small_bytes::SmallBytes;

/// How many keys one client may watch.
const MOST_WATCHED: usize = 4096;

pub fn multi(server: &mut StoreServer, slot: ClientSlot, _: &Args, out: &mut Reply) -> Outcome {
    let Some(client) = server.clients.get_mut(slot) else {
        return Ok(());
    };
    if client.transaction.is_some() {
        return Err(CommandError::new("ERR MULTI calls can not be nested"));
    }
    client.transaction = Some(Transaction::default());
    out.ok();
    Ok(())
}

pub fn discard(server: &mut StoreServer, slot: ClientSlot, _: &Args, out: &mut Reply) -> Outcome {
    let Some(client) = server.clients.get_mut(slot) else {
        return Ok(());
    };
    client.transaction.take().ok_or(CommandError::new("ERR DISCARD without MULTI"))?;
    watches::release(server, slot);
    out.ok();
    Ok(())
}

pub fn watch(server: &mut StoreServer, slot: ClientSlot, args: &Args, out: &mut Reply) -> Outcome {
    let Some(client) = server.clients.get_mut(slot) else {
        return Ok(());
    };
    if client.transaction.is_some() {
        return Err(CommandError::new("ERR WATCH inside MULTI is not allowed"));
    }
    for key in &args[1..] {
        let place = (client.db, SmallBytes::new(key));
        if client.watching.contains_key(&place) {
            continue;
        }
        if client.watching.len() >= MOST_WATCHED {
            return Err(CommandError::new("ERR a client may not watch so many keys"));
        }
        let since = if server.busy.is_some() {
            server.late.watchers.insert(slot);
            Since::Busy
        } else {
            Since::Version(server.data.keys.watch(key))
        };
        client.names_bytes += name_cost(key);
        client.watching.insert(place, since);
    }
    out.ok();
    Ok(())
}

pub fn unwatch(server: &mut StoreServer, slot: ClientSlot, _: &Args, out: &mut Reply) -> Outcome {
    watches::release(server, slot);
    out.ok();
    Ok(())
}

pub fn exec(server: &mut StoreServer, slot: ClientSlot, _: &Args, out: &mut Reply) -> Outcome {
    let Some(client) = server.clients.get_mut(slot) else {
        return Ok(());
    };
    let transaction = client.transaction.take().ok_or(CommandError::new("ERR EXEC without MULTI"))?;
    let changed = watches::release(server, slot);
    if transaction.failed {
        return Err(EXECABORT);
    }
    if changed {
        out.null_array();
        return Ok(());
    }
    out.array(transaction.queue.len());
    for args in &transaction.queue {
        let args: ArgList = args.iter().map(|arg| &**arg).collect();
        run_queued(server, slot, &args, out);
    }
    Ok(())
}

fn run_queued(server: &mut StoreServer, slot: ClientSlot, args: &Args, out: &mut Reply) {
    let Some(row) = (server.directory.find)(args[0]) else { return };
    let mark = out.buf.len();
    // The client may have become another user since the command was queued.
    if let Some(problem) = permissions::denied_at_exec(server, slot, row, args) {
        out.error(&problem);
        server.data.calls.error(&problem);
        return;
    }
    match call(server, slot, row, args, out) {
        // Inside a transaction, a command is not split into turns.
        Ok(()) => while subscribe::go_on(server, slot, out) {},
        Err(CommandError::Error(text)) => {
            out.buf.truncate(mark);
            out.error(&text);
            server.data.calls.error(&text);
        }
        // Inside a transaction, no command blocks.
        Err(CommandError::Block(block)) if block.null_array => out.null_array(),
        Err(CommandError::Block(_)) => out.null(),
    }
}
