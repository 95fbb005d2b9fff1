//! What became of commands, and how long they took, for `INFO` and `LATENCY`.
//!
//! Commands are known here by numbers, which the tables of commands give out.

use std::collections::BTreeMap;
use std::time::Duration;

use super::histogram::Histogram;

/// A script can make up error codes; no more than this many are told apart.
const MAX_ERROR_CODES: usize = 128;
/// Of the calls of scripts, one in so many is timed, and stands for those after the last that was.
const TIMED: u64 = 8;

/// What became of one command.
#[derive(Debug, Default)]
pub struct Calls {
    /// How often it ran.
    pub calls: u64,
    /// How long that took, in nanoseconds.
    pub nanoseconds: u64,
    /// How often it was refused before it ran.
    pub rejected: u64,
    /// How often it ran and failed.
    pub failed: u64,
    /// How long it took how often.
    pub durations: Histogram,
}

/// See the module's text.
#[derive(Debug, Default)]
pub struct CallStats {
    commands: Vec<Calls>,
    /// Error replies by their first word; at most [`MAX_ERROR_CODES`] different ones.
    pub errors: BTreeMap<String, u64>,
}

impl CallStats {
    /// What became of the command of a number.
    pub fn of(&mut self, number: usize) -> &mut Calls {
        if self.commands.len() <= number {
            self.commands.resize_with(number + 1, Calls::default);
        }
        &mut self.commands[number]
    }

    /// Notes that a command ran.
    pub fn ran(&mut self, number: usize, took: Duration, failed: bool) {
        let calls = self.of(number);
        calls.calls += 1;
        calls.failed += u64::from(failed);
        calls.took(took, 1);
    }

    /// Whether the next call of a script is to be timed.
    pub fn is_timed(&mut self, number: usize) -> bool {
        self.of(number).calls.is_multiple_of(TIMED)
    }

    /// Notes that a command ran in a script, and how long it took, if it was timed.
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

    /// How many commands ran.
    pub fn total(&self) -> u64 {
        self.commands.iter().map(|calls| calls.calls).sum()
    }

    /// All commands that were called, by their numbers.
    pub fn called(&self) -> impl Iterator<Item = (usize, &Calls)> {
        self.commands.iter().enumerate().filter(|(_, calls)| calls.calls + calls.rejected > 0)
    }

    /// Adds what was counted elsewhere.
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
