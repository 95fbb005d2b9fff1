//! The token of a request: in its `Authorization` header, in a WebSocket subprotocol or, if the configuration
//! allows it, in its query.
//!
//! The rule: never in a cookie. A browser also sends cookies with requests that other sites' pages make. Only
//! somebody who knows the token can put it in any of the three places above.

use hyper::body::Incoming;
use hyper::header::{AUTHORIZATION, HeaderMap, WWW_AUTHENTICATE};
use hyper::{Request, StatusCode};

use super::admission::client_address;
use super::context::ConnectionInfo;
use super::query::{self, Query};
use super::reply::{Reply, later, with};
use super::visitor::offered;
use crate::auth::{Grant, Verdict};
use crate::metrics::Limit;

/// The prefix of a token that is offered as a subprotocol.
const TOKEN: &str = "headcount.token.";
/// The scheme of the `Authorization` header.
const SCHEME: &str = "bearer";

/// Returns the token of a request, if it shows one. `header`: whether a token in the header is for this server;
/// where this server accepts no tokens, the header is for a proxy in front of it.
///
/// # Errors
/// What is wrong, and what to do instead.
pub fn presented(query: &Query, headers: &HeaderMap, in_query: bool, header: bool) -> Result<Option<String>, String> {
    if !query.token.is_empty() && !in_query {
        return Err("a token in the address needs auth.query = true, because proxies log addresses".to_owned());
    }
    let mut tokens: Vec<&str> = Vec::new();
    if header {
        tokens.extend(bearers(headers));
    }
    tokens.extend(offered(headers).filter_map(|name| name.strip_prefix(TOKEN)));
    tokens.extend(query.token.iter().map(String::as_str));
    let Some(token) = tokens.first() else { return Ok(None) };
    if tokens.iter().any(|other| other != token) {
        return Err("a request is one person's: show one token only".to_owned());
    }
    Ok(Some((*token).to_owned()))
}

/// Does the same as [`presented`], for a request that asks to become a client.
///
/// # Errors
/// The response that says what is wrong.
pub fn shown(connection: &ConnectionInfo, request: &Request<Incoming>) -> Result<Option<String>, Box<Reply>> {
    let (app, config) = (&connection.app, connection.app.config());
    let refuse = |why: &str| Box::new(app.refuse(StatusCode::BAD_REQUEST, why));
    let query = request.uri().query().unwrap_or_default();
    // Most queries have no token, and the rest of the query is parsed later by the code that needs it.
    let query =
        if query.contains("token=") { query::parse(query).map_err(|why| refuse(&why))? } else { Query::default() };
    presented(&query, request.headers(), config.auth.query, config.auth.is_on()).map_err(|why| refuse(&why))
}

/// Returns what the token of a request grants.
///
/// # Errors
/// The response that says why the token is rejected.
pub async fn verify(
    connection: &ConnectionInfo,
    request: &Request<Incoming>,
    token: String,
) -> Result<Grant, Box<Reply>> {
    let (app, config) = (&connection.app, connection.app.config());
    let client = client_address(connection, &config, request.headers());
    let limited = client.filter(|client| !config.limits.is_exempt(*client));
    if limited.is_some_and(|client| !app.places.addresses.allows(Limit::Tokens, client, 1)) {
        let why = "this address shows more tokens than limits.tokens_per_second allows";
        return Err(Box::new(later(app.refuse(StatusCode::TOO_MANY_REQUESTS, why))));
    }
    match app.verification.verify(token).await {
        Verdict::Granted(grant) => Ok(grant),
        Verdict::Denied(denied) => {
            let reply = app.refuse(StatusCode::UNAUTHORIZED, &denied.to_string());
            Err(Box::new(with(reply, WWW_AUTHENTICATE, "Bearer error=\"invalid_token\"")))
        }
        Verdict::Busy => {
            let why = "too many tokens wait to be checked";
            Err(Box::new(later(app.refuse(StatusCode::SERVICE_UNAVAILABLE, why))))
        }
    }
}

/// Returns the tokens in the header (RFC 6750, section 2.1). Other schemes are not for this server.
pub fn bearers(headers: &HeaderMap) -> impl Iterator<Item = &str> {
    let values = headers.get_all(AUTHORIZATION).iter().filter_map(|value| value.to_str().ok());
    values.filter_map(|value| {
        let (scheme, token) = value.split_once(' ')?;
        scheme.eq_ignore_ascii_case(SCHEME).then(|| token.trim())
    })
}

#[cfg(test)]
mod tests {
    use hyper::header::{HeaderName, HeaderValue, SEC_WEBSOCKET_PROTOCOL};

    use super::*;

    fn shown(query: &[&str], headers: &[(HeaderName, &str)], in_query: bool) -> Result<Option<String>, String> {
        let query = Query { token: query.iter().map(ToString::to_string).collect(), ..Query::default() };
        let headers: HeaderMap =
            headers.iter().map(|(name, value)| (name.clone(), HeaderValue::from_str(value).unwrap())).collect();
        presented(&query, &headers, in_query, true)
    }

    #[test]
    fn a_token_is_taken_from_each_of_its_places_and_two_different_ones_are_told() {
        let is = |token: &str| Ok(Some(token.to_owned()));
        assert_eq!(shown(&[], &[], false), Ok(None));
        assert_eq!(shown(&[], &[(AUTHORIZATION, "Bearer a.b.c")], false), is("a.b.c"));
        assert_eq!(shown(&[], &[(AUTHORIZATION, "bearer  a.b.c ")], false), is("a.b.c"));
        assert_eq!(shown(&[], &[(AUTHORIZATION, "Basic YTpi")], false), Ok(None));
        assert_eq!(shown(&[], &[(SEC_WEBSOCKET_PROTOCOL, "headcount, headcount.token.a.b.c")], false), is("a.b.c"));
        assert_eq!(shown(&["a.b.c"], &[], true), is("a.b.c"));
        assert_eq!(shown(&["a.b.c"], &[(AUTHORIZATION, "Bearer a.b.c")], true), is("a.b.c"));
        assert!(shown(&["a.b.c"], &[], false).unwrap_err().contains("auth.query"));
        assert!(shown(&["x"], &[(AUTHORIZATION, "Bearer a.b.c")], true).unwrap_err().contains("one token"));
        assert_eq!(shown(&[], &[(hyper::header::COOKIE, "token=a.b.c; headcount.token=a.b.c")], true), Ok(None));
    }
}
