//! The unit that counts as one client's own: an IPv4 address, or an IPv6 network of 64 bits.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// The upper half of an IPv4 address's household: a network that no IPv6 host is in.
const V4: u64 = 0xffff_fffe << 32;

/// See the module. Only eight bytes, since every socket has one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Household(u64);

impl Household {
    /// Returns the household of an address. An unknown address counts as this machine's own.
    pub fn of(address: Option<IpAddr>) -> Self {
        match address.map_or(IpAddr::V6(Ipv6Addr::LOCALHOST), |address| address.to_canonical()) {
            IpAddr::V4(v4) => Self(V4 | u64::from(v4.to_bits())),
            IpAddr::V6(v6) => Self((v6.to_bits() >> 64) as u64),
        }
    }

    /// Returns its address if it is an IPv4 address.
    pub fn v4(self) -> Option<Ipv4Addr> {
        (self.0 >> 32 == V4 >> 32).then(|| Ipv4Addr::from_bits(self.0 as u32))
    }

    /// Returns the two words of its network if it is an IPv6 network.
    pub fn words(self) -> [u32; 2] {
        [(self.0 >> 32) as u32, self.0 as u32]
    }

    /// Whether it is on this machine or in a private network, as a proxy often is.
    pub fn is_private(self) -> bool {
        if let Some(v4) = self.v4() {
            return v4.is_loopback() || v4.is_private() || v4.is_link_local();
        }
        let v6 = Ipv6Addr::from_bits(u128::from(self.0) << 64);
        self.0 == 0 || v6.is_unique_local() || v6.is_unicast_link_local()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(address: &str) -> Household {
        Household::of(Some(address.parse().unwrap()))
    }

    #[test]
    fn an_ipv4_address_and_a_network_of_64_bits_are_one_household() {
        assert_eq!(of("192.0.2.1"), of("::ffff:192.0.2.1"));
        assert_eq!(of("2001:db8::1"), of("2001:db8::2:3"));
        assert_ne!(of("192.0.2.1"), of("192.0.2.2"));
        assert_ne!(of("2001:db8::1"), of("2001:db8:0:1::1"));
    }

    #[test]
    fn addresses_that_a_proxy_may_have_are_private() {
        for private in
            ["127.0.0.1", "10.1.2.3", "172.16.0.1", "192.168.1.1", "169.254.1.1", "::1", "fd00::1", "fe80::1"]
        {
            assert!(of(private).is_private(), "{private}");
        }
        for public in ["192.0.2.1", "8.8.8.8", "2001:db8::1", "2606:4700::1"] {
            assert!(!of(public).is_private(), "{public}");
        }
        assert!(Household::of(None).is_private());
    }
}
