//! A client that breaks the protocol is closed with the code for it; one that only asks for nonsense
//! is told so and stays.

use serde_json::{Value, json};

use crate::support::client::Client;
use crate::support::node::Node;
use crate::support::raw::Raw;
use crate::support::redis::Redis;
use crate::support::wire::{BINARY, CLOSE, CONTINUATION, FINAL, PING, TEXT, masked};
use crate::support::{SOON, beside_others};

#[tokio::test(flavor = "multi_thread")]
async fn each_broken_rule_has_its_close_code() {
    let _turn = beside_others().await;
    let redis = Redis::start().await;
    let node = Node::start(&redis.url()).await;
    let witness = Client::join(&node, &["users:count"]).await;
    let unmasked = b"\x81\x02{}".to_vec();
    let close = |code: u16| masked(FINAL | CLOSE, &code.to_be_bytes());
    let cases: [(&str, Vec<u8>, u16); 13] = [
        ("an unmasked frame", unmasked, 1002),
        ("a reserved bit", masked(FINAL | 0x40 | TEXT, b"{}"), 1002),
        ("an unknown opcode", masked(FINAL | 0x3, b"{}"), 1002),
        ("an unknown control opcode", masked(FINAL | 0xB, b""), 1002),
        ("a continuation of nothing", masked(FINAL | CONTINUATION, b"{}"), 1002),
        ("a fragmented ping", masked(PING, b""), 1002),
        ("a ping that is too long", masked(FINAL | PING, &[0; 126]), 1002),
        ("a text within a text", [masked(TEXT, b"{"), masked(FINAL | TEXT, b"}")].concat(), 1002),
        ("a binary message", masked(FINAL | BINARY, b"{}"), 1003),
        ("a text that is not UTF-8", masked(FINAL | TEXT, b"{\"\xff\":1}"), 1007),
        ("a message over the limit", masked(FINAL | TEXT, &vec![b' '; 16 * 1024 + 1]), 1009),
        ("a close that no client may send", close(1005), 1002),
        ("a plain close", close(1000), 1000),
    ];
    for (what, bytes, code) in cases {
        let mut raw = Raw::open(&node, "channel=users:count").await;
        raw.send(&bytes).await;
        assert_eq!(raw.close_code(SOON).await, Some(code), "{what}");
    }
    let mut pieces = Raw::open(&node, "channel=users:count").await;
    for piece in [TEXT, CONTINUATION, CONTINUATION, CONTINUATION, CONTINUATION] {
        pieces.send(&masked(piece, &[b' '; 4_000])).await;
    }
    assert_eq!(pieces.close_code(SOON).await, Some(1009), "a message that grows over the limit");
    witness.shows("users:count", 1).await;
    assert_eq!(witness.closed(), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn nonsense_in_a_message_is_answered_and_forgiven() {
    let _turn = beside_others().await;
    let redis = Redis::start().await;
    let node = Node::start(&redis.url()).await;
    for nonsense in
        ["", "{", "[]", "42", "null", "{}", "{\"subscribe\":\"page:/a\"}", "{\"subscribe\":[1]}", "{\"shout\":[\"a\"]}"]
    {
        let mut raw = Raw::open(&node, "channel=public:x").await;
        raw.text(nonsense).await;
        let error = loop {
            let frame = raw.frame(SOON).await.unwrap();
            let message: Value = serde_json::from_slice(&frame.payload).unwrap();
            if !message["error"].is_null() {
                break message;
            }
        };
        assert_eq!(error["error"]["code"], "bad_request", "{nonsense:?}: {error}");
        assert!(error["error"]["message"].is_string(), "{error}");
        raw.text("{\"subscribe\":[\"public:y\"]}").await;
        loop {
            let frame = raw.frame(SOON).await.unwrap();
            let message: Value = serde_json::from_slice(&frame.payload).unwrap();
            if message == json!({"subscribed": "public:y"}) {
                break;
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_in_pieces_is_read_as_one() {
    let _turn = beside_others().await;
    let redis = Redis::start().await;
    let node = Node::start(&redis.url()).await;
    let mut raw = Raw::open(&node, "channel=public:x").await;
    let whole = b"{\"subscribe\":[\"public:pieces\"]}";
    raw.send(&masked(TEXT, &whole[..5])).await;
    raw.send(&masked(FINAL | PING, b"in between")).await;
    raw.send(&masked(CONTINUATION, &whole[5..9])).await;
    raw.send(&masked(FINAL | CONTINUATION, &whole[9..])).await;
    loop {
        let frame = raw.frame(SOON).await.unwrap();
        if frame.opcode == TEXT && frame.payload == b"{\"subscribed\":\"public:pieces\"}" {
            return;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_talks_too_much_is_closed_with_4003() {
    let _turn = beside_others().await;
    let redis = Redis::start().await;
    let node = Node::on(&redis.url()).set("LIMITS__MESSAGES_PER_SECOND", "5").start().await;
    node.ready().await;
    let calm = Client::join(&node, &["users:count"]).await;
    let mut chatty = Raw::open(&node, "channel=users:count").await;
    let message = masked(FINAL | TEXT, b"{\"watch\":[\"page:/a\"]}");
    chatty.send(&message.repeat(200)).await;
    assert_eq!(chatty.close_code(SOON).await, Some(4003));
    calm.shows("users:count", 1).await;
}
