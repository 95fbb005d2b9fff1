//! The one table of routes.

use std::convert::Infallible;
use std::net::IpAddr;
use std::sync::Arc;

use hyper::body::Incoming;
use hyper::{Method, Request, StatusCode};
use tokio::sync::mpsc;

use super::{App, Reply, allow, handshake, health};
use crate::session::Attach;

/// What answers a route.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Answer {
    /// An embedded file.
    Asset(&'static str),
    /// The WebSocket handshake.
    Socket,
    /// The process serves.
    Health,
    /// The store is reachable and the subscription is live.
    Ready,
    /// Prometheus' text format.
    Metrics,
}

/// Path, and what answers it. Every route takes GET, and all but the socket take HEAD.
const ROUTES: &[(&str, Answer)] = &[
    ("/", Answer::Asset("index.html")),
    ("/headcount.js", Answer::Asset("headcount.js")),
    ("/link.js", Answer::Asset("link.js")),
    ("/page.js", Answer::Asset("page.js")),
    ("/style.css", Answer::Asset("style.css")),
    ("/favicon.svg", Answer::Asset("favicon.svg")),
    ("/ws", Answer::Socket),
    ("/healthz", Answer::Health),
    ("/readyz", Answer::Ready),
    ("/metrics", Answer::Metrics),
];

/// Answers one request; an upgraded connection goes to `attaches`.
pub async fn answer(
    app: Arc<App>,
    attaches: mpsc::Sender<Attach>,
    peer: Option<IpAddr>,
    request: Request<Incoming>,
) -> Result<Reply, Infallible> {
    let path = request.uri().path();
    let Some((_, answer)) = ROUTES.iter().find(|(route, _)| *route == path) else {
        let known: Vec<_> = ROUTES.iter().map(|(route, _)| *route).collect();
        let why = format!("nothing is here; there is {}", known.join(", "));
        return Ok(app.refuse(StatusCode::NOT_FOUND, &why));
    };
    let (allowed, methods) = match answer {
        Answer::Socket => (request.method() == Method::GET, "GET"),
        _ => ([Method::GET, Method::HEAD].contains(request.method()), "GET, HEAD"),
    };
    if !allowed {
        let why = format!("{path} takes {methods}");
        return Ok(allow(app.refuse(StatusCode::METHOD_NOT_ALLOWED, &why), methods));
    }
    Ok(match answer {
        Answer::Asset(name) => app.assets.serve(name, request.headers()),
        Answer::Socket => handshake::upgrade(&app, attaches, peer, request),
        Answer::Health => health::health(),
        Answer::Ready => health::ready(&app),
        Answer::Metrics => health::metrics(&app),
    })
}
