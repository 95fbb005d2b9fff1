//! Who may have a socket or a stream of events: by origin, query, address, and how full it is.

use std::sync::atomic::Ordering;

use hyper::body::Incoming;
use hyper::header::{HeaderValue, ORIGIN, RETRY_AFTER};
use hyper::{Request, StatusCode};

use super::connection::{Connection, Places};
use super::query::{self, Query};
use super::visitor::visitor;
use super::{App, Reply, client_ip};
use crate::hub::Identity;
use crate::net::conn_limits::IpPermit;

/// Reads what is asked for, and takes places for it. `carried`: a pair of sockets will carry its bytes.
///
/// # Errors
/// The answer that says why not.
pub fn admit(
    connection: &Connection,
    request: &Request<Incoming>,
    carried: bool,
) -> Result<(Query, Option<Identity>, Places), Box<Reply>> {
    let app = &connection.app;
    let query = check(app, request)?;
    let identity =
        visitor(&query, request.headers()).map_err(|why| Box::new(app.refuse(StatusCode::BAD_REQUEST, &why)))?;
    let pair = carried.then(|| app.carried.hold());
    if app.taken() > app.descriptors {
        app.tell_full();
        let why = "the server has as many open files as its system allows; its operator can raise LimitNOFILE";
        return Err(later(Box::new(app.refuse(StatusCode::SERVICE_UNAVAILABLE, why))));
    }
    Ok((query, identity, Places { seat: seat(app, connection, request)?, pair }))
}

fn check(app: &App, request: &Request<Incoming>) -> Result<Query, Box<Reply>> {
    let refuse = |status, why: &str| Box::new(app.refuse(status, why));
    let config = app.config();
    if !origin_allowed(&config.server.origins, request.headers().get(ORIGIN)) {
        let why = "pages of this origin may not connect: it is not in server.origins";
        return Err(refuse(StatusCode::FORBIDDEN, why));
    }
    let mut query =
        query::parse(request.uri().query().unwrap_or_default()).map_err(|why| refuse(StatusCode::BAD_REQUEST, &why))?;
    if query.channels.is_empty() && query.watch.is_empty() {
        query.channels.extend(config.channels.default_channel().map(str::to_owned));
    }
    if app.draining() {
        return Err(later(refuse(StatusCode::SERVICE_UNAVAILABLE, "the server is stopping")));
    }
    let (clients, limit) = (app.clients(), config.limits.clients);
    if clients > limit {
        if !app.told_many.swap(true, Ordering::Relaxed) {
            tracing::warn!(limit, "full: as many clients as limits.clients allows; further ones get 503");
        }
        let why = "the server has as many clients as limits.clients allows";
        return Err(later(refuse(StatusCode::SERVICE_UNAVAILABLE, why)));
    }
    if clients < limit - limit / 10 && app.told_many.load(Ordering::Relaxed) {
        app.told_many.store(false, Ordering::Relaxed);
    }
    Ok(query)
}

/// A place among the clients of the same address, if that has a limit.
fn seat(app: &App, connection: &Connection, request: &Request<Incoming>) -> Result<Option<Box<IpPermit>>, Box<Reply>> {
    let config = app.config();
    let (trusted, written) = (&config.server.trusted_proxies, config.server.forwarded_header);
    let client = client_ip::client(connection.peer, request.headers(), trusted, written);
    let shown = client.map(tracing::field::display);
    tracing::debug!(client = shown, path = request.uri().path(), query = request.uri().query(), "a client comes in");
    match (client, config.limits.clients_per_address) {
        (Some(client), Some(limit)) => app.per_address.take(client, limit).map(Some).ok_or_else(|| {
            let why = "this address has as many clients as limits.clients_per_address allows";
            later(Box::new(app.refuse(StatusCode::TOO_MANY_REQUESTS, why)))
        }),
        _ => Ok(None),
    }
}

fn later(mut reply: Box<Reply>) -> Box<Reply> {
    reply.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("10"));
    reply
}

/// Only browsers send an origin, and only their pages are kept out by it.
fn origin_allowed(allowed: &[String], origin: Option<&HeaderValue>) -> bool {
    let Some(origin) = origin else { return true };
    allowed.is_empty() || origin.to_str().is_ok_and(|origin| allowed.iter().any(|one| one.eq_ignore_ascii_case(origin)))
}
