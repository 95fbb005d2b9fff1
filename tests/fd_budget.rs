//! A server that may open only so many files refuses clients before it has none left, and says why.

use std::net::SocketAddr;

use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::support::certificate::Certificate;
use crate::support::client::Client;
use crate::support::http;
use crate::support::node::Node;
use crate::support::redis::Redis;
use crate::support::{SOON, beside_others, eventually, same};

/// Files that the server may open, and how many of them a client takes.
const FILES: u64 = 320;
const CARRIED: usize = 3;
/// Ample for what the server itself needs, and more than it has for clients.
const CLIENTS: usize = 320;

async fn start(redis: &Redis, certificate: &Certificate) -> (Node, SocketAddr) {
    let (pem, key) = (certificate.pem.0.display(), certificate.key.0.display());
    let config = format!("[server]\nworkers = 2\n[tls]\ncertificate = \"{pem}\"\nkey = \"{key}\"\n");
    let mut node = Node::on(&redis.url()).files(FILES).config(&config).listen("tls:127.0.0.1:0").start().await;
    node.ready().await;
    let line = node.line().await;
    let address = line.split_once("https://").expect("an address").1.split('/').next().unwrap().parse().unwrap();
    (node, address)
}

/// Opens a stream of events, and gives it or the answer that came instead.
async fn events(to: SocketAddr) -> Result<TcpStream, String> {
    let mut stream = TcpStream::connect(to).await.map_err(|why| why.to_string())?;
    let request = "GET /events HTTP/1.1\r\nHost: here\r\n\r\n";
    stream.write_all(request.as_bytes()).await.map_err(|why| why.to_string())?;
    let mut said = [0; 1024];
    let n = timeout(SOON, stream.read(&mut said)).await.expect("an answer in time").map_err(|why| why.to_string())?;
    let said = String::from_utf8_lossy(&said[..n]).into_owned();
    if said.starts_with("HTTP/1.1 200") { Ok(stream) } else { Err(said) }
}

fn is_told_why(refused: &str) {
    assert!(refused.contains("503") && refused.contains("open files"), "{refused:?}");
}

/// The server never met the limit itself, and serves the rest.
async fn is_well(node: &Node) {
    node.says(&["full: no more open files"]).await;
    let log = node.log.text();
    assert!(!log.contains("Too many open files") && !log.contains("cannot accept"), "{log}");
    assert!(node.open_files() < FILES as usize, "{} open files", node.open_files());
    assert_eq!(node.get("/healthz").await.unwrap().status, 200);
    assert_eq!(node.get("/readyz").await.unwrap().status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_over_tls_takes_three_files_and_whoever_finds_none_is_told_so() {
    let _turn = beside_others().await;
    let redis = Redis::start().await;
    let certificate = Certificate::make();
    let (node, address) = start(&redis, &certificate).await;
    let mut held = Vec::new();
    let refused = loop {
        match certificate.try_socket(address, "").await {
            Ok(socket) => held.push(socket),
            Err(refused) => break refused,
        }
        assert!(held.len() < CLIENTS, "nobody is refused");
    };
    is_told_why(&refused);
    assert!(held.len() > 40 && held.len() * CARRIED < FILES as usize, "{} clients", held.len());
    is_well(&node).await;
    // One goes, and as much as it took is there again.
    drop(held.pop());
    let again = eventually("there is room again", SOON, || certificate.try_socket(address, "")).await;
    drop(again);
}

#[tokio::test(flavor = "multi_thread")]
async fn many_streams_of_events_leave_the_server_what_it_needs() {
    let _turn = beside_others().await;
    let redis = Redis::start().await;
    let (node, _) = start(&redis, &Certificate::make()).await;
    let client = Client::join(&node, &["users:count"]).await;
    // All at once, so that each is let in before the others' pairs are there.
    let all = futures_util::future::join_all((0..CLIENTS).map(|_| events(node.address))).await;
    let (mut held, refused): (Vec<_>, Vec<_>) = all.into_iter().partition(Result::is_ok);
    let told = refused.iter().filter(|why| why.as_ref().is_err_and(|why| why.contains("open files"))).count();
    assert!(told > 0, "{refused:?}");
    is_well(&node).await;
    let refused = loop {
        match events(node.address).await {
            Ok(stream) => held.push(Ok(stream)),
            Err(refused) => break refused,
        }
    };
    is_told_why(&refused);
    assert!(held.len() > 40 && held.len() * CARRIED < FILES as usize, "{} streams", held.len());
    client.shows("users:count", held.len() as i64 + 1).await;
    is_well(&node).await;
    drop(held);
    eventually("there is room again", SOON, || events(node.address)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_that_say_nothing_cannot_take_the_last_file() {
    let _turn = beside_others().await;
    let redis = Redis::start().await;
    let (node, _) = start(&redis, &Certificate::make()).await;
    let client = Client::join(&node, &["users:count"]).await;
    let mut silent = Vec::new();
    for _ in 0..CLIENTS + 100 {
        silent.push(TcpStream::connect(node.address).await.unwrap());
    }
    let _: i64 = redis.must(&["INCRBY", "users:count", "6"]).await;
    let _: i64 = redis.must(&["PUBLISH", "users:count", "7"]).await;
    client.shows("users:count", Value::from(7)).await;
    assert!(node.open_files() < FILES as usize, "{} open files", node.open_files());
    assert!(!node.log.text().contains("cannot accept"), "{}", node.log.text());
    drop(silent);
    eventually("it answers again", SOON, || async { same("status", node.get("/healthz").await?.status, 200) }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_cannot_accept_serves_those_it_has_and_accepts_again_when_it_can() {
    let _turn = beside_others().await;
    let redis = Redis::start().await;
    let node = Node::start(&redis.url()).await;
    let client = Client::join(&node, &["public:a"]).await;
    client.until("it has joined", SOON, |m| m.iter().any(|m| m["subscribed"] == "public:a").then_some(())).await;
    // Behind the server's back: fewer than it has open already.
    node.allow_files(5);
    let waiting = tokio::spawn(http::request(node.address, "GET", "/healthz", &[]));
    node.says(&["cannot accept connections"]).await;
    let _: i64 = redis.must(&["PUBLISH", "public:a", "1"]).await;
    client.until("it is served", SOON, |m| m.iter().any(|m| m["data"] == 1).then_some(())).await;
    let complaints = node.log.lines_with("cannot accept").len();
    assert_eq!(complaints, 1, "{}", node.log.text());
    node.allow_files(1024);
    assert_eq!(waiting.await.unwrap().unwrap().status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_kernels_table_of_open_files_never_has_to_grow_while_a_crowd_comes() {
    let redis = Redis::start().await;
    let (node, _) = start(&redis, &Certificate::make()).await;
    assert!(node.table_of_files() >= FILES as usize, "room for {}", node.table_of_files());
}
