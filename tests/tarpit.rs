//! A connection that is refused is held for a moment, so that whoever connects again at once gains nothing
//! by it, and others lose nothing.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use rustix::process::Signal;
use socket2::{Domain, Socket, Type};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout, timeout_at};

use crate::support::http::read_reply;
use crate::support::node::Node;
use crate::support::redis::Redis;
use crate::support::{SOON, alone, beside_others, eventually, same};

/// A server holds a connection for a second; this is less by what a busy machine may add elsewhere.
const HELD: Duration = Duration::from_millis(700);
/// More connections at once than a server tells in a second that they come too often.
const MANY: usize = 250;

async fn from(address: [u8; 4], to: SocketAddr) -> std::io::Result<TcpStream> {
    let socket = TcpSocket::new_v4()?;
    socket.bind((Ipv4Addr::from(address), 0).into())?;
    socket.connect(to).await
}

/// Connects, and is gone before anybody has looked.
fn knock(address: [u8; 4], to: SocketAddr) {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.bind(&SocketAddr::from((address, 0)).into()).unwrap();
    // Its end is a reset, which leaves nothing behind.
    socket.set_linger(Some(Duration::ZERO)).unwrap();
    socket.set_nonblocking(true).unwrap();
    let _ = socket.connect(&to.into());
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
async fn whoever_hangs_up_first_and_connects_again_at_once_is_shut_out_for_a_moment_and_nobody_else_is() {
    const KNOCKS: usize = 20_000;
    let _turn = alone().await;
    let redis = Redis::start().await;
    let node = Node::on(&redis.url())
        .set("LIMITS__EXEMPT_ADDRESSES", "127.0.0.1/32")
        .set("LIMITS__CONNECTS_PER_SECOND", "5")
        .start()
        .await;
    node.ready().await;
    let address = node.address;
    let knocking = tokio::task::spawn_blocking(move || (0..KNOCKS).for_each(|_| knock([127, 0, 9, 1], address)));
    while !knocking.is_finished() {
        let mut other = timeout(SOON, from([127, 0, 9, 2], address)).await.expect("a connection").unwrap();
        other.write_all(b"GET /readyz HTTP/1.1\r\nHost: here\r\n\r\n").await.unwrap();
        assert_eq!(timeout(SOON, read_reply(&mut other)).await.expect("an answer").unwrap().status, 200);
        sleep(Duration::from_millis(250)).await;
    }
    knocking.await.unwrap();
    let refused = node.metric("headcount_rejected_total").await.unwrap();
    assert!(refused > 0 && refused < KNOCKS as i64 / 4, "{refused} of {KNOCKS} were taken and refused");
    eventually("it is let in again", SOON, || async {
        let mut again = timeout(SOON, from([127, 0, 9, 1], address)).await.expect("a connection").unwrap();
        again.write_all(b"GET /readyz HTTP/1.1\r\nHost: here\r\n\r\n").await.unwrap();
        let reply = timeout(SOON, read_reply(&mut again)).await.expect("an answer or an end");
        same("status", reply.map_err(|error| error.to_string())?.status, 200)
    })
    .await;
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
    let start = Instant::now();
    let mut waiting = Vec::new();
    for _ in 0..MANY {
        waiting.push(from([127, 0, 9, 1], node.address).await.unwrap());
    }
    // Connections are taken in their order: all of them were, and those that were refused are held.
    assert_eq!(node.get("/readyz").await.unwrap().status, 200);
    let ended = |stream: &TcpStream| matches!(stream.try_read(&mut [0]), Ok(0));
    assert_eq!(waiting.iter().filter(|stream| ended(stream)).count(), 0, "after {:?}", start.elapsed());
    node.signal(Signal::TERM);
    let mut let_go = 0;
    for mut stream in waiting {
        // Before they would have been hung up on anyway.
        let_go += usize::from(matches!(timeout_at(start + HELD, stream.read(&mut [0])).await, Ok(Ok(0))));
    }
    assert!(let_go > MANY / 4, "{let_go} of {MANY} in time");
}
