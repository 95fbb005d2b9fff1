//! What one stranger takes from a node: each kind of hostile client by itself, from one address, beside
//! clients that do nothing wrong. The same clients beside the same stranger at another server, before and after,
//! are the other side: it takes its part of the machine there too, and of one with two cores that is not little.

use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use super::millis;
use super::trio::CHANNEL;
use crate::crowd::Crowd;
use crate::hostile::{KINDS, Kind};
use crate::machine::{Core, idle_role, spawn_on};
use crate::report::{Goal, Report, Row};
use crate::servers::{Server, headcount, redis, sink};
use crate::stats::{Turns, median, percentile};
use crate::{Extent, Result};

/// The share of a core that a stranger may take, in percent.
const SHARE: f64 = 10.0;
/// How much later honest clients may get a message.
const LATER: f64 = 1.2;
/// Until the stranger has used up what an address may have saved.
const USED_UP: Duration = Duration::from_secs(12);
/// The same, where it has been there before.
const WARM: Duration = Duration::from_secs(2);

/// A stranger at work; ended when it is dropped.
struct Stranger(Child);

impl Stranger {
    fn start(kind: &Kind, port: u16) -> Result<Self> {
        let mut command = idle_role(&["hostile", kind.name, &port.to_string()])?;
        Ok(Self(spawn_on(Core::Load, command.stdin(Stdio::null()))?))
    }
}

impl Drop for Stranger {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Does something beside a stranger at this port.
fn beside<T>(kind: &Kind, port: u16, warm: Duration, what: impl FnOnce() -> Result<T>) -> Result<T> {
    let _stranger = Stranger::start(kind, port)?;
    std::thread::sleep(warm);
    what()
}

pub fn one_stranger(extent: Extent, report: &mut Report) -> Result<()> {
    let only = std::env::var("STRANGER").ok();
    // One that is asked for by its name has more turns.
    let turns = extent.pick(1, if only.is_some() { 9 } else { 3 });
    let (clients, messages) = (500, extent.pick(60, 200));
    for kind in KINDS.iter().filter(|kind| only.as_ref().is_none_or(|name| name == kind.name)) {
        let store = redis()?;
        // The others come from addresses of this machine; the stranger has the limits of strangers.
        let settings = [("HEADCOUNT_LIMITS__EXEMPT_ADDRESSES", "127.0.0.0/29,127.0.1.0/24")];
        let server = headcount(Core::Server, 1, store.port, &settings)?;
        let mut crowd = Crowd::on(server.port, clients, &format!("/ws?channel={CHANNEL}"))?;
        let line = format!("round redis:{} {CHANNEL} {messages} 1 64", store.port);
        let late = |crowd: &mut Crowd| Ok::<_, crate::Error>(percentile(&crowd.numbers(&line)?, 0.99));
        late(&mut crowd)?;
        let (quiet, idle) = (server.resident()?, share(&server, Duration::from_secs(1))?);
        let elsewhere = sink()?;
        let (mut times, mut without) = (Turns::default(), Vec::new());
        let (mut worst, mut most) = (0.0_f64, 0.0_f64);
        for turn in 0..turns {
            let warm = if turn == 0 { extent.pick(USED_UP / 4, USED_UP) } else { WARM };
            without.push(late(&mut crowd)?);
            let before = beside(kind, elsewhere.port, warm, || late(&mut crowd))?;
            let under = beside(kind, server.port, warm, || {
                worst = worst.max(share(&server, Duration::from_secs(extent.pick(2, 5)))? - idle);
                let under = late(&mut crowd);
                most = most.max(server.resident()?);
                under
            })?;
            crowd.ask("settle 300")?;
            times.push([before, under, beside(kind, elsewhere.port, WARM, || late(&mut crowd))?]);
        }
        report.row(Row {
            measure: format!("a stranger: {}: CPU of the node", kind.what),
            ours: format!("{worst:.1} % of a core, {:+.1} MiB", (most - quiet) / 1024.0),
            floor: String::new(),
            ratio: None,
            noise: None,
            goal: Some(Goal::Value { value: worst, at_most: SHARE, unit: "% of a core" }),
        });
        report.row(Row {
            measure: format!("a stranger: {}: 99 % of messages reach {clients} others within", kind.what),
            ours: millis(times.ours()),
            floor: format!(
                "{} (with it at another server; {} without it)",
                millis(times.floor()),
                millis(median(&without))
            ),
            ratio: Some(times.ratio()),
            noise: Some(times.noise()),
            goal: Some(Goal::Ratio(LATER)),
        });
    }
    Ok(())
}

/// What a server uses of a core meanwhile, in percent.
fn share(server: &Server, time: Duration) -> Result<f64> {
    let (start, before) = (Instant::now(), server.cpu()?);
    std::thread::sleep(time);
    Ok((server.cpu()? - before) / start.elapsed().as_micros() as f64 * 100.0)
}
