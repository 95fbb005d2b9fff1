//! The sockets of one worker, and how bytes get to them.
//!
//! The loop over a channel's members is the program's hot path: it writes the same bytes to one socket
//! after another. A socket that would block gets a queue; the others do not wait.
//!
//! A batch for several channels is different: a socket on more than one channel gets its part of the batch
//! at the end, in one write.

use std::time::{Duration, Instant};

use bytes::Bytes;
use slab::Slab;

use super::SocketId;
use super::local::Socket;
use super::send_queue::{FRAME_OVERHEAD, QueuedFrame, SendQueue, Wrote, write};
use crate::metrics::Metrics;

/// How many empty queues are kept for the next such batch.
const SPARE: usize = 256;
/// A list with room for more sockets than this is not kept.
const MANY: usize = 1 << 14;

/// Why the hub wants a socket closed. The session closes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CloseReason {
    /// More bytes wait for it than the limit allows.
    Slow,
    /// The connection is gone.
    Gone,
    /// Its token was revoked.
    Revoked,
}

/// What happens to frames that a socket cannot take at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Behind {
    /// They wait, up to the client's limit.
    Wait,
    /// Only the newest one is sent, once the socket can take it.
    Newest(QueuedFrame),
}

/// Queues for reuse. They are boxed because a socket stores its queue in a box.
type Spare = Vec<Box<SendQueue>>;

/// All sockets of one worker.
pub struct Sockets {
    all: Slab<Socket>,
    doomed: Vec<(SocketId, CloseReason)>,
    /// The most bytes that may wait for one socket.
    limit: usize,
    metrics: Metrics,
    /// The bytes of several frames of one channel that leave together.
    scratch: Vec<u8>,
    /// Whether frames for sockets on several channels wait for [`Sockets::release`].
    holding: bool,
    /// The sockets for which something is held.
    held: Vec<SocketId>,
    spare: Spare,
}

impl Sockets {
    /// Creates an empty table. At most `limit` bytes may wait for each socket.
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

    /// Changes how many bytes may wait for each socket.
    pub fn set_limit(&mut self, limit: usize) {
        self.limit = limit;
    }

    /// Adds a socket.
    pub fn insert(&mut self, socket: Socket) -> SocketId {
        self.all.insert(socket) as SocketId
    }

    /// Returns the socket with this number.
    pub fn get(&self, id: SocketId) -> Option<&Socket> {
        self.all.get(id as usize)
    }

    /// Returns the socket with this number, to be changed.
    pub fn get_mut(&mut self, id: SocketId) -> Option<&mut Socket> {
        self.all.get_mut(id as usize)
    }

    /// Removes a socket.
    pub fn remove(&mut self, id: SocketId) -> Option<Socket> {
        let socket = self.all.try_remove(id as usize)?;
        // Its number may belong to another socket by the time the doomed ones are closed.
        self.doomed.retain(|(doomed, _)| *doomed != id);
        Some(socket)
    }

    /// Returns the numbers of all sockets.
    pub fn ids(&self) -> impl Iterator<Item = SocketId> {
        self.all.iter().map(|(id, _)| id as SocketId)
    }

    /// Returns whether there are no sockets.
    pub fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    /// Shrinks the tables. Returns the bound that all socket numbers are below then.
    pub fn shrink(&mut self) -> usize {
        self.spare = Vec::new();
        self.held.shrink_to_fit();
        self.all.shrink_to_fit();
        self.all.capacity()
    }

    /// Marks a socket for closing.
    pub fn doom(&mut self, id: SocketId, reason: CloseReason) {
        self.doomed.push((id, reason));
    }

    /// Returns the sockets marked for closing since the last call.
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

    /// Sends one frame to one socket: now, or after what already waits for it.
    pub fn send(&mut self, id: SocketId, frame: Bytes) {
        let Some(socket) = self.all.get_mut(id as usize).filter(|socket| !socket.closing) else { return };
        let fits = frame.len() + FRAME_OVERHEAD <= self.limit / 2;
        if self.holding && fits && socket.outbox.is_none() && socket.places.len() > 1 {
            socket.outbox = Some(held_queue(&mut self.spare));
            self.held.push(id);
        }
        if let Some(queue) = &mut socket.outbox {
            if queue.is_held() && queue.bytes() + frame.len() + FRAME_OVERHEAD > self.limit / 2 {
                // The rest of the batch may add as much again.
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

    /// Sends a last frame, in place of whatever else waits. Returns whether it was sent; if not,
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

    /// Sends more of what waits for a socket that can take bytes again. Returns true if nothing is left.
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

    /// Starts to hold what sockets on several channels get, until [`Sockets::release`]. `bytes` is the most
    /// that may come for one of them; if that is too much, nothing is held.
    pub fn hold_back(&mut self, bytes: usize) {
        self.holding = bytes <= self.limit / 2;
    }

    /// Returns whether frames for sockets on several channels are being held.
    pub fn is_holding(&self) -> bool {
        self.holding
    }

    /// Sends what was held, in one write per socket. Returns how long that took.
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

/// Queues frames after what already waits. Returns how many bytes wait then.
fn hold(queue: &mut SendQueue, channel: u32, frames: &[Bytes], behind: Behind) -> usize {
    match behind {
        Behind::Wait => frames.iter().for_each(|frame| queue.push(frame.clone())),
        Behind::Newest(which) => queue.mark(channel, which),
    }
    queue.bytes()
}

/// Queues what is left of frames after a socket took `sent` bytes of them. Returns how many bytes wait
/// then.
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
