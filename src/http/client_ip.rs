//! The client's address: the peer's own, or the one that a trusted proxy reports instead.
//!
//! The rule: only a peer in `server.trusted_proxies` is believed, and in a chain of proxies only the part that
//! trusted proxies wrote. A header that a client sent itself is never believed. For that reason only one of the
//! two headers is read: the one that the proxy is known to write.

use std::net::{IpAddr, SocketAddr};

use hyper::header::{FORWARDED, HeaderMap, HeaderName, HeaderValue};

use crate::config::{Forwarded, Trusted};

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// Returns the client's address for a request that came from `peer`, or `None` if it is unknown.
pub fn client(peer: Option<IpAddr>, headers: &HeaderMap, trusted: &[Trusted], written: Forwarded) -> Option<IpAddr> {
    let trusts = |address: Option<IpAddr>| trusted.iter().any(|one| one.holds(address));
    if !trusts(peer) {
        return peer;
    }
    let mut nearest = peer;
    // Walks from the proxy nearest to us towards the client.
    for hop in hops(headers, written).into_iter().rev() {
        // A hop that hides its address, or is malformed, hides all hops beyond it.
        let Some(hop) = hop else { break };
        nearest = Some(hop);
        if !trusts(nearest) {
            break;
        }
    }
    nearest
}

/// Returns the addresses that a header names, the client's first.
fn hops(headers: &HeaderMap, written: Forwarded) -> Vec<Option<IpAddr>> {
    let name = if written == Forwarded::Standard { FORWARDED } else { X_FORWARDED_FOR };
    let values = headers.get_all(name).into_iter().map(HeaderValue::to_str);
    let parts = values.flat_map(|value| value.unwrap_or_default().split(','));
    match written {
        Forwarded::Common => parts.map(address).collect(),
        // RFC 7239 section 4: for=192.0.2.43;proto=http, for="[2001:db8::1]:4711"
        Forwarded::Standard => parts
            .map(|part| {
                let pairs = part.split(';').filter_map(|pair| pair.split_once('='));
                let found =
                    pairs.filter(|(key, _)| key.trim().eq_ignore_ascii_case("for")).map(|(_, value)| value).next();
                found.and_then(address)
            })
            .collect(),
    }
}

/// Parses an address with or without brackets, quotes and a port.
fn address(text: &str) -> Option<IpAddr> {
    let text = text.trim().trim_matches('"');
    let bare = text.strip_prefix('[').and_then(|rest| rest.split_once(']')).map_or(text, |(inside, _)| inside);
    let ip = bare.parse().ok().or_else(|| text.parse::<SocketAddr>().ok().map(|address| address.ip()))?;
    Some(IpAddr::to_canonical(&ip))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn from(peer: &str, written: Forwarded, header: &'static str) -> String {
        let name = if written == Forwarded::Standard { FORWARDED } else { X_FORWARDED_FOR };
        let headers = HeaderMap::from_iter([(name, HeaderValue::from_static(header))]);
        let trusted = ["10.0.0.0/8".parse().unwrap(), "unix:".parse().unwrap()];
        let found = client(peer.parse().ok(), &headers, &trusted, written);
        found.map(|ip| ip.to_string()).unwrap_or_default()
    }

    #[test]
    fn of_a_chain_the_nearest_that_is_not_trusted_is_the_client() {
        for (peer, header, is) in [
            ("10.0.0.1", "203.0.113.9", "203.0.113.9"),
            ("203.0.113.1", "203.0.113.9", "203.0.113.1"),
            ("10.0.0.1", "1.1.1.1, 203.0.113.9, 10.0.0.2", "203.0.113.9"),
            ("10.0.0.1", "10.0.0.3, 10.0.0.2", "10.0.0.3"),
            ("10.0.0.1", "203.0.113.9, nonsense, 10.0.0.2", "10.0.0.2"),
            ("10.0.0.1", "", "10.0.0.1"),
            ("10.0.0.1", "[2001:db8::1]:80", "2001:db8::1"),
            ("10.0.0.1", "2001:db8::1", "2001:db8::1"),
            ("10.0.0.1", "203.0.113.9:1234", "203.0.113.9"),
            ("no address: a unix socket", "203.0.113.9", "203.0.113.9"),
        ] {
            assert_eq!(from(peer, Forwarded::Common, header), is, "{peer}: {header}");
        }
        for (header, is) in [
            ("for=203.0.113.9;proto=https", "203.0.113.9"),
            ("for=1.1.1.1, For=\"[2001:db8::1]:4711\";by=x", "2001:db8::1"),
            ("for=203.0.113.9, for=_hidden", "10.0.0.1"),
            ("for=unknown", "10.0.0.1"),
        ] {
            assert_eq!(from("10.0.0.1", Forwarded::Standard, header), is, "{header}");
        }
    }
}
