//! Tokens that are taken back: who has one is closed on every server, and does not get in again.

use serde_json::json;
use tokio::time::timeout;

use crate::support::client::Client;
use crate::support::http::request;
use crate::support::node::{Node, headcount};
use crate::support::redis::Redis;
use crate::support::tokens::{Auth, now, open, token, token_of};
use crate::support::{SOON, beside_others, eventually, same};

/// Runs `headcount revoke` and returns what it says.
async fn revoke(redis: &Redis, arguments: &[&str]) -> String {
    let output = headcount().arg("revoke").args(arguments).args(["--redis-url", &redis.url()]).output();
    let output = timeout(SOON, output).await.expect("it ends").unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

async fn is_kept_out(node: &Node, token: &str) {
    let header = format!("Authorization: Bearer {token}");
    let reply = request(node.address, "GET", "/events?channel=room:1", &[&header]).await.unwrap();
    assert!(reply.status == 401 && reply.text().contains("revoked"), "{} {}", reply.status, reply.text());
}

async fn is_closed(client: &Client) {
    let closed = client.closes(SOON).await;
    assert_eq!((closed.code, closed.reason.as_str()), (Some(4005), "the token was revoked"));
}

/// Waits until it has joined.
async fn joined(client: &Client, channel: &str) {
    client
        .until("it has joined", SOON, |all| all.iter().find(|object| object["subscribed"] == channel).map(drop))
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_is_revoked_is_closed_on_all_servers_at_once_and_nobody_else_misses_a_message() {
    let _place = beside_others().await;
    let (redis, auth) = (Redis::start().await, Auth::new());
    // So long that a visitor who lingered would be seen.
    let config = auth.config("").replace(r#"count = "visitors","#, r#"count = "visitors", linger = "60s","#);
    let mut nodes = Vec::new();
    for _ in 0..3 {
        let node = Node::on(&redis.url()).set("PRESENCE__REPAIR", "1h").config(&config).start().await;
        node.ready().await;
        nodes.push(node);
    }
    let (ann, bob) = (token_of("ann", "*"), token_of("bob", "*"));
    let (mut hers, mut his) = (Vec::new(), Vec::new());
    for node in nodes.iter().cycle().take(9) {
        hers.push(open(node, "channel=room:1&channel=news:1", &ann).await.unwrap());
        his.push(open(node, "channel=room:1&channel=news:1", &bob).await.unwrap());
    }
    for client in hers.iter().chain(&his) {
        joined(client, "news:1").await;
    }
    eventually("two people", SOON, || async { same("GET", redis.get("room:1").await?, Some(2)) }).await;
    for n in 0..50 {
        his[0].send(json!({ "publish": { "channel": "news:1", "data": n } })).await;
    }
    let said = revoke(&redis, &["sub:ann", "--for", "1h"]).await;
    assert!(said.contains("sub:ann is revoked until 2"), "{said}");
    for n in 50..100 {
        his[0].send(json!({ "publish": { "channel": "news:1", "data": n } })).await;
    }
    for client in &hers {
        is_closed(client).await;
    }
    eventually("she is not counted any more", SOON, || async { same("GET", redis.get("room:1").await?, Some(1)) })
        .await;
    for node in &nodes {
        is_kept_out(node, &ann).await;
        assert!(open(node, "channel=room:1", &ann).await.is_err());
    }
    for client in &his {
        let all =
            client.until("all of it", SOON, |_| Some(client.payloads("news:1")).filter(|all| all.len() == 100)).await;
        assert_eq!(all, (0..100).map(serde_json::Value::from).collect::<Vec<_>>());
        assert_eq!(client.closed(), None);
    }
    // Neither does a token that she shows on a socket of a stranger's.
    let stranger = Client::open(&nodes[0], "channel=lobby").await;
    stranger.send(json!({ "token": ann })).await;
    stranger
        .until("it is refused", SOON, |all| all.iter().find(|one| one["error"]["code"] == "bad_token").map(drop))
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_token_of_somebody_can_be_revoked_and_the_others_stay() {
    let _place = beside_others().await;
    let (redis, auth) = (Redis::start().await, Auth::new());
    let node = auth.node(&redis.url()).start().await;
    node.ready().await;
    let of = |jti: &str| token(json!({ "sub": "ann", "jti": jti, "headcount": { "join": ["*"] } }));
    let lost = open(&node, "channel=room:1", &of("lost")).await.unwrap();
    let kept = open(&node, "channel=room:1", &of("kept")).await.unwrap();
    for client in [&lost, &kept] {
        joined(client, "room:1").await;
    }
    revoke(&redis, &["jti:lost"]).await;
    is_closed(&lost).await;
    is_kept_out(&node, &of("lost")).await;
    assert_eq!(kept.subscribe("room:2").await["subscribed"], "room:2");
    let until = redis.must::<f64>(&["ZSCORE", "headcount:v1:revoked", "jti:lost"]).await;
    let hours = (until / 1000.0 - now() as f64) / 3600.0;
    assert!((23.0..25.0).contains(&hours), "{hours}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_was_cut_off_catches_up_and_a_repair_finds_what_nobody_announced() {
    let _place = beside_others().await;
    for (repair, cut) in [("1h", true), ("1s", false)] {
        let (redis, auth) = (Redis::start_real().await, Auth::new());
        let node = Node::on(&redis.url()).set("PRESENCE__REPAIR", repair).config(&auth.config("")).start().await;
        node.ready().await;
        let (ann, until) = (token_of("ann", "*"), ((now() + 60) * 1000).to_string());
        let client = open(&node, "channel=room:1", &ann).await.unwrap();
        joined(&client, "room:1").await;
        let subscribed = || async { same("subscribers", redis.subscribers(&["headcount:v1:revoked"]).await?, vec![1]) };
        eventually("the server listens", SOON, subscribed).await;
        redis.must::<i64>(&["ZADD", "headcount:v1:revoked", &until, "sub:ann"]).await;
        if cut {
            // As if the announcement had come while the server was away.
            redis.must::<i64>(&["CLIENT", "KILL", "TYPE", "pubsub"]).await;
        }
        is_closed(&client).await;
        is_kept_out(&node, &ann).await;
        // Who is taken out of the set is let in again.
        redis.must::<i64>(&["ZREM", "headcount:v1:revoked", "sub:ann"]).await;
        if cut {
            redis.must::<i64>(&["CLIENT", "KILL", "TYPE", "pubsub"]).await;
        }
        eventually("she is let in", SOON, || async { open(&node, "channel=room:1", &ann).await.map(drop) }).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nonsense_in_the_set_and_on_the_channel_harms_nobody() {
    let _place = beside_others().await;
    let (redis, auth) = (Redis::start_real().await, Auth::new());
    let node = Node::on(&redis.url()).set("PRESENCE__REPAIR", "1s").config(&auth.config("")).start().await;
    node.ready().await;
    let client = open(&node, "channel=room:1", &token_of("ann", "*")).await.unwrap();
    joined(&client, "room:1").await;
    for name in ["ann", "sub:", "", "*", "sub:*", &"x".repeat(100_000)] {
        redis.must::<i64>(&["ZADD", "headcount:v1:revoked", "inf", name]).await;
        redis.must::<i64>(&["PUBLISH", "headcount:v1:revoked", name]).await;
    }
    redis.must::<i64>(&["ZADD", "headcount:v1:revoked", "-inf", "sub:ann"]).await;
    let bob = open(&node, "channel=room:1", &token_of("bob", "*")).await.unwrap();
    joined(&bob, "room:1").await;
    redis.must::<i64>(&["PUBLISH", "headcount:v1:revoked", "sub:bob"]).await;
    is_closed(&bob).await;
    assert_eq!(client.closed(), None);
    redis.must::<i64>(&["DEL", "headcount:v1:revoked"]).await;
    redis.must::<redis::Value>(&["SET", "headcount:v1:revoked", "a text"]).await;
    redis.must::<i64>(&["PUBLISH", "headcount:v1:revoked", "sub:ann"]).await;
    is_closed(&client).await;
    assert_eq!(Client::open(&node, "channel=lobby").await.subscribe("public:1").await["subscribed"], "public:1");
}

#[tokio::test]
async fn what_cannot_be_revoked_is_refused_with_what_can() {
    for bad in ["ann", "sub:", "sub:a\nb", ""] {
        let output = timeout(SOON, headcount().args(["revoke", bad]).output()).await.expect("it ends").unwrap();
        assert_eq!(output.status.code(), Some(2));
        assert!(String::from_utf8_lossy(&output.stderr).contains("sub:NAME"), "{output:?}");
    }
    let output = headcount().args(["revoke", "sub:ann", "--redis-url", "redis://127.0.0.1:1"]).output();
    let output = timeout(SOON, output).await.expect("it ends").unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("try again"), "{output:?}");
}
