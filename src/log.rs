//! Where the log goes: standard error, in the form that its reader wants.

use std::io::IsTerminal;

use tracing_subscriber::fmt::{Subscriber, time::SystemTime};

use crate::config::{Log, LogFormat};

/// Starts logging. Does nothing if a log was started before.
pub fn start(log: &Log) {
    let terminal = std::io::stderr().is_terminal();
    let human = log.format == LogFormat::Human || (log.format == LogFormat::Auto && terminal);
    let base = Subscriber::builder()
        .with_max_level(log.level)
        .with_writer(std::io::stderr)
        .with_ansi(human)
        .with_target(false)
        .with_timer(SystemTime);
    // Fails only if a log was started before, as in tests.
    let _ = match log.format {
        LogFormat::Json => tracing::subscriber::set_global_default(base.json().flatten_event(true).finish()),
        _ if human => tracing::subscriber::set_global_default(base.compact().finish()),
        _ => tracing::subscriber::set_global_default(base.finish()),
    };
}
