//! A request that cannot become a WebSocket gets the status that says so, and one line that says why.

use crate::support::beside_others;
use crate::support::client::Client;
use crate::support::http::{Reply, request};
use crate::support::node::Node;
use crate::support::redis::Redis;
use crate::support::wire::UPGRADE;

async fn ask(node: &Node, method: &str, path: &str, headers: &[&str]) -> Reply {
    let reply = request(node.address, method, path, headers).await.unwrap();
    if reply.status >= 400 {
        let text = reply.text();
        assert!(!text.trim().is_empty(), "{method} {path}: {} without a reason", reply.status);
        assert_eq!(text.trim_end().lines().count(), 1, "{text:?}");
        assert!(reply.must("content-type").starts_with("text/plain"), "{reply:?}");
    }
    reply
}

/// The headers of an upgrade without the one that starts like this, and with another in its place.
fn upgrade_but<'a>(without: &str, with: Option<&'a str>) -> Vec<&'a str> {
    UPGRADE.into_iter().filter(|header| !header.starts_with(without)).chain(with).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_refusal_has_the_right_status_and_says_why() {
    let _turn = beside_others().await;
    let redis = Redis::start().await;
    let node = Node::start(&redis.url()).await;
    assert_eq!(ask(&node, "GET", "/ws", &UPGRADE).await.status, 101);
    let plain = ask(&node, "GET", "/ws", &[]).await;
    assert_eq!((plain.status, plain.must("sec-websocket-version")), (426, "13"));
    let old = ask(&node, "GET", "/ws", &upgrade_but("Sec-WebSocket-Version", Some("Sec-WebSocket-Version: 8"))).await;
    assert_eq!((old.status, old.must("sec-websocket-version")), (426, "13"));
    assert_eq!(ask(&node, "GET", "/ws", &upgrade_but("Sec-WebSocket-Key", None)).await.status, 400);
    let short = upgrade_but("Sec-WebSocket-Key", Some("Sec-WebSocket-Key: c2hvcnQ="));
    assert_eq!(ask(&node, "GET", "/ws", &short).await.status, 400);
    assert_eq!(ask(&node, "GET", "/ws?channel=%zz", &UPGRADE).await.status, 400);
    assert_eq!(ask(&node, "GET", "/ws?channel=%ff", &UPGRADE).await.status, 400);
    assert_eq!(ask(&node, "POST", "/ws", &["Content-Length: 0"]).await.status, 405);
    assert_eq!(ask(&node, "DELETE", "/", &[]).await.status, 405);
    assert_eq!(ask(&node, "GET", "/nowhere", &[]).await.status, 404);
    assert_eq!(ask(&node, "GET", "/nowhere", &UPGRADE).await.status, 404);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_of_another_origin_is_let_in_only_where_the_config_names_it() {
    let _turn = beside_others().await;
    let redis = Redis::start().await;
    let open = Node::start(&redis.url()).await;
    let config = "[server]\norigins = [\"https://ours.example\"]\n";
    let closed = Node::on(&redis.url()).config(config).start().await;
    let ours: Vec<&str> = UPGRADE.into_iter().chain(["Origin: https://ours.example"]).collect();
    let theirs: Vec<&str> = UPGRADE.into_iter().chain(["Origin: https://theirs.example"]).collect();
    assert_eq!(ask(&open, "GET", "/ws", &theirs).await.status, 101);
    assert_eq!(ask(&closed, "GET", "/ws", &ours).await.status, 101);
    assert_eq!(ask(&closed, "GET", "/ws", &theirs).await.status, 403);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_server_says_503_and_takes_the_next_when_one_leaves() {
    let _turn = beside_others().await;
    let redis = Redis::start().await;
    let node = Node::on(&redis.url()).set("LIMITS__CLIENTS", "2").start().await;
    node.ready().await;
    let first = Client::open(&node, "").await;
    let _second = Client::open(&node, "").await;
    for _ in 0..2 {
        assert_eq!(ask(&node, "GET", "/ws", &UPGRADE).await.status, 503);
    }
    node.says(&["WARN", "full", "limits.clients"]).await;
    assert_eq!(node.log.lines_with("limits.clients allows").len(), 1, "{}", node.log.text());
    assert_eq!(ask(&node, "GET", "/", &[]).await.status, 200);
    first.close().await;
    crate::support::eventually("room", crate::support::SOON, || Client::try_open(node.address, "")).await;
}
