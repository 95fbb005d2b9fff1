//! Joining with a token, and what becomes of a client whose token ends.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::support::client::Client;
use crate::support::http::request;
use crate::support::node::Node;
use crate::support::redis::Redis;
use crate::support::tokens::{Auth, now, open, token, token_of};
use crate::support::{SOON, beside_others, eventually, same, stays};

/// Waits for the first object with an error, and returns it.
async fn refusal(client: &Client) -> Value {
    client.until("a refusal", SOON, |all| all.iter().find(|object| !object["error"].is_null()).cloned()).await["error"]
        .clone()
}

async fn joined(client: &Client, channel: &str) {
    client
        .until("it has joined", SOON, |all| all.iter().find(|object| object["subscribed"] == channel).map(drop))
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_shows_a_token_in_whatever_way_joins_what_it_allows_and_nobody_else_does() {
    let _place = beside_others().await;
    let (redis, auth) = (Redis::start().await, Auth::new());
    let node = Node::on(&redis.url()).config(&auth.config("query = true")).start().await;
    let ann = token_of("ann", "room:1");
    joined(&open(&node, "channel=room:1", &ann).await.unwrap(), "room:1").await;
    let header = format!("Bearer {ann}");
    joined(&Client::open_with(&node, "channel=room:1", &[("Authorization", &header)]).await, "room:1").await;
    joined(&Client::open(&node, &format!("channel=room:1&token={ann}")).await, "room:1").await;
    let by_frame = Client::open(&node, "channel=lobby&channel=room:1").await;
    let told = refusal(&by_frame).await;
    assert_eq!((&told["code"], &told["channel"]), (&json!("forbidden"), &json!("room:1")));
    joined(&by_frame, "lobby").await;
    by_frame.send(json!({ "token": ann, "subscribe": ["room:1"] })).await;
    joined(&by_frame, "room:1").await;
    let messages = by_frame.messages();
    assert!(messages.iter().any(|object| object["token"] == "accepted" && object["expires"].as_u64() > Some(now())));
    for client in [open(&node, "channel=lobby", &ann).await.unwrap(), by_frame] {
        assert_eq!(client.subscribe("room:2").await["error"]["code"], "forbidden");
        assert_eq!(client.watch("news:1").await["error"]["code"], "forbidden");
        assert_eq!(client.subscribe("public:1").await["subscribed"], "public:1");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_right_to_watch_is_none_to_be_counted() {
    let _place = beside_others().await;
    let (redis, auth) = (Redis::start().await, Auth::new());
    let node = auth.node(&redis.url()).start().await;
    let watcher = token(json!({ "sub": "eve", "headcount": { "watch": ["room:*"] } }));
    let client = open(&node, "watch=room:1", &watcher).await.unwrap();
    client.until("it watches", SOON, |all| all.iter().find(|object| object["watching"] == "room:1").map(drop)).await;
    assert_eq!(client.subscribe("room:1").await["error"]["code"], "forbidden");
    assert_eq!(redis.get("room:1").await.unwrap().unwrap_or_default(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bad_token_is_refused_with_the_reason_and_nothing_of_it_is_told() {
    let _place = beside_others().await;
    let (redis, auth) = (Redis::start().await, Auth::new());
    let node = Node::on(&redis.url()).set("LOG__LEVEL", "debug").config(&auth.config("query = true")).start().await;
    let good = token_of("ann-of-this-test", "room:1");
    let expired = token(json!({ "sub": "ann-of-this-test", "exp": now() - 1 }));
    let forged = format!("{}AAAA", &good[..good.len() - 4]);
    for (bad, why) in [(expired, "expired"), (forged, "not signed"), ("x.y".into(), "not a signed")] {
        let header = format!("Authorization: Bearer {bad}");
        for (path, headers) in [("/events?channel=room:1", vec![&*header]), (&*format!("/events?token={bad}"), vec![])]
        {
            let reply = request(node.address, "GET", path, &headers).await.unwrap();
            let told = reply.text();
            assert!(reply.status == 401 && told.contains(why) && told.len() < 100, "{told}");
            assert!(reply.must("www-authenticate").starts_with("Bearer"));
        }
        let client = Client::open(&node, "channel=lobby").await;
        client.send(json!({ "token": bad })).await;
        let told = refusal(&client).await;
        assert!(told["code"] == "bad_token" && told["message"].as_str().unwrap().contains(why), "{told}");
        joined(&client, "lobby").await;
    }
    let huge = open(&node, "channel=lobby", &"x".repeat(1 << 20)).await.err().unwrap();
    assert!(huge.contains("431"), "{}", &huge[..200.min(huge.len())]);
    let two = [&*format!("Authorization: Bearer {good}"), "Authorization: Bearer x.y.z"];
    assert_eq!(request(node.address, "GET", "/events", &two).await.unwrap().status, 400);
    let log = node.log.text();
    assert!(!log.contains("ann-of-this-test") && !log.contains(&good[20..40]), "{log}");
    let metrics = node.get("/metrics").await.unwrap().text();
    assert!(!metrics.contains("ann-of-this-test"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_in_the_address_is_taken_only_where_the_configuration_says_so() {
    let _place = beside_others().await;
    let (redis, auth) = (Redis::start().await, Auth::new());
    let node = auth.node(&redis.url()).start().await;
    let path = format!("/events?channel=room:1&token={}", token_of("ann", "room:1"));
    let reply = node.get(&path).await.unwrap();
    assert!(reply.status == 400 && reply.text().contains("auth.query"), "{}", reply.text());
    node.reload(&auth.config("query = true"));
    node.says(&["reloaded", "auth.query"]).await;
    let mut stream = TcpStream::connect(node.address).await.unwrap();
    stream.write_all(format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n").as_bytes()).await.unwrap();
    let mut said = Vec::new();
    let read = async {
        while !String::from_utf8_lossy(&said).contains(r#"{"subscribed":"room:1""#) {
            assert!(stream.read_buf(&mut said).await.unwrap() > 0, "{}", String::from_utf8_lossy(&said));
        }
    };
    timeout(SOON, read).await.expect("it is joined");
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_a_token_names_is_one_person_on_all_nodes_and_nobody_who_merely_says_that_name() {
    let _place = beside_others().await;
    let (redis, auth) = (Redis::start().await, Auth::new());
    let nodes = [auth.node(&redis.url()).start().await, auth.node(&redis.url()).start().await];
    let name = "ann-0123456789abcdef";
    let ann = token_of(name, "room:*");
    let mut here = Vec::new();
    for node in [&nodes[0], &nodes[1], &nodes[0]] {
        here.push(open(node, "channel=room:1", &ann).await.unwrap());
    }
    here[0].shows("room:1", 1).await;
    let anonymous = token(json!({ "headcount": { "join": ["room:*"] } }));
    let other = open(&nodes[1], &format!("channel=room:1&visitor={name}"), &anonymous).await.unwrap();
    other.shows("room:1", 2).await;
    here.push(open(&nodes[1], "channel=room:1", &token_of("bob", "room:*")).await.unwrap());
    here[0].shows("room:1", 3).await;
    stays("three people", Duration::from_secs(1), || async { same("GET", redis.get("room:1").await?, Some(3)) }).await;
    drop((here, other));
    eventually("nobody is left", SOON, || async { same("GET", redis.get("room:1").await?.unwrap_or_default(), 0) })
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_by_frame_names_somebody_for_what_is_joined_after_it_and_never_somebody_else() {
    let _place = beside_others().await;
    let (redis, auth) = (Redis::start().await, Auth::new());
    let config = auth.config("").replace(
        r#"pattern = "public:*", count = "none", deliver = "every""#,
        r#"pattern = "public:*", count = "visitors", deliver = "latest""#,
    );
    let node = Node::on(&redis.url()).config(&config).start().await;
    let client = Client::open(&node, "channel=public:a&channel=public:b&visitor=0123456789abcdef").await;
    client.shows("public:b", 1).await;
    client.send(json!({ "token": token_of("ann", "room:*"), "subscribe": ["room:1"] })).await;
    joined(&client, "room:1").await;
    // Left as whom it had joined; joined again as whom it is.
    client.unsubscribe("public:a").await;
    eventually("it has left", SOON, || async { same("GET", redis.get("public:a").await?.unwrap_or_default(), 0) })
        .await;
    client.subscribe("public:a").await;
    let tab = open(&node, "channel=public:a", &token_of("ann", "room:*")).await.unwrap();
    tab.shows("public:a", 1).await;
    stays("one person", Duration::from_secs(1), || async { same("GET", redis.get("public:a").await?, Some(1)) }).await;
    client.send(json!({ "token": token_of("bob", "*") })).await;
    let told = refusal(&client).await;
    assert_eq!(told["code"], "bad_token");
    assert_eq!(client.subscribe("news:1").await["error"]["code"], "forbidden");
    drop((client, tab));
    for channel in ["public:a", "public:b", "room:1"] {
        eventually("nobody is left", SOON, || async { same("GET", redis.get(channel).await?.unwrap_or_default(), 0) })
            .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_expired_token_is_told_and_whoever_renews_stays_and_whoever_does_not_is_closed() {
    let _place = beside_others().await;
    let (redis, auth) = (Redis::start().await, Auth::new());
    let node = auth.node(&redis.url()).start().await;
    let short = || token(json!({ "sub": "ann", "exp": now() + 5, "headcount": { "join": ["room:*"] } }));
    let renewing = open(&node, "channel=room:1", &short()).await.unwrap();
    let silent = open(&node, "channel=room:1&channel=lobby", &short()).await.unwrap();
    let stranger = Client::open(&node, "channel=lobby").await;
    for client in [&renewing, &silent] {
        assert_eq!(refusal(client).await["code"], "token_expired");
        assert_eq!(client.subscribe("room:2").await["error"]["code"], "forbidden");
    }
    renewing.send(json!({ "token": token_of("ann", "room:*") })).await;
    let closed = silent.closes(Duration::from_secs(20)).await;
    assert_eq!(closed.code, Some(4004));
    assert!(closed.reason.contains("new token"), "{}", closed.reason);
    assert_eq!(renewing.subscribe("room:2").await["subscribed"], "room:2");
    assert_eq!((renewing.closed(), stranger.closed()), (None, None));
    let told = renewing.messages().into_iter().filter(|object| object["error"]["code"] == "token_expired").count();
    assert_eq!(told, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn other_keys_and_rights_take_effect_when_the_configuration_is_reloaded() {
    let _place = beside_others().await;
    let (redis, auth) = (Redis::start().await, Auth::new());
    let open_rooms = auth.config("").replace("access = \"token\"", "access = \"open\"");
    let node = Node::on(&redis.url()).config(&open_rooms).start().await;
    let (stranger, ann) = (Client::open(&node, "channel=room:1&channel=lobby").await, token_of("ann", "room:*"));
    let member = open(&node, "channel=room:1", &ann).await.unwrap();
    joined(&stranger, "room:1").await;
    joined(&member, "room:1").await;
    node.reload(&auth.config(""));
    let told = refusal(&stranger).await;
    assert_eq!((&told["code"], &told["channel"]), (&json!("forbidden"), &json!("room:1")));
    member.shows("room:1", 1).await;
    node.reload(&auth.config("issuer = \"us\""));
    node.says(&["reloaded", "auth.issuer"]).await;
    let refused = open(&node, "channel=room:1", &ann).await.err().unwrap();
    assert!(refused.contains("401"), "{refused}");
    assert_eq!(member.closed(), None);
}
