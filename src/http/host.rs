//! The host name in a request: there must be one, and it must be in `server.hosts` if names are listed there.
//!
//! Another site can point its own name at this server (DNS rebinding); the browser then treats that site's
//! pages as same-origin with this server. Their requests still carry the other site's name.

use hyper::header::{HOST, HeaderMap};
use hyper::http::uri::Authority;
use hyper::{Uri, Version};

/// Why a request is rejected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BadHost {
    /// It has no host, two hosts, or a malformed one.
    Malformed,
    /// It names a host that is not one of this server's names.
    Unknown,
}

/// Checks the host of a request against the server's names. If `names` is empty, every name is allowed.
///
/// # Errors
/// [`BadHost`]
pub fn check(uri: &Uri, headers: &HeaderMap, version: Version, names: &[String]) -> Result<(), BadHost> {
    let mut hosts = headers.get_all(HOST).iter();
    let (first, second) = (hosts.next(), hosts.next());
    if second.is_some() || (first.is_none() && version == Version::HTTP_11) {
        return Err(BadHost::Malformed);
    }
    let read = |bytes: &[u8]| Authority::try_from(bytes).ok().filter(|found| !found.as_str().contains('@'));
    let written = first.map(|host| read(host.as_bytes()).ok_or(BadHost::Malformed)).transpose()?;
    // If the request line has an absolute URI, its host takes precedence over the header.
    let Some(called) = uri.authority().or(written.as_ref()) else {
        return if names.is_empty() { Ok(()) } else { Err(BadHost::Unknown) };
    };
    let host = called.host();
    let host = host.strip_suffix('.').unwrap_or(host);
    let known = names.is_empty() || names.iter().any(|name| name.eq_ignore_ascii_case(host));
    if known { Ok(()) } else { Err(BadHost::Unknown) }
}

#[cfg(test)]
mod tests {
    use hyper::header::HeaderValue;

    use super::*;

    fn checked(uri: &str, hosts: &[&str], names: &[&str]) -> Result<(), BadHost> {
        let mut headers = HeaderMap::new();
        for host in hosts {
            headers.append(HOST, HeaderValue::from_str(host).unwrap());
        }
        let names: Vec<String> = names.iter().map(ToString::to_string).collect();
        check(&uri.parse().unwrap(), &headers, Version::HTTP_11, &names)
    }

    #[test]
    fn a_request_has_one_host_and_it_is_one_of_ours() {
        let ours = ["example.com", "[::1]"];
        for good in ["example.com", "EXAMPLE.com:3000", "example.com.", "[::1]:3000"] {
            assert_eq!(checked("/", &[good], &ours), Ok(()), "{good}");
        }
        for unknown in ["evil.example", "example.com.evil.example", "[::2]", "localhost:3000"] {
            assert_eq!(checked("/", &[unknown], &ours), Err(BadHost::Unknown), "{unknown}");
            assert_eq!(checked("/", &[unknown], &[]), Ok(()), "{unknown}");
        }
        for bad in ["", "a b", "a/b", "user@example.com", "example.com:x y"] {
            assert_eq!(checked("/", &[bad], &[]), Err(BadHost::Malformed), "{bad}");
        }
        assert_eq!(checked("/", &[], &[]), Err(BadHost::Malformed));
        assert_eq!(checked("/", &["example.com", "example.com"], &[]), Err(BadHost::Malformed));
        assert_eq!(checked("http://evil.example/", &["example.com"], &ours), Err(BadHost::Unknown));
        let old = check(&Uri::from_static("/"), &HeaderMap::new(), Version::HTTP_10, &[]);
        assert_eq!(old, Ok(()), "a health check of a balancer");
    }
}
