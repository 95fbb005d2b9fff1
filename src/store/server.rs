//! The server's state: data, clients, settings, and what is pending for each round of the loop.
//!
//! Everything here belongs to one thread, so a command runs alone and needs no lock. The loop that
//! drives it is in `event_loop`, the way from a request to its command in `dispatch`.

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::time::{SystemTime, UNIX_EPOCH};

use super::aof::Aof;
use super::blocking::Waiting;
use super::client::Clients;
use super::data::Data;
use super::number::hex;
use super::pubsub::Slot;
use super::resp::Args;
use super::script::{Scripts, Vm};
use super::settings::Options;

/// The Redis whose commands, replies and error texts this store keeps to.
pub const REDIS_VERSION: &str = "7.0.15";

/// What outlives the thread that serves: everything but connections and the script engine.
#[derive(Debug)]
pub struct Contents {
    /// Keys and subscriptions.
    pub data: Data,
    /// The scripts that were loaded.
    pub scripts: Scripts,
    /// The log, if there is one.
    pub log: Option<Aof>,
    /// How the store was opened.
    pub options: Options,
}

/// Counters, for `INFO`.
#[derive(Debug, Default)]
pub struct Stats {
    /// When the server started, in milliseconds since 1970.
    pub started: u64,
    /// When the log was last rewritten.
    pub last_save: u64,
    /// Commands that ran or were refused.
    pub commands: u64,
    /// Connections that were taken.
    pub connections: u64,
    /// Connections that were refused because there were too many.
    pub rejected: u64,
    /// Bytes received.
    pub input: u64,
    /// Bytes sent.
    pub output: u64,
    /// Clients that were dropped because they did not read.
    pub dropped_output: u64,
    /// Clients that were dropped because they sent too long a command.
    pub dropped_input: u64,
    /// Error replies by their first word; at most [`MAX_ERROR_CODES`] different ones.
    pub errors: BTreeMap<String, u64>,
}

/// A script can make up error codes; no more than so many are told apart.
const MAX_ERROR_CODES: usize = 128;

impl Stats {
    /// Counts an error reply.
    pub fn error(&mut self, text: &str) {
        let code = text.split(' ').next().unwrap_or(text);
        if let Some(count) = self.errors.get_mut(code) {
            *count += 1;
        } else if self.errors.len() < MAX_ERROR_CODES {
            self.errors.insert(code.to_owned(), 1);
        }
    }

    /// Sets the counters back.
    pub fn reset(&mut self) {
        let (started, last_save) = (self.started, self.last_save);
        *self = Self { started, last_save, ..Self::default() };
    }
}

/// The state; see the module's text.
pub struct Server {
    /// Keys and subscriptions; boxed, because a script takes them over while it runs.
    pub data: Box<Data>,
    /// All connections.
    pub clients: Clients,
    /// What can be set.
    pub settings: Options,
    /// Counters.
    pub stats: Stats,
    /// The scripts that were loaded.
    pub scripts: Scripts,
    /// The script engine, once a script has run.
    pub vm: Option<Vm>,
    /// Clients that wait for a key.
    pub waiting: Waiting,
    /// How many of them there are.
    pub blocked: usize,
    /// Clients that may go on with what they have sent.
    pub resumed: Vec<Slot>,
    /// How many clients see all commands.
    pub monitors: usize,
    /// Where the server listens.
    pub address: Option<SocketAddr>,
    /// Drawn at each start.
    pub run_id: String,
    pub(super) log: Option<Aof>,
    pub(super) scheduled: Vec<Slot>,
    pub(super) doomed: Vec<Slot>,
    /// Closing clients that have not fetched everything: until when they may, slot, number.
    pub(super) lingering: VecDeque<(u64, Slot, u64)>,
    pub(super) next_id: u64,
    pub(super) scratch: Vec<u8>,
}

impl Server {
    /// A server without connections.
    pub fn new(contents: Contents) -> Self {
        let mut server = Self {
            data: Box::new(contents.data),
            clients: Clients::default(),
            settings: contents.options,
            stats: Stats::default(),
            scripts: contents.scripts,
            vm: None,
            waiting: Waiting::default(),
            blocked: 0,
            resumed: Vec::new(),
            monitors: 0,
            address: None,
            run_id: hex(&std::array::from_fn::<u8, 20, _>(|_| fastrand::u8(..))),
            log: contents.log,
            scheduled: Vec::new(),
            doomed: Vec::new(),
            lingering: VecDeque::new(),
            next_id: 1,
            scratch: Vec::new(),
        };
        server.set_time();
        server.stats.started = server.data.keys.now;
        server.stats.last_save = server.data.keys.now;
        server
    }

    /// What is to be kept when the thread ends.
    pub fn into_contents(mut self) -> Contents {
        self.data.pubsub = Default::default();
        Contents { data: *self.data, scripts: self.scripts, log: self.log, options: self.settings }
    }

    /// Reads the clock for the commands that follow.
    pub fn set_time(&mut self) {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        self.data.keys.now = since.as_millis() as u64;
        self.data.keys.micros = u64::from(since.subsec_micros() % 1000);
    }

    /// Notes that a client has something to be sent.
    pub fn schedule(&mut self, slot: Slot) {
        if let Some(client) = self.clients.get_mut(slot)
            && !std::mem::replace(&mut client.scheduled, true)
        {
            self.scheduled.push(slot);
        }
    }

    /// Makes a client be closed at the end of this round, whatever waits to be sent.
    pub fn doom(&mut self, slot: Slot) {
        if let Some(client) = self.clients.get_mut(slot) {
            client.closing = true;
            self.doomed.push(slot);
        }
    }

    /// Whether keys and values take more memory than they may.
    pub fn is_out_of_memory(&self) -> bool {
        self.settings.max_memory > 0 && self.data.keys.used() > self.settings.max_memory
    }

    /// Passes changed settings on to those that keep a copy.
    pub fn apply_settings(&mut self) {
        if let Some(log) = &mut self.log {
            log.set_fsync(self.settings.fsync);
        }
        if let Some(vm) = &self.vm {
            vm.set_limits(&self.settings);
        }
    }

    /// What the script engine takes, in bytes.
    pub fn script_memory(&self) -> usize {
        self.vm.as_ref().map_or(0, Vm::used_memory)
    }

    /// Shows a command to those that look on.
    pub fn show_to_monitors(&mut self, slot: Slot, args: &Args) {
        let Some(client) = self.clients.get(slot) else {
            return;
        };
        let keys = &self.data.keys;
        let mut line =
            format!("{}.{:06} [{} {}]", keys.now / 1000, keys.now % 1000 * 1000 + keys.micros, client.db, client.peer);
        for arg in args {
            line.push_str(&format!(" \"{}\"", arg.escape_ascii()));
        }
        let watchers: Vec<Slot> =
            self.clients.iter().filter(|(_, client)| client.monitor).map(|(slot, _)| slot).collect();
        for watcher in watchers {
            if let Some(client) = self.clients.get_mut(watcher) {
                if client.pending() > self.settings.max_pending_output {
                    self.drop_reader(watcher, super::event_loop::UNREAD, self.settings.max_pending_output);
                    continue;
                }
                client.reply.simple(&line);
            }
            self.schedule(watcher);
        }
    }
}
