//! The one table of routes.

use std::sync::Arc;

use hyper::body::Incoming;
use hyper::{Method, Request, StatusCode};

use super::connection::{Connection, NoAnswer};
use super::{Reply, allow, assets, events, handshake, health};

/// What answers a route.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Answer {
    /// An embedded file.
    Asset(&'static str),
    /// The module that tells the scripts the name of the default channel.
    DefaultChannel,
    /// The WebSocket handshake.
    Socket,
    /// The same as server-sent events.
    Events,
    /// The process serves.
    Health,
    /// The store is reachable and the subscription is live.
    Ready,
    /// Prometheus' text format.
    Metrics,
}

/// Path, and what answers it. Every route takes GET, and all but those that stay open take HEAD.
const ROUTES: &[(&str, Answer)] = &[
    ("/", Answer::Asset("index.html")),
    ("/headcount.js", Answer::Asset("headcount.js")),
    ("/default.js", Answer::DefaultChannel),
    ("/link.js", Answer::Asset("link.js")),
    ("/live-board.js", Answer::Asset("live-board.js")),
    ("/page.js", Answer::Asset("page.js")),
    ("/style.css", Answer::Asset("style.css")),
    ("/favicon.svg", Answer::Asset("favicon.svg")),
    ("/ws", Answer::Socket),
    ("/events", Answer::Events),
    ("/healthz", Answer::Health),
    ("/readyz", Answer::Ready),
    ("/metrics", Answer::Metrics),
];

/// Answers one request.
///
/// # Errors
/// The connection was taken, and what follows is written by others.
pub fn answer(connection: Arc<Connection>, request: Request<Incoming>) -> Result<Reply, NoAnswer> {
    let app = &connection.app;
    let path = request.uri().path();
    let Some((_, answer)) = ROUTES.iter().find(|(route, _)| *route == path) else {
        let known: Vec<_> = ROUTES.iter().map(|(route, _)| *route).collect();
        let why = format!("nothing is here; there is {}", known.join(", "));
        return Ok(app.refuse(StatusCode::NOT_FOUND, &why));
    };
    let (allowed, methods) = match answer {
        Answer::Socket | Answer::Events => (request.method() == Method::GET, "GET"),
        _ => ([Method::GET, Method::HEAD].contains(request.method()), "GET, HEAD"),
    };
    if !allowed {
        let why = format!("{path} takes {methods}");
        return Ok(allow(app.refuse(StatusCode::METHOD_NOT_ALLOWED, &why), methods));
    }
    Ok(match answer {
        Answer::Asset(name) => app.assets.serve(name, request.headers()),
        Answer::DefaultChannel => assets::default_channel(app.config().channels.default_channel()),
        Answer::Socket => return handed_on(handshake::upgrade(&connection, request)),
        Answer::Events => return handed_on(events::open(&connection, &request)),
        Answer::Health => health::health(),
        Answer::Ready => health::ready(app),
        Answer::Metrics => health::metrics(app),
    })
}

fn handed_on(taken: Result<(), Box<Reply>>) -> Result<Reply, NoAnswer> {
    match taken {
        Ok(()) => Err(NoAnswer),
        Err(reply) => Ok(*reply),
    }
}
