//! SIGHUP reads the configuration again: what may change changes for those who are here too, and a
//! mistake changes nothing.

use std::time::Duration;

use rustix::process::Signal;
use serde_json::json;

use crate::support::client::Client;
use crate::support::http;
use crate::support::node::Node;
use crate::support::redis::Redis;
use crate::support::{SOON, beside_others, eventually, same};

const COUNTED: &str = r#"{ pattern = "users:count", count = "sockets", deliver = "latest" }"#;

fn channels(further: &str) -> String {
    format!("channels = [{COUNTED}, {further}]\n")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_channel_that_is_not_allowed_any_more_loses_its_clients_who_are_told() {
    let _turn = beside_others().await;
    let redis = Redis::start().await;
    let chat = channels(r#"{ pattern = "chat:*", count = "none", deliver = "every" }"#);
    let node = Node::on(&redis.url()).config(&chat).start().await;
    node.ready().await;
    let client = Client::join(&node, &["users:count", "chat:a"]).await;
    client.until("it has joined", SOON, |m| m.iter().any(|m| m["subscribed"] == "chat:a").then_some(())).await;
    node.reload(&channels(r#"{ pattern = "news:*", count = "none", deliver = "every" }"#));
    let told = |m: &serde_json::Value| m["error"]["code"] == "forbidden" && m["error"]["channel"] == "chat:a";
    client.until("it is sent away", SOON, |m| m.iter().any(told).then_some(())).await;
    node.says(&["reloaded", "channels"]).await;
    assert_eq!(client.subscribe("news:b").await, json!({"subscribed": "news:b"}));
    client.shows("users:count", 1).await;
    assert_eq!(client.closed(), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_channel_that_becomes_counted_counts_those_who_are_on_it_and_back() {
    let _turn = beside_others().await;
    let redis = Redis::start().await;
    let (plain, counted) = (
        channels(r#"{ pattern = "room:*", count = "none", deliver = "latest" }"#),
        channels(r#"{ pattern = "room:*", count = "sockets", deliver = "latest" }"#),
    );
    let node = Node::on(&redis.url()).set("SERVER__WORKERS", "3").config(&plain).start().await;
    node.ready().await;
    let mut clients = Vec::new();
    for _ in 0..5 {
        clients.push(Client::join(&node, &["room:a"]).await);
    }
    let watcher = Client::open(&node, "watch=room:a").await;
    watcher.until("it watches", SOON, |m| m.iter().any(|m| m["watching"] == "room:a").then_some(())).await;
    node.reload(&counted);
    for client in clients.iter().chain([&watcher]) {
        client.shows("room:a", 5).await;
    }
    assert_eq!(redis.get("room:a").await, Ok(Some(5)));
    node.reload(&plain);
    eventually("nothing is counted", SOON, || async { same("GET", redis.get("room:a").await?, None) }).await;
    node.reload(&counted);
    eventually("all are counted again", SOON, || async { same("GET", redis.get("room:a").await?, Some(5)) }).await;
    drop(clients);
    watcher.shows("room:a", 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_channel_that_is_named_exactly_from_now_on_is_set_up_as_0() {
    let _turn = beside_others().await;
    let redis = Redis::start().await;
    let node = Node::on(&redis.url()).config("").start().await;
    node.ready().await;
    node.reload(&channels(r#"{ pattern = "new:count", count = "sockets", deliver = "latest" }"#));
    eventually("it is set up", SOON, || async { same("GET", redis.get("new:count").await?, Some(0)) }).await;
}

const PATTERN: &str = r#"{ pattern = "room:*", count = "sockets", deliver = "latest" }"#;
const EXACT: &str = r#"{ pattern = "room:a", count = "sockets", deliver = "latest" }"#;

async fn room(redis: &Redis, is: Option<i64>) {
    eventually("the room's key", SOON, || async { same("GET", redis.get("room:a").await?, is) }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_channel_that_is_named_exactly_while_clients_are_on_it_stays_when_they_leave_and_goes_again() {
    let _turn = beside_others().await;
    let redis = Redis::start().await;
    let node = Node::on(&redis.url()).config(&channels(PATTERN)).start().await;
    node.ready().await;
    let client = Client::join(&node, &["room:a"]).await;
    room(&redis, Some(1)).await;
    node.reload(&channels(EXACT));
    node.says(&["reloaded", "channels"]).await;
    client.close().await;
    room(&redis, Some(0)).await;
    // And back, with nobody on it: a 0 that nobody counts must not look like another program's key.
    node.reload(&channels(PATTERN));
    room(&redis, None).await;
    let client = Client::join(&node, &["room:a"]).await;
    client.shows("room:a", 1).await;
    client.close().await;
    room(&redis, None).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_channel_that_is_no_more_named_exactly_goes_with_its_last_client() {
    let _turn = beside_others().await;
    let redis = Redis::start().await;
    let node = Node::on(&redis.url()).config(&channels(EXACT)).start().await;
    node.ready().await;
    room(&redis, Some(0)).await;
    let client = Client::join(&node, &["room:a"]).await;
    room(&redis, Some(1)).await;
    node.reload(&channels(PATTERN));
    node.says(&["reloaded", "channels"]).await;
    client.shows("room:a", 1).await;
    client.close().await;
    room(&redis, None).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_crashed_server_had_counted_is_withdrawn_by_the_rules_that_are_in_effect() {
    let _turn = beside_others().await;
    for (before, after, left) in [(PATTERN, EXACT, Some(0)), (EXACT, PATTERN, None)] {
        // No other node may be there, which could be the one that withdraws.
        let redis = Redis::start_real().await;
        // Not repaired meanwhile, which would hide it.
        let start = async || {
            let node = Node::on(&redis.url()).set("PRESENCE__REPAIR", "1h").config(&channels(before)).start().await;
            node.ready().await;
            node
        };
        let (staying, crashing) = (start().await, start().await);
        let _client = Client::join(&crashing, &["room:a"]).await;
        room(&redis, Some(1)).await;
        staying.reload(&channels(after));
        staying.says(&["reloaded", "channels"]).await;
        crashing.crash().await;
        staying.says(&["withdrew the shares"]).await;
        room(&redis, left).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn any_mistake_keeps_the_whole_configuration_from_before_and_every_one_is_logged() {
    let _turn = beside_others().await;
    let redis = Redis::start().await;
    let node = Node::on(&redis.url()).config("[limits]\nchannels_per_client = 2\n").start().await;
    node.ready().await;
    node.reload("[limits]\nchannels_per_client = 3\nmessage = \"big\"\n[server]\ndrain = \"soon\"\n");
    node.says(&["limits.message", "big"]).await;
    node.says(&["server.drain", "soon"]).await;
    node.says(&["not reloaded"]).await;
    let client = Client::join(&node, &["users:count", "page:/a"]).await;
    assert_eq!(client.subscribe("page:/b").await["error"]["code"], "too_many_channels");
    node.reload("[limits]\nchannels_per_client = 3\n");
    node.says(&["reloaded", "limits.channels_per_client"]).await;
    assert_eq!(client.subscribe("page:/b").await["subscribed"], "page:/b");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_needs_a_restart_is_named_and_the_rest_takes_effect() {
    let _turn = beside_others().await;
    let redis = Redis::start().await;
    let node = Node::on(&redis.url()).config("").start().await;
    node.ready().await;
    let origin = ["Origin: https://elsewhere.example"];
    let upgrade = [&crate::support::wire::UPGRADE[..], &origin].concat();
    assert_eq!(http::request(node.address, "GET", "/ws", &upgrade).await.unwrap().status, 101);
    node.reload("[server]\nworkers = 7\norigins = [\"https://example.com\"]\n[log]\nlevel = \"debug\"\n");
    node.says(&["restart", "server.workers"]).await;
    node.says(&["reloaded", "server.origins", "log.level"]).await;
    eventually("the origin is refused", SOON, || async {
        same("status", http::request(node.address, "GET", "/ws", &upgrade).await?.status, 403)
    })
    .await;
    // A line of a level that was not logged before.
    eventually("debug is logged", SOON, || async {
        let _ = http::request(node.address, "GET", "/", &["Connection: keep-alive", "Bad header"]).await;
        let lines = node.log.lines_with("DEBUG");
        if lines.is_empty() { Err(node.log.text()) } else { Ok(()) }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn another_ping_interval_and_drain_are_for_those_who_are_here_too() {
    let _turn = beside_others().await;
    let redis = Redis::start().await;
    let mut node = Node::on(&redis.url()).config("[server]\ndrain = \"60s\"\n").start().await;
    node.ready().await;
    let mut idle = crate::support::raw::Raw::open(&node, "").await;
    node.reload("[session]\nping = \"200ms\"\npong = \"300ms\"\n[server]\ndrain = \"100ms\"\n");
    assert_eq!(idle.close_code(SOON).await, Some(4002));
    node.signal(Signal::TERM);
    assert_eq!(node.exit(Duration::from_secs(5)).await.code(), Some(0));
}
