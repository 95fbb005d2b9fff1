//! Where the log goes: standard error, in the form that its reader wants.

use std::io::{self, IsTerminal};

use tracing::Level;
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::fmt::layer;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::reload;

use crate::config::{Log, LogFormat};

/// Sets the level of a log that runs.
pub struct Threshold(Box<dyn Fn(Level) + Send>);

impl Threshold {
    /// From now on, this level and those above it are logged.
    pub fn set(&self, level: Level) {
        (self.0)(level);
    }
}

/// Starts logging. Does nothing if a log was started before.
pub fn start(log: &Log) -> Threshold {
    let human = log.format == LogFormat::Human || (log.format == LogFormat::Auto && io::stderr().is_terminal());
    let (threshold, handle) = reload::Layer::new(LevelFilter::from_level(log.level));
    let base = layer().with_writer(io::stderr).with_ansi(human).with_target(false);
    let filtered = tracing_subscriber::registry().with(threshold);
    // Fails only if a log was started before, as in tests.
    let _ = match log.format {
        LogFormat::Json => tracing::subscriber::set_global_default(filtered.with(base.json().flatten_event(true))),
        _ if human => tracing::subscriber::set_global_default(filtered.with(base.compact())),
        _ => tracing::subscriber::set_global_default(filtered.with(base)),
    };
    // Fails only if the log is gone.
    Threshold(Box::new(move |level| drop(handle.reload(LevelFilter::from_level(level)))))
}
