//! Who may become a client: by origin, query, address, and how full the node is.

use std::net::IpAddr;

use hyper::body::Incoming;
use hyper::header::{HeaderMap, HeaderName, HeaderValue, ORIGIN};
use hyper::{Request as HttpRequest, StatusCode};

use super::client_ip;
use super::context::{App, Connection};
use super::places::Refused;
use super::query;
use super::reply::{Reply, later};
use super::visitor::visitor;
use crate::auth::Grant;
use crate::config::Config;
use crate::hub::Known;
use crate::net::address_limits::Permit;
use crate::net::household::Household;
use crate::net::seats::Held;
use crate::session::Request;

const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// What a client was admitted with.
pub struct Admitted {
    /// What it asks for.
    pub request: Request,
    /// Who it is and what it may do, if it says so.
    pub known: Option<Box<Known>>,
    /// Where it comes from.
    pub household: Household,
    /// Its place among the clients of its address, where that has a limit.
    pub permit: Option<Box<Permit>>,
    /// The pair of sockets that carries its bytes, where one does.
    pub pair: Option<Held>,
}

/// Reads what is asked for, and takes a place for it. `grant`: what its token allows. `carried`: a pair of
/// sockets will carry its bytes.
///
/// # Errors
/// The answer that says why not.
pub fn admit(
    connection: &Connection,
    http: &HttpRequest<Incoming>,
    grant: Option<Grant>,
    carried: bool,
) -> Result<Admitted, Box<Reply>> {
    let (app, config) = (&connection.app, connection.app.config());
    let refuse = |status, why: &str| Box::new(app.refuse(status, why));
    if !origin_allowed(&config.server.origins, http.headers()) {
        let why = "pages of this origin may not connect: it is not in server.origins";
        return Err(refuse(StatusCode::FORBIDDEN, why));
    }
    let query =
        query::parse(http.uri().query().unwrap_or_default()).map_err(|why| refuse(StatusCode::BAD_REQUEST, &why))?;
    let identity = visitor(&query, http.headers()).map_err(|why| refuse(StatusCode::BAD_REQUEST, &why))?;
    let mut request = query.request;
    if request.subscribe.is_empty() && request.watch.is_empty() {
        request.subscribe.extend(config.channels.default_channel().map(str::to_owned));
    }
    if app.is_draining() {
        return Err(Box::new(later(app.refuse(StatusCode::SERVICE_UNAVAILABLE, "the server is stopping"))));
    }
    let client = client_address(connection, &config, http.headers());
    let shown = client.map(tracing::field::display);
    tracing::debug!(client = shown, path = http.uri().path(), "admitted a client");
    let (permit, pair) =
        app.places.client(&config.limits, client, carried).map_err(|refused| Box::new(no_place(app, refused)))?;
    let known = Known::new(identity, grant);
    Ok(Admitted { request, known, household: Household::of(client), permit, pair })
}

/// The address of whoever sent a request.
pub fn client_address(connection: &Connection, config: &Config, headers: &HeaderMap) -> Option<IpAddr> {
    client_ip::client(connection.peer, headers, &config.server.trusted_proxies, config.server.forwarded_header)
}

fn no_place(app: &App, refused: Refused) -> Reply {
    let (status, why) = match refused {
        Refused::Full => (StatusCode::SERVICE_UNAVAILABLE, "the server has as many clients as limits.clients allows"),
        Refused::OutOfFiles => (
            StatusCode::SERVICE_UNAVAILABLE,
            "the server has as many open files as its system allows; its operator can raise LimitNOFILE",
        ),
        Refused::Address => {
            (StatusCode::TOO_MANY_REQUESTS, "this address has as many clients as limits.clients_per_address allows")
        }
    };
    later(app.refuse(status, why))
}

/// Whether whoever asks is no page, or a page of an origin that may. A browser leaves the origin out of
/// some requests of other sites' pages, and of those of our own; it then says which of both it is.
fn origin_allowed(allowed: &[String], headers: &HeaderMap) -> bool {
    if allowed.is_empty() {
        return true;
    }
    let mut origins = headers.get_all(ORIGIN).iter().peekable();
    if origins.peek().is_some() {
        let named = |origin: &HeaderValue| {
            origin.to_str().is_ok_and(|origin| allowed.iter().any(|one| one.eq_ignore_ascii_case(origin)))
        };
        return origins.all(named);
    }
    headers.get_all(SEC_FETCH_SITE).iter().all(|site| matches!(site.as_bytes(), b"same-origin" | b"none"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_is_let_in_by_its_origin_and_without_one_only_if_it_is_ours() {
        let ours = ["https://ours.example".to_owned()];
        for (headers, allowed) in [
            (vec![], true),
            (vec![("origin", "https://ours.example")], true),
            (vec![("origin", "HTTPS://OURS.EXAMPLE")], true),
            (vec![("origin", "https://ours.example"), ("sec-fetch-site", "cross-site")], true),
            (vec![("origin", "https://theirs.example")], false),
            (vec![("origin", "https://ours.example"), ("origin", "https://theirs.example")], false),
            (vec![("origin", "null")], false),
            (vec![("sec-fetch-site", "same-origin")], true),
            (vec![("sec-fetch-site", "none")], true),
            (vec![("sec-fetch-site", "cross-site")], false),
            (vec![("sec-fetch-site", "same-site")], false),
            (vec![("sec-fetch-site", "")], false),
        ] {
            let mut map = HeaderMap::new();
            for (name, value) in &headers {
                map.append(*name, HeaderValue::from_static(value));
            }
            assert_eq!(origin_allowed(&ours, &map), allowed, "{headers:?}");
            assert!(origin_allowed(&[], &map));
        }
    }
}
