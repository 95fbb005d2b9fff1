//! The server's state: data, clients, settings, and the work pending for each round of the loop.
//!
//! Everything here belongs to one thread, so a command runs alone and needs no lock. The other files act on the
//! server through functions that take it, so that each file stands on its own.

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
use crate::store::pubsub::ClientSlot;
use crate::store::reply::Reply;
use crate::store::resp::Args;
use crate::store::script::{Scripts, Vm};
use crate::store::settings::Options;

/// Why a client that does not read its messages is dropped.
pub const UNREAD: &str = "it does not read its messages";
/// Why a client that asked for too large a reply is dropped.
pub const UNREAD_REPLIES: &str = "a reply to it was too large";

/// The body of one of the server's own commands, called for the client in a slot.
pub type Body = fn(&mut StoreServer, ClientSlot, &Args, &mut Reply) -> Outcome;

/// A row of one of the two command tables.
#[derive(Clone, Copy)]
pub enum Row {
    /// A command that needs only the data.
    Data(&'static Command),
    /// One of the server's own commands.
    Server(&'static Command<Body>),
}

impl Row {
    /// Returns the command's specification.
    pub fn spec(self) -> &'static Spec {
        match self {
            Self::Data(command) => &command.spec,
            Self::Server(command) => &command.spec,
        }
    }
}

/// Looks up commands in both tables, for command bodies that describe or run other commands.
pub struct Directory {
    /// All rows, sorted by name.
    pub all: fn() -> &'static [Row],
    /// Finds a row by its command's name, in any case.
    pub find: fn(&[u8]) -> Option<Row>,
    /// Finds the specification of one of the server's own commands.
    pub server_spec: fn(&[u8]) -> Option<&'static Spec>,
    /// The number under which a command is counted; `None` if it has no such subcommand.
    pub number: fn(Row, &Args) -> Option<usize>,
    /// The name of the command with this number.
    pub name: fn(usize) -> &'static str,
}

/// What outlives the serving thread: everything but connections and the script engine.
#[derive(Debug)]
pub struct Contents {
    /// Keys and subscriptions.
    pub data: Data,
    /// The scripts that were loaded or run.
    pub scripts: Scripts,
    /// The log, if there is one.
    pub log: Option<Aof>,
    /// The options that the store was opened with.
    pub options: Options,
}

impl Contents {
    /// Opens the store's log, if one is configured, and reads its data.
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
    /// The client that called it.
    pub caller: ClientSlot,
    /// Whether it has run a command that writes.
    pub has_written: bool,
    /// Whether it must end.
    pub ending: bool,
}

/// Serves other clients while a script takes long.
pub type ServeMeanwhile = Rc<dyn Fn(&mut StoreServer)>;

/// The server's state; see the module documentation.
pub struct StoreServer {
    /// Keys and subscriptions; boxed, because a running script takes them over.
    pub data: Box<Data>,
    /// All clients.
    pub clients: Clients,
    /// The slots of all clients, by client ID.
    pub slots: HashMap<u64, ClientSlot>,
    /// The settings.
    pub settings: Options,
    /// Counters.
    pub stats: Stats,
    /// The scripts that were loaded or run.
    pub scripts: Scripts,
    /// The script engine, once a script has been compiled.
    pub vm: Option<Vm>,
    /// Clients that are blocked on keys.
    pub waiting: Waiting,
    /// The state of `CLIENT PAUSE`.
    pub pause: Pause,
    /// Commands that took long.
    pub slow: Slow,
    /// When the previous command of the client being served ended, if there was one.
    pub ended: Option<Instant>,
    /// The memory that all clients use, in bytes.
    pub client_memory: usize,
    /// Clients that may continue with what they have sent.
    pub resumed: Vec<ClientSlot>,
    /// How many clients use `MONITOR`.
    pub monitors: usize,
    /// Clients that use `CLIENT TRACKING`, by client ID.
    pub trackers: BTreeMap<u64, ClientSlot>,
    /// Users besides the default one, by name.
    pub users: BTreeMap<String, Rc<Access>>,
    /// Counts wrong passwords and delays their answers.
    pub auth_guard: AuthGuard,
    /// Clients that connected when all places were taken, the oldest first: slot and ID.
    pub reserve: VecDeque<(ClientSlot, u64)>,
    /// Where the server listens.
    pub address: Option<SocketAddr>,
    /// Drawn at random at each start.
    pub run_id: String,
    /// Both command tables.
    pub directory: &'static Directory,
    /// The running script, if it takes long.
    pub busy: Option<Busy>,
    /// Stands in for `data` while a script holds it.
    pub stand_in: Option<Box<Data>>,
    /// Serves clients while a script takes long, if it is set.
    pub serve_meanwhile: Option<ServeMeanwhile>,
    /// Whether more keys must be evicted to get below the memory limit.
    pub making_room: bool,
    /// Work that waits for a long script to end.
    pub late: Late,
    /// Clients that have disconnected but are not cleaned up yet.
    pub departed: Vec<ClientSlot>,
    /// The log, if there is one.
    pub log: Option<Aof>,
    /// Clients that have output to send or should be closed.
    pub scheduled: VecDeque<ClientSlot>,
    /// How many clients were put at the front of `scheduled` because they sent requests, since this count was last
    /// taken.
    pub asked: usize,
    /// Closing clients that have not fetched all their output: deadline, slot and ID.
    pub lingering: VecDeque<(u64, ClientSlot, u64)>,
    /// The ID of the next client.
    pub next_id: u64,
}

impl StoreServer {
    /// Creates a server without clients.
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

    /// Returns what is kept when the thread ends.
    pub fn into_contents(mut self) -> Contents {
        self.data.calls = Default::default();
        self.data.pubsub = Default::default();
        self.data.keys.tracking = Default::default();
        Contents { data: *self.data, scripts: self.scripts, log: self.log, options: self.settings }
    }

    /// Notes that a client has output to send or should be closed.
    pub fn schedule(&mut self, slot: ClientSlot) {
        if let Some(client) = self.clients.get_mut(slot)
            && (!client.held_back || client.doomed)
            && !std::mem::replace(&mut client.scheduled, true)
        {
            self.scheduled.push_back(slot);
        }
    }

    /// Notes that a client has sent a request, and schedules it before all others, so that it is answered before
    /// the effects of the request are sent: a client that publishes to a thousand subscribers can send its next
    /// message while they are served.
    pub fn schedule_first(&mut self, slot: ClientSlot) {
        if let Some(client) = self.clients.get_mut(slot)
            && (!client.held_back || client.doomed)
            && !std::mem::replace(&mut client.scheduled, true)
        {
            self.scheduled.push_front(slot);
            self.asked += 1;
        }
    }

    /// Closes a client at the end of this round, even if output is waiting for it.
    pub fn doom(&mut self, slot: ClientSlot) {
        if let Some(client) = self.clients.get_mut(slot) {
            client.closing = true;
            client.doomed = true;
            self.schedule(slot);
        }
    }

    /// Dooms a client that exceeds a limit; `what` is the reason for the log.
    pub fn drop_reader(&mut self, slot: ClientSlot, what: &str, limit: usize) {
        let Some(client) = self.clients.get(slot) else { return };
        if client.closing {
            return;
        }
        tracing::warn!(peer = %client.endpoints.peer, limit, "disconnected a client of the store: {what}");
        self.stats.dropped_output += 1;
        self.doom(slot);
    }

    /// Updates the memory count of a client.
    pub fn recount(&mut self, slot: ClientSlot) {
        if let Some(client) = self.clients.get_mut(slot) {
            let now = client.memory();
            let before = std::mem::replace(&mut client.counted, now);
            self.client_memory = self.client_memory + now - before;
        }
    }

    /// Drops the clients that use the most memory, if all clients together exceed the limit.
    pub fn shed(&mut self) {
        let limit = self.settings.max_client_memory;
        if limit == 0 || self.client_memory <= limit {
            return;
        }
        let sheddable = |client: &Client| !client.closing && !client.no_evict;
        let mut heaviest: Vec<(usize, ClientSlot)> = self
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

    /// Whether keys and values use too much memory for a client to run a script with these keys, or a command of
    /// its own. This process's own clients are exempt, and so are the scripts with which other nodes keep the
    /// count.
    pub fn is_out_of_memory(&self, slot: ClientSlot, keys: &Args) -> bool {
        let reserved = |prefix: &Vec<u8>| keys.iter().any(|key| key.starts_with(prefix));
        let exempt = self.clients.get(slot).is_some_and(|client| client.trusted)
            || self.settings.reserved_keys.as_ref().is_some_and(reserved);
        !exempt && !self.making_room && self.settings.max_memory > 0 && self.memory() > self.settings.max_memory
    }

    /// The memory that keys, values and scripts use, in bytes.
    pub fn memory(&self) -> usize {
        self.data.keys.used() + self.scripts.memory()
    }

    /// Why changes cannot be written to the log, if they cannot.
    pub fn log_problem(&self) -> Option<String> {
        self.log.as_ref()?.problem().map(str::to_owned)
    }

    /// Requests a rewrite of the log: in steps after this round, or at once, before the round's replies are sent.
    pub fn request_rewrite(&mut self, at_once: bool) {
        if let Some(log) = &mut self.log {
            log.request_rewrite(at_once);
        }
    }

    /// Passes changed settings on to the parts that keep a copy.
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

    /// The memory that the script engine uses, in bytes.
    pub fn script_memory(&self) -> usize {
        self.vm.as_ref().map_or(0, Vm::used_memory)
    }
}
