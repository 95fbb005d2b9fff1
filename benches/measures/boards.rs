//! Many boards that many people watch while they are written: beside what people build today, a page that polls a
//! small HTTP endpoint.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use super::millis;
use crate::crowd::Crowd;
use crate::machine::Core;
use crate::polling::{PERIOD, body, question};
use crate::report::{Report, Row};
use crate::servers::{Server, headcount, polling, redis};
use crate::stats::percentile;
use crate::{Extent, Result, client, resp};

const BOARDS: usize = 1000;
const WATCHERS: usize = 5;
/// Writes a second over all boards.
const WRITES: u32 = 10_000;
/// Members that a board's writes go to.
const MEMBERS: u32 = 100;
/// The board whose changes are timed.
const PROBE: &str = "board:probe";
/// The longest that a change may take to show.
const PATIENCE: Duration = Duration::from_secs(60);

/// What one way cost.
struct Cost {
    /// Commands a second that the store had beside the writes.
    commands: f64,
    /// Shares of a core.
    server: f64,
    store: f64,
    /// µs from a write to the last who saw it.
    delays: Vec<f64>,
}

pub fn boards(extent: Extent, report: &mut Report) -> Result<()> {
    let probes = extent.pick(20, 200);
    let pushed = {
        let store = redis()?;
        let server = headcount(Core::Server, 1, store.port, &[])?;
        let mut crowds = Vec::new();
        for _ in 0..WATCHERS {
            let mut crowd = Crowd::on(server.port, BOARDS, "/ws?channel=public:none")?;
            crowd.ask(&format!("spread board:b {BOARDS}"))?;
            crowds.push(crowd);
        }
        let (tell, seen) = channel();
        for _ in 0..WATCHERS {
            let (port, tell) = (server.port, tell.clone());
            std::thread::spawn(move || drop(watch(port, |score| tell.send((score, Instant::now())).is_ok())));
        }
        measure(&store, &server, probes, &seen)?
    };
    row(report, "pushed", &pushed, None);
    let store = redis()?;
    let Some(server) = polling(store.port)? else {
        report.note("the endpoint that is polled needs node and its packages (npm ci in tests/article)".to_owned());
        return Ok(());
    };
    let (tell, seen) = channel();
    for number in 0..WATCHERS {
        let (port, tell) = (server.port, tell.clone());
        let pause = PERIOD * number as u32 / WATCHERS as u32;
        std::thread::spawn(move || drop(poll(port, pause, |score| tell.send((score, Instant::now())).is_ok())));
    }
    // The endpoint takes in the others only slowly once it is busy: those that are timed are there before.
    std::thread::sleep(PERIOD * 4);
    let mut crowd = Crowd::polling(server.port, BOARDS * WATCHERS, BOARDS)?;
    let (start, before) = (Instant::now(), crowd.numbers("answers")?[0]);
    let polled = measure(&store, &server, probes, &seen)?;
    let answers = (crowd.numbers("answers")?[0] - before) / start.elapsed().as_secs_f64();
    row(report, "polled", &polled, Some(answers));
    Ok(())
}

fn row(report: &mut Report, way: &str, cost: &Cost, answers: Option<f64>) {
    let asked = (BOARDS * WATCHERS) as f64 / PERIOD.as_secs_f64();
    let behind = answers.map(|answers| format!("; {answers:.0} of {asked:.0} answers a second")).unwrap_or_default();
    report.row(Row {
        measure: format!(
            "{BOARDS} boards with {WATCHERS} watchers each, {WRITES} writes a second, {way}: write to last watcher"
        ),
        ours: format!(
            "p50 {}, p99 {}; server {:.0} % of a core, store {:.0} %, {:.0} commands a second beside the writes{behind}",
            millis(percentile(&cost.delays, 0.5)),
            millis(percentile(&cost.delays, 0.99)),
            cost.server * 100.0,
            cost.store * 100.0,
            cost.commands,
        ),
        floor: String::new(),
        ratio: None,
        noise: None,
        goal: None,
    });
}

/// Writes to all boards, and times single writes to one.
fn measure(store: &Server, server: &Server, probes: usize, seen: &Receiver<(u64, Instant)>) -> Result<Cost> {
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let (port, stopped) = (store.port, &stop);
        let writer = scope.spawn(move || write(port, stopped).map_err(|error| error.to_string()));
        let measured = time(store, server, probes, seen);
        stop.store(true, Ordering::Relaxed);
        let written = writer.join().map_err(|_| "the writer panicked")??;
        let (mut cost, commands, took) = measured?;
        cost.commands = (commands - written as f64 - probes as f64) / took;
        Ok(cost)
    })
}

fn time(store: &Server, server: &Server, probes: usize, seen: &Receiver<(u64, Instant)>) -> Result<(Cost, f64, f64)> {
    let mut redis = Store::connect(store.port)?;
    let (start, commands) = (Instant::now(), redis.commands()?);
    let before = (server.cpu()?, store.cpu()?);
    let mut delays = Vec::new();
    for score in 1..=probes as u64 {
        // Not in step with what is paced or polled.
        std::thread::sleep(Duration::from_millis(150 + score * 37 % 100));
        let written = Instant::now();
        redis.ask(&[b"ZADD", PROBE.as_bytes(), score.to_string().as_bytes(), b"probe"])?;
        let mut last = written;
        for _ in 0..WATCHERS {
            let (shown, at) = loop {
                let (shown, at) = seen.recv_timeout(PATIENCE).map_err(|_| "a change was not seen")?;
                if shown >= score {
                    break (shown, at);
                }
            };
            if shown > score {
                return Err("a change was seen before it was made".into());
            }
            last = last.max(at);
        }
        delays.push((last - written).as_secs_f64() * 1e6);
    }
    let took = start.elapsed();
    let share = |after: f64, before: f64| (after - before) / took.as_micros() as f64;
    let (server, store) = (share(server.cpu()?, before.0), share(store.cpu()?, before.1));
    Ok((Cost { commands: 0.0, server, store, delays }, redis.commands()? - commands, took.as_secs_f64()))
}

/// Writes to boards at random, a batch every ten milliseconds. Returns how often.
fn write(port: u16, stop: &AtomicBool) -> Result<u64> {
    const BATCH: u32 = WRITES / 100;
    let mut redis = Store::connect(port)?;
    let (start, mut batches, mut seed) = (Instant::now(), 0_u32, 1_u32);
    while !stop.load(Ordering::Relaxed) {
        let mut out = Vec::new();
        for _ in 0..BATCH {
            seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let (board, member) = ((seed >> 8) as usize % BOARDS, (seed >> 20) % MEMBERS);
            let (board, member) = (format!("board:b{board}"), format!("player-{member}"));
            out.extend(resp::command(&[b"ZINCRBY", board.as_bytes(), b"1", member.as_bytes()]));
        }
        redis.io.write_all(&out)?;
        redis.lines(2 * BATCH as usize)?;
        batches += 1;
        std::thread::sleep((Duration::from_millis(10) * batches).saturating_sub(start.elapsed()));
    }
    Ok(u64::from(batches) * u64::from(BATCH))
}

/// Hands on the score of the probe as often as a server pushes it.
fn watch(port: u16, mut seen: impl FnMut(u64) -> bool) -> Result<()> {
    let mut io = client::connect(port, 0, &format!("/ws?watch={PROBE}"))?;
    let (mut bytes, mut buffer, mut open) = (Vec::new(), [0; 4096], false);
    loop {
        let n = io.read(&mut buffer)?;
        if n == 0 {
            return Ok(());
        }
        bytes.extend_from_slice(&buffer[..n]);
        if !open {
            let Some(end) = client::handshake_end(&bytes)? else { continue };
            bytes.drain(..end);
            open = true;
        }
        while let Some((_, payload, length)) = client::frame(&bytes) {
            let score = probe(payload);
            bytes.drain(..length);
            if score.is_some_and(|score| !seen(score)) {
                return Ok(());
            }
        }
    }
}

/// Hands on the score of the probe whenever it is another than at the last question.
fn poll(port: u16, pause: Duration, mut seen: impl FnMut(u64) -> bool) -> Result<()> {
    std::thread::sleep(pause);
    let mut io = TcpStream::connect(("127.0.0.1", port))?;
    io.set_nodelay(true)?;
    let (question, mut buffer, mut last) = (question(PROBE), [0; 4096], 0);
    loop {
        let asked = Instant::now();
        io.write_all(&question)?;
        let mut answer = Vec::new();
        while body(&answer).is_none() {
            let n = io.read(&mut buffer)?;
            if n == 0 {
                return Ok(());
            }
            answer.extend_from_slice(&buffer[..n]);
        }
        let score = probe(&answer).filter(|score| *score != last);
        last = score.unwrap_or(last);
        if score.is_some_and(|score| !seen(score)) {
            return Ok(());
        }
        std::thread::sleep(PERIOD.saturating_sub(asked.elapsed()));
    }
}

/// The score of the probe, where a text has it.
fn probe(text: &[u8]) -> Option<u64> {
    let text = std::str::from_utf8(text).ok()?;
    text.split(r#"["probe","#).nth(1)?.split(']').next()?.parse().ok()
}

/// A connection to the store.
struct Store {
    io: TcpStream,
}

impl Store {
    fn connect(port: u16) -> Result<Self> {
        let io = TcpStream::connect(("127.0.0.1", port))?;
        io.set_nodelay(true)?;
        io.set_read_timeout(Some(PATIENCE))?;
        Ok(Self { io })
    }

    fn ask(&mut self, parts: &[&[u8]]) -> Result<()> {
        self.io.write_all(&resp::command(parts))?;
        self.lines(1)
    }

    /// Reads so many lines.
    fn lines(&mut self, mut lines: usize) -> Result<()> {
        let mut buffer = [0; 4096];
        while lines > 0 {
            let n = self.io.read(&mut buffer)?;
            if n == 0 || buffer.starts_with(b"-") {
                return Err(format!("the store said {}", String::from_utf8_lossy(&buffer[..n])).into());
            }
            lines -= buffer[..n].iter().filter(|byte| **byte == b'\n').count().min(lines);
        }
        Ok(())
    }

    /// How many commands the store has carried out.
    fn commands(&mut self) -> Result<f64> {
        self.io.write_all(&resp::command(&[b"INFO", b"stats"]))?;
        let (mut reply, mut buffer) = (Vec::new(), [0; 4096]);
        while resp::bulk(&reply).is_none() {
            let n = self.io.read(&mut buffer)?;
            if n == 0 {
                return Err("the store has closed the connection".into());
            }
            reply.extend_from_slice(&buffer[..n]);
        }
        let text = String::from_utf8_lossy(&reply);
        let number = text.split("total_commands_processed:").nth(1).and_then(|rest| rest.split("\r\n").next());
        Ok(number.ok_or("no total_commands_processed")?.parse()?)
    }
}
