//! One client as a state machine: bytes and times go in, actions come out. No socket, no clock.
//!
//! The worker reads a socket, hands the bytes to [`Session::hear`], and carries out what comes back. The
//! rule: how much is done for a client in one turn, and in one second, is bounded here.

use std::mem;
use std::time::Duration;

use bytes::Bytes;

use super::close_code::{self, Close};
use super::frames::{self, Partial, Said};
use super::keepalive::Due;
use super::request::{self, Request};
use super::token_bucket::TokenBucket;
use crate::config::Limits;
use crate::hub::wire;
use crate::hub::ws_frame::{frame, opcode};

/// How many bytes are read and discarded from a client that broke the protocol, so that no reset overtakes
/// the close frame. After that nothing is read: the kernel's window fills up, and the client waits.
const DISCARD: u32 = 1 << 20;
/// The least that one such read counts for, so that sending byte by byte gains nothing.
const DISCARD_STEP: u32 = 4 << 10;
/// How many bytes are read from a client at once, unless the message that has begun needs more. Bytes that
/// were read but not handled take up our memory, for every client that sends too much; unread, they stay
/// with the client.
const READ: usize = 4 << 10;
/// What one read costs a client, in messages, so that sending a message byte by byte gains nothing.
const READ_COST: f32 = 0.125;
/// How many names a client gets for the price of one message.
const NAMES_A_MESSAGE: f32 = 16.0;
/// What a token costs, in messages: its signature must be verified.
const TOKEN_COST: f32 = 5.0;
/// A message may name twice as many channels as a client may have, to leave all and join as many, or twice
/// this many if that is more.
const NAMES: usize = 8;
/// How much one client gets done per turn, measured in messages; then the others have their turn.
const TURN: f32 = 4.0;

/// Where a session is between open and close.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Open.
    Open,
    /// Our close frame is on its way; the client's has not come yet.
    Closing,
    /// Like [`State::Closing`], but the client broke the protocol, and its close frame would not be
    /// understood.
    Deaf {
        /// How many more of its bytes are read and discarded.
        discard: u32,
        /// Whether our side was shut down. Doing that again would wake the worker over and over.
        ended: bool,
    },
    /// The client's close frame has come; the connection ends once ours is sent.
    Answered,
}

/// What the worker should do for a client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Send this frame.
    Send(Bytes),
    /// Carry out this request, and tell the client what was refused.
    Request(Request),
    /// Leave every channel, and send the close frame. The connection ends in time, however slow the client
    /// is.
    Close(&'static Close),
    /// Shut down our side of the connection; the client may close its own.
    EndOurSide,
    /// End the connection.
    Drop,
}

/// One client.
#[derive(Debug)]
pub struct Session {
    state: State,
    /// Whether a ping was sent, and nothing was heard since.
    pinged: bool,
    /// Whether there may be whole messages in `partial`.
    behind: bool,
    /// The rest of a message that is not complete, or that waits for the next turn.
    partial: Option<Box<Partial>>,
    allowance: TokenBucket,
}

impl Session {
    /// Creates the session of a new client.
    pub fn new(limits: &Limits, now: Duration) -> Self {
        let allowance = TokenBucket::new(limits.messages_per_second, now);
        Self { state: State::Open, pinged: false, behind: false, partial: None, allowance }
    }

    /// Returns whether the session is open: neither side has begun to close it.
    pub fn is_open(&self) -> bool {
        self.state == State::Open
    }

    /// Returns whether it sent more than its turn could handle. Nothing more is read before its next turn.
    pub fn is_behind(&self) -> bool {
        self.behind
    }

    /// Returns whether what it sends is still read.
    pub fn listens(&self) -> bool {
        !matches!(self.state, State::Deaf { discard: 0, .. })
    }

    /// Returns how many bytes to read at once.
    pub fn appetite(&self) -> usize {
        match self.state {
            // All of it is discarded.
            State::Deaf { .. } => usize::MAX,
            _ => self.partial.as_ref().map_or(0, |partial| partial.missing()).max(READ),
        }
    }

    /// Takes in bytes from the client, after what was left of an earlier frame; or none, to go on with a
    /// client that is behind. Returns what that cost, in messages.
    pub fn hear(&mut self, bytes: &mut [u8], limits: &Limits, now: Duration, actions: &mut Vec<Action>) -> f32 {
        self.pinged &= bytes.is_empty();
        if let State::Deaf { discard, .. } = &mut self.state {
            let heard = DISCARD_STEP.max(u32::try_from(bytes.len()).unwrap_or(u32::MAX));
            *discard = discard.saturating_sub(heard);
            return (heard / DISCARD_STEP) as f32 * READ_COST;
        }
        let mut cost = if bytes.is_empty() { 0.0 } else { READ_COST };
        if !self.allowance.take(cost, limits.messages_per_second, now) {
            self.break_off(&close_code::TOO_MANY, actions);
            return cost;
        }
        self.behind = false;
        let mut partial = self.partial.take().unwrap_or_default();
        let mut joined = partial.take_bytes();
        let heard = if joined.is_empty() {
            let heard = self.messages(bytes, &mut partial, limits, now, actions, &mut cost);
            heard.map(|taken| partial.extend(&bytes[taken..]))
        } else {
            joined.extend_from_slice(bytes);
            let heard = self.messages(&mut joined, &mut partial, limits, now, actions, &mut cost);
            heard.map(|taken| match taken {
                // So a frame that comes in small pieces is not copied again with each of them.
                0 => partial.put_back(joined),
                _ => partial.extend(&joined[taken..]),
            })
        };
        match heard {
            Err(close) => self.break_off(close, actions),
            Ok(()) if !partial.is_empty() => self.partial = Some(partial),
            Ok(()) => {}
        }
        cost
    }

    /// Handles whole messages, as far as this turn goes. Returns how many bytes they had.
    fn messages(
        &mut self,
        bytes: &mut [u8],
        partial: &mut Partial,
        limits: &Limits,
        now: Duration,
        actions: &mut Vec<Action>,
        spent: &mut f32,
    ) -> Result<usize, &'static Close> {
        let (mut all, mut done) = (0, 0.0);
        loop {
            let (said, taken) = frames::next(&mut bytes[all..], partial, limits.message)?;
            all += taken;
            let Some(said) = said else { return Ok(all) };
            let (cost, action) = self.answer(said, limits);
            *spent += cost;
            if !self.allowance.take(cost, limits.messages_per_second, now) {
                return Err(&close_code::TOO_MANY);
            }
            actions.extend(action);
            done += cost;
            if done >= TURN && all < bytes.len() {
                self.behind = true;
                return Ok(all);
            }
        }
    }

    /// Handles one message. Returns what it costs and which action it causes. A close frame is free.
    fn answer(&mut self, said: Said, limits: &Limits) -> (f32, Option<Action>) {
        let action = match (said, self.state) {
            (Said::Close, State::Open) => {
                self.state = State::Answered;
                return (0.0, Some(Action::Close(&close_code::NORMAL)));
            }
            (Said::Close, _) => {
                self.state = State::Answered;
                return (0.0, None);
            }
            (Said::Ping(payload), State::Open) => Some(Action::Send(frame(opcode::PONG, &payload))),
            (Said::Text(text), State::Open) => match request::parse(&text, 2 * limits.channels_per_client.max(NAMES)) {
                Ok(request) => {
                    let token = if request.token.is_some() { TOKEN_COST } else { 0.0 };
                    let cost = (request.names() as f32 / NAMES_A_MESSAGE).ceil().max(token);
                    return (cost.max(1.0), Some(Action::Request(request)));
                }
                Err(message) => Some(Action::Send(wire::error("bad_request", None, &message))),
            },
            _ => None,
        };
        (1.0, action)
    }

    /// Closes a client whose further bytes are ignored.
    fn break_off(&mut self, close: &'static Close, actions: &mut Vec<Action>) {
        self.behind = false;
        let before = mem::replace(&mut self.state, State::Deaf { discard: DISCARD, ended: false });
        if before == State::Open {
            actions.push(Action::Close(close));
        }
    }

    /// Closes the client for a reason of the worker's; None if it is already being closed.
    pub fn close(&mut self, close: &'static Close) -> Option<Action> {
        if !self.is_open() {
            return None;
        }
        self.state = State::Closing;
        Some(Action::Close(close))
    }

    /// Returns what to do once everything that waited for the client is sent.
    pub fn sent(&mut self) -> Option<Action> {
        match &mut self.state {
            State::Answered => Some(Action::Drop),
            State::Deaf { ended, .. } => (!mem::replace(ended, true)).then_some(Action::EndOurSide),
            State::Open | State::Closing => None,
        }
    }

    /// Handles a deadline that has come.
    pub fn timeout(&mut self, due: Due) -> Option<Action> {
        match due {
            Due::Ping if self.is_open() => {
                self.pinged = true;
                Some(Action::Send(frame(opcode::PING, &[])))
            }
            Due::Pong if self.pinged => self.close(&close_code::NO_PONG),
            Due::Ping | Due::Pong => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;
    use crate::config::{Overrides, load_from};

    fn limits() -> Limits {
        load_from(&Overrides::default(), HashMap::new()).unwrap().config.limits
    }

    fn masked(first: u8, payload: &[u8]) -> Vec<u8> {
        let length = u16::try_from(payload.len()).unwrap();
        let mut out = vec![first, 0x80 | if length < 126 { length as u8 } else { 126 }];
        if length >= 126 {
            out.extend(length.to_be_bytes());
        }
        out.extend([0; 4]);
        out.extend(payload);
        out
    }

    fn text(text: &str) -> Vec<u8> {
        masked(0x81, text.as_bytes())
    }

    /// Feeds bytes in pieces, with as many turns as it takes.
    fn hear(session: &mut Session, bytes: &[u8], piece: usize) -> Vec<Action> {
        let (limits, mut actions) = (limits(), Vec::new());
        for piece in bytes.chunks(piece) {
            session.hear(&mut piece.to_vec(), &limits, Duration::ZERO, &mut actions);
            while session.is_behind() {
                session.hear(&mut [], &limits, Duration::ZERO, &mut actions);
            }
        }
        actions
    }

    fn open() -> Session {
        Session::new(&limits(), Duration::ZERO)
    }

    #[test]
    fn a_goodbye_is_answered_once_and_ends_the_connection_when_that_is_sent() {
        let mut session = open();
        assert_eq!(session.sent(), None);
        let twice = masked(0x88, &1000_u16.to_be_bytes()).repeat(2);
        assert_eq!(hear(&mut session, &twice, 100), [Action::Close(&close_code::NORMAL)]);
        assert_eq!(session.sent(), Some(Action::Drop));
        let mut session = open();
        assert_eq!(session.close(&close_code::SLOW), Some(Action::Close(&close_code::SLOW)));
        assert_eq!((session.close(&close_code::RESTART), session.sent()), (None, None));
        assert_eq!(hear(&mut session, &masked(0x88, &[]), 100), []);
        assert_eq!(session.sent(), Some(Action::Drop));
    }

    #[test]
    fn a_client_that_broke_the_protocol_hears_one_end_and_is_not_read_for_ever() {
        let mut session = open();
        assert_eq!(hear(&mut session, &[0x81, 2, b'h', b'i'], 100), [Action::Close(&close_code::PROTOCOL)]);
        assert_eq!(session.sent(), Some(Action::EndOurSide));
        assert_eq!(session.sent(), None, "to end it again would be an event again");
        let reads = (0..100_000).take_while(|_| {
            assert_eq!(hear(&mut session, b"x", 1), []);
            session.listens()
        });
        assert!(reads.count() < 300);
    }

    #[test]
    fn a_ping_that_nothing_follows_closes_and_any_byte_is_enough() {
        let mut session = open();
        assert!(matches!(session.timeout(Due::Ping), Some(Action::Send(_))));
        hear(&mut session, &masked(0x8a, &[]), 1);
        assert_eq!(session.timeout(Due::Pong), None);
        session.timeout(Due::Ping);
        assert_eq!(session.timeout(Due::Pong), Some(Action::Close(&close_code::NO_PONG)));
        assert_eq!(session.timeout(Due::Ping), None);
    }

    #[test]
    fn a_turn_ends_after_a_few_messages_and_the_next_goes_on() {
        let (mut session, limits, mut actions) = (open(), limits(), Vec::new());
        let mut bytes = text(r#"{"watch":["a"]}"#).repeat(20);
        session.hear(&mut bytes, &limits, Duration::ZERO, &mut actions);
        assert!(session.is_behind() && actions.len() == 4, "{}", actions.len());
        while session.is_behind() {
            session.hear(&mut [], &limits, Duration::ZERO, &mut actions);
        }
        assert_eq!(actions.len(), 20);
    }

    #[test]
    fn no_more_is_read_of_a_client_than_a_little_or_the_message_that_it_has_begun() {
        let (mut session, limits, mut actions) = (open(), limits(), Vec::new());
        assert_eq!(session.appetite(), READ);
        let long = text(&format!(r#"{{"watch":["{}"]}}"#, "x".repeat(limits.message - 100)));
        let (mut begin, mut rest) = (long[..READ].to_vec(), long[READ..].to_vec());
        session.hear(&mut begin, &limits, Duration::ZERO, &mut actions);
        assert_eq!((session.appetite(), actions.len()), (rest.len(), 0));
        session.hear(&mut rest, &limits, Duration::ZERO, &mut actions);
        assert_eq!((session.appetite(), actions.len()), (READ, 1));
        // A header that announces too much ends the session instead of raising the appetite.
        let mut endless = [0x81, 0xff, 0, 0, 0, 0, 0x7f, 0xff, 0xff, 0xff, 0, 0, 0, 0];
        session.hear(&mut endless, &limits, Duration::ZERO, &mut actions);
        assert!(!session.is_open());
    }

    #[test]
    fn names_cost_and_too_many_in_one_message_are_refused_in_one_frame() {
        let names = |n: usize| serde_json::json!({ "watch": (0..n).map(|n| n.to_string()).collect::<Vec<_>>() });
        let mut session = open();
        let all = hear(&mut session, &text(&names(128).to_string()).repeat(40), 1 << 16);
        assert_eq!(all.len(), 32, "31 at 8 each of 250, and the end: {all:?}");
        assert_eq!(all.last(), Some(&Action::Close(&close_code::TOO_MANY)));
        let all = hear(&mut open(), &text(&names(1000).to_string()), 1 << 16);
        assert!(matches!(&all[..], [Action::Send(frame)] if frame.len() < 200), "{all:?}");
    }

    proptest! {
        #[test]
        fn whatever_comes_in_whatever_pieces_has_the_same_effect_and_at_most_one_close(
            frames in vec((any::<u8>(), vec(any::<u8>(), 0..40)), 0..20),
            piece in 1_usize..64,
        ) {
            let bytes: Vec<u8> = frames.iter().flat_map(|(first, payload)| masked(*first, payload)).collect();
            let (mut whole, mut pieces) = (open(), open());
            let effect = hear(&mut whole, &bytes, bytes.len().max(1));
            prop_assert_eq!(&effect, &hear(&mut pieces, &bytes, piece));
            let closes = effect.iter().filter(|action| matches!(action, Action::Close(_))).count();
            prop_assert!(closes <= 1);
            prop_assert_eq!(closes == 0, whole.is_open());
        }

        #[test]
        fn bytes_without_any_form_end_nothing_but_the_session(bytes in vec(any::<u8>(), 0..400), piece in 1_usize..64) {
            let closes = |action: &&Action| matches!(action, Action::Close(_));
            prop_assert!(hear(&mut open(), &bytes, piece).iter().filter(closes).count() <= 1);
        }
    }
}
