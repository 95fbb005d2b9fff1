//! Statistics of commands, their outcomes and durations, for `INFO` and `LATENCY`.
//!
//! Commands are identified by the numbers that the command tables assign.

use std::collections::BTreeMap;
use std::time::Duration;

use super::histogram::Histogram;

/// Scripts can make up error codes, so only this many different ones are counted.
const MAX_ERROR_CODES: usize = 128;
/// One in this many calls from scripts is timed; its duration also stands for the calls since the last timed one.
const TIMED: u64 = 8;

/// The statistics of one command.
#[derive(Debug, Default)]
pub struct Calls {
    /// How often it ran.
    pub calls: u64,
    /// The total time it ran, in nanoseconds.
    pub nanoseconds: u64,
    /// How often it was refused before it ran.
    pub rejected: u64,
    /// How often it ran and failed.
    pub failed: u64,
    /// The distribution of its durations.
    pub durations: Histogram,
}

/// The statistics of all commands; see the module's text.
#[derive(Debug, Default)]
pub struct CallStats {
    commands: Vec<Calls>,
    /// Error replies by their first word; at most [`MAX_ERROR_CODES`] different ones.
    pub errors: BTreeMap<String, u64>,
}

impl CallStats {
    /// Returns the statistics of the command with this number.
    pub fn of(&mut self, number: usize) -> &mut Calls {
        if self.commands.len() <= number {
            self.commands.resize_with(number + 1, Calls::default);
        }
        &mut self.commands[number]
    }

    /// Records that a command ran.
    pub fn ran(&mut self, number: usize, took: Duration, failed: bool) {
        let calls = self.of(number);
        calls.calls += 1;
        calls.failed += u64::from(failed);
        calls.took(took, 1);
    }

    /// Whether the next call of this command by a script should be timed.
    pub fn is_timed(&mut self, number: usize) -> bool {
        self.of(number).calls.is_multiple_of(TIMED)
    }

    /// Records that a script ran a command, and how long it took, if it was timed.
    pub fn ran_in_script(&mut self, number: usize, took: Option<Duration>, failed: bool) {
        let calls = self.of(number);
        calls.calls += 1;
        calls.failed += u64::from(failed);
        if let Some(took) = took {
            calls.took(took, calls.calls - calls.durations.total());
        }
    }

    /// Counts an error reply.
    pub fn error(&mut self, text: &str) {
        let code = text.split(' ').next().unwrap_or(text);
        if let Some(count) = self.errors.get_mut(code) {
            *count += 1;
        } else if self.errors.len() < MAX_ERROR_CODES {
            self.errors.insert(code.to_owned(), 1);
        }
    }

    /// How many calls there were in total.
    pub fn total(&self) -> u64 {
        self.commands.iter().map(|calls| calls.calls).sum()
    }

    /// All commands that were called or rejected, with their numbers.
    pub fn called(&self) -> impl Iterator<Item = (usize, &Calls)> {
        self.commands.iter().enumerate().filter(|(_, calls)| calls.calls + calls.rejected > 0)
    }

    /// Adds the counts of another instance.
    pub fn add(&mut self, other: Self) {
        for (number, calls) in other.commands.into_iter().enumerate() {
            self.of(number).add(&calls);
        }
        for (code, count) in other.errors {
            *self.errors.entry(code).or_default() += count;
        }
    }
}

impl Calls {
    fn took(&mut self, took: Duration, times: u64) {
        let nanoseconds = took.as_nanos() as u64;
        self.nanoseconds += nanoseconds * times;
        self.durations.add(nanoseconds, times);
    }

    fn add(&mut self, other: &Self) {
        self.calls += other.calls;
        self.nanoseconds += other.nanoseconds;
        self.rejected += other.rejected;
        self.failed += other.failed;
        self.durations.merge(&other.durations);
    }
}
