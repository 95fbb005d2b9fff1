//! The sockets that a node listens on.

use std::io;
use std::os::fd::OwnedFd;

use super::error::Error;
use crate::config::{Config, Listen, MetricsAt};
use crate::net::listener::Listener;

/// The name of the service manager's sockets whose connections are encrypted.
const TLS: &str = "tls";

/// Returns the sockets that the service manager holds for us, or else opens those of the configuration.
pub fn for_clients(config: &Config, held: Vec<(OwnedFd, String)>) -> Result<Vec<Listener>, Error> {
    if !held.is_empty() {
        let take = |(socket, name): (_, String)| {
            let tls = name == TLS;
            let usable =
                if tls && config.tls.is_none() { Err(io::Error::other("it needs tls.certificate")) } else { Ok(()) };
            usable.and_then(|()| Listener::inherit(socket, tls)).map_err(|error| Error::Inherit { name, error })
        };
        // A configuration that asks for TLS must not be served without it.
        if config.server.listen.iter().any(|one| one.tls) && held.iter().all(|(_, name)| name != TLS) {
            return Err(Error::NoTls);
        }
        let taken: Vec<Listener> = held.into_iter().map(take).collect::<Result<_, _>>()?;
        let addresses: Vec<String> = taken.iter().map(|listener| listener.at.to_string()).collect();
        tracing::info!(
            addresses = addresses.join(", "),
            "listening on the service manager's sockets instead of server.listen"
        );
        return Ok(taken);
    }
    let all = &config.server.listen;
    let open = |one: &Listen| {
        Listener::open(one, all, config.server.backlog)
            .map_err(|error| Error::Listen { address: one.to_string(), error })
    };
    all.iter().map(open).collect()
}

/// Opens the socket for metrics and health checks, if they have one of their own.
///
/// # Errors
/// Its address cannot be listened on, and is not the default.
pub fn for_metrics(config: &Config) -> Result<Option<Listener>, Error> {
    let MetricsAt::Own { at, may_fail } = &config.server.metrics else { return Ok(None) };
    match Listener::open(at, std::slice::from_ref(at), config.server.backlog) {
        Ok(listener) => Ok(Some(listener)),
        Err(error) if *may_fail => {
            tracing::info!(address = %at, %error, "continuing without metrics; set another address in server.metrics");
            Ok(None)
        }
        Err(error) => Err(Error::Listen { address: at.to_string(), error }),
    }
}
