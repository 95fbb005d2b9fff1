//! Publishing with a token: by frame and over HTTP, as much as the token allows and not more.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::StreamExt;
use serde_json::{Value, json};

use crate::support::client::Client;
use crate::support::http::{Reply, send};
use crate::support::node::Node;
use crate::support::redis::Redis;
use crate::support::tokens::{Auth, now, open, token, token_of};
use crate::support::{SOON, beside_others, eventually, same, stays};

async fn post(node: &Node, channel: &str, token: &str, body: &str) -> Reply {
    let bearer = format!("Authorization: Bearer {token}");
    let headers = [bearer.as_str(), "Content-Type: application/json"];
    send(node.address, "POST", &format!("/api/channels/{channel}/messages"), &headers, body.as_bytes()).await.unwrap()
}

/// Publishes by frame and returns the answer to that.
async fn publish(client: &Client, channel: &str, data: Value) -> Value {
    let before = client.messages().len();
    client.send(json!({ "publish": { "channel": channel, "data": data } })).await;
    let answer = |object: &&Value| !object["published"].is_null() || !object["error"].is_null();
    client.until("an answer", SOON, |all| all[before..].iter().find(answer).cloned()).await
}

fn is_problem(reply: &Reply, status: u16) {
    let document: Value = serde_json::from_slice(&reply.body).unwrap_or_else(|_| panic!("{status}: {}", reply.text()));
    assert_eq!((reply.status, document["status"].as_u64()), (status, Some(status.into())), "{document}");
    assert_eq!(reply.must("content-type"), "application/problem+json");
    assert!(
        document["title"].is_string() && document["detail"].as_str().is_some_and(|text| text.len() > 10),
        "{document}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_published_reaches_everybody_on_all_nodes_in_order_and_to_the_letter() {
    let _place = beside_others().await;
    let (redis, auth) = (Redis::start().await, Auth::new());
    let nodes = [auth.node(&redis.url()).start().await, auth.node(&redis.url()).start().await];
    for node in &nodes {
        node.ready().await;
    }
    let ann = token_of("ann", "news:*");
    let reader = open(&nodes[0], "channel=news:1", &ann).await.unwrap();
    reader.until("it reads", SOON, |all| all.iter().find(|one| one["subscribed"] == "news:1").map(drop)).await;
    let writer = open(&nodes[1], "channel=lobby", &ann).await.unwrap();
    for n in 0..200 {
        writer.send(json!({ "publish": { "channel": "news:1", "data": [n] } })).await;
    }
    let reply = post(&nodes[0], "news:1", &ann, r#" {"b": 123456789012345678901234567890, "a": "ä"} "#).await;
    assert_eq!((reply.status, reply.text().trim()), (202, r#"{"published":"news:1"}"#));
    let all = reader.until("all of it", SOON, |_| Some(reader.payloads("news:1")).filter(|all| all.len() == 201)).await;
    let numbered: Vec<_> = all.iter().filter_map(|data| data[0].as_u64()).collect();
    assert_eq!(numbered, (0..200).collect::<Vec<_>>());
    assert!(all.iter().any(|data| data["a"] == "ä" && data["b"].is_number()), "{all:?}");
    let answers = writer.until("each is answered", SOON, |all| {
        Some(all.iter().filter(|one| one["published"] == "news:1").count()).filter(|count| *count == 200)
    });
    answers.await;
}

/// Notes everything that is published on a store, on whatever channel.
async fn spy(redis: &Redis) -> Arc<Mutex<Vec<String>>> {
    let mut listener = redis::Client::open(redis.url()).unwrap().get_async_pubsub().await.unwrap();
    listener.psubscribe("*").await.unwrap();
    let heard = Arc::new(Mutex::new(Vec::new()));
    let notes = heard.clone();
    tokio::spawn(async move {
        let mut messages = listener.into_on_message();
        while let Some(message) = messages.next().await {
            notes.lock().unwrap().push(message.get_channel_name().to_owned());
        }
    });
    heard
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_publishes_to_other_names_or_states_a_count() {
    let _place = beside_others().await;
    let (redis, auth) = (Redis::start().await, Auth::new());
    let node = auth.node(&redis.url()).start().await;
    let all = token_of("ann", "*");
    let client = open(&node, "channel=lobby", &all).await.unwrap();
    client.shows("lobby", 1).await;
    let spy = spy(&redis).await;
    for (channel, data, status, code) in [
        ("headcount:v1:revoked", json!("sub:ann"), 400, "bad_request"),
        ("headcount:v1:nodes", json!({}), 400, "bad_request"),
        ("headcount:x", json!({}), 400, "bad_request"),
        ("a{b}", json!({}), 400, "bad_request"),
        ("nowhere:1", json!({}), 404, "forbidden"),
        ("public:1", json!({}), 403, "forbidden"),
        ("lobby", json!(7), 400, "bad_request"),
        ("lobby", json!(0), 400, "bad_request"),
        ("lobby", json!(-1), 400, "bad_request"),
        ("room:1", json!(9_000_000_000_000_000_000_i64), 400, "bad_request"),
    ] {
        let answer = publish(&client, channel, data.clone()).await;
        assert_eq!(
            (&answer["error"]["code"], &answer["error"]["channel"]),
            (&json!(code), &json!(channel)),
            "{answer}"
        );
        let encoded = channel.replace(':', "%3A").replace('{', "%7B").replace('}', "%7D");
        is_problem(&post(&node, &encoded, &all, &data.to_string()).await, status);
    }
    assert_eq!(publish(&client, "lobby", json!("7")).await["published"], "lobby");
    client.until("it is a message", SOON, |_| client.payloads("lobby").contains(&json!("7")).then_some(())).await;
    stays("the count is what it was", Duration::from_secs(1), || async {
        same("GET", redis.get("lobby").await?, Some(1))
    })
    .await;
    let heard = spy.lock().unwrap().clone();
    assert!(!heard.is_empty() && heard.iter().all(|channel| channel == "lobby"), "{heard:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn each_mistake_of_whoever_posts_is_a_problem_document() {
    let _place = beside_others().await;
    let (redis, auth) = (Redis::start().await, Auth::new());
    let node = Node::on(&redis.url()).set("LIMITS__MESSAGE", "1KiB").config(&auth.config("")).start().await;
    node.ready().await;
    let path = "/api/channels/news:1/messages";
    let ann = token_of("ann", "news:*");
    let bearer = format!("Authorization: Bearer {ann}");
    let json = "Content-Type: application/json";
    let ask = async |method: &str, headers: &[&str], body: &[u8]| {
        send(node.address, method, path, headers, body).await.unwrap()
    };
    is_problem(&ask("POST", &[json], b"{}").await, 401);
    is_problem(&ask("POST", &[json, "Authorization: Bearer x.y.z"], b"{}").await, 401);
    is_problem(&ask("POST", &[json, "Authorization: Basic YTpi"], b"{}").await, 401);
    is_problem(&ask("POST", &[json, "Cookie: token=x"], b"{}").await, 401);
    is_problem(&ask("POST", &[&bearer, json, "Authorization: Bearer x"], b"{}").await, 400);
    is_problem(&ask("POST", &[&bearer], b"{}").await, 415);
    is_problem(&ask("POST", &[&bearer, "Content-Type: text/plain"], b"{}").await, 415);
    for body in [&b"{"[..], b"{} {}", b"hello", b"\"\xff\"", b" "] {
        is_problem(&ask("POST", &[&bearer, json], body).await, 400);
    }
    is_problem(&ask("POST", &[&bearer, json], &[b'1'; 1025]).await, 413);
    let chunked = format!("401\r\n{}\r\n0\r\n\r\n", "1".repeat(1025));
    let reply = send_chunked(&node, path, &bearer, &chunked).await;
    is_problem(&reply, 413);
    let reply = ask("GET", &[&bearer], b"").await;
    is_problem(&reply, 405);
    assert_eq!(reply.must("allow"), "POST");
    let reader = token(json!({ "sub": "bob", "headcount": { "join": ["news:*"] } }));
    is_problem(&post(&node, "news:1", &reader, "{}").await, 403);
    let expired = token(json!({ "sub": "ann", "exp": now() - 1, "headcount": { "publish": ["*"] } }));
    is_problem(&post(&node, "news:1", &expired, "{}").await, 401);
    assert_eq!(post(&node, "news:1", &ann, "1").await.status, 202, "a number where nothing is counted");
}

async fn send_chunked(node: &Node, path: &str, bearer: &str, body: &str) -> Reply {
    use tokio::io::AsyncWriteExt;
    let mut socket = tokio::net::TcpStream::connect(node.address).await.unwrap();
    let head = format!(
        "POST {path} HTTP/1.1\r\nHost: a\r\n{bearer}\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
    );
    socket.write_all(format!("{head}{body}").as_bytes()).await.unwrap();
    crate::support::http::read_reply(&mut socket).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_publishes_so_much_a_second_and_another_one_is_not_held_up_by_it() {
    let _place = beside_others().await;
    let (redis, auth) = (Redis::start().await, Auth::new());
    let node = Node::on(&redis.url()).set("LIMITS__PUBLISHES_PER_SECOND", "1").config(&auth.config("")).start().await;
    node.ready().await;
    let (ann, bob) = (token_of("ann", "news:*"), token_of("bob", "news:*"));
    let client = open(&node, "channel=lobby", &ann).await.unwrap();
    let mut codes = Vec::new();
    while codes.len() < 100 && !codes.contains(&json!("rate_limited")) {
        codes.push(publish(&client, "news:1", json!({})).await["error"]["code"].clone());
    }
    assert!(codes.len() > 10 && codes[..10].iter().all(Value::is_null), "{codes:?}");
    assert_eq!(codes.last(), Some(&json!("rate_limited")));
    // One a second is given back, perhaps at this moment.
    let mut reply = post(&node, "news:1", &ann, "{}").await;
    if reply.status == 202 {
        reply = post(&node, "news:1", &ann, "{}").await;
    }
    is_problem(&reply, 429);
    assert!(reply.header("retry-after").is_some());
    assert_eq!(post(&node, "news:1", &bob, "{}").await.status, 202);
    assert!(node.metric("headcount_limited_total{limit=\"Publishes\"}").await.unwrap() > 0);
    node.says(&["publishes_per_second"]).await;
    assert!(!node.log.text().contains("ann"), "{}", node.log.text());
}

#[tokio::test(flavor = "multi_thread")]
async fn while_the_store_is_away_a_message_is_refused_and_nothing_hangs() {
    let _place = beside_others().await;
    let (mut redis, auth) = (Redis::start().await, Auth::new());
    let node = auth.node(&redis.url()).start().await;
    node.ready().await;
    let ann = token_of("ann", "news:*");
    let client = open(&node, "channel=lobby", &ann).await.unwrap();
    assert_eq!(publish(&client, "news:1", json!({})).await["published"], "news:1");
    redis.kill().await;
    assert_eq!(publish(&client, "news:1", json!({})).await["error"]["code"], "unavailable");
    is_problem(&post(&node, "news:1", &ann, "{}").await, 503);
    redis.revive().await;
    eventually("a message gets through", SOON, || async {
        same("published", publish(&client, "news:1", json!({})).await["published"].clone(), json!("news:1"))
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_of_messages_is_refused_when_the_store_stalls_and_later_ones_get_through() {
    const ROW: u64 = 8;
    let _place = beside_others().await;
    let (redis, auth) = (Redis::start().await, Auth::new());
    let node = auth.node(&redis.url()).start().await;
    node.ready().await;
    let client = open(&node, "channel=lobby", &token_of("ann", "news:*")).await.unwrap();
    let before = client.messages().len();
    redis.pause().await;
    for number in 0..ROW {
        client.send(json!({ "publish": { "channel": format!("news:{}", number % 2), "data": number } })).await;
    }
    // The first of each channel waits for redis.response_timeout, and nobody after it waits again.
    let refused = client
        .until("a refusal of each", Duration::from_secs(3), |all| {
            let codes = all[before..].iter().filter_map(|object| object["error"]["code"].as_str());
            let refused = codes.filter(|code| *code == "unavailable").count() as u64;
            (refused == ROW).then_some(refused)
        })
        .await;
    assert_eq!(refused, ROW);
    redis.resume().await;
    eventually("a message gets through", SOON, || async {
        same("published", publish(&client, "news:1", json!({})).await["published"].clone(), json!("news:1"))
    })
    .await;
}
