//! Clients that asked with `MONITOR` to see every command.

use super::{Server, UNREAD};
use crate::store::pubsub::Slot;
use crate::store::resp::Args;

/// Shows a command of the client in a slot to those that look on.
pub fn show(server: &mut Server, slot: Slot, args: &Args) {
    let Some(client) = server.clients.get(slot) else {
        return;
    };
    let keys = &server.data.keys;
    let (seconds, micros) = (keys.now / 1000, keys.now % 1000 * 1000 + keys.micros);
    let mut line = format!("{seconds}.{micros:06} [{} {}]", client.db, client.endpoints.peer);
    for arg in args {
        line.push_str(&format!(" \"{}\"", arg.escape_ascii()));
    }
    let watchers: Vec<Slot> =
        server.clients.iter().filter(|(_, client)| client.monitor).map(|(slot, _)| slot).collect();
    let limit = server.settings.max_pending_output;
    for watcher in watchers {
        if let Some(client) = server.clients.get_mut(watcher) {
            if client.pending() > limit {
                server.drop_reader(watcher, UNREAD, limit);
                continue;
            }
            client.reply.simple(&line);
        }
        server.schedule(watcher);
        server.recount(watcher);
    }
}
