//! The store's address: one server, or the sentinels that know which server it is.

use redis::{ConnectionAddr, ConnectionInfo, IntoConnectionInfo};

/// What `redis.url` names.
#[derive(Debug, Clone)]
pub struct StoreAddress {
    /// The server, and how to log in. With sentinels, the server is the first of them.
    pub info: ConnectionInfo,
    /// Connections are encrypted.
    pub tls: bool,
    /// Who is asked for the server, if it is not named itself.
    pub sentinels: Option<Sentinels>,
}

/// Who knows the server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sentinels {
    /// Host and port of each.
    pub addresses: Vec<(String, u16)>,
    /// The name under which they know the primary.
    pub primary: String,
}

/// The port of a sentinel whose address names none.
const SENTINEL_PORT: u16 = 26_379;

impl StoreAddress {
    /// Reads a URL; None if it names no store.
    pub fn parse(url: &str) -> Option<Self> {
        let (scheme, rest) = url.split_once("://")?;
        match scheme {
            "redis" | "redis+unix" => Some(Self { info: read(url)?, tls: false, sentinels: None }),
            // The library would have to be built with TLS of its own.
            "rediss" => Some(Self { info: read(&format!("redis://{rest}"))?, tls: true, sentinels: None }),
            "redis+sentinel" => Self::behind_sentinels(rest, false),
            "rediss+sentinel" => Self::behind_sentinels(rest, true),
            _ => None,
        }
    }

    /// `[user:password@]host[:port],…/primary[/database]`
    fn behind_sentinels(rest: &str, tls: bool) -> Option<Self> {
        let (authority, path) = rest.split_once('/')?;
        let (login, hosts) = authority.rsplit_once('@').map_or(("", authority), |(login, hosts)| (login, hosts));
        let (primary, database) = path.split_once('/').unwrap_or((path, ""));
        let addresses: Vec<(String, u16)> = hosts.split(',').map(sentinel).collect::<Option<_>>()?;
        let first = hosts.split(',').next()?;
        let at = if login.is_empty() { "" } else { "@" };
        let info = read(&format!("redis://{login}{at}{first}/{database}"))?;
        let good = !primary.is_empty() && !primary.contains(char::is_whitespace) && !primary.contains(['?', '#']);
        let sentinels = Some(Sentinels { addresses, primary: primary.to_owned() });
        good.then_some(Self { info, tls, sentinels })
    }

    /// Whether it is reached in a way that the embedded store does not serve.
    pub fn is_elsewhere(&self) -> bool {
        self.tls || self.sentinels.is_some()
    }

    /// Whether it is a server on this machine that speaks plain text: where this node could serve its own.
    pub fn is_loopback(&self) -> bool {
        !self.is_elsewhere()
            && match self.info.addr() {
                ConnectionAddr::Tcp(host, _) => {
                    host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback())
                }
                _ => true,
            }
    }

    /// The hosts as they may be shown.
    pub fn hosts(&self) -> String {
        let shown = |(host, port): &(String, u16)| match host.contains(':') && !host.starts_with('[') {
            true => format!("[{host}]:{port}"),
            false => format!("{host}:{port}"),
        };
        match (&self.sentinels, self.info.addr()) {
            (Some(sentinels), _) => sentinels.addresses.iter().map(shown).collect::<Vec<_>>().join(","),
            (None, ConnectionAddr::Tcp(host, port)) => shown(&(host.clone(), *port)),
            (None, other) => other.to_string(),
        }
    }
}

fn sentinel(text: &str) -> Option<(String, u16)> {
    let url = format!("redis://{text}");
    let info = read(&url)?;
    let ConnectionAddr::Tcp(host, port) = info.addr() else { return None };
    // The library's own default is a server's.
    let named = text.rsplit_once(':').is_some_and(|(_, port)| port.parse::<u16>().is_ok());
    Some((host.clone(), if named { *port } else { SENTINEL_PORT }))
}

fn read(url: &str) -> Option<ConnectionInfo> {
    url.into_connection_info().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sentinels_are_named_with_their_ports_and_the_primary() {
        let address = StoreAddress::parse("redis+sentinel://me:p%40@one,two:7,[::1]:9/main/3").unwrap();
        let sentinels = address.sentinels.as_ref().unwrap();
        let expected = [("one", 26_379), ("two", 7), ("::1", 9)].map(|(host, port)| (host.to_owned(), port));
        assert_eq!((sentinels.addresses.as_slice(), &*sentinels.primary), (&expected[..], "main"));
        let settings = address.info.redis_settings();
        assert_eq!((settings.username(), settings.password(), settings.db()), (Some("me"), Some("p@"), 3));
        assert_eq!(address.hosts(), "one:26379,two:7,[::1]:9");
        assert!(!address.tls && !address.is_loopback());
        assert!(StoreAddress::parse("rediss+sentinel://one/main").unwrap().tls);
    }

    #[test]
    fn an_encrypted_address_is_read_like_a_plain_one() {
        let address = StoreAddress::parse("rediss://me:secret@store.example:6380/2").unwrap();
        assert_eq!((address.tls, address.hosts().as_str()), (true, "store.example:6380"));
        assert_eq!(address.info.redis_settings().password(), Some("secret"));
        assert!(!StoreAddress::parse("rediss://localhost").unwrap().is_loopback(), "we serve no TLS there");
        assert!(StoreAddress::parse("redis://localhost").unwrap().is_loopback());
    }

    #[test]
    fn what_names_no_store_is_none() {
        for url in [
            "",
            "redis",
            "http://h",
            "redis+sentinel://one",
            "redis+sentinel:///main",
            "redis+sentinel://one/",
            "redis+sentinel://one,/main",
            "redis+sentinel://one/main/x",
            "redis+sentinel://one/ma in",
        ] {
            assert!(StoreAddress::parse(url).is_none(), "{url:?}");
        }
    }
}
