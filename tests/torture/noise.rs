//! Any bytes on the port that visitors come by: requests and frames, whole, torn, mixed and invented,
//! from clients that read, do not read, close half, or reset. The node must answer honest clients all
//! the while, and afterwards hold nothing of the others: no file, no count.
//!
//! `NOISE_SEED` replays a run as far as timing lets it, `NOISE_SECONDS` makes it longer.

use std::net::SocketAddr;
use std::time::Duration;

use fastrand::Rng;
use futures_util::future::join_all;
use socket2::SockRef;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};

use super::store::{Brand, Store};
use super::visitor::Visitor;
use crate::support::node::Node;
use crate::support::{SOON, beside_others, eventually, same};

/// How many clients make noise at once.
const CLIENTS: usize = 12;
/// What a node may take in memory, in a debug build.
const MOST_MEMORY: u64 = 200 << 20;
/// An honest client's answer takes no longer, on a busy machine.
const ANSWER: Duration = Duration::from_secs(5);

const UPGRADE: &str = "GET /ws?channel=users:count&watch=page:/a HTTP/1.1\r\nHost: here\r\nConnection: Upgrade\r\n\
                       Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
                       Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";

const REQUESTS: [&str; 14] = [
    "GET / HTTP/1.1\r\nHost: here\r\n\r\n",
    "GET /readyz HTTP/1.1\r\nHost: here\r\nConnection: close\r\n\r\n",
    "HEAD /metrics HTTP/1.1\r\nHost: here\r\n\r\n",
    "GET /headcount.js HTTP/1.0\r\n\r\n",
    "GET / HTTP/1.1\r\nHost: here\r\nAccept-Encoding: gzip\r\nIf-None-Match: \"x\"\r\nRange: bytes=0-1\r\n\r\n",
    "GET /events?channel=page:/a HTTP/1.1\r\nHost: here\r\nLast-Event-ID: 0\r\n\r\n",
    "POST / HTTP/1.1\r\nHost: here\r\nContent-Length: 5\r\n\r\nhello",
    "POST /ws HTTP/1.1\r\nHost: here\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
    "GET / HTTP/1.1\r\nHost: here\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "OPTIONS * HTTP/1.1\r\nHost: here\r\n\r\n",
    "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "GET /ws?channel=%00%ff%25&reconnect=1&&=&a HTTP/1.1\r\nHost: here\r\nOrigin: null\r\n\r\n",
    "GET / HTTP/1.1\r\nHost: here\r\nExpect: 100-continue\r\nForwarded: for=1\r\nX-Forwarded-For: a, 1.2.3.4\r\n\r\n",
    UPGRADE,
];

#[tokio::test(flavor = "multi_thread")]
async fn a_node_outlives_any_bytes_and_answers_honest_clients_all_the_while() {
    let _turn = beside_others().await;
    let number = |name: &str| std::env::var(name).ok().map(|text| text.parse::<u64>().expect(name));
    let seed = number("NOISE_SEED").unwrap_or_else(|| fastrand::u64(..1_000_000));
    let time = Duration::from_secs(number("NOISE_SECONDS").unwrap_or(10));
    eprintln!("NOISE_SEED={seed}");
    let store = Store::start(Brand::Redis).await;
    let node = Node::on(&format!("redis://127.0.0.1:{}", store.port))
        .set("LIMITS__CLIENTS_PER_ADDRESS", "0")
        .set("LIMITS__HANDSHAKE", "2s")
        .set("SESSION__PING", "2s")
        .set("SESSION__PONG", "3s")
        .set("SESSION__CLOSE", "1s")
        .set("LOG__LEVEL", "warn");
    let mut node = node.start().await;
    node.ready().await;
    let honest = Visitor::open(node.address, ["users:count"].into(), [].into()).await.unwrap();
    eventually("the honest one is counted", SOON, || async { honest.sees("users:count", 1) }).await;
    let files = node.open_files();

    let end = Instant::now() + time;
    let noise = (0..CLIENTS).map(|client| {
        let mut rng = Rng::with_seed(seed.wrapping_add(client as u64));
        let to = node.address;
        tokio::spawn(async move {
            let mut rounds = 0_u64;
            while Instant::now() < end {
                make_noise(to, &mut rng).await;
                rounds += 1;
            }
            rounds
        })
    });
    let noise: Vec<_> = noise.collect();
    let mut slowest = Duration::ZERO;
    while Instant::now() < end {
        let asked = Instant::now();
        let answer = timeout(ANSWER, node.get("/readyz")).await.unwrap_or_else(|_| panic!("seed {seed}: no answer"));
        assert_eq!(answer.unwrap_or_else(|why| panic!("seed {seed}: {why}")).status, 200);
        slowest = slowest.max(asked.elapsed());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let rounds: u64 = join_all(noise).await.into_iter().map(Result::unwrap).sum();

    // Pings that nobody answers, requests that never end and farewells that never come have their bounds.
    eventually("nothing is left of the noise", Duration::from_secs(20), || async {
        honest.complaint().map_or(Ok(()), Err)?;
        honest.sees("users:count", 1)?;
        same("the open files", node.open_files().min(files), files)?;
        let more = node.open_files() - files;
        if more <= 1 { Ok(()) } else { Err(format!("{more} more files are open than before")) }
    })
    .await;
    eprintln!(
        "{rounds} clients made noise; an honest request took at most {slowest:.1?}; {} MiB; {:.1?} of CPU; {} lines of log",
        node.most_memory() >> 20,
        node.cpu_time(),
        node.log.text().lines().count()
    );
    assert!(node.most_memory() < MOST_MEMORY, "seed {seed}: {} bytes", node.most_memory());
    node.signal(rustix::process::Signal::TERM);
    assert!(node.exit(SOON).await.success());
}

/// One connection from its beginning to its end.
async fn make_noise(to: SocketAddr, rng: &mut Rng) {
    let Ok(mut stream) = TcpStream::connect(to).await else { return };
    for _ in 0..rng.usize(1..4) {
        let bytes = if rng.u8(..4) == 0 { frames(rng) } else { requests(rng) };
        let pieces = if rng.u8(..8) == 0 { 1 + bytes.len() / 7 } else { bytes.len().max(1) };
        for piece in bytes.chunks(pieces) {
            // Whoever does not read is not read from at some time.
            if !matches!(timeout(Duration::from_millis(300), stream.write_all(piece)).await, Ok(Ok(()))) {
                return;
            }
        }
        match rng.u8(..6) {
            0 => drop(stream.shutdown().await),
            1 => {}
            _ => {
                let mut buffer = [0; 4096];
                let _ = timeout(Duration::from_millis(rng.u64(1..40)), stream.read(&mut buffer)).await;
            }
        }
    }
    if rng.bool() {
        let _ = SockRef::from(&stream).set_linger(Some(Duration::ZERO));
    }
}

/// Some requests behind each other, damaged in several ways.
fn requests(rng: &mut Rng) -> Vec<u8> {
    let mut bytes = Vec::new();
    for _ in 0..rng.usize(1..4) {
        bytes.extend_from_slice(REQUESTS[rng.usize(..REQUESTS.len())].as_bytes());
    }
    if rng.u8(..3) == 0 {
        bytes = UPGRADE.as_bytes().to_vec();
        bytes.extend(frames(rng));
    }
    for _ in 0..[0, 0, 1, 3, 20][rng.usize(..5)] {
        let at = rng.usize(..bytes.len().max(1));
        match rng.u8(..6) {
            _ if bytes.is_empty() => return bytes,
            0 => bytes[at] = rng.u8(..),
            1 => bytes.insert(at, [0, b'\r', b'\n', b':', b' ', 0xff][rng.usize(..6)]),
            2 => drop(bytes.remove(at)),
            3 => bytes.truncate(at + 1),
            4 => {
                let piece = bytes[at..bytes.len().min(at + 40)].to_vec();
                bytes.splice(at..at, piece.repeat(rng.usize(1..200)));
            }
            _ => {
                let long = [b"a".to_vec(), b"X: y\r\n".to_vec(), b"%00".to_vec(), b"\r\n".to_vec()];
                let long = long[rng.usize(..long.len())].repeat(rng.usize(1..20_000));
                bytes.splice(at..at, long);
            }
        }
    }
    bytes
}

/// Some frames, of which most are nearly right.
fn frames(rng: &mut Rng) -> Vec<u8> {
    let mut bytes = Vec::new();
    for _ in 0..rng.usize(1..30) {
        let first = if rng.bool() { 0x81 } else { rng.u8(..) };
        let says = [
            r#"{"subscribe":["page:/a","page:/b"]}"#,
            r#"{"unsubscribe":["users:count"]}"#,
            r#"{"watch":["users:count"]}"#,
            "{",
            "\u{0}",
        ];
        let payload = match rng.u8(..4) {
            0 => (0..rng.usize(..200)).map(|_| rng.u8(..)).collect(),
            1 => vec![b'x'; rng.usize(..70_000)],
            _ => says[rng.usize(..says.len())].as_bytes().to_vec(),
        };
        let masked = if rng.u8(..10) == 0 { 0 } else { 0x80 };
        bytes.push(first);
        let length = if rng.u8(..10) == 0 { rng.usize(..) } else { payload.len() };
        match length {
            0..126 => bytes.push(masked | length as u8),
            126..65_536 => {
                bytes.push(masked | 126);
                bytes.extend((length as u16).to_be_bytes());
            }
            _ => {
                bytes.push(masked | 127);
                bytes.extend((length as u64).to_be_bytes());
            }
        }
        let mask: [u8; 4] = std::array::from_fn(|_| rng.u8(..));
        if masked != 0 {
            bytes.extend(mask);
        }
        bytes.extend(payload.iter().zip(mask.iter().cycle()).map(|(byte, key)| byte ^ key));
    }
    bytes
}
