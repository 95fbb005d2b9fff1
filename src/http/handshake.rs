//! The WebSocket handshake (RFC 6455, section 4.2): checks a request, and hands over its connection.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use hyper::body::Incoming;
use hyper::header::{
    CONNECTION, HeaderName, HeaderValue, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_PROTOCOL, SEC_WEBSOCKET_VERSION, UPGRADE,
};
use hyper::{Request, StatusCode, Version};

use super::admission::admit;
use super::context::{App, ConnectionInfo};
use super::reply::Reply;
use super::takeover::{Takeover, TakeoverKind};
use super::visitor::subprotocol;
use crate::auth::Grant;

/// Checks the handshake and takes over the connection for a session. The session sends the response in one
/// write with the first messages to the client, which halves the writes that a connecting client costs.
///
/// # Errors
/// The response that says why the client is not admitted.
pub fn upgrade(
    connection: &ConnectionInfo,
    mut request: Request<Incoming>,
    grant: Option<Grant>,
) -> Result<Box<Takeover>, Box<Reply>> {
    let app = &connection.app;
    check(app, &request)?;
    let admitted = admit(connection, &request, grant, connection.tls)?;
    // The returned future is not needed: HTTP gives the connection back when it is done.
    let (mut reply, _) = hyper_tungstenite::upgrade(&mut request, None)
        .map_err(|error| Box::new(app.refuse(StatusCode::BAD_REQUEST, &format!("no WebSocket handshake: {error}"))))?;
    if let Some(subprotocol) = subprotocol(request.headers()) {
        reply.headers_mut().insert(SEC_WEBSOCKET_PROTOCOL, subprotocol);
    }
    Ok(Takeover::new(TakeoverKind::Socket(head(&reply)), admitted))
}

/// Serializes the head of a response without a body.
fn head(reply: &Reply) -> Bytes {
    let mut head = format!("HTTP/1.1 {}\r\n", reply.status()).into_bytes();
    for (name, value) in reply.headers() {
        for part in [name.as_str().as_bytes(), b": ", value.as_bytes(), b"\r\n"] {
            head.extend_from_slice(part);
        }
    }
    head.extend_from_slice(b"\r\n");
    head.into()
}

fn check(app: &App, request: &Request<Incoming>) -> Result<(), Box<Reply>> {
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
    Ok(())
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
