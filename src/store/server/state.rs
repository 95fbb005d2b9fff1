//! The server's state: data, clients, settings, and what is pending for each round of the loop.
//!
//! Everything here belongs to one thread, so a command runs alone and needs no lock. What the other
//! files do to a server are functions that take it, so that each stands on its own.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Instant;

use super::auth_guard::AuthGuard;
use super::client::{Client, Clients};
use super::late::Late;
use super::pause::Pause;
use super::slow::Slow;
use super::stats::Stats;
use super::waiting::Waiting;
use crate::store::StoreError;
use crate::store::access::Access;
use crate::store::aof::Aof;
use crate::store::clock::Time;
use crate::store::command::{Command, Spec};
use crate::store::data::Data;
use crate::store::error::Outcome;
use crate::store::keyspace::{Limits, begin_usage};
use crate::store::number::hex;
use crate::store::pubsub::Slot;
use crate::store::reply::Reply;
use crate::store::resp::Args;
use crate::store::script::{Scripts, Vm};
use crate::store::settings::Options;

/// Why a subscriber is dropped.
pub const UNREAD: &str = "it does not read its messages";
/// Why a client is dropped that asked for too much.
pub const UNREAD_REPLIES: &str = "a reply to it was too large";

/// The body of a command of the server itself, for the client in a slot.
pub type Body = fn(&mut Server, Slot, &Args, &mut Reply) -> Outcome;

/// A row of one of the two tables of commands.
#[derive(Clone, Copy)]
pub enum Row {
    /// A command that needs only data.
    Data(&'static Command),
    /// A command of the server itself.
    Server(&'static Command<Body>),
}

impl Row {
    /// What is true of the command.
    pub fn spec(self) -> &'static Spec {
        match self {
            Self::Data(command) => &command.spec,
            Self::Server(command) => &command.spec,
        }
    }
}

/// How commands are looked up over both tables, for bodies that tell of other commands or run them.
pub struct Directory {
    /// All rows, by name.
    pub all: fn() -> &'static [Row],
    /// The row of a name, in any case.
    pub find: fn(&[u8]) -> Option<Row>,
    /// What is true of a command of the server itself.
    pub server_spec: fn(&[u8]) -> Option<&'static Spec>,
    /// The number under which a command is counted; none if it has no such subcommand.
    pub number: fn(Row, &Args) -> Option<usize>,
    /// The name of the command with a number.
    pub name: fn(usize) -> &'static str,
}

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

impl Contents {
    /// Reads the log, if there is to be one.
    pub fn open(options: Options) -> Result<Self, StoreError> {
        let mut data = Data::new();
        let log = match &options.path {
            Some(folder) => Some(Aof::open(folder, options.fsync, &mut data)?),
            None => None,
        };
        Ok(Self { data, scripts: Default::default(), log, options })
    }
}

/// A script that takes long.
#[derive(Debug, Clone, Copy)]
pub struct Busy {
    /// The client that has called it.
    pub caller: Slot,
    /// Whether it has run a command that writes.
    pub has_written: bool,
    /// Whether it is to end.
    pub ending: bool,
}

/// Serves others while a script takes long.
pub type ServeMeanwhile = Rc<dyn Fn(&mut Server)>;

/// The state; see the module's text.
pub struct Server {
    /// Keys and subscriptions; boxed, because a script takes them over while it runs.
    pub data: Box<Data>,
    /// All clients.
    pub clients: Clients,
    /// Their slots, by their numbers.
    pub slots: HashMap<u64, Slot>,
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
    /// What `CLIENT PAUSE` holds up.
    pub pause: Pause,
    /// What took long.
    pub slow: Slow,
    /// When the last command of the client whose bytes are being run ended.
    pub ended: Option<Instant>,
    /// What all clients take in memory, in bytes.
    pub client_memory: usize,
    /// Clients that may go on with what they have sent.
    pub resumed: Vec<Slot>,
    /// How many clients see all commands.
    pub monitors: usize,
    /// Clients that track, by their number.
    pub trackers: BTreeMap<u64, Slot>,
    /// Users beside the default one, by name.
    pub users: BTreeMap<String, Rc<Access>>,
    /// Wrong passwords.
    pub auth_guard: AuthGuard,
    /// Clients that came when all places were taken: slot and number, the oldest first.
    pub reserve: VecDeque<(Slot, u64)>,
    /// Where the server listens.
    pub address: Option<SocketAddr>,
    /// Drawn at each start.
    pub run_id: String,
    /// Both tables of commands.
    pub directory: &'static Directory,
    /// What is true while a script runs that takes long.
    pub busy: Option<Busy>,
    /// What stands in for the data while a script has it.
    pub stand_in: Option<Box<Data>>,
    /// Has clients served while a script takes long, if somebody can.
    pub serve_meanwhile: Option<ServeMeanwhile>,
    /// Whether keys have yet to go before there is enough memory.
    pub making_room: bool,
    /// What waits for such a script to end.
    pub late: Late,
    /// Clients that have gone, of whom something is left to be undone.
    pub departed: Vec<Slot>,
    /// The log, if there is one.
    pub log: Option<Aof>,
    /// Clients that have something to be sent, or are to be closed.
    pub scheduled: VecDeque<Slot>,
    /// Of those, the ones at the front that were added since they were last looked at, because they have asked.
    pub asked: usize,
    /// Closing clients that have not fetched everything: until when they may, slot, number.
    pub lingering: VecDeque<(u64, Slot, u64)>,
    /// The number that the next client gets.
    pub next_id: u64,
}

impl Server {
    /// A server without clients.
    pub fn new(contents: Contents, now: Time, directory: &'static Directory) -> Self {
        let mut server = Self {
            data: Box::new(contents.data),
            clients: Clients::default(),
            slots: HashMap::new(),
            settings: contents.options,
            stats: Stats::default(),
            scripts: contents.scripts,
            vm: None,
            waiting: Waiting::default(),
            pause: Pause::default(),
            slow: Slow::default(),
            ended: None,
            client_memory: 0,
            resumed: Vec::new(),
            monitors: 0,
            trackers: BTreeMap::new(),
            users: BTreeMap::new(),
            auth_guard: AuthGuard::default(),
            reserve: VecDeque::new(),
            address: None,
            run_id: hex(&std::array::from_fn::<u8, 20, _>(|_| fastrand::u8(..))),
            directory,
            busy: None,
            stand_in: None,
            serve_meanwhile: None,
            making_room: false,
            late: Late::default(),
            departed: Vec::new(),
            log: contents.log,
            scheduled: VecDeque::new(),
            asked: 0,
            lingering: VecDeque::new(),
            next_id: 1,
        };
        server.data.keys.set_time(now);
        server.apply_settings();
        begin_usage(&mut server.data.keys);
        server.stats.started = now.millis();
        server.stats.last_save = now.millis();
        server
    }

    /// What is to be kept when the thread ends.
    pub fn into_contents(mut self) -> Contents {
        self.data.calls = Default::default();
        self.data.pubsub = Default::default();
        self.data.keys.tracking = Default::default();
        Contents { data: *self.data, scripts: self.scripts, log: self.log, options: self.settings }
    }

    /// Notes that a client has something to be sent, or is to be closed.
    pub fn schedule(&mut self, slot: Slot) {
        if let Some(client) = self.clients.get_mut(slot)
            && (!client.held_back || client.doomed)
            && !std::mem::replace(&mut client.scheduled, true)
        {
            self.scheduled.push_back(slot);
        }
    }

    /// Notes that a client has asked, and is to be answered before all others are sent what follows from it:
    /// whoever publishes to a thousand listeners can send the next message while they are served.
    pub fn schedule_first(&mut self, slot: Slot) {
        if let Some(client) = self.clients.get_mut(slot)
            && (!client.held_back || client.doomed)
            && !std::mem::replace(&mut client.scheduled, true)
        {
            self.scheduled.push_front(slot);
            self.asked += 1;
        }
    }

    /// Makes a client be closed at the end of this round, whatever waits to be sent.
    pub fn doom(&mut self, slot: Slot) {
        if let Some(client) = self.clients.get_mut(slot) {
            client.closing = true;
            client.doomed = true;
            self.schedule(slot);
        }
    }

    /// Dooms a client for which more waits than it may have.
    pub fn drop_reader(&mut self, slot: Slot, what: &str, limit: usize) {
        let Some(client) = self.clients.get(slot) else { return };
        if client.closing {
            return;
        }
        tracing::warn!(peer = %client.endpoints.peer, limit, "disconnected a client of the store: {what}");
        self.stats.dropped_output += 1;
        self.doom(slot);
    }

    /// Counts anew what a client takes in memory.
    pub fn recount(&mut self, slot: Slot) {
        if let Some(client) = self.clients.get_mut(slot) {
            let now = client.memory();
            let before = std::mem::replace(&mut client.counted, now);
            self.client_memory = self.client_memory + now - before;
        }
    }

    /// Drops the clients that take most, if all together take more memory than they may.
    pub fn shed(&mut self) {
        let limit = self.settings.max_client_memory;
        if limit == 0 || self.client_memory <= limit {
            return;
        }
        let sheddable = |client: &Client| !client.closing && !client.no_evict;
        let mut heaviest: Vec<(usize, Slot)> = self
            .clients
            .iter()
            .filter(|(_, client)| sheddable(client))
            .map(|(slot, client)| (client.counted, slot))
            .collect();
        heaviest.sort_unstable_by(|one, other| other.cmp(one));
        for (_, slot) in heaviest {
            if self.client_memory <= limit / 4 * 3 {
                break;
            }
            self.drop_reader(slot, "all clients together use more memory than store.max_client_memory allows", limit);
            if let Some(client) = self.clients.get_mut(slot) {
                client.release();
            }
            self.recount(slot);
        }
    }

    /// Whether keys and values take more memory than they may, for a client that is to run a script
    /// with these keys, or a command of its own. This process's own clients are never short of it, nor
    /// are scripts of other nodes that keep the count.
    pub fn is_out_of_memory(&self, slot: Slot, keys: &Args) -> bool {
        let reserved = |prefix: &Vec<u8>| keys.iter().any(|key| key.starts_with(prefix));
        let exempt = self.clients.get(slot).is_some_and(|client| client.trusted)
            || self.settings.reserved_keys.as_ref().is_some_and(reserved);
        !exempt && !self.making_room && self.settings.max_memory > 0 && self.memory() > self.settings.max_memory
    }

    /// What keys, values and scripts take, in bytes.
    pub fn memory(&self) -> usize {
        self.data.keys.used() + self.scripts.memory()
    }

    /// Why changes cannot be written down, if they cannot.
    pub fn log_problem(&self) -> Option<String> {
        self.log.as_ref()?.problem().map(str::to_owned)
    }

    /// Has the log rewritten, in steps after this round or whole before the round's replies leave.
    pub fn request_rewrite(&mut self, at_once: bool) {
        if let Some(log) = &mut self.log {
            log.request_rewrite(at_once);
        }
    }

    /// Passes changed settings on to those that keep a copy.
    pub fn apply_settings(&mut self) {
        let memory = if self.settings.max_memory == 0 { usize::MAX } else { self.settings.max_memory };
        self.data.keys.tracking.limit(self.settings.tracked_keys);
        self.data.keys.events.wanted = self.settings.keyspace_events;
        self.data.keys.limits = Limits { string: self.settings.max_bulk, memory };
        self.data.keys.policy = self.settings.policy;
        self.slow.apply(&self.settings);
        if let Some(log) = &mut self.log {
            log.set_fsync(self.settings.fsync);
        }
        if let Some(vm) = &mut self.vm {
            vm.set_limits(&self.settings);
        }
    }

    /// What the script engine takes, in bytes.
    pub fn script_memory(&self) -> usize {
        self.vm.as_ref().map_or(0, Vm::used_memory)
    }
}
