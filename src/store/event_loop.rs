//! The event loop: wait for sockets and deadlines, run what has arrived, write the log, reply.
//!
//! A single thread runs one round after another, as in Redis. A round first runs all requests that have
//! arrived, then writes their changes to the log, and only then sends the replies, in one write per
//! client. Subscribers come after whoever has asked, a few of them per round if there are many. Nothing in
//! a round blocks: long work is cut into steps, with other rounds in between.
//!
//! This is the only file of the store that uses sockets and reads the time of day.

use std::collections::VecDeque;
use std::io::{self, Read, Write};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use mio::event::Event;
use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Token, Waker};
use rustix::io::Errno;
use rustix::net::{SendFlags, send};
use scoped_tls_hkt::scoped_thread_local;

use super::clock::Time;
use super::pubsub::ClientSlot;
use super::server::{Core, Endpoints};
use crate::net::listener::is_the_peers;
use crate::pulse::Pulse;

const LISTENER: Token = Token(usize::MAX);
const WAKER: Token = Token(usize::MAX - 1);

/// The number of bytes to read from a client at a time.
const READ: usize = 64 * 1024;
/// The number of reads from one client before the others get a turn.
const READS: usize = 16;
/// The number of clients to send to before new requests may get a turn.
const FEW: usize = 32;
/// A client with at least this many bytes pending is sent them before new requests get a turn.
const LITTLE: usize = 16 * 1024;
/// The number of connections to accept before the other clients get a turn.
const ACCEPTS: usize = 256;
/// The longest wait, so that a monitor of the loop can see that it is alive.
const BEAT: Duration = Duration::from_millis(500);
/// How soon to retry after the system could not accept a connection.
const ACCEPT_AGAIN: Duration = Duration::from_millis(100);

scoped_thread_local!(
    /// The running loop, through which the core lets other clients be served during a long script.
    static mut LOOP: for<'a> &'a mut EventLoop
);

/// A client's connection.
struct Connection {
    socket: TcpStream,
    /// Whether the socket may hold bytes that have not been read yet.
    unread: bool,
}

/// The event loop, with the sockets that it polls.
pub struct EventLoop {
    poll: Poll,
    listener: TcpListener,
    /// The connections, indexed by the client's slot in the core.
    connections: Vec<Option<Connection>>,
    /// Clients that may have more to read, to be continued in the next round.
    unread: VecDeque<ClientSlot>,
    /// Events that were polled but not handled yet.
    arrived: VecDeque<Event>,
    scratch: Vec<u8>,
    accept_at: Option<Time>,
    now: Time,
    /// Whether the loop should end, even while a script runs.
    stop: Arc<AtomicBool>,
    pulse: Pulse,
    /// Kept alive here too: a waker that is dropped right after its call wakes nobody.
    _waker: Arc<Waker>,
}

/// The outcome of an attempt to send.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sent {
    All,
    /// The socket takes no more for now.
    Partly,
    /// The connection is broken.
    Broken,
}

impl EventLoop {
    /// Takes over a listener. The returned [`Waker`] ends the loop's wait.
    pub fn new(listener: std::net::TcpListener, stop: Arc<AtomicBool>, pulse: Pulse) -> io::Result<(Self, Arc<Waker>)> {
        listener.set_nonblocking(true)?;
        let mut listener = TcpListener::from_std(listener);
        let poll = Poll::new()?;
        poll.registry().register(&mut listener, LISTENER, Interest::READABLE)?;
        let waker = Arc::new(Waker::new(poll.registry(), WAKER)?);
        let event_loop = Self {
            poll,
            listener,
            connections: Vec::new(),
            unread: VecDeque::new(),
            arrived: VecDeque::new(),
            scratch: vec![0; READ],
            accept_at: None,
            now: now(),
            stop,
            pulse,
            _waker: Arc::clone(&waker),
        };
        Ok((event_loop, waker))
    }

    /// Serves until `stop` is set and the loop is woken. Dropping the loop closes the listener.
    pub fn run(&mut self, core: &mut Core) -> io::Result<()> {
        core.set_address(self.listener.local_addr().ok());
        core.serve_meanwhile(|core| LOOP.with(|event_loop| event_loop.serve_meanwhile(core)));
        let mut events = Events::with_capacity(1024);
        while !self.stop.load(Ordering::Acquire) {
            self.pulse.beat();
            match self.poll.poll(&mut events, self.timeout(core)) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                outcome => outcome?,
            }
            self.now = now();
            core.set_time(self.now);
            self.accept_on(core);
            self.read_on(core);
            self.take(core, &events);
            LOOP.set(self, || core.end_round());
            self.serve_scheduled(core);
        }
        self.connections.clear();
        Ok(())
    }

    /// Handles the events that have arrived. Each event is reported only once, so events still
    /// unhandled when a long script runs stay in `arrived`, where `serve_meanwhile` finds them.
    fn take(&mut self, core: &mut Core, events: &Events) {
        self.arrived.extend(events.iter().cloned());
        while let Some(event) = self.arrived.pop_front() {
            match event.token() {
                LISTENER => self.accept(core),
                WAKER => {}
                Token(slot) => {
                    if event.is_writable() && !core.output(slot).is_empty() {
                        core.schedule(slot);
                    }
                    if event.is_readable() {
                        self.read(core, slot, event.is_read_closed() || event.is_error());
                    }
                    if event.is_write_closed() && !core.is_reading(slot) {
                        // The peer is gone, and nobody is going to read up to the end of the stream.
                        self.close(core, slot);
                    }
                }
            }
        }
    }

    /// Continues to read from the clients that have more to read, once each.
    fn read_on(&mut self, core: &mut Core) {
        for _ in 0..self.unread.len() {
            if let Some(slot) = self.unread.pop_front() {
                self.read(core, slot, true);
            }
        }
    }

    /// Replies to the clients that sent requests, then sends to the others, a few at a time. In between, new requests
    /// can be served, and further messages for the same subscribers can share one write. The others get at least as
    /// much time as it took to read and run the requests, so that requests cannot starve them.
    fn serve_scheduled(&mut self, core: &mut Core) {
        let asked = core.take_asked();
        self.serve_next(core, asked);
        let others = core.scheduled();
        if others <= FEW {
            return self.serve_next(core, others);
        }
        let start = now();
        let busy = start.since(self.now);
        for done in (0..others).step_by(FEW) {
            self.serve_next(core, FEW.min(others - done));
            if core.next_waiting() < LITTLE && now().since(start) >= busy {
                return;
            }
        }
    }

    fn serve_next(&mut self, core: &mut Core, clients: usize) {
        for _ in 0..clients {
            if let Some(slot) = core.next_scheduled() {
                self.serve(core, slot);
            }
        }
    }

    /// Gives all other clients one turn while a script runs, without waiting. Called from within the core.
    fn serve_meanwhile(&mut self, core: &mut Core) {
        if self.stop.load(Ordering::Acquire) {
            core.end_script();
        }
        self.pulse.beat();
        let mut events = Events::with_capacity(256);
        if let Err(error) = self.poll.poll(&mut events, Some(Duration::ZERO)) {
            tracing::debug!(%error, "cannot serve clients while a script runs");
        }
        self.now = now();
        self.accept_on(core);
        self.read_on(core);
        self.take(core, &events);
        self.serve_scheduled(core);
    }

    fn timeout(&self, core: &Core) -> Option<Duration> {
        if !self.unread.is_empty() || core.scheduled() > 0 {
            return Some(Duration::ZERO);
        }
        let wake = [core.next_time(), self.accept_at].into_iter().flatten().min();
        // In whole milliseconds, rounded up: waking too early means waking twice.
        let pause = wake.map_or(BEAT, |wake| Duration::from_millis(wake.millis().saturating_sub(self.now.millis())));
        Some(pause.min(BEAT))
    }

    /// Accepts more connections, if some may be waiting and it is time.
    fn accept_on(&mut self, core: &mut Core) {
        if self.accept_at.is_some_and(|at| at <= self.now) {
            self.accept(core);
        }
    }

    fn accept(&mut self, core: &mut Core) {
        self.accept_at = None;
        for _ in 0..ACCEPTS {
            match self.listener.accept() {
                Ok((socket, peer)) => {
                    if let Err(error) = self.welcome(core, socket, peer) {
                        tracing::debug!(%peer, %error, "a client of the store disconnected at once");
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(error) if is_the_peers(&error) => {}
                Err(error) => {
                    tracing::warn!(%error, "the store cannot accept connections at the moment");
                    self.accept_at = Some(Time::from_millis(self.now.millis() + ACCEPT_AGAIN.as_millis() as u64));
                    return;
                }
            }
        }
        // Connected clients get a turn before more are accepted; poll does not report the waiting ones again.
        self.accept_at = Some(self.now);
    }

    fn welcome(&mut self, core: &mut Core, mut socket: TcpStream, peer: SocketAddr) -> io::Result<()> {
        socket.set_nodelay(true)?;
        let local = socket.local_addr()?;
        let descriptor = std::os::fd::AsRawFd::as_raw_fd(&socket);
        let slot = match core.connect(Endpoints { peer, local, descriptor }) {
            Ok(slot) => slot,
            Err(refusal) => return socket.write_all(refusal),
        };
        let interest = Interest::READABLE | Interest::WRITABLE;
        if let Err(error) = self.poll.registry().register(&mut socket, Token(slot), interest) {
            core.close(slot);
            return Err(error);
        }
        if self.connections.len() <= slot {
            self.connections.resize_with(slot + 1, || None);
        }
        self.connections[slot] = Some(Connection { socket, unread: false });
        Ok(())
    }

    /// Reads what a client has sent and runs it.
    fn read(&mut self, core: &mut Core, slot: ClientSlot, to_the_end: bool) {
        for _ in 0..READS {
            let Some(Some(connection)) = self.connections.get_mut(slot) else { return };
            connection.unread = true;
            if !core.is_reading(slot) {
                // Reading continues when the core is ready for more from this client.
                return;
            }
            self.scratch.resize(READ, 0);
            match connection.socket.read(&mut self.scratch) {
                Ok(0) => return self.close(core, slot),
                Ok(length) => {
                    let drained = length < self.scratch.len() && !to_the_end;
                    connection.unread = !drained;
                    let scratch = std::mem::take(&mut self.scratch);
                    LOOP.set(self, || core.feed(slot, &scratch[..length]));
                    self.scratch = scratch;
                    if drained {
                        return;
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    connection.unread = false;
                    return;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => return self.close(core, slot),
            }
        }
        self.unread.push_back(slot);
    }

    /// Sends a client its pending output, and closes it if it is finished.
    fn serve(&mut self, core: &mut Core, slot: ClientSlot) {
        let Some(Some(connection)) = self.connections.get_mut(slot) else { return };
        let (sent, bytes) = flush(&connection.socket, core.output(slot));
        core.note_sent(slot, bytes);
        match sent {
            Sent::All if connection.unread && core.is_reading(slot) => self.unread.push_back(slot),
            Sent::All => {}
            Sent::Partly => core.note_stuck(slot),
            Sent::Broken => return self.close(core, slot),
        }
        if core.is_finished(slot) {
            self.close(core, slot);
        }
    }

    fn close(&mut self, core: &mut Core, slot: ClientSlot) {
        core.close(slot);
        if let Some(connection) = self.connections.get_mut(slot) {
            *connection = None;
        }
    }
}

/// Sends what it can without blocking. The system call is direct, as in the fan-out: there may be many subscribers.
fn flush(socket: &TcpStream, bytes: &[u8]) -> (Sent, usize) {
    let mut done = 0;
    while done < bytes.len() {
        match send(socket, &bytes[done..], SendFlags::NOSIGNAL) {
            Ok(0) => return (Sent::Broken, done),
            Ok(sent) => done += sent,
            Err(Errno::WOULDBLOCK) => return (Sent::Partly, done),
            Err(Errno::INTR) => {}
            Err(_) => return (Sent::Broken, done),
        }
    }
    (Sent::All, done)
}

/// Returns the time of the system's clock.
pub fn now() -> Time {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Time::from_micros(since.as_micros() as u64)
}
