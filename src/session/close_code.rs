//! The table of close codes: each code with its name, its reason, and whether to reconnect.
//!
//! 1000 to 1013 are defined in RFC 6455 section 7.4 and the IANA registry; 4001 and up are our own.

use std::time::Duration;

use bytes::Bytes;

use crate::hub::ws_frame::{frame, opcode};

/// One row of the table.
#[derive(Debug, PartialEq, Eq)]
pub struct Close {
    /// The code in the close frame.
    pub code: u16,
    /// The name in the metrics.
    pub name: &'static str,
    /// The reason in the close frame.
    pub reason: &'static str,
    /// Whether a client should connect again.
    pub reconnect: bool,
}

const fn row(code: u16, name: &'static str, reason: &'static str, reconnect: bool) -> Close {
    Close { code, name, reason, reconnect }
}

/// The client sent a close frame, and we answer with ours.
pub(crate) const NORMAL: Close = row(1000, "normal", "", false);
/// A frame that RFC 6455 does not allow.
pub(crate) const PROTOCOL: Close = row(1002, "protocol_error", "a frame that RFC 6455 does not allow", false);
/// A binary message.
pub(crate) const BINARY: Close = row(1003, "binary", "only text messages are understood", false);
/// A text that is not UTF-8.
pub(crate) const NOT_UTF8: Close = row(1007, "not_utf8", "a text message must be UTF-8", false);
/// A message over `limits.message`.
pub(crate) const TOO_BIG: Close = row(1009, "too_big", "the message is longer than limits.message", false);
/// The server is stopping.
pub(crate) const RESTART: Close = row(1012, "restart", "the server is stopping; connect again", true);
/// More waits for the client than `limits.client_buffer` allows.
pub(crate) const SLOW: Close = row(4001, "slow", "too much waits for this client; connect again", true);
/// A ping was not answered.
pub(crate) const NO_PONG: Close = row(4002, "no_pong", "a ping was not answered in time; connect again", true);
/// The client sent more messages than `limits.messages_per_second` allows.
pub(crate) const TOO_MANY: Close = row(4003, "too_many", "more messages than limits.messages_per_second", false);
/// The token expired, and the client showed no other.
pub(crate) const TOKEN_EXPIRED: Close =
    row(4004, "token_expired", "the token has expired; reconnect with a new token", true);
/// The token was revoked.
pub(crate) const REVOKED: Close = row(4005, "revoked", "the token was revoked", false);
/// The connection broke; no code is sent.
pub(crate) const GONE: Close = row(1006, "gone", "", true);

/// The whole table, for documentation and tests.
///
/// ```
/// use headcount::close_code::TABLE;
///
/// let slow = TABLE.iter().find(|close| close.code == 4001).unwrap();
/// assert_eq!(slow.name, "slow");
/// ```
pub const TABLE: &[&Close] = &[
    &NORMAL,
    &PROTOCOL,
    &BINARY,
    &GONE,
    &NOT_UTF8,
    &TOO_BIG,
    &RESTART,
    &SLOW,
    &NO_PONG,
    &TOO_MANY,
    &TOKEN_EXPIRED,
    &REVOKED,
];

impl Close {
    /// Builds the close frame.
    pub fn frame(&self) -> Bytes {
        self.frame_with(self.reason)
    }

    /// Builds the close frame for a client that should wait this long before it connects again. Its reason
    /// ends in `in 1234 ms`, which [`pause`] reads.
    pub fn frame_after(&self, pause: Duration) -> Bytes {
        self.frame_with(&format!("{} in {} ms", self.reason, pause.as_millis()))
    }

    fn frame_with(&self, reason: &str) -> Bytes {
        let mut payload = self.code.to_be_bytes().to_vec();
        payload.extend_from_slice(reason.as_bytes());
        frame(opcode::CLOSE, &payload)
    }
}

/// Returns the pause that a close frame's reason asks for, if any.
pub fn pause(reason: &str) -> Option<Duration> {
    let (_, number) = reason.strip_suffix(" ms")?.rsplit_once(" in ")?;
    number.parse().ok().map(Duration::from_millis)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_and_name_is_one_rows_and_every_reason_fits_a_control_frame() {
        for (index, row) in TABLE.iter().enumerate() {
            assert!(TABLE[index + 1..].iter().all(|other| other.code != row.code && other.name != row.name));
            assert!(row.frame_after(Duration::from_secs(86_400)).len() <= 2 + 125);
        }
    }

    #[test]
    fn the_pause_in_a_reason_is_read_as_it_was_written() {
        let frame = RESTART.frame_after(Duration::from_millis(1234));
        let reason = std::str::from_utf8(&frame[4..]).unwrap();
        assert_eq!(reason, "the server is stopping; connect again in 1234 ms");
        assert_eq!(pause(reason), Some(Duration::from_millis(1234)));
        assert_eq!([pause(RESTART.reason), pause("in x ms"), pause("")], [None; 3]);
    }
}
