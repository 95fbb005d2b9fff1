//! docs/PROTOCOL.md is true: its examples happen on the wire, and its table of close codes is the one
//! that the server has.

use headcount::close_code::TABLE;
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::support::client::Client;
use crate::support::node::Node;
use crate::support::redis::{Redis, connect};
use crate::support::{SOON, beside_others};

const PROTOCOL: &str = include_str!("../docs/PROTOCOL.md");

/// The fenced blocks of this kind.
fn examples(kind: &str) -> Vec<&'static str> {
    let opening = format!("```{kind}\n");
    PROTOCOL.split(opening.as_str()).skip(1).map(|rest| rest.split("```").next().unwrap()).collect()
}

/// Whether an object is as the document shows it. "…" stands for any text, and the count on joining may
/// be from before or after the join.
fn like(shown: &Value, found: &Value) -> bool {
    let joined = |object: &Value| object["subscribed"].is_string() || object["watching"].is_string();
    let (mut shown, mut found) = (shown.clone(), found.clone());
    if joined(&shown) && shown["data"].is_i64() && found["data"].is_i64() {
        (shown["data"], found["data"]) = (Value::Null, Value::Null);
    }
    match (&shown, &found) {
        (Value::String(any), Value::String(_)) if any == "…" => true,
        (Value::Object(a), Value::Object(b)) => {
            a.len() == b.len() && a.iter().all(|(key, value)| b.get(key).is_some_and(|other| like(value, other)))
        }
        (Value::Array(a), Value::Array(b)) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| like(a, b)),
        _ => shown == found,
    }
}

/// The words of a command as a shell has them, and the escapes of redis-cli's own.
fn words(command: &str) -> Vec<Vec<u8>> {
    let bytes = |text: &str| -> Vec<u8> {
        let mut parts = text.split("\\x");
        let mut bytes = parts.next().unwrap_or_default().as_bytes().to_vec();
        for part in parts {
            bytes.push(u8::from_str_radix(&part[..2], 16).unwrap());
            bytes.extend_from_slice(&part.as_bytes()[2..]);
        }
        bytes
    };
    let mut words = Vec::new();
    for (at, part) in command.split('\'').enumerate() {
        match at % 2 {
            1 => words.push(bytes(part)),
            _ => words.extend(part.split_whitespace().map(|word| word.as_bytes().to_vec())),
        }
    }
    words
}

async fn run(redis: &Redis, command: &str) {
    let words = words(command.strip_prefix("redis-cli ").expect("a command for redis-cli"));
    let mut connection = connect(&redis.url()).await.unwrap();
    let mut call = redis::Cmd::new();
    for word in words {
        call.arg(word);
    }
    let _: redis::Value = call.query_async(&mut connection).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn every_example_of_the_protocol_happens_on_the_wire() {
    let _turn = beside_others().await;
    for example in examples("wire") {
        // A store of its own for each, which no other node counts in.
        let redis = Redis::start_real().await;
        let node = Node::start(&redis.url()).await;
        node.ready().await;
        let mut lines = example.lines();
        let query = lines.next().and_then(|line| line.strip_prefix("GET /ws?")).expect("the address first");
        let client = Client::open(&node, query).await;
        // Channels are independent of each other, so their frames may cross.
        let mut used = Vec::new();
        for line in lines {
            let (mark, text) = line.split_at(2);
            match mark {
                "> " => client.send(serde_json::from_str(text).unwrap()).await,
                "$ " => run(&redis, text).await,
                "< " => {
                    let shown: Value = serde_json::from_str(text).unwrap();
                    let find = |messages: &[Value]| {
                        (0..messages.len()).find(|at| !used.contains(at) && like(&shown, &messages[*at]))
                    };
                    let found = client.until(&format!("{example}{line}"), SOON, find).await;
                    used.push(found);
                }
                _ => panic!("{line}: neither sent, received nor run"),
            }
        }
    }
    assert!(examples("wire").len() >= 6);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_example_of_server_sent_events_happens_too() {
    let _turn = beside_others().await;
    let redis = Redis::start().await;
    let node = Node::start(&redis.url()).await;
    node.ready().await;
    for example in examples("events") {
        let (request, expected) = example.split_once('\n').unwrap();
        let mut stream = TcpStream::connect(node.address).await.unwrap();
        stream.write_all(format!("{request} HTTP/1.1\r\nHost: a\r\n\r\n").as_bytes()).await.unwrap();
        let expected = format!("data: {}", expected.trim().strip_prefix("< ").unwrap());
        let mut said = Vec::new();
        let read = async {
            while !String::from_utf8_lossy(&said).contains(&expected) {
                assert!(stream.read_buf(&mut said).await.unwrap() > 0, "the stream ended");
            }
        };
        timeout(SOON, read).await.unwrap_or_else(|_| panic!("no {expected}"));
    }
}

#[test]
fn the_table_of_close_codes_is_the_servers() {
    let (_, rest) = PROTOCOL.split_once("<!-- close codes -->").unwrap();
    let rows = rest.split("<!-- /close codes -->").next().unwrap().lines().filter(|line| line.starts_with("| "));
    let told: Vec<_> = rows.skip(1).map(|row| row.split(" | ").collect::<Vec<_>>()).collect();
    let mut table: Vec<_> = TABLE.iter().collect();
    table.sort_by_key(|row| row.code);
    assert_eq!(told.len(), table.len());
    for (told, row) in told.iter().zip(table) {
        let again = if row.reconnect { "yes |" } else { "no |" };
        let code = format!("| {}", row.code);
        assert_eq!((told[0], told[1], told[3]), (code.as_str(), row.name, again), "{told:?}");
    }
}
