//! Redis comes and goes: the page is served, sockets are held, the state is told, and when Redis is
//! back the numbers are right.

use std::time::Duration;

use serde_json::{Value, json};

use crate::support::client::Client;
use crate::support::kinds::Kinds;
use crate::support::link::{Link, Mode};
use crate::support::node::Node;
use crate::support::redis::Redis;
use crate::support::tabs::Tabs;
use crate::support::{SOON, beside_others, eventually, same, settles, stays};

const COUNT: &str = "users:count";
const NEWS: &str = "public:news";

/// How long the product may take to be right once Redis is back.
const WITHIN: Duration = Duration::from_secs(4);
const HOLD: Duration = Duration::from_secs(1);
/// The default of `presence.heartbeat`.
const HEARTBEAT: Duration = Duration::from_millis(500);
/// How long a visitor lingers.
const LINGER: Duration = Duration::from_secs(1);

fn states(messages: &[Value]) -> Vec<&str> {
    messages.iter().filter_map(|message| message["state"].as_str()).collect()
}

async fn is_told(client: &Client, expected: &[&str]) {
    client.until(&format!("told {expected:?}"), SOON, |m| (states(m) == expected).then_some(())).await;
}

/// Two servers, people on both, and whatever is counted.
struct Scene {
    redis: Redis,
    kinds: Kinds,
    nodes: Vec<Node>,
    tabs: Tabs,
}

impl Scene {
    async fn begin() -> Scene {
        let redis = Redis::start().await;
        Scene { redis, kinds: Kinds::new(), nodes: Vec::new(), tabs: Tabs::default() }
    }

    async fn serve(&mut self, number: usize) {
        for _ in 0..number {
            self.nodes.push(self.kinds.start(&self.redis).await);
        }
    }

    /// Somebody comes to one of the servers, or opens another tab.
    async fn comes(&mut self, node: usize, who: u32) {
        self.tabs.open(&self.nodes[node], who).await;
    }

    async fn all_right(&self) {
        self.all_right_within(WITHIN).await;
    }

    async fn all_right_within(&self, within: Duration) {
        self.tabs.come_right("at last", &self.redis, within, HOLD).await;
    }

    async fn everybody_is_told(&self, expected: &[&str]) {
        for client in self.tabs.clients() {
            is_told(client, expected).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_start_without_redis_serves_the_page_and_is_right_once_redis_comes() {
    let _turn = beside_others().await;
    let mut scene = Scene::begin().await;
    scene.redis.kill().await;
    for _ in 0..2 {
        let node = scene.kinds.on(&scene.redis).start().await;
        scene.nodes.push(node);
    }
    for (node, who) in [(0, 1), (0, 2), (1, 1), (1, 3)] {
        assert_eq!(scene.nodes[node].get("/").await.unwrap().status, 200);
        assert_eq!(scene.nodes[node].get("/healthz").await.unwrap().status, 200);
        assert_eq!(scene.nodes[node].get("/readyz").await.unwrap().status, 503);
        scene.comes(node, who).await;
    }
    scene.everybody_is_told(&["degraded"]).await;
    scene.redis.revive().await;
    scene.all_right().await;
    scene.everybody_is_told(&["degraded", "live"]).await;
    scene.nodes[0].ready().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_outage_is_told_to_every_socket_and_closes_none() {
    let _turn = beside_others().await;
    let mut scene = Scene::begin().await;
    scene.serve(1).await;
    scene.comes(0, 1).await;
    scene.comes(0, 2).await;
    scene.all_right().await;
    scene.everybody_is_told(&[]).await;
    scene.redis.kill().await;
    scene.everybody_is_told(&["degraded"]).await;
    let node = &scene.nodes[0];
    eventually("/readyz is 503", SOON, || async { same("/readyz", node.get("/readyz").await?.status, 503) }).await;
    for who in [2, 3] {
        scene.comes(0, who).await;
    }
    scene.everybody_is_told(&["degraded"]).await;
    scene.tabs.close_oldest();
    scene.redis.revive().await;
    scene.all_right().await;
    scene.everybody_is_told(&["degraded", "live"]).await;
    assert!(scene.tabs.clients().all(|client| client.closed().is_none()));
    scene.nodes[0].ready().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redis_that_answers_nothing_is_an_outage_too() {
    let _turn = beside_others().await;
    let mut scene = Scene::begin().await;
    scene.serve(2).await;
    scene.comes(0, 1).await;
    scene.comes(1, 2).await;
    scene.all_right().await;
    scene.redis.pause().await;
    scene.everybody_is_told(&["degraded"]).await;
    assert_eq!(scene.nodes[0].get("/readyz").await.unwrap().status, 503);
    scene.comes(0, 2).await;
    scene.comes(0, 3).await;
    scene.redis.resume().await;
    scene.all_right().await;
    scene.everybody_is_told(&["degraded", "live"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn cut_connections_are_made_again_and_nothing_is_lost() {
    let _turn = beside_others().await;
    let mut scene = Scene::begin().await;
    scene.serve(2).await;
    scene.comes(0, 1).await;
    scene.comes(1, 2).await;
    scene.all_right().await;
    for (who, kind) in [(2, "pubsub"), (3, "normal")] {
        scene.redis.must::<i64>(&["CLIENT", "KILL", "TYPE", kind]).await;
        scene.comes(0, who).await;
        scene.all_right().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_is_on_a_node_that_is_cut_off_has_gone_until_it_is_back_and_nobody_else_has() {
    let _turn = beside_others().await;
    let mut scene = Scene::begin().await;
    let link = Link::to(scene.redis.port()).await;
    scene.serve(1).await;
    let far = scene.kinds.at(&link.url()).start().await;
    far.ready().await;
    scene.nodes.push(far);
    // The second person has a tab on either.
    for (node, who) in [(0, 1), (0, 2), (1, 2), (1, 3)] {
        scene.comes(node, who).await;
    }
    scene.all_right().await;
    for mode in [Mode::Cut, Mode::Silent, Mode::Deaf] {
        link.set(mode);
        scene.tabs.cut_off(Some(&scene.nodes[1]));
        // One whose requests still arrive is there until the last of them, a heartbeat later.
        scene.all_right_within(if mode == Mode::Deaf { WITHIN + HEARTBEAT } else { WITHIN }).await;
        link.set(Mode::Open);
        scene.tabs.cut_off(None);
        scene.all_right().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn somebody_who_moves_while_the_store_is_away_is_told_to_nobody() {
    let _turn = beside_others().await;
    let mut scene = Scene::begin().await;
    scene.serve(2).await;
    for (node, who) in [(0, 1), (0, 2), (1, 3)] {
        scene.comes(node, who).await;
    }
    scene.all_right().await;
    scene.redis.pause().await;
    scene.everybody_is_told(&["degraded"]).await;
    // A click from page to page, by way of a balancer, for longer than anybody lingers.
    scene.comes(1, 1).await;
    scene.tabs.close_oldest();
    stays("the store is away for a while", LINGER * 2, || async { Ok(()) }).await;
    scene.redis.resume().await;
    scene.all_right().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn each_change_of_state_is_one_line_in_the_log() {
    let _turn = beside_others().await;
    let mut redis = Redis::start().await;
    let node = Node::start(&redis.url()).await;
    let client = Client::join(&node, &[COUNT]).await;
    client.shows(COUNT, 1).await;
    node.says(&["live: "]).await;
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
