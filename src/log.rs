//! The log: written to standard error, in the format that suits its reader.

use std::io::{self, IsTerminal};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use tracing::Level;
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::fmt::layer;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::reload;

use crate::config::{Log, LogFormat};

/// Changes the level of a running log.
pub struct Threshold(Box<dyn Fn(Level) + Send>);

impl Threshold {
    /// Logs events of this level and more severe ones from now on.
    pub fn set(&self, level: Level) {
        (self.0)(level);
    }
}

/// Starts logging. Does nothing if a log is already running.
pub fn start(log: &Log) -> Threshold {
    let human = log.format == LogFormat::Human || (log.format == LogFormat::Auto && io::stderr().is_terminal());
    let (threshold, handle) = reload::Layer::new(LevelFilter::from_level(log.level));
    let base = layer().with_writer(io::stderr).with_ansi(human).with_target(false);
    let filtered = tracing_subscriber::registry().with(threshold);
    // Fails only if a log was started before, as happens in tests.
    let _ = match log.format {
        LogFormat::Json => tracing::subscriber::set_global_default(filtered.with(base.json().flatten_event(true))),
        _ if human => tracing::subscriber::set_global_default(filtered.with(base.compact())),
        _ => tracing::subscriber::set_global_default(filtered.with(base)),
    };
    // Fails only if the log is gone.
    Threshold(Box::new(move |level| drop(handle.reload(LevelFilter::from_level(level)))))
}

/// Limits a line that could be logged a thousand times a second to one per period (ten seconds by default).
///
/// For events that others can trigger, such as messages that are too long. A metric has the exact number.
#[derive(Debug)]
pub(crate) struct Throttle {
    state: Mutex<(Option<Instant>, u64)>,
    period: Duration,
}

impl Default for Throttle {
    fn default() -> Self {
        Self::new()
    }
}

impl Throttle {
    /// Returns a throttle that passes the first line, and then one every ten seconds.
    pub const fn new() -> Self {
        Self::every(Duration::from_secs(10))
    }

    /// Returns a throttle that passes the first line, and then one per `period`.
    pub const fn every(period: Duration) -> Self {
        Self { state: Mutex::new((None, 0)), period }
    }

    /// Returns how many lines were left out since the last one, or `None` if this one must be left out too.
    pub fn pass(&self) -> Option<u64> {
        self.pass_at(Instant::now())
    }

    /// Does the same as [`Throttle::pass`], at a given time.
    pub fn pass_at(&self, now: Instant) -> Option<u64> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let (last, left_out) = &mut *state;
        if last.is_some_and(|last| now.saturating_duration_since(last) < self.period) {
            *left_out += 1;
            return None;
        }
        *last = Some(now);
        Some(std::mem::take(left_out))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_throttled_line_comes_once_in_a_period_and_says_how_many_were_left_out() {
        let (throttle, start) = (Throttle::new(), Instant::now());
        let at = |seconds| throttle.pass_at(start + Duration::from_secs(seconds));
        assert_eq!([0, 1, 9, 10, 11, 30].map(at), [Some(0), None, None, Some(2), None, Some(1)]);
    }
}
