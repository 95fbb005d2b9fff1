//! The queue between the subscription's connection and the fan-out, and the stream that it gates.
//!
//! In: what the connection reads. Out: events, in their order, all that are there at once. It knows
//! nothing of channels. The rule: while the queue is full, the connection is not read.

use std::collections::VecDeque;
use std::mem;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::Notify;
use tokio::task::coop::has_budget_remaining;

/// Bytes of payload that may wait for the fan-out before the connection is no longer read.
const QUEUE_BYTES: usize = 4 << 20;
/// Events that may wait, counted beside the bytes.
const QUEUE_EVENTS: usize = 16_384;
/// Bytes that are read without once having to wait for the store: where so much lies ready, this node
/// is behind. The kernel alone holds more before a store's own limit is reached.
const BEHIND: usize = 256 << 10;
/// A connection that ends within this time after it was behind ended for that, if the store takes the
/// next one.
const RECENTLY: Duration = Duration::from_secs(2);

/// What arrives, in the order in which it arrived.
#[derive(Debug)]
pub enum Event {
    /// Connected; every wanted channel will be subscribed anew.
    Up,
    /// The connection is gone, and why. Messages may be missed until a channel is subscribed again.
    Down(String),
    /// The store acknowledged a subscription: what is published from now on will arrive.
    Subscribed(String),
    /// A message. The name is the store's, with the prefix.
    Message {
        /// The channel's name in the store.
        channel: String,
        /// The bytes, as published.
        payload: Bytes,
    },
}

/// The queue between the connection and the fan-out.
#[derive(Default)]
pub struct Inbox {
    state: Mutex<Queue>,
    filled: Notify,
}

#[derive(Default)]
struct Queue {
    events: VecDeque<Event>,
    bytes: usize,
    /// How many events came in all.
    came: u64,
    /// Bytes read since there was nothing to read.
    unbroken: usize,
    /// When that was last as much as [`BEHIND`].
    behind: Option<Instant>,
    reader: Option<Waker>,
}

impl Queue {
    fn full(&self) -> bool {
        self.bytes >= QUEUE_BYTES || self.events.len() >= QUEUE_EVENTS
    }
}

impl Inbox {
    fn lock(&self) -> std::sync::MutexGuard<'_, Queue> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many events came in all.
    pub(super) fn came(&self) -> u64 {
        self.lock().came
    }

    /// Whether more came since there were `came`, or could not for want of room.
    pub(super) fn goes_on(&self, came: u64) -> bool {
        let queue = self.lock();
        queue.came != came || queue.full()
    }

    pub(super) fn push(&self, event: Event) {
        let mut queue = self.lock();
        if let Event::Message { payload, .. } = &event {
            queue.bytes += payload.len();
        }
        queue.came += 1;
        queue.events.push_back(event);
        drop(queue);
        self.filled.notify_one();
    }

    /// Waits until there is something, and takes all of it. Cancel safe.
    pub async fn take(&self) -> VecDeque<Event> {
        loop {
            let events = self.take_now();
            if !events.is_empty() {
                return events;
            }
            self.filled.notified().await;
        }
    }

    fn take_now(&self) -> VecDeque<Event> {
        let mut queue = self.lock();
        queue.bytes = 0;
        if let Some(reader) = queue.reader.take() {
            reader.wake();
        }
        mem::take(&mut queue.events)
    }

    /// So much was read; or nothing was there.
    fn read(&self, bytes: Option<usize>) {
        let mut queue = self.lock();
        queue.unbroken = bytes.map_or(0, |bytes| queue.unbroken + bytes);
        if queue.unbroken >= BEHIND {
            queue.behind = Some(Instant::now());
        }
    }

    /// Whether this node was behind just now; asked once a connection.
    pub(super) fn was_behind(&self) -> bool {
        let mut queue = self.lock();
        queue.unbroken = 0;
        queue.behind.take().is_some_and(|at| at.elapsed() < RECENTLY)
    }

    fn poll_room(&self, cx: &Context<'_>) -> Poll<()> {
        let mut queue = self.lock();
        if !queue.full() {
            return Poll::Ready(());
        }
        queue.reader = Some(cx.waker().clone());
        Poll::Pending
    }
}

/// What the connection may be: TCP, or a Unix socket.
pub(super) trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

/// A stream that is read only while the inbox has room.
pub(super) struct Gated {
    pub io: Box<dyn Stream>,
    pub inbox: Arc<Inbox>,
}

impl AsyncRead for Gated {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<std::io::Result<()>> {
        std::task::ready!(self.inbox.poll_room(cx));
        // Without a budget, nothing says whether anything is there.
        let (before, could) = (buf.filled().len(), has_budget_remaining());
        let polled = Pin::new(&mut self.io).poll_read(cx, buf);
        match polled {
            Poll::Pending if could => self.inbox.read(None),
            _ => self.inbox.read(Some(buf.filled().len() - before)),
        }
        polled
    }
}

impl AsyncWrite for Gated {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<std::io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}
