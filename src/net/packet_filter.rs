//! A program for the kernel that drops packets from certain households.
//!
//! On a listening socket it sees the packet that opens a connection before the kernel does any work for it, and
//! the sender of a dropped packet hears nothing. It is a classic BPF program, which needs no privileges.

use socket2::SockFilter;

use super::household::Household;

/// The most households that one program can list. Each costs a few instructions per new connection.
pub const MOST: usize = 32;

// Instructions, from linux/bpf_common.h: load a byte or a word, shift, compare, return.
const LOAD_BYTE: u16 = 0x30;
const LOAD_WORD: u16 = 0x20;
const SHIFT_RIGHT: u16 = 0x74;
const IF_EQUAL: u16 = 0x15;
const RETURN: u16 = 0x06;

/// Where the IP header begins, from linux/filter.h (`SKF_NET_OFF`).
const IP: u32 = 0xfff0_0000;
/// Where the sender's address is in the IP header.
const V4_SOURCE: u32 = IP + 12;
const V6_SOURCE: u32 = IP + 8;

const KEEP: SockFilter = SockFilter::new(RETURN, 0, 0, u32::MAX);
const DROP: SockFilter = SockFilter::new(RETURN, 0, 0, 0);

/// Returns a program that drops packets from these households, or from the first [`MOST`] of them.
pub fn without(households: impl IntoIterator<Item = Household>) -> Vec<SockFilter> {
    let (mut v4, mut v6) = (vec![SockFilter::new(LOAD_WORD, 0, 0, V4_SOURCE)], Vec::new());
    for household in households.into_iter().take(MOST) {
        if let Some(address) = household.v4() {
            v4.extend([SockFilter::new(IF_EQUAL, 0, 1, address.to_bits()), DROP]);
        } else {
            let [high, low] = household.words();
            v6.extend([
                SockFilter::new(LOAD_WORD, 0, 0, V6_SOURCE),
                SockFilter::new(IF_EQUAL, 0, 3, high),
                SockFilter::new(LOAD_WORD, 0, 0, V6_SOURCE + 4),
                SockFilter::new(IF_EQUAL, 0, 1, low),
                DROP,
            ]);
        }
    }
    v4.push(KEEP);
    v6.push(KEEP);
    // An IPv6 socket may get IPv4 connections too, so the program reads the version from each packet. As MOST is
    // small, the jump over all IPv4 instructions fits into a jump's offset.
    let over = u8::try_from(v4.len()).unwrap_or(u8::MAX);
    let version = [
        SockFilter::new(LOAD_BYTE, 0, 0, IP),
        SockFilter::new(SHIFT_RIGHT, 0, 0, 4),
        SockFilter::new(IF_EQUAL, 0, over, 4),
    ];
    version.into_iter().chain(v4).chain(v6).collect()
}

#[cfg(test)]
mod tests {
    use std::io::ErrorKind;
    use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
    use std::time::Duration;

    use socket2::{Domain, Socket, Type};

    use super::*;

    /// Whether a connection from `from` to `to` succeeds.
    fn connects(from: IpAddr, to: SocketAddr) -> bool {
        let socket = Socket::new(Domain::for_address(to), Type::STREAM, None).unwrap();
        socket.bind(&SocketAddr::from((from, 0)).into()).unwrap();
        match socket.connect_timeout(&to.into(), Duration::from_millis(200)) {
            Ok(()) => true,
            Err(error) if error.kind() == ErrorKind::TimedOut => false,
            Err(error) => panic!("{error}"),
        }
    }

    fn household(address: impl Into<IpAddr>) -> Household {
        Household::of(Some(address.into()))
    }

    #[test]
    fn those_that_are_named_do_not_connect_and_others_do() {
        let listener = Socket::new(Domain::IPV6, Type::STREAM, None).unwrap();
        listener.set_only_v6(false).unwrap();
        listener.bind(&SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0)).into()).unwrap();
        listener.listen(128).unwrap();
        let port = listener.local_addr().unwrap().as_socket().unwrap().port();
        let v4 = |last| {
            let from = Ipv4Addr::new(127, 0, 9, last);
            connects(from.into(), (Ipv4Addr::LOCALHOST, port).into())
        };
        let v6 = || connects(Ipv6Addr::LOCALHOST.into(), (Ipv6Addr::LOCALHOST, port).into());
        assert!(v4(1) && v4(2) && v6());
        let many = (0..MOST as u8 - 2).map(|n| household([192, 0, 2, n]));
        let named = [household([127, 0, 9, 1]), household("2001:db8::1".parse::<Ipv6Addr>().unwrap())];
        listener.attach_filter(&without(many.chain(named))).unwrap();
        assert!(!v4(1) && v4(2) && v6());
        listener.attach_filter(&without([household(Ipv6Addr::LOCALHOST)])).unwrap();
        assert!(v4(1) && !v6());
        listener.detach_filter().unwrap();
        assert!(v4(1) && v6());
    }
}
