//! Who may become a client: by origin, query, address, and how full the node is.

use std::net::IpAddr;

use hyper::body::Incoming;
use hyper::header::{HeaderMap, HeaderName, HeaderValue, ORIGIN};
use hyper::{Request as HttpRequest, StatusCode};

use super::client_ip;
use super::context::{App, ConnectionInfo};
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

/// An admitted client: its request, its identity and its places.
pub struct Admitted {
    /// Its request.
    pub request: Request,
    /// Who it is and what it may do, if it says.
    pub known: Option<Box<Known>>,
    /// The household it connects from.
    pub household: Household,
    /// Its place among the clients of its address, if that address has a limit.
    pub permit: Option<Box<Permit>>,
    /// The socket pair that carries its bytes, if there is one.
    pub pair: Option<Held>,
}

/// Reads the request and reserves a place for its client. `grant`: what the client's token allows. `carried`: a
/// socket pair will carry the client's bytes.
///
/// # Errors
/// The response that says why the client is not admitted.
pub fn admit(
    connection: &ConnectionInfo,
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

/// Returns the address of the client that sent a request.
pub fn client_address(connection: &ConnectionInfo, config: &Config, headers: &HeaderMap) -> Option<IpAddr> {
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

/// Returns whether the request comes from no page at all, or from a page of an allowed origin. A browser sends
/// no origin with some requests, both from other sites' pages and from ours; `Sec-Fetch-Site` then tells them
/// apart.
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
