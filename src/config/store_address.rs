//! The store's address: that of one server, of sentinels that know the server, or of some servers of a cluster.

use redis::{ConnectionAddr, ConnectionInfo, IntoConnectionInfo};

/// The parsed form of `redis.url`.
#[derive(Debug, Clone)]
pub struct StoreAddress {
    /// The server and the login. With sentinels or a cluster, this is the first host in the address.
    pub info: ConnectionInfo,
    /// Whether connections are encrypted.
    pub tls: bool,
    /// The sentinels that know the server, if the address does not name it.
    pub sentinels: Option<Sentinels>,
    /// Some servers of a cluster, which know the others; empty for any other store.
    pub seeds: Vec<HostPort>,
}

/// A server's host and port.
pub type HostPort = (String, u16);

/// The sentinels, and what they are asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sentinels {
    /// The host and port of each sentinel.
    pub addresses: Vec<HostPort>,
    /// Their name for the primary.
    pub primary: String,
}

/// The default ports of sentinels and servers.
const SENTINEL_PORT: u16 = 26_379;
const SERVER_PORT: u16 = 6_379;

impl StoreAddress {
    /// Parses a URL. Returns `None` if it is not a store's address.
    pub fn parse(url: &str) -> Option<Self> {
        let (scheme, rest) = url.split_once("://")?;
        match scheme {
            "redis" | "redis+unix" => Some(Self::of_one(read(url)?, false)),
            // The library is built without TLS. Our own code encrypts, so the library gets a plain address.
            "rediss" => Some(Self::of_one(read(&format!("redis://{rest}"))?, true)),
            "redis+sentinel" => Self::behind_sentinels(rest, false),
            "rediss+sentinel" => Self::behind_sentinels(rest, true),
            "redis+cluster" => Self::of_cluster(rest, false),
            "rediss+cluster" => Self::of_cluster(rest, true),
            _ => None,
        }
    }

    fn of_one(info: ConnectionInfo, tls: bool) -> Self {
        Self { info, tls, sentinels: None, seeds: Vec::new() }
    }

    /// `[user:password@]host[:port],…`; a cluster has no databases.
    fn of_cluster(rest: &str, tls: bool) -> Option<Self> {
        let authority = rest.strip_suffix("/0").or_else(|| rest.strip_suffix('/')).unwrap_or(rest);
        let (login, hosts) = split_login(authority);
        let seeds = servers(hosts, SERVER_PORT)?;
        let info = first(login, hosts, "")?;
        (!hosts.contains(['/', '?', '#'])).then_some(Self { seeds, ..Self::of_one(info, tls) })
    }

    /// `[user:password@]host[:port],…/primary[/database]`
    fn behind_sentinels(rest: &str, tls: bool) -> Option<Self> {
        let (authority, path) = rest.split_once('/')?;
        let (login, hosts) = split_login(authority);
        let (primary, database) = path.split_once('/').unwrap_or((path, ""));
        let addresses = servers(hosts, SENTINEL_PORT)?;
        let info = first(login, hosts, database)?;
        let good = !primary.is_empty() && !primary.contains(char::is_whitespace) && !primary.contains(['?', '#']);
        let sentinels = Some(Sentinels { addresses, primary: primary.to_owned() });
        good.then_some(Self { sentinels, ..Self::of_one(info, tls) })
    }

    /// Returns whether the embedded store cannot serve this kind of address.
    pub fn is_elsewhere(&self) -> bool {
        self.tls || self.sentinels.is_some() || self.is_cluster()
    }

    /// Returns whether the keys are spread over several servers.
    pub fn is_cluster(&self) -> bool {
        !self.seeds.is_empty()
    }

    /// Returns whether it is a plain-text server on this machine, where this node could serve its own store.
    pub fn is_loopback(&self) -> bool {
        !self.is_elsewhere()
            && match self.info.addr() {
                ConnectionAddr::Tcp(host, _) => {
                    host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback())
                }
                _ => true,
            }
    }

    /// Returns the hosts in a form that may be shown.
    pub fn hosts(&self) -> String {
        let shown = |(host, port): &HostPort| match host.contains(':') && !host.starts_with('[') {
            true => format!("[{host}]:{port}"),
            false => format!("{host}:{port}"),
        };
        let named = self.sentinels.as_ref().map_or(&self.seeds, |sentinels| &sentinels.addresses);
        match self.info.addr() {
            _ if !named.is_empty() => named.iter().map(shown).collect::<Vec<_>>().join(","),
            ConnectionAddr::Tcp(host, port) => shown(&(host.clone(), *port)),
            other => other.to_string(),
        }
    }
}

/// Splits an authority into the login and the hosts.
fn split_login(authority: &str) -> (&str, &str) {
    authority.rsplit_once('@').unwrap_or(("", authority))
}

/// Returns the connection settings for the first of these hosts.
fn first(login: &str, hosts: &str, database: &str) -> Option<ConnectionInfo> {
    let (first, at) = (hosts.split(',').next()?, if login.is_empty() { "" } else { "@" });
    read(&format!("redis://{login}{at}{first}/{database}"))
}

fn servers(hosts: &str, default: u16) -> Option<Vec<HostPort>> {
    hosts.split(',').map(|host| server(host, default)).collect()
}

fn server(text: &str, default: u16) -> Option<HostPort> {
    let url = format!("redis://{text}");
    let info = read(&url)?;
    let ConnectionAddr::Tcp(host, port) = info.addr() else { return None };
    // Without a port in the text, the library would fill in its own default.
    let named = text.rsplit_once(':').is_some_and(|(_, port)| port.parse::<u16>().is_ok());
    Some((host.clone(), if named { *port } else { default }))
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
    fn a_cluster_is_named_by_some_of_its_servers() {
        let address = StoreAddress::parse("redis+cluster://me:p%40@one,two:7000,[::1]:9").unwrap();
        let expected = [("one", 6_379), ("two", 7_000), ("::1", 9)].map(|(host, port)| (host.to_owned(), port));
        assert_eq!(address.seeds, expected);
        assert_eq!(address.info.redis_settings().password(), Some("p@"));
        assert_eq!(address.hosts(), "one:6379,two:7000,[::1]:9");
        assert!(address.is_cluster() && !address.is_loopback());
        assert!(StoreAddress::parse("rediss+cluster://one/0").unwrap().tls);
        assert!(!StoreAddress::parse("redis://one").unwrap().is_cluster());
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
            "redis+cluster://",
            "redis+cluster://one,",
            "redis+cluster://one/1",
            "redis+cluster://one/main",
            "redis+cluster://one?protocol=3",
        ] {
            assert!(StoreAddress::parse(url).is_none(), "{url:?}");
        }
    }
}
