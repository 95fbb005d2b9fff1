//! The wire, byte for byte: a session of each kind is recorded and compared with `wire_record.txt`.
//!
//! What differs by itself (times, ports, lengths and tags of files) is left out. A change of what is
//! sent shows as a change of that file: `WIRE_RECORD=new` writes it anew. With `TEST_BINARY`, another
//! binary is compared.

use std::fmt::Write;
use std::net::SocketAddr;

use rustix::process::Signal;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::support::node::Node;
use crate::support::raw::Raw;
use crate::support::redis::{Redis, connect};
use crate::support::wire::{BINARY, CLOSE, CONTINUATION, FINAL, PING, PONG, TEXT, masked};
use crate::support::{SOON, beside_others};

const RECORD: &str = include_str!("wire_record.txt");
const UPGRADE: &str = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
                       Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
/// Headers whose values are of no interest here.
const VARYING: [&str; 4] = ["date", "etag", "content-length", "last-modified"];

/// One channel is counted.
const CHANNELS: &str = r#"
[[channels]]
pattern = "users:count"
count = "sockets"
deliver = "latest"

[[channels]]
pattern = "p*"
count = "none"
deliver = "every"
"#;

/// Requests, each with its own headers.
const REQUESTS: [(&str, &str); 24] = [
    ("GET /", ""),
    ("HEAD /", ""),
    ("GET /", "Accept-Encoding: gzip\r\n"),
    ("GET /headcount.js", ""),
    ("GET /link.js", ""),
    ("GET /page.js", ""),
    ("GET /style.css", ""),
    ("GET /favicon.svg", ""),
    ("GET /healthz", ""),
    ("GET /readyz", ""),
    ("HEAD /readyz", ""),
    ("GET /metrics", ""),
    ("GET /nothing", ""),
    ("POST /", "Content-Length: 0\r\n"),
    ("POST /ws", "Content-Length: 0\r\n"),
    ("OPTIONS /events", ""),
    ("GET /ws", ""),
    ("GET /ws", "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 12\r\n"),
    ("GET /ws", "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: x\r\n"),
    ("GET /ws?unknown=1", UPGRADE),
    ("GET /ws?channel=%ff", UPGRADE),
    ("GET /ws?reconnect=maybe", UPGRADE),
    ("GET /events?unknown=1", ""),
    ("GET /ws", "Expect: 100-continue\r\nContent-Length: 3\r\n"),
];

/// What a client says, and a piece of the last frame that it is answered with.
const SAID: [(&str, &str); 20] = [
    (r#"{"subscribe":["page:/a"]}"#, "page:/a"),
    (r#"{"subscribe":["page:/a"]}"#, "page:/a"),
    (r#"{"watch":["page:/b"]}"#, "page:/b"),
    (r#"{"unsubscribe":["page:/a"]}"#, "unsubscribed"),
    (r#"{"unsubscribe":["page:/a"]}"#, "error"),
    (r#"{"subscribe":["public:news"],"reconnect":true}"#, "public:news"),
    (r#"{"subscribe":["secret"]}"#, "error"),
    (r#"{"subscribe":[""]}"#, "error"),
    (r#"{"subscribe":["page:/\u0000"]}"#, "error"),
    (r#"{"subscribe":["page:/\"\\/\ud83d\ude00"]}"#, "page:/"),
    (r#"{"subscribe":[]}"#, "error"),
    (r#"{"subscribe":"page:/a"}"#, "error"),
    (r#"{"subscribe":[1]}"#, "error"),
    (r#"{"unknown":["a"]}"#, "error"),
    (r#"{"reconnect":1}"#, "error"),
    ("{}", "error"),
    ("[]", "error"),
    ("", "error"),
    ("{", "error"),
    (r#"{"unsubscribe":["page:/b","public:news","nothing"]}"#, "error"),
];

/// What is published on a channel that delivers every message, as another program would.
const PUBLISHED: [&[u8]; 12] = [
    b"hello",
    b"{\"a\":[1,2.50,null]}",
    b"7",
    b"7.0",
    b" 5",
    b"-0",
    b"1e3",
    b"\"\"",
    b"",
    b"{",
    b"\xff\xfe",
    b"a\r\nb\x00",
];

/// Bytes that end a connection, or nearly.
fn last_words() -> Vec<(&'static str, Vec<u8>)> {
    vec![
        ("a close frame", masked(FINAL | CLOSE, &1000_u16.to_be_bytes())),
        ("a close frame without a code", masked(FINAL | CLOSE, b"")),
        ("a close frame with a code of our own", masked(FINAL | CLOSE, &4000_u16.to_be_bytes())),
        ("a close frame with half a code", masked(FINAL | CLOSE, &[3])),
        ("a close frame with a code that nobody sends", masked(FINAL | CLOSE, &1005_u16.to_be_bytes())),
        ("a frame that is not masked", vec![0x81, 1, b'x']),
        ("a reserved bit", masked(0xC0 | TEXT, b"x")),
        ("a reserved opcode", masked(FINAL | 3, b"x")),
        ("a continuation of nothing", masked(FINAL | CONTINUATION, b"x")),
        ("a ping in pieces", masked(PING, b"x")),
        ("a long ping", masked(FINAL | PING, &[b'x'; 126])),
        ("a binary message", masked(FINAL | BINARY, b"x")),
        ("a text that is not UTF-8", masked(FINAL | TEXT, &[0xff])),
        ("a long message", masked(FINAL | TEXT, &[b' '; 20_000])),
        ("too many messages", masked(FINAL | PONG, b"").repeat(1_000)),
    ]
}

struct Recorder(String);

impl Recorder {
    fn title(&mut self, title: &str) {
        let _ = writeln!(self.0, "\n# {title}");
    }

    fn line(&mut self, mark: char, bytes: &[u8]) {
        let _ = writeln!(self.0, "{mark} {}", bytes.escape_ascii());
    }

    async fn requests(&mut self, node: &Node) {
        for (request, headers) in REQUESTS {
            self.title(&format!("{request} {}", headers.escape_default()));
            let reply = exchange(node.address, &format!("{request} HTTP/1.1\r\nHost: here\r\n{headers}")).await;
            let (head, body) = reply.split_at(reply.windows(4).position(|four| four == b"\r\n\r\n").unwrap_or(0));
            for line in String::from_utf8_lossy(head).lines() {
                let (name, varies) = line
                    .split_once(':')
                    .map_or((line, false), |(name, _)| (name, VARYING.contains(&name.to_ascii_lowercase().as_str())));
                self.line('<', if varies { name.as_bytes() } else { line.as_bytes() });
            }
            let body = &body[body.len().min(4)..];
            if request == "GET /metrics" {
                let text = String::from_utf8_lossy(body).into_owned();
                let mut names: Vec<&str> = text.lines().filter(|line| line.starts_with("# TYPE")).collect();
                names.sort_unstable();
                names.iter().for_each(|name| self.line('<', name.as_bytes()));
            } else if body.len() < 400 {
                self.line('<', body);
            }
        }
    }

    async fn socket(&mut self, node: &Node, redis: &Redis) {
        self.title("a socket that joins the default channel");
        let mut socket = Raw::open(node, "").await;
        self.first_frame(&mut socket, "\"data\":1").await;
        for (said, answer) in SAID {
            self.line('>', said.as_bytes());
            socket.text(said).await;
            self.frames_until(&mut socket, answer).await;
        }
        self.line('>', b"ping");
        socket.send(&masked(FINAL | PING, b"are you there")).await;
        self.frames_until(&mut socket, "are you there").await;
        self.title("a count that changes");
        let other = Raw::open(node, "").await;
        self.frames_until(&mut socket, "\"data\":2").await;
        drop(other);
        self.frames_until(&mut socket, "\"data\":1").await;
        for payload in PUBLISHED {
            self.line('>', payload);
            self.publish(redis, "users:count", payload).await;
            self.frames_until(&mut socket, "users:count").await;
        }
        self.title("messages that others publish");
        let mut listener = Raw::open(node, "channel=public:a&reconnect=1").await;
        self.frames_until(&mut listener, "public:a").await;
        for payload in PUBLISHED {
            self.line('>', payload);
            self.publish(redis, "public:a", payload).await;
            self.frames_until(&mut listener, "public:a").await;
        }
    }

    /// Writes down the first frame alone, up to one with this in it: whether a count that is joined is
    /// read before or after the joiner is in it is chance.
    async fn first_frame(&mut self, socket: &mut Raw, needle: &str) {
        let mut first = None;
        loop {
            let frame = socket.frame(SOON).await.unwrap_or_else(|why| panic!("{why}; so far:\n{}", self.0));
            let text = String::from_utf8_lossy(&frame.payload).into_owned();
            let first = first.get_or_insert_with(|| text.replace("\"data\":0", "\"data\":1"));
            if text.contains(needle) {
                let _ = write!(self.0, "{:x}", frame.opcode);
                return self.line('<', first.as_bytes());
            }
        }
    }

    async fn publish(&self, redis: &Redis, channel: &str, payload: &[u8]) {
        let mut connection = connect(&redis.url()).await.unwrap();
        let mut publish = redis::cmd("PUBLISH");
        publish.arg(channel).arg(payload).query_async::<i64>(&mut connection).await.unwrap();
    }

    /// Writes frames down up to one with this in it.
    async fn frames_until(&mut self, socket: &mut Raw, needle: &str) {
        loop {
            let frame = socket.frame(SOON).await.unwrap_or_else(|why| panic!("{why}; so far:\n{}", self.0));
            let _ = write!(self.0, "{:x}", frame.opcode);
            self.line('<', &frame.payload);
            if String::from_utf8_lossy(&frame.payload).contains(needle) || frame.opcode == CLOSE {
                return;
            }
        }
    }

    async fn ends(&mut self, node: &Node) {
        for (what, bytes) in last_words() {
            self.title(what);
            let mut socket = Raw::open(node, "channel=public:quiet").await;
            self.frames_until(&mut socket, "subscribed").await;
            socket.offer(&bytes).await;
            let Ok(frame) = socket.frame(SOON).await else {
                self.line('<', b"the end");
                continue;
            };
            let _ = write!(self.0, "{:x} {:?}", frame.opcode, frame.close_code());
            self.line('<', &frame.payload);
        }
    }

    async fn events(&mut self, node: &Node) {
        for (query, needle) in [("channel=page:/sse", "subscribed"), ("channel=secret", "error")] {
            self.title(&format!("GET /events?{query}"));
            let mut stream = TcpStream::connect(node.address).await.unwrap();
            let request = format!("GET /events?{query} HTTP/1.1\r\nHost: here\r\n\r\n");
            stream.write_all(request.as_bytes()).await.unwrap();
            let mut bytes = Vec::new();
            let reading = async {
                while !String::from_utf8_lossy(&bytes).contains(needle) || !bytes.ends_with(b"\n\n") {
                    assert!(stream.read_buf(&mut bytes).await.unwrap() > 0, "it ended");
                }
            };
            timeout(SOON, reading).await.expect("the events in time");
            for line in String::from_utf8_lossy(&bytes).lines() {
                let name = line.split_once(": ").map_or(line, |(name, _)| name);
                let varies = name == "retry" || VARYING.contains(&name.to_ascii_lowercase().as_str());
                self.line('<', if varies { name.as_bytes() } else { line.as_bytes() });
            }
        }
    }

    async fn stop(&mut self, mut node: Node) {
        self.title("the server stops");
        let mut socket = Raw::open(&node, "channel=public:quiet").await;
        self.frames_until(&mut socket, "subscribed").await;
        node.signal(Signal::TERM);
        let frame = socket.frame(SOON).await.unwrap();
        let reason = String::from_utf8_lossy(frame.payload.get(2..).unwrap_or_default()).replace(char::is_numeric, "");
        let _ = writeln!(self.0, "{:?} {reason}", frame.close_code());
        drop(socket);
        assert!(node.exit(SOON).await.success());
    }
}

/// Sends a request and reads all that comes until the server ends the connection or says no more.
async fn exchange(to: SocketAddr, head: &str) -> Vec<u8> {
    let mut stream = TcpStream::connect(to).await.unwrap();
    let connection = if head.contains("Connection:") { "" } else { "Connection: close\r\n" };
    stream.write_all(format!("{head}{connection}\r\n").as_bytes()).await.unwrap();
    let mut reply = Vec::new();
    let reading = async {
        while stream.read_buf(&mut reply).await.is_ok_and(|length| length > 0) {
            if let Some(end) = whole(&reply) {
                reply.truncate(end);
                return;
            }
        }
    };
    timeout(SOON, reading).await.unwrap_or_else(|_| panic!("{head}: no end of the reply"));
    reply
}

/// Where a reply that is no longer than its head says ends, in a connection that stays open.
fn whole(reply: &[u8]) -> Option<usize> {
    let end = reply.windows(4).position(|four| four == b"\r\n\r\n")? + 4;
    let head = String::from_utf8_lossy(&reply[..end]).to_ascii_lowercase();
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")?.parse::<usize>().ok());
    let end = if head.starts_with("http/1.1 101") { end } else { end + length? };
    (reply.len() >= end).then_some(end)
}

#[tokio::test(flavor = "multi_thread")]
async fn every_byte_that_clients_are_sent_is_the_one_on_record() {
    let _turn = beside_others().await;
    let redis = Redis::start_real().await;
    let node =
        Node::on(&redis.url()).config(CHANNELS).set("SERVER__DRAIN", "1s").set("PRESENCE__QUIET", "1m").start().await;
    node.ready().await;
    let mut recorder = Recorder(String::new());
    recorder.requests(&node).await;
    recorder.socket(&node, &redis).await;
    recorder.ends(&node).await;
    recorder.events(&node).await;
    recorder.stop(node).await;
    let record = recorder.0;
    if let Ok(path) = std::env::var("WIRE_RECORD") {
        let path =
            if path == "new" { concat!(env!("CARGO_MANIFEST_DIR"), "/tests/wire_record.txt").into() } else { path };
        std::fs::write(path, &record).unwrap();
        return;
    }
    let differences: Vec<String> = record
        .lines()
        .zip(RECORD.lines())
        .filter(|(new, old)| new != old)
        .map(|(new, old)| format!("was: {old}\nnow: {new}"))
        .collect();
    assert!(differences.is_empty() && record == RECORD, "the wire is not what it was:\n{}", differences.join("\n"));
}
