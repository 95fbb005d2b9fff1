//! Clients that asked with `MONITOR` to see every command.
//!
//! As in Redis, a command is shown once it has run, or not at all if it is for administrators. The commands of a
//! script are shown after the script, those of a transaction before its `EXEC`. Passwords are hidden.

use super::secrets::redacted;
use super::{StoreServer, UNREAD};
use crate::store::pubsub::ClientSlot;
use crate::store::resp::{ArgList, Args};

/// Shows a command of the client in a slot to the monitoring clients.
pub fn show(server: &mut StoreServer, slot: ClientSlot, args: &Args) {
    let Some(client) = server.clients.get(slot) else {
        return;
    };
    let line = line(server, &format!("{} {}", client.db, client.endpoints.peer), &redacted(args));
    tell(server, &line);
}

/// Shows the commands that the last script has run.
pub fn show_scripted(server: &mut StoreServer) {
    let Some(seen) = &mut server.data.seen else { return };
    for (db, args) in std::mem::take(seen) {
        let args: ArgList = args.iter().map(|arg| &**arg).collect();
        let line = line(server, &format!("{db} lua"), &args);
        tell(server, &line);
    }
}

fn line(server: &StoreServer, origin: &str, args: &Args) -> String {
    let keys = &server.data.keys;
    let (seconds, micros) = (keys.now / 1000, keys.now % 1000 * 1000 + keys.micros);
    let mut line = format!("{seconds}.{micros:06} [{origin}]");
    for arg in args {
        line.push_str(" \"");
        escape(arg, &mut line);
        line.push('"');
    }
    line
}

/// Escapes bytes as Redis does when it shows a string.
fn escape(bytes: &[u8], out: &mut String) {
    use std::fmt::Write;
    for &byte in bytes {
        match byte {
            b'\\' | b'"' => out.extend(['\\', char::from(byte)]),
            b'\n' => out.push_str("\\n"),
            b'\r' => out.push_str("\\r"),
            b'\t' => out.push_str("\\t"),
            7 => out.push_str("\\a"),
            8 => out.push_str("\\b"),
            b' '..=b'~' => out.push(char::from(byte)),
            _ => {
                let _ = write!(out, "\\x{byte:02x}");
            }
        }
    }
}

fn tell(server: &mut StoreServer, line: &str) {
    let watchers: Vec<ClientSlot> =
        server.clients.iter().filter(|(_, client)| client.monitor).map(|(slot, _)| slot).collect();
    let limit = server.settings.max_pending_output;
    for watcher in watchers {
        if let Some(client) = server.clients.get_mut(watcher) {
            if client.pending() > limit {
                server.drop_reader(watcher, UNREAD, limit);
                continue;
            }
            client.reply.simple(line);
        }
        server.schedule(watcher);
        server.recount(watcher);
    }
}
