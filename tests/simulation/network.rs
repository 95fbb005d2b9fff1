//! Connections: two ordered streams each, with delays. They break before a request arrives or after it
//! was carried out, and between two of them nothing is in order.

use std::collections::VecDeque;

use headcount::store::ClientSlot;
use redis::{PushKind, Value};

use crate::plan::{Action, CHANNELS, ERRORS, Inject, LIST, TOPICS};
use crate::wire;
use crate::world::{CHECK, Event, TIMEOUT, World};

pub struct Connection {
    pub node: usize,
    messages: bool,
    /// The client's number at the store, while that knows it.
    pub slot: Option<ClientSlot>,
    /// Whether the client still has it.
    pub open: bool,
    /// Its node has given it up and makes another.
    given_up: bool,
    /// Nothing gets through any more, and neither end knows.
    pub dead: bool,
    /// Until when what was under way to the store is held up.
    pub held: u64,
    to_store: u64,
    to_client: u64,
    pub received: Vec<u8>,
    /// Calls that wait for a reply, in their order.
    pub waiting: VecDeque<u64>,
    last_call: u64,
    /// Subscriptions that wait to be acknowledged.
    wanted: VecDeque<(usize, bool)>,
}

impl World {
    pub fn latency(&mut self, connection: usize) -> u64 {
        let node = self.connections.get(&connection).map_or(0, |connection| connection.node);
        let usual = self.random.u64(50..1_500);
        let extra = if self.random.u8(..100) < 3 { self.random.u64(..80_000) } else { 0 };
        let slow = if self.slow[node] > self.now { self.random.u64(20_000..500_000) } else { 0 };
        usual + extra + slow
    }

    /// A node begins to connect.
    pub fn connect(&mut self, node: usize, messages: bool) {
        let Some(process) = &self.nodes[node] else { return };
        if process.paused > self.now {
            let until = process.paused;
            return self.put_off(until, Event::Retry { node, messages });
        }
        let place = if messages { process.messages } else { process.commands };
        if place.is_some() {
            return;
        }
        self.last_connection += 1;
        let number = self.last_connection;
        let connection = Connection {
            node,
            messages,
            slot: None,
            open: true,
            given_up: false,
            dead: false,
            held: 0,
            to_store: 0,
            to_client: 0,
            received: Vec::new(),
            waiting: VecDeque::from([0]),
            last_call: 0,
            wanted: VecDeque::new(),
        };
        self.connections.insert(number, connection);
        if let Some(process) = &mut self.nodes[node] {
            *(if messages { &mut process.messages } else { &mut process.commands }) = Some(number);
        }
        self.after(TIMEOUT, Event::Timeout { connection: number, call: 0 });
        self.send(number, true, Event::Connect { connection: number });
    }

    /// Puts something on its way, behind what is on it already.
    fn send(&mut self, number: usize, to_store: bool, event: Event) {
        let latency = self.latency(number);
        let Some(connection) = self.connections.get_mut(&number) else { return };
        let (until, lost) = self.partitions[connection.node];
        if until > self.now && lost {
            connection.dead = true;
        }
        if connection.dead {
            return;
        }
        let from = if until > self.now { until } else { self.now };
        let last = if to_store { &mut connection.to_store } else { &mut connection.to_client };
        let arrival = (from + latency).max(*last + 1);
        *last = arrival;
        self.at(arrival, event);
    }

    /// A node's job calls the store.
    pub fn call(&mut self, node: usize, call: u64, bytes: Vec<u8>) {
        let Some(number) = self.nodes[node].as_ref().and_then(|node| node.commands) else { return };
        self.stats.calls += 1;
        self.count_rate(node);
        if let Some(connection) = self.connections.get_mut(&number) {
            connection.waiting.push_back(call);
        }
        self.after(TIMEOUT, Event::Timeout { connection: number, call });
        self.send(number, true, Event::ToStore { connection: number, bytes });
    }

    /// No more work than so much a node and second, whatever happens.
    fn count_rate(&mut self, node: usize) {
        let second = self.now / 1_000_000;
        let (at, calls) = &mut self.rate[node];
        if *at != second {
            (*at, *calls) = (second, 0);
        }
        *calls += 1;
        if *calls == 600 {
            self.fail(format!("node {node} made 600 calls within a second"));
        }
    }

    pub fn subscribe(&mut self, node: usize, topic: usize, on: bool) {
        let Some(number) = self.nodes[node].as_ref().and_then(|node| node.messages) else { return };
        let Some(connection) = self.connections.get_mut(&number).filter(|connection| connection.waiting != [0]) else {
            return;
        };
        connection.wanted.push_back((topic, on));
        self.ask(number, &[if on { "SUBSCRIBE" } else { "UNSUBSCRIBE" }, TOPICS[topic]]);
    }

    fn ask(&mut self, number: usize, command: &[&str]) {
        let Some(connection) = self.connections.get_mut(&number) else { return };
        connection.last_call += 1;
        let call = connection.last_call;
        connection.waiting.push_back(call);
        self.after(TIMEOUT, Event::Timeout { connection: number, call });
        self.send(number, true, Event::ToStore { connection: number, bytes: wire::command(command) });
    }

    pub fn on_network(&mut self, event: Event) {
        match event {
            Event::Connect { connection } | Event::ToStore { connection, .. } if self.store.stalled > self.now => {
                let _ = connection;
                self.put_off(self.store.stalled, event);
            }
            Event::Connect { connection } => {
                let slot = self.store.connect();
                let Some(ends) = self.connections.get_mut(&connection) else { return };
                ends.slot = slot;
                let event = if slot.is_some() { Event::Connected { connection } } else { Event::Closed { connection } };
                self.send(connection, false, event);
            }
            Event::ToStore { connection, .. } if self.held(connection) > self.now => {
                self.put_off(self.held(connection), event);
            }
            Event::ToStore { connection, bytes, .. } => self.arrive(connection, &bytes),
            Event::Connected { connection } => self.connected(connection),
            Event::ToClient { connection, ref bytes } => {
                let Some(ends) = self.connections.get_mut(&connection).filter(|ends| ends.open) else { return };
                let node = ends.node;
                if let Some(until) = self.nodes[node].as_ref().map(|node| node.paused).filter(|until| *until > self.now)
                {
                    return self.put_off(until, event);
                }
                ends.received.extend_from_slice(bytes);
                self.receive(connection);
            }
            Event::Closed { connection } => self.lose(connection),
            Event::Timeout { connection, call } => {
                let waits = |ends: &Connection| ends.open && ends.waiting.contains(&call);
                if let Some(ends) = self.connections.get(&connection).filter(|ends| waits(ends)) {
                    let node = ends.node;
                    if let Some(until) =
                        self.nodes[node].as_ref().map(|node| node.paused).filter(|until| *until > self.now)
                    {
                        // Whether the timer or the socket is looked at first is not known.
                        let later = u64::from(self.random.bool());
                        return self.put_off(until + later, event);
                    }
                    self.note(|| format!("node {node}: no answer in time"));
                    self.lose(connection);
                }
            }
            Event::Check { connection } if self.connections.get(&connection).is_some_and(|ends| ends.open) => {
                self.ask(connection, &["PING"]);
                self.after(CHECK, event);
            }
            _ => {}
        }
    }

    /// A request arrives at the store.
    fn arrive(&mut self, number: usize, bytes: &[u8]) {
        let Some(connection) = self.connections.get(&number) else { return };
        let Some(slot) = connection.slot else { return };
        let newer =
            self.nodes[connection.node].as_ref().and_then(|node| node.commands).filter(|newer| *newer != number);
        if connection.given_up && newer.is_some() {
            // After what its node may have said since.
            (self.late, self.crowded) = (true, false);
        }
        self.arrived += 1;
        let injected = self.inject.filter(|(at, _)| *at == self.arrived).map(|(_, what)| what);
        let draw = self.random.u8(..100);
        let refusal = match injected {
            Some(Inject::Error(error)) => Some(ERRORS[error]),
            _ => self.store.refusal(self.now, draw),
        };
        if injected.is_some() {
            self.disturb_all(self.now);
        }
        if let Some(refusal) = refusal {
            self.note(|| format!("the store refuses: {refusal}"));
            return self.reply(number, format!("-{refusal}\r\n").into());
        }
        if self.crowded && bytes.windows(6).any(|part| part == b"\r\nSCAN") {
            return self.reply(number, b"*2\r\n$2\r\n17\r\n*0\r\n".to_vec());
        }
        if injected.is_some_and(|what| self.inject(number, what)) {
            return;
        }
        let out = self.store.feed(self.now, slot, bytes);
        self.watch(number, bytes, &out);
        self.hand_out(out);
    }

    fn reply(&mut self, number: usize, bytes: Vec<u8>) {
        self.send(number, false, Event::ToClient { connection: number, bytes });
    }

    /// Something goes wrong as this request arrives. True if the store does not get it.
    fn inject(&mut self, number: usize, what: Inject) -> bool {
        let Some((node, messages)) = self.connections.get(&number).map(|ends| (ends.node, ends.messages)) else {
            return true;
        };
        match what {
            Inject::Error(_) => {}
            Inject::Cut { arrives } => {
                self.cut(node, messages, arrives);
                return !arrives;
            }
            Inject::FlushAll => self.act(Action::FlushAll),
            Inject::Lose(key) => self.act(Action::Lose { key }),
            Inject::Crash => self.act(Action::Crash { node }),
        }
        false
    }

    /// Another program publishes.
    pub fn publish(&mut self, command: &[&str]) {
        if let Some(slot) = self.store.connect() {
            let out = self.store.feed(self.now, slot, &wire::command(command));
            self.hand_out(out);
            self.store.close(slot);
        }
    }

    fn hand_out(&mut self, out: Vec<(ClientSlot, Vec<u8>)>) {
        for (slot, bytes) in out {
            let to = self.connections.iter().find(|(_, connection)| connection.slot == Some(slot));
            if let Some(connection) = to.map(|(number, _)| *number) {
                self.send(connection, false, Event::ToClient { connection, bytes });
            }
        }
    }

    fn connected(&mut self, number: usize) {
        let Some(connection) = self.connections.get_mut(&number).filter(|connection| connection.open) else { return };
        let (node, messages) = (connection.node, connection.messages);
        if let Some(until) = self.nodes[node].as_ref().map(|node| node.paused).filter(|until| *until > self.now) {
            return self.put_off(until, Event::Connected { connection: number });
        }
        connection.waiting.clear();
        self.note(|| format!("node {node} is connected{}", if messages { " for messages" } else { "" }));
        let event = Event::Connected { connection: number };
        if !messages {
            self.disturbed[node].linked = self.now;
            return self.with(node, event, |node, now, asks| node.link(true, now, asks));
        }
        self.ask(number, &["HELLO", "3"]);
        self.after(CHECK, Event::Check { connection: number });
        self.with(node, event, |node, now, asks| {
            node.subscription(true, now);
            asks.subscriptions
                .extend(node.hubs.keys().flat_map(|channel| node.topics(*channel)).map(|topic| (topic, true)));
        });
    }

    /// Takes in the replies and messages that are complete.
    fn receive(&mut self, number: usize) {
        loop {
            let Some(connection) = self.connections.get_mut(&number).filter(|connection| connection.open) else {
                return;
            };
            let Some(reply) = wire::take(&mut connection.received) else { return };
            let (node, messages) = (connection.node, connection.messages);
            let reply = wire::read(&reply);
            if !messages {
                let Some(call) = connection.waiting.pop_front() else { continue };
                let again = Event::ToClient { connection: number, bytes: Vec::new() };
                self.with(node, again, |node, now, asks| node.reply(call, reply, now, asks));
                continue;
            }
            match reply {
                Ok(Value::Push { kind: PushKind::Message, data }) => self.message(node, &data),
                Ok(Value::Push { .. }) => {
                    connection.waiting.pop_front();
                    if let Some((channel, true)) = connection.wanted.pop_front()
                        && !connection.wanted.iter().any(|(later, _)| *later == channel)
                    {
                        let again = Event::ToClient { connection: number, bytes: Vec::new() };
                        self.with(node, again, |node, now, _| node.subscribed(channel, now));
                    }
                }
                Ok(_) => {
                    connection.waiting.pop_front();
                }
                Err(_) => return self.lose(number),
            }
        }
    }

    fn message(&mut self, node: usize, data: &[Value]) {
        let [Value::BulkString(channel), Value::BulkString(payload)] = data else { return };
        let again = Event::ToClient { connection: 0, bytes: Vec::new() };
        if channel == TOPICS[LIST].as_bytes() {
            self.note(|| format!("node {node} hears of members: {}", payload.escape_ascii()));
            return self.with(node, again, |node, now, _| node.told(payload, now));
        }
        let channel = CHANNELS.iter().position(|name| name.as_bytes() == &channel[..]);
        let number = std::str::from_utf8(payload).ok().and_then(|text| text.parse().ok());
        let (Some(channel), Some(number)) = (channel, number) else { return };
        self.note(|| format!("node {node} hears {number} on {}", CHANNELS[channel]));
        self.with(node, again, |node, now, _| node.heard(channel, number, now));
    }

    /// The client gives a connection up; what it has sent may still arrive.
    pub fn hang_up(&mut self, number: usize, arrives: bool) {
        let Some(connection) = self.connections.get_mut(&number) else { return };
        connection.open = false;
        if !arrives && let Some(slot) = connection.slot.take() {
            self.store.close(slot);
        }
    }

    /// A node finds its connection broken, and makes another.
    fn lose(&mut self, number: usize) {
        let Some(connection) = self.connections.get(&number).filter(|connection| connection.open) else { return };
        let (node, messages) = (connection.node, connection.messages);
        if let Some(until) = self.nodes[node].as_ref().map(|node| node.paused).filter(|until| *until > self.now) {
            return self.put_off(until, Event::Closed { connection: number });
        }
        let arrives = self.held(number) > self.now || self.random.bool();
        self.hang_up(number, arrives);
        if let Some(connection) = self.connections.get_mut(&number) {
            connection.given_up = !messages;
        }
        let wait = self.random.u64(25_000..500_000);
        self.after(wait, Event::Retry { node, messages });
        let event = Event::Closed { connection: number };
        self.with(node, event, |node, now, asks| {
            if messages {
                node.messages = None;
                node.subscription(false, now);
            } else {
                node.commands = None;
                node.link(false, now, asks);
            }
        });
        if !messages {
            self.disturbed[node].linked = u64::MAX;
        }
    }
}
