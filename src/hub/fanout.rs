//! What is sent to whom: a batch of deliveries becomes at most one write a socket and channel.
//!
//! The loop over a channel's members is the hot path of the whole program: it writes the same bytes
//! to one socket after another. A socket that would block gets an outbox; the others do not wait.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::local::Membership;
use super::send_queue::{QueuedFrame, SendQueue, Wrote, write};
use super::shard::{CloseReason, Shard};
use super::{ChannelValue, Delivery, NoBoard, SocketId, wire};

/// Paced pushes take at most one part in so many of a worker's time: without that bound, the pushes of
/// a large and busy channel would take all of it, and a storm of joins would cost the square of itself.
const PUSH_SHARE: u32 = 4;
/// The longest that a push waits for that. A worker that did not run for a while took no time.
const LONGEST_REST: Duration = Duration::from_secs(2);

/// What becomes of frames that a socket cannot take at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Behind {
    /// They wait, up to the client's bound.
    Wait,
    /// Only the newest is sent, when the socket can take it.
    Newest(QueuedFrame),
}

impl Shard {
    /// Carries out a batch of deliveries, in order within each channel.
    pub fn deliver(&mut self, batch: &mut Vec<Delivery>, now: Instant) {
        let mut run: Option<(Arc<str>, Vec<Bytes>)> = None;
        for delivery in batch.drain(..) {
            if let Delivery::Message { channel, frame } = delivery {
                match &mut run {
                    Some((name, frames)) if *name == channel => frames.push(frame),
                    _ => {
                        self.messages(run.take());
                        run = Some((channel, vec![frame]));
                    }
                }
                continue;
            }
            self.messages(run.take());
            match delivery {
                Delivery::Latest { channel, value, frame } => self.latest(&channel, value, frame, now),
                Delivery::Live { channel, value, gap } => self.live(&channel, value, gap),
                Delivery::NoBoard { channel, why } => self.no_board(&channel, why),
                Delivery::Place { channel, member, frame } => self.moved(&channel, &member, &frame),
                Delivery::Refused { channel } => {
                    self.expel(&channel, "refused", "the channel's key in the store is not a count of ours");
                }
                Delivery::Store { up } => self.send_all(&wire::state(up)),
                Delivery::Message { .. } => {}
            }
        }
        self.messages(run);
    }

    /// Messages of one channel that came together go out together.
    fn messages(&mut self, run: Option<(Arc<str>, Vec<Bytes>)>) {
        let Some((name, frames)) = run else { return };
        let Some(&index) = self.by_name.get(&name) else { return };
        let Some(channel) = self.channels.get_mut(index as usize) else { return };
        let behind = if channel.every {
            Behind::Wait
        } else {
            channel.newest[QueuedFrame::Text as usize] = frames.last().cloned();
            Behind::Newest(QueuedFrame::Text)
        };
        self.fan_out(index, &frames, behind);
    }

    fn latest(&mut self, name: &str, value: Option<ChannelValue>, frame: Bytes, now: Instant) {
        let interval = self.interval();
        let Some(&index) = self.by_name.get(name) else { return };
        let Some(channel) = self.channels.get_mut(index as usize) else { return };
        if value.is_some() {
            (channel.value, channel.greeting) = (value, None);
        }
        match channel.pace.offer(frame, now, interval) {
            Some(frame) => self.push_value(index, frame),
            None => self.wait(index),
        }
    }

    fn wait(&mut self, index: u32) {
        if let Some(channel) = self.channels.get_mut(index as usize).filter(|channel| !channel.paced) {
            channel.paced = true;
            self.waiting.push(index);
        }
    }

    fn push_value(&mut self, index: u32, frame: Bytes) {
        let Some(channel) = self.channels.get_mut(index as usize) else { return };
        channel.newest[QueuedFrame::Value as usize] = Some(frame.clone());
        let start = Instant::now();
        self.fan_out(index, std::slice::from_ref(&frame), Behind::Newest(QueuedFrame::Value));
        // The channels whose values wait share the time among them.
        let sharing = self.waiting.len() as u32 + 1;
        let rest = start.elapsed().saturating_mul(PUSH_SHARE.saturating_mul(sharing)).min(LONGEST_REST);
        if let Some(channel) = self.channels.get_mut(index as usize) {
            channel.pace.rest(start + rest);
        }
    }

    /// Pushes the paced values whose time has come.
    pub fn tick(&mut self, now: Instant) {
        let interval = self.interval();
        let mut index = 0;
        while let Some(&number) = self.waiting.get(index) {
            let Some(channel) = self.channels.get_mut(number as usize).filter(|channel| channel.paced) else {
                self.waiting.swap_remove(index);
                continue;
            };
            let due = channel.pace.due(now, interval);
            if channel.pace.wake().is_some() {
                index += 1;
            } else {
                channel.paced = false;
                self.waiting.swap_remove(index);
            }
            if let Some(frame) = due {
                self.push_value(number, frame);
            }
        }
    }

    /// The hot loop.
    fn fan_out(&mut self, index: u32, frames: &[Bytes], behind: Behind) {
        let Some(channel) = self.channels.get(index as usize) else { return };
        let whole: &[u8] = match frames {
            [one] => one,
            many => {
                self.scratch.clear();
                many.iter().for_each(|frame| self.scratch.extend_from_slice(frame));
                &self.scratch
            }
        };
        let limit = self.limits.client_buffer;
        let mut blocked = 0;
        for &id in &channel.members {
            let Some(socket) = self.sockets.get_mut(id as usize) else { continue };
            if let Some(outbox) = &mut socket.outbox {
                if hold(outbox, index, frames, behind) > limit {
                    self.doomed.push((id, CloseReason::Slow));
                }
                continue;
            }
            match write(&socket.io, whole) {
                Wrote::All => {}
                Wrote::Some(sent) => {
                    blocked += 1;
                    let outbox = socket.outbox.insert(Box::default());
                    if hold_rest(outbox, index, frames, sent, behind) > limit {
                        self.doomed.push((id, CloseReason::Slow));
                    }
                }
                Wrote::Gone => self.doomed.push((id, CloseReason::Gone)),
            }
        }
        self.metrics.deliveries.inc_by((channel.members.len() * frames.len()) as u64);
        if blocked > 0 {
            self.metrics.blocked.inc_by(blocked);
        }
        if self.scratch.capacity() > 1 << 20 {
            self.scratch = Vec::new();
        }
    }

    /// Goes on with what waits for a socket that can take bytes again. True if nothing waits.
    pub fn flush(&mut self, id: SocketId) -> bool {
        let Some(socket) = self.sockets.get_mut(id as usize) else { return true };
        let Some(outbox) = &mut socket.outbox else { return true };
        loop {
            match outbox.flush(&socket.io) {
                Wrote::All => {}
                Wrote::Some(_) => return false,
                Wrote::Gone => {
                    self.doomed.push((id, CloseReason::Gone));
                    return false;
                }
            }
            let Some((channel, slot)) = outbox.take_mark() else { break };
            if let Some(frame) = self.channels.get(channel as usize).and_then(|channel| channel.newest(slot, id)) {
                outbox.push(frame);
            }
        }
        socket.outbox = None;
        true
    }

    /// Tells a member that it has joined, if the channel is live; else that waits until it is.
    pub(super) fn greet(&mut self, index: u32, id: SocketId) {
        let (Some(channel), Some(socket)) = (self.channels.get_mut(index as usize), self.sockets.get_mut(id as usize))
        else {
            return;
        };
        let Some(place) = socket.places.iter_mut().find(|place| place.channel == index) else { return };
        if !channel.live || place.told {
            return;
        }
        place.told = true;
        channel.pace.join();
        let gap = place.again && channel.every;
        let frame = if place.watch || gap {
            wire::joined(&channel.name, place.watch, channel.value.as_ref(), gap)
        } else {
            let make = || wire::joined(&channel.name, false, channel.value.as_ref(), false);
            channel.greeting.get_or_insert_with(make).clone()
        };
        self.send(id, frame);
    }

    fn live(&mut self, name: &str, value: Option<ChannelValue>, gap: bool) {
        let Some(&index) = self.by_name.get(name) else { return };
        let Some(channel) = self.channels.get_mut(index as usize) else { return };
        let news = value.as_ref().filter(|_| channel.value != value).map(|value| wire::value(name, value));
        (channel.live, channel.greeting, channel.no_board) = (true, None, None);
        if let Some(frame) = &news {
            channel.value = value;
            // Whoever is behind, and a value that waits for its time, must not bring an older one after it.
            channel.newest[QueuedFrame::Value as usize] = Some(frame.clone());
            channel.pace.overtake(frame.clone());
        }
        let every = channel.every;
        for id in channel.members.clone() {
            let told = self.place(id, index).is_some_and(|(told, _)| told);
            if !told {
                self.greet(index, id);
            } else if gap && every {
                let watch = self.place(id, index).is_some_and(|(_, watch)| watch);
                self.send(id, wire::joined(name, watch, None, true));
            } else if let Some(frame) = &news {
                self.send(id, frame.clone());
            }
        }
    }

    /// A board has nothing to show for now. Its members stay, and join once more as soon as it has.
    fn no_board(&mut self, name: &str, why: NoBoard) {
        let Some(&index) = self.by_name.get(name) else { return };
        let Some(channel) = self.channels.get_mut(index as usize) else { return };
        (channel.live, channel.value, channel.greeting, channel.no_board) = (false, None, None, Some(why));
        let frame = wire::no_board(name, why);
        for id in channel.members.clone() {
            if let Some(place) = self.place_mut(id, index) {
                place.told = false;
            }
            self.send(id, frame.clone());
        }
    }

    /// A followed member stands elsewhere. Whoever is behind gets the newest place only.
    fn moved(&mut self, name: &str, member: &str, frame: &Bytes) {
        let Some(&index) = self.by_name.get(name) else { return };
        let Some(followers) = self.channels.get_mut(index as usize).and_then(|c| c.followers.as_mut()) else { return };
        for id in followers.moved(member, frame.clone()) {
            match self.sockets.get_mut(id as usize).and_then(|socket| socket.outbox.as_mut()) {
                Some(outbox) => outbox.mark(index, QueuedFrame::Place),
                None => self.send(id, frame.clone()),
            }
        }
    }

    fn place_mut(&mut self, id: SocketId, index: u32) -> Option<&mut Membership> {
        let socket = self.sockets.get_mut(id as usize)?;
        socket.places.iter_mut().find(|place| place.channel == index)
    }

    fn place(&self, id: SocketId, index: u32) -> Option<(bool, bool)> {
        let socket = self.sockets.get(id as usize)?;
        socket.places.iter().find(|place| place.channel == index).map(|place| (place.told, place.watch))
    }

    fn send_all(&mut self, frame: &Bytes) {
        let ids: Vec<SocketId> = self.sockets.iter().map(|(id, _)| id as SocketId).collect();
        for id in ids {
            self.send(id, frame.clone());
        }
    }
}

/// Adds frames behind what waits already. Returns the bytes that wait.
fn hold(outbox: &mut SendQueue, channel: u32, frames: &[Bytes], behind: Behind) -> usize {
    match behind {
        Behind::Wait => frames.iter().for_each(|frame| outbox.push(frame.clone())),
        Behind::Newest(slot) => outbox.mark(channel, slot),
    }
    outbox.bytes()
}

/// Keeps what a socket did not take of frames of which it took `sent` bytes.
fn hold_rest(outbox: &mut SendQueue, channel: u32, frames: &[Bytes], mut sent: usize, behind: Behind) -> usize {
    for (index, frame) in frames.iter().enumerate() {
        if sent >= frame.len() {
            sent -= frame.len();
            continue;
        }
        if sent > 0 {
            outbox.push_rest(frame.slice(sent..));
            return match &frames[index + 1..] {
                [] => outbox.bytes(),
                rest => hold(outbox, channel, rest, behind),
            };
        }
        return hold(outbox, channel, &frames[index..], behind);
    }
    outbox.bytes()
}
