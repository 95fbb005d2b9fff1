//! The number is the number of open sockets, on every server and for every other program.

use crate::support::client::Client;
use crate::support::node::Node;
use crate::support::redis::Redis;
use crate::support::{SOON, beside_others, eventually, same};

const COUNT: &str = "users:count";

async fn everybody_sees(redis: &Redis, clients: &[Client], value: i64) {
    eventually(&format!("everybody sees {value}"), SOON, || async {
        same("GET", redis.get(COUNT).await?, Some(value))?;
        clients.iter().try_for_each(|client| client.sees(COUNT, value))
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_servers_show_the_number_of_open_sockets() {
    let _turn = beside_others().await;
    let redis = Redis::start().await;
    let nodes = [Node::start(&redis.url()).await, Node::start(&redis.url()).await];
    let mut clients = Vec::new();
    for number in 1..=8 {
        clients.push(Client::join(&nodes[number % 2], &[COUNT]).await);
        everybody_sees(&redis, &clients, clients.len() as i64).await;
    }
    while let Some(client) = clients.pop() {
        if clients.len() % 3 == 0 {
            client.close().await
        } else {
            drop(client)
        }
        everybody_sees(&redis, &clients, clients.len() as i64).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_socket_that_names_no_channel_is_counted_on_the_default_one() {
    let _turn = beside_others().await;
    let redis = Redis::start().await;
    let node = Node::start(&redis.url()).await;
    let client = Client::open(&node, "").await;
    everybody_sees(&redis, &[client], 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_key_is_a_plain_zero_before_anybody_came() {
    let _turn = beside_others().await;
    let redis = Redis::start().await;
    let _node = Node::start(&redis.url()).await;
    everybody_sees(&redis, &[], 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn another_programs_increment_and_publish_show_everywhere() {
    let _turn = beside_others().await;
    let redis = Redis::start().await;
    let nodes = [Node::start(&redis.url()).await, Node::start(&redis.url()).await];
    let clients = [Client::join(&nodes[0], &[COUNT]).await, Client::join(&nodes[1], &[COUNT]).await];
    everybody_sees(&redis, &clients, 2).await;
    let value: i64 = redis.must(&["INCR", COUNT]).await;
    redis.must::<()>(&["PUBLISH", COUNT, &value.to_string()]).await;
    everybody_sees(&redis, &clients, 3).await;
    let value: i64 = redis.must(&["DECR", COUNT]).await;
    redis.must::<()>(&["PUBLISH", COUNT, &value.to_string()]).await;
    everybody_sees(&redis, &clients, 2).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_published_number_that_is_not_the_keys_is_set_right() {
    let _turn = beside_others().await;
    let redis = Redis::start().await;
    let node = Node::start(&redis.url()).await;
    let clients = [Client::join(&node, &[COUNT]).await];
    everybody_sees(&redis, &clients, 1).await;
    redis.must::<()>(&["PUBLISH", COUNT, "77"]).await;
    clients[0].until("77 comes through", SOON, |_| clients[0].payloads(COUNT).contains(&77.into()).then_some(())).await;
    everybody_sees(&redis, &clients, 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_installations_with_prefixes_share_a_redis_and_nothing_else() {
    let _turn = beside_others().await;
    let redis = Redis::start().await;
    let one = Node::on(&redis.url()).set("REDIS__KEY_PREFIX", "one:").start().await;
    let two = Node::on(&redis.url()).set("REDIS__KEY_PREFIX", "two:").start().await;
    one.ready().await;
    two.ready().await;
    let first = Client::join(&one, &[COUNT, "public:news"]).await;
    let second = Client::join(&two, &[COUNT, "public:news"]).await;
    let third = Client::join(&two, &[COUNT]).await;
    first.shows(COUNT, 1).await;
    second.shows(COUNT, 2).await;
    third.shows(COUNT, 2).await;
    eventually("each its own key", SOON, || async {
        same("one", redis.get("one:users:count").await?, Some(1))?;
        same("two", redis.get("two:users:count").await?, Some(2))
    })
    .await;
    redis.must::<()>(&["PUBLISH", "one:public:news", "\"mine\""]).await;
    first.until("the message", SOON, |_| first.payloads("public:news").contains(&"mine".into()).then_some(())).await;
    redis.must::<()>(&["PUBLISH", "two:public:news", "\"theirs\""]).await;
    second
        .until("the message", SOON, |_| second.payloads("public:news").contains(&"theirs".into()).then_some(()))
        .await;
    assert_eq!(first.payloads("public:news").len(), 1);
    assert_eq!(second.payloads("public:news").len(), 1);
    let keys: Vec<String> = redis.must(&["KEYS", "*"]).await;
    // A node that serves the embedded store is a third installation, without a prefix.
    let unprefixed: &[&str] = if redis.nodes() > 0 { &["headcount:v1:nodes", COUNT] } else { &[] };
    let known =
        |key: &&String| key.starts_with("one:") || key.starts_with("two:") || unprefixed.contains(&key.as_str());
    assert_eq!(keys.iter().find(|key| !known(key)), None);
}
