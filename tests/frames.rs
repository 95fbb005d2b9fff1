//! A client that only asks for nonsense is told so and stays; one that talks too much is closed.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::support::client::Client;
use crate::support::node::Node;
use crate::support::raw::Raw;
use crate::support::redis::Redis;
use crate::support::wire::{BINARY, CLOSE, CONTINUATION, FINAL, TEXT, masked};
use crate::support::{SOON, alone, beside_others, eventually, same};

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
async fn a_message_has_at_most_16_kib_unless_the_config_says_otherwise() {
    let _turn = beside_others().await;
    let redis = Redis::start().await;
    let node = Node::start(&redis.url()).await;
    let mut raw = Raw::open(&node, "channel=public:x").await;
    for fits in [1, 16 * 1024] {
        raw.text(&" ".repeat(fits)).await;
        let answered = async {
            while !raw.frame(SOON).await.unwrap().payload.starts_with(b"{\"error\":{\"code\":\"bad_request\"") {}
        };
        timeout(SOON, answered).await.expect("an answer");
    }
    raw.text(&" ".repeat(16 * 1024 + 1)).await;
    assert_eq!(raw.close_code(SOON).await, Some(1009));
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

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_talks_without_pause_keeps_nobody_else_waiting() {
    let _turn = alone().await;
    let redis = Redis::start().await;
    let node = Node::on(&redis.url()).set("SERVER__WORKERS", "1").start().await;
    node.ready().await;
    let calm = Client::join(&node, &["users:count"]).await;
    // One never ends its message and says nothing in it; the other is not understood at all.
    let endless = (masked(TEXT, b"{"), masked(CONTINUATION, b"").repeat(100_000));
    let garbage = (Vec::new(), vec![0xff; 1 << 20]);
    let mut floods = Vec::new();
    for (first, more) in [endless, garbage] {
        let mut raw = Raw::open(&node, "channel=users:count").await;
        raw.send(&first).await;
        floods.push(tokio::spawn(async move { while raw.offer(&more).await {} }));
    }
    for round in 0..20 {
        let channel = format!("public:{round}");
        assert_eq!(calm.subscribe(&channel).await["subscribed"], channel);
    }
    // Neither can keep it up.
    for flood in floods {
        timeout(SOON * 2, flood).await.expect("the server hangs up").unwrap();
    }
    calm.shows("users:count", 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_is_closed_for_what_it_sent_waits_for_no_end() {
    let _turn = beside_others().await;
    let redis = Redis::start().await;
    let node = Node::on(&redis.url()).set("SESSION__CLOSE", "60s").start().await;
    node.ready().await;
    let mut raw = Raw::open(&node, "channel=users:count").await;
    // As a browser does: it hears the code, says goodbye, and leaves the end to the server.
    raw.send(&masked(FINAL | BINARY, &[0; 100_000])).await;
    assert_eq!(raw.close_code(SOON).await, Some(1003));
    raw.send(&masked(FINAL | CLOSE, &1003_u16.to_be_bytes())).await;
    let end = raw.frame(SOON).await.unwrap_err();
    assert!(!end.contains("no frame within"), "{end}");
    drop(raw);
    eventually("it is gone", SOON, || async { same("sockets", node.metric("headcount_sockets").await?, 0) }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_broke_the_protocol_and_stays_costs_nothing() {
    let _turn = alone().await;
    let redis = Redis::start().await;
    let node = Node::on(&redis.url()).set("SESSION__CLOSE", "60s").start().await;
    node.ready().await;
    let calm = Client::join(&node, &["users:count"]).await;
    let endings = [
        (vec![FINAL | TEXT, 2, b'h', b'i'], 1002),
        (masked(FINAL | BINARY, b"x"), 1003),
        (masked(FINAL | TEXT, &[0xff]), 1007),
        (masked(FINAL | TEXT, &[b' '; 20_000]), 1009),
        (masked(FINAL | TEXT, b"{\"watch\":[\"page:/a\"]}").repeat(1_000), 4003),
    ];
    let mut staying = Vec::new();
    for (bytes, code) in endings {
        let mut raw = Raw::open(&node, "channel=users:count").await;
        raw.send(&bytes).await;
        assert_eq!(raw.close_code(SOON).await, Some(code));
        staying.push(raw);
    }
    // One goes on talking, as fast as it is heard.
    let mut talker = staying.pop().unwrap();
    let talking = tokio::spawn(async move {
        let garbage = vec![0xff; 1 << 16];
        while talker.offer_within(&garbage, Duration::from_millis(500)).await {}
        talker
    });
    let talker = timeout(SOON, talking).await.expect("the server reads no more of it").unwrap();
    idle(&node).await;
    calm.shows("users:count", 1).await;
    drop((staying, talker));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_stream_that_talks_is_hung_up_on() {
    let _turn = beside_others().await;
    let redis = Redis::start().await;
    let node = Node::start(&redis.url()).await;
    let mut stream = TcpStream::connect(node.address).await.unwrap();
    stream.write_all(b"GET /events?channel=public:x HTTP/1.1\r\nHost: here\r\n\r\n").await.unwrap();
    let talk = async { while stream.write_all(&[b'x'; 4096]).await.is_ok() {} };
    timeout(SOON, talk).await.expect("the server hangs up");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_that_comes_byte_by_byte_for_ever_is_too_many() {
    let _turn = beside_others().await;
    let redis = Redis::start().await;
    let node = Node::on(&redis.url()).set("LIMITS__MESSAGES_PER_SECOND", "1").start().await;
    let mut raw = Raw::open(&node, "channel=public:x").await;
    let drip = async {
        let message = masked(FINAL | TEXT, &[b' '; 10_000]);
        for byte in message {
            if !raw.offer(&[byte]).await {
                break;
            }
            // Each byte is to be a read of its own.
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        raw.close_code(SOON).await
    };
    assert_eq!(timeout(SOON * 2, drip).await.expect("a close code in time"), Some(4003));
}

/// The node has nothing to do: a loop that goes round and round would be found at work.
async fn idle(node: &Node) {
    eventually("it sleeps", SOON, || async { node.sleeps_through(100) }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_with_thousands_of_names_is_one_error_and_what_is_refused_together_is_told_together() {
    let _turn = beside_others().await;
    let redis = Redis::start().await;
    let node = Node::start(&redis.url()).await;
    let mut raw = Raw::open(&node, "watch=public:x").await;
    raw.frame(SOON).await.unwrap();
    let many: Vec<String> = (0..2_000).map(|n| n.to_string()).collect();
    raw.text(&json!({ "subscribe": many }).to_string()).await;
    let frame = raw.frame(SOON).await.unwrap();
    let error: Value = serde_json::from_slice(&frame.payload).unwrap();
    assert_eq!(error["error"]["code"], "bad_request");
    assert!(frame.payload.len() < 300, "{error}");
    raw.text(&json!({ "subscribe": ["a", "public:y"], "watch": ["b"], "unsubscribe": ["c"] }).to_string()).await;
    let mut heard: Vec<Value> = Vec::new();
    while heard.len() < 2 {
        heard.push(serde_json::from_slice(&raw.frame(SOON).await.unwrap().payload).unwrap());
    }
    let error = heard.iter().find_map(|message| message.get("error")).unwrap();
    assert_eq!((&error["code"], &error["channel"]), (&"bad_request".into(), &"c".into()));
    let also = json!([{ "code": "forbidden", "channel": "a" }, { "code": "forbidden", "channel": "b" }]);
    assert_eq!(error["also"], also);
    assert!(heard.contains(&json!({ "subscribed": "public:y" })), "{heard:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crowd_that_asks_without_end_keeps_nobody_else_waiting() {
    let _turn = alone().await;
    let redis = Redis::start().await;
    let node =
        Node::on(&redis.url()).set("SERVER__WORKERS", "1").set("LIMITS__MESSAGES_PER_SECOND", "1000000").start().await;
    node.ready().await;
    let calm = Client::join(&node, &["users:count"]).await;
    let names: Vec<String> = (0..100).map(|n| n.to_string()).collect();
    let burst = masked(FINAL | TEXT, json!({ "subscribe": names }).to_string().as_bytes()).repeat(30);
    let mut crowd = Vec::new();
    for _ in 0..200 {
        let (mut heard, mut said) = Raw::open(&node, "watch=public:x").await.into_stream().into_split();
        let burst = burst.clone();
        crowd.push(tokio::spawn(async move { while said.write_all(&burst).await.is_ok() {} }));
        crowd.push(tokio::spawn(async move { drop(tokio::io::copy(&mut heard, &mut tokio::io::sink()).await) }));
    }
    for round in 0..5 {
        let channel = format!("public:{round}");
        assert_eq!(calm.subscribe(&channel).await["subscribed"], channel);
    }
    // It was never done.
    assert!(crowd.iter().all(|task| !task.is_finished()));
    crowd.iter().for_each(|task| task.abort());
}
