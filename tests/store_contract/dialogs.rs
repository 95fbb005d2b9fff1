//! Several clients at once: the same dialogues with both servers, the same bytes back to each client.
//!
//! A line of `cases/dialogs.txt` names a client and what happens next: `A GET k` sends and reads one
//! reply, `A> BLPOP k 0` sends and waits until the server has it, `A<` reads one more reply. A blank line
//! ends a dialogue. `$B` is the number of client B. A dialogue that begins with `# RESP2:` or `# RESP3:`
//! is held in that protocol alone; one that has a client in it but nothing to do only has it connect.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use super::servers::{Embedded, Redis};
use super::split;
use super::wire::{Connection, Value, request};

struct Talk {
    address: SocketAddr,
    protocol: &'static str,
    control: Connection,
    clients: BTreeMap<String, (Connection, String)>,
}

impl Talk {
    fn begin(address: SocketAddr, protocol: &'static str) -> Self {
        let mut control = Connection::open(address);
        control.call(&["FLUSHALL"]);
        control.call(&["SCRIPT", "FLUSH"]);
        Self { address, protocol, control, clients: BTreeMap::new() }
    }

    fn client(&mut self, name: &str) -> &mut (Connection, String) {
        let (address, protocol) = (self.address, self.protocol);
        self.clients.entry(name.to_owned()).or_insert_with(|| {
            let mut connection = Connection::open(address);
            connection.call(&["HELLO", protocol]);
            let id = connection.call(&["CLIENT", "ID"]).text();
            (connection, id)
        })
    }

    /// Does what a line says; what the client got, if it reads.
    fn step(&mut self, line: &str) -> Option<Value> {
        let (name, rest) = line.split_once(' ').unwrap_or((line, ""));
        let args: Vec<Vec<u8>> = split(rest).into_iter().map(|arg| self.with_number(arg)).collect();
        if let Some(name) = name.strip_suffix('<') {
            return Some(self.client(name).0.read());
        }
        if let Some(name) = name.strip_suffix('>') {
            let (connection, id) = self.client(name);
            connection.send(&request(&args));
            let id = id.clone();
            self.wait_for(&id, &String::from_utf8_lossy(&args[0]).to_lowercase());
            return None;
        }
        Some(self.client(name).0.call(&args))
    }

    /// What a word stands for: `$B` for the number of client B.
    fn with_number(&mut self, word: Vec<u8>) -> Vec<u8> {
        match word.strip_prefix(b"$").map(String::from_utf8_lossy) {
            Some(name) if name.len() == 1 => self.client(&name).1.clone().into_bytes(),
            _ => word,
        }
    }

    /// A reply in which clients' numbers, which both servers count for themselves, are names.
    fn without_numbers(&self, value: Value) -> Value {
        match value {
            Value::Text(b':', text) => {
                let known = self.clients.iter().find(|(_, (_, id))| id.as_bytes() == text);
                Value::Text(b':', known.map_or(text, |(name, _)| format!("${name}").into_bytes()))
            }
            Value::Many(kind, items) => {
                Value::Many(kind, items.into_iter().map(|item| self.without_numbers(item)).collect())
            }
            other => other,
        }
    }

    /// Waits until the server has a client's command.
    fn wait_for(&mut self, id: &str, command: &str) {
        let deadline = Instant::now() + Duration::from_secs(10);
        loop {
            let line = self.control.call(&["CLIENT", "LIST", "ID", id]).text();
            if line.contains(&format!(" cmd={command}")) {
                return;
            }
            assert!(Instant::now() < deadline, "{command} has not arrived: {line}");
            std::thread::yield_now();
        }
    }
}

/// Leaves the time and the address out of a line of `MONITOR`.
fn without_time(value: Value) -> Value {
    let Value::Text(kind, text) = &value else { return value };
    let shown = String::from_utf8_lossy(text).into_owned();
    match shown.split_once(" [").and_then(|(time, rest)| Some((time, rest.split_once(']')?))) {
        Some((time, (origin, rest))) if time.parse::<f64>().is_ok() => {
            let (db, from) = origin.split_once(' ').unwrap_or((origin, ""));
            let from = if from == "lua" { from } else { "address" };
            Value::Text(*kind, format!("time [{db} {from}]{rest}").into_bytes())
        }
        _ => value,
    }
}

/// Holds the dialogues with both servers, and compares.
fn compare(text: &str) {
    let (ours, theirs) = (Embedded::start(), Redis::start());
    let mut differences = Vec::new();
    for (protocol, dialogue) in ["2", "3"].into_iter().flat_map(|p| text.split("\n\n").map(move |d| (p, d))) {
        let other = if protocol == "2" { "# RESP3:" } else { "# RESP2:" };
        if dialogue.starts_with(other) {
            continue;
        }
        let mut pair = [ours.address, theirs.address].map(|address| Talk::begin(address, protocol));
        for (number, line) in dialogue.lines().enumerate() {
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let [a, b] = pair.each_mut().map(|talk| {
                let value = talk.step(line).map(without_time);
                value.map(|value| talk.without_numbers(value))
            });
            if a != b {
                let title = dialogue.lines().next().unwrap_or_default();
                differences.push(format!("RESP{protocol}, {title}, {number}: {line}\n  ours  {a:?}\n  Redis {b:?}"));
                break;
            }
        }
    }
    assert!(differences.is_empty(), "{}", differences.join("\n"));
}

#[test]
fn several_clients_get_what_redis_gives_each_of_them() {
    compare(include_str!("cases/dialogs.txt"));
}

#[test]
fn clients_that_cache_are_told_of_changes_as_redis_tells_them() {
    compare(include_str!("cases/tracking.txt"));
}

#[test]
fn what_happens_to_keys_is_published_as_redis_publishes_it() {
    compare(include_str!("cases/events.txt"));
}
