//! What a service manager is told, and what it hands over: sd_notify(3) and sd_listen_fds(3).
//!
//! In: `NOTIFY_SOCKET`, `WATCHDOG_USEC`, `LISTEN_FDS` and their kin. Out: short messages to the
//! manager, which never wait for it, and listening sockets. Without a manager, nothing happens.

use std::env;
use std::os::fd::{FromRawFd, OwnedFd};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::sync::Arc;
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

/// The first descriptor that is handed over.
const FIRST: i32 = 3;

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
            std::io::Result::Ok(socket)
        };
        match connect() {
            Ok(socket) => Self(Some(Arc::new(socket))),
            Err(error) => {
                tracing::warn!(%error, socket = %name.display(), "the service manager cannot be told anything");
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
        self.tell("READY=1");
    }

    /// The service reads its configuration again.
    pub fn reloading(&self) {
        let now = clock_gettime(ClockId::Monotonic);
        self.tell(&format!("RELOADING=1\nMONOTONIC_USEC={}", now.tv_sec * 1_000_000 + now.tv_nsec / 1000));
    }

    /// The service stops, and says so for the first time.
    pub fn stopping(&self) {
        self.tell("STOPPING=1");
    }

    /// The service needs more time to stop: it is to be killed if it does not say so again in `time`.
    pub fn extend(&self, time: Duration, status: &str) {
        self.tell(&format!("EXTEND_TIMEOUT_USEC={}\nSTATUS={status}", time.as_micros()));
    }

    /// One line for people.
    pub fn status(&self, text: &str) {
        self.tell(&format!("STATUS={text}"));
    }

    /// The service is alive.
    pub fn alive(&self) {
        self.tell("WATCHDOG=1");
    }

    fn tell(&self, message: &str) {
        if let Some(socket) = &self.0
            && let Err(error) = socket.send(message.as_bytes())
        {
            tracing::debug!(%error, "the service manager does not listen");
        }
    }
}

/// How long the manager waits for a sign of life before it restarts the service.
pub fn watchdog() -> Option<Duration> {
    let for_us = env::var("WATCHDOG_PID").map_or(true, |pid| is_ours(&pid));
    let micros = env::var("WATCHDOG_USEC").ok()?.parse().ok()?;
    (for_us && micros > 0).then(|| Duration::from_micros(micros))
}

/// The listening sockets that the manager holds for us, each with its name. To be called once.
pub fn sockets() -> Vec<(OwnedFd, String)> {
    let ours = env::var("LISTEN_PID").is_ok_and(|pid| is_ours(&pid));
    let count = env::var("LISTEN_FDS").ok().filter(|_| ours).and_then(|count| count.parse::<i32>().ok()).unwrap_or(0);
    let names = env::var("LISTEN_FDNAMES").unwrap_or_default();
    let mut names = names.split(':').map(str::to_owned);
    // SAFETY: sd_listen_fds(3) gives this process these descriptors, open and its own, and nothing
    // else here opens or closes a descriptor that it did not open itself. This is called once.
    #[expect(unsafe_code)]
    let take = |fd| unsafe { OwnedFd::from_raw_fd(fd) };
    (FIRST..FIRST.saturating_add(count)).map(|fd| (take(fd), names.next().unwrap_or_default())).collect()
}

fn is_ours(pid: &str) -> bool {
    pid.parse() == Ok(std::process::id())
}
