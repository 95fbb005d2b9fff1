//! TLS of its own: HTTP/1.1 and WebSockets, and a certificate that is replaced without touching who
//! is connected.

use std::net::SocketAddr;

use futures_util::{SinkExt, StreamExt};
use rustix::process::Signal;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::client::TlsStream;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;

use crate::support::certificate::Certificate;
use crate::support::node::{Node, Scratch};
use crate::support::redis::Redis;
use crate::support::{SOON, alone, beside_others, eventually, same};

/// A node that listens with TLS too, and where.
async fn start(redis: &Redis, certificate: &Certificate) -> (Node, SocketAddr) {
    start_with(redis, certificate, "").await
}

async fn start_with(redis: &Redis, certificate: &Certificate, further: &str) -> (Node, SocketAddr) {
    let (pem, key) = (certificate.pem.0.display(), certificate.key.0.display());
    let config = format!("[tls]\ncertificate = \"{pem}\"\nkey = \"{key}\"\n{further}");
    let mut node = Node::on(&redis.url()).config(&config).listen("tls:127.0.0.1:0").start().await;
    node.ready().await;
    let line = node.line().await;
    let address = line.split_once("https://").expect("an address").1.split('/').next().unwrap().parse().unwrap();
    (node, address)
}

/// Reads messages until one is this.
async fn shows(socket: &mut WebSocketStream<TlsStream<TcpStream>>, text: &str) {
    let read = async {
        while let Some(message) = socket.next().await {
            if message.unwrap() == Message::text(text) {
                return;
            }
        }
        panic!("the connection ended before {text}");
    };
    timeout(SOON, read).await.unwrap_or_else(|_| panic!("no {text}"));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_page_and_the_socket_come_over_tls() {
    let _turn = beside_others().await;
    let redis = Redis::start().await;
    let certificate = Certificate::make();
    let (node, address) = start(&redis, &certificate).await;
    let mut stream = certificate.connect(address, b"http/1.1").await.unwrap();
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"http/1.1"[..]));
    stream.write_all(b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").await.unwrap();
    let mut page = Vec::new();
    timeout(SOON, stream.read_to_end(&mut page)).await.expect("a page in time").unwrap();
    assert!(page.starts_with(b"HTTP/1.1 200"));
    assert!(certificate.connect(address, b"h2").await.is_err(), "HTTP/2 is not spoken");
    let plain = crate::support::client::Client::open(&node, "").await;
    plain.shows("users:count", 1).await;
    let mut socket = certificate.socket(address, "").await;
    plain.shows("users:count", 2).await;
    shows(&mut socket, r#"{"channel":"users:count","data":2,"count":true}"#).await;
    socket.send(Message::text(r#"{"subscribe":["public:a"]}"#)).await.unwrap();
    shows(&mut socket, r#"{"subscribed":"public:a"}"#).await;
    let long = "x".repeat(300_000);
    let _: i64 = redis.must(&["PUBLISH", "public:a", &long]).await;
    shows(&mut socket, &format!(r#"{{"channel":"public:a","data":"{long}"}}"#)).await;
    socket.close(None).await.unwrap();
    plain.shows("users:count", 1).await;
}

/// A handshake costs the server more than all that it is refused for.
#[tokio::test(flavor = "multi_thread")]
async fn over_tls_an_address_that_connects_too_often_is_hung_up_on_without_a_handshake() {
    let _turn = beside_others().await;
    let redis = Redis::start().await;
    let certificate = Certificate::make();
    let (node, address) =
        start_with(&redis, &certificate, "[limits]\nexempt_addresses = [\"192.0.2.0/24\"]\nconnects_per_second = 1\n")
            .await;
    let mut served = 0;
    while let Ok(mut stream) = certificate.connect(address, b"http/1.1").await {
        stream.write_all(b"GET /readyz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").await.unwrap();
        let mut reply = Vec::new();
        timeout(SOON, stream.read_to_end(&mut reply)).await.expect("an answer in time").unwrap();
        assert!(reply.starts_with(b"HTTP/1.1 200"), "{}", String::from_utf8_lossy(&reply));
        served += 1;
        assert!(served < 100, "no limit");
    }
    assert!(served > 0);
    node.says(&["limits.connects_per_second"]).await;
    assert_eq!(node.log.lines_with("limits.connects_per_second").len(), 1, "{}", node.log.text());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_hangs_up_leaves_the_count_and_one_that_is_closed_hears_why() {
    let _turn = beside_others().await;
    let redis = Redis::start().await;
    let certificate = Certificate::make();
    let (node, address) = start(&redis, &certificate).await;
    let watcher = crate::support::client::Client::open(&node, "watch=users:count").await;
    let (rude, mut staying) = (certificate.socket(address, "").await, certificate.socket(address, "").await);
    watcher.shows("users:count", 2).await;
    drop(rude);
    watcher.shows("users:count", 1).await;
    node.signal(Signal::TERM);
    let closed = async {
        while let Some(message) = staying.next().await {
            if let Message::Close(frame) = message.unwrap() {
                return frame.map(|frame| u16::from(frame.code));
            }
        }
        None
    };
    assert_eq!(timeout(SOON, closed).await.expect("a close frame"), Some(1012));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_is_closed_for_what_it_sends_hears_why_while_it_still_sends() {
    let _turn = beside_others().await;
    let redis = Redis::start().await;
    let certificate = Certificate::make();
    let (_node, address) = start_with(&redis, &certificate, "[session]\nclose = \"60s\"\n").await;
    for _ in 0..5 {
        let mut socket = certificate.socket(address, "").await;
        for _ in 0..20 {
            socket.send(Message::binary(vec![0; 20_000])).await.unwrap();
        }
        let read = async {
            let mut code = None;
            while let Some(Ok(message)) = socket.next().await {
                if let Message::Close(close) = message {
                    code = close.map(|close| u16::from(close.code));
                }
            }
            code
        };
        assert_eq!(timeout(SOON, read).await, Ok(Some(1003)));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_reads_nothing_is_closed_and_others_do_not_wait() {
    let _turn = alone().await;
    let redis = Redis::start().await;
    let certificate = Certificate::make();
    let further = "[limits]\nclient_buffer = \"64KiB\"\n[session]\nclose = \"500ms\"\n";
    let (node, address) = start_with(&redis, &certificate, further).await;
    let deaf = certificate.socket(address, "channel=public:a").await;
    let mut reading = certificate.socket(address, "channel=public:a").await;
    shows(&mut reading, r#"{"subscribed":"public:a"}"#).await;
    let payload = "x".repeat(32_000);
    let expected = format!(r#"{{"channel":"public:a","data":"{payload}"}}"#);
    let deadline = tokio::time::Instant::now() + SOON * 3;
    loop {
        let _: i64 = redis.must(&["PUBLISH", "public:a", &payload]).await;
        // The other one reads in step, so that only the deaf one falls behind.
        shows(&mut reading, &expected).await;
        let text = node.get("/metrics").await.unwrap().text();
        if text.lines().any(|line| line.starts_with("headcount_closed_total{reason=\"slow\"} 1")) {
            break;
        }
        assert!(tokio::time::Instant::now() < deadline, "the deaf one is closed: {text}");
    }
    eventually("its descriptor is free", SOON, || async {
        let text = node.get("/metrics").await?.text();
        same("sockets", text.lines().find(|line| line.starts_with("headcount_sockets ")), Some("headcount_sockets 1"))
    })
    .await;
    drop(deaf);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reload_takes_a_new_certificate_and_open_connections_stay() {
    let _turn = beside_others().await;
    let redis = Redis::start().await;
    let mut certificate = Certificate::make();
    let (node, address) = start(&redis, &certificate).await;
    let mut before = certificate.socket(address, "").await;
    certificate.replace();
    assert!(certificate.connect(address, b"http/1.1").await.is_err(), "the new one is not in place yet");
    node.signal(Signal::HUP);
    node.says(&["reloaded", "tls.certificate"]).await;
    let mut after = certificate.socket(address, "").await;
    for socket in [&mut before, &mut after] {
        shows(socket, r#"{"channel":"users:count","data":2,"count":true}"#).await;
    }
    // Half a renewal: the key is another one's.
    std::fs::copy(&Certificate::make().key.0, &certificate.key.0).unwrap();
    node.signal(Signal::HUP);
    node.says(&["tls.certificate", "cannot be used"]).await;
    node.says(&["not reloaded"]).await;
    certificate.socket(address, "").await;
}

#[tokio::test]
async fn a_certificate_that_is_missing_or_damaged_is_named() {
    let check = async |variables: &[(&str, &str)]| {
        let mut command = crate::support::node::headcount();
        let output = command.arg("check").envs(variables.iter().copied()).output();
        let output = timeout(SOON, output).await.expect("it ends by itself").unwrap();
        assert!(!output.status.success());
        String::from_utf8(output.stderr).unwrap()
    };
    let text = check(&[("HEADCOUNT_SERVER__LISTEN", "tls:127.0.0.1:0")]).await;
    assert!(text.contains("needs tls.certificate and tls.key"), "{text}");
    let rubbish = Scratch::write("rubbish.pem", "no certificate");
    let name = rubbish.0.to_str().unwrap();
    let text = check(&[("HEADCOUNT_TLS__CERTIFICATE", name), ("HEADCOUNT_TLS__KEY", name)]).await;
    assert!(text.contains("no PEM certificate") && text.contains(name), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_clients_keep_their_connections_while_the_certificate_is_replaced_under_load() {
    const CLIENTS: usize = 1_000;
    const ROUNDS: usize = 30;
    let _turn = alone().await;
    let redis = Redis::start().await;
    let mut certificate = Certificate::make();
    let (node, address) = start(&redis, &certificate).await;
    let mut sockets = Vec::new();
    for _ in 0..CLIENTS / 50 {
        let opened = (0..50).map(|_| certificate.socket(address, "channel=public:a"));
        sockets.extend(futures_util::future::join_all(opened).await);
    }
    let last = format!(r#"{{"channel":"public:a","data":{}}}"#, ROUNDS - 1);
    let reading: Vec<_> = sockets
        .into_iter()
        .map(|mut socket| {
            let last = last.clone();
            tokio::spawn(async move {
                let mut messages = 0;
                while let Some(Ok(message)) = socket.next().await {
                    messages += usize::from(message.to_text().is_ok_and(|text| text.contains("\"channel\"")));
                    if message == Message::text(last.as_str()) {
                        break;
                    }
                }
                (messages, socket)
            })
        })
        .collect();
    for round in 0..ROUNDS {
        let _: i64 = redis.must(&["PUBLISH", "public:a", &round.to_string()]).await;
        if round == ROUNDS / 3 {
            certificate.replace();
            node.signal(Signal::HUP);
        }
    }
    node.says(&["reloaded", "tls.certificate"]).await;
    certificate.socket(address, "").await;
    for reader in reading {
        let (messages, _socket) = timeout(SOON * 3, reader).await.expect("every message in time").unwrap();
        assert_eq!(messages, ROUNDS);
    }
}
