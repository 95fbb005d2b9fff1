//! Addresses as the configuration writes them: where to listen, and which proxies to trust.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::str::FromStr;

use ipnet::IpNet;

/// A place to listen on: `0.0.0.0:3000`, `[::1]:3000`, `tls:0.0.0.0:443` or `unix:/run/x.sock`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listen {
    /// Whether connections are encrypted.
    pub tls: bool,
    /// The address or path.
    pub place: BindAddress,
}

/// Where a socket is bound.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BindAddress {
    /// An address and a port.
    Tcp(SocketAddr),
    /// A path in the file system.
    Unix(PathBuf),
}

impl Listen {
    /// Returns the address, unless it is a path.
    pub fn address(&self) -> Option<SocketAddr> {
        if let BindAddress::Tcp(address) = self.place { Some(address) } else { None }
    }
}

impl FromStr for Listen {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        if let Some(path) = text.strip_prefix("unix:") {
            let place = BindAddress::Unix(PathBuf::from(path));
            return if path.starts_with('/') { Ok(Self { tls: false, place }) } else { Err(()) };
        }
        let (tls, address) = text.strip_prefix("tls:").map_or((false, text), |rest| (true, rest));
        address.parse().map(|address| Self { tls, place: BindAddress::Tcp(address) }).map_err(drop)
    }
}

impl fmt::Display for Listen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let tls = if self.tls { "tls:" } else { "" };
        match &self.place {
            BindAddress::Tcp(address) => write!(f, "{tls}{address}"),
            BindAddress::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

/// Where a node's metrics are served.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MetricsAt {
    /// Nowhere.
    Off,
    /// At the addresses that clients use.
    Public,
    /// At an address of their own.
    Own {
        /// The address.
        at: Listen,
        /// Whether the node starts without them if the address is taken; true only for the default address.
        may_fail: bool,
    },
}

impl MetricsAt {
    /// Returns whether the metrics are served to everybody.
    pub fn is_public(&self) -> bool {
        *self == Self::Public
    }
}

/// A peer that is trusted to report a client's address: one in a range of addresses, or one on our unix
/// sockets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trusted {
    /// `10.0.0.0/8`, `::1`
    Range(IpNet),
    /// `unix:`
    Unix,
}

impl Trusted {
    /// Returns whether a peer is covered. `None` stands for the peer of a unix socket.
    pub fn holds(&self, peer: Option<IpAddr>) -> bool {
        match (self, peer.map(|ip| ip.to_canonical())) {
            (Self::Unix, None) => true,
            (Self::Range(net), Some(ip)) => net.contains(&ip),
            _ => false,
        }
    }
}

impl FromStr for Trusted {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        if text == "unix:" {
            return Ok(Self::Unix);
        }
        let range = text.parse().or_else(|_| text.parse::<IpAddr>().map(IpNet::from));
        range.map(Self::Range).map_err(drop)
    }
}

impl fmt::Display for Trusted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Range(range) => write!(f, "{range}"),
            Self::Unix => f.write_str("unix:"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_to_listen_is_written_as_it_is_read() {
        for text in ["0.0.0.0:3000", "[::1]:80", "tls:[::]:443", "unix:/run/headcount/web.sock"] {
            assert_eq!(text.parse::<Listen>().unwrap().to_string(), text);
        }
        for bad in ["", "3000", "localhost:3000", "unix:web.sock", "tls:unix:/run/x", "::1:80"] {
            assert!(bad.parse::<Listen>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_range_holds_what_begins_like_it() {
        for (range, address, holds) in [
            ("10.0.0.0/8", "10.1.2.3", true),
            ("10.0.0.0/8", "11.1.2.3", false),
            ("10.0.0.0/8", "::ffff:10.1.2.3", true),
            ("127.0.0.1", "127.0.0.1", true),
            ("127.0.0.1", "127.0.0.2", false),
            ("0.0.0.0/0", "200.1.2.3", true),
            ("0.0.0.0/0", "::1", false),
            ("::/0", "fe80::1", true),
            ("fd00::/8", "fd12::1", true),
            ("fd00::/8", "fe80::1", false),
            ("::1", "::1", true),
        ] {
            let trusted: Trusted = range.parse().unwrap();
            assert_eq!(trusted.holds(Some(address.parse().unwrap())), holds, "{range} {address}");
        }
        assert!("unix:".parse::<Trusted>().unwrap().holds(None));
        assert!(!"10.0.0.0/8".parse::<Trusted>().unwrap().holds(None));
        for bad in ["10.0.0.0/33", "10.0.0", "::/129", "", "example.com"] {
            assert!(bad.parse::<Trusted>().is_err(), "{bad}");
        }
    }
}
