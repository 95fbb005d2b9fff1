//! What is published on a channel reaches exactly the sockets that joined it, on every server.

use serde_json::{Value, json};

use crate::support::client::Client;
use crate::support::node::Node;
use crate::support::redis::{Redis, connect};
use crate::support::{SOON, beside_others, eventually, same};

const NEWS: &str = "public:news";

async fn publish(redis: &Redis, channel: &str, payloads: impl IntoIterator<Item = String>) {
    let mut connection = connect(&redis.url()).await.unwrap();
    let mut pipeline = redis::pipe();
    for payload in payloads {
        pipeline.cmd("PUBLISH").arg(channel).arg(payload).ignore();
    }
    pipeline.query_async::<()>(&mut connection).await.unwrap();
}

async fn gets(client: &Client, channel: &str, payload: impl Into<Value>) {
    let payload = payload.into();
    client
        .until(&format!("{payload} on {channel}"), SOON, |_| client.payloads(channel).contains(&payload).then_some(()))
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_every_channel_delivers_each_message_in_order_to_its_own_sockets_only() {
    let _turn = beside_others().await;
    let redis = Redis::start().await;
    let nodes = [Node::start(&redis.url()).await, Node::start(&redis.url()).await];
    let readers = [
        Client::join(&nodes[0], &[NEWS]).await,
        Client::join(&nodes[0], &[NEWS, "users:count"]).await,
        Client::join(&nodes[1], &[NEWS]).await,
    ];
    let others = [Client::join(&nodes[0], &["public:other"]).await, Client::join(&nodes[1], &["users:count"]).await];
    for client in &readers {
        client.until("joined", SOON, |m| m.iter().any(|m| m["subscribed"] == NEWS).then_some(())).await;
    }
    publish(&redis, NEWS, (0..2_000).map(|n| n.to_string())).await;
    let all: Vec<Value> = (0..2_000).map(Value::from).collect();
    for reader in &readers {
        gets(reader, NEWS, 1_999).await;
        assert_eq!(reader.payloads(NEWS), all);
    }
    for other in &others {
        assert_eq!(other.payloads(NEWS), Vec::<Value>::new());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_latest_channel_delivers_the_newest_message_and_never_an_older_one_after_it() {
    let _turn = beside_others().await;
    let redis = Redis::start().await;
    let config = "channels = [\
        { pattern = \"users:count\", count = \"sockets\", deliver = \"latest\" },\
        { pattern = \"ticker:*\", count = \"none\", deliver = \"latest\" }]";
    let node = Node::on(&redis.url()).config(config).start().await;
    node.ready().await;
    let client = Client::join(&node, &["ticker:a"]).await;
    client.until("joined", SOON, |m| m.iter().any(|m| m["subscribed"] == "ticker:a").then_some(())).await;
    publish(&redis, "ticker:a", (0..=2_000).map(|n| n.to_string())).await;
    gets(&client, "ticker:a", 2_000).await;
    let got: Vec<i64> = client.payloads("ticker:a").iter().filter_map(Value::as_i64).collect();
    assert!(got.is_sorted(), "{got:?}");
    assert!(got.len() < 200, "{} pushes are not the latest but the backlog", got.len());
    assert_eq!(got.last(), Some(&2_000));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_that_is_no_number_passes_on_a_count_channel() {
    let _turn = beside_others().await;
    let redis = Redis::start().await;
    let nodes = [Node::start(&redis.url()).await, Node::start(&redis.url()).await];
    let clients = [Client::join(&nodes[0], &["users:count"]).await, Client::join(&nodes[1], &["users:count"]).await];
    clients[0].shows("users:count", 2).await;
    publish(&redis, "users:count", ["hello".into(), "again".into()]).await;
    for client in &clients {
        gets(client, "users:count", "hello").await;
        gets(client, "users:count", "again").await;
    }
    assert_eq!(redis.get("users:count").await, Ok(Some(2)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_payload_arrives_as_json_as_text_or_as_base64() {
    let _turn = beside_others().await;
    let redis = Redis::start().await;
    let node = Node::start(&redis.url()).await;
    let client = Client::join(&node, &[NEWS]).await;
    client.until("joined", SOON, |m| m.iter().any(|m| m["subscribed"] == NEWS).then_some(())).await;
    let texts = ["{\"a\":[1,null]}", "\"quoted\"", "plain", "1e3", "", "{broken", "\u{1F980} \"\\ \n\u{1}"];
    publish(&redis, NEWS, texts.map(String::from)).await;
    let mut connection = connect(&redis.url()).await.unwrap();
    redis::cmd("PUBLISH").arg(NEWS).arg(&[0xff_u8, 0x00, 0x01][..]).query_async::<()>(&mut connection).await.unwrap();
    client.until("the bytes", SOON, |m| m.iter().any(|m| m["base64"] == true).then_some(())).await;
    let messages = client.messages();
    let news: Vec<&Value> = messages.iter().filter(|m| m["channel"] == NEWS).collect();
    let expected = [
        json!({"a": [1, null]}),
        json!("quoted"),
        json!("plain"),
        json!(1000.0),
        json!(""),
        json!("{broken"),
        json!("\u{1F980} \"\\ \n\u{1}"),
    ];
    for (message, expected) in news.iter().zip(&expected) {
        assert_eq!(message["data"], *expected);
        assert!(message["base64"].is_null(), "{message}");
    }
    assert_eq!(news.last().unwrap()["data"], "/wAB");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_is_subscribed_to_just_the_channels_that_its_clients_have() {
    let _turn = beside_others().await;
    let redis = Redis::start().await;
    let nodes = [Node::start(&redis.url()).await, Node::start(&redis.url()).await];
    let joined = ["page:/a", "public:x"];
    let settled = |expected: [i64; 2]| {
        let redis = &redis;
        async move {
            eventually(&format!("{expected:?} subscriptions"), SOON, || async {
                same("NUMSUB", redis.subscribers(&joined).await?, expected.to_vec())
            })
            .await;
        }
    };
    let first = Client::join(&nodes[0], &["page:/a"]).await;
    settled([1, 0]).await;
    assert_eq!(redis.channels().await, Ok(vec!["page:/a".to_owned()]));
    let second = Client::join(&nodes[0], &["page:/a", "public:x"]).await;
    settled([1, 1]).await;
    let third = Client::open(&nodes[1], "watch=page:/a").await;
    settled([2, 1]).await;
    first.unsubscribe("page:/a").await;
    second.unsubscribe("public:x").await;
    settled([2, 0]).await;
    second.close().await;
    settled([1, 0]).await;
    drop(third);
    settled([0, 0]).await;
}
