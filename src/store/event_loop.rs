//! The loop: wait for sockets and times, run what has arrived, write it down, answer.
//!
//! One thread, one round after the other, as in Redis. In a round all requests that have arrived are
//! run, then what they changed goes to the log, and only then do their replies leave, in one write
//! a client. Nothing in a round waits: what takes long is cut into steps with the next round between.
//!
//! This is the only file of the store that knows sockets and reads the clock.

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
use super::pubsub::Slot;
use super::server::{Core, Endpoints};
use crate::net::listener::is_the_peers;
use crate::pulse::Pulse;

const LISTENER: Token = Token(usize::MAX);
const WAKER: Token = Token(usize::MAX - 1);

/// What is read from one client at a time.
const READ: usize = 64 * 1024;
/// This many reads in a row, then it is the others' turn.
const READS: usize = 16;
/// Clients that are sent something in a row, then it is the turn of those who ask.
const FEW: usize = 32;
/// Whoever has more than this waiting is sent it before others may ask for more.
const LITTLE: usize = 16 * 1024;
/// Connections taken in a row, then it is the others' turn.
const ACCEPTS: usize = 256;
/// The longest wait, so that whoever watches the loop sees that it is alive.
const BEAT: Duration = Duration::from_millis(500);
/// How soon to try again to take a connection, when the system would not let us.
const ACCEPT_AGAIN: Duration = Duration::from_millis(100);

scoped_thread_local!(
    /// The loop, while the core runs what has arrived: a script that takes long lets others be served.
    static mut LOOP: for<'a> &'a mut EventLoop
);

/// A client's connection.
struct Connection {
    socket: TcpStream,
    /// Whether bytes may be waiting in the socket that were not read.
    unread: bool,
}

/// The sockets that the loop waits for.
pub struct EventLoop {
    poll: Poll,
    listener: TcpListener,
    /// Connections by their client's slot in the core.
    connections: Vec<Option<Connection>>,
    /// Those that may have more to be read, to be continued in the next round.
    unread: VecDeque<Slot>,
    /// Events that are told and not yet looked at.
    arrived: VecDeque<Event>,
    scratch: Vec<u8>,
    accept_at: Option<Time>,
    now: Time,
    /// Whether the loop is to end, also while a script runs.
    stop: Arc<AtomicBool>,
    pulse: Pulse,
    /// Kept open here too: a waker that is closed right after its call wakes nobody.
    _waker: Arc<Waker>,
}

/// What became of an attempt to send.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sent {
    All,
    /// The socket takes no more for now.
    Partly,
    /// The connection is broken.
    Broken,
}

impl EventLoop {
    /// Takes over a listener. The [`Waker`] ends the loop's wait.
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

    /// Serves until it is told to stop and woken. Dropping it closes the listener.
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

    /// Takes what has arrived. Each event is told once, so those that are left when a script takes long
    /// are where the turns meanwhile find them.
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
                        // It has gone, and nobody is going to read up to the end.
                        self.close(core, slot);
                    }
                }
            }
        }
    }

    /// Reads more of those that have more to be read, each once.
    fn read_on(&mut self, core: &mut Core) {
        for _ in 0..self.unread.len() {
            if let Some(slot) = self.unread.pop_front() {
                self.read(core, slot, true);
            }
        }
    }

    /// Answers those who have asked, then sends to the others, a few at a time: between these, whoever asks next is
    /// answered, and of many messages to the same listeners more leave in one write. Others have at least as long as
    /// it took to read and run what has arrived, so that nobody who asks can hold them up.
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

    /// One turn for all others while a script runs, without a wait. Called from within the core.
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
        // Whole milliseconds upwards: to wake too early is to wake twice.
        let pause = wake.map_or(BEAT, |wake| Duration::from_millis(wake.millis().saturating_sub(self.now.millis())));
        Some(pause.min(BEAT))
    }

    /// Takes more connections, if some may be waiting and it is time.
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
        // Those who are here have their turn before more are taken, which are not told of again.
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

    /// Reads what a client has sent and has it run.
    fn read(&mut self, core: &mut Core, slot: Slot, to_the_end: bool) {
        for _ in 0..READS {
            let Some(Some(connection)) = self.connections.get_mut(slot) else { return };
            connection.unread = true;
            if !core.is_reading(slot) {
                // It goes on when the client has fetched its replies.
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

    /// Sends what waits for a client, and closes it if it is finished.
    fn serve(&mut self, core: &mut Core, slot: Slot) {
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

    fn close(&mut self, core: &mut Core, slot: Slot) {
        core.close(slot);
        if let Some(connection) = self.connections.get_mut(slot) {
            *connection = None;
        }
    }
}

/// Sends what it can without waiting; in place, as the fan-out does, for many subscribers.
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

/// The system's clock.
pub fn now() -> Time {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Time::from_micros(since.as_micros() as u64)
}
