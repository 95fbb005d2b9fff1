//! What the server says: one function per message, each of which builds a frame of JSON text.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde::de::IgnoredAny;

use super::NoBoard;
use super::channel_value::ChannelValue;
use super::ws_frame::{frame, opcode};
use crate::presence::Listing;

fn text(json: &str) -> Bytes {
    frame(opcode::TEXT, json.as_bytes())
}

/// Returns a text as a JSON string.
fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

/// `{"channel":…,"data":…}`: the payload as it is if it is JSON, as a string if it is other text, and in
/// base64 if it is neither.
pub fn message(channel: &str, payload: &[u8]) -> Bytes {
    let channel = quoted(channel);
    match std::str::from_utf8(payload) {
        Ok(json) if serde_json::from_str::<IgnoredAny>(json).is_ok() => {
            text(&format!(r#"{{"channel":{channel},"data":{}}}"#, json.trim()))
        }
        Ok(other) => text(&format!(r#"{{"channel":{channel},"data":{}}}"#, quoted(other))),
        Err(_) => {
            let data = STANDARD.encode(payload);
            text(&format!(r#"{{"channel":{channel},"data":"{data}","base64":true}}"#))
        }
    }
}

/// `{"channel":…,"data":42,"count":true}`. `count` tells a count from a message that merely looks like one,
/// such as ` 42`: only the server knows which it is.
pub fn count(channel: &str, total: i64) -> Bytes {
    text(&format!(r#"{{"channel":{},"data":{total},"count":true}}"#, quoted(channel)))
}

/// `{"channel":…,"board":[…],"size":1523}`
pub fn board(channel: &str, board: &str) -> Bytes {
    text(&format!(r#"{{"channel":{},{board}}}"#, quoted(channel)))
}

/// `{"channel":…,"member":…,"rank":41,"score":7}`
pub fn place(channel: &str, place: &str) -> Bytes {
    text(&format!(r#"{{"channel":{},{place}}}"#, quoted(channel)))
}

/// What a channel's members get while it has nothing to show: an error, or `{"degraded":…}`.
pub fn no_board(channel: &str, why: NoBoard) -> Bytes {
    if why == NoBoard::Away {
        return text(&format!(r#"{{"degraded":{}}}"#, quoted(channel)));
    }
    let (code, message) = why.told();
    error(code, Some(channel), message)
}

/// The frame for a new value.
pub fn value(channel: &str, value: &ChannelValue) -> Bytes {
    match value {
        ChannelValue::Count(total) => count(channel, *total),
        ChannelValue::Board(members) => board(channel, members),
    }
}

/// `{"channel":…,"members":[…]}`: the whole list, or null if there is none to show.
pub fn members(channel: &str, list: &Listing) -> Bytes {
    text(&format!(r#"{{"channel":{},"members":{}}}"#, quoted(channel), listed(list)))
}

/// `{"channel":…,"joined":[…],"left":[…]}`
pub fn members_changed(channel: &str, changes: &str) -> Bytes {
    text(&format!(r#"{{"channel":{},{changes}}}"#, quoted(channel)))
}

fn listed(list: &Listing) -> &str {
    match list {
        Listing::Shown(list) => list.json(),
        Listing::Hidden | Listing::Unknown => "null",
    }
}

/// `{"subscribed":…}` or `{"watching":…}`, with the count or the board if it is known, and with the list of
/// members if there is one.
pub fn joined(channel: &str, watch: bool, value: Option<&ChannelValue>, list: Option<&Listing>, gap: bool) -> Bytes {
    let word = if watch { "watching" } else { "subscribed" };
    let data = match value {
        Some(ChannelValue::Count(total)) => format!(r#","data":{total}"#),
        Some(ChannelValue::Board(members)) => format!(",{members}"),
        None => String::new(),
    };
    let members = list.map(|list| format!(r#","members":{}"#, listed(list))).unwrap_or_default();
    let gap = if gap { r#","gap":true"# } else { "" };
    text(&format!(r#"{{"{word}":{}{data}{members}{gap}}}"#, quoted(channel)))
}

/// `{"unsubscribed":…}`
pub fn left(channel: &str) -> Bytes {
    text(&format!(r#"{{"unsubscribed":{}}}"#, quoted(channel)))
}

/// `{"token":"accepted","expires":…}`, in seconds since 1970.
pub fn token_accepted(expires: u64) -> Bytes {
    text(&format!(r#"{{"token":"accepted","expires":{expires}}}"#))
}

/// `{"published":…}`
pub fn published(channel: &str) -> Bytes {
    text(&format!(r#"{{"published":{}}}"#, quoted(channel)))
}

/// `{"state":"live"}` or `{"state":"degraded"}`
pub fn state(up: bool) -> Bytes {
    text(if up { r#"{"state":"live"}"# } else { r#"{"state":"degraded"}"# })
}

/// `{"error":{"code":…,"channel":…,"message":…}}`
pub fn error(code: &str, channel: Option<&str>, message: &str) -> Bytes {
    let channel = channel.map(|channel| format!(r#","channel":{}"#, quoted(channel))).unwrap_or_default();
    text(&format!(r#"{{"error":{{"code":"{code}"{channel},"message":{}}}}}"#, quoted(message)))
}

/// `{"error":{"code":…,"channel":…,"message":…,"publish":true}}`: a message was refused, not a channel.
pub fn not_published(code: &str, channel: &str, message: &str) -> Bytes {
    let (channel, message) = (quoted(channel), quoted(message));
    text(&format!(r#"{{"error":{{"code":"{code}","channel":{channel},"message":{message},"publish":true}}}}"#))
}

/// Like [`error`] for the first of several channels, with the others listed after it, in one frame.
pub fn errors(code: &str, channel: &str, message: &str, also: &[(&str, &str)]) -> Bytes {
    if also.is_empty() {
        return error(code, Some(channel), message);
    }
    let also: Vec<String> =
        also.iter().map(|(code, channel)| format!(r#"{{"code":"{code}","channel":{}}}"#, quoted(channel))).collect();
    text(&format!(
        r#"{{"error":{{"code":"{code}","channel":{},"message":{},"also":[{}]}}}}"#,
        quoted(channel),
        quoted(message),
        also.join(",")
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn body(frame: &Bytes) -> String {
        String::from_utf8(frame[2..].to_vec()).unwrap()
    }

    #[test]
    fn data_is_the_payload_where_it_is_json_else_text_else_base64() {
        assert_eq!(body(&message("a", b"{\"x\": 1}\n")), r#"{"channel":"a","data":{"x": 1}}"#);
        assert_eq!(body(&message("a", b"hello \"you\"")), r#"{"channel":"a","data":"hello \"you\""}"#);
        assert_eq!(body(&message("a", b"00000001")), r#"{"channel":"a","data":"00000001"}"#);
        assert_eq!(body(&message("a", &[0xff, 0xfe])), r#"{"channel":"a","data":"//4=","base64":true}"#);
        assert_eq!(body(&message("a\"b", b"1")), r#"{"channel":"a\"b","data":1}"#);
    }
}
