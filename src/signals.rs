//! What a signal asks for. The first SIGTERM or SIGINT asks for a drain, the second one for the end at
//! once, and SIGHUP for a reload of the configuration.

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
