//! Redis comes and goes: the page is served, sockets are held, the state is told, and when Redis is
//! back the numbers are right.

use std::time::Duration;

use serde_json::{Value, json};

use crate::support::client::Client;
use crate::support::node::Node;
use crate::support::redis::Redis;
use crate::support::{SOON, beside_others, eventually, same, settles, stays};

const COUNT: &str = "users:count";
const NEWS: &str = "public:news";

/// How long the product may take to be right once Redis is back.
const WITHIN: Duration = Duration::from_secs(4);
const HOLD: Duration = Duration::from_secs(1);

fn states(messages: &[Value]) -> Vec<&str> {
    messages.iter().filter_map(|message| message["state"].as_str()).collect()
}

async fn is_told(client: &Client, expected: &[&str]) {
    client.until(&format!("told {expected:?}"), SOON, |m| (states(m) == expected).then_some(())).await;
}

async fn all_right(redis: &Redis, clients: &[Client]) {
    let open = clients.len() as i64;
    settles(&format!("{open} everywhere"), WITHIN, HOLD, || async {
        same("GET", redis.get(COUNT).await?, Some(open))?;
        clients.iter().try_for_each(|client| client.sees(COUNT, open))
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_start_without_redis_serves_the_page_and_is_right_once_redis_comes() {
    let _turn = beside_others().await;
    let mut redis = Redis::start().await;
    redis.kill().await;
    let nodes = [Node::on(&redis.url()).start().await, Node::on(&redis.url()).start().await];
    let mut clients = Vec::new();
    for node in [&nodes[0], &nodes[0], &nodes[1]] {
        assert_eq!(node.get("/").await.unwrap().status, 200);
        assert_eq!(node.get("/healthz").await.unwrap().status, 200);
        assert_eq!(node.get("/readyz").await.unwrap().status, 503);
        let client = Client::join(node, &[COUNT]).await;
        is_told(&client, &["degraded"]).await;
        clients.push(client);
    }
    redis.revive().await;
    all_right(&redis, &clients).await;
    for client in &clients {
        is_told(client, &["degraded", "live"]).await;
    }
    nodes[0].ready().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_outage_is_told_to_every_socket_and_closes_none() {
    let _turn = beside_others().await;
    let mut redis = Redis::start().await;
    let node = Node::start(&redis.url()).await;
    let mut clients = vec![Client::join(&node, &[COUNT]).await, Client::join(&node, &[COUNT]).await];
    all_right(&redis, &clients).await;
    assert_eq!(states(&clients[0].messages()), Vec::<&str>::new());
    redis.kill().await;
    for client in &clients {
        is_told(client, &["degraded"]).await;
    }
    eventually("/readyz is 503", SOON, || async { same("/readyz", node.get("/readyz").await?.status, 503) }).await;
    let late = Client::join(&node, &[COUNT]).await;
    is_told(&late, &["degraded"]).await;
    clients.push(late);
    drop(clients.remove(0));
    redis.revive().await;
    all_right(&redis, &clients).await;
    for client in &clients {
        is_told(client, &["degraded", "live"]).await;
        assert_eq!(client.closed(), None);
    }
    node.ready().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redis_that_answers_nothing_is_an_outage_too() {
    let _turn = beside_others().await;
    let redis = Redis::start().await;
    let node = Node::start(&redis.url()).await;
    let mut clients = vec![Client::join(&node, &[COUNT]).await];
    all_right(&redis, &clients).await;
    redis.pause().await;
    is_told(&clients[0], &["degraded"]).await;
    assert_eq!(node.get("/readyz").await.unwrap().status, 503);
    clients.push(Client::join(&node, &[COUNT]).await);
    redis.resume().await;
    all_right(&redis, &clients).await;
    is_told(&clients[0], &["degraded", "live"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn cut_connections_are_made_again_and_nothing_is_lost() {
    let _turn = beside_others().await;
    let redis = Redis::start().await;
    let nodes = [Node::start(&redis.url()).await, Node::start(&redis.url()).await];
    let mut clients = vec![Client::join(&nodes[0], &[COUNT]).await, Client::join(&nodes[1], &[COUNT]).await];
    all_right(&redis, &clients).await;
    for kind in ["pubsub", "normal"] {
        redis.must::<i64>(&["CLIENT", "KILL", "TYPE", kind]).await;
        clients.push(Client::join(&nodes[0], &[COUNT]).await);
        all_right(&redis, &clients).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn each_change_of_state_is_one_line_in_the_log() {
    let _turn = beside_others().await;
    let mut redis = Redis::start().await;
    let node = Node::start(&redis.url()).await;
    let client = Client::join(&node, &[COUNT]).await;
    client.shows(COUNT, 1).await;
    let lines = || node.log.text().lines().count();
    let before = lines();
    redis.kill().await;
    is_told(&client, &["degraded"]).await;
    eventually("a line", SOON, || async { same("new lines", lines() - before, 1) }).await;
    stays("one line, whatever is tried", HOLD * 2, || async { same("new lines", lines() - before, 1) }).await;
    redis.revive().await;
    is_told(&client, &["degraded", "live"]).await;
    eventually("a second line", SOON, || async { same("new lines", lines() - before, 2) }).await;
    stays("two lines", HOLD, || async { same("new lines", lines() - before, 2) }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_reconnects_to_an_every_channel_is_told_of_the_gap() {
    let _turn = beside_others().await;
    let redis = Redis::start().await;
    let node = Node::start(&redis.url()).await;
    let joined = |client: &Client| {
        let messages = client.messages();
        messages.into_iter().find(|m| m["subscribed"] == NEWS)
    };
    let new = Client::join(&node, &[NEWS]).await;
    assert_eq!(new.until("joined", SOON, |_| joined(&new)).await, json!({"subscribed": NEWS}));
    let back = Client::open(&node, &format!("channel={NEWS}&channel={COUNT}&reconnect=1")).await;
    assert_eq!(back.until("joined", SOON, |_| joined(&back)).await, json!({"subscribed": NEWS, "gap": true}));
    back.shows(COUNT, 1).await;
    assert!(!back.messages().iter().any(|m| m["subscribed"] == COUNT && m["gap"] == true), "a count has no gap");
    let asked = Client::join(&node, &[COUNT]).await;
    asked.send(json!({"subscribe": [NEWS], "reconnect": true})).await;
    assert_eq!(asked.until("joined", SOON, |_| joined(&asked)).await, json!({"subscribed": NEWS, "gap": true}));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_interrupted_subscription_tells_every_channels_sockets_of_the_gap() {
    let _turn = beside_others().await;
    let mut redis = Redis::start().await;
    let node = Node::start(&redis.url()).await;
    let client = Client::join(&node, &[NEWS, COUNT]).await;
    client.until("joined", SOON, |m| m.iter().any(|m| m["subscribed"] == NEWS).then_some(())).await;
    let gaps = |m: &[Value]| m.iter().filter(|m| **m == json!({"subscribed": NEWS, "gap": true})).count();
    redis.must::<i64>(&["CLIENT", "KILL", "TYPE", "pubsub"]).await;
    client.until("told of the gap", SOON, |m| (gaps(m) == 1).then_some(())).await;
    redis.must::<()>(&["PUBLISH", NEWS, "after"]).await;
    client.until("the next message", SOON, |_| client.payloads(NEWS).contains(&"after".into()).then_some(())).await;
    redis.kill().await;
    redis.revive().await;
    client.until("told of the second gap", SOON, |m| (gaps(m) == 2).then_some(())).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_value_that_waited_for_its_turn_does_not_come_after_a_newer_one() {
    let _turn = beside_others().await;
    let redis = Redis::start().await;
    let slowly = Node::on(&redis.url()).set("LIMITS__PUSHES_PER_SECOND", "1").set("PRESENCE__QUIET", "5s");
    let node = slowly.start().await;
    node.ready().await;
    let first = Client::join(&node, &[COUNT]).await;
    first.shows(COUNT, 1).await;
    let _second = Client::join(&node, &[COUNT]).await;
    first.shows(COUNT, 2).await;
    // Its number waits for the next second, and before that the subscription is made anew.
    let third = Client::join(&node, &[COUNT]).await;
    eventually("it is counted", SOON, || async { same("GET", redis.get(COUNT).await?, Some(3)) }).await;
    redis.must::<i64>(&["INCRBY", COUNT, "10"]).await;
    redis.must::<i64>(&["CLIENT", "KILL", "TYPE", "pubsub"]).await;
    settles("13 everywhere, for good", SOON, HOLD * 2, || async {
        first.sees(COUNT, 13)?;
        third.sees(COUNT, 13)
    })
    .await;
    let told: Vec<i64> = first.messages().iter().filter_map(|message| message["data"].as_i64()).collect();
    assert!(told.is_sorted(), "{told:?}");
}
