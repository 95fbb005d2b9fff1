//! Runs one command that has passed all guards.

use std::time::{Duration, Instant};

use super::{Row, StoreServer, monitors, tracking};
use crate::store::args::is;
use crate::store::command::{Flags, ping_subscriber};
use crate::store::error::{CommandError, Outcome};
use crate::store::pubsub::ClientSlot;
use crate::store::reply::Reply;
use crate::store::resp::Args;

/// How the error for too few or too many arguments begins.
const WRONG_NUMBER: &str = "ERR wrong number of arguments";

/// Shows a command that has run to the monitoring clients.
fn show(server: &mut StoreServer, slot: ClientSlot, row: Row, args: &Args) {
    let flags = row.spec().flags;
    if !flags.has(Flags::SHOWN_FIRST) && !flags.has(Flags::ADMIN) && !is_for_administrators(row, args) {
        monitors::show(server, slot, args);
    }
    monitors::show_scripted(server);
}

/// Whether a subcommand is for administrators although not all of its command is.
fn is_for_administrators(row: Row, args: &Args) -> bool {
    let subcommands: &[&str] = match row.spec().name {
        "client" => &["KILL", "LIST", "NO-EVICT", "PAUSE", "UNPAUSE", "UNBLOCK"],
        "acl" => &["DELUSER", "DRYRUN", "GETUSER", "LIST", "LOAD", "LOG", "SAVE", "SETUSER", "USERS"],
        _ => &[],
    };
    args.get(1).is_some_and(|word| subcommands.iter().any(|name| is(word, name)))
}

/// Notes that a command ran and how long it took.
pub(super) fn note_run(
    server: &mut StoreServer,
    slot: ClientSlot,
    row: Row,
    args: &Args,
    took: Duration,
    failed: bool,
) {
    if let Some(number) = (server.directory.number)(row, args) {
        server.data.calls.ran(number, took, failed);
    }
    if server.slow.is_long(took)
        && let Some(client) = server.clients.get(slot)
    {
        server.slow.note(row.spec(), args, took, server.data.keys.now / 1000, &server.settings, client);
    }
}

/// Runs a command in the client's selected database; the caller turns a failure into a reply.
pub fn call(server: &mut StoreServer, slot: ClientSlot, row: Row, args: &Args, out: &mut Reply) -> Outcome {
    let Some(client) = server.clients.get(slot) else {
        return Ok(());
    };
    let db = client.db;
    if row.spec().name == "ping" && client.is_subscriber() && !out.resp3 {
        ping_subscriber(args, out);
        return Ok(());
    }
    server.data.keys.selected = db;
    tracking::begin(server, slot);
    // A command starts when the one before it ends, which saves reading the clock twice.
    let started = server.ended.unwrap_or_else(Instant::now);
    let mark = out.buf.len();
    let outcome = match row {
        Row::Server(command) => (command.run)(server, slot, args, out),
        Row::Data(command) => command.call(&mut server.data, args, out),
    };
    // A command that blocks is noted once it is served.
    if !matches!(outcome, Err(CommandError::Block(_))) {
        let now = Instant::now();
        server.ended = Some(now);
        let failed = outcome.is_err() || out.buf.get(mark) == Some(&b'-');
        match (row.spec().flags.has(Flags::PARENT), &outcome, (server.directory.number)(row, args)) {
            // Redis checks the arguments of a subcommand before it runs, so this call counts as rejected.
            (true, Err(CommandError::Error(text)), Some(number)) if text.starts_with(WRONG_NUMBER) => {
                server.data.calls.of(number).rejected += 1;
            }
            _ => note_run(server, slot, row, args, now.duration_since(started), failed),
        }
    }
    if server.data.keys.selected != db
        && let Some(client) = server.clients.get_mut(slot)
    {
        client.db = server.data.keys.selected;
    }
    if server.monitors > 0 {
        show(server, slot, row, args);
    }
    outcome
}
