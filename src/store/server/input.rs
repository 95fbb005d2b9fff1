//! Turns the bytes of a client into requests, each run as soon as it is complete.

use super::commands::subscribe;
use super::{StoreServer, UNREAD_REPLIES, dispatch, pausing, persistence};
use crate::store::pubsub::ClientSlot;
use crate::store::reply::{LIMIT as REPLY_LIMIT, Reply};
use crate::store::resp::Limits;

/// A client with more unfetched output than this is not served.
pub const UNFETCHED: usize = 1 << 20;

/// Takes bytes that a client has sent, runs the complete requests and keeps the rest.
pub fn feed(server: &mut StoreServer, slot: ClientSlot, bytes: &[u8]) {
    let Some(client) = server.clients.get_mut(slot) else {
        return;
    };
    if client.closing {
        return;
    }
    if client.input.is_empty() {
        let used = process(server, slot, bytes);
        if let Some(client) = server.clients.get_mut(slot)
            && used < bytes.len()
        {
            client.input.extend_from_slice(&bytes[used..]);
        }
    } else {
        client.input.extend_from_slice(bytes);
        drain(server, slot);
    }
    server.recount(slot);
    server.shed();
    let limit = server.settings.max_query_buffer;
    if let Some(client) = server.clients.get_mut(slot)
        && client.held() > limit
    {
        let peer = client.endpoints.peer;
        tracing::warn!(%peer, limit, "a client of the store sent too long a command; disconnected it");
        server.stats.dropped_input += 1;
        server.doom(slot);
    }
}

/// Resumes the clients that were held up.
pub fn resume(server: &mut StoreServer) {
    for slot in std::mem::take(&mut server.resumed) {
        let Some(client) = server.clients.get_mut(slot) else {
            continue;
        };
        let unfetched = client.pending() > UNFETCHED;
        if let Some(rest) = &mut client.rest {
            rest.stalled = unfetched;
        }
        if client.held_back || client.paused || client.closing || unfetched {
            continue;
        }
        if client.rest.is_some() && finish(server, slot) {
            continue;
        }
        if server.clients.get(slot).is_some_and(|client| !client.is_occupied() && !client.input.is_empty()) {
            drain(server, slot);
            server.recount(slot);
            server.shed();
            persistence::relieve(server);
        }
    }
}

/// Continues a command that takes several turns. Returns whether there is more to do.
fn finish(server: &mut StoreServer, slot: ClientSlot) -> bool {
    let Some(client) = server.clients.get_mut(slot) else { return false };
    let mut out = std::mem::take(&mut client.reply);
    let (resp3, sent) = (out.resp3, client.sent);
    let more = subscribe::go_on(server, slot, &mut out);
    if let Some(client) = server.clients.get_mut(slot) {
        (client.reply, client.sent) = (out, sent);
        client.reply.resp3 = resp3;
    }
    if more {
        server.resumed.push(slot);
    }
    server.schedule(slot);
    server.recount(slot);
    server.shed();
    more
}

/// Runs input that was kept because it could not be run yet.
fn drain(server: &mut StoreServer, slot: ClientSlot) {
    let Some(client) = server.clients.get_mut(slot) else {
        return;
    };
    let mut input = std::mem::take(&mut client.input);
    let done = std::mem::take(&mut client.input_done);
    let done = done + process(server, slot, &input[done..]);
    let Some(client) = server.clients.get_mut(slot) else {
        return;
    };
    if done == input.len() {
        return;
    }
    client.input_done = done;
    // Moving the rest to the front each time would take quadratic time.
    if done > input.len() / 2 {
        input.drain(..done);
        client.input_done = 0;
    }
    client.input = input;
}

/// Runs the complete requests at the start of `bytes`; returns how many bytes they take.
fn process(server: &mut StoreServer, slot: ClientSlot, bytes: &[u8]) -> usize {
    let Some(client) = server.clients.get_mut(slot) else {
        return bytes.len();
    };
    let mut decoder = std::mem::take(&mut client.decoder);
    let resp3 = client.reply.resp3;
    let mut out = std::mem::replace(&mut client.reply, Reply { buf: Vec::new(), resp3 });
    let sent = std::mem::take(&mut client.sent);
    let mut used = 0;
    server.ended = None;
    while used < bytes.len() {
        let Some(client) = server.clients.get_mut(slot) else {
            break;
        };
        if client.closing
            || client.held_back
            || client.paused
            || client.is_occupied()
            || out.buf.len() - sent > UNFETCHED
        {
            break;
        }
        if server.data.keys.journal.is_large() {
            server.resumed.push(slot);
            break;
        }
        let limits =
            Limits { bulk: server.settings.max_bulk, unauthenticated: client.must_authenticate(&server.settings) };
        match decoder.decode(&bytes[used..], &limits) {
            Ok(None) => break,
            Ok(Some(length)) => {
                let args = decoder.args(&bytes[used..]);
                if pausing::hold(server, slot, &args) {
                    break;
                }
                dispatch::execute(server, slot, &args, &mut out);
                used += length;
                if out.is_too_large() {
                    server.drop_reader(slot, UNREAD_REPLIES, REPLY_LIMIT);
                    out.buf.truncate(sent);
                }
            }
            Err(problem) => {
                client.closing = true;
                out.error(&format!("ERR Protocol error: {problem}"));
                break;
            }
        }
    }
    let Some(client) = server.clients.get_mut(slot) else {
        return bytes.len();
    };
    if client.closing {
        used = bytes.len();
    }
    client.decoder = decoder;
    client.sent = sent;
    out.buf.append(&mut client.reply.buf);
    client.reply = out;
    server.schedule_first(slot);
    used
}
