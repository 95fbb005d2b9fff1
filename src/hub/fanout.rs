//! Decides what is sent to whom, and merges the deliveries of a batch into few writes per socket.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::local::Membership;
use super::send_queue::{FRAME_OVERHEAD, QueuedFrame};
use super::shard::Shard;
use super::sockets::Behind;
use super::{ChannelValue, Delivery, NoBoard, SocketId, members, rights, wire};

/// Paced pushes take at most 1 / `PUSH_SHARE` of a worker's time. Without this bound, the pushes on a
/// large, busy channel would take all of it, and the cost of a storm of joins would grow quadratically.
const PUSH_SHARE: u32 = 4;
/// The longest rest after a push. It matters if the worker was suspended during the push, which then seems
/// to have taken long.
const LONGEST_REST: Duration = Duration::from_secs(2);

impl Shard {
    /// Carries out a batch of deliveries, in order within each channel.
    pub fn deliver(&mut self, batch: &mut Vec<Delivery>, now: Instant) {
        if of_several_channels(batch) {
            self.sockets.hold_back(batch.iter().map(|delivery| delivery.bytes() + FRAME_OVERHEAD).sum());
        }
        let mut run: Option<(Arc<str>, Vec<Bytes>)> = None;
        let mut revoked = HashSet::new();
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
                Delivery::Members { channel, list } => members::list(self, &channel, list, now),
                Delivery::NoBoard { channel, why } => self.no_board(&channel, why),
                Delivery::Place { channel, member, frame } => self.moved(&channel, &member, &frame),
                Delivery::Refused { channel } => {
                    self.expel(&channel, "refused", "the channel's key in the store is not a count of ours");
                }
                Delivery::Revoked { names } => revoked.extend(names.iter().cloned()),
                Delivery::Store { up } => self.send_all(&wire::state(up)),
                Delivery::Message { .. } => {}
            }
        }
        self.messages(run);
        self.release();
        if !revoked.is_empty() {
            // One pass over the sockets, however many tokens this batch revokes.
            rights::revoke(self, &revoked);
        }
    }

    /// Sends what was held back, and counts the time towards the rests of the channels that pushed.
    fn release(&mut self) {
        let took = self.sockets.release();
        let each = took / (self.pushed.len() as u32).max(1);
        for (index, start, took) in std::mem::take(&mut self.pushed) {
            self.rest(index, start, took + each);
        }
    }

    /// Sends a run of messages of one channel together.
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

    /// Has [`Shard::tick`] look at a channel when its next push is due.
    pub(super) fn wait(&mut self, index: u32) {
        let Some(channel) = self.channels.get_mut(index as usize) else { return };
        let Some(at) = channel.wake() else { return };
        match channel.looked_at {
            Some(earlier) if earlier <= at => return,
            Some(later) => _ = self.waiting.remove(&(later, index)),
            None => {}
        }
        channel.looked_at = Some(at);
        self.waiting.insert((at, index));
    }

    fn push_value(&mut self, index: u32, frame: Bytes) {
        let Some(channel) = self.channels.get_mut(index as usize) else { return };
        channel.newest[QueuedFrame::Value as usize] = Some(frame.clone());
        self.push(index, frame, QueuedFrame::Value);
    }

    /// Sends a paced frame to all members; a socket that is behind gets only the newest frame of its kind.
    pub(super) fn push(&mut self, index: u32, frame: Bytes, kind: QueuedFrame) {
        let start = Instant::now();
        self.fan_out(index, std::slice::from_ref(&frame), Behind::Newest(kind));
        if self.sockets.is_holding() {
            self.pushed.push((index, start, start.elapsed()));
        } else {
            self.rest(index, start, start.elapsed());
        }
    }

    /// Lets a channel rest in proportion to how long its push took. All channels with waiting values share
    /// the allotted time, so the more there are, the longer each one rests.
    fn rest(&mut self, index: u32, start: Instant, took: Duration) {
        let sharing = self.waiting.len() as u32 + 1;
        let rest = took.saturating_mul(PUSH_SHARE.saturating_mul(sharing)).min(LONGEST_REST);
        if let Some(channel) = self.channels.get_mut(index as usize) {
            channel.pace.rest(start + rest);
            channel.list.iter_mut().for_each(|list| list.rest(start + rest));
        }
    }

    /// Returns the next time at which [`Shard::tick`] may have something to push.
    pub fn next_tick(&self) -> Option<Instant> {
        self.waiting.first().map(|(at, _)| *at)
    }

    fn fan_out(&mut self, index: u32, frames: &[Bytes], behind: Behind) {
        if let Some(channel) = self.channels.get(index as usize) {
            self.sockets.fan_out(index, &channel.members, frames, behind);
        }
    }

    /// Pushes the paced values that are due.
    pub fn tick(&mut self, now: Instant) {
        let interval = self.interval();
        let (mut due, mut looked_at) = (Vec::new(), Vec::new());
        while let Some(&(at, index)) = self.waiting.first().filter(|(at, _)| *at <= now) {
            self.waiting.pop_first();
            // The index may belong to another channel by now.
            let found = self.channels.get_mut(index as usize).filter(|channel| channel.looked_at == Some(at));
            let Some(channel) = found else { continue };
            channel.looked_at = None;
            due.extend(channel.pace.due(now, interval).map(|frame| (index, frame, QueuedFrame::Value)));
            due.extend(channel.members_due(now, interval).map(|frame| (index, frame, QueuedFrame::Members)));
            looked_at.push(index);
        }
        looked_at.into_iter().for_each(|index| self.wait(index));
        if due.len() > 1 {
            self.sockets.hold_back(due.iter().map(|(_, frame, _)| frame.len() + FRAME_OVERHEAD).sum());
        }
        for (index, frame, kind) in due {
            match kind {
                QueuedFrame::Value => self.push_value(index, frame),
                kind => self.push(index, frame, kind),
            }
        }
        self.release();
    }

    /// Tells a member that it has joined, now or as soon as the channel is live.
    pub(super) fn greet(&mut self, index: u32, id: SocketId) {
        let (Some(channel), Some(socket)) = (self.channels.get_mut(index as usize), self.sockets.get_mut(id)) else {
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
            channel.joined(place.watch, gap)
        } else {
            match &channel.greeting {
                Some(greeting) => greeting.clone(),
                None => channel.greeting.insert(channel.joined(false, false)).clone(),
            }
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
            // Neither the pacer nor a socket that is behind may send an older value after this one.
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
                self.send(id, wire::joined(name, watch, None, None, true));
            } else if let Some(frame) = &news {
                self.send(id, frame.clone());
            }
        }
    }

    /// Handles a channel that has nothing to show for now. Its members stay, and are greeted again once it
    /// does.
    fn no_board(&mut self, name: &str, why: NoBoard) {
        let Some(&index) = self.by_name.get(name) else { return };
        let Some(channel) = self.channels.get_mut(index as usize) else { return };
        (channel.live, channel.value, channel.greeting, channel.no_board) = (false, None, None, Some(why));
        let frame = wire::no_board(name, why);
        for id in channel.members.clone() {
            if let Some(place) = self.place_mut(id, index) {
                // Messages published while the store was away may be missing.
                place.again |= place.told && why == NoBoard::Away;
                place.told = false;
            }
            self.send(id, frame.clone());
        }
    }

    /// Handles a followed member's new place. A socket that is behind gets only the newest one.
    fn moved(&mut self, name: &str, member: &str, frame: &Bytes) {
        let Some(&index) = self.by_name.get(name) else { return };
        let Some(followers) = self.channels.get_mut(index as usize).and_then(|c| c.followers.as_mut()) else { return };
        for id in followers.moved(member, frame.clone()) {
            match self.sockets.get_mut(id).and_then(|socket| socket.outbox.as_mut()).filter(|queue| !queue.is_held()) {
                Some(queue) => queue.mark(index, QueuedFrame::Place),
                None => self.send(id, frame.clone()),
            }
        }
    }

    fn place_mut(&mut self, id: SocketId, index: u32) -> Option<&mut Membership> {
        let socket = self.sockets.get_mut(id)?;
        socket.places.iter_mut().find(|place| place.channel == index)
    }

    fn place(&self, id: SocketId, index: u32) -> Option<(bool, bool)> {
        let socket = self.sockets.get(id)?;
        socket.places.iter().find(|place| place.channel == index).map(|place| (place.told, place.watch))
    }

    fn send_all(&mut self, frame: &Bytes) {
        let ids: Vec<SocketId> = self.sockets.ids().collect();
        for id in ids {
            self.send(id, frame.clone());
        }
    }
}

/// Returns whether a batch is about more than one channel.
fn of_several_channels(batch: &[Delivery]) -> bool {
    let mut channels = batch.iter().filter_map(Delivery::channel);
    let Some(first) = channels.next() else { return false };
    channels.any(|channel| channel != first)
}

#[cfg(test)]
#[path = "fanout_tests.rs"]
mod tests;
