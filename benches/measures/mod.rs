//! One module a measure. Each adds rows to the report.

mod boards;
mod channels;
mod fanout;
mod hostile;
mod lone_node;
mod memory;
mod nodes;
mod peers;
mod people;
mod slow;
mod store;
mod storm;
mod tls;
mod tokens;
mod trio;
mod workers;

use crate::report::Report;
use crate::{Extent, Result};

type Measure = fn(Extent, &mut Report) -> Result<()>;

/// Every measure, in the order in which they run.
pub const MEASURES: &[(&str, Measure)] = &[
    ("fanout", fanout::one_at_a_time),
    ("burst", fanout::burst),
    ("workers", workers::two_against_one),
    ("memory", memory::idle),
    ("storm", storm::join_storm),
    ("people", people::people),
    ("tokens", tokens::tokens),
    ("store", store::against_redis),
    ("tls", tls::script_round_trips),
    ("slow", slow::one_that_never_reads),
    ("hostile", hostile::one_stranger),
    ("channels", channels::many_channels),
    ("boards", boards::boards),
    ("nodes", nodes::six_nodes),
    ("peers", peers::peers),
];

/// µs with a unit.
fn micros(value: f64) -> String {
    format!("{value:.2} µs")
}

/// µs as ms, with a unit.
fn millis(micros: f64) -> String {
    format!("{:.1} ms", micros / 1000.0)
}
