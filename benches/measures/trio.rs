//! Three servers with a crowd each, which take turns: two alike, and between them the one in question.

use crate::Result;
use crate::crowd::Crowd;
use crate::machine::Core;
use crate::servers::{Server, floor, headcount};
use crate::stats::{Turns, percentile};

/// The channel that ours relays.
pub const CHANNEL: &str = "public:bench";

/// What ours writes around a payload; the floor gets it as part of the payload, so that both send
/// the same number of bytes.
fn wrapping() -> usize {
    format!(r#"{{"channel":"{CHANNEL}","data":""}}"#).len()
}

/// A server and its clients.
pub struct Party {
    pub server: Server,
    pub crowd: Crowd,
    /// Where its messages are published.
    pub by: String,
    pub channel: String,
    /// Bytes of a payload beyond the size asked for.
    pub more: usize,
}

/// What one party used for some messages.
#[derive(Debug, Default, Clone)]
pub struct Sample {
    /// µs of CPU.
    pub cpu: f64,
    /// µs until every client had it, for each message or burst.
    pub times: Vec<f64>,
}

impl Party {
    pub fn ours(server: Server, redis: u16, clients: usize) -> Result<Self> {
        Self::ours_with(server, Crowd::new()?, redis, clients)
    }

    /// With a load process that has some clients already.
    pub fn ours_with(server: Server, mut crowd: Crowd, redis: u16, clients: usize) -> Result<Self> {
        crowd.open(server.port, clients, &format!("/ws?channel={CHANNEL}"))?;
        Ok(Self { server, crowd, by: format!("redis:{redis}"), channel: CHANNEL.to_owned(), more: 0 })
    }

    pub fn floor(redis: u16, channel: &str, clients: usize) -> Result<Self> {
        let server = floor(redis, channel)?;
        let crowd = Crowd::on(server.port, clients, "/")?;
        Ok(Self { server, crowd, by: format!("redis:{redis}"), channel: channel.to_owned(), more: wrapping() })
    }

    /// Sends `messages` bursts in a closed loop.
    pub fn send(&mut self, load: Load) -> Result<Sample> {
        let before = self.server.cpu()?;
        let Load { messages, burst, size, .. } = load;
        let line = format!("round {} {} {messages} {burst} {}", self.by, self.channel, size + self.more);
        let times = self.crowd.numbers(&line)?;
        Ok(Sample { cpu: self.server.cpu()? - before, times })
    }
}

/// What is sent in one round. The three take turns several times in a round, so that whatever
/// disturbs the machine meets all of them.
#[derive(Debug, Clone, Copy)]
pub struct Load {
    pub clients: usize,
    pub turns: usize,
    pub messages: usize,
    pub burst: usize,
    pub size: usize,
}

/// The two alike are first and last.
pub struct Trio(pub [Party; 3]);

/// Ratios over rounds.
#[derive(Default)]
pub struct Measured {
    /// µs CPU a delivery.
    pub cpu: Turns,
    /// µs until all have it: median, and 99th percentile.
    pub middle: Turns,
    pub late: Turns,
}

impl Trio {
    /// Ours between two floors, each with as many clients.
    pub fn with_floors(redis: u16, clients: usize) -> Result<Self> {
        let before = Party::floor(redis, "floor:before", clients)?;
        let ours = Party::ours(headcount(Core::Server, 1, redis, &[])?, redis, clients)?;
        let after = Party::floor(redis, "floor:after", clients)?;
        Ok(Self([before, ours, after]))
    }

    /// Measures some rounds. The order turns round each time.
    pub fn measure(&mut self, rounds: usize, load: Load, into: &mut Measured) -> Result<()> {
        for party in &mut self.0 {
            party.send(Load { messages: 2, burst: 1, ..load })?;
        }
        for _ in 0..rounds {
            let mut samples = [(); 3].map(|()| Sample::default());
            for turn in 0..load.turns {
                for place in 0..3 {
                    let which = if turn % 2 == 0 { place } else { 2 - place };
                    let sample = self.0[which].send(load)?;
                    samples[which].cpu += sample.cpu;
                    samples[which].times.extend(sample.times);
                }
            }
            let deliveries = (load.clients * load.turns * load.messages * load.burst) as f64;
            into.cpu.push(samples.each_ref().map(|sample| sample.cpu / deliveries));
            into.middle.push(samples.each_ref().map(|sample| percentile(&sample.times, 0.5)));
            into.late.push(samples.each_ref().map(|sample| percentile(&sample.times, 0.99)));
        }
        Ok(())
    }
}
