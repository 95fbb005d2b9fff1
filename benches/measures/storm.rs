//! A join storm: n clients connect as fast as they can, each joins the counted channel, and everybody
//! ends at the right number. CPU a connect is measured until the last push is out.

use super::micros;
use crate::crowd::Crowd;
use crate::machine::Core;
use crate::report::{Goal, Report, Row};
use crate::servers::{Server, floor, headcount, redis};
use crate::stats::Interval;
use crate::{Extent, Result};

pub fn join_storm(extent: Extent, report: &mut Report) -> Result<()> {
    let store = redis()?;
    let sizes: &[usize] = extent.pick(&[1000, 4000], &[1000, 2000, 4000, 8000, 16_000]);
    let (mut ours, mut floors) = (Vec::new(), Vec::new());
    for &clients in sizes {
        let (mut mine, mut least, mut took) = (Vec::new(), Vec::new(), Vec::new());
        for _ in 0..extent.pick(1, 9) {
            let server = headcount(Core::Server, 1, store.port, &[])?;
            let (cpu, seconds) = storm(&server, &mut Crowd::new()?, clients, "/ws", Some(clients))?;
            drop(server);
            mine.push(cpu);
            took.push(seconds);
            least.push(storm(&floor(store.port, "floor")?, &mut Crowd::new()?, clients, "/", None)?.0);
        }
        let (mine, least) = (Interval::of(&mine), Interval::of(&least));
        let seconds = Interval::of(&took).median;
        ours.push((clients as f64, mine.median));
        floors.push((clients as f64, least.median));
        report.row(Row {
            measure: format!("storm of {clients}: CPU a connect, handshake to last push"),
            ours: format!("{} [{:.1}, {:.1}] (all in after {seconds:.2} s)", micros(mine.median), mine.low, mine.high),
            floor: micros(least.median),
            ratio: None,
            noise: None,
            goal: Some(Goal::Value { value: mine.low.round(), at_most: 60.0, unit: "µs" }),
        });
    }
    let slope = slope(&ours);
    report.row(Row {
        measure: "storm: the whole cost grows as n to the power of".to_owned(),
        ours: format!("{slope:.2}"),
        floor: format!("{:.2}", self::slope(&floors)),
        ratio: None,
        noise: None,
        goal: Some(Goal::Value { value: (slope * 100.0).round() / 100.0, at_most: 1.15, unit: "" }),
    });
    report.storm("headcount", ours);
    report.storm("floor", floors);
    Ok(())
}

/// µs of CPU a connect, and the seconds until all were in.
pub fn storm(
    server: &Server,
    crowd: &mut Crowd,
    clients: usize,
    path: &str,
    count: Option<usize>,
) -> Result<(f64, f64)> {
    let before = server.cpu()?;
    if let Some(count) = count {
        // In a message, or in the reply to a join that came so late that all were counted.
        crowd.ask(&format!("expect \"data\":{count}"))?;
    }
    let seconds = crowd.numbers(&format!("open {} {clients} {clients} {path}", server.port))?;
    if count.is_some() {
        crowd.ask("await")?;
    }
    crowd.ask("settle 400")?;
    Ok(((server.cpu()? - before) / clients as f64, seconds.first().copied().unwrap_or(f64::NAN)))
}

/// The exponent of the whole cost in n: the least squares' slope of both logarithms.
pub fn slope(points: &[(f64, f64)]) -> f64 {
    let logs: Vec<_> = points.iter().map(|(n, each)| (n.ln(), (n * each).ln())).collect();
    let mean = |f: fn(&(f64, f64)) -> f64| logs.iter().map(f).sum::<f64>() / logs.len() as f64;
    let (x, y) = (mean(|p| p.0), mean(|p| p.1));
    let up: f64 = logs.iter().map(|p| (p.0 - x) * (p.1 - y)).sum();
    up / logs.iter().map(|p| (p.0 - x).powi(2)).sum::<f64>()
}
