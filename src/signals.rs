//! What a signal asks for: the first SIGTERM or SIGINT a drain, the second one the end now, and SIGHUP
//! that the configuration is read again.

use std::io;

use tokio::signal::unix::{Signal, SignalKind, signal};

/// What is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Asked {
    /// To stop, by the signal of this name and number.
    Stop(&'static str, i32),
    /// To read the configuration again.
    Reload,
}

/// The signals that are for this process.
pub struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
}

impl Signals {
    /// Takes over SIGTERM, SIGINT and SIGHUP.
    ///
    /// # Errors
    /// The kernel refuses a handler.
    pub fn new() -> io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hangup: signal(SignalKind::hangup())?,
        })
    }

    /// Waits for the next signal. Cancel safe.
    pub async fn next(&mut self) -> Asked {
        tokio::select! {
            _ = self.terminate.recv() => Asked::Stop("SIGTERM", 15),
            _ = self.interrupt.recv() => Asked::Stop("SIGINT", 2),
            _ = self.hangup.recv() => Asked::Reload,
        }
    }

    /// Waits for the next signal to stop, and returns its number. Cancel safe.
    pub async fn stop(&mut self) -> i32 {
        loop {
            if let Asked::Stop(_, number) = self.next().await {
                return number;
            }
        }
    }
}
