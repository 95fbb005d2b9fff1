//! Listening sockets: at an address, at a path, or handed over by a service manager.

use std::fs;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rustix::io::Errno;
use rustix::net::{SocketFlags, acceptfrom_with};
use socket2::{Domain, Protocol, SockAddr, SockRef, Socket, Type};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::net::TcpListener;

use super::household::Household;
use super::packet_filter;
/// The most households that a listener can shut out at once.
pub use super::packet_filter::MOST as MOST_SHUT_OUT;
use crate::config::{BindAddress, Listen};

/// The mode of our unix sockets: only their user and group may connect.
const MODE: u32 = 0o660;
/// How long data written to a connection may wait for its peer.
const UNREAD: Duration = Duration::from_secs(10);

/// The errors of accept(2) for a connection that broke before it was accepted.
const PEERS: [Errno; 10] = [
    Errno::CONNABORTED,
    Errno::PROTO,
    Errno::NETDOWN,
    Errno::NOPROTOOPT,
    Errno::HOSTDOWN,
    Errno::NONET,
    Errno::HOSTUNREACH,
    Errno::OPNOTSUPP,
    Errno::NETUNREACH,
    // A firewall's rule forbids it.
    Errno::PERM,
];

/// A listening socket.
pub struct Listener {
    /// Where it listens, with the actual port.
    pub at: Listen,
    /// Not the runtime's own listener type, which would register each connection with the event loop on accept,
    /// even one that is closed at once or that another thread serves.
    socket: AsyncFd<Socket>,
    /// Whether it has ever had a packet filter. Connections inherit the filter.
    has_shut_out: AtomicBool,
    /// The socket's file, if it is ours to remove.
    _file: Option<File>,
}

/// A socket's file, removed on drop.
struct File(PathBuf);

impl Drop for File {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

impl Listener {
    /// Opens one of the places in `all`.
    ///
    /// # Errors
    /// The address is taken or not this machine's, or the path is taken or not ours to write.
    pub fn open(at: &Listen, all: &[Listen], backlog: u32) -> io::Result<Self> {
        match &at.place {
            BindAddress::Tcp(address) => {
                // [::] takes IPv4 too, unless 0.0.0.0 is listed with the same port.
                let both = SocketAddr::from((Ipv4Addr::UNSPECIFIED, address.port()));
                let socket = bound(*address, backlog, all.iter().any(|one| one.address() == Some(both)))?;
                let place = socket.local_addr()?.as_socket().map_or(at.place.clone(), BindAddress::Tcp);
                Self::new(Listen { place, ..*at }, socket, None)
            }
            BindAddress::Unix(path) => Self::new(at.clone(), unix(path, backlog)?, Some(File(path.clone()))),
        }
    }

    fn new(at: Listen, socket: Socket, file: Option<File>) -> io::Result<Self> {
        if at.address().is_some() {
            // Connections inherit both options. A frame is written whole, and waiting for more would only delay it.
            // The kernel ends connections whose peer does not take the data, even if this process has closed them.
            let _ = socket.set_tcp_nodelay(true);
            let _ = socket.set_tcp_user_timeout(Some(UNREAD));
        }
        // SAFETY: `Socket` owns its descriptor and never replaces it, and `AsyncFd` owns the `Socket`, so the
        // descriptor stays open and unchanged until both are dropped.
        #[expect(unsafe_code)]
        let socket = unsafe { AsyncFd::register_with_interest(socket, Interest::READABLE) }?;
        Ok(Self { at, socket, has_shut_out: AtomicBool::new(false), _file: file })
    }

    /// Takes over a socket that is already listening.
    ///
    /// # Errors
    /// It is not a listening stream socket.
    pub fn inherit(socket: OwnedFd, tls: bool) -> io::Result<Self> {
        let socket = Socket::from(socket);
        if socket.r#type()? != Type::STREAM || !socket.is_listener()? {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is no listening stream socket"));
        }
        socket.set_nonblocking(true)?;
        // A previous process may have left its packet filter attached.
        let _ = socket.detach_filter();
        let address = socket.local_addr()?;
        let path = || address.as_pathname().map(Path::to_path_buf).unwrap_or_default();
        let place = address.as_socket().map_or_else(|| BindAddress::Unix(path()), BindAddress::Tcp);
        Self::new(Listen { tls, place }, socket, None)
    }

    /// Has the kernel ignore connection attempts from these households, [`MOST_SHUT_OUT`] at most, and from no
    /// others. Their clients hear nothing, and try again after a second.
    ///
    /// # Errors
    /// The kernel rejects the filter.
    pub fn shut_out(&self, households: impl ExactSizeIterator<Item = Household>) -> io::Result<()> {
        let socket = self.socket.get_ref();
        if households.len() == 0 {
            return socket.detach_filter();
        }
        self.has_shut_out.store(true, Ordering::Relaxed);
        socket.attach_filter(&packet_filter::without(households))
    }

    /// Accepts a connection and its peer's address, which a unix socket does not have. Cancel safe.
    ///
    /// Whatever its family, the connection is returned as a `TcpStream`: only `send`, `recv` and `shutdown` are
    /// called on it, which are the same for all families. So a connection costs the same, however it came in.
    ///
    /// # Errors
    /// As accept(2).
    pub async fn accept(&self) -> io::Result<(TcpStream, Option<SocketAddr>)> {
        loop {
            let mut ready = self.socket.readable().await?;
            let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
            // It would block: somebody else was faster, or the client has gone.
            let Ok(accepted) = ready.try_io(|socket| Ok(acceptfrom_with(socket.get_ref(), flags)?)) else { continue };
            let (stream, peer) = accepted?;
            if self.has_shut_out.load(Ordering::Relaxed) {
                // Most connections have no filter, or one that no longer matters.
                let _ = SockRef::from(&stream).detach_filter();
            }
            return Ok((stream.into(), peer.and_then(|peer| peer.try_into().ok())));
        }
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        if self.has_shut_out.load(Ordering::Relaxed) {
            // A service manager may keep the socket for the next process.
            let _ = self.socket.get_ref().detach_filter();
        }
    }
}

/// Whether accept(2) failed because of the connection itself, and not because this process lacks a resource.
/// The next connection can be accepted at once; a pause would let one peer hold up all others.
pub fn is_the_peers(error: &io::Error) -> bool {
    let errno = error.raw_os_error().map(Errno::from_raw_os_error);
    errno.is_some_and(|errno| PEERS.contains(&errno))
}

/// Opens a listening socket at an address. With `only_v6`, an IPv6 socket does not take IPv4 connections.
///
/// # Errors
/// The address is taken, or not this machine's.
pub fn tcp(address: SocketAddr, backlog: u32, only_v6: bool) -> io::Result<TcpListener> {
    TcpListener::from_std(bound(address, backlog, only_v6)?.into())
}

fn bound(address: SocketAddr, backlog: u32, only_v6: bool) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    if address.is_ipv6() {
        socket.set_only_v6(only_v6)?;
    }
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    // The kernel caps the backlog at net.core.somaxconn. If the queue overflows, a client loses a second.
    socket.listen(backlog.try_into().unwrap_or(i32::MAX))?;
    Ok(socket)
}

/// Opens a listening socket at a path. A file that a dead process left there is removed.
fn unix(path: &Path, backlog: u32) -> io::Result<Socket> {
    if fs::symlink_metadata(path).is_ok_and(|file| file.file_type().is_socket()) {
        match UnixStream::connect(path) {
            Ok(_) => return Err(io::ErrorKind::AddrInUse.into()),
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => fs::remove_file(path)?,
            Err(error) => return Err(error),
        }
    }
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    socket.set_nonblocking(true)?;
    socket.bind(&SockAddr::unix(path)?)?;
    // Set before it listens, so that nobody else can connect.
    fs::set_permissions(path, fs::Permissions::from_mode(MODE))?;
    socket.listen(backlog.try_into().unwrap_or(i32::MAX))?;
    Ok(socket)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_connection_has_what_its_listener_has() {
        let at = Listen { tls: false, place: BindAddress::Tcp(([127, 0, 0, 1], 0).into()) };
        let listener = Listener::open(&at, std::slice::from_ref(&at), 1).unwrap();
        let client = TcpStream::connect(listener.at.address().unwrap()).unwrap();
        let (stream, peer) = listener.accept().await.unwrap();
        assert_eq!(peer, Some(client.local_addr().unwrap()));
        let socket = socket2::SockRef::from(&stream);
        assert!(socket.tcp_nodelay().unwrap() && socket.nonblocking().unwrap());
        assert_eq!(socket.tcp_user_timeout().unwrap(), Some(UNREAD));
    }

    #[test]
    fn what_a_peer_has_broken_is_no_reason_to_pause() {
        for errno in [Errno::CONNABORTED, Errno::PROTO, Errno::HOSTUNREACH] {
            assert!(is_the_peers(&errno.into()), "{errno:?}");
        }
        for errno in [Errno::MFILE, Errno::NFILE, Errno::NOBUFS, Errno::NOMEM, Errno::INVAL] {
            assert!(!is_the_peers(&errno.into()), "{errno:?}");
        }
        assert!(!is_the_peers(&io::Error::other("no number")));
    }
}
