//! A worker's own epoll, registered with the runtime's as one file descriptor.
//!
//! The runtime would keep a record and a waker for each socket that is registered with it. With a nested
//! epoll, it keeps one for all of them.

use std::io;
use std::os::fd::{AsRawFd, RawFd};
use std::time::Duration;

use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};
use tokio::io::unix::AsyncFd;

struct Epoll(Poll);

impl AsRawFd for Epoll {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_raw_fd()
    }
}

/// The sockets of a worker. Each is reported once when it becomes readable or writable.
pub struct Poller(AsyncFd<Epoll>);

impl Poller {
    /// Creates an empty set. Needs a runtime.
    pub fn new() -> io::Result<Self> {
        let epoll = Epoll(Poll::new()?);
        // SAFETY: `Epoll` owns its descriptor and never replaces it, and `AsyncFd` owns the `Epoll`:
        // the descriptor stays open and the same until it is dropped with both.
        #[expect(unsafe_code)]
        let watched = unsafe { AsyncFd::register_with_interest(epoll, tokio::io::Interest::READABLE) };
        Ok(Self(watched?))
    }

    /// Adds a socket. It is removed when its file descriptor is closed.
    pub fn add(&self, io: &mut TcpStream, token: Token) -> io::Result<()> {
        self.0.get_ref().0.registry().register(io, token, Interest::READABLE | Interest::WRITABLE)
    }

    /// Reports from now on only that a socket becomes writable or has failed, so that bytes that arrive
    /// wake nobody.
    pub fn mute(&self, io: &mut TcpStream, token: Token) -> io::Result<()> {
        self.0.get_ref().0.registry().reregister(io, token, Interest::WRITABLE)
    }

    /// Reports everything again, including what has arrived meanwhile.
    pub fn unmute(&self, io: &mut TcpStream, token: Token) -> io::Result<()> {
        self.0.get_ref().0.registry().reregister(io, token, Interest::READABLE | Interest::WRITABLE)
    }

    /// Waits for events and takes them. Cancel-safe.
    pub async fn wait(&mut self, events: &mut Events) -> io::Result<()> {
        let mut ready = self.0.readable_mut().await?;
        match ready.get_inner_mut().0.poll(events, Some(Duration::ZERO)) {
            Err(error) if error.kind() != io::ErrorKind::Interrupted => return Err(error),
            // Events that did not fit are still ready.
            _ if events.iter().count() == events.capacity() => ready.retain_ready(),
            _ => ready.clear_ready(),
        }
        Ok(())
    }

    /// Takes the events that are there, without waiting.
    pub fn take(&mut self, events: &mut Events) -> io::Result<()> {
        self.0.get_mut().0.poll(events, Some(Duration::ZERO))
    }
}
