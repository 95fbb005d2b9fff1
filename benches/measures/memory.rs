//! What an idle socket costs in memory, and whether what comes and goes leaves something behind.

use std::time::Duration;

use crate::crowd::Crowd;
use crate::machine::Core;
use crate::report::{Goal, Report, Row};
use crate::servers::{Server, headcount, redis};
use crate::stats::Interval;
use crate::{Extent, Result};

/// Channels that the clients wander over.
const CHANNELS: usize = 1000;
/// Further clients that come and go; with the idle ones, they fit into the descriptors of a process, of
/// which a server keeps some for a store of its own.
const GUESTS: usize = 1000;

/// Servers that are measured one after the other: which page some small thing keeps from being given back is chance.
const SERVERS: usize = 3;

/// The resident memory of one server, in KiB, and the CPU of a join and a leave in µs.
struct Life {
    empty: f64,
    idle: f64,
    used: f64,
    joined: f64,
    visited: f64,
    hop: f64,
}

pub fn idle(extent: Extent, report: &mut Report) -> Result<()> {
    let clients = extent.pick(3000, 15_000);
    let waves = extent.pick(100_000, 1_000_000_usize).div_ceil(clients);
    let visits = extent.pick(4, 40);
    let lives = (0..extent.pick(1, SERVERS)).map(|_| live(clients, waves, visits)).collect::<Result<Vec<_>>>()?;
    let of = |what: fn(&Life) -> f64| Interval::of(&lives.iter().map(what).collect::<Vec<_>>());
    let (empty, idle) = (of(|life| life.empty).median, of(|life| life.idle).median);
    let each = (idle - empty) / clients as f64;
    report.row(Row {
        measure: format!("{clients} idle sockets: resident memory a socket"),
        ours: format!("{each:.2} KiB (process: {:.1} MiB, {:.1} MiB without)", idle / 1024.0, empty / 1024.0),
        floor: String::new(),
        ratio: None,
        noise: None,
        goal: Some(Goal::Value { value: (each * 100.0).round() / 100.0, at_most: 1.0, unit: "KiB" }),
    });
    // Once through everything: how much of a growth is tables that reach their size and pages that are
    // used for the first time. It is told beside the verdict, which counts from the idle sockets.
    let used = of(|life| life.used).median;
    report.note(format!(
        "memory once {GUESTS} more have come and gone and all have pinged and joined: {:.1} MiB, {:.2} KiB a socket",
        used / 1024.0,
        (used - empty) / clients as f64
    ));
    let hop = of(|life| life.hop).median;
    let joins = format!("after {} joins and leaves ({hop:.0} µs CPU a pair)", waves * clients);
    back(report, &joins, idle, of(|life| life.joined).median, of(|life| percent(life.idle, life.joined)));
    let came = format!("after {} more sockets came and went", visits * GUESTS);
    back(report, &came, idle, of(|life| life.visited).median, of(|life| percent(life.idle, life.visited)));
    Ok(())
}

/// What one server takes while clients idle, hop from channel to channel, and others come and go.
fn live(clients: usize, waves: usize, visits: usize) -> Result<Life> {
    let store = redis()?;
    // A socket that has gone stands in the queue of pings until its turn, and one that was pinged in that
    // of pongs.
    let pings = [("HEADCOUNT_SESSION__PING", "10s"), ("HEADCOUNT_SESSION__PONG", "3s")];
    let server = headcount(Core::Server, 1, store.port, &pings)?;
    // The first client brings in what every server needs.
    let _first = Crowd::on(server.port, 1, "/ws")?;
    let empty = server.resident()?;
    let mut crowd = Crowd::on(server.port, clients, "/ws")?;
    let idle = rest(&server)?;
    let mut guests = Crowd::new()?;
    crowd.ask(&format!("hop hop: 2 {CHANNELS}"))?;
    visit(&server, &mut guests, &mut crowd)?;
    let used = rest(&server)?;
    let before = server.cpu()?;
    crowd.ask(&format!("hop hop: {waves} {CHANNELS}"))?;
    let hop = (server.cpu()? - before) / (waves * clients) as f64;
    let joined = rest(&server)?;
    for _ in 0..visits {
        visit(&server, &mut guests, &mut crowd)?;
    }
    Ok(Life { empty, idle, used, joined, visited: rest(&server)?, hop })
}

/// Further clients come all at once, and go.
fn visit(server: &Server, guests: &mut Crowd, idle: &mut Crowd) -> Result<()> {
    guests.ask(&format!("open {} {GUESTS} {GUESTS} /ws", server.port))?;
    guests.ask(&format!("close {GUESTS}"))?;
    idle.ask("settle 500")?;
    Ok(())
}

/// The resident memory once nothing is in flight: the server has had a round of repairs and of pings, and waits for
/// no pong any more.
fn rest(server: &Server) -> Result<f64> {
    std::thread::sleep(Duration::from_secs(15));
    server.resident()
}

fn percent(before: f64, after: f64) -> f64 {
    ((after / before - 1.0) * 1000.0).round() / 10.0
}

fn back(report: &mut Report, what: &str, before: f64, after: f64, change: Interval) {
    report.row(Row {
        measure: format!("memory {what}"),
        ours: format!("{:.1} MiB, {:+} % [{:+}, {:+}]", after / 1024.0, change.median, change.low, change.high),
        floor: format!("{:.1} MiB before", before / 1024.0),
        ratio: None,
        noise: None,
        goal: Some(Goal::Value { value: change.median, at_most: 5.0, unit: "% more" }),
    });
}
