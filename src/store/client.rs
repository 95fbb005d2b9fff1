//! One connection: what it has sent, what it is to get, and what it has asked to be.

use std::collections::HashSet;
use std::net::SocketAddr;

use mio::net::TcpStream;
use rustix::io::Errno;
use rustix::net::{SendFlags, send};

use super::error::Block;
use super::pubsub::{Kind, Slot};
use super::reply::Reply;
use super::resp::Decoder;
use super::small_bytes::SmallBytes;

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
}

/// One connection; see the module's text.
#[derive(Debug)]
pub struct Client {
    /// The number by which clients know each other.
    pub id: u64,
    /// The connection itself.
    pub socket: TcpStream,
    /// Its far end.
    pub peer: SocketAddr,
    /// Its near end.
    pub local: SocketAddr,
    /// Bytes that make no complete request yet, or that have to wait.
    pub input: Vec<u8>,
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
    /// The name it gave itself.
    pub name: String,
    /// Its library's name and version.
    pub library: (String, String),
    /// The commands it has queued, after `MULTI`.
    pub transaction: Option<Transaction>,
    /// What it watches: database, key, version.
    pub watching: Vec<(usize, SmallBytes, u64)>,
    /// Its channels.
    pub channels: HashSet<SmallBytes>,
    /// Its patterns.
    pub patterns: HashSet<SmallBytes>,
    /// Its shard channels.
    pub shards: HashSet<SmallBytes>,
    /// What it waits for, if it does.
    pub blocked: Option<Blocked>,
    /// Whether it gets replies.
    pub mode: ReplyMode,
    /// Whether it is to be closed as soon as everything is sent.
    pub closing: bool,
    /// Whether it has been given a time by which it must have fetched the rest.
    pub lingering: bool,
    /// Whether bytes may be waiting in the socket that were not read.
    pub unread: bool,
    /// Whether it sees every command that others send.
    pub monitor: bool,
    /// `CLIENT NO-EVICT` and `CLIENT NO-TOUCH`, kept to be shown.
    pub no_evict: bool,
    /// Since when it is connected, in milliseconds.
    pub since: u64,
    /// When it last sent a command.
    pub last_active: u64,
    /// Its last command.
    pub last_command: &'static str,
}

/// What became of an attempt to send.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flushed {
    /// Everything is sent.
    All,
    /// The socket takes no more for now.
    Partly,
    /// The connection is broken.
    Broken,
}

impl Client {
    /// A client that has just connected.
    pub fn new(id: u64, socket: TcpStream, peer: SocketAddr, local: SocketAddr, now: u64) -> Self {
        Self {
            id,
            socket,
            peer,
            local,
            input: Vec::new(),
            decoder: Decoder::default(),
            reply: Reply::default(),
            sent: 0,
            scheduled: false,
            db: 0,
            authenticated: false,
            name: String::new(),
            library: (String::new(), String::new()),
            transaction: None,
            watching: Vec::new(),
            channels: HashSet::new(),
            patterns: HashSet::new(),
            shards: HashSet::new(),
            blocked: None,
            mode: ReplyMode::On,
            closing: false,
            lingering: false,
            unread: false,
            monitor: false,
            no_evict: false,
            since: now,
            last_active: now,
            last_command: "NULL",
        }
    }

    /// The number of bytes that wait to be sent.
    pub fn pending(&self) -> usize {
        self.reply.buf.len() - self.sent
    }

    /// The subscriptions of one kind.
    pub fn names(&mut self, kind: Kind) -> &mut HashSet<SmallBytes> {
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

    /// Sends what it can without waiting; in place, as the fan-out does, for many subscribers.
    pub fn flush(&mut self) -> Flushed {
        while self.sent < self.reply.buf.len() {
            match send(&self.socket, &self.reply.buf[self.sent..], SendFlags::NOSIGNAL) {
                Ok(0) => return Flushed::Broken,
                Ok(sent) => self.sent += sent,
                Err(Errno::WOULDBLOCK) => {
                    self.forget_sent();
                    return Flushed::Partly;
                }
                Err(Errno::INTR) => {}
                Err(_) => return Flushed::Broken,
            }
        }
        self.sent = 0;
        if self.reply.buf.capacity() > KEPT_OUTPUT {
            self.reply.buf = Vec::new();
        } else {
            self.reply.buf.clear();
        }
        Flushed::All
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

/// The table of connections, by slot.
#[derive(Debug, Default)]
pub struct Clients {
    slots: Vec<Option<Box<Client>>>,
    free: Vec<Slot>,
}

impl Clients {
    /// The slot that the next client will get.
    pub fn next_slot(&self) -> Slot {
        self.free.last().copied().unwrap_or(self.slots.len())
    }

    /// Takes a client in, at [`Self::next_slot`].
    pub fn insert(&mut self, client: Client) {
        match self.free.pop() {
            Some(slot) => self.slots[slot] = Some(Box::new(client)),
            None => self.slots.push(Some(Box::new(client))),
        }
    }

    /// Takes a client out.
    pub fn remove(&mut self, slot: Slot) -> Option<Box<Client>> {
        let client = self.slots.get_mut(slot)?.take()?;
        self.free.push(slot);
        Some(client)
    }

    /// The client in a slot.
    pub fn get(&self, slot: Slot) -> Option<&Client> {
        self.slots.get(slot)?.as_deref()
    }

    /// The client in a slot, to be changed.
    pub fn get_mut(&mut self, slot: Slot) -> Option<&mut Client> {
        self.slots.get_mut(slot)?.as_deref_mut()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.slots.len() - self.free.len()
    }

    /// All of them with their slots.
    pub fn iter(&self) -> impl Iterator<Item = (Slot, &Client)> {
        let numbered = self.slots.iter().enumerate();
        numbered.filter_map(|(slot, client)| Some((slot, client.as_deref()?)))
    }
}
