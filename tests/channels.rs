//! Clients join, watch and leave channels while connected, and the config says which there are.

use serde_json::json;

use crate::support::client::Client;
use crate::support::node::Node;
use crate::support::redis::Redis;
use crate::support::{SOON, beside_others, eventually, same};

#[tokio::test(flavor = "multi_thread")]
async fn a_client_joins_and_leaves_channels_while_connected() {
    let _turn = beside_others().await;
    let redis = Redis::start().await;
    let nodes = [Node::start(&redis.url()).await, Node::start(&redis.url()).await];
    let one = Client::join(&nodes[0], &["page:/a"]).await;
    one.shows("page:/a", 1).await;
    let two = Client::join(&nodes[1], &["page:/b"]).await;
    let reply = two.subscribe("page:/a").await;
    assert_eq!(reply["subscribed"], "page:/a");
    one.shows("page:/a", 2).await;
    two.shows("page:/a", 2).await;
    two.shows("page:/b", 1).await;
    assert_eq!(two.unsubscribe("page:/a").await, json!({"unsubscribed": "page:/a"}));
    one.shows("page:/a", 1).await;
    eventually("two keys", SOON, || async {
        same("page:/a", redis.get("page:/a").await?, Some(1))?;
        same("page:/b", redis.get("page:/b").await?, Some(1))
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_message_may_ask_for_several_things() {
    let _turn = beside_others().await;
    let redis = Redis::start().await;
    let node = Node::start(&redis.url()).await;
    let client = Client::join(&node, &["page:/a"]).await;
    client.send(json!({"subscribe": ["page:/b", "page:/c"], "watch": ["page:/d"], "unsubscribe": ["page:/a"]})).await;
    client
        .until("four answers", SOON, |messages| {
            let told = |key: &str, channel: &str| messages.iter().any(|m| m[key] == channel);
            (told("subscribed", "page:/b")
                && told("subscribed", "page:/c")
                && told("watching", "page:/d")
                && told("unsubscribed", "page:/a"))
            .then_some(())
        })
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_joiner_gets_the_current_value_at_once() {
    let _turn = beside_others().await;
    let redis = Redis::start().await;
    let node = Node::start(&redis.url()).await;
    let first = Client::join(&node, &["page:/a"]).await;
    first.shows("page:/a", 1).await;
    let watcher = Client::join(&node, &["users:count"]).await;
    assert_eq!(watcher.watch("page:/a").await, json!({"watching": "page:/a", "data": 1}));
}

#[tokio::test(flavor = "multi_thread")]
async fn watching_shows_the_number_and_is_not_counted() {
    let _turn = beside_others().await;
    let redis = Redis::start().await;
    let nodes = [Node::start(&redis.url()).await, Node::start(&redis.url()).await];
    let watcher = Client::open(&nodes[0], "watch=page:/a").await;
    let member = Client::join(&nodes[1], &["page:/a"]).await;
    watcher.shows("page:/a", 1).await;
    member.shows("page:/a", 1).await;
    assert_eq!(redis.get("page:/a").await, Ok(Some(1)));
    drop(member);
    watcher.shows("page:/a", 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn joining_twice_counts_once() {
    let _turn = beside_others().await;
    let redis = Redis::start().await;
    let node = Node::start(&redis.url()).await;
    let client = Client::join(&node, &["page:/a", "page:/a"]).await;
    client.subscribe("page:/a").await;
    let other = Client::join(&node, &["page:/a"]).await;
    other.shows("page:/a", 2).await;
    client.unsubscribe("page:/a").await;
    other.shows("page:/a", 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_channel_that_no_pattern_allows_is_an_error_to_that_client_and_nothing_more() {
    let _turn = beside_others().await;
    let redis = Redis::start().await;
    let node = Node::start(&redis.url()).await;
    let client = Client::join(&node, &["secret", "page:/a"]).await;
    let forbidden =
        client.until("the error", SOON, |messages| messages.iter().find(|m| !m["error"].is_null()).cloned()).await;
    assert_eq!(forbidden["error"]["code"], "forbidden");
    assert_eq!(forbidden["error"]["channel"], "secret");
    assert!(forbidden["error"]["message"].is_string(), "{forbidden}");
    for channel in ["other", "users:count2", "page:", "pagex:/a"] {
        let reply = client.subscribe(channel).await;
        assert_eq!(reply["error"]["code"], "forbidden", "{channel:?}: {reply}");
        let reply = client.watch(channel).await;
        assert_eq!(reply["error"]["code"], "forbidden", "{channel:?}: {reply}");
    }
    for channel in ["headcount:v1:nodes", "page:/{a}", ""] {
        let reply = client.subscribe(channel).await;
        assert!(
            reply["error"]["code"] == "bad_request" || reply["error"]["code"] == "forbidden",
            "{channel:?}: {reply}"
        );
    }
    client.shows("page:/a", 1).await;
    redis.must::<()>(&["PUBLISH", "secret", "1"]).await;
    assert_eq!(client.subscribe("page:/b").await["subscribed"], "page:/b");
    assert_eq!(client.payloads("secret").len(), 0);
    assert_eq!(client.closed(), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_socket_may_have_64_channels_and_no_more() {
    let _turn = beside_others().await;
    let redis = Redis::start().await;
    let node = Node::start(&redis.url()).await;
    let client = Client::join(&node, &["page:/0"]).await;
    let more: Vec<String> = (1..64).map(|n| format!("page:/{n}")).collect();
    client.send(json!({ "subscribe": more })).await;
    client.shows("page:/63", 1).await;
    assert_eq!(client.subscribe("page:/64").await["error"]["code"], "too_many_channels");
    client.unsubscribe("page:/0").await;
    assert_eq!(client.subscribe("page:/64").await["subscribed"], "page:/64");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_config_says_how_many_channels_a_socket_may_have() {
    let _turn = beside_others().await;
    let redis = Redis::start().await;
    let node = Node::on(&redis.url()).set("LIMITS__CHANNELS_PER_CLIENT", "2").start().await;
    node.ready().await;
    let client = Client::open(&node, "channel=page:/a&channel=page:/b&watch=page:/c").await;
    let refused = client.until("the error", SOON, |m| m.iter().find(|m| !m["error"].is_null()).cloned()).await;
    assert_eq!(
        (&refused["error"]["code"], &refused["error"]["channel"]),
        (&"too_many_channels".into(), &"page:/c".into())
    );
    client.unsubscribe("page:/a").await;
    assert_eq!(client.watch("page:/c").await["watching"], "page:/c");
    assert_eq!(client.subscribe("page:/d").await["error"]["code"], "too_many_channels");
    client.shows("page:/b", 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn channel_names_in_the_address_are_percent_encoded() {
    let _turn = beside_others().await;
    let redis = Redis::start().await;
    let node = Node::start(&redis.url()).await;
    let client = Client::open(&node, "channel=page%3A%2Fcaf%C3%A9%26more").await;
    client.shows("page:/caf\u{e9}&more", 1).await;
    assert_eq!(redis.get("page:/caf\u{e9}&more").await, Ok(Some(1)));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_config_says_which_channels_there_are() {
    let _turn = beside_others().await;
    let redis = Redis::start().await;
    let config = "channels = [\
        { pattern = \"lobby\", count = \"sockets\", deliver = \"latest\" },\
        { pattern = \"room:*\", count = \"sockets\", deliver = \"latest\" }]";
    let node = Node::on(&redis.url()).config(config).start().await;
    node.ready().await;
    let client = Client::join(&node, &["room:1"]).await;
    client.shows("room:1", 1).await;
    assert_eq!(client.subscribe("page:/a").await["error"]["code"], "forbidden");
    // The one that is named exactly is the default.
    Client::open(&node, "").await.shows("lobby", 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_of_another_application_is_not_counted_on() {
    let _turn = beside_others().await;
    let redis = Redis::start().await;
    let node = Node::start(&redis.url()).await;
    redis.must::<()>(&["SET", "page:/stock", "12"]).await;
    redis.must::<()>(&["SET", "page:/text", "words"]).await;
    redis.must::<()>(&["RPUSH", "page:/list", "1"]).await;
    let client = Client::join(&node, &["page:/stock", "page:/text", "page:/list", "page:/mine"]).await;
    client.shows("page:/mine", 1).await;
    for channel in ["page:/stock", "page:/text", "page:/list"] {
        client
            .until(&format!("{channel} is refused"), SOON, |messages| {
                messages
                    .iter()
                    .any(|m| m["error"]["code"] == "refused" && m["error"]["channel"] == channel)
                    .then_some(())
            })
            .await;
    }
    assert_eq!(redis.must::<String>(&["GET", "page:/stock"]).await, "12");
    assert_eq!(redis.must::<String>(&["GET", "page:/text"]).await, "words");
    assert_eq!(redis.must::<i64>(&["LLEN", "page:/list"]).await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_that_nobody_has_open_leaves_no_key_behind() {
    let _turn = beside_others().await;
    let redis = Redis::start().await;
    let node = Node::start(&redis.url()).await;
    let client = Client::join(&node, &["page:/a"]).await;
    client.shows("page:/a", 1).await;
    drop(client);
    eventually("no key of page:/a", SOON, || async {
        let keys: Vec<String> = redis.run(&["KEYS", "*page:/a*"]).await?;
        same("keys", keys, Vec::new())
    })
    .await;
    assert_eq!(redis.get("users:count").await, Ok(Some(0)));
}
