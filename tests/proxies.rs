//! Behind a proxy the client's address is the one that a trusted proxy names, by header or by the
//! PROXY protocol; and a proxy on this machine may come by a unix socket.

use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;

use rustix::process::Signal;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpStream, UnixStream};
use tokio::time::timeout;

use crate::support::client::Client;
use crate::support::node::{Node, Scratch};
use crate::support::redis::Redis;
use crate::support::wire::{self, UPGRADE};
use crate::support::{SOON, beside_others, eventually};

/// Sends a preamble and an upgrade with these headers, and gives the status.
async fn upgrade<S: AsyncRead + AsyncWrite + Unpin>(stream: &mut S, preamble: &[u8], headers: &[&str]) -> String {
    let lines = [&UPGRADE[..], headers].concat().join("\r\n");
    let request = format!("GET /ws HTTP/1.1\r\nHost: here\r\n{lines}\r\n\r\n");
    let exchange = async {
        stream.write_all(&[preamble, request.as_bytes()].concat()).await.ok();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            match stream.read_u8().await {
                Ok(byte) => head.push(byte),
                Err(_) => return String::from("closed"),
            }
        }
        String::from_utf8_lossy(&head[9..12]).into_owned()
    };
    timeout(SOON, exchange).await.expect("an answer in time")
}

async fn status(to: SocketAddr, preamble: &[u8], headers: &[&str]) -> (String, TcpStream) {
    let mut stream = TcpStream::connect(to).await.unwrap();
    (upgrade(&mut stream, preamble, headers).await, stream)
}

/// A PROXY header of version 2 for an IPv4 client.
fn proxy_header(client: [u8; 4]) -> Vec<u8> {
    let mut header = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c".to_vec();
    header.extend(client);
    header.extend([127, 0, 0, 1, 0x10, 0, 0x0b, 0xb8]);
    header
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_has_only_so_many_clients_and_gets_its_places_back() {
    let _turn = beside_others().await;
    let redis = Redis::start().await;
    let node = Node::on(&redis.url()).among_strangers().set("LIMITS__CLIENTS_PER_ADDRESS", "2").start().await;
    let (first, second) = (Client::open(&node, "").await, Client::open(&node, "").await);
    assert_eq!(status(node.address, b"", &["X-Forwarded-For: 203.0.113.9"]).await.0, "429");
    first.close().await;
    eventually("its place is free", SOON, || async {
        match status(node.address, b"", &[]).await.0.as_str() {
            "101" => Ok(()),
            other => Err(other.to_owned()),
        }
    })
    .await;
    drop(second);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trusted_proxy_names_the_client_and_nobody_else_does() {
    let _turn = beside_others().await;
    let redis = Redis::start().await;
    for (key, header) in [("x-forwarded-for", "X-Forwarded-For: "), ("forwarded", "Forwarded: for=")] {
        let node = Node::on(&redis.url())
            .set("LIMITS__CLIENTS_PER_ADDRESS", "1")
            .set("SERVER__TRUSTED_PROXIES", "127.0.0.1,10.0.0.0/8")
            .set("SERVER__FORWARDED_HEADER", key)
            .start()
            .await;
        let from = |clients: &str| format!("{header}{clients}");
        let (one, _held) = status(node.address, b"", &[&from("203.0.113.1")]).await;
        let (other, _held_too) = status(node.address, b"", &[&from("203.0.113.2")]).await;
        assert_eq!((one.as_str(), other.as_str()), ("101", "101"), "{key}");
        // Whatever the client wrote itself stands before what the proxies wrote.
        let forged = from(&["198.51.100.1", "203.0.113.1"].join(if key == "forwarded" { ", for=" } else { ", " }));
        assert_eq!(status(node.address, b"", &[&forged]).await.0, "429", "{key}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_proxy_protocol_names_the_client_and_is_wanted_of_trusted_proxies() {
    let _turn = beside_others().await;
    let redis = Redis::start().await;
    let node = Node::on(&redis.url())
        .set("LIMITS__CLIENTS_PER_ADDRESS", "1")
        .set("LIMITS__HANDSHAKE", "1s")
        .set("SERVER__TRUSTED_PROXIES", "127.0.0.1")
        .set("SERVER__PROXY_PROTOCOL", "true")
        .start()
        .await;
    let (one, _held) = status(node.address, &proxy_header([203, 0, 113, 1]), &[]).await;
    let (other, _held_too) = status(node.address, &proxy_header([203, 0, 113, 2]), &[]).await;
    assert_eq!((one.as_str(), other.as_str()), ("101", "101"));
    assert_eq!(status(node.address, &proxy_header([203, 0, 113, 1]), &[]).await.0, "429");
    assert_eq!(status(node.address, b"", &[]).await.0, "closed", "no header");
    assert_eq!(status(node.address, b"PROXY TCP4 203.0.113.1 127.0.0.1 1 2\r\n", &[]).await.0, "closed", "version 1");
    // Half a header is waited for as long as a request is.
    let mut slow = TcpStream::connect(node.address).await.unwrap();
    slow.write_all(b"\r\n\r\n\0").await.unwrap();
    let ended = timeout(SOON, slow.read_u8()).await.expect("it ends in time");
    assert!(ended.is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_unix_socket_is_as_good_as_an_address_and_only_the_owner_and_group_may_open_it() {
    let _turn = beside_others().await;
    let redis = Redis::start().await;
    let file = Scratch::write("web.sock", "");
    std::fs::remove_file(&file.0).unwrap();
    let path = file.0.to_str().unwrap();
    // What a server that crashed leaves behind.
    drop(std::os::unix::net::UnixListener::bind(&file.0).unwrap());
    let mut node = Node::on(&redis.url())
        .listen(&format!("unix:{path}"))
        .set("LIMITS__CLIENTS_PER_ADDRESS", "1")
        .set("SERVER__TRUSTED_PROXIES", "unix:")
        .start()
        .await;
    node.ready().await;
    assert!(node.line().await.contains(&format!("unix:{path}")));
    assert_eq!(std::fs::metadata(&file.0).unwrap().permissions().mode() & 0o777, 0o660);
    let mut socket = UnixStream::connect(&file.0).await.unwrap();
    assert_eq!(upgrade(&mut socket, b"", &["X-Forwarded-For: 203.0.113.1"]).await, "101");
    let read = async {
        loop {
            let frame = wire::read_frame(&mut socket).await.unwrap();
            let text = String::from_utf8(frame.payload).unwrap();
            if text.contains("users:count") && text.contains(r#""data":1"#) {
                return;
            }
        }
    };
    timeout(SOON, read).await.expect("the count comes");
    let mut again = UnixStream::connect(&file.0).await.unwrap();
    assert_eq!(upgrade(&mut again, b"", &["X-Forwarded-For: 203.0.113.1"]).await, "429");
    node.signal(Signal::TERM);
    let frame = timeout(SOON, wire::read_frame(&mut socket)).await.expect("a close frame").unwrap();
    assert_eq!(frame.close_code(), Some(1012));
    drop(socket);
    assert_eq!(node.exit(SOON).await.code(), Some(0));
    assert!(!file.0.exists(), "the socket's file is gone");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_path_where_somebody_listens_is_not_taken_over() {
    let _turn = beside_others().await;
    let file = Scratch::write("web.sock", "");
    std::fs::remove_file(&file.0).unwrap();
    let _theirs = std::os::unix::net::UnixListener::bind(&file.0).unwrap();
    let place = format!("unix:{}", file.0.display());
    let output = crate::support::node::headcount().args(["--listen", &place]).output();
    let output = timeout(SOON, output).await.expect("it ends by itself").unwrap();
    assert!(!output.status.success());
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(text.contains(&place) && text.contains("in use"), "{text}");
    assert!(file.0.exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_ipv6_address_is_listened_on_beside_an_ipv4_one() {
    let _turn = beside_others().await;
    let redis = Redis::start().await;
    let mut node = Node::on(&redis.url()).listen("[::1]:0").start().await;
    let line = node.line().await;
    let port = line.split_once("http://[::1]:").expect("an address").1.split('/').next().unwrap().parse().unwrap();
    let there = SocketAddr::from((std::net::Ipv6Addr::LOCALHOST, port));
    assert_eq!(status(there, b"", &[]).await.0, "101");
}
