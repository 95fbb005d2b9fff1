//! Runs one command that is past all guards.

use super::{Row, Server};
use crate::store::command::ping_subscriber;
use crate::store::error::Outcome;
use crate::store::pubsub::Slot;
use crate::store::reply::Reply;
use crate::store::resp::Args;

/// Runs a command for a client, in the client's database; the caller turns a failure into a reply.
pub fn call(server: &mut Server, slot: Slot, row: Row, args: &Args, out: &mut Reply) -> Outcome {
    let Some(client) = server.clients.get(slot) else {
        return Ok(());
    };
    let db = client.db;
    if row.spec().name == "ping" && client.is_subscriber() && !out.resp3 {
        ping_subscriber(args, out);
        return Ok(());
    }
    server.data.keys.selected = db;
    let outcome = match row {
        Row::Server(command) => (command.run)(server, slot, args, out),
        Row::Data(command) => command.call(&mut server.data, args, out),
    };
    if server.data.keys.selected != db
        && let Some(client) = server.clients.get_mut(slot)
    {
        client.db = server.data.keys.selected;
    }
    outcome
}
