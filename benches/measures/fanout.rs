//! The fan-out beside the floor: one message at a time, and bursts.

use super::trio::{Load, Measured, Trio};
use super::{micros, millis};
use crate::report::{Goal, Report, Row};
use crate::servers::redis;
use crate::{Extent, Result};

/// CPU a delivery and the time until everybody has it, one message at a time.
pub fn one_at_a_time(extent: Extent, report: &mut Report) -> Result<()> {
    let store = redis()?;
    let crowds: &[(usize, usize, usize)] = extent.pick(&[(5000, 2, 5)], &[(5000, 5, 5), (15_000, 4, 2)]);
    for &(clients, turns, messages) in crowds {
        let sizes = [8, 1024];
        let mut measured = [(); 2].map(|()| Measured::default());
        let mut share = (0.0, 0.0);
        // Fresh processes now and then: where their memory happens to lie is part of the noise.
        for _ in 0..extent.pick(1, 3) {
            let mut trio = Trio::with_floors(store.port, clients)?;
            let before = trio.0[1].server.user_and_kernel()?;
            for (size, into) in sizes.iter().zip(&mut measured) {
                trio.measure(extent.pick(5, 4), Load { clients, turns, messages, burst: 1, size: *size }, into)?;
            }
            let after = trio.0[1].server.user_and_kernel()?;
            share = (share.0 + after.0 - before.0, share.1 + after.1 - before.1);
        }
        for (size, measured) in sizes.iter().zip(&measured) {
            rows(report, &format!("{clients} sockets, {size} B"), measured);
        }
        let kernel = (100.0 * share.1 / (share.0 + share.1)).round();
        report.row(Row {
            measure: format!("{clients} sockets: the kernel's share of our CPU"),
            ours: format!("{kernel} %"),
            floor: String::new(),
            ratio: None,
            noise: None,
            goal: Some(Goal::AtLeast { value: kernel, at_least: 85.0, unit: "%" }),
        });
    }
    Ok(())
}

fn rows(report: &mut Report, what: &str, measured: &Measured) {
    let Measured { cpu, middle, late } = measured;
    for (name, turns, show, goal) in [
        ("CPU a delivery", cpu, micros as fn(f64) -> String, Some(Goal::Ratio(1.05))),
        ("median until all have it", middle, millis, None),
        ("p99 until all have it", late, millis, Some(Goal::Ratio(1.10))),
    ] {
        report.row(Row {
            measure: format!("{what}: {name}"),
            ours: show(turns.ours()),
            floor: show(turns.floor()),
            ratio: Some(turns.ratio()),
            noise: Some(turns.noise()),
            goal,
        });
    }
}

/// 64 messages at once.
pub fn burst(extent: Extent, report: &mut Report) -> Result<()> {
    let store = redis()?;
    let clients = extent.pick(2000, 5000);
    let mut measured = Measured::default();
    for _ in 0..extent.pick(1, 3) {
        let mut trio = Trio::with_floors(store.port, clients)?;
        let load = Load { clients, turns: 1, messages: 1, burst: 64, size: 8 };
        trio.measure(extent.pick(5, 3), load, &mut measured)?;
    }
    report.row(Row {
        measure: format!("{clients} sockets, bursts of 64: CPU a delivery"),
        ours: micros(measured.cpu.ours()),
        floor: micros(measured.cpu.floor()),
        ratio: Some(measured.cpu.ratio()),
        noise: Some(measured.cpu.noise()),
        goal: Some(Goal::Ratio(0.25)),
    });
    Ok(())
}
