//! The sockets of one worker, and how bytes get to them.
//!
//! The loop over a channel's members is the hot path of the whole program: it writes the same bytes
//! to one socket after another. A socket that would block gets a queue; the others do not wait.
//!
//! A batch of several channels is different: what a socket of several channels gets from it is held
//! until the batch has gone out, and leaves in one write.

use std::time::{Duration, Instant};

use bytes::Bytes;
use slab::Slab;

use super::SocketId;
use super::local::Socket;
use super::send_queue::{FRAME_OVERHEAD, QueuedFrame, SendQueue, Wrote, write};
use crate::metrics::Metrics;

/// Empty queues that are kept for the next batch of several channels.
const SPARE: usize = 256;
/// A list of more sockets than this is given back.
const MANY: usize = 1 << 14;

/// Why the hub wants a socket closed. The session closes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CloseReason {
    /// More bytes wait for it than a client may have.
    Slow,
    /// The connection is gone.
    Gone,
    /// Its token was revoked.
    Revoked,
}

/// What becomes of frames that a socket cannot take at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Behind {
    /// They wait, up to the client's bound.
    Wait,
    /// Only the newest is sent, when the socket can take it.
    Newest(QueuedFrame),
}

/// Queues to be used again. Boxed, since a socket takes one as it is.
type Spare = Vec<Box<SendQueue>>;

/// See the module.
pub struct Sockets {
    all: Slab<Socket>,
    doomed: Vec<(SocketId, CloseReason)>,
    /// The most bytes that may wait for one of them.
    limit: usize,
    metrics: Metrics,
    /// Frames of one channel that leave together.
    scratch: Vec<u8>,
    /// What is for a socket of several channels waits for [`Sockets::release`].
    holding: bool,
    /// Those for which something is held.
    held: Vec<SocketId>,
    spare: Spare,
}

impl Sockets {
    /// None yet. At most `limit` bytes may wait for each.
    pub fn new(limit: usize, metrics: Metrics) -> Self {
        Self {
            all: Slab::new(),
            doomed: Vec::new(),
            limit,
            metrics,
            scratch: Vec::new(),
            holding: false,
            held: Vec::new(),
            spare: Vec::new(),
        }
    }

    /// Changes how many bytes may wait for one.
    pub fn set_limit(&mut self, limit: usize) {
        self.limit = limit;
    }

    /// Takes a socket in.
    pub fn insert(&mut self, socket: Socket) -> SocketId {
        self.all.insert(socket) as SocketId
    }

    /// The socket of a number.
    pub fn get(&self, id: SocketId) -> Option<&Socket> {
        self.all.get(id as usize)
    }

    /// The socket of a number, to be changed.
    pub fn get_mut(&mut self, id: SocketId) -> Option<&mut Socket> {
        self.all.get_mut(id as usize)
    }

    /// Takes a socket out.
    pub fn remove(&mut self, id: SocketId) -> Option<Socket> {
        let socket = self.all.try_remove(id as usize)?;
        // Its number may be another's by the time the doomed are closed.
        self.doomed.retain(|(doomed, _)| *doomed != id);
        Some(socket)
    }

    /// Their numbers.
    pub fn ids(&self) -> impl Iterator<Item = SocketId> {
        self.all.iter().map(|(id, _)| id as SocketId)
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    /// Makes the table smaller. Returns where the numbers end then.
    pub fn shrink(&mut self) -> usize {
        self.all.shrink_to_fit();
        self.all.capacity()
    }

    /// Has a socket closed.
    pub fn doom(&mut self, id: SocketId, reason: CloseReason) {
        self.doomed.push((id, reason));
    }

    /// Those that are to be closed, and were not named before.
    pub fn take_doomed(&mut self) -> Vec<(SocketId, CloseReason)> {
        std::mem::take(&mut self.doomed)
    }

    /// Sends frames of one channel to its members: the hot loop.
    pub fn fan_out(&mut self, channel: u32, members: &[SocketId], frames: &[Bytes], behind: Behind) {
        let whole: &[u8] = match frames {
            [one] => one,
            many => {
                self.scratch.clear();
                many.iter().for_each(|frame| self.scratch.extend_from_slice(frame));
                &self.scratch
            }
        };
        let (holding, mut blocked) = (self.holding, 0);
        for &id in members {
            let Some(socket) = self.all.get_mut(id as usize) else { continue };
            if let Some(queue) = &mut socket.outbox {
                let behind = if queue.is_held() { Behind::Wait } else { behind };
                if hold(queue, channel, frames, behind) > self.limit {
                    self.doomed.push((id, CloseReason::Slow));
                }
                continue;
            }
            if holding && socket.places.len() > 1 {
                let queue = socket.outbox.insert(held_queue(&mut self.spare));
                hold(queue, channel, frames, Behind::Wait);
                self.held.push(id);
                continue;
            }
            match write(&socket.io, whole) {
                Wrote::All => {}
                Wrote::Some(sent) => {
                    blocked += 1;
                    let queue = socket.outbox.insert(Box::default());
                    if hold_rest(queue, channel, frames, sent, behind) > self.limit {
                        self.doomed.push((id, CloseReason::Slow));
                    }
                }
                Wrote::Gone => self.doomed.push((id, CloseReason::Gone)),
            }
        }
        self.metrics.deliveries.inc_by((members.len() * frames.len()) as u64);
        if blocked > 0 {
            self.metrics.blocked.inc_by(blocked);
        }
        if self.scratch.capacity() > 1 << 20 {
            self.scratch = Vec::new();
        }
    }

    /// Sends one frame to one socket: now, or after what waits for it already.
    pub fn send(&mut self, id: SocketId, frame: Bytes) {
        let Some(socket) = self.all.get_mut(id as usize).filter(|socket| !socket.closing) else { return };
        let fits = frame.len() + FRAME_OVERHEAD <= self.limit / 2;
        if self.holding && fits && socket.outbox.is_none() && socket.places.len() > 1 {
            socket.outbox = Some(held_queue(&mut self.spare));
            self.held.push(id);
        }
        if let Some(queue) = &mut socket.outbox {
            if queue.is_held() && queue.bytes() + frame.len() + FRAME_OVERHEAD > self.limit / 2 {
                // The rest of the batch takes up to as much again.
                self.release_one(id);
                return self.send(id, frame);
            }
            queue.push(frame);
            if queue.bytes() > self.limit {
                self.doomed.push((id, CloseReason::Slow));
            }
            return;
        }
        match write(&socket.io, &frame) {
            Wrote::All => {}
            Wrote::Some(n) => {
                self.metrics.blocked.inc();
                let queue = socket.outbox.insert(Box::default());
                if n > 0 { queue.push_rest(frame.slice(n..)) } else { queue.push(frame) }
            }
            Wrote::Gone => self.doomed.push((id, CloseReason::Gone)),
        }
    }

    /// Sends a last frame, ahead of whatever else waits. Returns whether it is sent; if not,
    /// [`Sockets::flush`] goes on with it.
    pub fn send_last(&mut self, id: SocketId, frame: Bytes) -> bool {
        if let Some(queue) = self.get_mut(id).and_then(|socket| socket.outbox.as_mut()) {
            queue.clear_for_close();
        }
        self.send(id, frame);
        let Some(socket) = self.get_mut(id) else { return true };
        socket.closing = true;
        socket.outbox.is_none()
    }

    /// Sends more of what waits for a socket that can take bytes again. True if nothing is left.
    /// `newest` finds the newest frame of a channel.
    pub fn flush(&mut self, id: SocketId, newest: impl Fn(u32, QueuedFrame) -> Option<Bytes>) -> bool {
        let Some(socket) = self.all.get_mut(id as usize) else { return true };
        let Some(queue) = &mut socket.outbox else { return true };
        loop {
            match queue.flush(&socket.io) {
                Wrote::All => {}
                Wrote::Some(_) => return false,
                Wrote::Gone => {
                    self.doomed.push((id, CloseReason::Gone));
                    return false;
                }
            }
            let Some((channel, which)) = queue.take_mark() else { break };
            if let Some(frame) = newest(channel, which) {
                queue.push(frame);
            }
        }
        socket.outbox = None;
        true
    }

    /// Holds what sockets of several channels get, until [`Sockets::release`]. `bytes` is the most that
    /// may come for one of them; where that is much, nothing is held.
    pub fn hold_back(&mut self, bytes: usize) {
        self.holding = bytes <= self.limit / 2;
    }

    /// Whether sockets of several channels wait for [`Sockets::release`].
    pub fn is_holding(&self) -> bool {
        self.holding
    }

    /// Sends what was held, one write a socket. Returns how long that took.
    pub fn release(&mut self) -> Duration {
        self.holding = false;
        if self.held.is_empty() {
            return Duration::ZERO;
        }
        let start = Instant::now();
        let mut held = std::mem::take(&mut self.held);
        held.drain(..).for_each(|id| self.release_one(id));
        if held.capacity() <= MANY {
            self.held = held;
        }
        start.elapsed()
    }

    fn release_one(&mut self, id: SocketId) {
        let Some(socket) = self.all.get_mut(id as usize) else { return };
        let Some(queue) = socket.outbox.as_mut().filter(|queue| queue.is_held()) else { return };
        match queue.flush(&socket.io) {
            Wrote::All => {
                let queue = socket.outbox.take();
                if self.spare.len() < SPARE {
                    self.spare.extend(queue.filter(|queue| queue.is_small()));
                }
            }
            Wrote::Some(_) => {
                queue.set_held(false);
                self.metrics.blocked.inc();
            }
            Wrote::Gone => {
                queue.set_held(false);
                self.doomed.push((id, CloseReason::Gone));
            }
        }
    }
}

fn held_queue(spare: &mut Spare) -> Box<SendQueue> {
    let mut queue = spare.pop().unwrap_or_default();
    queue.set_held(true);
    queue
}

/// Adds frames behind what waits already. Returns the bytes that wait.
fn hold(queue: &mut SendQueue, channel: u32, frames: &[Bytes], behind: Behind) -> usize {
    match behind {
        Behind::Wait => frames.iter().for_each(|frame| queue.push(frame.clone())),
        Behind::Newest(which) => queue.mark(channel, which),
    }
    queue.bytes()
}

/// Keeps what a socket did not take of frames of which it took `sent` bytes.
fn hold_rest(queue: &mut SendQueue, channel: u32, frames: &[Bytes], mut sent: usize, behind: Behind) -> usize {
    for (index, frame) in frames.iter().enumerate() {
        if sent >= frame.len() {
            sent -= frame.len();
            continue;
        }
        if sent > 0 {
            queue.push_rest(frame.slice(sent..));
            return match &frames[index + 1..] {
                [] => queue.bytes(),
                rest => hold(queue, channel, rest, behind),
            };
        }
        return hold(queue, channel, &frames[index..], behind);
    }
    queue.bytes()
}
