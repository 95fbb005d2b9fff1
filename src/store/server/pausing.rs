//! `CLIENT PAUSE`: holds up all requests, or only those that may change something, until a deadline.

use super::commands::scripts;
use super::{Row, StoreServer};
use crate::store::command::Flags;
use crate::store::pubsub::ClientSlot;
use crate::store::resp::{ArgList, Args};

/// Commands that are not marked as writes but may change something.
const SPREADING: [&str; 5] = ["eval", "evalsha", "pfcount", "publish", "spublish"];

/// Holds up a request if it must wait; it is read again when the pause ends. Returns whether it waits.
pub fn hold(server: &mut StoreServer, slot: ClientSlot, args: &Args) -> bool {
    if server.pause.until <= server.data.keys.now {
        return false;
    }
    let find = server.directory.find;
    let Some(client) = server.clients.get(slot) else { return false };
    let row = args.first().and_then(|name| find(name));
    if !server.pause.all {
        let queued = client.transaction.as_ref().map_or(&[][..], |transaction| &transaction.queue);
        let changes = row.is_some_and(|row| match row.spec().name {
            "exec" => queued.iter().any(|args| {
                let args: ArgList = args.iter().map(|arg| &**arg).collect();
                args.first().and_then(|name| find(name)).is_some_and(|row| may_change(server, row, &args))
            }),
            _ => may_change(server, row, args),
        });
        if !changes {
            return false;
        }
    }
    let Some(client) = server.clients.get_mut(slot) else { return false };
    client.paused = true;
    client.last_command = row.map_or(client.last_command, |row| row.spec().name);
    server.pause.held.push(slot);
    true
}

fn may_change(server: &StoreServer, row: Row, args: &Args) -> bool {
    if let Some(header) = scripts::header(server, row.spec(), args) {
        return !header.no_writes;
    }
    row.spec().flags.has(Flags::WRITE) || SPREADING.contains(&row.spec().name)
}

/// Ends the pause and resumes the clients that were held up.
pub fn end(server: &mut StoreServer) {
    (server.pause.until, server.pause.all) = (0, false);
    for slot in std::mem::take(&mut server.pause.held) {
        if let Some(client) = server.clients.get_mut(slot)
            && std::mem::take(&mut client.paused)
        {
            server.resumed.push(slot);
        }
    }
}

/// Ends the pause if its time is up.
pub fn end_in_time(server: &mut StoreServer) {
    if server.pause.until > 0 && server.pause.until <= server.data.keys.now {
        end(server);
    }
}
