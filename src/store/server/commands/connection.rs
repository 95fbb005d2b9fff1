//! The connection itself: authentication, protocol and name.

use crate::store::args::{Cursor, is};
use crate::store::error::{BUSY, CommandError, FULL, Outcome, SYNTAX};
use crate::store::number::parse_int;
use crate::store::pubsub::ClientSlot;
use crate::store::reply::Reply;
use crate::store::resp::Args;
use crate::store::server::client::{Client, ReplyMode};
use crate::store::server::{StoreServer, delivery, tracking, watches};
use crate::store::settings::REDIS_VERSION;

pub fn quit(server: &mut StoreServer, slot: ClientSlot, _: &Args, out: &mut Reply) -> Outcome {
    if let Some(client) = server.clients.get_mut(slot) {
        client.closing = true;
    }
    out.ok();
    Ok(())
}

pub fn reset(server: &mut StoreServer, slot: ClientSlot, _: &Args, out: &mut Reply) -> Outcome {
    // A running script holds the tables of subscriptions and tracked keys.
    let is_known = |client: &Client| client.is_subscriber() || client.tracks.is_some();
    if server.busy.is_some() && server.clients.get(slot).is_some_and(|client| is_known(client)) {
        return Err(BUSY);
    }
    watches::release(server, slot);
    delivery::leave_some(server, slot, usize::MAX);
    tracking::stop(server, slot);
    let open = server.settings.password.is_none();
    let Some(client) = server.clients.get_mut(slot) else {
        return Ok(());
    };
    client.transaction = None;
    client.authenticated = open;
    client.trusted = false;
    client.access = None;
    client.db = 0;
    server.data.keys.selected = 0;
    client.name.clear();
    client.mode = ReplyMode::On;
    client.no_evict = false;
    client.reply.resp3 = false;
    if std::mem::take(&mut client.monitor) {
        server.monitors -= 1;
    }
    out.resp3 = false;
    out.simple("RESET");
    Ok(())
}

const WRONGPASS: &str = "WRONGPASS invalid username-password pair or user is disabled.";

/// Compares without revealing by its timing where the difference is.
fn same(one: &[u8], other: &[u8]) -> bool {
    let different = one.iter().zip(other).fold(0, |sum, (a, b)| sum | (a ^ b));
    one.len() == other.len() && std::hint::black_box(different) == 0
}

fn check(server: &mut StoreServer, slot: ClientSlot, user: &[u8], password: &[u8]) -> Outcome {
    let own = server.settings.own_credential.as_ref();
    let trusted = own.is_some_and(|own| user == own.user.as_bytes() && same(own.password.as_bytes(), password));
    let right = match &server.settings.password {
        None => true,
        Some(expected) => same(expected.as_bytes(), password),
    };
    let access = std::str::from_utf8(user).ok().and_then(|user| server.users.get(user));
    let access = access.filter(|access| !trusted && access.admits(password)).cloned();
    if !trusted && access.is_none() && (user != b"default" || !right) {
        refuse(server, slot);
        return Err(CommandError::new(WRONGPASS));
    }
    let Some(client) = server.clients.get_mut(slot) else { return Ok(()) };
    if client.reserve && !trusted {
        server.doom(slot);
        return Err(FULL);
    }
    client.authenticated = true;
    client.trusted = trusted;
    client.access = access;
    client.reserve = false;
    Ok(())
}

/// Notes a wrong password, which may delay its answer, and logs at most one line a minute.
fn refuse(server: &mut StoreServer, slot: ClientSlot) {
    let now = server.data.keys.now;
    let Some(client) = server.clients.get_mut(slot) else { return };
    client.held_back = server.auth_guard.wrong(now, slot, client.id).is_some();
    if let Some(count) = server.auth_guard.next_line(now) {
        let peer = client.endpoints.peer;
        tracing::warn!(%peer, count, "clients of the store sent a wrong password; this is the last of them");
    }
}

pub fn auth(server: &mut StoreServer, slot: ClientSlot, args: &Args, out: &mut Reply) -> Outcome {
    match args {
        [_, _] if server.settings.password.is_none() => {
            return Err(CommandError::new(
                "ERR AUTH <password> called without any password configured for the default user. \
                 Are you sure your configuration is correct?",
            ));
        }
        [_, password] => check(server, slot, b"default", password)?,
        [_, user, password] => check(server, slot, user, password)?,
        _ => return Err(SYNTAX),
    }
    out.ok();
    Ok(())
}

/// The longest name that a client or its library may have: `CLIENT LIST` repeats it for each client.
const LONGEST_NAME: usize = 4096;

/// Whether a name is valid: it must fit into lists with one client per line.
pub fn valid_name(name: &[u8]) -> bool {
    name.len() <= LONGEST_NAME && name.iter().all(|byte| (b'!'..=b'~').contains(byte))
}

/// Names a client, if the name is valid.
pub fn set_name(server: &mut StoreServer, slot: ClientSlot, name: &[u8]) -> Outcome {
    if !valid_name(name) {
        return Err(CommandError::new("ERR Client names cannot contain spaces, newlines or special characters."));
    }
    if let Some(client) = server.clients.get_mut(slot) {
        client.name = String::from_utf8_lossy(name).into_owned();
    }
    Ok(())
}

pub fn hello(server: &mut StoreServer, slot: ClientSlot, args: &Args, out: &mut Reply) -> Outcome {
    let mut resp3 = None;
    let mut name = None;
    if let Some(version) = args.get(1) {
        let version =
            parse_int(version).ok_or(CommandError::new("ERR Protocol version is not an integer or out of range"))?;
        if !(2..=3).contains(&version) {
            return Err(CommandError::new("NOPROTO unsupported protocol version"));
        }
        resp3 = Some(version == 3);
    }
    let mut cursor = Cursor::new(args, 2);
    while let Some(word) = cursor.next() {
        if is(word, "AUTH") && cursor.left() >= 2 {
            let (user, password) = (cursor.value()?, cursor.value()?);
            check(server, slot, user, password)?;
        } else if is(word, "SETNAME") && cursor.left() >= 1 {
            let given = cursor.value()?;
            if !valid_name(given) {
                return set_name(server, slot, given);
            }
            name = Some(given);
        } else {
            let word = String::from_utf8_lossy(word);
            return Err(CommandError::new(format!("ERR Syntax error in HELLO option '{word}'")));
        }
    }
    let Some(client) = server.clients.get_mut(slot) else {
        return Ok(());
    };
    if client.must_authenticate(&server.settings) {
        return Err(CommandError::new(
            "NOAUTH HELLO must be called with the client already authenticated, otherwise the HELLO \
             <proto> AUTH <user> <pass> option can be used to authenticate the client and select the \
             RESP protocol version at the same time",
        ));
    }
    if let Some(resp3) = resp3 {
        out.resp3 = resp3;
        client.reply.resp3 = resp3;
    }
    let id = client.id;
    if let Some(name) = name {
        set_name(server, slot, name)?;
    }
    greet(id, out);
    Ok(())
}

fn greet(id: u64, out: &mut Reply) {
    out.map(7);
    out.bulk(b"server");
    out.bulk(b"redis");
    out.bulk(b"version");
    out.bulk(REDIS_VERSION.as_bytes());
    out.bulk(b"proto");
    out.int(if out.resp3 { 3 } else { 2 });
    out.bulk(b"id");
    out.int(id as i64);
    out.bulk(b"mode");
    out.bulk(b"standalone");
    out.bulk(b"role");
    out.bulk(b"master");
    out.bulk(b"modules");
    out.array(0);
}
