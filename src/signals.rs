//! The signals that the process handles. The first SIGTERM or SIGINT asks for a drain, the second one for an
//! immediate exit, and SIGHUP for a reload of the configuration.

use std::io;

use tokio::signal::unix::{Signal, SignalKind, signal};

/// What a signal asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Asked {
    /// To stop, with the signal's name and number.
    Stop(&'static str, i32),
    /// To reload the configuration.
    Reload,
}

/// The signals that this process handles.
pub struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
}

impl Signals {
    /// Takes over SIGTERM, SIGINT and SIGHUP.
    ///
    /// # Errors
    /// The kernel refuses to install a handler.
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

    /// Waits for the next signal that asks to stop, and returns its number. Cancel safe.
    pub async fn stop(&mut self) -> i32 {
        loop {
            if let Asked::Stop(_, number) = self.next().await {
                return number;
            }
        }
    }
}
