//! What a worker does with what a client says: one message in, replies and joins out.

use std::net::Shutdown;
use std::time::Duration;

use bytes::Bytes;

use super::close_code::{self, Close};
use super::frames::{self, Partial, Said};
use super::request::{self, Request};
use super::worker::{Deaf, State, Worker};
use crate::hub::ws_frame::{self, frame, opcode};
use crate::hub::{JoinError, SocketId};

/// Bytes that are read of a client that broke the protocol: the rest of what it was sending then.
const DISCARD: usize = 1 << 20;
/// What one read of those counts for at least: to send them byte by byte must not be worth it.
const DISCARD_STEP: usize = 4 << 10;
/// What one read costs a client, in messages: to send a message byte by byte must not be worth it either.
const READ_COST: f32 = 0.125;
/// Over this time a client's messages a second are averaged.
const AVERAGED: u32 = 5;

/// How many messages a client may send at once, as a bucket that fills again with time.
#[derive(Debug)]
pub struct TokenBucket {
    left: f32,
    at: Duration,
}

impl TokenBucket {
    /// A full bucket.
    pub fn new(per_second: u32, now: Duration) -> Self {
        Self { left: (per_second * AVERAGED) as f32, at: now }
    }

    /// Takes `cost` messages out; false if there are not as many left.
    fn take(&mut self, cost: f32, per_second: u32, now: Duration) -> bool {
        let filled = now.saturating_sub(self.at).as_secs_f32() * per_second as f32;
        self.left = (self.left + filled).min((per_second * AVERAGED) as f32) - cost;
        self.at = now;
        self.left >= 0.0
    }
}

impl Worker {
    /// Reads what has arrived in `bytes`, behind what was left of an earlier frame.
    pub(super) fn hear(&mut self, id: SocketId, bytes: &mut [u8]) {
        let (now, rate) = (self.now, self.limits.messages_per_second);
        let Some(session) = self.session(id) else { return };
        session.pinged = false;
        if let Some(deaf) = &mut session.deaf {
            deaf.discard = deaf.discard.saturating_sub(bytes.len().max(DISCARD_STEP));
            return;
        }
        if !session.allowance.take(READ_COST, rate, now) {
            return self.close_deaf(id, &close_code::TOO_MANY);
        }
        let mut partial = session.partial.take().unwrap_or_default();
        let mut joined = partial.take_bytes();
        let result = if joined.is_empty() {
            self.hear_all(id, bytes, &mut partial).map(|taken| partial.extend(&bytes[taken..]))
        } else {
            joined.extend_from_slice(bytes);
            self.hear_all(id, &mut joined, &mut partial).map(|taken| match taken {
                // However small the pieces that a frame comes in, none of it is copied again.
                0 => partial.put_back(joined),
                _ => partial.extend(&joined[taken..]),
            })
        };
        if let Err(close) = result {
            return self.close_deaf(id, close);
        }
        if !partial.is_empty()
            && let Some(session) = self.session(id)
        {
            session.partial = Some(partial);
        }
    }

    /// Returns how many bytes it took.
    fn hear_all(&mut self, id: SocketId, bytes: &mut [u8], partial: &mut Partial) -> Result<usize, &'static Close> {
        let mut all = 0;
        loop {
            let (said, taken) = frames::next(&mut bytes[all..], partial, self.limits.message)?;
            all += taken;
            let Some(said) = said else { return Ok(all) };
            let (now, rate) = (self.now, self.limits.messages_per_second);
            let Some(session) = self.session(id) else { return Ok(all) };
            if !session.allowance.take(1.0, rate, now) {
                return Err(&close_code::TOO_MANY);
            }
            self.answer(id, said);
        }
    }

    /// [`Worker::close`] for a client whose bytes have no meaning any more.
    fn close_deaf(&mut self, id: SocketId, close: &'static Close) {
        self.close(id, close);
        if let Some(session) = self.session(id) {
            session.deaf.get_or_insert(Deaf { discard: DISCARD, shut: false });
        }
        self.end_deaf(id);
    }

    /// Ends our side to a client whose goodbye would not be understood, once the close frame is sent:
    /// for that it waits. What it still sends is read until it ends its own, or the frame would be lost.
    pub(super) fn end_deaf(&mut self, id: SocketId) {
        if self.session(id).and_then(|session| session.deaf).is_some_and(|deaf| !deaf.shut)
            && self.shard.flush(id)
            && let Some(io) = self.shard.io(id)
        {
            // A connection that is gone already is told by its events.
            let _ = io.shutdown(Shutdown::Write);
            if let Some(deaf) = self.session(id).and_then(|session| session.deaf.as_mut()) {
                deaf.shut = true;
            }
        }
    }

    fn answer(&mut self, id: SocketId, said: Said) {
        let Some(session) = self.session(id) else { return };
        match (said, session.state) {
            (Said::Close, State::Open) => {
                session.state = State::Answered;
                let key = (id, session.generation);
                self.count_close(&close_code::NORMAL);
                if self.shard.send_last(id, close_code::NORMAL.frame()) {
                    self.drop_socket(id);
                } else {
                    self.await_goodbye(key);
                }
            }
            (Said::Close, _) => {
                session.state = State::Answered;
                if self.shard.flush(id) {
                    self.drop_socket(id);
                }
            }
            (_, State::Closing | State::Answered) | (Said::Pong | Said::Nothing, State::Open) => {}
            (Said::Ping(payload), State::Open) => self.shard.send(id, frame(opcode::PONG, &payload)),
            (Said::Text(text), State::Open) => match request::parse(&text) {
                Ok(request) => self.carry_out(id, request),
                Err(message) => self.shard.send(id, ws_frame::error("bad_request", None, &message)),
            },
        }
    }

    /// Leaves and joins; each channel that cannot be joined is an error of its own.
    pub(super) fn carry_out(&mut self, id: SocketId, request: Request) {
        for name in &request.unsubscribe {
            let reply = if self.shard.leave(id, name) {
                ws_frame::left(name)
            } else {
                ws_frame::error("bad_request", Some(short(name)), "this client is not on this channel")
            };
            self.shard.send(id, reply);
        }
        for (names, watch) in [(&request.subscribe, false), (&request.watch, true)] {
            for name in names {
                if let Err(error) = self.shard.join(id, name, watch, request.reconnect) {
                    self.shard.send(id, join_error(name, &error));
                }
            }
        }
    }
}

fn join_error(name: &str, error: &JoinError) -> Bytes {
    let code = match error {
        JoinError::Forbidden => "forbidden",
        JoinError::BadName(_) => "bad_request",
        JoinError::TooMany(_) => "too_many_channels",
    };
    ws_frame::error(code, Some(short(name)), &error.to_string())
}

/// A name as it may be repeated to whoever sent it: never at full length.
fn short(name: &str) -> &str {
    &name[..name.floor_char_boundary(crate::config::channels::MAX_NAME)]
}
