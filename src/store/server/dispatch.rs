//! From an argument list to a reply: first the guards, then the command.

use super::call::call;
use super::client::{Client, ReplyMode, Transaction};
use super::commands::scripts;
use super::delivery::{Own, deliver};
use super::{Row, StoreServer, blocking, monitors, permissions, refused, room, table, tracking, watches};
use crate::store::args::is;
use crate::store::command::Flags;
use crate::store::error::{BUSY, CommandError, FULL, NOAUTH, OOM, wrong_arity};
use crate::store::pubsub::ClientSlot;
use crate::store::reply::Reply;
use crate::store::resp::Args;
use crate::store::small_bytes::SmallBytes;

/// How many keys one client may wait for. Each change of one of them reruns the command, which looks at all of
/// them.
const MOST_AWAITED: usize = 4096;
const TOO_MANY_KEYS: &str = "ERR a client may not wait for so many keys";

/// Runs one request of a client whose reply buffer the caller holds.
pub fn execute(server: &mut StoreServer, slot: ClientSlot, args: &Args, out: &mut Reply) {
    if args.is_empty() {
        return;
    }
    room::make(server);
    // This goes before the reply, because the client may take the reply to be newer than its cache.
    let mut mark = out.buf.len();
    let evicted = tell(server, slot, &mut mark, out);
    out.buf.extend_from_slice(&evicted);
    let mut mark = out.buf.len();
    let command = match admit(server, slot, args) {
        Ok(command) => command,
        Err(fail) => return refuse(server, slot, args, fail, out),
    };
    let now = server.data.keys.now;
    let Some(client) = server.clients.get_mut(slot) else {
        return;
    };
    client.last_active = now;
    client.last_command = command.spec().name;
    if client.mode == ReplyMode::SkipNext {
        client.mode = ReplyMode::Skipping;
    }
    if let Some(transaction) = &mut client.transaction
        && !command.spec().flags.has(Flags::IN_MULTI)
    {
        transaction.takes_memory |= command.spec().flags.has(Flags::DENY_OOM);
        enqueue(transaction, args, server.settings.max_query_buffer, out);
    } else {
        mark = run(server, slot, command, args, out);
    }
    let news = tell(server, slot, &mut mark, out);
    end_of_command(server, slot, mark, out);
    out.buf.extend_from_slice(&news);
    if let Some(client) = server.clients.get_mut(slot) {
        tracking::end(client, command.spec().name);
    }
}

/// Sends invalidations for the keys that the command changed or found expired. Returns those that its own client
/// must get after the reply.
fn tell(server: &mut StoreServer, slot: ClientSlot, mark: &mut usize, out: &mut Reply) -> Vec<u8> {
    if server.trackers.is_empty() && !server.data.keys.tracking.has_notices() {
        return Vec::new();
    }
    tracking::deliver(server, Some(Own { slot, mark, out }))
}

/// Runs a command and its immediate effects. Returns where its reply begins in `out`, after the messages that the
/// command sent to its own client.
fn run(server: &mut StoreServer, slot: ClientSlot, command: Row, args: &Args, out: &mut Reply) -> usize {
    let mut mark = out.buf.len();
    let flags = command.spec().flags;
    if server.monitors > 0 && flags.has(Flags::SHOWN_FIRST) {
        monitors::show(server, slot, args);
    }
    match call(server, slot, command, args, out) {
        // Subscription commands answer with pushes, which `CLIENT REPLY` does not turn off.
        Ok(()) if flags.has(Flags::PUBSUB) && matches!(command, Row::Server(_)) => mark = out.buf.len(),
        Ok(()) => {}
        Err(CommandError::Error(text)) => {
            out.buf.truncate(mark);
            out.error(&text);
            server.data.calls.error(&text);
        }
        Err(CommandError::Block(block)) if block.keys.len() > MOST_AWAITED => {
            out.error(TOO_MANY_KEYS);
            server.data.calls.error(TOO_MANY_KEYS);
        }
        Err(CommandError::Block(block)) => blocking::block(server, slot, args, *block),
    }
    if !server.data.keys.events.is_empty() {
        server.data.publish_events();
    }
    if !server.data.pubsub.outbox.is_empty() {
        deliver(server, Some(Own { slot, mark: &mut mark, out }));
    }
    server.data.keys.journal.commit();
    if !server.data.keys.ready.is_empty() {
        blocking::serve_ready(server);
    }
    mark
}

fn end_of_command(server: &mut StoreServer, slot: ClientSlot, mark: usize, out: &mut Reply) {
    let Some(client) = server.clients.get_mut(slot) else {
        return;
    };
    match client.mode {
        ReplyMode::On | ReplyMode::SkipNext => {}
        ReplyMode::Off => out.buf.truncate(mark),
        ReplyMode::Skipping => {
            out.buf.truncate(mark);
            client.mode = ReplyMode::On;
        }
    }
}

/// Applies the guards, in the order of Redis.
fn admit(server: &mut StoreServer, slot: ClientSlot, args: &Args) -> Result<Row, CommandError> {
    let command = table::find(args[0]).ok_or_else(|| unknown(server, slot, args))?;
    if !command.spec().takes(args.len()) {
        return Err(wrong_arity(command.spec().name));
    }
    let Some(client) = server.clients.get(slot) else {
        return Err(NOAUTH);
    };
    if client.reserve && !command.spec().flags.has(Flags::NO_AUTH) {
        server.doom(slot);
        return Err(FULL);
    }
    if client.must_authenticate(&server.settings) && !command.spec().flags.has(Flags::NO_AUTH) {
        return Err(NOAUTH);
    }
    if let Some(access) = &client.access {
        let queued = client.transaction.is_some() && !command.spec().flags.has(Flags::IN_MULTI);
        permissions::admit(server, access, command, args, !queued)?;
    }
    let flags = flags_now(server, slot, client, command, args);
    if takes_memory(client, command, flags) && server.is_out_of_memory(slot, &[]) {
        return Err(OOM);
    }
    if flags.has(Flags::WRITE)
        && let Some(problem) = server.log_problem()
    {
        return Err(CommandError::new(format!("MISCONF Errors writing to the AOF file: {problem}")));
    }
    if client.is_subscriber() && !client.reply.resp3 && !command.spec().flags.has(Flags::WHILE_SUBSCRIBED) {
        let name = String::from_utf8_lossy(args[0]).to_lowercase();
        return Err(CommandError::new(format!(
            "ERR Can't execute '{name}': only (P|S)SUBSCRIBE / (P|S)UNSUBSCRIBE / PING / QUIT / \
             RESET are allowed in this context"
        )));
    }
    if server.busy.is_some() && !command.spec().flags.has(Flags::WHILE_BUSY) && !is_script_kill(command, args) {
        return Err(BUSY);
    }
    if client.transaction.is_some() && command.spec().flags.has(Flags::NO_MULTI) {
        return Err(CommandError::new("ERR Command not allowed inside a transaction"));
    }
    if flags.has(Flags::DENY_OOM)
        && flags.has(Flags::SHOWN_FIRST)
        && let Some(transaction) = server.clients.get_mut(slot).and_then(|client| client.transaction.as_mut())
    {
        transaction.takes_memory = true;
    }
    Ok(command)
}

/// Returns the flags of a command, including those that its script declares. The script's header is read only
/// where it matters, because scripts are called often.
fn flags_now(server: &StoreServer, slot: ClientSlot, client: &Client, command: Row, args: &Args) -> Flags {
    let flags = command.spec().flags;
    if !flags.has(Flags::SHOWN_FIRST) {
        return flags;
    }
    let matters = client.transaction.is_some() || server.is_out_of_memory(slot, &[]) || server.log_problem().is_some();
    let header = if matters { scripts::header(server, command.spec(), args) } else { None };
    let declared = [
        header.filter(|header| !header.no_writes).map(|_| Flags::WRITE),
        header.filter(|header| header.takes_memory()).map(|_| Flags::DENY_OOM),
    ];
    declared.into_iter().flatten().fold(flags, Flags::and)
}

/// Whether a command is refused when memory is short: it may need memory itself, it would be queued, or it
/// executes a transaction that may need memory.
fn takes_memory(client: &Client, command: Row, flags: Flags) -> bool {
    let in_transaction = client.transaction.as_ref().is_some_and(|transaction| match flags.has(Flags::IN_MULTI) {
        true => command.spec().name == "exec" && transaction.takes_memory,
        false => true,
    });
    flags.has(Flags::DENY_OOM) || in_transaction
}

/// Whether this is `SCRIPT KILL`, the only `SCRIPT` subcommand that is allowed while a script takes long.
fn is_script_kill(command: Row, args: &Args) -> bool {
    command.spec().name == "script" && args.get(1).is_some_and(|what| is(what, "KILL"))
}

fn refuse(server: &mut StoreServer, slot: ClientSlot, args: &Args, fail: CommandError, out: &mut Reply) {
    if let Some(client) = server.clients.get_mut(slot)
        && let Some(transaction) = &mut client.transaction
    {
        transaction.failed = true;
    }
    if let Some(number) = table::find(args[0]).and_then(|row| (server.directory.number)(row, args)) {
        server.data.calls.of(number).rejected += 1;
    }
    let CommandError::Error(mut text) = fail else { return };
    if text.is_empty() {
        return;
    }
    if args[0].eq_ignore_ascii_case(b"exec") {
        let reason = text.strip_prefix("ERR ").unwrap_or(&text);
        text = format!("EXECABORT Transaction discarded because of: {reason}").into();
        if let Some(client) = server.clients.get_mut(slot) {
            client.transaction = None;
        }
        watches::release(server, slot);
    }
    out.error(&text);
    server.data.calls.error(&text);
    if let Some(client) = server.clients.get_mut(slot) {
        tracking::end(client, "");
    }
}

/// Returns the error for an unknown command name. A browser that posts here is disconnected.
fn unknown(server: &mut StoreServer, slot: ClientSlot, args: &Args) -> CommandError {
    if args[0].eq_ignore_ascii_case(b"post") || args[0].eq_ignore_ascii_case(b"host:") {
        tracing::warn!(
            "possible attack: a client sent HTTP to the store, as a web page can make a browser do; disconnected it"
        );
        if let Some(client) = server.clients.get_mut(slot) {
            client.closing = true;
        }
        return CommandError::Error("".into());
    }
    if let Some(reason) = refused::reason(args[0]) {
        return CommandError::Error(reason.into());
    }
    let shown = |arg: &[u8], limit: usize| String::from_utf8_lossy(&arg[..arg.len().min(limit)]).into_owned();
    let mut tail = String::new();
    for arg in &args[1..] {
        if tail.len() >= 128 {
            break;
        }
        tail.push_str(&format!("'{}' ", shown(arg, 128 - tail.len())));
    }
    CommandError::new(format!("ERR unknown command '{}', with args beginning with: {tail}", shown(args[0], 128)))
}

fn enqueue(transaction: &mut Transaction, args: &Args, limit: usize, out: &mut Reply) {
    transaction.bytes += args.iter().map(|arg| arg.len() + size_of::<SmallBytes>()).sum::<usize>();
    if transaction.bytes > limit {
        transaction.failed = true;
        transaction.queue = Vec::new();
        out.error("ERR the transaction is larger than the query buffer may be");
        return;
    }
    if !transaction.failed {
        transaction.queue.push(args.iter().map(|arg| SmallBytes::new(arg)).collect());
    }
    out.simple("QUEUED");
}
