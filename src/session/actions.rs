//! What a worker does for a client: it carries out what the session decides and what the hub found.

use std::net::Shutdown;

use bytes::Bytes;

use super::close_code::{self, Close};
use super::keepalive::SocketKey;
use super::machine::Action;
use super::request::{Request, short};
use super::worker::Worker;
use super::{NewClient, publishing, rest, tokens};
use crate::hub::wire;
use crate::hub::{CloseReason, JoinError, SocketId};
use crate::metrics::{Limit, Reason};
use crate::net::address_limits::PIECES;

/// Everything in one message that was refused; the client is told in one frame.
#[derive(Default)]
struct Refusals<'a> {
    /// The code, the channel and the message of the first refusal.
    first: Option<(&'static str, &'a str, String)>,
    /// The codes and channels of the others.
    also: Vec<(&'static str, &'a str)>,
    /// Whether one reason is that the client asks too often.
    too_often: bool,
}

impl<'a> Refusals<'a> {
    fn add(&mut self, code: &'static str, name: &'a str, why: impl ToString) {
        match &self.first {
            None => self.first = Some((code, short(name), why.to_string())),
            Some(_) => self.also.push((code, short(name))),
        }
    }

    fn frame(&self) -> Option<Bytes> {
        let (code, name, why) = self.first.as_ref()?;
        Some(wire::errors(code, name, why, &self.also))
    }
}

impl Worker {
    /// Takes a client in, and handles the request that it came with.
    pub(super) fn take_in(&mut self, mut new: NewClient) {
        let grant = new.known.as_ref().and_then(|known| known.grant()).cloned();
        let (request, mut early) = (std::mem::take(&mut new.request), new.early.to_vec());
        let (id, watched) = self.attach(new);
        if !watched {
            tracing::error!("the kernel cannot watch another socket for this process; dropped a client");
            return self.drop_gone(id);
        }
        if self.drain.is_some() {
            self.send_elsewhere(id);
            return self.write(id);
        }
        if tokens::is_revoked(self, id, grant.as_ref()) {
            return self.write(id);
        }
        if let Some(grant) = grant {
            tokens::expires_at(self, id, grant.ends);
        }
        if self.registry.store_up() == Some(false) {
            self.shard.send(id, wire::state(false));
        }
        self.request(id, &request);
        self.write(id);
        if !early.is_empty() {
            self.hear(id, &mut early);
        }
    }

    /// Takes in bytes from a client, and does what they ask for.
    pub(super) fn hear(&mut self, id: SocketId, bytes: &mut [u8]) {
        let mut actions = std::mem::take(&mut self.actions);
        let (now, limits) = (self.now, &self.limits);
        if let Some(slot) = self.slots.get_mut(id as usize).and_then(Option::as_mut) {
            let cost = slot.session.hear(bytes, limits, now, &mut actions);
            let key = (id, slot.generation);
            let permit = slot.seat.permit.as_ref();
            let pieces = (cost * PIECES as f32).ceil() as usize;
            if permit.is_some_and(|permit| !permit.allows(Limit::Messages, pieces)) {
                rest::begin(self, id);
            }
            for action in actions.drain(..) {
                if self.alive(key).is_some() {
                    self.carry_out(id, action);
                }
            }
            if self.alive(key).is_some_and(|slot| slot.session.is_behind()) {
                self.read_on(id);
            }
            self.write(id);
        }
        self.actions = actions;
    }

    /// Does one thing for a client.
    pub(super) fn carry_out(&mut self, id: SocketId, action: Action) {
        match action {
            Action::Send(frame) => self.shard.send(id, frame),
            Action::Request(request) => tokens::request(self, id, request),
            Action::Close(close) => self.send_close(id, close, close.frame()),
            Action::EndOurSide => {
                if let Some(io) = self.shard.io(id) {
                    // If the connection is already gone, its events report that.
                    let _ = io.shutdown(Shutdown::Write);
                }
            }
            Action::Drop => self.drop_socket(id),
        }
    }

    /// Leaves, publishes and joins. Refused joins and leaves are told in one frame, and disturb nothing
    /// else.
    pub(super) fn request(&mut self, id: SocketId, request: &Request) {
        let mut refusals = Refusals::default();
        for name in &request.unsubscribe {
            if self.shard.leave(id, name) {
                self.shard.send(id, wire::left(name));
            } else {
                refusals.add("bad_request", name, "this client is not on this channel");
            }
        }
        if let Some(publish) = &request.publish {
            publishing::publish(self, id, publish);
        }
        // The slot cannot stay borrowed while the shard is used, so its permit is taken out meanwhile.
        let permit = self.slot(id).and_then(|slot| slot.seat.permit.take());
        let allows = |limit: Limit, n| match &permit {
            Some(permit) if !permit.allows(limit, n) => Err(JoinError::TooOften(limit.key())),
            _ => Ok(()),
        };
        let most = self.limits.channels_per_address;
        let may_open = || {
            allows(Limit::NewChannels, 1)?;
            permit.as_ref().map(|permit| permit.channel(most).ok_or(JoinError::AddressFull)).transpose()
        };
        let may_join = allows(Limit::Joins, request.subscribe.len() + request.watch.len());
        for (names, watch) in [(&request.subscribe, false), (&request.watch, true)] {
            for name in names {
                let joined = may_join.clone().and_then(|()| {
                    let member = request.member.as_deref();
                    self.shard.join(id, name, watch, request.reconnect, member, may_open)
                });
                if let Err(error) = joined {
                    refusals.too_often |= matches!(error, JoinError::TooOften(_));
                    refusals.add(code(&error), name, error);
                }
            }
        }
        if let Some(slot) = self.slot(id) {
            slot.seat.permit = permit;
        }
        if refusals.too_often {
            rest::begin(self, id);
        }
        if let Some(frame) = refusals.frame() {
            self.shard.send(id, frame);
        }
    }

    /// Sends as much as it can of what waits for a client. Once all is sent, carries out the session's next
    /// action.
    pub(super) fn write(&mut self, id: SocketId) {
        if self.shard.flush(id)
            && let Some(action) = self.slot(id).and_then(|slot| slot.session.sent())
        {
            self.carry_out(id, action);
        }
    }

    /// Starts to close a client, unless that has begun: the client leaves every channel at once, then gets
    /// the close frame.
    pub(super) fn close(&mut self, id: SocketId, close: &'static Close) {
        if let Some(action) = self.slot(id).and_then(|slot| slot.session.close(close)) {
            self.carry_out(id, action);
        }
    }

    /// Like [`Worker::close`], for a client that should connect again after a pause of its own.
    pub(super) fn send_elsewhere(&mut self, id: SocketId) {
        let pause = self.drain.as_ref().map(|(drain, _)| drain.pause(fastrand::f64())).unwrap_or_default();
        if self.slot(id).and_then(|slot| slot.session.close(&close_code::RESTART)).is_some() {
            self.send_close(id, &close_code::RESTART, close_code::RESTART.frame_after(pause));
        }
    }

    /// Sends the close frame. However slow the client is, its connection ends in time.
    fn send_close(&mut self, id: SocketId, close: &'static Close, frame: Bytes) {
        let Some(key) = self.key(id) else { return };
        self.count_close(close);
        self.shard.send_last(id, frame);
        self.goodbyes.push_back((self.now + self.timing.close, key));
    }

    fn count_close(&self, close: &Close) {
        self.metrics.closed.get_or_create(&Reason { reason: close.name }).inc();
    }

    pub(super) fn drop_gone(&mut self, id: SocketId) {
        if self.slot(id).is_some_and(|slot| slot.session.is_open()) {
            self.count_close(&close_code::GONE);
        }
        self.drop_socket(id);
    }

    /// Ends the connection.
    pub(super) fn drop_socket(&mut self, id: SocketId) {
        if let Some(slot) = self.slots.get_mut(id as usize).and_then(Option::take) {
            self.expiries.forget((id, slot.generation), slot.expiry);
        }
        // Closing the file descriptor removes it from the epoll set.
        self.shard.detach(id);
    }

    pub(super) fn close_doomed(&mut self) {
        for (id, doom) in self.shard.take_doomed() {
            match doom {
                CloseReason::Slow => self.close(id, &close_code::SLOW),
                CloseReason::Revoked => self.close(id, &close_code::REVOKED),
                CloseReason::Gone => self.drop_gone(id),
            }
        }
    }

    /// Ends the connections of clients that did not close them in time.
    pub(super) fn say_goodbye(&mut self) {
        while self.goodbyes.front().is_some_and(|(by, _)| *by <= self.now) {
            if let Some((_, key)) = self.goodbyes.pop_front()
                && self.alive(key).is_some()
            {
                self.drop_socket(key.0);
            }
        }
    }

    pub(super) fn key(&mut self, id: SocketId) -> Option<SocketKey> {
        self.slot(id).map(|slot| (id, slot.generation))
    }
}

fn code(error: &JoinError) -> &'static str {
    match error {
        JoinError::Forbidden | JoinError::NoToken => "forbidden",
        JoinError::BadName(_) => "bad_request",
        JoinError::TooMany(_) | JoinError::NodeFull(_) | JoinError::AddressFull => "too_many_channels",
        JoinError::NoBoard => "bad_request",
        JoinError::TooManyFollowed(_) => "too_many_followed",
        JoinError::TooOften(_) => "rate_limited",
    }
}
