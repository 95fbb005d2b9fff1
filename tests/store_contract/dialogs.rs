//! Several clients at once: the same dialogues with both servers, the same bytes back to each client.
//!
//! A line of `cases/dialogs.txt` names a client and what happens next: `A GET k` sends and reads one
//! reply, `A> BLPOP k 0` sends and waits until the server has it, `A<` reads one more reply. A blank line
//! ends a dialogue.

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
        let args = split(rest);
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

#[test]
fn several_clients_get_what_redis_gives_each_of_them() {
    let (ours, theirs) = (Embedded::start(), Redis::start());
    let mut differences = Vec::new();
    let text = include_str!("cases/dialogs.txt");
    for (protocol, dialogue) in ["2", "3"].into_iter().flat_map(|p| text.split("\n\n").map(move |d| (p, d))) {
        let mut pair = [ours.address, theirs.address].map(|address| Talk::begin(address, protocol));
        for line in dialogue.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
            let [a, b] = pair.each_mut().map(|talk| talk.step(line).map(without_time));
            if a != b {
                differences.push(format!("RESP{protocol}: {line}\n  ours  {a:?}\n  Redis {b:?}"));
                break;
            }
        }
    }
    assert!(differences.is_empty(), "{}", differences.join("\n"));
}
