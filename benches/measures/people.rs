//! People: what a visitor costs beside a socket, on a node and in the store, and members who join beside sockets.

use std::time::Duration;

use headcount::presence::visitors::BATCH as AT_ONCE;

use super::lone_node::LoneNode;
use super::storm::{slope, storm};
use super::{micros, millis};
use crate::crowd::Crowd;
use crate::machine::Core;
use crate::report::{Goal, Report, Row};
use crate::servers::{headcount, redis};
use crate::stats::{Interval, Turns, median};
use crate::{Extent, Result};

/// Visitors that are stated at once where only their memory counts.
const BATCH: usize = 1000;
/// Channels that clients go round.
const CHANNELS: usize = 100;
/// After the last has left, visitors linger, and then it is stated.
const LINGER: Duration = Duration::from_millis(1_500);

pub fn people(extent: Extent, report: &mut Report) -> Result<()> {
    pairs(extent, report)?;
    joins(extent, report)?;
    for (what, listed) in [("visitor", false), ("listed member", true)] {
        in_the_store(extent, report, what, listed)?;
        longest(extent, report, what, listed)?;
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
fn in_the_store(extent: Extent, report: &mut Report, what: &str, listed: bool) -> Result<()> {
    let sizes: &[usize] = extent.pick(&[1000, 10_000, 100_000], &[1000, 10_000, 100_000, 1_000_000]);
    let mut points = Vec::new();
    for &size in sizes {
        let store = redis()?;
        let before = store.cpu()?;
        let mut node = LoneNode::connect(&store, listed)?;
        while node.stated() < size {
            node.state(BATCH.min(size - node.stated()))?;
        }
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

/// The longest script as many visitors are stated by one node, and as they are swept out after its death. A machine
/// that is shared stops for some milliseconds now and then; what counts of each script is the median of several runs.
fn longest(extent: Extent, report: &mut Report, what: &str, listed: bool) -> Result<()> {
    let (size, turns) = (100_000, extent.pick(3, 7));
    let mut steps = [Vec::new(), Vec::new()];
    for _ in 0..turns {
        let store = redis()?;
        let mut node = LoneNode::connect(&store, listed)?;
        let mut stated = Vec::new();
        while node.stated() < size {
            stated.push(node.state(AT_ONCE.min(size - node.stated()))?);
        }
        for (all, times) in steps.iter_mut().zip([stated, node.sweep()?]) {
            all.resize(all.len().max(times.len()), Vec::new());
            all.iter_mut().zip(times).for_each(|(of_this, time)| of_this.push(time.as_secs_f64() * 1e6));
        }
    }
    for (done, times) in ["stated", "swept out"].into_iter().zip(steps) {
        let times: Vec<f64> = times.iter().map(|of_this| median(of_this)).collect();
        let longest = times.iter().copied().fold(0.0, f64::max);
        report.row(Row {
            measure: format!("{size} {what}s are {done}: the longest script"),
            ours: format!("{} ({} scripts, {} in the middle)", millis(longest), times.len(), millis(median(&times))),
            floor: String::new(),
            ratio: None,
            noise: None,
            goal: Some(Goal::Value { value: (longest / 10.0).round() / 100.0, at_most: 5.0, unit: "ms" }),
        });
    }
    Ok(())
}
