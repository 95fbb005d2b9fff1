//! The counters that `INFO` shows.

use super::rates::Rates;

/// The counters; see the module documentation.
#[derive(Debug, Default)]
pub struct Stats {
    /// When the server started, in milliseconds since 1970.
    pub started: u64,
    /// How often the log was rewritten.
    pub rewrites: u64,
    /// How many changes there had been at the last rewrite.
    pub saved_changes: u64,
    /// How often input was received.
    pub reads: u64,
    /// How often output was sent.
    pub writes: u64,
    /// When the log was last rewritten.
    pub last_save: u64,
    /// Connections that were accepted.
    pub connections: u64,
    /// Connections that were refused because there were too many.
    pub rejected: u64,
    /// Bytes received.
    pub input: u64,
    /// Bytes sent.
    pub output: u64,
    /// Clients that were dropped because of too much unread output or memory.
    pub dropped_output: u64,
    /// Clients that were dropped because they sent too long a command.
    pub dropped_input: u64,
    /// The most memory that keys, values and scripts have used, in bytes.
    pub peak: usize,
    /// Recent rates of commands, input and output.
    pub rates: Rates,
    /// Scripts that were forgotten to make room for others.
    pub forgotten_scripts: u64,
}

impl Stats {
    /// Resets the counters.
    pub fn reset(&mut self) {
        let &mut Self { started, last_save, peak, rewrites, saved_changes, .. } = self;
        *self = Self { started, last_save, peak, rewrites, saved_changes, ..Self::default() };
    }
}
