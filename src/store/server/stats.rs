//! What is counted, for `INFO`.

use super::rates::Rates;

/// Counters, for `INFO`.
#[derive(Debug, Default)]
pub struct Stats {
    /// When the server started, in milliseconds since 1970.
    pub started: u64,
    /// How often the log was rewritten, and how many changes there had been when it last was.
    pub rewrites: u64,
    /// See `rewrites`.
    pub saved_changes: u64,
    /// How often something was received.
    pub reads: u64,
    /// How often something was sent.
    pub writes: u64,
    /// When the log was last rewritten.
    pub last_save: u64,
    /// Connections that were taken.
    pub connections: u64,
    /// Connections that were refused because there were too many.
    pub rejected: u64,
    /// Bytes received.
    pub input: u64,
    /// Bytes sent.
    pub output: u64,
    /// Clients that were dropped because they did not read.
    pub dropped_output: u64,
    /// Clients that were dropped because they sent too long a command.
    pub dropped_input: u64,
    /// The most that keys, values and scripts have taken, in bytes.
    pub peak: usize,
    /// How much happened in the last seconds.
    pub rates: Rates,
    /// Scripts that were forgotten because others were run.
    pub forgotten_scripts: u64,
}

impl Stats {
    /// Sets the counters back.
    pub fn reset(&mut self) {
        let &mut Self { started, last_save, peak, rewrites, saved_changes, .. } = self;
        *self = Self { started, last_save, peak, rewrites, saved_changes, ..Self::default() };
    }
}
