//! The embedded store beside `redis-server`: what a request costs, how many go through, and memory.
//!
//! Both run on the server's core and `redis-benchmark` on the load's, in turns: Redis, ours, Redis.
//! Redis stands where the floor stands in the other measures.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use mio::{Events, Interest, Poll, Token};

use crate::machine::{self, Core, cpu, resident, spawn_on, terminate};
use crate::report::{Goal, Report, Row};
use crate::stats::Turns;
use crate::{Extent, Result, resp, servers};

/// What a server may take to start, to stop, or to answer.
const PATIENCE: Duration = Duration::from_secs(30);
/// The clients of `redis-benchmark`.
const CLIENTS: &str = "50";
/// The keys, members and numbers that it draws from.
const SPACE: &str = "100000";
/// The script that states a node's number on a channel.
const SCRIPT: &str = concat!(
    include_str!("../../src/presence/lua/enter.lua"),
    include_str!("../../src/presence/lua/count.lua"),
    include_str!("../../src/presence/lua/state.lua")
);
/// Keys, and members of the sorted set, whose memory is measured.
const MILLION: usize = 1_000_000;
/// The key whose memory alone is measured, since it is too small to be seen in that of the process.
const KEY: &[u8] = b"key";
/// How many of them go over the wire at once.
const BATCH: usize = 1000;

/// A request that `redis-benchmark` repeats.
struct Request {
    name: &'static str,
    args: &'static [&'static str],
    subscribers: usize,
    /// In thousands, without pipelining, in a full run.
    thousands: usize,
}

const REQUESTS: &[Request] = &[
    Request { name: "PING", args: &["PING"], subscribers: 0, thousands: 60 },
    Request { name: "SET", args: &["SET", "key:__rand_int__", "value"], subscribers: 0, thousands: 60 },
    Request { name: "GET", args: &["GET", "key:__rand_int__"], subscribers: 0, thousands: 60 },
    Request { name: "INCR", args: &["INCR", "counter:__rand_int__"], subscribers: 0, thousands: 60 },
    Request { name: "ZADD", args: &["ZADD", "zset", "__rand_int__", "m:__rand_int__"], subscribers: 0, thousands: 60 },
    Request { name: "ZRANGE of 10", args: &["ZRANGE", "zset", "100", "109"], subscribers: 0, thousands: 60 },
    Request { name: "PUBLISH to 1", args: &["PUBLISH", "news", "hello"], subscribers: 1, thousands: 60 },
    Request { name: "PUBLISH to 100", args: &["PUBLISH", "news", "hello"], subscribers: 100, thousands: 10 },
    Request {
        name: "EVALSHA of the count",
        args: &[
            "EVALSHA",
            "{sha}",
            "6",
            "total",
            "tally",
            "own",
            "people",
            "owner",
            "members", //
            "node",
            "__rand_int__",
            "9999999999999",
            "1",
            "1",
            "",
        ],
        subscribers: 0,
        thousands: 50,
    },
];

/// A store that is measured. Dropping it ends it.
struct Store {
    child: Child,
    port: u16,
}

impl Drop for Store {
    fn drop(&mut self) {
        terminate(&self.child);
        let start = Instant::now();
        while matches!(self.child.try_wait(), Ok(None)) && start.elapsed() < PATIENCE {
            std::thread::sleep(Duration::from_millis(10));
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Store {
    fn start(command: &mut Command, port: u16) -> Result<Self> {
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let store = Self { child: spawn_on(Core::Server, command)?, port };
        let start = Instant::now();
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            if start.elapsed() > PATIENCE {
                return Err(format!("{:?} did not start", command.get_program()).into());
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        Ok(store)
    }

    fn redis() -> Result<Self> {
        let port = free_port()?;
        let mut command = Command::new("redis-server");
        command.args(["--port", &port.to_string(), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]);
        Self::start(&mut command, port)
    }

    fn ours() -> Result<Self> {
        let port = free_port()?;
        let mut command = Command::new(servers::binary());
        command
            .args(["--listen", "127.0.0.1:0", "--redis-url", &format!("redis://127.0.0.1:{port}")])
            .env("HEADCOUNT_STORE__EMBEDDED", "always")
            .env("HEADCOUNT_SERVER__WORKERS", "1")
            .env("HEADCOUNT_SERVER__DRAIN", "0s")
            .env("HEADCOUNT_LOG__LEVEL", "warn");
        Self::start(&mut command, port)
    }

    fn connect(&self) -> Result<TcpStream> {
        let stream = TcpStream::connect(("127.0.0.1", self.port))?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_nodelay(true)?;
        Ok(stream)
    }

    /// Sends one command; the reply's first bytes as text.
    fn ask(&self, parts: &[&[u8]]) -> Result<String> {
        let (mut stream, mut reply) = (self.connect()?, [0; 512]);
        stream.write_all(&resp::command(parts))?;
        let length = stream.read(&mut reply)?;
        Ok(String::from_utf8_lossy(&reply[..length]).into_owned())
    }

    /// Subscribes some clients, whose messages are read and forgotten until their store ends. One thread reads for
    /// all: were there one for each, they and `redis-benchmark` would fight for the load's core, and who wins
    /// would be most of what is measured.
    fn subscribe(&self, count: usize) -> Result<()> {
        let mut poll = Poll::new()?;
        let mut streams = Vec::new();
        for token in 0..count {
            let mut stream = self.connect()?;
            stream.write_all(&resp::command(&[b"SUBSCRIBE", b"news"]))?;
            let _ = stream.read(&mut [0; 512])?;
            stream.set_nonblocking(true)?;
            let mut stream = mio::net::TcpStream::from_std(stream);
            poll.registry().register(&mut stream, Token(token), Interest::READABLE)?;
            streams.push(stream);
        }
        std::thread::spawn(move || {
            let (mut events, mut buffer, mut open) = (Events::with_capacity(128), vec![0; 1 << 16], streams.len());
            while open > 0 && poll.poll(&mut events, None).is_ok() {
                for event in &events {
                    let mut stream = &streams[event.token().0];
                    while matches!(stream.read(&mut buffer), Ok(length) if length > 0) {}
                    open = open.saturating_sub(usize::from(event.is_read_closed()));
                }
            }
        });
        Ok(())
    }

    /// Lets `redis-benchmark` repeat a request. µs CPU of the server, and µs that pass, for each.
    fn bench(&self, request: &Request, sha: &str, requests: usize, pipeline: &str) -> Result<(f64, f64)> {
        let (port, count) = (self.port.to_string(), requests.to_string());
        let mut command = Command::new("redis-benchmark");
        command.args(["-p", &port, "-c", CLIENTS, "-n", &count, "-P", pipeline, "-r", SPACE, "--csv"]);
        command.args(request.args.iter().map(|arg| if *arg == "{sha}" { sha } else { arg }));
        let before = cpu(self.child.id())?;
        let output = command.stdin(Stdio::null()).output()?;
        let used = cpu(self.child.id())? - before;
        let text = String::from_utf8_lossy(&output.stdout);
        // "the request","requests a second","…"
        let rate = text.lines().last().and_then(|line| line.rsplit("\",\"").nth(6)).unwrap_or_default();
        let rate: f64 = rate.parse().map_err(|_| format!("redis-benchmark says {text:?}"))?;
        Ok((used / requests as f64, 1e6 / rate))
    }

    /// Sends a million commands in batches; each is answered by `reply` bytes.
    fn fill(&self, reply: usize, command: impl Fn(&str) -> Vec<u8>) -> Result<()> {
        let mut stream = self.connect()?;
        let mut replies = vec![0; reply * BATCH];
        for batch in 0..MILLION / BATCH {
            let numbers = (0..BATCH).map(|n| format!("{:07}", batch * BATCH + n));
            stream.write_all(&numbers.flat_map(|number| command(&number)).collect::<Vec<u8>>())?;
            stream.read_exact(&mut replies)?;
        }
        Ok(())
    }

    /// What the memory grows by, in MiB.
    fn growth(&self, reply: usize, command: impl Fn(&str) -> Vec<u8>) -> Result<f64> {
        self.ask(&[b"FLUSHALL"])?;
        std::thread::sleep(Duration::from_secs(1));
        let before = resident(self.child.id())?;
        self.fill(reply, command)?;
        Ok((resident(self.child.id())? - before) / 1024.0)
    }
}

fn free_port() -> Result<u16> {
    Ok(std::net::TcpListener::bind(("127.0.0.1", 0))?.local_addr()?.port())
}

/// Speed and memory of the embedded store against those of Redis.
pub fn against_redis(extent: Extent, report: &mut Report) -> Result<()> {
    if machine::version("redis-benchmark", "--version").is_none() {
        report.note("redis-benchmark is not on this machine; the embedded store was not measured".to_owned());
        return Ok(());
    }
    let only = std::env::var("REQUEST").ok();
    for request in REQUESTS.iter().filter(|request| only.as_ref().is_none_or(|name| name == request.name)) {
        for pipeline in ["1", "16"] {
            speed(extent, report, request, pipeline)?;
        }
    }
    if only.is_some() {
        return Ok(());
    }
    memory(report, "a million small keys", 5, |number| {
        resp::command(&[b"SET", format!("key:{number}").as_bytes(), number.as_bytes()])
    })?;
    memory(report, "a sorted set of a million members", 4, |number| {
        resp::command(&[b"ZADD", b"zset", number.as_bytes(), format!("member:{number}").as_bytes()])
    })?;
    memory(report, "a stream of a million small entries", 17, |number| {
        let id = format!("1{number}-0");
        resp::command(&[b"XADD", b"stream", id.as_bytes(), b"value", number.as_bytes()])
    })?;
    one_key(report, "a HyperLogLog of a million elements", |number| {
        resp::command(&[b"PFADD", KEY, number.as_bytes()])
    })?;
    one_key(report, "a million bits", |number| {
        let place = number.trim_start_matches('0');
        resp::command(&[b"SETBIT", KEY, if place.is_empty() { b"0" } else { place.as_bytes() }, b"1"])
    })
}

fn speed(extent: Extent, report: &mut Report, request: &Request, pipeline: &str) -> Result<()> {
    let stores = [Store::redis()?, Store::ours()?];
    let sha = stores.each_ref().map(|store| store.ask(&[b"SCRIPT", b"LOAD", SCRIPT.as_bytes()]));
    let [Ok(sha), Ok(_)] = sha else { return Err("a store does not load the script".into()) };
    let sha = sha.lines().last().unwrap_or_default().to_owned();
    for store in &stores {
        store.subscribe(request.subscribers)?;
        let mut fill = Vec::new();
        for n in 0..1000 {
            fill.extend(resp::command(&[b"ZADD", b"zset", n.to_string().as_bytes(), format!("f:{n}").as_bytes()]));
        }
        let mut stream = store.connect()?;
        stream.write_all(&fill)?;
        stream.read_exact(&mut vec![0; 4 * 1000])?;
    }
    let requests = request.thousands * extent.pick(100, 1000) * if pipeline == "1" { 1 } else { 3 };
    let [redis, ours] = &stores;
    let (mut busy, mut passed) = (Turns::default(), Turns::default());
    for store in &stores {
        store.bench(request, &sha, requests / 10, pipeline)?;
    }
    for _ in 0..extent.pick(3, 7) {
        let mut samples = [(0.0, 0.0); 3];
        for (sample, store) in samples.iter_mut().zip([redis, ours, redis]) {
            *sample = store.bench(request, &sha, requests, pipeline)?;
        }
        busy.push(samples.map(|(busy, _)| busy));
        passed.push(samples.map(|(_, passed)| passed));
    }
    for (what, turns) in [("CPU", busy), ("time", passed)] {
        report.row(Row {
            measure: format!("embedded store, {}, {pipeline} at a time: {what} a request", request.name),
            ours: super::micros(turns.ours()),
            floor: super::micros(turns.floor()),
            ratio: Some(turns.ratio()),
            noise: Some(turns.noise()),
            goal: (what == "time").then_some(Goal::Ratio(1.0)),
        });
    }
    Ok(())
}

fn memory(report: &mut Report, what: &str, reply: usize, command: impl Fn(&str) -> Vec<u8>) -> Result<()> {
    let redis = Store::redis()?.growth(reply, &command)?;
    let ours = Store::ours()?.growth(reply, &command)?;
    compare(report, what, (ours, redis), "MiB");
    Ok(())
}

/// The memory of one key, which a million commands have filled that are answered by `:0` or `:1`.
fn one_key(report: &mut Report, what: &str, command: impl Fn(&str) -> Vec<u8>) -> Result<()> {
    let measure = |store: Store| -> Result<f64> {
        store.fill(4, &command)?;
        let reply = store.ask(&[b"MEMORY", b"USAGE", KEY])?;
        let bytes: f64 = reply.trim_start_matches(':').trim().parse().map_err(|_| format!("MEMORY says {reply:?}"))?;
        Ok(bytes / 1024.0)
    };
    let (redis, ours) = (measure(Store::redis()?)?, measure(Store::ours()?)?);
    compare(report, what, (ours, redis), "KiB");
    Ok(())
}

fn compare(report: &mut Report, what: &str, (ours, redis): (f64, f64), unit: &str) {
    let value = (ours / redis * 100.0).round() / 100.0;
    report.row(Row {
        measure: format!("embedded store, {what}: memory"),
        ours: format!("{ours:.1} {unit}"),
        floor: format!("{redis:.1} {unit}"),
        ratio: None,
        noise: None,
        goal: Some(Goal::Value { value, at_most: 1.3, unit: "× Redis" }),
    });
}
