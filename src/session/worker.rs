//! The state of one worker: its sockets, what waits to be read from them, their deadlines.
//!
//! An idle socket costs its record here, and nothing in the runtime. What a worker does for a client is in
//! `actions`, its orders from outside are in `orders`, and the loop around both is in `event_loop`.

use std::collections::VecDeque;
use std::io::{self, Read};
use std::sync::Arc;
use std::time::{Duration, Instant};

use mio::{Events, Token};

use super::NewClient;
use super::checks::Checks;
use super::drain::Drain;
use super::expiries::Expiries;
use super::keepalive::{Clock, Deadlines, Due, SocketKey};
use super::machine::{Action, Session};
use super::outbound::Outbound;
use super::poller::Poller;
use crate::auth::Verification;
use crate::config::{Limits, SessionConfig};
use crate::hub::{Registry, Shard, SocketId};
use crate::memory;
use crate::metrics::Metrics;
use crate::net::seats::Seat;

/// The longest sleep: the worker's clock must be looked at this often.
const LONGEST_SLEEP: Duration = Duration::from_millis(500);
/// How long after many clients have come or left memory is given back: the work that they caused in the store
/// is done by then.
const SHRINK: Duration = Duration::from_secs(5);
/// How long the worker sleeps between the steps of a drain.
const DRAIN_STEP: Duration = Duration::from_millis(5);

/// A client's slot in a worker.
pub(super) struct Slot {
    pub session: Session,
    /// Tells this socket apart from earlier ones with the same number.
    pub generation: u32,
    /// When its token expires, or when it is closed for that, in milliseconds since 1970; 0 if it has none.
    pub expiry: u64,
    /// It was told that its token has expired.
    pub told_expired: bool,
    /// It is queued in [`Worker::unread`].
    unread: bool,
    /// It is not read for a while, and is queued in [`Worker::resting`].
    pub rests: bool,
    /// It is not read until its new token is checked; see [`Checks`].
    pub held: bool,
    /// Its place among all clients, which is given up when this is dropped.
    pub seat: Seat,
}

/// One worker.
pub struct Worker {
    pub(super) shard: Shard,
    pub(super) slots: Vec<Option<Slot>>,
    pub(super) limits: Limits,
    pub(super) timing: SessionConfig,
    pub(super) metrics: Metrics,
    /// The worker's own time, as of the last look at its clock.
    pub(super) now: Duration,
    pub(super) deadlines: Deadlines,
    pub(super) checks: Checks,
    pub(super) expiries: Expiries,
    pub(super) outbound: Outbound,
    pub(super) goodbyes: VecDeque<(Duration, SocketKey)>,
    pub(super) drain: Option<(Drain, Vec<SocketKey>)>,
    /// Kept between turns to reuse its memory.
    pub(super) actions: Vec<Action>,
    pub(super) registry: Arc<Registry>,
    pub(super) poller: Poller,
    pub(super) clock: Clock,
    /// Sockets that may have more to read, once all others have had their turn.
    pub(super) unread: VecDeque<SocketKey>,
    /// Clients that are not read for a while, and until when.
    pub(super) resting: VecDeque<(Duration, SocketKey)>,
    /// When this turn stops reading.
    pub(super) turn_ends: Instant,
    generation: u32,
    /// When to give back memory, if that is planned.
    shrink_at: Option<Duration>,
}

impl Worker {
    /// Creates a worker without sockets. Needs a runtime.
    ///
    /// # Errors
    /// The kernel provides no epoll.
    pub fn new(
        shard: Shard,
        registry: Arc<Registry>,
        limits: Limits,
        timing: SessionConfig,
        verification: Arc<Verification>,
        outbound: Outbound,
        metrics: Metrics,
    ) -> io::Result<Self> {
        Ok(Self {
            shard,
            slots: Vec::new(),
            limits,
            timing,
            metrics,
            now: Duration::ZERO,
            deadlines: Deadlines::default(),
            checks: Checks::new(verification),
            expiries: Expiries::default(),
            outbound,
            goodbyes: VecDeque::new(),
            drain: None,
            actions: Vec::new(),
            registry,
            poller: Poller::new()?,
            clock: Clock::new(Instant::now()),
            unread: VecDeque::new(),
            resting: VecDeque::new(),
            turn_ends: Instant::now(),
            generation: 0,
            shrink_at: None,
        })
    }

    pub(super) fn slot(&mut self, id: SocketId) -> Option<&mut Slot> {
        self.slots.get_mut(id as usize)?.as_mut()
    }

    /// Returns the client of a key, if it is still the same one.
    pub(super) fn alive(&mut self, (id, generation): SocketKey) -> Option<&mut Slot> {
        self.slot(id).filter(|slot| slot.generation == generation)
    }

    /// Gives a client a slot. Returns its number, and whether the kernel watches its socket.
    pub(super) fn attach(&mut self, new: NewClient) -> (SocketId, bool) {
        let id = self.shard.attach(mio::net::TcpStream::from_std(new.io), new.head, new.known, new.household);
        let mut seat = new.seat;
        seat.become_client();
        self.generation = self.generation.wrapping_add(1);
        let session = Session::new(&self.limits, self.now);
        let slot = Slot {
            session,
            generation: self.generation,
            expiry: 0,
            told_expired: false,
            unread: false,
            rests: false,
            held: false,
            seat,
        };
        if self.slots.len() <= id as usize {
            self.slots.resize_with(id as usize + 1, || None);
        }
        self.slots[id as usize] = Some(slot);
        self.deadlines.ping_at(self.now + self.timing.ping, (id, self.generation));
        let watched = self.shard.io(id).map(|io| self.poller.add(io, Token(id as usize)));
        (id, matches!(watched, Some(Ok(()))))
    }

    /// Reads a socket once, so that a client that sends faster than it is read keeps nobody waiting. The
    /// rest is for the next turn. `ended`: read up to the end, which is reported only once.
    fn read(&mut self, id: SocketId, ended: bool, buffer: &mut [u8]) {
        let Some(slot) = self.slot(id).filter(|slot| slot.session.listens() && !slot.rests && !slot.held) else {
            return;
        };
        if slot.session.is_behind() {
            self.hear(id, &mut []);
            // Its end may be in the socket already, and is not reported again.
            return self.read_on(id);
        }
        let most = slot.session.appetite().min(buffer.len());
        let buffer = &mut buffer[..most];
        loop {
            let Some(io) = self.shard.io(id) else { return };
            match io.read(buffer) {
                Ok(0) => return self.drop_gone(id),
                Ok(n) => {
                    self.hear(id, &mut buffer[..n]);
                    // A short read emptied the socket; only its end may be left to read.
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

    pub(super) fn read_on(&mut self, id: SocketId) {
        if let Some(slot) = self.slot(id).filter(|slot| !slot.unread) {
            slot.unread = true;
            let key = (id, slot.generation);
            self.unread.push_back(key);
        }
    }

    /// Gives back memory after many clients have come or left, once the work that they caused is done.
    pub(super) fn shrink(&mut self) {
        match self.shrink_at {
            None if self.shard.many_moved() => self.shrink_at = Some(self.now + SHRINK),
            Some(at) if at <= self.now => {
                self.shrink_at = None;
                self.slots.truncate(self.shard.shrink());
                self.slots.shrink_to_fit();
                self.unread.shrink_to_fit();
                self.resting.shrink_to_fit();
                self.goodbyes.shrink_to_fit();
                self.actions.shrink_to_fit();
                memory::trim();
            }
            _ => {}
        }
    }

    /// Returns whether this turn must stop reading.
    fn turn_is_over(&self) -> bool {
        Instant::now() >= self.turn_ends
    }

    pub(super) fn handle(&mut self, events: &Events, buffer: &mut [u8]) {
        for _ in 0..self.unread.len() {
            if self.turn_is_over() {
                break;
            }
            let Some(key) = self.unread.pop_front() else { break };
            if let Some(slot) = self.alive(key) {
                slot.unread = false;
                // If it has ended meanwhile, that is not reported again.
                self.read(key.0, true, buffer);
            }
        }
        for event in events {
            let (id, ended) = (event.token().0 as SocketId, event.is_read_closed() || event.is_error());
            if event.is_writable() {
                self.write(id);
            }
            let had_its_turn = self.slot(id).is_some_and(|slot| slot.unread);
            if (event.is_readable() || ended) && !had_its_turn {
                if self.turn_is_over() { self.read_on(id) } else { self.read(id, ended, buffer) }
            }
        }
    }

    pub(super) fn judge_deadlines(&mut self) {
        while let Some((due, key)) = self.deadlines.due(self.now) {
            let (ping_at, pong_by) = (self.now + self.timing.ping, self.now + self.timing.pong);
            let Some(slot) = self.alive(key) else { continue };
            if due == Due::Pong && (slot.unread || slot.rests || slot.held) {
                // What it has sent waits for its turn, and may be the answer.
                self.deadlines.pong_by(pong_by, key);
                continue;
            }
            let Some(action) = slot.session.timeout(due) else { continue };
            if due == Due::Ping {
                self.deadlines.ping_at(ping_at, key);
                self.deadlines.pong_by(pong_by, key);
            }
            self.carry_out(key.0, action);
        }
    }

    pub(super) fn sleep(&self) -> Duration {
        if self.drain.is_some() {
            return DRAIN_STEP;
        }
        let tick = self.shard.next_tick().map(|at| at.saturating_duration_since(Instant::now()));
        tick.unwrap_or(LONGEST_SLEEP).min(LONGEST_SLEEP)
    }
}
