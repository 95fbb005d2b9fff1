//! Clients that wait for a key: who waits, who is served, whose time is up.
//!
//! A blocked client keeps its command. When one of its keys changes, the command runs again; if there
//! is still nothing for it, the client goes on waiting in its place in the line.

use super::Server;
use super::client::Blocked;
use crate::store::command;
use crate::store::error::{Block, CommandError, WRONGTYPE};
use crate::store::pubsub::Slot;
use crate::store::reply::Reply;
use crate::store::resp::{ArgList, Args};
use crate::store::small_bytes::SmallBytes;

/// Makes a client wait.
pub fn block(server: &mut Server, slot: Slot, args: &Args, block: Block) {
    let Some(client) = server.clients.get_mut(slot) else {
        return;
    };
    let db = client.db;
    let args = args.iter().map(|arg| SmallBytes::new(arg)).collect();
    for key in &block.keys {
        let line = server.waiting.lines.entry((db, key.clone())).or_default();
        if !line.contains(&slot) {
            line.push(slot);
            server.data.keys.await_key(db, key, true);
        }
    }
    if let Some(until) = block.until {
        server.waiting.deadlines.insert((until, slot));
    }
    client.blocked = Some(Blocked { args, block });
    server.waiting.clients += 1;
}

/// Takes a client out of all lines; its reply has been given, or never will be.
pub fn unblock(server: &mut Server, slot: Slot) {
    let Some(client) = server.clients.get_mut(slot) else {
        return;
    };
    let Some(blocked) = client.blocked.take() else {
        return;
    };
    let db = client.db;
    server.waiting.clients -= 1;
    if let Some(until) = blocked.block.until {
        server.waiting.deadlines.remove(&(until, slot));
    }
    for key in blocked.block.keys {
        let place = (db, key);
        if let Some(line) = server.waiting.lines.get_mut(&place) {
            let before = line.len();
            line.retain(|waiting| *waiting != slot);
            if line.len() != before {
                server.data.keys.await_key(db, &place.1, false);
            }
            if line.is_empty() {
                server.waiting.lines.remove(&place);
            }
        }
    }
    server.resumed.push(slot);
}

/// Serves those whose keys have changed, first come first.
pub fn serve_ready(server: &mut Server) {
    let selected = server.data.keys.selected;
    while !server.data.keys.ready.is_empty() {
        for place in std::mem::take(&mut server.data.keys.ready) {
            for slot in server.waiting.lines.get(&place).cloned().unwrap_or_default() {
                try_again(server, slot);
            }
        }
    }
    server.data.keys.selected = selected;
}

fn try_again(server: &mut Server, slot: Slot) {
    let Some(client) = server.clients.get_mut(slot) else {
        return;
    };
    let Some(blocked) = client.blocked.take() else {
        return;
    };
    let mut out = Reply { buf: Vec::new(), resp3: client.reply.resp3 };
    server.data.keys.selected = client.db;
    let args: ArgList = blocked.args.iter().map(|arg| &**arg).collect();
    let outcome = match command::find(args[0]) {
        Some(command) => command.call(&mut server.data, &args, &mut out),
        None => Ok(()),
    };
    drop(args);
    server.data.keys.journal.commit();
    let Some(client) = server.clients.get_mut(slot) else {
        return;
    };
    client.blocked = Some(blocked);
    match outcome {
        Ok(()) => client.reply.buf.append(&mut out.buf),
        Err(CommandError::Block(_)) => return,
        // The key is there but of another type, which a waiting client does not mind.
        Err(CommandError::Error(text)) if matches!(&WRONGTYPE, CommandError::Error(wrong) if *wrong == text) => {
            return;
        }
        Err(CommandError::Error(text)) => client.reply.error(&text),
    }
    unblock(server, slot);
    server.schedule(slot);
}

/// Ends the waits whose time is up.
pub fn time_out(server: &mut Server) {
    while let Some(&(until, slot)) = server.waiting.deadlines.first()
        && until <= server.data.keys.now
    {
        server.waiting.deadlines.pop_first();
        if let Some(client) = server.clients.get_mut(slot) {
            client.reply.null_array();
        }
        unblock(server, slot);
        server.schedule(slot);
    }
}
