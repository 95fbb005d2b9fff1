//! A board is the top of a sorted set, on every server, as any program writes it.

use std::time::Duration;

use serde_json::{Value, json};

use crate::support::client::Client;
use crate::support::node::Node;
use crate::support::redis::Redis;
use crate::support::{SOON, beside_others, eventually};

const BOARD: &str = "board:g";

/// The last board that a client was told: the top and the size.
fn shown(client: &Client) -> Option<(Value, Value)> {
    let about =
        |m: &&Value| ["channel", "subscribed", "watching"].iter().any(|key| m[key] == BOARD) && m["board"].is_array();
    client.messages().iter().rev().find(about).map(|m| (m["board"].clone(), m["size"].clone()))
}

async fn shows(client: &Client, top: Value, size: u64) {
    let expected = Some((top.clone(), json!(size)));
    let what = format!("the board shows {top} of {size}");
    client.until(&what, SOON, |_| (shown(client) == expected).then_some(())).await;
}

async fn stands(client: &Client, member: &str, rank: Value, score: Value) {
    let expected = json!({ "channel": BOARD, "member": member, "rank": rank, "score": score });
    client
        .until(&format!("{expected}"), SOON, |messages| {
            let last = messages.iter().rev().find(|m| m["member"] == member);
            (last == Some(&expected)).then_some(())
        })
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_any_program_writes_shows_on_every_server() {
    let _turn = beside_others().await;
    let redis = Redis::start().await;
    let nodes = [Node::start(&redis.url()).await, Node::start(&redis.url()).await];
    let clients = [Client::open(&nodes[0], "watch=board:g").await, Client::join(&nodes[1], &[BOARD]).await];
    for client in &clients {
        shows(client, json!([]), 0).await;
    }
    redis.must::<()>(&["ZADD", BOARD, "120", "ann", "7.5", "bob", "inf", "top", "-inf", "low"]).await;
    for client in &clients {
        shows(client, json!([["top", "inf"], ["ann", 120], ["bob", 7.5], ["low", "-inf"]]), 4).await;
    }
    redis.must::<()>(&["ZREM", BOARD, "top", "low"]).await;
    redis.must::<()>(&["ZINCRBY", BOARD, "200", "bob"]).await;
    for client in &clients {
        shows(client, json!([["bob", 207.5], ["ann", 120]]), 2).await;
    }
    let late = Client::join(&nodes[0], &[BOARD]).await;
    shows(&late, json!([["bob", 207.5], ["ann", 120]]), 2).await;
    redis.must::<()>(&["FLUSHALL"]).await;
    for client in clients.iter().chain([&late]) {
        shows(client, json!([]), 0).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_board_follows_its_key_through_renames_copies_and_expiry() {
    let _turn = beside_others().await;
    let redis = Redis::start().await;
    let node = Node::start(&redis.url()).await;
    let client = Client::join(&node, &[BOARD]).await;
    shows(&client, json!([]), 0).await;
    redis.must::<()>(&["ZADD", "elsewhere", "1", "ann"]).await;
    redis.must::<()>(&["RENAME", "elsewhere", BOARD]).await;
    shows(&client, json!([["ann", 1]]), 1).await;
    redis.must::<()>(&["PEXPIRE", BOARD, "50"]).await;
    shows(&client, json!([]), 0).await;
    redis.must::<()>(&["ZADD", BOARD, "2", "bob"]).await;
    shows(&client, json!([["bob", 2]]), 1).await;
    redis.must::<()>(&["DEL", BOARD]).await;
    shows(&client, json!([]), 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_member_that_is_followed_is_told_its_own_place_as_it_moves() {
    let _turn = beside_others().await;
    let redis = Redis::start().await;
    let node = Node::start(&redis.url()).await;
    redis.must::<()>(&["ZADD", BOARD, "3", "a", "2", "b", "1", "ann"]).await;
    let client = Client::open(&node, "watch=board:g&member=ann").await;
    stands(&client, "ann", json!(2), json!(1)).await;
    redis.must::<()>(&["ZINCRBY", BOARD, "1.5", "ann"]).await;
    stands(&client, "ann", json!(1), json!(2.5)).await;
    redis.must::<()>(&["ZREM", BOARD, "ann"]).await;
    stands(&client, "ann", json!(null), json!(null)).await;
    client.send(json!({ "watch": [BOARD], "member": "b" })).await;
    stands(&client, "b", json!(1), json!(2)).await;
    client.send(json!({ "watch": ["public:x"], "member": "b" })).await;
    client
        .until("members are for boards only", SOON, |messages| {
            messages
                .iter()
                .find(|m| m["error"]["code"] == "bad_request" && m["error"]["channel"] == "public:x")
                .cloned()
        })
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_is_no_sorted_set_is_told_and_the_board_shows_once_it_is_one() {
    let _turn = beside_others().await;
    let redis = Redis::start().await;
    let node = Node::start(&redis.url()).await;
    redis.must::<()>(&["SET", BOARD, "secret"]).await;
    let client = Client::join(&node, &[BOARD]).await;
    let refused = |messages: &[Value]| messages.iter().find(|m| m["error"]["code"] == "not_an_ordered_set").cloned();
    let error = client.until("the refusal", SOON, refused).await;
    assert!(!error.to_string().contains("secret"));
    let late = Client::join(&node, &[BOARD]).await;
    late.until("the refusal of one who comes later", SOON, refused).await;
    redis.must::<()>(&["DEL", BOARD]).await;
    redis.must::<()>(&["ZADD", BOARD, "1", "ann"]).await;
    for client in [&client, &late] {
        shows(client, json!([["ann", 1]]), 1).await;
        assert!(client.messages().iter().any(|m| m["subscribed"] == BOARD), "joined as soon as there was a board");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_board_is_right_again_after_the_store_was_lost() {
    let _turn = beside_others().await;
    let mut redis = Redis::start_real().await;
    let node = Node::start(&redis.url()).await;
    redis.must::<()>(&["ZADD", BOARD, "1", "ann"]).await;
    let client = Client::join(&node, &[BOARD]).await;
    shows(&client, json!([["ann", 1]]), 1).await;
    redis.kill().await;
    redis.revive().await;
    shows(&client, json!([]), 0).await;
    redis.must::<()>(&["ZADD", BOARD, "2", "bob"]).await;
    shows(&client, json!([["bob", 2]]), 1).await;
    // What is said of the board's own connection is cut, too.
    redis.must::<()>(&["CLIENT", "KILL", "TYPE", "normal"]).await;
    redis.must::<()>(&["ZADD", BOARD, "3", "cid"]).await;
    shows(&client, json!([["cid", 3], ["bob", 2]]), 2).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_refuses_to_track_is_asked_at_every_tick() {
    let _turn = beside_others().await;
    let redis = Redis::start_real().await;
    redis.must::<()>(&["ACL", "SETUSER", "default", "-client|tracking", "-client|caching"]).await;
    let node = Node::start(&redis.url()).await;
    let client = Client::join(&node, &[BOARD]).await;
    shows(&client, json!([]), 0).await;
    redis.must::<()>(&["ZADD", BOARD, "1", "ann"]).await;
    shows(&client, json!([["ann", 1]]), 1).await;
    node.says(&["every board is read at each pace tick"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hot_board_costs_the_store_one_read_a_tick_and_one_that_nobody_watches_nothing() {
    let _turn = beside_others().await;
    let redis = Redis::start_real().await;
    let node = Node::start(&redis.url()).await;
    let client = Client::join(&node, &[BOARD]).await;
    shows(&client, json!([]), 0).await;
    let before = reads(&node).await;
    let start = tokio::time::Instant::now();
    for _ in 0..100 {
        let script = "for i = 1, 100 do redis.call('ZINCRBY', KEYS[1], 1, 'm' .. (i % 20)) end";
        redis.must::<()>(&["EVAL", script, "1", BOARD]).await;
    }
    client
        .until("the last write shows", SOON, |_| shown(&client).filter(|(top, _)| top[9][1] == 500).map(|_| ()))
        .await;
    let ticks = start.elapsed().as_millis() as i64 / 100 + 3;
    let hot = reads(&node).await - before;
    assert!(hot <= ticks, "{hot} reads in {ticks} ticks");
    client.close().await;
    eventually("nobody watches", SOON, || async {
        match node.metric("headcount_channels").await? {
            0 => Ok(()),
            n => Err(format!("{n} channels")),
        }
    })
    .await;
    let before = reads(&node).await;
    for _ in 0..20 {
        redis.must::<()>(&["ZINCRBY", BOARD, "1", "m1"]).await;
    }
    let other = Client::join(&node, &["public:x"]).await;
    other.until("the node has gone on", SOON, |m| m.iter().any(|m| m["subscribed"] == "public:x").then_some(())).await;
    assert_eq!(reads(&node).await, before);
}

async fn reads(node: &Node) -> i64 {
    node.metric("headcount_board_reads_total").await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_last_board_that_clients_hold_is_the_stores_after_random_writes() {
    let _turn = beside_others().await;
    let redis = Redis::start().await;
    let nodes = [Node::start(&redis.url()).await, Node::start(&redis.url()).await];
    let clients = [
        Client::open(&nodes[0], "watch=board:g&member=m7").await,
        Client::open(&nodes[1], "watch=board:g&member=m7").await,
    ];
    let seed = u64::from(std::process::id());
    let mut random = fastrand::Rng::with_seed(seed);
    for round in 0..5 {
        for _ in 0..200 {
            let member = format!("m{}", random.u32(..40));
            let score = format!("{}", random.i32(-50..50));
            match random.u32(..10) {
                0 => redis.must::<()>(&["ZREM", BOARD, &member]).await,
                1..5 => redis.must::<()>(&["ZINCRBY", BOARD, &score, &member]).await,
                _ => redis.must::<()>(&["ZADD", BOARD, &score, &member]).await,
            }
        }
        let top: Vec<(String, f64)> = redis.must(&["ZREVRANGE", BOARD, "0", "9", "WITHSCORES"]).await;
        let size: u64 = redis.must(&["ZCARD", BOARD]).await;
        let top = json!(top.iter().map(|(member, score)| json!([member, *score as i64])).collect::<Vec<_>>());
        let rank: Option<u64> = redis.must(&["ZREVRANK", BOARD, "m7"]).await;
        let score: Option<f64> = redis.must(&["ZSCORE", BOARD, "m7"]).await;
        for client in &clients {
            let settled = tokio::time::timeout(Duration::from_secs(10), async {
                shows(client, top.clone(), size).await;
                stands(client, "m7", json!(rank), json!(score.map(|score| score as i64))).await;
            });
            settled.await.unwrap_or_else(|_| panic!("seed {seed}, round {round}"));
        }
    }
}
