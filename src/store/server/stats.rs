//! What is counted, for `INFO`.

use std::collections::BTreeMap;

/// Counters, for `INFO`.
#[derive(Debug, Default)]
pub struct Stats {
    /// When the server started, in milliseconds since 1970.
    pub started: u64,
    /// When the log was last rewritten.
    pub last_save: u64,
    /// Commands that ran or were refused.
    pub commands: u64,
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
    /// Scripts that were forgotten because others were run.
    pub forgotten_scripts: u64,
    /// Error replies by their first word; at most [`MAX_ERROR_CODES`] different ones.
    pub errors: BTreeMap<String, u64>,
}

/// A script can make up error codes; no more than this many are told apart.
const MAX_ERROR_CODES: usize = 128;

impl Stats {
    /// Counts an error reply.
    pub fn error(&mut self, text: &str) {
        let code = text.split(' ').next().unwrap_or(text);
        if let Some(count) = self.errors.get_mut(code) {
            *count += 1;
        } else if self.errors.len() < MAX_ERROR_CODES {
            self.errors.insert(code.to_owned(), 1);
        }
    }

    /// Sets the counters back.
    pub fn reset(&mut self) {
        let (started, last_save) = (self.started, self.last_save);
        *self = Self { started, last_save, ..Self::default() };
    }
}
