//! Listening: by address, at a path, or on a socket that a service manager holds.

use std::fs;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpStream as StdStream};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::io::Errno;
use socket2::{Domain, Protocol, SockAddr, SockRef, Socket, Type};
use tokio::net::{TcpListener, TcpStream, UnixListener};

use crate::config::{Listen, Place};

/// Who may open a unix socket of ours: its user and group.
const MODE: u32 = 0o660;
/// How long what was written to a connection may wait for its other end.
const UNREAD: Duration = Duration::from_secs(10);

/// What accept(2) says of a connection that was broken before it was taken.
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

/// A socket that listens.
pub struct Listener {
    /// Where, with the real port.
    pub at: Listen,
    kind: Kind,
}

enum Kind {
    Tcp(TcpListener),
    Unix {
        listener: UnixListener,
        /// Where it is ours to remove.
        _file: Option<File>,
    },
}

impl Kind {
    /// Has the kernel end connections that do not take in what was written to them. Connections inherit it
    /// from their listener, and it holds even for those that this process has closed.
    fn limit_unread(&self) {
        if let Self::Tcp(listener) = self {
            let _ = SockRef::from(listener).set_tcp_user_timeout(Some(UNREAD));
        }
    }
}

/// Removes a socket's file.
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
    /// The address is taken, or not this machine's; the path is taken, or not ours to write.
    pub fn open(at: &Listen, all: &[Listen], backlog: u32) -> io::Result<Self> {
        let kind = match &at.place {
            Place::Tcp(address) => {
                // [::] takes IPv4 too, unless that is listed beside it.
                let both = SocketAddr::from((Ipv4Addr::UNSPECIFIED, address.port()));
                Kind::Tcp(tcp(*address, backlog, all.iter().any(|one| one.address() == Some(both)))?)
            }
            Place::Unix(path) => Kind::Unix { listener: unix(path, backlog)?, _file: Some(File(path.clone())) },
        };
        kind.limit_unread();
        Ok(Self { at: real(at, &kind), kind })
    }

    /// Takes over a socket that listens already.
    ///
    /// # Errors
    /// It is no listening stream socket.
    pub fn inherit(socket: OwnedFd, tls: bool) -> io::Result<Self> {
        let socket = Socket::from(socket);
        if socket.r#type()? != Type::STREAM || !socket.is_listener()? {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is no listening stream socket"));
        }
        socket.set_nonblocking(true)?;
        let address = socket.local_addr()?;
        let (place, kind) = match address.as_socket() {
            Some(address) => (Place::Tcp(address), Kind::Tcp(TcpListener::from_std(socket.into())?)),
            None => {
                let path = address.as_pathname().map(Path::to_path_buf).unwrap_or_default();
                (Place::Unix(path), Kind::Unix { listener: UnixListener::from_std(socket.into())?, _file: None })
            }
        };
        kind.limit_unread();
        Ok(Self { at: Listen { tls, place }, kind })
    }

    /// Waits for a connection and its peer's address, which a unix socket's has not. Cancel safe.
    ///
    /// Whatever its family, it comes as a `TcpStream`: of those, only `send`, `recv` and `shutdown`
    /// are called, which are the same for all. So a socket costs the same on every way in.
    ///
    /// # Errors
    /// As accept(2).
    pub async fn accept(&self) -> io::Result<(TcpStream, Option<SocketAddr>)> {
        match &self.kind {
            Kind::Tcp(listener) => {
                let (stream, peer) = listener.accept().await?;
                // A frame is written whole; waiting for more would only delay it.
                let _ = stream.set_nodelay(true);
                Ok((stream, Some(peer)))
            }
            Kind::Unix { listener, .. } => {
                let (stream, _) = listener.accept().await?;
                let stream = StdStream::from(OwnedFd::from(stream.into_std()?));
                Ok((TcpStream::from_std(stream)?, None))
            }
        }
    }
}

/// Whether accept(2) failed because of the connection that was to be taken, and not for want of anything
/// here. The next one can be taken at once; to pause would let one peer hold up all others.
pub fn is_the_peers(error: &io::Error) -> bool {
    let errno = error.raw_os_error().map(Errno::from_raw_os_error);
    errno.is_some_and(|errno| PEERS.contains(&errno))
}

fn real(at: &Listen, kind: &Kind) -> Listen {
    match kind {
        Kind::Tcp(listener) => {
            let place = listener.local_addr().map_or(at.place.clone(), Place::Tcp);
            Listen { place, ..*at }
        }
        Kind::Unix { .. } => at.clone(),
    }
}

/// Opens a listening socket at an address. An IPv6 one may be asked to leave IPv4 alone.
///
/// # Errors
/// The address is taken, or not this machine's.
pub fn tcp(address: SocketAddr, backlog: u32, only_v6: bool) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    if address.is_ipv6() {
        socket.set_only_v6(only_v6)?;
    }
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    // The kernel caps it at net.core.somaxconn. Too short a queue costs a client a second.
    socket.listen(backlog.try_into().unwrap_or(i32::MAX))?;
    TcpListener::from_std(socket.into())
}

/// Opens a listening socket at a path. A file that a dead process left there is removed.
fn unix(path: &Path, backlog: u32) -> io::Result<UnixListener> {
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
    // Before it listens, so that nobody else comes in.
    fs::set_permissions(path, fs::Permissions::from_mode(MODE))?;
    socket.listen(backlog.try_into().unwrap_or(i32::MAX))?;
    UnixListener::from_std(socket.into())
}

#[cfg(test)]
mod tests {
    use super::*;

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
