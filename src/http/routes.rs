//! The one table of routes.

use std::pin::Pin;

use hyper::body::Incoming;
use hyper::header::{HeaderName, HeaderValue, STRICT_TRANSPORT_SECURITY, X_CONTENT_TYPE_OPTIONS};
use hyper::{Method, Request as HttpRequest, StatusCode};

use super::admission::client_address;
use super::context::ConnectionInfo;
use super::host::{self, BadHost};
use super::places::Use;
use super::problem::problem;
use super::reply::{Reply, allow, last, later};
use super::takeover::Takeover;
use super::{assets, credentials, events, handshake, health, messages};
use crate::auth::Grant;

/// Tells a browser that has used TLS here to use only TLS for this long.
const HSTS: HeaderValue = HeaderValue::from_static("max-age=15552000");
const RESOURCE_POLICY: HeaderName = HeaderName::from_static("cross-origin-resource-policy");

/// The outcome of a request.
pub enum Answer {
    /// A response.
    Reply(Box<Reply>),
    /// The connection is taken over, and others write to it from now on.
    Takeover(Box<Takeover>),
    /// An answer that must be awaited. It yields one of the others.
    Later(Pin<Box<dyn Future<Output = Answer> + Send>>),
}

/// The handler of a route.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Route {
    /// An embedded file.
    Asset(&'static str),
    /// The module that tells the scripts the name of the default channel.
    DefaultChannel,
    /// The WebSocket handshake.
    Socket,
    /// The same messages as server-sent events.
    Events,
    /// Publishing on a channel.
    Messages,
    /// Whether the process is serving.
    Health,
    /// Whether the store is reachable and the subscription is live.
    Ready,
    /// The metrics.
    Metrics,
}

/// The only path with a variable part.
const MESSAGES: &str = "/api/channels/{channel}/messages";

/// Each path and its handler. [`Route::methods`] has the methods of each.
const ROUTES: &[(&str, Route)] = &[
    ("/", Route::Asset("index.html")),
    ("/headcount.js", Route::Asset("headcount.js")),
    ("/default.js", Route::DefaultChannel),
    ("/link.js", Route::Asset("link.js")),
    ("/opening.js", Route::Asset("opening.js")),
    ("/channels.js", Route::Asset("channels.js")),
    ("/element.js", Route::Asset("element.js")),
    ("/voice.js", Route::Asset("voice.js")),
    ("/live-board.js", Route::Asset("live-board.js")),
    ("/live-members.js", Route::Asset("live-members.js")),
    ("/page.js", Route::Asset("page.js")),
    ("/visitor.js", Route::Asset("visitor.js")),
    ("/style.css", Route::Asset("style.css")),
    ("/favicon.svg", Route::Asset("favicon.svg")),
    ("/ws", Route::Socket),
    ("/events", Route::Events),
    (MESSAGES, Route::Messages),
    ("/healthz", Route::Health),
    ("/readyz", Route::Ready),
    ("/metrics", Route::Metrics),
];

impl Route {
    /// Returns the allowed methods, also as the value of a header. Routes that stay open allow no HEAD.
    fn methods(self) -> (&'static [Method], &'static str) {
        match self {
            Self::Socket | Self::Events => (&[Method::GET], "GET"),
            Self::Messages => (&[Method::POST], "POST"),
            _ => (&[Method::GET, Method::HEAD], "GET, HEAD"),
        }
    }

    /// Returns whether this is a health check.
    fn is_health(self) -> bool {
        matches!(self, Route::Health | Route::Ready)
    }

    /// Returns whether the route exists on a connection for this purpose. `public`: metrics are for everybody.
    fn is_on(self, purpose: Use, public: bool) -> bool {
        match purpose {
            Use::Internal => self.is_health() || self == Route::Metrics,
            _ => self != Route::Metrics || public,
        }
    }
}

/// Answers one request, the `number`-th on its connection.
pub fn answer(connection: &ConnectionInfo, request: HttpRequest<Incoming>, number: u32) -> Answer {
    match find(connection, &request, number) {
        Ok(route @ (Route::Socket | Route::Events)) => match credentials::shown(connection, &request) {
            Ok(None) => client(connection, route, request, None),
            Ok(Some(token)) => {
                let connection = connection.clone();
                Answer::Later(Box::pin(async move {
                    match credentials::verify(&connection, &request, token).await {
                        Ok(grant) => client(&connection, route, request, Some(grant)),
                        Err(refusal) => finish(&connection, false, refusal),
                    }
                }))
            }
            Err(refusal) => finish(connection, false, refusal),
        },
        Ok(Route::Messages) => {
            let connection = connection.clone();
            Answer::Later(Box::pin(async move {
                let reply = Box::new(messages::publish(&connection, request).await);
                finish(&connection, false, if reply.status().is_success() { reply } else { Box::new(problem(*reply)) })
            }))
        }
        Ok(route) => {
            let embedded = matches!(route, Route::Asset(_) | Route::DefaultChannel);
            finish(connection, embedded, reply(connection, route, &request))
        }
        Err(refusal) if messages::is_path(request.uri().path()) => {
            finish(connection, false, Box::new(problem(*refusal)))
        }
        Err(refusal) => finish(connection, false, refusal),
    }
}

/// Makes the connection a client, if that is allowed.
fn client(connection: &ConnectionInfo, route: Route, request: HttpRequest<Incoming>, grant: Option<Grant>) -> Answer {
    let taken = match route {
        Route::Events => events::open(connection, &request, grant),
        _ => handshake::upgrade(connection, request, grant),
    };
    taken.map_or_else(|refusal| finish(connection, false, refusal), Answer::Takeover)
}

/// Adds the headers that every response has. `embedded`: other sites' pages may embed it.
fn finish(connection: &ConnectionInfo, embedded: bool, mut reply: Box<Reply>) -> Answer {
    let headers = reply.headers_mut();
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    let who = if embedded { "cross-origin" } else { "same-origin" };
    headers.insert(RESOURCE_POLICY, HeaderValue::from_static(who));
    if connection.tls {
        headers.insert(STRICT_TRANSPORT_SECURITY, HSTS);
    }
    Answer::Reply(reply)
}

/// Returns the route of a request, if the request is allowed.
fn find(connection: &ConnectionInfo, request: &HttpRequest<Incoming>, number: u32) -> Result<Route, Box<Reply>> {
    let (app, config) = (&connection.app, connection.app.config());
    let refuse = |status, why: &str| Box::new(app.refuse(status, why));
    let path = request.uri().path();
    let there: Vec<&(&str, Route)> =
        ROUTES.iter().filter(|(_, route)| route.is_on(connection.purpose, config.server.metrics.is_public())).collect();
    let is = |known: &str| known == path || (known == MESSAGES && messages::is_path(path));
    let route = there.iter().find(|(known, _)| is(known)).map(|(_, route)| *route);
    match connection.purpose {
        Use::Health if !route.is_some_and(Route::is_health) => {
            let why = "the server is full; what is left is for health checks";
            return Err(Box::new(last(later(app.refuse(StatusCode::SERVICE_UNAVAILABLE, why)))));
        }
        Use::TooOften => return Err(Box::new(last(too_often(connection)))),
        _ => {}
    }
    // A connection's first request was already counted when it connected, if the peer is the client itself.
    let client = client_address(connection, &config, request.headers());
    let own = number == 1 && client == connection.peer;
    if connection.purpose == Use::All && !own && !app.places.may_ask(&config.limits, client) {
        return Err(Box::new(last(too_often(connection))));
    }
    let health = route.is_some_and(Route::is_health);
    match host::check(request.uri(), request.headers(), request.version(), &config.server.hosts) {
        Err(BadHost::Malformed) => {
            return Err(refuse(StatusCode::BAD_REQUEST, "send one Host header with a name or an address"));
        }
        Err(BadHost::Unknown) if !health && connection.purpose != Use::Internal => {
            let why = "this server does not go by that name: it is not in server.hosts";
            return Err(refuse(StatusCode::MISDIRECTED_REQUEST, why));
        }
        _ => {}
    }
    let Some(route) = route else {
        let known: Vec<_> = there.iter().map(|(route, _)| *route).collect();
        return Err(refuse(StatusCode::NOT_FOUND, &format!("nothing is here; there is {}", known.join(", "))));
    };
    let (allowed, methods) = route.methods();
    if !allowed.contains(request.method()) {
        let why = format!("{path} takes {methods}");
        return Err(Box::new(allow(app.refuse(StatusCode::METHOD_NOT_ALLOWED, &why), methods)));
    }
    Ok(route)
}

fn too_often(connection: &ConnectionInfo) -> Reply {
    let why = "this address connects or asks more often than limits.connects_per_second allows";
    later(connection.app.refuse(StatusCode::TOO_MANY_REQUESTS, why))
}

/// Returns the response of a route that needs no waiting.
fn reply(connection: &ConnectionInfo, route: Route, request: &HttpRequest<Incoming>) -> Box<Reply> {
    let app = &connection.app;
    Box::new(match route {
        Route::Asset(name) => app.assets.serve(name, request.headers()),
        Route::DefaultChannel => assets::default_channel(&app.config().channels),
        Route::Ready => health::ready(app),
        Route::Metrics => health::metrics(app),
        Route::Health | Route::Socket | Route::Events | Route::Messages => health::health(),
    })
}
