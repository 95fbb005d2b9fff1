//! The loop of one worker: its sockets, its deliveries, its deadlines, on one thread.
//!
//! An idle socket costs its record here, and nothing in the runtime. Sockets are read before
//! deadlines are judged.

use std::collections::VecDeque;
use std::io::{self, Read};
use std::time::{Duration, Instant};

use bytes::Bytes;
use mio::{Events, Token};
use tokio::sync::mpsc;
use tokio::task::yield_now;
use tokio::time::sleep;

use super::close_code::{self, Close};
use super::drain::Drain;
use super::frames::Partial;
use super::keepalive::{Clock, Deadlines, Due, Key};
use super::poller::Poller;
use super::protocol::TokenBucket;
use super::request::Request;
use super::{NewClient, Pulse};
use crate::config::{Config, Limits, Session as Timing};
use crate::hub::queue::Receiver;
use crate::hub::ws_frame::{frame, opcode, state};
use crate::hub::{CloseReason, Delivery, Registry, Shard, SocketId};
use crate::memory;
use crate::metrics::{Metrics, Reason};
use crate::net::conn_limits::IpPermit;

/// Events taken from the kernel at once.
const EVENTS: usize = 1024;
/// Deliveries carried out as one batch.
const BATCH: usize = 256;
/// Connections taken in before the sockets get their turn again.
const TAKE_IN: usize = 64;
/// The one buffer that all sockets of a worker are read into.
const BUFFER: usize = 64 << 10;
/// The longest sleep: the worker's clock wants to be looked at.
const LONGEST_SLEEP: Duration = Duration::from_millis(500);
/// From the time when many have gone until their memory is given back: what they set off in the store is
/// done by then.
const SHRINK: Duration = Duration::from_secs(5);
/// The sleep while sockets are being closed one after another.
const DRAIN_STEP: Duration = Duration::from_millis(5);

/// Where a session is between open and close.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// Open.
    Open,
    /// Our close frame is on its way; the client's is awaited.
    Closing,
    /// The client has sent its close frame; the connection ends when ours is sent.
    Answered,
}

/// The end of a client that broke the protocol. It hears our close frame and the end of our side; it
/// may then keep its own side open until `session.close` has passed, but it cannot keep us busy.
#[derive(Debug, Clone, Copy)]
pub struct Deaf {
    /// Bytes that are still read and thrown away, so that no reset overtakes the close frame. After
    /// them nothing is read: the kernel's window fills up, and the client waits.
    pub discard: usize,
    /// Our side is shut. Shutting it again would wake this worker for ever.
    pub shut: bool,
}

/// What a worker knows of a client beside its socket.
pub struct Session {
    /// Which of the sockets with this number it is.
    pub generation: u32,
    pub state: State,
    /// It broke the protocol: what it sends has no meaning any more.
    pub deaf: Option<Deaf>,
    /// A ping was sent and nothing heard since.
    pub pinged: bool,
    /// Waits in [`Worker::unread`].
    pub unread: bool,
    pub partial: Option<Box<Partial>>,
    pub allowance: TokenBucket,
    /// Given up with the session.
    _seat: Option<Box<IpPermit>>,
}

/// See the module.
pub struct Worker {
    pub(super) shard: Shard,
    pub(super) sessions: Vec<Option<Session>>,
    pub(super) limits: Limits,
    /// The worker's own time, at the last look.
    pub(super) now: Duration,
    registry: std::sync::Arc<Registry>,
    timing: Timing,
    metrics: Metrics,
    watched: Poller,
    clock: Clock,
    deadlines: Deadlines,
    goodbyes: VecDeque<(Duration, Key)>,
    /// Sockets that may have more to read, once everybody else had their turn.
    unread: Vec<Key>,
    generation: u32,
    drain: Option<(Drain, Vec<Key>)>,
    /// When memory is given back.
    shrink_at: Option<Duration>,
}

impl Worker {
    /// A worker without sockets. Needs a runtime.
    ///
    /// # Errors
    /// The kernel gives no epoll.
    pub fn new(
        shard: Shard,
        registry: std::sync::Arc<Registry>,
        limits: Limits,
        timing: Timing,
        metrics: Metrics,
    ) -> io::Result<Self> {
        Ok(Self {
            shard,
            sessions: Vec::new(),
            limits,
            now: Duration::ZERO,
            registry,
            timing,
            metrics,
            watched: Poller::new()?,
            clock: Clock::new(Instant::now()),
            deadlines: Deadlines::default(),
            goodbyes: VecDeque::new(),
            unread: Vec::new(),
            generation: 0,
            drain: None,
            shrink_at: None,
        })
    }

    pub(super) fn session(&mut self, id: SocketId) -> Option<&mut Session> {
        self.sessions.get_mut(id as usize)?.as_mut()
    }

    fn take_in(&mut self, attach: NewClient) {
        let id = self.shard.attach(mio::net::TcpStream::from_std(attach.io), attach.head);
        // From now on it is counted among the sockets.
        drop(attach.open);
        self.generation = self.generation.wrapping_add(1);
        let session = Session {
            generation: self.generation,
            state: State::Open,
            deaf: None,
            pinged: false,
            unread: false,
            partial: None,
            allowance: TokenBucket::new(self.limits.messages_per_second, self.now),
            _seat: attach.seat,
        };
        if self.sessions.len() <= id as usize {
            self.sessions.resize_with(id as usize + 1, || None);
        }
        self.sessions[id as usize] = Some(session);
        let registered = self.shard.io(id).map(|io| self.watched.add(io, Token(id as usize)));
        if !matches!(registered, Some(Ok(()))) {
            tracing::error!("the kernel watches no more sockets for this process; a client is dropped");
            return self.drop_gone(id);
        }
        if self.drain.is_some() {
            self.send_elsewhere(id);
            return self.write(id);
        }
        self.deadlines.ping_at(self.now + self.timing.ping, (id, self.generation));
        if self.registry.store_up() == Some(false) {
            self.shard.send(id, state(false));
        }
        let NewClient { subscribe, watch, reconnect, early, .. } = attach;
        self.carry_out(id, Request { unsubscribe: Vec::new(), subscribe, watch, reconnect });
        self.write(id);
        if !early.is_empty() {
            self.hear(id, &mut early.to_vec());
        }
    }

    /// Reads a socket once: whoever sends faster than it is read keeps nobody else waiting. What is
    /// left is for the next turn. `ended`: up to the end, which is told only once.
    fn read(&mut self, id: SocketId, ended: bool, buffer: &mut [u8]) {
        if matches!(self.session(id).and_then(|session| session.deaf), Some(Deaf { discard: 0, .. })) {
            return;
        }
        loop {
            let Some(io) = self.shard.io(id) else { return };
            match io.read(buffer) {
                Ok(0) => return self.drop_gone(id),
                Ok(n) => {
                    self.hear(id, &mut buffer[..n]);
                    // A short read emptied it; only an end is still to be read.
                    if n == buffer.len() || ended {
                        self.read_on(id);
                    }
                    return;
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => return self.drop_gone(id),
            }
        }
    }

    fn read_on(&mut self, id: SocketId) {
        if let Some(session) = self.session(id).filter(|session| !session.unread) {
            session.unread = true;
            let key = (id, session.generation);
            self.unread.push(key);
        }
    }

    fn write(&mut self, id: SocketId) {
        let sent = self.shard.flush(id);
        if sent && self.session(id).is_some_and(|session| session.state == State::Answered) {
            return self.drop_socket(id);
        }
        self.end_deaf(id);
    }

    /// Starts to close: out of every channel and of the count at once, then the close frame.
    pub(super) fn close(&mut self, id: SocketId, close: &'static Close) {
        self.close_with(id, close, close.frame());
    }

    /// [`Worker::close`] for a client that is to connect again after a pause of its own.
    fn send_elsewhere(&mut self, id: SocketId) {
        let pause = self.drain.as_ref().map(|(drain, _)| drain.pause(fastrand::f64())).unwrap_or_default();
        self.close_with(id, &close_code::RESTART, close_code::RESTART.frame_after(pause));
    }

    fn close_with(&mut self, id: SocketId, close: &'static Close, frame: Bytes) {
        let Some(session) = self.session(id).filter(|session| session.state == State::Open) else { return };
        session.state = State::Closing;
        let key = (id, session.generation);
        self.count_close(close);
        self.shard.send_last(id, frame);
        self.await_goodbye(key);
    }

    /// However slow the client, its connection ends in time.
    pub(super) fn await_goodbye(&mut self, key: Key) {
        self.goodbyes.push_back((self.now + self.timing.close, key));
    }

    pub(super) fn count_close(&self, close: &Close) {
        self.metrics.closed.get_or_create(&Reason { reason: close.name }).inc();
    }

    fn drop_gone(&mut self, id: SocketId) {
        if self.session(id).is_some_and(|session| session.state == State::Open) {
            self.count_close(&close_code::GONE);
        }
        self.drop_socket(id);
    }

    /// Ends the connection.
    pub(super) fn drop_socket(&mut self, id: SocketId) {
        if let Some(session) = self.sessions.get_mut(id as usize) {
            *session = None;
        }
        // Closing the descriptor takes it out of the epoll.
        self.shard.detach(id);
    }

    fn close_doomed(&mut self) {
        for (id, doom) in self.shard.take_doomed() {
            match doom {
                CloseReason::Slow => self.close(id, &close_code::SLOW),
                CloseReason::Gone => self.drop_gone(id),
            }
        }
    }

    /// Gives back the memory of a crowd that has gone, once what it set off is done.
    fn shrink(&mut self) {
        match self.shrink_at {
            None if self.shard.many_gone() => self.shrink_at = Some(self.now + SHRINK),
            Some(at) if at <= self.now => {
                self.shrink_at = None;
                self.sessions.truncate(self.shard.shrink());
                self.sessions.shrink_to_fit();
                memory::trim();
            }
            _ => {}
        }
    }

    /// The socket of a key, if it is still the same one.
    fn alive(&mut self, (id, generation): Key) -> Option<&mut Session> {
        self.session(id).filter(|session| session.generation == generation)
    }

    fn handle(&mut self, events: &Events, buffer: &mut [u8]) {
        for key in std::mem::take(&mut self.unread) {
            if let Some(session) = self.alive(key) {
                session.unread = false;
                // If it has ended meanwhile, nobody tells again.
                self.read(key.0, true, buffer);
            }
        }
        for event in events {
            let (id, ended) = (event.token().0 as SocketId, event.is_read_closed() || event.is_error());
            if event.is_writable() {
                self.write(id);
            }
            let had_its_turn = self.session(id).is_some_and(|session| session.unread);
            if (event.is_readable() || ended) && !had_its_turn {
                self.read(id, ended, buffer);
            }
        }
    }

    fn judge_deadlines(&mut self) {
        while let Some((due, key)) = self.deadlines.due(self.now) {
            let (ping_at, pong_by) = (self.now + self.timing.ping, self.now + self.timing.pong);
            let Some(session) = self.alive(key).filter(|session| session.state == State::Open) else { continue };
            match due {
                Due::Ping => {
                    session.pinged = true;
                    self.deadlines.ping_at(ping_at, key);
                    self.deadlines.pong_by(pong_by, key);
                    self.shard.send(key.0, frame(opcode::PING, &[]));
                }
                Due::Pong if session.pinged => self.close(key.0, &close_code::NO_PONG),
                Due::Pong => {}
            }
        }
    }

    /// Ends the connections of clients that did not say goodbye in time.
    fn say_goodbye(&mut self) {
        while self.goodbyes.front().is_some_and(|(by, _)| *by <= self.now) {
            if let Some((_, key)) = self.goodbyes.pop_front()
                && self.alive(key).is_some()
            {
                self.drop_socket(key.0);
            }
        }
    }

    fn keys(&self) -> Vec<Key> {
        let open = |(id, session): (usize, &Option<Session>)| session.as_ref().map(|s| (id as SocketId, s.generation));
        self.sessions.iter().enumerate().filter_map(open).collect()
    }

    /// Puts another configuration into effect, for open sockets too.
    fn configure(&mut self, config: &Config) {
        self.shard.configure(config);
        self.limits = config.limits.clone();
        let timing = std::mem::replace(&mut self.timing, config.session.clone());
        if timing.ping != self.timing.ping {
            // The queue is in the order of its times; all begin anew, spread over the new period.
            self.deadlines.forget_pings();
            let keys = self.keys();
            let step = self.timing.ping / u32::try_from(keys.len().max(1)).unwrap_or(u32::MAX);
            for (turn, key) in (1..).zip(keys) {
                self.deadlines.ping_at(self.now + step * turn, key);
            }
        }
    }

    fn start_drain(&mut self, over: Duration) {
        let keys = self.keys();
        self.drain = Some((Drain::new(Instant::now(), over, keys.len()), keys));
    }

    fn drain_some(&mut self) {
        let Some((drain, keys)) = &mut self.drain else { return };
        let open = drain.may_be_open(Instant::now()).min(keys.len());
        for key in keys.split_off(open) {
            if self.alive(key).is_some() {
                self.send_elsewhere(key.0);
            }
        }
    }

    fn sleep(&self) -> Duration {
        if self.drain.is_some() {
            return DRAIN_STEP;
        }
        let tick = self.shard.next_tick().map(|at| at.saturating_duration_since(Instant::now()));
        tick.unwrap_or(LONGEST_SLEEP).min(LONGEST_SLEEP)
    }
}

/// Runs a worker until it was told to drain and its last socket is gone.
pub async fn run(
    mut worker: Worker,
    mut attaches: mpsc::Receiver<NewClient>,
    mut deliveries: Receiver,
    pulse: Pulse,
) -> io::Result<()> {
    let (mut events, mut buffer) = (Events::with_capacity(EVENTS), vec![0; BUFFER]);
    let (mut batch, mut rooms) = (Vec::new(), Vec::new());
    loop {
        pulse.beat();
        let pause = worker.sleep();
        tokio::select! {
            waited = worker.watched.wait(&mut events) => waited?,
            Some(queued) = deliveries.recv() => {
                batch.push(queued.delivery);
                rooms.extend(queued.room);
            }
            Some(attach) = attaches.recv() => worker.take_in(attach),
            () = yield_now(), if !worker.unread.is_empty() => {}
            () = sleep(pause) => {}
        }
        let now = Instant::now();
        worker.now = worker.clock.look(now);
        worker.handle(&events, &mut buffer);
        if worker.deadlines.any_due(worker.now) {
            // Whoever has answered by now is read before anybody is judged.
            worker.watched.take(&mut events)?;
            worker.handle(&events, &mut buffer);
            worker.judge_deadlines();
        }
        events.clear();
        for _ in 0..TAKE_IN {
            let Ok(attach) = attaches.try_recv() else { break };
            worker.take_in(attach);
        }
        while batch.len() < BATCH {
            let Ok(queued) = deliveries.try_recv() else { break };
            batch.push(queued.delivery);
            rooms.extend(queued.room);
        }
        for delivery in &batch {
            match delivery {
                Delivery::Drain(over) => worker.start_drain(*over),
                Delivery::Config(config) => worker.configure(config),
                _ => {}
            }
        }
        worker.shard.deliver(&mut batch, now);
        rooms.clear();
        worker.shard.tick(now);
        worker.drain_some();
        worker.say_goodbye();
        worker.close_doomed();
        worker.shrink();
        if worker.drain.is_some() && worker.shard.is_empty() {
            pulse.end();
            return Ok(());
        }
    }
}
