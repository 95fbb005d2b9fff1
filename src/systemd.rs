//! What a service manager is told, and what it hands over: sd_notify(3) and sd_listen_fds(3).
//!
//! In: `NOTIFY_SOCKET`, `WATCHDOG_USEC`, `LISTEN_FDS` and the like. Out: short messages to the manager,
//! and listening sockets. Without a manager, nothing happens. The messages and variables are sd-notify's;
//! the socket is our own, since that crate's one waits for a manager that does not read, and knows no
//! abstract addresses.

use std::env;
use std::io;
use std::os::fd::{FromRawFd, OwnedFd};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use sd_notify::NotifyState;

/// The way to the service manager, if there is one. Clones share it.
#[derive(Debug, Clone, Default)]
pub struct Manager(Option<Arc<UnixDatagram>>);

impl Manager {
    /// The manager that the environment names.
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

    /// Whether anybody listens.
    pub fn listens(&self) -> bool {
        self.0.is_some()
    }

    /// The service serves; also ends a reload.
    pub fn ready(&self) {
        self.tell(&[NotifyState::Ready]);
    }

    /// The service reads its configuration again.
    pub fn reloading(&self) {
        // The clock is always there; without its reading, a manager would wait for nothing.
        if let Ok(now) = NotifyState::monotonic_usec_now() {
            self.tell(&[NotifyState::Reloading, now]);
        }
    }

    /// The service stops.
    pub fn stopping(&self) {
        self.tell(&[NotifyState::Stopping]);
    }

    /// The service needs more time to stop: the manager may kill it if it does not ask again within `time`.
    pub fn extend(&self, time: Duration, status: &str) {
        let micros = u32::try_from(time.as_micros()).unwrap_or(u32::MAX);
        self.tell(&[NotifyState::ExtendTimeoutUsec(micros), NotifyState::Status(status)]);
    }

    /// One line for people.
    pub fn status(&self, text: &str) {
        self.tell(&[NotifyState::Status(text)]);
    }

    /// The service is alive.
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

/// How long the manager waits for a sign of life before it restarts the service.
pub fn watchdog() -> Option<Duration> {
    sd_notify::watchdog_enabled().filter(|patience| !patience.is_zero())
}

/// Takes the listening sockets that the manager holds for us, each with its name. A second call finds
/// none.
///
/// It should be the first thing that a process does, so that a wrong count in the environment cannot name
/// a descriptor that something else here has opened.
///
/// # Errors
/// The environment contradicts itself, or names a descriptor that is not open.
pub fn sockets() -> io::Result<Vec<(OwnedFd, String)>> {
    static TAKEN: AtomicBool = AtomicBool::new(false);
    if TAKEN.swap(true, Ordering::SeqCst) {
        return Ok(Vec::new());
    }
    // SAFETY: sd_listen_fds(3) gives these descriptors to this process and nobody else. They are open, as
    // sd-notify has just checked. Each gets one owner here, since only the first call comes this far.
    #[expect(unsafe_code)]
    let take = |(fd, name)| (unsafe { OwnedFd::from_raw_fd(fd) }, name);
    Ok(sd_notify::listen_fds_with_names()?.map(take).collect())
}
