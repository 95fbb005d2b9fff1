//! One client: what it has sent, what it is to get, and what it has asked to be. Sockets are the
//! event loop's.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::rc::Rc;

use indexmap::IndexSet;

pub use super::late::Since;
pub use super::rest::{NAMES_A_TURN, Rest, What};
use super::tracks::Tracks;

use crate::store::access::Access;
use crate::store::clock::Time;
use crate::store::error::Block;
use crate::store::pubsub::Kind;
use crate::store::reply::Reply;
use crate::store::resp::Decoder;
use crate::store::settings::Options;
use crate::store::small_bytes::SmallBytes;

/// An empty output buffer larger than this is given back.
const KEPT_OUTPUT: usize = 16 * 1024;

/// Whether a client gets replies, as `CLIENT REPLY` sets it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ReplyMode {
    /// It does.
    #[default]
    On,
    /// It does not.
    Off,
    /// It does not get the next one.
    SkipNext,
    /// It does not get this one.
    Skipping,
}

/// Commands between `MULTI` and `EXEC`.
#[derive(Debug, Default)]
pub struct Transaction {
    /// The commands, each with its arguments.
    pub queue: Vec<Vec<SmallBytes>>,
    /// What the queue takes.
    pub bytes: usize,
    /// Whether one of them may take memory.
    pub takes_memory: bool,
    /// Whether one of them was refused, which spoils the whole.
    pub failed: bool,
}

/// A client that waits for a key.
#[derive(Debug)]
pub struct Blocked {
    /// The command to run again.
    pub args: Vec<SmallBytes>,
    /// What it waits for.
    pub block: Block,
    /// Its turn in every line that it stands in.
    pub turn: u64,
}

/// What a name takes in the tables that it stands in.
pub const fn name_cost(name: &[u8]) -> usize {
    name.len() + 2 * size_of::<SmallBytes>()
}

impl Blocked {
    fn bytes(&self) -> usize {
        self.args.iter().map(|arg| name_cost(arg)).sum::<usize>() * 2
    }
}

/// The two ends of a client's connection, as `CLIENT LIST` shows them.
#[derive(Debug, Clone, Copy)]
pub struct Endpoints {
    /// The client's address.
    pub peer: SocketAddr,
    /// The store's own.
    pub local: SocketAddr,
    /// The number of the descriptor, or -1 if there is none.
    pub descriptor: i32,
}

impl Endpoints {
    /// The ends of a client that talks to the store without a socket.
    pub fn in_process() -> Self {
        let nowhere = SocketAddr::from(([127, 0, 0, 1], 0));
        Self { peer: nowhere, local: nowhere, descriptor: -1 }
    }
}

/// One client; see the module's text.
#[derive(Debug)]
pub struct Client {
    /// The number by which clients know each other.
    pub id: u64,
    /// Where it comes from and where it arrived.
    pub endpoints: Endpoints,
    /// Bytes that make no complete request yet, or that have to wait.
    pub input: Vec<u8>,
    /// How many of them have been run already.
    pub input_done: usize,
    /// Where in them the reading stands.
    pub decoder: Decoder,
    /// Replies that are to be sent, in the protocol the client speaks.
    pub reply: Reply,
    /// How many bytes of them are sent already.
    pub sent: usize,
    /// Whether it is on the list of clients that have something to be sent.
    pub scheduled: bool,
    /// The selected database.
    pub db: usize,
    /// Whether it has said the password, or need not.
    pub authenticated: bool,
    /// Whether it is this process's own, which nothing may lock out.
    pub trusted: bool,
    /// What it may do; none if that is everything.
    pub access: Option<Rc<Access>>,
    /// Whether it came when all places were taken, so that it must show that it is this process's own.
    pub reserve: bool,
    /// Whether its answer is held back, after a wrong password.
    pub held_back: bool,
    /// The name it gave itself.
    pub name: String,
    /// Its library's name and version.
    pub library: (String, String),
    /// The commands it has queued, after `MULTI`.
    pub transaction: Option<Transaction>,
    /// What it watches: database and key, with the version at which it began.
    pub watching: HashMap<(usize, SmallBytes), Since>,
    /// Its channels.
    pub channels: IndexSet<SmallBytes>,
    /// Its patterns.
    pub patterns: IndexSet<SmallBytes>,
    /// Its shard channels.
    pub shards: IndexSet<SmallBytes>,
    /// What the names take that it listens to or watches, in bytes.
    pub names_bytes: usize,
    /// What it takes in memory by the last count, which is part of the total.
    pub counted: usize,
    /// What it waits for, if it does.
    pub blocked: Option<Blocked>,
    /// Whether its next request is held up by `CLIENT PAUSE`.
    pub paused: bool,
    /// What is left of its last command.
    pub rest: Option<Box<Rest>>,
    /// Whether it gets replies.
    pub mode: ReplyMode,
    /// Whether it is to be closed as soon as everything is sent.
    pub closing: bool,
    /// Whether it is to be closed now, whatever waits to be sent.
    pub doomed: bool,
    /// Whether it has gone, and only its names are left.
    pub departed: bool,
    /// Whether it has been given a time by which it must have fetched the rest.
    pub lingering: bool,
    /// Whether it sees every command that others send.
    pub monitor: bool,
    /// `CLIENT NO-EVICT` and `CLIENT NO-TOUCH`, kept to be shown.
    pub no_evict: bool,
    /// How it tracks, if it does.
    pub tracks: Option<Box<Tracks>>,
    /// How much it was told of its own accord, in bytes, since everything was last sent.
    pub pushed: usize,
    /// Since when it is connected, in milliseconds.
    pub since: u64,
    /// When it last sent a command.
    pub last_active: u64,
    /// Its last command.
    pub last_command: &'static str,
}

impl Client {
    /// Whether it has to authenticate first. Not while there is no password, whenever it came.
    pub fn must_authenticate(&self, settings: &Options) -> bool {
        !self.authenticated && settings.password.is_some()
    }

    /// A client that has just connected.
    pub fn new(id: u64, endpoints: Endpoints, now: Time) -> Self {
        let now = now.millis();
        Self {
            id,
            endpoints,
            input: Vec::new(),
            input_done: 0,
            decoder: Decoder::default(),
            reply: Reply::default(),
            sent: 0,
            scheduled: false,
            db: 0,
            authenticated: false,
            trusted: false,
            access: None,
            reserve: false,
            held_back: false,
            name: String::new(),
            library: (String::new(), String::new()),
            transaction: None,
            watching: HashMap::new(),
            names_bytes: 0,
            counted: 0,
            channels: IndexSet::new(),
            patterns: IndexSet::new(),
            shards: IndexSet::new(),
            blocked: None,
            paused: false,
            rest: None,
            mode: ReplyMode::On,
            closing: false,
            doomed: false,
            departed: false,
            lingering: false,
            monitor: false,
            no_evict: false,
            tracks: None,
            pushed: 0,
            since: now,
            last_active: now,
            last_command: "NULL",
        }
    }

    /// Bytes that it has sent and that were not run yet.
    pub fn held(&self) -> usize {
        self.input.len() - self.input_done
    }

    /// What it takes in memory, in bytes: buffers, queued commands, names.
    pub fn memory(&self) -> usize {
        let queued = self.transaction.as_ref().map_or(0, |transaction| transaction.bytes);
        let waiting = self.blocked.as_ref().map_or(0, |blocked| blocked.bytes());
        let waiting = waiting + self.rest.as_ref().map_or(0, |rest| rest.bytes());
        let buffers = self.input.capacity() + self.reply.buf.capacity() + self.decoder.memory();
        buffers + queued + waiting + self.names_bytes + self.name.len() + size_of::<Self>()
    }

    /// Lets go of its buffers, because it is to be closed whatever was in them.
    pub fn release(&mut self) {
        self.input = Vec::new();
        self.input_done = 0;
        self.decoder = Decoder::default();
        self.reply.buf = Vec::new();
        self.sent = 0;
        self.transaction = None;
        self.rest = None;
    }

    /// The number of bytes that wait to be sent.
    pub fn pending(&self) -> usize {
        self.reply.buf.len() - self.sent
    }

    /// Whether something of it waited for it to fetch its replies; to be asked once these are fetched.
    pub fn has_more(&mut self) -> bool {
        match &mut self.rest {
            Some(rest) => std::mem::take(&mut rest.stalled),
            None => !self.input.is_empty(),
        }
    }

    /// Whether its next command has to wait for the last.
    pub fn is_occupied(&self) -> bool {
        self.blocked.is_some() || self.rest.is_some()
    }

    /// The subscriptions of one kind.
    pub fn names(&mut self, kind: Kind) -> &mut IndexSet<SmallBytes> {
        match kind {
            Kind::Channel => &mut self.channels,
            Kind::Pattern => &mut self.patterns,
            Kind::Shard => &mut self.shards,
        }
    }

    /// How many subscriptions `SUBSCRIBE` and its like report.
    pub fn subscriptions(&self, kind: Kind) -> usize {
        match kind {
            Kind::Shard => self.shards.len(),
            _ => self.channels.len() + self.patterns.len(),
        }
    }

    /// Whether it listens to anything.
    pub fn is_subscriber(&self) -> bool {
        !(self.channels.is_empty() && self.patterns.is_empty() && self.shards.is_empty())
    }

    /// Whether it gets what it has not asked for one by one: messages, or others' commands.
    pub fn is_listening(&self) -> bool {
        self.monitor || self.is_subscriber()
    }

    /// Notes that this many bytes of its output were sent.
    pub fn note_sent(&mut self, bytes: usize) {
        self.sent = (self.sent + bytes).min(self.reply.buf.len());
        if self.sent < self.reply.buf.len() {
            self.forget_sent();
        } else {
            self.sent = 0;
            if self.reply.buf.capacity() > KEPT_OUTPUT {
                self.reply.buf = Vec::new();
            } else {
                self.reply.buf.clear();
            }
        }
    }

    /// Gives back the room of what is sent, for a client that always lags a little behind.
    fn forget_sent(&mut self) {
        if self.sent > KEPT_OUTPUT && self.sent > self.reply.buf.len() / 2 {
            self.reply.buf.drain(..self.sent);
            self.reply.buf.shrink_to(self.reply.buf.len() * 2);
            self.sent = 0;
        }
    }
}

/// All clients, by slot. A slot is used again once its client is gone.
pub type Clients = slab::Slab<Box<Client>>;
