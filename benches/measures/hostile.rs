//! What one stranger takes from a node: each kind of hostile client by itself, from one address, beside
//! clients that do nothing wrong. The same clients without it, before and after, are the other side.

use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use super::millis;
use super::trio::CHANNEL;
use crate::crowd::Crowd;
use crate::hostile::{KINDS, Kind};
use crate::machine::{Core, spawn_on};
use crate::report::{Goal, Report, Row};
use crate::servers::{Server, headcount, redis};
use crate::stats::{Turns, percentile};
use crate::{Extent, Result};

/// The share of a core that a stranger may take, in percent.
const SHARE: f64 = 10.0;
/// How much later honest clients may get a message.
const LATER: f64 = 1.2;
/// Until the stranger has used up what an address may have saved.
const USED_UP: Duration = Duration::from_secs(12);

/// A stranger at work; ended when it is dropped.
struct Stranger(Child);

impl Stranger {
    fn start(kind: &Kind, port: u16) -> Result<Self> {
        let mut command = Command::new(std::env::current_exe()?);
        command.args(["role", "hostile", kind.name, &port.to_string()]).stdin(Stdio::null());
        Ok(Self(spawn_on(Core::Load, &mut command)?))
    }
}

impl Drop for Stranger {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

pub fn one_stranger(extent: Extent, report: &mut Report) -> Result<()> {
    let (clients, messages, turns) = (500, extent.pick(60, 200), extent.pick(1, 3));
    for kind in KINDS {
        let store = redis()?;
        // The others come from addresses of this machine; the stranger has the limits of strangers.
        let settings = [("HEADCOUNT_LIMITS__EXEMPT_ADDRESSES", "127.0.0.0/29,127.0.1.0/24")];
        let server = headcount(Core::Server, 1, store.port, &settings)?;
        let mut crowd = Crowd::on(server.port, clients, &format!("/ws?channel={CHANNEL}"))?;
        let line = format!("round redis:{} {CHANNEL} {messages} 1 64", store.port);
        let late = |crowd: &mut Crowd| Ok::<_, crate::Error>(percentile(&crowd.numbers(&line)?, 0.99));
        late(&mut crowd)?;
        let (quiet, idle) = (server.resident()?, share(&server, Duration::from_secs(1))?);
        let (mut times, mut worst) = (Turns::default(), 0.0_f64);
        let mut most = 0.0_f64;
        for turn in 0..turns {
            let before = late(&mut crowd)?;
            let stranger = Stranger::start(kind, server.port)?;
            if turn == 0 {
                std::thread::sleep(extent.pick(USED_UP / 4, USED_UP));
            }
            worst = worst.max(share(&server, Duration::from_secs(extent.pick(2, 5)))? - idle);
            let under = late(&mut crowd)?;
            most = most.max(server.resident()?);
            drop(stranger);
            crowd.ask("settle 300")?;
            times.push([before, under, late(&mut crowd)?]);
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
            floor: format!("{} (without it)", millis(times.floor())),
            ratio: Some(times.ratio()),
            noise: None,
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
