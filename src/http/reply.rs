//! Responses whose body is in memory.

use bytes::Bytes;
use http_body_util::Full;
use hyper::header::{ALLOW, CACHE_CONTROL, CONNECTION, CONTENT_TYPE, HeaderName, HeaderValue, RETRY_AFTER};
use hyper::{Response, StatusCode};

/// A response whose body is in memory.
pub type Reply = Response<Full<Bytes>>;

/// Returns a plain text response.
pub fn plain(status: StatusCode, text: &str) -> Reply {
    let mut reply = Response::new(Full::new(Bytes::copy_from_slice(text.as_bytes())));
    *reply.status_mut() = status;
    with(reply, CONTENT_TYPE, "text/plain; charset=utf-8")
}

/// Sets a header.
pub fn with(mut reply: Reply, name: HeaderName, value: &'static str) -> Reply {
    reply.headers_mut().insert(name, HeaderValue::from_static(value));
    reply
}

/// Adds the methods that a route accepts.
pub fn allow(reply: Reply, methods: &'static str) -> Reply {
    with(reply, ALLOW, methods)
}

/// Closes the connection after this response.
pub fn last(reply: Reply) -> Reply {
    with(reply, CONNECTION, "close")
}

/// Asks the client to try again after a while.
pub fn later(reply: Reply) -> Reply {
    with(reply, RETRY_AFTER, "10")
}

/// Keeps a response from being cached.
pub fn fresh(reply: Reply) -> Reply {
    with(reply, CACHE_CONTROL, "no-store")
}
