//! People: what a visitor costs beside a socket, on a node and in the store, and members who join beside sockets.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use super::micros;
use super::storm::{slope, storm};
use crate::crowd::Crowd;
use crate::machine::Core;
use crate::report::{Goal, Report, Row};
use crate::servers::{Server, headcount, redis};
use crate::stats::{Interval, Turns};
use crate::{Extent, Result, resp};

/// The script that states visitors.
const VISIT: &str = concat!(
    include_str!("../../src/presence/lua/enter.lua"),
    include_str!("../../src/presence/lua/count.lua"),
    include_str!("../../src/presence/lua/members.lua"),
    include_str!("../../src/presence/lua/people.lua"),
    include_str!("../../src/presence/lua/visit.lua")
);
const KEYS: [&str; 6] =
    ["page:/", "{page:/}:tally", "{page:/}:own", "{page:/}:people", "{page:/}:owner", "{page:/}:members"];
/// Visitors in one run of it.
const BATCH: usize = 1000;
/// Channels that clients go round.
const CHANNELS: usize = 100;
/// After the last has left, visitors linger, and then it is stated.
const LINGER: Duration = Duration::from_millis(1_500);

pub fn people(extent: Extent, report: &mut Report) -> Result<()> {
    pairs(extent, report)?;
    joins(extent, report)?;
    for (what, listed) in [("visitor", "0"), ("listed member", "1")] {
        in_the_store(extent, report, what, listed)?;
    }
    Ok(())
}

/// Clients go from channel to channel, where sockets are counted and where visitors are.
fn pairs(extent: Extent, report: &mut Report) -> Result<()> {
    // Many clients, so that none asks more often than it may.
    let (clients, waves) = (4000, extent.pick(2, 6));
    let stores = [redis()?, redis()?];
    let mut parties = Vec::new();
    for store in &stores {
        let server = headcount(Core::Server, 1, store.port, &[])?;
        let crowd = Crowd::on(server.port, clients, "/ws?channel=public:none")?;
        parties.push((server, crowd));
    }
    let (mut node, mut stored) = (Turns::default(), Turns::default());
    let mut pair = |which: usize| -> Result<(f64, f64)> {
        let (server, crowd) = &mut parties[which];
        let (before, there) = (server.cpu()?, stores[which].cpu()?);
        crowd.ask(&format!("hop {} {waves} {CHANNELS}", ["hop:", "page:/"][which]))?;
        std::thread::sleep(LINGER);
        let all = (clients * waves) as f64;
        Ok(((server.cpu()? - before) / all, (stores[which].cpu()? - there) / all))
    };
    for which in [0, 1] {
        pair(which)?;
    }
    for _ in 0..extent.pick(3, 9) {
        let (before, ours, after) = (pair(0)?, pair(1)?, pair(0)?);
        node.push([before.0, ours.0, after.0]);
        stored.push([before.1, ours.1, after.1]);
    }
    for (what, turns) in [("", node), (" in Redis", stored)] {
        report.row(Row {
            measure: format!("a visitor who joins and leaves against a socket: CPU a pair{what}"),
            ours: micros(turns.ours()),
            floor: format!("{} (a socket)", micros(turns.floor())),
            ratio: Some(turns.ratio()),
            noise: Some(turns.noise()),
            goal: None,
        });
    }
    Ok(())
}

/// Very many come at once: to a channel that counts sockets, and to one that lists a thousand members.
fn joins(extent: Extent, report: &mut Report) -> Result<()> {
    let clients = extent.pick(3000, 10_000);
    let (mut turns, mut took) = (Turns::default(), Vec::new());
    for _ in 0..extent.pick(2, 7) {
        let mut costs = [0.0; 3];
        for (cost, path) in costs.iter_mut().zip(["/ws", "/ws?channel=room:1", "/ws"]) {
            let store = redis()?;
            let server = headcount(Core::Server, 1, store.port, &[])?;
            let (cpu, seconds) = storm(&server, &mut Crowd::new()?, clients, path, Some(clients))?;
            *cost = cpu;
            if path != "/ws" {
                took.push(seconds);
            }
        }
        turns.push(costs);
    }
    report.row(Row {
        measure: format!("{clients} members join, of whom 1000 may be listed: CPU a join"),
        ours: format!("{} (all in after {:.2} s)", micros(turns.ours()), Interval::of(&took).median),
        floor: format!("{} (sockets)", micros(turns.floor())),
        ratio: Some(turns.ratio()),
        noise: Some(turns.noise()),
        goal: Some(Goal::Ratio(2.0)),
    });
    Ok(())
}

/// What visitors take in Redis, stated by the script alone.
fn in_the_store(extent: Extent, report: &mut Report, what: &str, listed: &str) -> Result<()> {
    let sizes: &[usize] = extent.pick(&[1000, 10_000, 100_000], &[1000, 10_000, 100_000, 1_000_000]);
    let mut points = Vec::new();
    for &size in sizes {
        let store = redis()?;
        let before = store.cpu()?;
        let mut node = Node::connect(&store)?;
        (0..size / BATCH).try_for_each(|batch| node.state(batch, listed))?;
        let (bytes, cpu) = (node.bytes()? / size as f64, (store.cpu()? - before) / size as f64);
        points.push((size as f64, bytes));
        report.row(Row {
            measure: format!("{size} {what}s in Redis: bytes a {what}"),
            ours: format!("{bytes:.0} B ({} of Redis' CPU)", micros(cpu)),
            floor: String::new(),
            ratio: None,
            noise: None,
            goal: Some(Goal::Value { value: bytes.round(), at_most: 250.0, unit: "B" }),
        });
    }
    let slope = slope(&points);
    report.row(Row {
        measure: format!("bytes of {what}s in Redis grow as n to the power of"),
        ours: format!("{slope:.3}"),
        floor: String::new(),
        ratio: None,
        noise: None,
        goal: Some(Goal::Value { value: (slope * 1000.0).round() / 1000.0, at_most: 1.05, unit: "" }),
    });
    Ok(())
}

/// A node as far as the script knows it.
struct Node {
    stream: TcpStream,
    epoch: String,
}

impl Node {
    fn connect(store: &Server) -> Result<Self> {
        let stream = TcpStream::connect(("127.0.0.1", store.port))?;
        stream.set_read_timeout(Some(Duration::from_secs(30)))?;
        Ok(Self { stream, epoch: String::new() })
    }

    fn ask(&mut self, parts: &[&[u8]]) -> Result<Vec<u8>> {
        self.stream.write_all(&resp::command(parts))?;
        let mut reply = vec![0; 1024];
        let length = self.stream.read(&mut reply)?;
        reply.truncate(length);
        if reply.starts_with(b"-") {
            return Err(String::from_utf8_lossy(&reply).into_owned().into());
        }
        Ok(reply)
    }

    /// States one more batch of visitors, all of whom have come.
    fn state(&mut self, batch: usize, listed: &str) -> Result<()> {
        let (from, to, epoch) = (batch.to_string(), (batch + 1).to_string(), self.epoch.clone());
        let count = KEYS.len().to_string();
        let mut all: Vec<&[u8]> = vec![b"EVAL", VISIT.as_bytes(), count.as_bytes()];
        all.extend(KEYS.iter().map(|key| key.as_bytes()));
        // The longest time of a batch is more than it takes, so that none is cut.
        let rest = [
            "0123456789abcdef0123456789abcdef",
            "ab",
            &from,
            &to,
            "9007199254740991",
            "0",
            "1",
            "10000",
            listed,
            &epoch,
            "0123456789abcdef",
            "1000",
            "65536",
            "0",
            "",
        ];
        all.extend(rest.iter().map(|part| part.as_bytes()));
        let visitors: Vec<Vec<u8>> = (batch * BATCH..(batch + 1) * BATCH)
            .map(|number| {
                let id = (number as u128).wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835);
                [b"+", &id.to_be_bytes()[..], b"0"].concat()
            })
            .collect();
        all.extend(visitors.iter().map(Vec::as_slice));
        let reply = self.ask(&all)?;
        let (parts, _) = resp::array(&reply).ok_or("the script's answer is cut")?;
        let text = |at: usize| parts.get(at).map(|part| String::from_utf8_lossy(part).into_owned()).unwrap_or_default();
        if (text(0).as_str(), text(5)) != ("ok", BATCH.to_string()) {
            return Err(format!("the script says {}", String::from_utf8_lossy(&reply)).into());
        }
        self.epoch = text(6);
        Ok(())
    }

    /// The memory of all keys that visitors take.
    fn bytes(&mut self) -> Result<f64> {
        let mut sum = 0.0;
        for key in &KEYS[3..] {
            let reply = self.ask(&[b"MEMORY", b"USAGE", key.as_bytes(), b"SAMPLES", b"0"])?;
            sum += String::from_utf8_lossy(&reply).trim_start_matches(':').trim().parse().unwrap_or(0.0);
        }
        Ok(sum)
    }
}
