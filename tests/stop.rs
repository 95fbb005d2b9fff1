//! A server that is stopped sends its clients elsewhere, spread over time, and takes its share of
//! the count with it.

use std::time::Duration;

use rustix::process::Signal;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::time::Instant;

use crate::support::client::Client;
use crate::support::http::read_reply;
use crate::support::node::Node;
use crate::support::redis::Redis;
use crate::support::wire::pause_in;
use crate::support::{SOON, alone, beside_others, eventually, same};

const COUNT: &str = "users:count";
const DRAIN: Duration = Duration::from_secs(6);

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_closes_every_socket_with_1012_spread_over_the_drain_as_the_count_falls() {
    let _turn = beside_others().await;
    let redis = Redis::start().await;
    let mut leaving = Node::on(&redis.url()).set("SERVER__DRAIN", &format!("{DRAIN:?}")).start().await;
    leaving.ready().await;
    let staying = Node::start(&redis.url()).await;
    let watcher = Client::join(&staying, &[COUNT]).await;
    let mut clients = Vec::new();
    for _ in 0..60 {
        clients.push(Client::join(&leaving, &[COUNT]).await);
    }
    watcher.shows(COUNT, 61).await;
    let from = watcher.messages().len();
    let start = Instant::now();
    leaving.signal(Signal::TERM);
    let (mut ends, mut pauses) = (Vec::new(), Vec::new());
    for client in &clients {
        let closed = client.closes(DRAIN + SOON).await;
        assert_eq!(closed.code, Some(1012));
        ends.push(closed.at - start);
        pauses.push(pause_in(&closed.reason).unwrap_or_else(|| panic!("no pause in {:?}", closed.reason)));
    }
    // Short, and no two clients' are the same but by chance.
    pauses.sort();
    assert!(pauses[pauses.len() - 1] <= Duration::from_secs(1), "{pauses:?}");
    pauses.dedup();
    assert!(pauses.len() > clients.len() / 2, "{pauses:?}");
    ends.sort();
    let (first, last) = (ends[0], ends[ends.len() - 1]);
    assert!(last - first >= DRAIN / 3, "all closed between {first:?} and {last:?}");
    let status = leaving.exit(DRAIN + Duration::from_secs(2)).await;
    assert_eq!(status.code(), Some(0));
    watcher.shows(COUNT, 1).await;
    let fell: Vec<i64> = watcher.messages()[from..].iter().filter_map(|m| m["data"].as_i64()).collect();
    assert!(fell.len() >= 5 && fell.iter().rev().is_sorted(), "the number fell as {fell:?}");
    eventually("nothing is left of the server", SOON, || async {
        same("GET", redis.get(COUNT).await?, Some(1))?;
        same("nodes", redis.run::<usize>(&["ZCARD", "headcount:v1:nodes"]).await?, 1 + redis.nodes())?;
        same("tallies", redis.run::<i64>(&["HLEN", "headcount:v1:{users:count}:tally"]).await?, 1)
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_balancer_sees_that_a_server_leaves_while_it_still_serves_and_takes_clients_in() {
    let _turn = beside_others().await;
    let redis = Redis::start().await;
    let node = Node::on(&redis.url()).config("[server]\nnotice = \"60s\"\n").start().await;
    node.ready().await;
    let before = Client::join(&node, &[COUNT]).await;
    node.signal(Signal::TERM);
    eventually("/readyz fails", SOON, || async { same("status", node.get("/readyz").await?.status, 503) }).await;
    assert_eq!(node.get("/healthz").await.unwrap().status, 200);
    let after = Client::join(&node, &[COUNT]).await;
    for client in [&before, &after] {
        client.shows(COUNT, 2).await;
        assert_eq!(client.closed(), None);
    }
    node.signal(Signal::TERM);
    after.closes(SOON).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn after_the_notice_nobody_is_taken_in_and_the_sockets_are_closed() {
    let _turn = beside_others().await;
    let redis = Redis::start().await;
    let mut node = Node::on(&redis.url()).set("SERVER__NOTICE", "1s").set("SERVER__DRAIN", "500ms").start().await;
    node.ready().await;
    let client = Client::join(&node, &[COUNT]).await;
    let start = Instant::now();
    node.signal(Signal::TERM);
    let closed = client.closes(SOON).await;
    assert_eq!(closed.code, Some(1012));
    assert!(closed.at - start >= Duration::from_secs(1), "closed after {:?}", closed.at - start);
    assert_eq!(node.exit(SOON).await.code(), Some(0));
    assert!(node.get("/healthz").await.is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_interrupt_ends_an_idle_server_with_0() {
    let _turn = beside_others().await;
    let redis = Redis::start().await;
    let mut node = Node::start(&redis.url()).await;
    node.signal(Signal::INT);
    assert_eq!(node.exit(SOON).await.code(), Some(0));
    assert_eq!(node.rest_of_output().await, "", "only the first line goes to the standard output");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stopping_server_takes_nobody_in() {
    let _turn = beside_others().await;
    let redis = Redis::start().await;
    let node = Node::on(&redis.url()).set("SERVER__DRAIN", "30s").start().await;
    node.ready().await;
    let _held = [Client::join(&node, &[COUNT]).await, Client::join(&node, &[COUNT]).await];
    node.signal(Signal::TERM);
    eventually("no entry", SOON, || async {
        match Client::try_open(node.address, "").await {
            Ok(_) => Err("a socket was let in".into()),
            Err(why) if why.contains("refused") || why.contains("503") || why.contains("reset") => Ok(()),
            Err(why) => Err(why),
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_has_begun_is_answered_before_the_server_ends() {
    let _turn = beside_others().await;
    let redis = Redis::start().await;
    let mut node = Node::on(&redis.url()).set("SERVER__DRAIN", "60s").start().await;
    node.ready().await;
    let mut sockets = Vec::new();
    for _ in 0..20 {
        let mut socket = TcpStream::connect(node.address).await.unwrap();
        // The first answer shows that the server has taken the connection.
        socket.write_all(b"GET /healthz HTTP/1.1\r\nHost: here\r\n\r\nGET /healthz HTTP/1.1\r\n").await.unwrap();
        assert_eq!(read_reply(&mut socket).await.unwrap().status, 200);
        sockets.push(socket);
    }
    node.signal(Signal::TERM);
    node.says(&["no longer accepting clients"]).await;
    for mut socket in sockets {
        socket.write_all(b"Host: here\r\nConnection: close\r\n\r\n").await.unwrap();
        assert_eq!(read_reply(&mut socket).await.unwrap().status, 200);
    }
    assert_eq!(node.exit(SOON).await.code(), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_signal_ends_it_now() {
    let _turn = beside_others().await;
    let redis = Redis::start().await;
    let mut node = Node::on(&redis.url()).set("SERVER__DRAIN", "60s").start().await;
    node.ready().await;
    let client = Client::join(&node, &[COUNT]).await;
    client.shows(COUNT, 1).await;
    let _others = [Client::join(&node, &[COUNT]).await, Client::join(&node, &[COUNT]).await];
    node.signal(Signal::TERM);
    eventually("it began to stop", SOON, || async {
        match tokio::net::TcpStream::connect(node.address).await {
            Err(_) => Ok(()),
            Ok(_) => same("/readyz", node.get("/readyz").await.map_or(503, |reply| reply.status), 503),
        }
    })
    .await;
    node.signal(Signal::TERM);
    node.exit(Duration::from_secs(3)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_without_redis_ends_within_the_drain_too() {
    let _turn = beside_others().await;
    let mut redis = Redis::start().await;
    let mut node = Node::on(&redis.url()).set("SERVER__DRAIN", "1s").start().await;
    node.ready().await;
    let client = Client::join(&node, &[COUNT]).await;
    client.shows(COUNT, 1).await;
    redis.kill().await;
    node.signal(Signal::TERM);
    assert_eq!(client.closes(SOON).await.code, Some(1012));
    assert_eq!(node.exit(Duration::from_secs(4)).await.code(), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_with_twenty_thousand_channels_withdraws_them_all_as_it_stops() {
    let _turn = alone().await;
    let redis = Redis::start().await;
    // The default of a server as it is delivered; unoptimised, it needs longer.
    let drain = Duration::from_secs(if cfg!(debug_assertions) { 40 } else { 5 });
    let mut node = Node::on(&redis.url()).set("SERVER__DRAIN", &format!("{drain:?}")).start().await;
    node.ready().await;
    let mut clients = Vec::new();
    for first in (0..20_000).step_by(50) {
        let channels: Vec<String> = (first..first + 50).map(|number| format!("page:/{number}")).collect();
        let client = Client::join(&node, &channels.iter().map(String::as_str).collect::<Vec<_>>()).await;
        clients.push((client, channels));
    }
    let listed = ["EVAL", "return redis.call('SCARD', redis.call('KEYS', 'headcount:v1:node:*')[1])", "0"];
    eventually("all are counted", SOON * 6, || async { same("channels", redis.run(&listed).await?, 20_000) }).await;
    // What the joins set off is no part of the stop.
    for (client, channels) in &clients {
        eventually("all are shown", SOON, || async { channels.iter().try_for_each(|name| client.sees(name, 1)) }).await;
    }
    let before = node.cpu_time();
    node.signal(Signal::TERM);
    eventually("it has ended", drain + SOON, || async { same("ended", node.has_ended(), true) }).await;
    println!("the stop took {:?} of processor time\n{:?}", node.cpu_time() - before, node.log.lines_with("stopped"));
    assert_eq!(node.exit(SOON).await.code(), Some(0));
    let keys: Vec<String> = redis.must(&["KEYS", "*"]).await;
    let left: Vec<_> = keys.iter().filter(|key| key.starts_with("page:") || key.contains("{page:")).collect();
    assert!(left.is_empty(), "{} keys are left\n{}", left.len(), node.log.text());
    assert_eq!(node.log.lines_with("did not answer"), Vec::<String>::new());
}
