//! The loop: wait for sockets and times, run what has arrived, write it down, answer.
//!
//! One thread, one round after the other, as in Redis. In a round all requests that have arrived are
//! run, then what they changed goes to the log, and only then do their replies leave, in one write
//! a client. Nothing in a round waits: what takes long is cut into steps with the next round between.

use std::io::{self, Read, Write};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Token, Waker};

use super::client::{Client, Flushed};
use super::pubsub::Slot;
use super::reply::{LIMIT as REPLY_LIMIT, Reply};
use super::resp::Limits;
use super::server::Server;

const LISTENER: Token = Token(usize::MAX);
const WAKER: Token = Token(usize::MAX - 1);

/// Why a subscriber is dropped.
pub(super) const UNREAD: &str = "it does not read the messages it asked for";
/// What is read from one client at a time.
const READ: usize = 64 * 1024;
/// So many reads in a row, then it is the others' turn.
const READS: usize = 16;
/// A client that does not fetch its replies is not served beyond this.
const UNFETCHED: usize = 1 << 20;
/// Milliseconds within which a client that is to be closed must fetch what waits for it.
const LINGER: u64 = 10_000;
/// Keys that are removed in one round because their time is up.
const EXPIRED: usize = 256;
/// How soon to try again to take a connection, when the system would not let us.
const ACCEPT_AGAIN: u64 = 100;

/// The sockets that the loop waits for.
pub struct EventLoop {
    poll: Poll,
    listener: TcpListener,
    accept_at: Option<u64>,
    /// Kept open here too: a waker that is closed right after its call wakes nobody.
    _waker: Arc<Waker>,
}

impl EventLoop {
    /// Takes over a listener. The [`Waker`] ends the loop's wait.
    pub fn new(listener: std::net::TcpListener) -> io::Result<(Self, Arc<Waker>)> {
        listener.set_nonblocking(true)?;
        let mut listener = TcpListener::from_std(listener);
        let poll = Poll::new()?;
        poll.registry().register(&mut listener, LISTENER, Interest::READABLE)?;
        let waker = Arc::new(Waker::new(poll.registry(), WAKER)?);
        let event_loop = Self { poll, listener, accept_at: None, _waker: Arc::clone(&waker) };
        Ok((event_loop, waker))
    }

    /// Serves until `stop` is set and the loop is woken. Dropping it closes the listener.
    pub fn run(&mut self, server: &mut Server, stop: &AtomicBool) -> io::Result<()> {
        server.address = self.listener.local_addr().ok();
        let mut events = Events::with_capacity(1024);
        while !stop.load(Ordering::Acquire) {
            match self.poll.poll(&mut events, self.timeout(server)) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                outcome => outcome?,
            }
            server.set_time();
            if self.accept_at.is_some_and(|at| at <= server.data.keys.now) {
                self.accept(server);
            }
            for event in &events {
                match event.token() {
                    LISTENER => self.accept(server),
                    WAKER => {}
                    Token(slot) => {
                        if event.is_writable() {
                            server.schedule(slot);
                        }
                        if event.is_readable() {
                            server.read(slot, event.is_read_closed() || event.is_error());
                            server.relieve();
                        }
                    }
                }
            }
            server.end_round();
        }
        server.close_all();
        Ok(())
    }

    fn timeout(&self, server: &mut Server) -> Option<Duration> {
        if !server.resumed.is_empty() {
            return Some(Duration::ZERO);
        }
        let wake = [server.next_time(), self.accept_at].into_iter().flatten().min()?;
        Some(Duration::from_millis(wake.saturating_sub(server.data.keys.now)))
    }

    fn accept(&mut self, server: &mut Server) {
        self.accept_at = None;
        loop {
            match self.listener.accept() {
                Ok((socket, peer)) => {
                    if let Err(error) = self.welcome(server, socket, peer) {
                        tracing::debug!(%peer, %error, "a client of the store was gone at once");
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
                Err(error) => {
                    tracing::warn!(%error, "the store cannot take connections just now");
                    self.accept_at = Some(server.data.keys.now + ACCEPT_AGAIN);
                    return;
                }
            }
        }
    }

    fn welcome(&self, server: &mut Server, mut socket: TcpStream, peer: SocketAddr) -> io::Result<()> {
        if server.clients.len() >= server.settings.max_clients {
            server.stats.rejected += 1;
            return socket.write_all(b"-ERR max number of clients reached\r\n");
        }
        socket.set_nodelay(true)?;
        let local = socket.local_addr()?;
        let interest = Interest::READABLE | Interest::WRITABLE;
        self.poll.registry().register(&mut socket, Token(server.clients.next_slot()), interest)?;
        server.stats.connections += 1;
        let mut client = Client::new(server.next_id, socket, peer, local, server.data.keys.now);
        client.authenticated = server.settings.password.is_none();
        server.next_id += 1;
        server.clients.insert(client);
        Ok(())
    }
}

impl Server {
    /// Reads what a client has sent and runs it.
    fn read(&mut self, slot: Slot, to_the_end: bool) {
        let mut scratch = std::mem::take(&mut self.scratch);
        scratch.resize(READ, 0);
        for _ in 0..READS {
            let Some(client) = self.clients.get_mut(slot) else {
                break;
            };
            client.unread = true;
            if client.closing || client.pending() > UNFETCHED {
                break;
            }
            match client.socket.read(&mut scratch) {
                Ok(0) => {
                    self.close(slot);
                    break;
                }
                Ok(length) => {
                    self.stats.input += length as u64;
                    let drained = length < scratch.len() && !to_the_end;
                    client.unread = !drained;
                    self.feed(slot, &scratch[..length]);
                    if drained {
                        break;
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    client.unread = false;
                    break;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => {
                    self.close(slot);
                    break;
                }
            }
        }
        self.scratch = scratch;
        if self.clients.get(slot).is_some_and(|client| client.unread && !client.closing) {
            self.resumed.push(slot);
        }
    }

    fn feed(&mut self, slot: Slot, bytes: &[u8]) {
        let Some(client) = self.clients.get_mut(slot) else {
            return;
        };
        if client.input.is_empty() {
            let used = self.process(slot, bytes);
            if let Some(client) = self.clients.get_mut(slot)
                && used < bytes.len()
            {
                client.input.extend_from_slice(&bytes[used..]);
            }
        } else {
            client.input.extend_from_slice(bytes);
            self.drain(slot);
        }
        let limit = self.settings.max_query_buffer;
        if let Some(client) = self.clients.get_mut(slot)
            && client.input.len() > limit
        {
            tracing::warn!(peer = %client.peer, limit, "a client of the store sent too long a command and is dropped");
            self.stats.dropped_input += 1;
            self.doom(slot);
        }
    }

    /// Runs what has been kept because it could not be run yet.
    fn drain(&mut self, slot: Slot) {
        let Some(client) = self.clients.get_mut(slot) else {
            return;
        };
        let mut input = std::mem::take(&mut client.input);
        let used = self.process(slot, &input);
        if let Some(client) = self.clients.get_mut(slot) {
            if used == input.len() {
                input = Vec::new();
            } else {
                input.drain(..used);
            }
            client.input = input;
        }
    }

    /// Runs the complete requests at the head of `bytes`; says how many bytes they are.
    fn process(&mut self, slot: Slot, bytes: &[u8]) -> usize {
        let Some(client) = self.clients.get_mut(slot) else {
            return bytes.len();
        };
        let mut decoder = std::mem::take(&mut client.decoder);
        let resp3 = client.reply.resp3;
        let mut out = std::mem::replace(&mut client.reply, Reply { buf: Vec::new(), resp3 });
        let sent = client.sent;
        let mut used = 0;
        while used < bytes.len() {
            let Some(client) = self.clients.get_mut(slot) else {
                break;
            };
            if client.closing || client.blocked.is_some() || out.buf.len() - sent > UNFETCHED {
                break;
            }
            if self.data.keys.journal.is_large() {
                self.resumed.push(slot);
                break;
            }
            let limits = Limits { bulk: self.settings.max_bulk, unauthenticated: !client.authenticated };
            match decoder.decode(&bytes[used..], &limits) {
                Ok(None) => break,
                Ok(Some(length)) => {
                    let args = decoder.args(&bytes[used..]);
                    self.execute(slot, &args, &mut out);
                    used += length;
                    if out.is_too_large() {
                        self.drop_reader(slot, "a reply that is too large", REPLY_LIMIT);
                        out.buf.truncate(sent);
                    }
                }
                Err(problem) => {
                    client.closing = true;
                    out.error(&format!("ERR Protocol error: {problem}"));
                    break;
                }
            }
        }
        let Some(client) = self.clients.get_mut(slot) else {
            return bytes.len();
        };
        if client.closing {
            used = bytes.len();
        }
        client.decoder = decoder;
        out.buf.append(&mut client.reply.buf);
        client.reply = out;
        self.schedule(slot);
        used
    }

    /// Lets go on those that were held up.
    fn resume(&mut self) {
        for slot in std::mem::take(&mut self.resumed) {
            let Some(client) = self.clients.get(slot) else {
                continue;
            };
            if client.blocked.is_some() || client.closing || client.pending() > UNFETCHED {
                continue;
            }
            if !client.input.is_empty() {
                self.drain(slot);
            }
            if self.clients.get(slot).is_some_and(|client| client.unread) {
                self.read(slot, true);
            }
            self.relieve();
        }
    }

    /// Writes down what was changed before the end of the round, if it is much.
    fn relieve(&mut self) {
        if self.data.keys.journal.is_large() {
            self.write_log();
        }
    }

    /// Closes a client for which more waits than it may have.
    pub(super) fn drop_reader(&mut self, slot: Slot, what: &str, limit: usize) {
        let Some(client) = self.clients.get(slot) else { return };
        if client.closing {
            return;
        }
        tracing::warn!(peer = %client.peer, limit, "a client of the store is dropped: {what}");
        self.stats.dropped_output += 1;
        self.doom(slot);
    }

    /// Closes those that were to be closed and have not fetched the rest in time.
    fn end_lingering(&mut self) {
        while let Some(&(until, slot, id)) = self.lingering.front()
            && until <= self.data.keys.now
        {
            self.lingering.pop_front();
            if self.clients.get(slot).is_some_and(|client| client.id == id) {
                self.close(slot);
            }
        }
    }

    /// What a round does after its requests: times, the log, then the replies.
    fn end_round(&mut self) {
        self.resume();
        self.time_out();
        self.end_lingering();
        self.data.keys.expire_due(EXPIRED);
        self.data.keys.journal.commit();
        if !self.data.keys.ready.is_empty() {
            self.serve_ready();
        }
        self.write_log();
        for slot in std::mem::take(&mut self.scheduled) {
            self.flush(slot);
        }
        for slot in std::mem::take(&mut self.doomed) {
            self.close(slot);
        }
    }

    /// When something is to be done even if nobody asks.
    fn next_time(&mut self) -> Option<u64> {
        let log = self.log.as_ref().and_then(|log| log.next_time(self.data.keys.now));
        let lingering = self.lingering.front().map(|(until, ..)| *until);
        [self.data.keys.next_expiry(), self.waiting.next_deadline(), log, lingering].into_iter().flatten().min()
    }

    fn flush(&mut self, slot: Slot) {
        let Some(client) = self.clients.get_mut(slot) else {
            return;
        };
        client.scheduled = false;
        let before = client.pending();
        let outcome = if before == 0 { Flushed::All } else { client.flush() };
        self.stats.output += (before - client.pending()) as u64;
        match outcome {
            Flushed::All if client.closing => self.close(slot),
            Flushed::All => {
                if client.unread || (before > 0 && !client.input.is_empty()) {
                    self.resumed.push(slot);
                }
            }
            Flushed::Broken => self.close(slot),
            Flushed::Partly if client.closing => {
                if !std::mem::replace(&mut client.lingering, true) {
                    self.lingering.push_back((self.data.keys.now + LINGER, slot, client.id));
                }
            }
            Flushed::Partly => {
                let limit = self.settings.max_pending_output;
                if client.is_listening() && client.pending() > limit {
                    self.drop_reader(slot, UNREAD, limit);
                }
            }
        }
    }

    fn close(&mut self, slot: Slot) {
        self.leave_all(slot);
        super::command::release_watches(self, slot);
        self.unblock(slot);
        if let Some(client) = self.clients.remove(slot)
            && client.monitor
        {
            self.monitors -= 1;
        }
    }

    fn close_all(&mut self) {
        let slots: Vec<Slot> = self.clients.iter().map(|(slot, _)| slot).collect();
        for slot in slots {
            self.close(slot);
        }
        self.resumed.clear();
        self.close_log();
    }
}
