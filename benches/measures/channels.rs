//! Many channels with few sockets: what a message costs must not depend on how many channels there are.

use super::micros;
use crate::crowd::Crowd;
use crate::machine::Core;
use crate::report::{Goal, Report, Row};
use crate::servers::{Server, headcount, redis};
use crate::stats::Turns;
use crate::{Extent, Result};

const SOCKETS: usize = 10;
const FEW: usize = 1000;

pub fn many_channels(extent: Extent, report: &mut Report) -> Result<()> {
    let many = extent.pick(10_000, 100_000);
    let stores = [redis()?, redis()?, redis()?];
    let mut parties = Vec::new();
    for (store, channels) in stores.iter().zip([FEW, many, FEW]) {
        parties.push((start(store.port, channels)?, channels, format!("redis:{}", store.port)));
    }
    let mut turns = Turns::default();
    let rounds = extent.pick(5, 9);
    // Over all rounds, each of the many channels gets one message.
    let messages = many.div_ceil(rounds);
    for _ in 0..rounds {
        let mut costs = [0.0; 3];
        for (((server, crowd), channels, by), cost) in parties.iter_mut().zip(&mut costs) {
            let before = server.cpu()?;
            crowd.ask(&format!("one-each {by} public:c {channels} {messages}"))?;
            *cost = (server.cpu()? - before) / messages as f64;
        }
        turns.push(costs);
    }
    report.row(Row {
        measure: format!("{many} channels on {SOCKETS} sockets against {FEW}: CPU a message"),
        ours: micros(turns.ours()),
        floor: format!("{} ({FEW} channels)", micros(turns.floor())),
        ratio: Some(turns.ratio()),
        noise: Some(turns.noise()),
        goal: Some(Goal::Ratio(1.25)),
    });
    Ok(())
}

fn start(redis: u16, channels: usize) -> Result<(Server, Crowd)> {
    // The channel in the URL is not one of them; without, it would be the counted one.
    let most = (channels + 1).to_string();
    let limits = [
        ("HEADCOUNT_LIMITS__CHANNELS", most.as_str()),
        ("HEADCOUNT_LIMITS__CHANNELS_PER_CLIENT", &most),
        ("HEADCOUNT_LIMITS__MESSAGES_PER_SECOND", "1000000"),
    ];
    let server = headcount(Core::Server, 1, redis, &limits)?;
    let mut crowd = Crowd::on(server.port, SOCKETS, "/ws?channel=public:none")?;
    crowd.ask(&format!("spread public:c {channels}"))?;
    Ok((server, crowd))
}
