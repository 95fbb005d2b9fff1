//! What an idle socket costs in memory, and whether what comes and goes leaves something behind.

use std::time::Duration;

use crate::crowd::Crowd;
use crate::machine::Core;
use crate::report::{Goal, Report, Row};
use crate::servers::{Server, headcount, redis};
use crate::{Extent, Result};

/// Channels that the clients wander over.
const CHANNELS: usize = 1000;
/// Further clients that come and go; with the idle ones, they fit into the descriptors of a process, of
/// which a server keeps some for a store of its own.
const GUESTS: usize = 1000;

pub fn idle(extent: Extent, report: &mut Report) -> Result<()> {
    let store = redis()?;
    let clients = extent.pick(3000, 15_000);
    // A socket that has gone stands in the queue of pings until its turn, and one that was pinged in that
    // of pongs.
    let pings = [("HEADCOUNT_SESSION__PING", "10s"), ("HEADCOUNT_SESSION__PONG", "3s")];
    let server = headcount(Core::Server, 1, store.port, &pings)?;
    // The first client brings in what every server needs.
    let _first = Crowd::on(server.port, 1, "/ws")?;
    let empty = server.resident()?;
    let mut crowd = Crowd::on(server.port, clients, "/ws")?;
    let full = rest(&server)?;
    let each = (full - empty) / clients as f64;
    report.row(Row {
        measure: format!("{clients} idle sockets: resident memory a socket"),
        ours: format!("{each:.2} KiB (process: {:.1} MiB, {:.1} MiB without)", full / 1024.0, empty / 1024.0),
        floor: String::new(),
        ratio: None,
        noise: None,
        goal: Some(Goal::Value { value: (each * 100.0).round() / 100.0, at_most: 1.0, unit: "KiB" }),
    });
    // Once through everything: how much of a growth is tables that reach their size and pages that are
    // used for the first time. It is told beside the verdict, which counts from the idle sockets.
    let mut guests = Crowd::new()?;
    crowd.ask(&format!("hop hop: 2 {CHANNELS}"))?;
    visit(&server, &mut guests, &mut crowd)?;
    let used = rest(&server)?;
    report.note(format!(
        "memory once {GUESTS} more have come and gone and all have pinged and joined: {:.1} MiB, {:.2} KiB a socket",
        used / 1024.0,
        (used - empty) / clients as f64
    ));
    let waves = extent.pick(100_000, 1_000_000_usize).div_ceil(clients);
    let before = server.cpu()?;
    crowd.ask(&format!("hop hop: {waves} {CHANNELS}"))?;
    let hop = (server.cpu()? - before) / (waves * clients) as f64;
    let after = rest(&server)?;
    back(report, &format!("after {} joins and leaves ({hop:.0} µs CPU a pair)", waves * clients), full, after);
    let visits = extent.pick(4, 40);
    for _ in 0..visits {
        visit(&server, &mut guests, &mut crowd)?;
    }
    let after = rest(&server)?;
    back(report, &format!("after {} more sockets came and went", visits * GUESTS), full, after);
    Ok(())
}

/// Further clients come all at once, and go.
fn visit(server: &Server, guests: &mut Crowd, idle: &mut Crowd) -> Result<()> {
    guests.ask(&format!("open {} {GUESTS} {GUESTS} /ws", server.port))?;
    guests.ask(&format!("close {GUESTS}"))?;
    idle.ask("settle 500")?;
    Ok(())
}

/// The resident memory once nothing is in flight, and the server has had a round of pings and repairs.
fn rest(server: &Server) -> Result<f64> {
    std::thread::sleep(Duration::from_secs(13));
    server.resident()
}

fn back(report: &mut Report, what: &str, before: f64, after: f64) {
    let change = ((after / before - 1.0) * 1000.0).round() / 10.0;
    report.row(Row {
        measure: format!("memory {what}"),
        ours: format!("{:.1} MiB, {change:+} %", after / 1024.0),
        floor: format!("{:.1} MiB before", before / 1024.0),
        ratio: None,
        noise: None,
        goal: Some(Goal::Value { value: change, at_most: 5.0, unit: "% more" }),
    });
}
