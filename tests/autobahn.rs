//! The cases of the Autobahn test suite that apply to a server that speaks JSON.
//!
//! Each case is bytes on one connection and the server's whole reaction to them, by RFC 6455 and the
//! table of close codes. It is run in one write and again in small chops, which must make no
//! difference. The nearest to an echo is a channel that does not exist: its name comes back. A
//! connection that is to live on is asked for a channel at the end, and joins it.
//!
//! Left out: what is timed (9.7 and 9.8), what is the client's own part, and compression (12 and 13),
//! which is declined. Binary messages (1.2, 9.2) are refused by their first header, and UTF-8 is judged
//! when a message is whole (6.4: failing earlier is left to the server).

use futures_util::{StreamExt, stream};
use serde_json::Value;

use crate::support::client::Client;
use crate::support::http::request;
use crate::support::node::Node;
use crate::support::raw::Raw;
use crate::support::redis::Redis;
use crate::support::wire::{BINARY, CLOSE, CONTINUATION, FINAL, PING, PONG, TEXT, UPGRADE, masked};
use crate::support::{SOON, beside_others, same};

/// The longest message that the server takes.
const LIMIT: usize = 64 * 1024;
/// Connections at one time.
const AT_ONCE: usize = 16;

/// What the server does.
#[derive(Debug, Clone, PartialEq)]
enum Does {
    /// Says that there is no such channel: the answer to a whole and sound message.
    Echoes(String),
    /// Says that the client has joined.
    Joins(String),
    /// Says that a message asks for nothing that it knows.
    BadRequest,
    Pong(Vec<u8>),
    /// Closes, and says nothing more.
    Close(u16),
}

struct Case {
    name: String,
    bytes: Vec<u8>,
    does: Vec<Does>,
}

fn case(name: impl Into<String>, frames: &[Vec<u8>], does: &[Does]) -> Case {
    Case { name: name.into(), bytes: frames.concat(), does: does.to_vec() }
}

/// A request of this many bytes for a channel that is named by that number, and does not exist.
fn ask(size: usize) -> Vec<u8> {
    let mut message = format!("{{\"subscribe\":[\"{size}\"]}}").into_bytes();
    message.resize(size, b' ');
    message
}

fn echo(size: usize) -> Does {
    Does::Echoes(size.to_string())
}

fn whole(opcode: u8, payload: &[u8]) -> Vec<u8> {
    masked(FINAL | opcode, payload)
}

fn text(size: usize) -> Vec<u8> {
    whole(TEXT, &ask(size))
}

fn ping(payload: &[u8]) -> Vec<u8> {
    whole(PING, payload)
}

fn pong(payload: &[u8]) -> Does {
    Does::Pong(payload.to_vec())
}

/// One message in fragments of `size` bytes.
fn fragments(message: &[u8], size: usize) -> Vec<Vec<u8>> {
    let last = message.len().div_ceil(size) - 1;
    let first = |index| if index == 0 { TEXT } else { CONTINUATION } | if index == last { FINAL } else { 0 };
    message.chunks(size).enumerate().map(|(index, part)| masked(first(index), part)).collect()
}

/// 1: frames of every form of length.
fn framing() -> Vec<Case> {
    let mut cases = vec![case("1.1.1 an empty text", &[whole(TEXT, b"")], &[Does::BadRequest])];
    for size in [125, 126, 127, 128, 65_535, 65_536] {
        cases.push(case(format!("1.1 a text of {size}"), &[text(size)], &[echo(size)]));
    }
    for size in [0, 125, 126, 127, 128, 65_535, 65_536] {
        let frames = [whole(BINARY, &vec![0xfe; size]), ping(b"")];
        cases.push(case(format!("1.2 a binary of {size}"), &frames, &[Does::Close(1003)]));
    }
    // Beyond Autobahn: masks, and lengths that are not in their one right form.
    let mask = [0; 4];
    for opcode in [TEXT, BINARY, PING, PONG, CLOSE] {
        let unmasked = vec![FINAL | opcode, 0];
        cases.push(case(format!("unmasked, opcode {opcode}"), &[text(50), unmasked, ping(b"")], &lost(50)));
    }
    for length in [0_u16, 5, 125] {
        let long = [&[FINAL | TEXT, 0xfe][..], &length.to_be_bytes(), &mask, &vec![b' '; length.into()]].concat();
        cases.push(case(format!("{length} in two bytes"), &[text(50), long, ping(b"")], &lost(50)));
    }
    for length in [5_u64, 125, 126, 65_535] {
        let payload = vec![b' '; usize::try_from(length).unwrap()];
        let long = [&[FINAL | TEXT, 0xff][..], &length.to_be_bytes(), &mask, &payload].concat();
        cases.push(case(format!("{length} in eight bytes"), &[text(50), long, ping(b"")], &lost(50)));
    }
    for (length, code) in [(1_u64 << 63, 1002), (u64::MAX, 1002), ((1 << 63) - 1, 1009), (1 << 32, 1009)] {
        let long = [&[FINAL | TEXT, 0xff][..], &length.to_be_bytes(), &mask, b"{}"].concat();
        cases.push(case(format!("a length of {length:#x}"), &[long, ping(b"")], &[Does::Close(code)]));
    }
    cases
}

/// A sound message is answered; then the protocol is broken.
fn lost(size: usize) -> [Does; 2] {
    [echo(size), Does::Close(1002)]
}

/// 2: pings and pongs.
fn pings() -> Vec<Case> {
    let binary = [0x00, 0xff, 0xfe, 0xfd, 0xfc, 0xfb, 0x00, 0xff];
    let ten: Vec<String> = (0..10).map(|n| format!("payload-{n}")).collect();
    let sent: Vec<_> = ten.iter().map(|payload| ping(payload.as_bytes())).collect();
    let got: Vec<_> = ten.iter().map(|payload| pong(payload.as_bytes())).collect();
    vec![
        case("2.1 an empty ping", &[ping(b"")], &[pong(b"")]),
        case("2.2 a ping with text", &[ping(b"Hello, world!")], &[pong(b"Hello, world!")]),
        case("2.3 a ping with bytes", &[ping(&binary)], &[pong(&binary)]),
        case("2.4, 2.6 a ping of 125", &[ping(&[0xfe; 125])], &[pong(&[0xfe; 125])]),
        case("2.5 a ping of 126", &[ping(&[0xfe; 126]), ping(b"")], &[Does::Close(1002)]),
        case("a pong of 126", &[whole(PONG, &[0xfe; 126]), ping(b"")], &[Does::Close(1002)]),
        case("2.7 an empty pong unasked", &[whole(PONG, b"")], &[]),
        case("2.8 a pong unasked", &[whole(PONG, b"unsolicited")], &[]),
        case("2.9 a pong unasked, and a ping", &[whole(PONG, b"unsolicited"), ping(b"asked")], &[pong(b"asked")]),
        case("2.10, 2.11 ten pings", &sent, &got),
    ]
}

/// 3 and 4: reserved bits and opcodes.
fn reserved() -> Vec<Case> {
    let mut cases = Vec::new();
    for bits in 1..8_u8 {
        for opcode in [TEXT, BINARY, CLOSE, PING, PONG] {
            for payload in [&b""[..], b"{}"] {
                let frames = [text(50), whole(bits << 4 | opcode, payload), ping(b"")];
                let name = format!("3 reserved bits {bits:03b} on opcode {opcode} with {} bytes", payload.len());
                cases.push(case(name, &frames, &lost(50)));
            }
        }
    }
    for opcode in (3..8).chain(11..16) {
        for payload in [&b""[..], b"reserved"] {
            let frames = [text(50), whole(opcode, payload), ping(b"")];
            cases.push(case(format!("4 opcode {opcode} with {} bytes", payload.len()), &frames, &lost(50)));
        }
    }
    cases
}

/// 5: fragments.
fn fragmentation() -> Vec<Case> {
    let parts = fragments(&ask(50), 13);
    let [first, second, third, last] = &parts[..] else { unreachable!("50 bytes by 13 are four") };
    let (first, second, third, last) = (first.clone(), second.clone(), third.clone(), last.clone());
    let [open, end] = [masked(TEXT, b""), masked(FINAL | CONTINUATION, b"")];
    let nothing = masked(CONTINUATION, b"");
    let stray = |flag| masked(flag | CONTINUATION, b"stray");
    let cut = [Does::Close(1002)];
    vec![
        case("5.1 a ping in two", &[masked(PING, b"a"), masked(FINAL | CONTINUATION, b"b")], &cut),
        case("5.2 a pong in two", &[masked(PONG, b"a"), masked(FINAL | CONTINUATION, b"b")], &cut),
        case("a close in two", &[masked(CLOSE, b"\x03"), masked(FINAL | CONTINUATION, b"\xe8")], &cut),
        case("5.3 to 5.5 a text in four", &parts, &[echo(50)]),
        case("a text in one octet each", &fragments(&ask(50), 1), &[echo(50)]),
        case(
            "5.6 to 5.8 a ping between fragments",
            &[first.clone(), ping(b"1"), second.clone(), third.clone(), last.clone()],
            &[pong(b"1"), echo(50)],
        ),
        case(
            "5.19, 5.20 pings between all fragments",
            &[first.clone(), ping(b"1"), second, ping(b"2"), whole(PONG, b""), third, ping(b"3"), last, ping(b"4")],
            &[pong(b"1"), pong(b"2"), pong(b"3"), echo(50), pong(b"4")],
        ),
        case("5.9 to 5.11 the end of nothing", &[stray(FINAL), text(50)], &cut),
        case("5.12 to 5.14 the middle of nothing", &[stray(0), text(50)], &cut),
        case("5.15 a fragment after the end", &[parts.concat(), stray(0), text(60)], &lost(50)),
        case("5.16, 5.17 the middle of nothing, then a text", &[stray(0), first.clone(), end.clone()], &cut),
        case("5.18 a text within a text", &[first.clone(), text(50)], &cut),
        case("a text that begins twice", &[first.clone(), first.clone()], &cut),
        case("a binary within a text", &[first.clone(), whole(BINARY, b"")], &cut),
        case("a binary in fragments", &[masked(BINARY, b""), end.clone()], &[Does::Close(1003)]),
        case("6.1.2 nothing in three", &[open.clone(), nothing.clone(), end.clone()], &[Does::BadRequest]),
        case("6.1.3 a text between nothing", &[open, nothing, masked(CONTINUATION, &ask(50)), end], &[echo(50)]),
        case("7.1.5 a close between fragments", &[first, whole(CLOSE, b""), stray(FINAL)], &[Does::Close(1000)]),
    ]
}

/// 6: text that is UTF-8, and text that is not.
fn utf8() -> Vec<Case> {
    let asks = |name: &[u8]| [b"{\"subscribe\":[\"", name, b"\"]}"].concat();
    let mut cases = Vec::new();
    let valid = [
        "Hello-\u{b5}@\u{df}\u{f6}\u{e4}\u{fc}\u{e0}\u{e1}-UTF-8!!",
        "\u{3ba}\u{1f79}\u{3c3}\u{3bc}\u{3b5}",
        "\u{a1}\u{7ff}\u{801}\u{d7ff}\u{e000}\u{fffd}\u{10000}\u{1d11e}\u{10ffff}",
        "\u{fdd0}\u{fffe}\u{ffff}\u{1fffe}\u{1ffff}\u{10fffe}",
    ];
    for name in valid {
        let (message, answer) = (asks(name.as_bytes()), [Does::Echoes(name.into())]);
        cases.push(case(format!("6.2, 6.5 to 6.9, 6.22 {name}"), &[whole(TEXT, &message)], &answer));
        cases.push(case(format!("6.2.2 to 6.2.4 {name} in octets"), &fragments(&message, 1), &answer));
    }
    let invalid: [&[u8]; 38] = [
        b"\xce\xba\xe1\xbd\xb9\xcf\x83\xce\xbc\xce\xb5\xed\xa0\x80edited",
        b"\x80",
        b"\xbf",
        b"\x80\xbf",
        b"\x80\xbf\x80\xbf\x80\xbf",
        b"\xc0 ",
        b"\xdf ",
        b"\xe0 ",
        b"\xf0 ",
        b"\xf8 ",
        b"\xfc ",
        b"\xc3",
        b"\xe0\xa0",
        b"\xf0\x90\x80",
        b"\xdf",
        b"\xef\xbf",
        b"\xf7\xbf\xbf",
        b"\xfe",
        b"\xff",
        b"\xfe\xfe\xff\xff",
        b"\xc0\xaf",
        b"\xe0\x80\xaf",
        b"\xf0\x80\x80\xaf",
        b"\xf8\x80\x80\x80\xaf",
        b"\xfc\x80\x80\x80\x80\xaf",
        b"\xc1\xbf",
        b"\xe0\x9f\xbf",
        b"\xf0\x8f\xbf\xbf",
        b"\xc0\x80",
        b"\xed\xa0\x80",
        b"\xed\xad\xbf",
        b"\xed\xbe\x80",
        b"\xed\xbf\xbf",
        b"\xed\xa0\x80\xed\xb0\x80",
        b"\xed\xaf\xbf\xed\xbf\xbf",
        b"\xf4\x90\x80\x80",
        b"\xf5\x80\x80\x80",
        b"\xf7\xbf\xbf\xbf",
    ];
    for bytes in invalid {
        let message = asks(bytes);
        let name = format!("6.3, 6.10 to 6.21 {}", bytes.escape_ascii());
        let frames = [text(50), whole(TEXT, &message), ping(b"")];
        cases.push(case(name.clone(), &frames, &[echo(50), Does::Close(1007)]));
        // Up to the end of the message, whatever comes between is answered.
        let mut frames = fragments(&message, 16);
        frames.insert(1, ping(b"between"));
        frames.push(ping(b""));
        cases.push(case(format!("{name} in fragments"), &frames, &[pong(b"between"), Does::Close(1007)]));
    }
    cases
}

/// 7: closing.
fn closing() -> Vec<Case> {
    let close = |code: u16, reason: &[u8]| whole(CLOSE, &[&code.to_be_bytes(), reason].concat());
    let bye = [Does::Close(1000)];
    let mut cases = vec![
        case("7.1.1 a text, then a close", &[text(50), close(1000, b"")], &[echo(50), Does::Close(1000)]),
        case("7.1.2 two closes", &[close(1000, b""), close(1000, b"")], &bye),
        case("7.1.3 a ping after the close", &[close(1000, b""), ping(b"late")], &bye),
        case("7.1.4 a text after the close", &[close(1000, b""), text(50)], &bye),
        case("a broken frame after the close", &[close(1000, b""), whole(3, b"")], &bye),
        case("much after the close", &[close(1000, b""), text(65_000).repeat(4)], &bye),
        case("7.3.1 a close without a code", &[whole(CLOSE, b"")], &bye),
        case("7.3.2 half a code", &[whole(CLOSE, b"\x03")], &[Does::Close(1002)]),
        case("7.3.4 a reason", &[close(1000, b"Hello World!")], &bye),
        case("7.3.5 a reason of 123", &[close(1000, &[b'*'; 123])], &bye),
        case("7.3.6 a reason of 124", &[close(1000, &[b'*'; 124])], &[Does::Close(1002)]),
        case("7.5.1 a reason that is not UTF-8", &[close(1000, b"\xce\xba\xed\xa0\x80")], &[Does::Close(1007)]),
    ];
    for code in [1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 3000, 3999, 4000, 4999] {
        cases.push(case(format!("7.7 code {code}"), &[close(code, b"")], &bye));
    }
    for code in [0, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65_535] {
        cases.push(case(format!("7.9, 7.13 code {code}"), &[close(code, b"")], &[Does::Close(1002)]));
    }
    cases
}

/// 9 and 10: long messages, in one and in pieces.
fn limits() -> Vec<Case> {
    let mut cases = vec![
        case("9 a message one over the limit", &[text(LIMIT + 1), ping(b"")], &[Does::Close(1009)]),
        case("9.1.6, 7.1.6 far over", &[text(1 << 20), whole(CLOSE, b""), ping(b"")], &[Does::Close(1009)]),
    ];
    for size in [64, 256, 1_000, 1_300, 4_096, LIMIT - 1] {
        cases.push(case(format!("9.3, 10.1 the limit by {size}"), &fragments(&ask(LIMIT), size), &[echo(LIMIT)]));
        let mut frames = fragments(&ask(LIMIT + 1), size);
        frames.push(ping(b""));
        cases.push(case(format!("9.3 one over by {size}"), &frames, &[Does::Close(1009)]));
    }
    cases
}

#[tokio::test(flavor = "multi_thread")]
async fn every_autobahn_case_that_applies_is_met_in_one_write_and_in_chops() {
    let _turn = beside_others().await;
    let redis = Redis::start().await;
    let node = Node::on(&redis.url()).set("LIMITS__MESSAGE", "64KiB").start().await;
    node.ready().await;
    let witness = Client::join(&node, &["users:count"]).await;
    let sections = [framing(), pings(), reserved(), fragmentation(), utf8(), closing(), limits()];
    let cases: Vec<Case> = sections.into_iter().flatten().collect();
    let chops = |case: &Case| if case.bytes.len() < 1_000 { [usize::MAX, 1] } else { [usize::MAX, 997] };
    let runs = cases.iter().flat_map(|case| chops(case).map(|chop| (case, chop)));
    let node = &node;
    let failed: Vec<String> = stream::iter(runs)
        .map(|(case, chop)| async move {
            let met = meets(node, case, chop).await;
            met.err().map(|why| format!("{} in chops of {chop}: {why}", case.name))
        })
        .buffer_unordered(AT_ONCE)
        .filter_map(|failed| async { failed })
        .collect()
        .await;
    assert!(failed.is_empty(), "{} of {} cases:\n{}", failed.len(), cases.len(), failed.join("\n"));
    witness.shows("users:count", 1).await;
    assert_eq!(witness.closed(), None);
}

/// Sends the case's bytes in chops, and compares everything that comes back.
async fn meets(node: &Node, case: &Case, chop: usize) -> Result<(), String> {
    let mut raw = Raw::open(node, "channel=public:autobahn").await;
    same("at first", read(&mut raw).await?, Does::Joins("public:autobahn".into()))?;
    for bytes in case.bytes.chunks(chop) {
        // It may hang up before it has read everything.
        if !raw.offer(bytes).await {
            break;
        }
    }
    for (index, expected) in case.does.iter().enumerate() {
        same(&format!("reaction {index}"), read(&mut raw).await?, expected.clone())?;
    }
    if matches!(case.does.last(), Some(Does::Close(_))) {
        return raw.ends(SOON).await;
    }
    raw.text("{\"subscribe\":[\"public:alive\"]}").await;
    same("afterwards", read(&mut raw).await?, Does::Joins("public:alive".into()))
}

async fn read(raw: &mut Raw) -> Result<Does, String> {
    let frame = raw.frame(SOON).await?;
    match frame.opcode {
        PONG => Ok(Does::Pong(frame.payload)),
        CLOSE => Ok(Does::Close(frame.close_code().unwrap_or(0))),
        _ => {
            let message: Value = serde_json::from_slice(&frame.payload).map_err(|why| format!("{why}: {frame:?}"))?;
            let name = |value: &Value| value.as_str().unwrap_or_default().to_owned();
            match message["error"]["code"].as_str() {
                None if message["subscribed"].is_string() => Ok(Does::Joins(name(&message["subscribed"]))),
                Some("forbidden") => Ok(Does::Echoes(name(&message["error"]["channel"]))),
                Some("bad_request") => Ok(Does::BadRequest),
                _ => Err(message.to_string()),
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn compression_is_declined() {
    let _turn = beside_others().await;
    let redis = Redis::start().await;
    let node = Node::start(&redis.url()).await;
    let offer = "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits";
    let headers: Vec<&str> = UPGRADE.into_iter().chain([offer]).collect();
    let reply = request(node.address, "GET", "/ws", &headers).await.unwrap();
    assert_eq!(reply.status, 101, "{}", reply.text());
    assert_eq!(reply.header("sec-websocket-extensions"), None);
}
