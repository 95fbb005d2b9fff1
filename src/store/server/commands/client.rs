//! `CLIENT`: who is connected, and what one connection can do to another.

use std::collections::HashSet;

use crate::store::args::is;
use crate::store::command::other_subcommand;
use crate::store::error::{CommandError, NOT_AN_INTEGER, Outcome, SYNTAX, TIMEOUT_NEGATIVE};
use crate::store::number::parse_int;
use crate::store::pubsub::ClientSlot;
use crate::store::reply::Reply;
use crate::store::resp::Args;
use crate::store::server::client::{Client, ReplyMode};
use crate::store::server::tracks::Mode;
use crate::store::server::{StoreServer, blocking, pausing};

use super::connection::{set_name, valid_name};
use super::tracking::{caching, redirection, tracking, tracking_info};

pub fn client(server: &mut StoreServer, slot: ClientSlot, args: &Args, out: &mut Reply) -> Outcome {
    let Some(client) = server.clients.get_mut(slot) else {
        return Ok(());
    };
    match args {
        [_, what] if is(what, "ID") => out.int(client.id as i64),
        [_, what] if is(what, "GETNAME") => {
            out.bulk_or_null(Some(client.name.as_bytes()).filter(|name| !name.is_empty()));
        }
        [_, what, name] if is(what, "SETNAME") => {
            set_name(server, slot, name)?;
            out.ok();
        }
        [_, what, attribute, value] if is(what, "SETINFO") => {
            set_info(client, attribute, value)?;
            out.ok();
        }
        [_, what] if is(what, "INFO") => {
            let line = line(client, server.data.keys.now, out.resp3);
            out.verbatim(&format!("{line}\n"));
        }
        [_, what, filter @ ..] if is(what, "LIST") => {
            let text = list(server, filter, out.resp3)?;
            out.verbatim(&text);
        }
        [_, what, filter @ ..] if is(what, "KILL") && !filter.is_empty() => {
            kill(server, slot, filter, out)?;
        }
        [_, what, mode] if is(what, "REPLY") => match () {
            () if is(mode, "ON") => {
                client.mode = ReplyMode::On;
                out.ok();
            }
            () if is(mode, "OFF") => client.mode = ReplyMode::Off,
            () if is(mode, "SKIP") => {
                if client.mode != ReplyMode::Off {
                    client.mode = ReplyMode::SkipNext;
                }
            }
            () => return Err(SYNTAX),
        },
        [_, what, mode] if is(what, "NO-EVICT") || is(what, "NO-TOUCH") => {
            let on = is(mode, "ON");
            if !on && !is(mode, "OFF") {
                return Err(SYNTAX);
            }
            if is(what, "NO-EVICT") {
                client.no_evict = on;
            }
            out.ok();
        }
        [_, what, id, how @ ..] if is(what, "UNBLOCK") && how.len() < 2 => {
            unblock(server, id, how, out)?;
        }
        [_, what, timeout, mode @ ..] if is(what, "PAUSE") && mode.len() < 2 => {
            pause(server, timeout, mode.first().copied())?;
            out.ok();
        }
        [_, what] if is(what, "UNPAUSE") => {
            pausing::end(server);
            out.ok();
        }
        [_, what, _, ..] if is(what, "TRACKING") => tracking(server, slot, args, out)?,
        [_, what, answer] if is(what, "CACHING") => caching(client, answer, out)?,
        [_, what] if is(what, "GETREDIR") => out.int(redirection(client)),
        [_, what] if is(what, "TRACKINGINFO") => tracking_info(client, out),
        _ => return other_subcommand("CLIENT", args, out),
    }
    Ok(())
}

fn pause(server: &mut StoreServer, timeout: &[u8], mode: Option<&[u8]>) -> Outcome {
    let all = match mode {
        None => true,
        Some(mode) if is(mode, "ALL") => true,
        Some(mode) if is(mode, "WRITE") => false,
        Some(_) => return Err(CommandError::new("ERR CLIENT PAUSE mode must be WRITE or ALL")),
    };
    let error = || CommandError::new("ERR timeout is not an integer or out of range");
    let timeout = u64::try_from(parse_int(timeout).ok_or_else(error)?).map_err(|_| TIMEOUT_NEGATIVE)?;
    server.pause.begin(server.data.keys.now.saturating_add(timeout), all);
    Ok(())
}

fn set_info(client: &mut Client, attribute: &[u8], value: &[u8]) -> Outcome {
    let slot = match () {
        () if is(attribute, "LIB-NAME") => &mut client.library.0,
        () if is(attribute, "LIB-VER") => &mut client.library.1,
        () => {
            let attribute = String::from_utf8_lossy(attribute);
            return Err(CommandError::new(format!("ERR Unrecognized option '{attribute}'")));
        }
    };
    if !valid_name(value) {
        let attribute = String::from_utf8_lossy(attribute).to_lowercase();
        return Err(CommandError::new(format!(
            "ERR {attribute} cannot contain spaces, newlines or special characters."
        )));
    }
    *slot = String::from_utf8_lossy(value).into_owned();
    Ok(())
}

/// A client as `CLIENT LIST` shows it.
fn line(client: &Client, now: u64, resp3: bool) -> String {
    let tracks = client.tracks.as_deref();
    let flags: String = [
        (client.monitor, 'O'),
        (client.is_subscriber(), 'P'),
        (client.transaction.is_some(), 'x'),
        (client.blocked.is_some(), 'b'),
        (tracks.is_some(), 't'),
        (tracks.is_some_and(|tracks| tracks.broken), 'R'),
        (tracks.is_some_and(|tracks| tracks.mode == Mode::Broadcast), 'B'),
    ]
    .into_iter()
    .filter_map(|(is_so, letter)| is_so.then_some(letter))
    .collect();
    let flags = if flags.is_empty() { "N" } else { &flags };
    format!(
        "id={} addr={} laddr={} fd={} name={} age={} idle={} flags={flags} db={} sub={} psub={} ssub={} \
         multi={} qbuf={} qbuf-free=0 argv-mem=0 multi-mem={} rbs=0 rbp=0 obl={} oll=0 omem=0 \
         tot-mem={} events=r cmd={} user={} redir={} resp={} lib-name={} lib-ver={}",
        client.id,
        client.endpoints.peer,
        client.endpoints.local,
        client.endpoints.descriptor,
        client.name,
        now.saturating_sub(client.since) / 1000,
        now.saturating_sub(client.last_active) / 1000,
        client.db,
        client.channels.len(),
        client.patterns.len(),
        client.shards.len(),
        client.transaction.as_ref().map_or(-1, |transaction| transaction.queue.len() as i64),
        client.held(),
        client.transaction.as_ref().map_or(0, |transaction| transaction.bytes),
        client.pending(),
        size_of::<Client>() + client.input.capacity() + client.reply.buf.capacity(),
        client.last_command,
        user(client),
        redirection(client),
        if client.reply.resp3 || resp3 { 3 } else { 2 },
        client.library.0,
        client.library.1,
    )
}

/// The name of a client's user, as `CLIENT LIST` shows it.
fn user(client: &Client) -> &str {
    client.access.as_ref().map_or("default", |access| &access.name)
}

fn kind(client: &Client) -> &'static str {
    if client.is_subscriber() { "pubsub" } else { "normal" }
}

fn check_type(arg: &[u8]) -> Outcome {
    let known = ["normal", "master", "replica", "slave", "pubsub"];
    if known.iter().any(|name| is(arg, name)) {
        return Ok(());
    }
    let arg = String::from_utf8_lossy(arg);
    Err(CommandError::new(format!("ERR Unknown client type '{arg}'")))
}

fn list(server: &StoreServer, filter: &Args, _resp3: bool) -> Result<String, CommandError> {
    let mut wanted: Box<dyn Fn(&Client) -> bool> = Box::new(|_| true);
    match filter {
        [] => {}
        [word, name] if is(word, "TYPE") => {
            check_type(name)?;
            let name = name.to_ascii_lowercase();
            wanted = Box::new(move |client| kind(client).as_bytes() == name);
        }
        [word, ids @ ..] if is(word, "ID") && !ids.is_empty() => {
            let mut numbers = HashSet::new();
            for id in ids {
                numbers.insert(parse_int(id).ok_or(CommandError::new("ERR Invalid client ID"))?);
            }
            wanted = Box::new(move |client| numbers.contains(&(client.id as i64)));
        }
        _ => return Err(SYNTAX),
    }
    let now = server.data.keys.now;
    let lines = server.clients.iter().filter(|(_, client)| wanted(client));
    Ok(lines.map(|(_, client)| line(client, now, false) + "\n").collect())
}

#[derive(Default)]
struct KillFilter {
    id: Option<u64>,
    kind: Option<String>,
    address: Option<String>,
    local: Option<String>,
    user: Option<String>,
    skip_me: bool,
}

impl KillFilter {
    fn parse(server: &StoreServer, args: &Args) -> Result<Self, CommandError> {
        let mut filter = Self { skip_me: true, ..Self::default() };
        for pair in args.chunks(2) {
            let [word, value] = pair else {
                return Err(SYNTAX);
            };
            let text = String::from_utf8_lossy(value).into_owned();
            match () {
                () if is(word, "ID") => {
                    let id = parse_int(value).filter(|id| *id > 0);
                    let id = id.ok_or(CommandError::new("ERR client-id should be greater than 0"))?;
                    filter.id = Some(id as u64);
                }
                () if is(word, "TYPE") => {
                    check_type(value)?;
                    filter.kind = Some(text.to_lowercase());
                }
                () if is(word, "ADDR") => filter.address = Some(text),
                () if is(word, "LADDR") => filter.local = Some(text),
                () if is(word, "USER") => {
                    if text != "default" && !server.users.contains_key(&text) {
                        return Err(CommandError::new(format!("ERR No such user '{text}'")));
                    }
                    filter.user = Some(text);
                }
                () if is(word, "SKIPME") => match () {
                    () if is(value, "YES") => filter.skip_me = true,
                    () if is(value, "NO") => filter.skip_me = false,
                    () => return Err(SYNTAX),
                },
                () => return Err(SYNTAX),
            }
        }
        Ok(filter)
    }

    fn hits(&self, client: &Client) -> bool {
        self.id.is_none_or(|id| id == client.id)
            && self.kind.as_deref().is_none_or(|name| name == kind(client))
            && self.address.as_deref().is_none_or(|text| text == client.endpoints.peer.to_string())
            && self.user.as_deref().is_none_or(|name| name == user(client))
            && self.local.as_deref().is_none_or(|text| text == client.endpoints.local.to_string())
    }
}

fn kill(server: &mut StoreServer, slot: ClientSlot, args: &Args, out: &mut Reply) -> Outcome {
    let old_form = args.len() == 1;
    let filter = if old_form {
        let address = Some(String::from_utf8_lossy(args[0]).into_owned());
        KillFilter { address, ..KillFilter::default() }
    } else {
        KillFilter::parse(server, args)?
    };
    let doomed: Vec<ClientSlot> = server
        .clients
        .iter()
        .filter(|(other, client)| !(filter.skip_me && *other == slot) && filter.hits(client))
        .map(|(other, _)| other)
        .collect();
    for other in &doomed {
        if *other == slot {
            if let Some(client) = server.clients.get_mut(slot) {
                client.closing = true;
            }
        } else {
            server.doom(*other);
        }
    }
    match (old_form, doomed.is_empty()) {
        (true, true) => return Err(CommandError::new("ERR No such client")),
        (true, false) => out.ok(),
        (false, _) => out.len(doomed.len()),
    }
    Ok(())
}

fn unblock(server: &mut StoreServer, id: &[u8], how: &Args, out: &mut Reply) -> Outcome {
    let id = parse_int(id).ok_or(NOT_AN_INTEGER)?;
    let with_error = match how {
        [] => false,
        [word] if is(word, "TIMEOUT") => false,
        [word] if is(word, "ERROR") => true,
        _ => {
            return Err(CommandError::new("ERR CLIENT UNBLOCK reason should be TIMEOUT or ERROR"));
        }
    };
    let slot = u64::try_from(id).ok().and_then(|id| server.slots.get(&id).copied());
    let is_blocked = |slot: &ClientSlot| server.clients.get(*slot).is_some_and(|client| client.blocked.is_some());
    let found = slot.filter(is_blocked);
    if let Some(slot) = found {
        if let Some(client) = server.clients.get_mut(slot) {
            if with_error {
                client.reply.error("UNBLOCKED client unblocked via CLIENT UNBLOCK");
            } else {
                client.reply.null_array();
            }
        }
        blocking::give_up(server, slot);
        server.schedule(slot);
    }
    out.flag(found.is_some());
    Ok(())
}
