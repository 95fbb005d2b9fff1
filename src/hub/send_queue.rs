//! What waits for one socket that would block. A socket that takes everything at once has no queue.

use std::collections::VecDeque;
use std::io::{self, IoSlice, Write};

use bytes::{Buf, Bytes};
use mio::net::TcpStream;
use rustix::io::Errno;
use rustix::net::{SendFlags, send};
use smallvec::SmallVec;

/// The most slices that one vectored write takes.
const SLICES: usize = 64;
/// What a waiting frame takes besides its bytes: its place in the queue, which may be half empty, or the
/// allocator's overhead. If this were not counted, many small frames could take many times a client's
/// limit.
pub const FRAME_OVERHEAD: usize = 2 * size_of::<Bytes>();

/// The kinds of newest frames that a socket may still have to get.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum QueuedFrame {
    /// The newest value.
    Value,
    /// The newest text on a counted channel.
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
    /// This many bytes; any more would have blocked.
    Some(usize),
    /// The connection is gone.
    Gone,
}

/// Writes one buffer straight to the socket.
///
/// The system call is made directly and not through libc, which saves some 5 % of a delivery: with
/// thousands of sockets, the kernel's work leaves little of this process in the CPU caches, so each page
/// touched on the way (libc's code, its linkage tables, thread-local data) seems to cost.
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

/// The frames and the marks that wait for one socket.
#[derive(Debug, Default)]
pub struct SendQueue {
    queue: VecDeque<Bytes>,
    bytes: usize,
    /// The first frame in the queue is the rest of one that was partly sent.
    begun: bool,
    /// The socket may take more: this only waits for the end of a batch.
    held: bool,
    pending: SmallVec<[(u32, QueuedFrame); 2]>,
}

impl SendQueue {
    /// Returns how many bytes wait, including the overhead per frame. The first frame's overhead is not
    /// counted, so that one frame as long as the limit still fits.
    pub fn bytes(&self) -> usize {
        self.bytes + FRAME_OVERHEAD * self.queue.len().saturating_sub(1)
    }

    /// Puts what must not be dropped into an empty queue: the rest of a partly sent frame, or what must
    /// come before all frames.
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

    /// Returns whether this waits for the end of a batch, and not for the socket.
    pub fn is_held(&self) -> bool {
        self.held
    }

    /// See [`SendQueue::is_held`].
    pub fn set_held(&mut self, held: bool) {
        self.held = held;
    }

    /// Returns whether it takes little memory once it is empty.
    pub fn is_small(&self) -> bool {
        self.queue.capacity() <= SLICES
    }

    /// Marks a channel's newest frame to follow; however often it is marked, it is sent once.
    pub fn mark(&mut self, channel: u32, slot: QueuedFrame) {
        if !self.pending.contains(&(channel, slot)) {
            self.pending.push((channel, slot));
        }
    }

    /// Forgets the marks of a channel that the socket has left.
    pub fn unmark(&mut self, channel: u32) {
        self.pending.retain(|(marked, _)| *marked != channel);
    }

    /// Takes the next mark, once the queue is empty.
    pub fn take_mark(&mut self) -> Option<(u32, QueuedFrame)> {
        if self.queue.is_empty() { self.pending.pop() } else { None }
    }

    /// Drops everything but the rest of a partly sent frame, to make room for the close frame.
    pub fn clear_for_close(&mut self) {
        self.queue.truncate(usize::from(self.begun));
        self.bytes = self.queue.iter().map(Bytes::len).sum();
        self.pending.clear();
    }

    /// Writes what waits, several frames per write.
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
