//! One client that never reads, among 5,000: the others must not notice.

use super::millis;
use super::trio::{CHANNEL, Load, Measured, Party, Trio};
use crate::crowd::Crowd;
use crate::machine::Core;
use crate::report::{Goal, Report, Row};
use crate::servers::{headcount, redis};
use crate::{Extent, Result};

pub fn one_that_never_reads(extent: Extent, report: &mut Report) -> Result<()> {
    let clients = extent.pick(2000, 5000);
    let mut measured = Measured::default();
    for _ in 0..extent.pick(1, 3) {
        let stores = [redis()?, redis()?, redis()?];
        // More room than the rounds fill: the client is to stay, and to wait, all the time.
        let room = [("HEADCOUNT_LIMITS__CLIENT_BUFFER", "64MiB")];
        let party = |store: usize, deaf: bool| {
            let port = stores[store].port;
            let server = headcount(Core::Server, 1, port, &room)?;
            let mut crowd = Crowd::new()?;
            if deaf {
                // It is behind before the others come: more is sent than the kernel's buffers take.
                crowd.ask(&format!("deaf {} /ws?channel={CHANNEL}", server.port))?;
                crowd.ask(&format!("round redis:{port} {CHANNEL} 4 256 8192"))?;
            }
            Party::ours_with(server, crowd, port, clients)
        };
        let mut trio = Trio([party(0, false)?, party(1, true)?, party(2, false)?]);
        let load = Load { clients, turns: 4, messages: 5, burst: 1, size: 1024 };
        trio.measure(extent.pick(5, 4), load, &mut measured)?;
    }
    report.row(Row {
        measure: format!("one of {clients} never reads: median until the others have it"),
        ours: millis(measured.middle.ours()),
        floor: format!("{} (all read)", millis(measured.middle.floor())),
        ratio: Some(measured.middle.ratio()),
        noise: Some(measured.middle.noise()),
        goal: Some(Goal::Ratio(1.10)),
    });
    Ok(())
}
