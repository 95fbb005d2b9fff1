//! One client: what it has sent, what it will be sent, and the modes it has chosen. The event loop owns its
//! socket.

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
use crate::store::pubsub::SubscriptionKind;
use crate::store::reply::Reply;
use crate::store::resp::Decoder;
use crate::store::settings::Options;
use crate::store::small_bytes::SmallBytes;

/// Output buffers larger than this are freed once they are empty.
const KEPT_OUTPUT: usize = 16 * 1024;

/// Whether a client gets replies, as set by `CLIENT REPLY`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ReplyMode {
    /// It gets all replies.
    #[default]
    On,
    /// It gets no replies.
    Off,
    /// It gets no reply to the next command.
    SkipNext,
    /// It gets no reply to the current command.
    Skipping,
}

/// Commands queued between `MULTI` and `EXEC`.
#[derive(Debug, Default)]
pub struct Transaction {
    /// The commands, each with its arguments.
    pub queue: Vec<Vec<SmallBytes>>,
    /// The memory that the queue uses, in bytes.
    pub bytes: usize,
    /// Whether a queued command may need memory.
    pub takes_memory: bool,
    /// Whether a command was refused, which makes `EXEC` fail.
    pub failed: bool,
}

/// The wait of a blocked client.
#[derive(Debug)]
pub struct Blocked {
    /// The command to run again.
    pub args: Vec<SmallBytes>,
    /// The keys that it waits for, and until when.
    pub block: Block,
    /// Its turn in every queue that it stands in.
    pub turn: u64,
}

/// The memory that a name uses in the tables that contain it, in bytes.
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
    /// The store's address.
    pub local: SocketAddr,
    /// The number of the file descriptor, or -1 if there is none.
    pub descriptor: i32,
}

impl Endpoints {
    /// The endpoints of a client that talks to the store without a socket.
    pub fn in_process() -> Self {
        let nowhere = SocketAddr::from(([127, 0, 0, 1], 0));
        Self { peer: nowhere, local: nowhere, descriptor: -1 }
    }
}

/// One client; see the module documentation.
#[derive(Debug)]
pub struct Client {
    /// The ID by which other clients refer to it.
    pub id: u64,
    /// The two addresses of its connection.
    pub endpoints: Endpoints,
    /// Input that is not a complete request yet, or that has to wait.
    pub input: Vec<u8>,
    /// How many bytes of `input` have been run.
    pub input_done: usize,
    /// How far the input has been parsed.
    pub decoder: Decoder,
    /// Replies to send, in the protocol that the client speaks.
    pub reply: Reply,
    /// How many bytes of `reply` have been sent.
    pub sent: usize,
    /// Whether it is in the list of clients that have output to send or should be closed.
    pub scheduled: bool,
    /// The selected database.
    pub db: usize,
    /// Whether it has authenticated, or does not need to.
    pub authenticated: bool,
    /// Whether it belongs to this process, so that nothing may lock it out.
    pub trusted: bool,
    /// What it may do; `None` if that is everything.
    pub access: Option<Rc<Access>>,
    /// Whether it has a reserve place, and must authenticate as one of this process's own clients to keep it.
    pub reserve: bool,
    /// Whether its answer is held back after a wrong password.
    pub held_back: bool,
    /// The name it gave itself.
    pub name: String,
    /// Its library's name and version.
    pub library: (String, String),
    /// The commands that it has queued since `MULTI`.
    pub transaction: Option<Transaction>,
    /// The keys that it watches, by database and name, and since when it watches them.
    pub watching: HashMap<(usize, SmallBytes), Since>,
    /// The channels that it subscribes to.
    pub channels: IndexSet<SmallBytes>,
    /// The patterns that it subscribes to.
    pub patterns: IndexSet<SmallBytes>,
    /// The shard channels that it subscribes to.
    pub shards: IndexSet<SmallBytes>,
    /// The memory that the names of its subscriptions, watches and tracked prefixes use, in bytes.
    pub names_bytes: usize,
    /// The memory that it used when last counted, as included in the total.
    pub counted: usize,
    /// What it waits for, if it is blocked.
    pub blocked: Option<Blocked>,
    /// Whether its next request is held up by `CLIENT PAUSE`.
    pub paused: bool,
    /// The unfinished part of its last command.
    pub rest: Option<Box<Rest>>,
    /// Whether it gets replies.
    pub mode: ReplyMode,
    /// Whether it will be closed as soon as everything is sent.
    pub closing: bool,
    /// Whether it will be closed now, even if output is waiting for it.
    pub doomed: bool,
    /// Whether it has disconnected but is not cleaned up yet.
    pub departed: bool,
    /// Whether it has a deadline for fetching the rest of its output.
    pub lingering: bool,
    /// Whether it uses `MONITOR`.
    pub monitor: bool,
    /// Whether `CLIENT NO-EVICT` protects it from being dropped when clients use too much memory.
    pub no_evict: bool,
    /// How it tracks keys, if it does.
    pub tracks: Option<Box<Tracks>>,
    /// How many bytes of invalidations were queued for it since all its output was last sent.
    pub pushed: usize,
    /// When it connected, in milliseconds.
    pub since: u64,
    /// When it last sent a command.
    pub last_active: u64,
    /// The name of its last command.
    pub last_command: &'static str,
}

impl Client {
    /// Whether it must authenticate first. It need not while no password is set, whenever it connected.
    pub fn must_authenticate(&self, settings: &Options) -> bool {
        !self.authenticated && settings.password.is_some()
    }

    /// Creates a client that has just connected.
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

    /// How many bytes it has sent that have not been run yet.
    pub fn held(&self) -> usize {
        self.input.len() - self.input_done
    }

    /// The memory that it uses, in bytes: buffers, queued commands, names.
    pub fn memory(&self) -> usize {
        let queued = self.transaction.as_ref().map_or(0, |transaction| transaction.bytes);
        let waiting = self.blocked.as_ref().map_or(0, |blocked| blocked.bytes());
        let waiting = waiting + self.rest.as_ref().map_or(0, |rest| rest.bytes());
        let buffers = self.input.capacity() + self.reply.buf.capacity() + self.decoder.memory();
        buffers + queued + waiting + self.names_bytes + self.name.len() + size_of::<Self>()
    }

    /// Frees its buffers, because it will be closed whatever they contain.
    pub fn release(&mut self) {
        self.input = Vec::new();
        self.input_done = 0;
        self.decoder = Decoder::default();
        self.reply.buf = Vec::new();
        self.sent = 0;
        self.transaction = None;
        self.rest = None;
    }

    /// How many bytes wait to be sent.
    pub fn pending(&self) -> usize {
        self.reply.buf.len() - self.sent
    }

    /// Whether it has work left that waited until its replies were fetched; call this once they are.
    pub fn has_more(&mut self) -> bool {
        match &mut self.rest {
            Some(rest) => std::mem::take(&mut rest.stalled),
            None => !self.input.is_empty(),
        }
    }

    /// Whether its next command has to wait for the last one.
    pub fn is_occupied(&self) -> bool {
        self.blocked.is_some() || self.rest.is_some()
    }

    /// Its subscriptions of one kind.
    pub fn names(&mut self, kind: SubscriptionKind) -> &mut IndexSet<SmallBytes> {
        match kind {
            SubscriptionKind::Channel => &mut self.channels,
            SubscriptionKind::Pattern => &mut self.patterns,
            SubscriptionKind::Shard => &mut self.shards,
        }
    }

    /// How many subscriptions `SUBSCRIBE` and similar commands report.
    pub fn subscriptions(&self, kind: SubscriptionKind) -> usize {
        match kind {
            SubscriptionKind::Shard => self.shards.len(),
            _ => self.channels.len() + self.patterns.len(),
        }
    }

    /// Whether it subscribes to anything.
    pub fn is_subscriber(&self) -> bool {
        !(self.channels.is_empty() && self.patterns.is_empty() && self.shards.is_empty())
    }

    /// Whether it receives a stream of output: messages, or other clients' commands.
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

    /// Frees the space of sent output, for a client that always lags a little.
    fn forget_sent(&mut self) {
        if self.sent > KEPT_OUTPUT && self.sent > self.reply.buf.len() / 2 {
            self.reply.buf.drain(..self.sent);
            self.reply.buf.shrink_to(self.reply.buf.len() * 2);
            self.sent = 0;
        }
    }
}

/// All clients, by slot. A slot is reused once its client is gone.
pub type Clients = slab::Slab<Box<Client>>;
