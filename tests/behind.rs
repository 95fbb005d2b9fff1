//! Behind the proxies that docs/OPERATIONS.md names, with the settings that it gives: a thousand clients get
//! through, each by its own address, and a reload of the proxy loses none of them.

use std::net::SocketAddr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::timeout;

use crate::support::crowd::Crowd;
use crate::support::http::read_reply;
use crate::support::node::Node;
use crate::support::proxy::{Kind, Proxy, trusting};
use crate::support::redis::Redis;
use crate::support::wire::UPGRADE;
use crate::support::{SOON, alone, eventually, same};

const COUNT: &str = "users:count";
const CLIENTS: usize = 1_000;
const SOCKETS: &str = "headcount_sockets 1000";

/// Asks for a socket from this address of the machine, and gives the status.
async fn status(from: &str, to: SocketAddr) -> u16 {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind(format!("{from}:0").parse().unwrap()).unwrap();
    let exchange = async {
        let mut stream = socket.connect(to).await?;
        let head = format!("GET /ws HTTP/1.1\r\nHost: {to}\r\n{}\r\n\r\n", UPGRADE.join("\r\n"));
        stream.write_all(head.as_bytes()).await?;
        read_reply(&mut stream).await
    };
    timeout(SOON, exchange).await.expect("an answer in time").unwrap().status
}

/// Reads a stream of events through the proxy until this comes.
async fn events_show(to: SocketAddr, expected: &str) {
    let mut stream = TcpStream::connect(to).await.unwrap();
    let request = format!("GET /events?watch={COUNT} HTTP/1.1\r\nHost: {to}\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut said = Vec::new();
    let read = async {
        while !String::from_utf8_lossy(&said).contains(expected) {
            assert!(stream.read_buf(&mut said).await.unwrap() > 0, "the stream ended");
        }
    };
    timeout(SOON, read).await.unwrap_or_else(|_| panic!("no {expected:?} in time"));
}

async fn all_see(crowd: &Crowd, redis: &Redis, count: i64) {
    eventually("every client sees every client", SOON * 2, || async {
        same("GET", redis.get(COUNT).await?, Some(count))?;
        crowd.sees(count)
    })
    .await;
}

async fn a_thousand_get_through(kind: Kind) {
    let _turn = alone().await;
    let redis = Redis::start().await;
    // HAProxy tells of a listener who hangs up only when something is sent to them.
    let further = format!(
        "session.ping = \"2s\"\n[limits]\nclients_per_address = {}\nconnects_per_second = 0\n\
         exempt_addresses = [\"192.0.2.0/24\"]\n",
        CLIENTS + 100
    );
    let config = format!("{}{further}", trusting());
    let node = Node::on(&redis.url()).config(&config).start().await;
    node.ready().await;
    let proxy = Proxy::start(kind, &node).await;
    let mut crowd = Crowd::gather_at(proxy.address, COUNT, CLIENTS).await;
    all_see(&crowd, &redis, crowd.size()).await;
    events_show(proxy.address, &format!("{{\"watching\":\"{COUNT}\",\"data\":{CLIENTS}}}")).await;
    // Whoever hangs up is gone for the server too.
    eventually("the listener is gone", SOON, || async {
        let text = node.get("/metrics").await?.text();
        same("sockets", text.lines().find(|line| line.starts_with("headcount_sockets ")), Some(SOCKETS))
    })
    .await;
    if kind != Kind::Caddy {
        proxy.reload().await;
    }
    // Those who were there before hear of those who came after.
    crowd.grow(100).await;
    all_see(&crowd, &redis, crowd.size()).await;
    // All of them have one address, which has as many now as it may; another has not.
    assert_eq!(status("127.0.0.1", proxy.address).await, 429);
    assert_eq!(status("127.0.0.2", proxy.address).await, 101);
    drop(crowd);
    eventually("all are gone", SOON * 2, || async { same("GET", redis.get(COUNT).await?, Some(0)) }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_clients_get_through_nginx_and_a_reload_of_it_loses_none() {
    a_thousand_get_through(Kind::Nginx).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_clients_get_through_haproxy_and_a_reload_of_it_loses_none() {
    a_thousand_get_through(Kind::HaProxy).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_clients_get_through_caddy() {
    a_thousand_get_through(Kind::Caddy).await;
}
