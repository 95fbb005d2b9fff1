//! Notifications to the service manager, and sockets from it: sd_notify(3) and sd_listen_fds(3).
//!
//! In: `NOTIFY_SOCKET`, `WATCHDOG_USEC`, `LISTEN_FDS` and the like. Out: short messages to the manager, and
//! listening sockets. Without a manager, nothing happens. The sd-notify crate supplies the messages and reads
//! the variables, but the notification socket is our own: the crate's socket blocks if the manager does not
//! read, and does not support abstract addresses.

use std::env;
use std::io;
use std::os::fd::{FromRawFd, OwnedFd};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use sd_notify::NotifyState;

/// The connection to the service manager, if there is one. Clones share it.
#[derive(Debug, Clone, Default)]
pub struct Manager(Option<Arc<UnixDatagram>>);

impl Manager {
    /// Connects to the manager that the environment names.
    pub fn find() -> Self {
        let Some(name) = env::var_os("NOTIFY_SOCKET") else { return Self::default() };
        let path = name.as_encoded_bytes();
        let address = match path.strip_prefix(b"@") {
            Some(name) => SocketAddr::from_abstract_name(name),
            None => SocketAddr::from_pathname(&name),
        };
        let connect = || {
            let socket = UnixDatagram::unbound()?;
            socket.set_nonblocking(true)?;
            socket.connect_addr(&address?)?;
            io::Result::Ok(socket)
        };
        match connect() {
            Ok(socket) => Self(Some(Arc::new(socket))),
            Err(error) => {
                tracing::warn!(%error, socket = %name.display(), "cannot reach the service manager");
                Self::default()
            }
        }
    }

    /// Returns whether there is a manager to notify.
    pub fn listens(&self) -> bool {
        self.0.is_some()
    }

    /// Reports that the service is ready; also ends a reload.
    pub fn ready(&self) {
        self.tell(&[NotifyState::Ready]);
    }

    /// Reports that the service is reloading its configuration.
    pub fn reloading(&self) {
        // The clock can always be read; without its value, the manager would wait in vain.
        if let Ok(now) = NotifyState::monotonic_usec_now() {
            self.tell(&[NotifyState::Reloading, now]);
        }
    }

    /// Reports that the service is stopping.
    pub fn stopping(&self) {
        self.tell(&[NotifyState::Stopping]);
    }

    /// Asks for more time to stop: the manager may kill the service unless it asks again within `time`.
    pub fn extend(&self, time: Duration, status: &str) {
        let micros = u32::try_from(time.as_micros()).unwrap_or(u32::MAX);
        self.tell(&[NotifyState::ExtendTimeoutUsec(micros), NotifyState::Status(status)]);
    }

    /// Sets the status line that people see.
    pub fn status(&self, text: &str) {
        self.tell(&[NotifyState::Status(text)]);
    }

    /// Tells the watchdog that the service is alive.
    pub fn alive(&self) {
        self.tell(&[NotifyState::Watchdog]);
    }

    fn tell(&self, states: &[NotifyState]) {
        let Some(socket) = &self.0 else { return };
        let message: String = states.iter().map(|state| format!("{state}\n")).collect();
        if let Err(error) = socket.send(message.as_bytes()) {
            tracing::debug!(%error, "the service manager is not listening");
        }
    }
}

/// Returns how long the manager waits for a sign of life before it restarts the service.
pub fn watchdog() -> Option<Duration> {
    sd_notify::watchdog_enabled().filter(|patience| !patience.is_zero())
}

/// Takes the listening sockets that the manager passes to this process, each with its name. A second call
/// returns none.
///
/// Call it before anything else in the process opens a descriptor, so that a wrong count in the environment
/// cannot name one of those.
///
/// # Errors
/// The environment is contradictory, or names a descriptor that is not open.
pub fn sockets() -> io::Result<Vec<(OwnedFd, String)>> {
    static TAKEN: AtomicBool = AtomicBool::new(false);
    if TAKEN.swap(true, Ordering::SeqCst) {
        return Ok(Vec::new());
    }
    // SAFETY: sd_listen_fds(3) passes these descriptors to this process alone. They are open, as sd-notify has
    // just checked. Each gets exactly one owner, since only the first call reaches this line.
    #[expect(unsafe_code)]
    let take = |(fd, name)| (unsafe { OwnedFd::from_raw_fd(fd) }, name);
    Ok(sd_notify::listen_fds_with_names()?.map(take).collect())
}
