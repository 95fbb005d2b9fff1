//! The queue between the subscription's connection and the fan-out.
//!
//! In: what the connection reads. Out: events in order, always all that are waiting. It knows
//! nothing of channels. The rule: while the queue is full, the connection is not read.

use std::collections::VecDeque;
use std::mem;
use std::sync::{Mutex, PoisonError};
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use tokio::sync::Notify;

use super::wishes::Ticket;

/// The payload bytes that may wait for the fan-out before reading from the connection stops.
const QUEUE_BYTES: usize = 4 << 20;
/// The number of events that may wait before reading stops, whatever their size.
const QUEUE_EVENTS: usize = 16_384;
/// Something that arrived on the subscription.
#[derive(Debug)]
pub enum Event {
    /// The store acknowledges subscriptions; every wanted channel is or will be subscribed again.
    Up,
    /// The connection is gone, for this reason. Messages may be missed until a channel is subscribed again.
    Down(String),
    /// The store answers but refuses every subscription, for this reason. No messages arrive.
    Refused(String),
    /// The store acknowledged a subscription: what is published from now on will arrive.
    Subscribed {
        /// The channel's name in the store.
        channel: String,
        /// Which wish for the channel this answers.
        ticket: Ticket,
    },
    /// In a cluster: the shard of these channels is gone. Messages on each may be missed until it is
    /// subscribed again. Other channels are not affected.
    Away {
        /// The channels' names in the store.
        channels: Vec<String>,
        /// The reason.
        why: String,
    },
    /// In a cluster: the channel's slot has moved, and the new shard acknowledged the subscription. A message in
    /// flight may be missing or arrive twice.
    Moved {
        /// The channel's name in the store.
        channel: String,
        /// Which wish for the channel this answers.
        ticket: Ticket,
    },
    /// A message. The channel's name includes the prefix.
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
    /// How many events have arrived in total.
    came: u64,
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

    /// How many events have arrived in total.
    pub(super) fn came(&self) -> u64 {
        self.lock().came
    }

    /// Whether more than `came` events have arrived in total, or none can arrive because the queue is full.
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

    /// Waits for events and takes all of them. Cancel safe.
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

    pub(super) fn poll_room(&self, cx: &Context<'_>) -> Poll<()> {
        let mut queue = self.lock();
        if !queue.full() {
            return Poll::Ready(());
        }
        queue.reader = Some(cx.waker().clone());
        Poll::Pending
    }
}
