//! One connection, from its first byte until it ends or is a client's for good.
//!
//! A request for a socket or for a stream of events takes the connection away from HTTP: hyper is
//! run without its own shutdown, and gives the stream back.

use std::fmt;
use std::future::{poll_fn, ready};
use std::io;
use std::net::{IpAddr, TcpStream as StdStream};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout, timeout_at};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use super::bridge::{self, Patience};
use super::proxy_protocol::proxied;
use super::query::Query;
use super::{App, events, routes};
use crate::hub::Identity;
use crate::net::conn_limits::{Held, IpPermit};
use crate::session::NewClient;

/// hyper's buffer for one request; the smallest that it takes.
const REQUEST_BUFFER: usize = 8 << 10;

/// What every request on a connection may need to know of it.
pub struct Connection {
    pub app: Arc<App>,
    /// The other end's address, or what a proxy said in its place; None if it is not known.
    pub peer: Option<IpAddr>,
    /// Whether it is encrypted.
    pub tls: bool,
    taken: Mutex<Option<Taken>>,
}

/// A connection that is HTTP's no more.
pub struct Taken {
    /// What it has become.
    pub to: Kind,
    /// What its client asks for.
    pub query: Query,
    /// Who it is, if it says so.
    pub identity: Option<Identity>,
    /// Its places.
    pub places: Places,
}

/// What a client has taken, and gives up when it is gone.
pub struct Places {
    /// Its place among the clients of its address, where that has a limit.
    pub seat: Option<Box<IpPermit>>,
    /// The pair of sockets that carries its bytes, where one does.
    pub pair: Option<Held>,
}

/// What a connection can become.
pub enum Kind {
    /// A WebSocket, whose first bytes are this answer. The session sends it, in one write with the
    /// answers to the first joins.
    Socket(Bytes),
    /// A stream of events, which begins with this.
    Events(String),
}

/// Stands for an answer where the connection was taken without one.
#[derive(Debug)]
pub struct NoAnswer;

impl fmt::Display for NoAnswer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the connection is not HTTP's any more")
    }
}

impl std::error::Error for NoAnswer {}

impl Connection {
    /// Takes the connection away from HTTP, which is told [`NoAnswer`].
    pub fn take(&self, taken: Taken) {
        *self.taken.lock().unwrap_or_else(PoisonError::into_inner) = Some(taken);
    }

    fn taken(&self) -> Option<Taken> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

/// The two kinds of stream.
pub(super) trait Stream: AsyncRead + AsyncWrite + Unpin + Send + Sized + 'static {
    /// A socket that the hub can write to.
    fn into_socket(self, patience: Patience, pair: Option<Held>) -> io::Result<StdStream>;
    /// The kernel's socket.
    fn socket(&self) -> &TcpStream;
}

impl Stream for TcpStream {
    fn into_socket(self, _: Patience, _: Option<Held>) -> io::Result<StdStream> {
        self.into_std()
    }

    fn socket(&self) -> &TcpStream {
        self
    }
}

impl Stream for TlsStream<TcpStream> {
    fn into_socket(self, patience: Patience, pair: Option<Held>) -> io::Result<StdStream> {
        bridge::start(self, patience, pair)
    }

    fn socket(&self) -> &TcpStream {
        self.get_ref().0
    }
}

/// Serves a connection: the proxy's word on whose it is, encryption where it is wanted, then HTTP.
pub async fn open(
    app: Arc<App>,
    held: Held,
    attaches: mpsc::Sender<NewClient>,
    mut stream: TcpStream,
    mut peer: Option<IpAddr>,
    tls: bool,
) {
    let config = app.config();
    let by = Instant::now() + config.limits.handshake;
    if config.server.proxy_protocol && config.server.trusted_proxies.iter().any(|one| one.holds(peer)) {
        match timeout_at(by, proxied(&mut stream)).await {
            Ok(Ok(client)) => peer = client.or(peer),
            Ok(Err(error)) => return tracing::debug!(?peer, %error, "a connection ended before it began"),
            Err(_) => return,
        }
    }
    let connection = Connection { app, peer, tls, taken: Mutex::default() };
    if !tls {
        return serve(connection, held, attaches, stream).await;
    }
    let Some(tls) = &config.tls else { return };
    match timeout_at(by, TlsAcceptor::from(tls.server.clone()).accept(stream)).await {
        Ok(Ok(stream)) => serve(connection, held, attaches, stream).await,
        Ok(Err(error)) => tracing::debug!(?peer, %error, "no TLS handshake"),
        Err(_) => tracing::debug!(?peer, "no TLS handshake in time"),
    }
}

async fn serve(connection: Connection, open: Held, attaches: mpsc::Sender<NewClient>, stream: impl Stream) {
    let (config, connection) = (connection.app.config(), Arc::new(connection));
    let patience = Patience::of(&config.session);
    let service = service_fn(|request| ready(routes::answer(connection.clone(), request)));
    let mut http = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(config.limits.handshake)
        .max_buf_size(REQUEST_BUFFER)
        .serve_connection(TokioIo::new(stream), service);
    let ended = poll_fn(|context| http.poll_without_shutdown(context)).await;
    let parts = http.into_parts();
    let mut stream = parts.io.into_inner();
    let Some(Taken { to, query, identity, places }) = connection.taken() else {
        match ended {
            Err(error) => tracing::debug!(peer = ?connection.peer, %error, "a connection ended early"),
            // It may still be sending; what it gets is an end and not a reset.
            Ok(()) => drop(timeout(patience.close, stream.shutdown()).await),
        }
        return;
    };
    let (io, head, early) = match to {
        Kind::Socket(head) => (stream.into_socket(patience, places.pair), head, parts.read_buf),
        Kind::Events(head) => (events::start(stream, head, patience, places.pair), Bytes::new(), Bytes::new()),
    };
    // No descriptor is left for it; the accept loop says so.
    let Ok(io) = io else { return };
    let Query { channels: subscribe, watch, reconnect, member, .. } = query;
    let identity = identity.map(Box::new);
    // A worker takes in connections whenever it runs; it is gone only when the node stops.
    let _ = attaches
        .send(NewClient { io, identity, seat: places.seat, open, head, early, subscribe, watch, reconnect, member })
        .await;
}
