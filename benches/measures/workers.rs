//! Two workers against one: what it costs that a message goes to two threads.
//!
//! Both may run on both cores here, beside the load; with one core for two workers there would be
//! nothing to share.

use super::micros;
use super::trio::{Load, Measured, Party, Trio};
use crate::machine::Core;
use crate::report::{Goal, Report, Row};
use crate::servers::{headcount, redis};
use crate::{Extent, Result};

pub fn two_against_one(extent: Extent, report: &mut Report) -> Result<()> {
    let clients = extent.pick(2000, 5000);
    let mut measured = Measured::default();
    for _ in 0..extent.pick(1, 3) {
        // All three relay the same channel, so each has a store of its own.
        let stores = [redis()?, redis()?, redis()?];
        let party = |store: usize, workers| {
            let port = stores[store].port;
            Party::ours(headcount(Core::Any, workers, port, &[])?, port, clients)
        };
        let mut trio = Trio([party(0, 1)?, party(1, 2)?, party(2, 1)?]);
        let load = Load { clients, turns: 4, messages: 5, burst: 1, size: 8 };
        trio.measure(extent.pick(5, 5), load, &mut measured)?;
    }
    report.row(Row {
        measure: format!("{clients} sockets, 2 workers against 1: CPU a delivery"),
        ours: micros(measured.cpu.ours()),
        floor: format!("{} (1 worker)", micros(measured.cpu.floor())),
        ratio: Some(measured.cpu.ratio()),
        noise: Some(measured.cpu.noise()),
        goal: Some(Goal::Ratio(1.10)),
    });
    Ok(())
}
