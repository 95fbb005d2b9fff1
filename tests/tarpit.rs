//! A connection that is refused is held for a moment, so that whoever connects again at once gains nothing
//! by it, and others lose nothing.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use rustix::process::Signal;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};

use crate::support::http::read_reply;
use crate::support::node::Node;
use crate::support::redis::Redis;
use crate::support::{SOON, alone, beside_others, eventually};

/// A server holds a connection for a second; this is less by what a busy machine may add elsewhere.
const HELD: Duration = Duration::from_millis(700);
/// More connections at once than a server tells in a second that they come too often.
const MANY: usize = 250;

async fn from(address: [u8; 4], to: SocketAddr) -> std::io::Result<TcpStream> {
    let socket = TcpSocket::new_v4()?;
    socket.bind((Ipv4Addr::from(address), 0).into())?;
    socket.connect(to).await
}

/// Asks for something, and waits for the end. Returns how long a connection was open that had no answer.
async fn unanswered(to: SocketAddr) -> Option<Duration> {
    let start = Instant::now();
    let mut stream = from([127, 0, 9, 1], to).await.ok()?;
    let _ = stream.write_all(b"GET / HTTP/1.1\r\nHost: here\r\nConnection: close\r\n\r\n").await;
    let mut answer = Vec::new();
    let _ = timeout(SOON, stream.read_to_end(&mut answer)).await.expect("an end");
    answer.is_empty().then(|| start.elapsed())
}

/// Many connections at once from one address. Returns how long each was open that had no answer.
async fn flood(to: SocketAddr) -> Vec<Duration> {
    let mut clients = JoinSet::new();
    for _ in 0..MANY {
        clients.spawn(unanswered(to));
    }
    clients.join_all().await.into_iter().flatten().collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_connection_is_held_and_other_addresses_are_served_meanwhile() {
    let _turn = beside_others().await;
    let redis = Redis::start().await;
    let node = Node::on(&redis.url()).among_strangers().set("LIMITS__CONNECTS_PER_SECOND", "1").start().await;
    node.ready().await;
    let address = node.address;
    let flooding = tokio::spawn(flood(address));
    let mut other = from([127, 0, 9, 2], address).await.unwrap();
    other.write_all(b"GET /readyz HTTP/1.1\r\nHost: here\r\n\r\n").await.unwrap();
    assert_eq!(timeout(SOON, read_reply(&mut other)).await.expect("an answer").unwrap().status, 200);
    let refused = flooding.await.unwrap();
    assert!(refused.len() > MANY / 4, "{} of {MANY}", refused.len());
    let early = refused.iter().filter(|open| **open < HELD).count();
    assert_eq!(early, 0, "{refused:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn there_are_files_for_those_that_are_held_and_whoever_finds_none_is_hung_up_on_at_once() {
    let _turn = beside_others().await;
    let redis = Redis::start().await;
    let node = Node::on(&redis.url())
        .among_strangers()
        .files(400)
        .set("SERVER__WORKERS", "1")
        .set("LIMITS__CONNECTS_PER_SECOND", "1")
        .start()
        .await;
    node.ready().await;
    let refused = flood(node.address).await;
    let (held, others): (Vec<Duration>, Vec<Duration>) = refused.iter().partition(|open| **open >= HELD);
    // One in 16 may be held, and half of those are for other addresses.
    assert!((5..=40).contains(&held.len()) && others.len() > held.len(), "{refused:?}");
    assert!(!node.log.text().contains("cannot accept"), "{}", node.log.text());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_stops_holds_nobody() {
    let _turn = alone().await;
    let redis = Redis::start().await;
    let node = Node::on(&redis.url())
        .set("LIMITS__EXEMPT_ADDRESSES", "127.0.0.1/32")
        .set("LIMITS__CONNECTS_PER_SECOND", "1")
        .set("SERVER__DRAIN", "5s")
        .start()
        .await;
    node.ready().await;
    // One that is served, so that the server has somebody to wait for.
    let mut served = from([127, 0, 9, 2], node.address).await.unwrap();
    served.write_all(b"GET /events HTTP/1.1\r\nHost: here\r\n\r\n").await.unwrap();
    assert_eq!(timeout(SOON, served.read_u8()).await.expect("an answer").unwrap(), b'H');
    let flooding = tokio::spawn(flood(node.address));
    eventually("some are held", SOON, || async {
        let rejected = node.metric("headcount_rejected_total").await?;
        if rejected > MANY as i64 / 2 { Ok(()) } else { Err(format!("{rejected} were refused")) }
    })
    .await;
    node.signal(Signal::TERM);
    let refused = flooding.await.unwrap();
    assert!(refused.iter().any(|open| *open < HELD), "{refused:?}");
}
