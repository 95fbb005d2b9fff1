//! `GET /events` sends what a socket gets, as server-sent events, to clients that are counted.

use std::time::Duration;

use rustix::process::Signal;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::support::client::Client;
use crate::support::node::Node;
use crate::support::redis::Redis;
use crate::support::{SOON, alone, beside_others, eventually, same, stays};

/// A client that reads a stream of events, as a browser's `EventSource` does.
struct Stream {
    head: String,
    lines: BufReader<TcpStream>,
}

impl Stream {
    async fn open(node: &Node, query: &str, headers: &[&str]) -> Stream {
        let mut stream = TcpStream::connect(node.address).await.unwrap();
        let headers: String = headers.iter().map(|header| format!("{header}\r\n")).collect();
        let request = format!("GET /events?{query} HTTP/1.1\r\nHost: here\r\n{headers}\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut stream = Stream { head: String::new(), lines: BufReader::new(stream) };
        loop {
            let line = stream.line().await;
            stream.head.push_str(&line);
            if line == "\r\n" || line.is_empty() {
                return stream;
            }
        }
    }

    async fn line(&mut self) -> String {
        let mut line = String::new();
        timeout(SOON, self.lines.read_line(&mut line)).await.expect("a line in time").unwrap();
        line
    }

    /// Reads until a line is this.
    async fn shows(&mut self, expected: &str) {
        loop {
            let line = self.line().await;
            assert!(!line.is_empty(), "the stream ended before {expected:?}");
            if line.trim_end() == expected {
                return;
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_listener_is_counted_and_gets_the_same_objects() {
    let _turn = beside_others().await;
    let redis = Redis::start().await;
    let node = Node::start(&redis.url()).await;
    let mut stream = Stream::open(&node, "channel=users:count&channel=public:a&channel=secret", &[]).await;
    for header in ["200 OK", "text/event-stream", "no-store", "Access-Control-Allow-Origin: *"] {
        assert!(stream.head.contains(header), "{}", stream.head);
    }
    stream.shows("id: 0").await;
    let mut subscribed = Vec::new();
    while subscribed.len() < 2 {
        let line = stream.line().await;
        subscribed.extend(line.starts_with(r#"data: {"subscribed":"#).then(|| line.trim_end().to_owned()));
    }
    subscribed.sort();
    assert_eq!(subscribed[0], r#"data: {"subscribed":"public:a"}"#);
    assert!(subscribed[1].starts_with(r#"data: {"subscribed":"users:count","data":"#), "{subscribed:?}");
    let client = Client::open(&node, "").await;
    client.shows("users:count", 2).await;
    stream.shows(r#"data: {"channel":"users:count","data":2,"count":true}"#).await;
    let _: i64 = redis.must(&["PUBLISH", "public:a", "{\"x\":\n1}"]).await;
    stream.shows(r#"data: {"channel":"public:a","data":{"x":"#).await;
    stream.shows("data: 1}}").await;
    drop(stream);
    client.shows("users:count", 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_refused_is_told_as_to_a_socket() {
    let _turn = beside_others().await;
    let redis = Redis::start().await;
    let node = Node::on(&redis.url()).set("SERVER__ORIGINS", "https://example.com").start().await;
    node.ready().await;
    let mut stream = Stream::open(&node, "channel=secret", &["Origin: https://example.com"]).await;
    assert!(stream.head.contains("Access-Control-Allow-Origin: https://example.com\r\n"), "{}", stream.head);
    while !stream.line().await.contains(r#"{"error":{"code":"forbidden","channel":"secret""#) {}
    for (headers, query, status) in [("Origin: https://elsewhere.example", "", "403"), ("X: y", "chanel=a", "400")] {
        let refused = Stream::open(&node, query, &[headers]).await;
        assert!(refused.head.contains(status), "{}", refused.head);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_listener_is_kept_alive_by_comments_and_hears_why_it_ends() {
    let _turn = beside_others().await;
    let redis = Redis::start().await;
    let often = Node::on(&redis.url()).set("SESSION__PING", "200ms").set("SESSION__PONG", "300ms");
    let mut node = often.set("SESSION__CLOSE", "60s").start().await;
    node.ready().await;
    let mut stream = Stream::open(&node, "", &[]).await;
    for _ in 0..5 {
        stream.shows(":").await;
    }
    stays("it is counted", Duration::from_millis(700), || async {
        same("GET", redis.get("users:count").await?, Some(1))
    })
    .await;
    node.signal(Signal::TERM);
    stream.shows("event: close").await;
    assert!(stream.line().await.contains("\"code\":1012"));
    let mut rest = Vec::new();
    timeout(SOON, stream.lines.read_to_end(&mut rest)).await.expect("the stream ends").unwrap();
    assert_eq!(node.exit(SOON).await.code(), Some(0));
    assert_eq!(node.log.lines_with("goodbye"), Vec::<String>::new(), "it has nothing to say, and keeps nobody waiting");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_browser_that_comes_back_is_told_that_it_may_have_missed_something() {
    let _turn = beside_others().await;
    let redis = Redis::start().await;
    let node = Node::start(&redis.url()).await;
    let mut first = Stream::open(&node, "channel=public:a", &[]).await;
    first.shows(r#"data: {"subscribed":"public:a"}"#).await;
    let mut again = Stream::open(&node, "channel=public:a", &["Last-Event-ID: 0"]).await;
    again.shows(r#"data: {"subscribed":"public:a","gap":true}"#).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_listener_that_reads_nothing_is_let_go() {
    let _turn = alone().await;
    let redis = Redis::start().await;
    let node = Node::on(&redis.url())
        .set("LIMITS__CLIENT_BUFFER", "64KiB")
        .set("SESSION__PING", "500ms")
        .set("SESSION__PONG", "1s")
        .set("SESSION__CLOSE", "500ms")
        .start()
        .await;
    node.ready().await;
    let deaf = Stream::open(&node, "channel=public:a", &[]).await;
    let payload = "x".repeat(32_000);
    let line = |text: &str, name: &str| text.lines().find(|line| line.starts_with(name)).map(str::to_owned);
    eventually("it is closed", SOON * 3, || async {
        let _: i64 = redis.run(&["PUBLISH", "public:a", &payload]).await?;
        let text = node.get("/metrics").await?.text();
        same("sockets", line(&text, "headcount_sockets "), Some("headcount_sockets 0".into()))
    })
    .await;
    drop(deaf);
}
