//! What tokens cost: CPU a connect, the others' deliveries while many connect, and the others' joins while
//! somebody floods the server with wrong ones.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, SystemTime};

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use ring::hmac;
use ring::signature::{Ed25519KeyPair, KeyPair};
use serde_json::{Value, json};
use socket2::{Domain, Socket, Type};

use super::storm::storm;
use super::{micros, millis};
use crate::crowd::Crowd;
use crate::machine::Core;
use crate::publisher::Publisher;
use crate::report::{Goal, Report, Row};
use crate::servers::{Server, headcount, redis};
use crate::stats::{Interval, percentile};
use crate::{Extent, Result};

const SECRET: &[u8] = b"a secret of the benches, and of no use anywhere else";
/// Connects a second while deliveries are measured.
const CONNECTS: u32 = 300;
/// Wrong tokens a second: 100,000 a minute.
const WRONG: u32 = 1667;
/// The longest that anybody waits for an answer.
const PATIENCE: Duration = Duration::from_secs(5);

/// Keys to sign with, and the files that a server checks with.
struct Keys {
    pair: Ed25519KeyPair,
    folder: PathBuf,
}

impl Drop for Keys {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

impl Keys {
    fn make() -> Result<Self> {
        let pair = Ed25519KeyPair::from_seed_unchecked(&[7; 32]).map_err(|_| "no key")?;
        let folder = std::env::temp_dir().join(format!("headcount-bench-keys-{}", std::process::id()));
        std::fs::create_dir_all(&folder)?;
        // RFC 8410: what stands before the 32 bytes of an Ed25519 key.
        let info =
            [&[0x30, 0x2a, 0x30, 5, 6, 3, 0x2b, 0x65, 0x70, 3, 0x21, 0][..], pair.public_key().as_ref()].concat();
        let pem = format!("-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----\n", STANDARD.encode(info));
        std::fs::write(folder.join("public.pem"), pem)?;
        std::fs::write(folder.join("secret"), SECRET)?;
        std::fs::set_permissions(folder.join("secret"), PermissionsExt::from_mode(0o600))?;
        Ok(Self { pair, folder })
    }

    fn token(&self, sign: impl Fn(&[u8]) -> Vec<u8>, algorithm: &str) -> String {
        let part = |json: Value| URL_SAFE_NO_PAD.encode(json.to_string());
        let end = SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default().as_secs() + 3600;
        let claims = json!({ "sub": "bench", "exp": end, "headcount": { "join": ["*"] } });
        let message = format!("{}.{}", part(json!({ "alg": algorithm })), part(claims));
        format!("{message}.{}", URL_SAFE_NO_PAD.encode(sign(message.as_bytes())))
    }

    fn eddsa(&self) -> String {
        self.token(|message| self.pair.sign(message).as_ref().to_vec(), "EdDSA")
    }

    /// Of somebody else: it costs as much to check, and is refused.
    fn wrong(&self) -> String {
        self.token(|message| self.pair.sign(&[message, b"x"].concat()).as_ref().to_vec(), "EdDSA")
    }

    fn hs256(&self) -> String {
        self.token(|message| hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, SECRET), message).as_ref().to_vec(), "HS256")
    }

    fn server(&self, redis: u16, file: &str, more: &[(&str, &str)]) -> Result<Server> {
        let path = self.folder.join(file);
        let path = path.to_str().unwrap_or_default();
        let key = if file == "secret" { "HEADCOUNT_AUTH__SECRET_FILES" } else { "HEADCOUNT_AUTH__PUBLIC_KEY_FILES" };
        let settings = [&[(key, path), ("HEADCOUNT_AUTH__QUERY", "true")][..], more].concat();
        headcount(Core::Server, 1, redis, &settings)
    }
}

pub fn tokens(extent: Extent, report: &mut Report) -> Result<()> {
    let (keys, store) = (Keys::make()?, redis()?);
    connects(extent, &keys, &store, report)?;
    deliveries(extent, &keys, &store, report)?;
    flood(extent, &keys, &store, report)
}

fn connects(extent: Extent, keys: &Keys, store: &Server, report: &mut Report) -> Result<()> {
    let clients = extent.pick(1000, 4000);
    let (mut open, mut secret, mut public) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..extent.pick(3, 9) {
        for (file, token, all) in [
            ("secret", None, &mut open),
            ("secret", Some(keys.hs256()), &mut secret),
            ("public.pem", Some(keys.eddsa()), &mut public),
        ] {
            let server = keys.server(store.port, file, &[])?;
            let path = token.map_or("/ws".to_owned(), |token| format!("/ws?token={token}"));
            all.push(storm(&server, &mut Crowd::new()?, clients, &path, Some(clients))?.0);
        }
    }
    for (what, all) in [("HS256", &secret), ("EdDSA", &public)] {
        report.row(Row {
            measure: format!("{clients} connects with an {what} token: CPU a connect"),
            ours: micros(Interval::of(all).median),
            floor: format!("{} (open)", micros(Interval::of(&open).median)),
            ratio: None,
            noise: None,
            goal: None,
        });
    }
    Ok(())
}

/// A connection from an address, and a request on it. Returns what was answered up to `until`, or to the end.
fn ask(port: u16, from: Ipv4Addr, path: &str, until: &str) -> Result<(TcpStream, String)> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
    socket.bind(&SocketAddr::from((from, 0)).into())?;
    socket.connect(&SocketAddr::from((Ipv4Addr::LOCALHOST, port)).into())?;
    let mut stream = TcpStream::from(socket);
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    let head = "Host: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
                Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
    write!(stream, "GET {path} HTTP/1.1\r\n{head}\r\n")?;
    let (mut said, mut buffer) = (Vec::new(), [0; 4096]);
    loop {
        let text = String::from_utf8_lossy(&said).into_owned();
        if text.contains(until) {
            return Ok((stream, text));
        }
        match stream.read(&mut buffer) {
            Ok(0) | Err(_) => return Ok((stream, text)),
            Ok(n) => said.extend_from_slice(&buffer[..n]),
        }
    }
}

/// Does something so often a second, beside what is measured, until it is told to stop.
fn beside<T>(each_second: u32, act: impl Fn() + Send, measure: impl FnOnce() -> Result<T>) -> Result<T> {
    let stop = Arc::new(AtomicBool::new(false));
    std::thread::scope(|scope| {
        let stopped = stop.clone();
        scope.spawn(move || {
            let (start, mut done) = (Instant::now(), 0_u32);
            while !stopped.load(Ordering::Relaxed) {
                act();
                done += 1;
                let due = Duration::from_secs(1) * done / each_second;
                std::thread::sleep(due.saturating_sub(start.elapsed()));
            }
        });
        let result = measure();
        stop.store(true, Ordering::Relaxed);
        result
    })
}

/// The time from publishing a message until a socket has it, again and again, in µs.
fn delivered(port: u16, store: u16, rounds: usize) -> Result<Vec<f64>> {
    let (mut reader, _) = ask(port, Ipv4Addr::LOCALHOST, "/ws?channel=public:p", "subscribed")?;
    let mut publisher = Publisher::connect(&format!("redis:{store}"))?;
    let (mut times, mut buffer) = (Vec::new(), [0; 4096]);
    for _ in 0..rounds {
        let start = Instant::now();
        publisher.publish([("public:p", "1".to_owned())].into_iter())?;
        if reader.read(&mut buffer)? == 0 {
            return Err("the reader was closed".into());
        }
        times.push(start.elapsed().as_secs_f64() * 1e6);
        publisher.confirm(1)?;
        std::thread::sleep(Duration::from_millis(2));
    }
    Ok(times)
}

fn deliveries(extent: Extent, keys: &Keys, store: &Server, report: &mut Report) -> Result<()> {
    let rounds = extent.pick(1000, 5000);
    let server = keys.server(store.port, "public.pem", &[])?;
    let p99 = |path: &str| -> Result<f64> {
        let connect = || drop(ask(server.port, Ipv4Addr::LOCALHOST, path, "subscribed"));
        let times = beside(CONNECTS, connect, || delivered(server.port, store.port, rounds))?;
        Ok(percentile(&times, 0.99))
    };
    let (mut open, mut public) = (Vec::new(), Vec::new());
    let with_token = format!("/ws?token={}", keys.eddsa());
    for _ in 0..extent.pick(3, 9) {
        open.push(p99("/ws")?);
        public.push(p99(&with_token)?);
    }
    let ratios: Vec<f64> = public.iter().zip(&open).map(|(public, open)| public / open).collect();
    let ratio = Interval::of(&ratios);
    report.row(Row {
        measure: format!("p99 of a delivery while {CONNECTS} a second connect with an EdDSA token"),
        ours: millis(Interval::of(&public).median),
        floor: format!("{} (open)", millis(Interval::of(&open).median)),
        ratio: Some(ratio),
        noise: None,
        goal: Some(Goal::Ratio(1.1)),
    });
    Ok(())
}

fn flood(extent: Extent, keys: &Keys, store: &Server, report: &mut Report) -> Result<()> {
    let rounds = extent.pick(200, 1000);
    // So that this machine's addresses are limited as a stranger's are.
    let limited = [("HEADCOUNT_LIMITS__EXEMPT_ADDRESSES", "192.0.2.0/24")];
    let server = keys.server(store.port, "public.pem", &limited)?;
    let honest = || -> Result<f64> {
        let mut times = Vec::new();
        let token = keys.eddsa();
        for _ in 0..rounds {
            let start = Instant::now();
            let (_, said) = ask(server.port, Ipv4Addr::LOCALHOST, &format!("/ws?token={token}"), "subscribed")?;
            if !said.contains("subscribed") {
                return Err(format!("an honest client was turned away: {said}").into());
            }
            times.push(start.elapsed().as_secs_f64() * 1e6);
            std::thread::sleep(Duration::from_millis(10));
        }
        Ok(percentile(&times, 0.99))
    };
    let wrong = format!("/ws?token={}", keys.wrong());
    let somewhere_else = Ipv4Addr::new(127, 0, 0, 2);
    let (mut quiet, mut flooded) = (Vec::new(), Vec::new());
    for _ in 0..extent.pick(2, 11) {
        quiet.push(honest()?);
        let knock = || drop(ask(server.port, somewhere_else, &wrong, "\r\n\r\n"));
        flooded.push(beside(WRONG, knock, honest)?);
    }
    let ratios: Vec<f64> = flooded.iter().zip(&quiet).map(|(flooded, quiet)| flooded / quiet).collect();
    report.row(Row {
        measure: format!("p99 of a join while an address shows {WRONG} wrong tokens a second"),
        ours: millis(Interval::of(&flooded).median),
        floor: format!("{} (quiet)", millis(Interval::of(&quiet).median)),
        ratio: Some(Interval::of(&ratios)),
        noise: None,
        goal: Some(Goal::Ratio(2.0)),
    });
    Ok(())
}
