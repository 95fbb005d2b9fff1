//! What waits for one socket that would block. A socket that takes everything at once has none.

use std::collections::VecDeque;
use std::io::{self, IoSlice, Write};

use bytes::{Buf, Bytes};
use mio::net::TcpStream;
use rustix::io::Errno;
use rustix::net::{SendFlags, send};
use smallvec::SmallVec;

/// Slices that one vectored write takes at most.
const SLICES: usize = 64;
/// What a waiting frame takes beside its bytes: its place in the queue, which may be half empty, or what
/// the allocator adds. Without it, a client could have memory many times its bound held for it.
pub const FRAME_OVERHEAD: usize = 2 * size_of::<Bytes>();

/// Which of a channel's newest frames a socket still has to get.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum QueuedFrame {
    /// The newest value.
    Value,
    /// The newest text on a count channel.
    Text,
    /// The whole list of members.
    Members,
    /// The newest place of the member that the socket follows.
    Place,
}

/// How a write ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wrote {
    /// All of it.
    All,
    /// This many bytes; then it would have blocked.
    Some(usize),
    /// The connection is gone.
    Gone,
}

/// Writes one buffer straight to the socket.
///
/// The system call is made in place and not by way of libc, which is some 5 % of a delivery: with thousands
/// of sockets the kernel's work leaves little of this process in the processor's caches, so that each page
/// that is touched on the way (libc's code, its linkage, the thread's own data) seems to cost.
pub fn write(io: &TcpStream, bytes: &[u8]) -> Wrote {
    loop {
        match send(io, bytes, SendFlags::NOSIGNAL) {
            Ok(n) if n == bytes.len() => return Wrote::All,
            // A short write means a full buffer; the next one would block.
            Ok(n) => return Wrote::Some(n),
            Err(Errno::WOULDBLOCK) => return Wrote::Some(0),
            Err(Errno::INTR) => {}
            Err(_) => return Wrote::Gone,
        }
    }
}

/// The bytes and the marks that wait for one socket.
#[derive(Debug, Default)]
pub struct SendQueue {
    queue: VecDeque<Bytes>,
    bytes: usize,
    /// The first in the queue is the rest of a frame whose beginning was sent.
    begun: bool,
    /// The socket may take more: this waits for the end of a batch only.
    held: bool,
    pending: SmallVec<[(u32, QueuedFrame); 2]>,
}

impl SendQueue {
    /// Bytes that wait, with what it takes to keep them. The first frame's keeping is not counted, so that
    /// one frame as long as the bound still fits.
    pub fn bytes(&self) -> usize {
        self.bytes + FRAME_OVERHEAD * self.queue.len().saturating_sub(1)
    }

    /// Puts what cannot be left out into an empty outbox: the rest of a frame whose beginning was
    /// sent, or what must come before all frames.
    pub fn push_rest(&mut self, rest: Bytes) {
        self.begun = true;
        self.push(rest);
    }

    /// Appends a whole frame.
    pub fn push(&mut self, frame: Bytes) {
        if !frame.is_empty() {
            self.bytes += frame.len();
            self.queue.push_back(frame);
        }
    }

    /// Whether this waits for the end of a batch, and not for the socket.
    pub fn is_held(&self) -> bool {
        self.held
    }

    /// See [`SendQueue::is_held`].
    pub fn set_held(&mut self, held: bool) {
        self.held = held;
    }

    /// Whether it takes little memory once it is empty.
    pub fn is_small(&self) -> bool {
        self.queue.capacity() <= SLICES
    }

    /// Marks that the newest frame of a channel is to follow; however often, it is one frame.
    pub fn mark(&mut self, channel: u32, slot: QueuedFrame) {
        if !self.pending.contains(&(channel, slot)) {
            self.pending.push((channel, slot));
        }
    }

    /// Forgets the marks of a channel that was left.
    pub fn unmark(&mut self, channel: u32) {
        self.pending.retain(|(marked, _)| *marked != channel);
    }

    /// The next mark, once the queue is empty.
    pub fn take_mark(&mut self) -> Option<(u32, QueuedFrame)> {
        if self.queue.is_empty() { self.pending.pop() } else { None }
    }

    /// Drops what waits but the rest of a frame that has begun, to make room for a last word.
    pub fn clear_for_close(&mut self) {
        self.queue.truncate(usize::from(self.begun));
        self.bytes = self.queue.iter().map(Bytes::len).sum();
        self.pending.clear();
    }

    /// Writes what waits, several frames in one write.
    pub fn flush(&mut self, mut io: &TcpStream) -> Wrote {
        while !self.queue.is_empty() {
            let slices: SmallVec<[IoSlice<'_>; SLICES]> =
                self.queue.iter().take(SLICES).map(|frame| IoSlice::new(frame)).collect();
            let wrote = io.write_vectored(&slices);
            drop(slices);
            match wrote {
                Ok(n) => self.advance(n),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Wrote::Some(0),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => return Wrote::Gone,
            }
        }
        Wrote::All
    }

    fn advance(&mut self, mut n: usize) {
        self.bytes -= n;
        while let Some(front) = self.queue.front_mut() {
            if n < front.len() {
                self.begun |= n > 0;
                front.advance(n);
                return;
            }
            self.begun = false;
            n -= front.len();
            self.queue.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_small_frames_count_with_what_it_takes_to_keep_them() {
        let mut queue = SendQueue::default();
        queue.push(Bytes::from_static(&[0; 1000]));
        assert_eq!(queue.bytes(), 1000);
        (0..100).for_each(|_| queue.push(Bytes::from_static(b"x")));
        let kept = queue.queue.capacity() * size_of::<Bytes>();
        assert!(queue.bytes() >= 1100 + kept, "{} for {kept}", queue.bytes());
        queue.clear_for_close();
        assert_eq!(queue.bytes(), 0);
    }
}
