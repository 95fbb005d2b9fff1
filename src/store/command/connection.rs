//! The connection itself: who is there, in which protocol, under which name.

use crate::store::args::{Cursor, is};
use crate::store::client::{Client, ReplyMode};
use crate::store::failure::{Fail, NOT_AN_INTEGER, Outcome, SYNTAX};
use crate::store::keyspace::Keyspace;
use crate::store::number::parse_int;
use crate::store::pubsub::{Kind, Slot};
use crate::store::reply::Reply;
use crate::store::resp::Args;
use crate::store::server::{REDIS_VERSION, Server};

pub fn echo(_: &mut Keyspace, args: &Args, out: &mut Reply) -> Outcome {
    out.bulk(args[1]);
    Ok(())
}

pub fn time(keys: &mut Keyspace, _: &Args, out: &mut Reply) -> Outcome {
    out.array(2);
    out.bulk((keys.now / 1000).to_string().as_bytes());
    out.bulk((keys.now % 1000 * 1000 + keys.micros).to_string().as_bytes());
    Ok(())
}

pub fn lolwut(_: &mut Keyspace, _: &Args, out: &mut Reply) -> Outcome {
    out.verbatim(&format!("headcount {}\n", env!("CARGO_PKG_VERSION")));
    Ok(())
}

pub fn ping(_: &mut Keyspace, args: &Args, out: &mut Reply) -> Outcome {
    match args {
        [_] => out.simple("PONG"),
        [_, text] => out.bulk(text),
        _ => return Err(super::wrong_arity("ping")),
    }
    Ok(())
}

/// `PING` as a subscriber that speaks RESP2 gets it answered: in the shape of a message.
pub fn ping_subscriber(args: &Args, out: &mut Reply) {
    out.array(2);
    out.bulk(b"pong");
    out.bulk(args.get(1).copied().unwrap_or_default());
}

pub fn quit(server: &mut Server, slot: Slot, _: &Args, out: &mut Reply) -> Outcome {
    if let Some(client) = server.clients.get_mut(slot) {
        client.closing = true;
    }
    out.ok();
    Ok(())
}

pub fn reset(server: &mut Server, slot: Slot, _: &Args, out: &mut Reply) -> Outcome {
    super::release_watches(server, slot);
    server.leave_all(slot);
    let open = server.settings.password.is_none();
    let Some(client) = server.clients.get_mut(slot) else {
        return Ok(());
    };
    client.transaction = None;
    client.authenticated = open;
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

/// Compares without telling by its time where the difference is.
fn same(one: &[u8], other: &[u8]) -> bool {
    let different = one.iter().zip(other).fold(0, |sum, (a, b)| sum | (a ^ b));
    one.len() == other.len() && std::hint::black_box(different) == 0
}

fn check(server: &mut Server, slot: Slot, user: &[u8], password: &[u8]) -> Outcome {
    let right = match &server.settings.password {
        None => true,
        Some(expected) => same(expected.as_bytes(), password),
    };
    if user != b"default" || !right {
        return Err(Fail::new(WRONGPASS));
    }
    if let Some(client) = server.clients.get_mut(slot) {
        client.authenticated = true;
    }
    Ok(())
}

pub fn auth(server: &mut Server, slot: Slot, args: &Args, out: &mut Reply) -> Outcome {
    match args {
        [_, _] if server.settings.password.is_none() => {
            return Err(Fail::new(
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

/// Names are shown in lists, one client a line.
fn valid_name(name: &[u8]) -> bool {
    name.iter().all(|byte| (b'!'..=b'~').contains(byte))
}

fn set_name(server: &mut Server, slot: Slot, name: &[u8]) -> Outcome {
    if !valid_name(name) {
        return Err(Fail::new("ERR Client names cannot contain spaces, newlines or special characters."));
    }
    if let Some(client) = server.clients.get_mut(slot) {
        client.name = String::from_utf8_lossy(name).into_owned();
    }
    Ok(())
}

pub fn hello(server: &mut Server, slot: Slot, args: &Args, out: &mut Reply) -> Outcome {
    let mut resp3 = None;
    let mut name = None;
    if let Some(version) = args.get(1) {
        let version = parse_int(version).ok_or(Fail::new("ERR Protocol version is not an integer or out of range"))?;
        if !(2..=3).contains(&version) {
            return Err(Fail::new("NOPROTO unsupported protocol version"));
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
            return Err(Fail::new(format!("ERR Syntax error in HELLO option '{word}'")));
        }
    }
    let Some(client) = server.clients.get_mut(slot) else {
        return Ok(());
    };
    if !client.authenticated {
        return Err(Fail::new(
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

pub fn client(server: &mut Server, slot: Slot, args: &Args, out: &mut Reply) -> Outcome {
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
        [_, what] if is(what, "GETREDIR") => out.int(-1),
        _ => return Err(super::unknown_subcommand("CLIENT", args)),
    }
    Ok(())
}

fn set_info(client: &mut Client, attribute: &[u8], value: &[u8]) -> Outcome {
    let slot = match () {
        () if is(attribute, "LIB-NAME") => &mut client.library.0,
        () if is(attribute, "LIB-VER") => &mut client.library.1,
        () => {
            let attribute = String::from_utf8_lossy(attribute);
            return Err(Fail::new(format!("ERR Unrecognized option '{attribute}'")));
        }
    };
    if !valid_name(value) {
        let attribute = String::from_utf8_lossy(attribute).to_lowercase();
        return Err(Fail::new(format!("ERR {attribute} cannot contain spaces, newlines or special characters.")));
    }
    *slot = String::from_utf8_lossy(value).into_owned();
    Ok(())
}

/// A client as `CLIENT LIST` shows it.
fn line(client: &Client, now: u64, resp3: bool) -> String {
    let flags = match () {
        () if client.monitor => "O",
        () if client.is_subscriber() => "P",
        () if client.transaction.is_some() => "x",
        () if client.blocked.is_some() => "b",
        () => "N",
    };
    format!(
        "id={} addr={} laddr={} fd={} name={} age={} idle={} flags={flags} db={} sub={} psub={} ssub={} \
         multi={} qbuf={} qbuf-free=0 argv-mem=0 multi-mem={} rbs=0 rbp=0 obl={} oll=0 omem=0 \
         tot-mem={} events=r cmd={} user=default redir=-1 resp={} lib-name={} lib-ver={}",
        client.id,
        client.peer,
        client.local,
        std::os::fd::AsRawFd::as_raw_fd(&client.socket),
        client.name,
        now.saturating_sub(client.since) / 1000,
        now.saturating_sub(client.last_active) / 1000,
        client.db,
        client.channels.len(),
        client.patterns.len(),
        client.shards.len(),
        client.transaction.as_ref().map_or(-1, |transaction| transaction.queue.len() as i64),
        client.input.len(),
        client.transaction.as_ref().map_or(0, |transaction| transaction.bytes),
        client.pending(),
        size_of::<Client>() + client.input.capacity() + client.reply.buf.capacity(),
        client.last_command,
        if client.reply.resp3 || resp3 { 3 } else { 2 },
        client.library.0,
        client.library.1,
    )
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
    Err(Fail::new(format!("ERR Unknown client type '{arg}'")))
}

fn list(server: &Server, filter: &Args, _resp3: bool) -> Result<String, Fail> {
    let mut wanted: Box<dyn Fn(&Client) -> bool> = Box::new(|_| true);
    match filter {
        [] => {}
        [word, name] if is(word, "TYPE") => {
            check_type(name)?;
            let name = name.to_ascii_lowercase();
            wanted = Box::new(move |client| kind(client).as_bytes() == name);
        }
        [word, ids @ ..] if is(word, "ID") && !ids.is_empty() => {
            let mut numbers = Vec::new();
            for id in ids {
                numbers.push(parse_int(id).ok_or(Fail::new("ERR Invalid client ID"))?);
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
    fn parse(args: &Args) -> Result<Self, Fail> {
        let mut filter = Self { skip_me: true, ..Self::default() };
        for pair in args.chunks(2) {
            let [word, value] = pair else {
                return Err(SYNTAX);
            };
            let text = String::from_utf8_lossy(value).into_owned();
            match () {
                () if is(word, "ID") => {
                    let id = parse_int(value).filter(|id| *id > 0);
                    let id = id.ok_or(Fail::new("ERR client-id should be greater than 0"))?;
                    filter.id = Some(id as u64);
                }
                () if is(word, "TYPE") => {
                    check_type(value)?;
                    filter.kind = Some(text.to_lowercase());
                }
                () if is(word, "ADDR") => filter.address = Some(text),
                () if is(word, "LADDR") => filter.local = Some(text),
                () if is(word, "USER") => {
                    if text != "default" {
                        return Err(Fail::new(format!("ERR No such user '{text}'")));
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
            && self.address.as_deref().is_none_or(|text| text == client.peer.to_string())
            && self.local.as_deref().is_none_or(|text| text == client.local.to_string())
    }
}

fn kill(server: &mut Server, slot: Slot, args: &Args, out: &mut Reply) -> Outcome {
    let old_form = args.len() == 1;
    let filter = if old_form {
        let address = Some(String::from_utf8_lossy(args[0]).into_owned());
        KillFilter { address, ..KillFilter::default() }
    } else {
        KillFilter::parse(args)?
    };
    let doomed: Vec<Slot> = server
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
        (true, true) => return Err(Fail::new("ERR No such client")),
        (true, false) => out.ok(),
        (false, _) => out.len(doomed.len()),
    }
    Ok(())
}

fn unblock(server: &mut Server, id: &[u8], how: &Args, out: &mut Reply) -> Outcome {
    let id = parse_int(id).ok_or(NOT_AN_INTEGER)?;
    let with_error = match how {
        [] => false,
        [word] if is(word, "TIMEOUT") => false,
        [word] if is(word, "ERROR") => true,
        _ => {
            return Err(Fail::new("ERR CLIENT UNBLOCK reason should be TIMEOUT or ERROR"));
        }
    };
    let found = server
        .clients
        .iter()
        .find(|(_, client)| client.id as i64 == id && client.blocked.is_some())
        .map(|(slot, _)| slot);
    if let Some(slot) = found {
        if let Some(client) = server.clients.get_mut(slot) {
            if with_error {
                client.reply.error("UNBLOCKED client unblocked via CLIENT UNBLOCK");
            } else {
                client.reply.null_array();
            }
        }
        server.unblock(slot);
        server.schedule(slot);
    }
    out.flag(found.is_some());
    Ok(())
}

impl Server {
    /// Ends all subscriptions of a client.
    pub fn leave_all(&mut self, slot: Slot) {
        let Some(client) = self.clients.get_mut(slot) else {
            return;
        };
        for kind in [Kind::Channel, Kind::Pattern, Kind::Shard] {
            for name in std::mem::take(client.names(kind)) {
                self.data.pubsub.unsubscribe(kind, &name, slot);
            }
        }
    }
}
