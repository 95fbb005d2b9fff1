//! The WebSocket handshake, RFC 6455 section 4.2: checks a request, and hands its connection on.

use std::net::IpAddr;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hyper::body::Incoming;
use hyper::header::{
    CONNECTION, HeaderName, HeaderValue, ORIGIN, RETRY_AFTER, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_VERSION, UPGRADE,
};
use hyper::{Request, StatusCode, Version};
use hyper_tungstenite::HyperWebsocket;
use hyper_tungstenite::tungstenite::protocol::WebSocketConfig;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio_rustls::server::TlsStream;

use super::peer;
use super::pump::{self, Patience};
use super::query::{self, Query};
use super::{App, Reply};
use crate::session::Attach;
use crate::session::seat::Seat;

/// Checks the handshake and answers it; once the answer is sent, the connection is a session's.
pub fn upgrade(
    app: &Arc<App>,
    attaches: mpsc::Sender<Attach>,
    peer: Option<IpAddr>,
    mut request: Request<Incoming>,
) -> Reply {
    let (query, seat) = match check(app, &request).and_then(|query| Ok((query, admit(app, peer, &request)?))) {
        Ok(admitted) => admitted,
        Err(reply) => return *reply,
    };
    // The stream is taken apart again at once: no buffer is wanted.
    let config = WebSocketConfig::default().read_buffer_size(0).write_buffer_size(0);
    match hyper_tungstenite::upgrade(&mut request, Some(config)) {
        Ok((reply, socket)) => {
            let timing = &app.config().session;
            let patience = Patience { write: timing.ping + timing.pong, close: timing.close };
            tokio::spawn(hand_on(socket, query, seat, attaches, patience));
            reply
        }
        Err(error) => app.refuse(StatusCode::BAD_REQUEST, &format!("no WebSocket handshake: {error}")),
    }
}

/// A place among the clients of the same address, if that has a limit.
fn admit(app: &App, peer: Option<IpAddr>, request: &Request<Incoming>) -> Result<Option<Box<Seat>>, Box<Reply>> {
    let config = app.config();
    let (trusted, written) = (&config.server.trusted_proxies, config.server.forwarded_header);
    let client = peer::client(peer, request.headers(), trusted, written);
    tracing::debug!(?client, query = request.uri().query(), "a client asks for a socket");
    match (client, config.limits.clients_per_address) {
        (Some(client), Some(limit)) => app.seats.take(client, limit).map(Some).ok_or_else(|| {
            let why = "this address has as many clients as limits.clients_per_address allows";
            later(Box::new(app.refuse(StatusCode::TOO_MANY_REQUESTS, why)))
        }),
        _ => Ok(None),
    }
}

fn check(app: &App, request: &Request<Incoming>) -> Result<Query, Box<Reply>> {
    let refuse = |status, why: &str| Box::new(app.refuse(status, why));
    let headers = request.headers();
    if !hyper_tungstenite::is_upgrade_request(request) || request.version() != Version::HTTP_11 {
        let why = "this address speaks WebSocket: send Connection: Upgrade and Upgrade: websocket over HTTP/1.1";
        return Err(Box::new(upgrade_required(app, why)));
    }
    if headers.get(SEC_WEBSOCKET_VERSION).map(HeaderValue::as_bytes) != Some(b"13") {
        return Err(Box::new(upgrade_required(app, "only Sec-WebSocket-Version: 13 is spoken here")));
    }
    let key = headers.get(SEC_WEBSOCKET_KEY).map(HeaderValue::as_bytes).unwrap_or_default();
    if STANDARD.decode(key).map_or(0, |nonce| nonce.len()) != 16 {
        return Err(refuse(StatusCode::BAD_REQUEST, "Sec-WebSocket-Key must be 16 bytes in base64"));
    }
    let config = app.config();
    if !origin_allowed(&config.server.origins, headers.get(ORIGIN)) {
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
    if app.clients() > config.limits.clients {
        let why = "the server has as many clients as limits.clients allows";
        return Err(later(refuse(StatusCode::SERVICE_UNAVAILABLE, why)));
    }
    Ok(query)
}

fn later(mut reply: Box<Reply>) -> Box<Reply> {
    reply.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("10"));
    reply
}

fn upgrade_required(app: &App, why: &str) -> Reply {
    let mut reply = app.refuse(StatusCode::UPGRADE_REQUIRED, why);
    let says: [(HeaderName, &'static str); 3] =
        [(UPGRADE, "websocket"), (CONNECTION, "Upgrade"), (SEC_WEBSOCKET_VERSION, "13")];
    for (name, value) in says {
        reply.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    reply
}

/// Only browsers send an origin, and only their pages are kept out by it.
fn origin_allowed(allowed: &[String], origin: Option<&HeaderValue>) -> bool {
    let Some(origin) = origin else { return true };
    allowed.is_empty() || origin.to_str().is_ok_and(|origin| allowed.iter().any(|one| one.eq_ignore_ascii_case(origin)))
}

/// Takes the connection out of hyper and tungstenite, down to the socket, and gives it to the session.
async fn hand_on(
    socket: HyperWebsocket,
    query: Query,
    seat: Option<Box<Seat>>,
    attaches: mpsc::Sender<Attach>,
    patience: Patience,
) {
    let Ok(stream) = socket.await else { return };
    let (io, early) = match stream.into_inner().into_inner().downcast::<TokioIo<TcpStream>>() {
        Ok(parts) => (parts.io.into_inner().into_std(), parts.read_buf),
        Err(upgraded) => match upgraded.downcast::<TokioIo<TlsStream<TcpStream>>>() {
            Ok(parts) => (pump::start(parts.io.into_inner(), patience), parts.read_buf),
            Err(_) => return tracing::error!("an upgraded connection is of no known kind; a client is dropped"),
        },
    };
    let Ok(io) = io else { return };
    let Query { channels: subscribe, watch, reconnect } = query;
    // A worker takes in connections whenever it runs; it is gone only when the node stops.
    let _ = attaches.send(Attach { io, seat, early, subscribe, watch, reconnect }).await;
}
