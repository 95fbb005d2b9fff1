//! One connection, from its first byte until it ends or is a client's for good.
//!
//! A request for a socket or for a stream of events takes the connection away from HTTP: hyper is
//! run without its own shutdown, and gives the stream back. The rule: what a connection may take of
//! time and of requests is bounded, whether its client reads the answers or not.

use std::cell::Cell;
use std::fmt;
use std::future::poll_fn;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use hyper::Request as HttpRequest;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::Service;
use hyper_util::rt::{TokioIo, TokioTimer};
use socket2::SockRef;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout, timeout_at};
use tokio_rustls::TlsAcceptor;

use super::bridge::Patience;
use super::context::{App, Connection};
use super::events;
use super::places::{Arrived, Use};
use super::proxy_protocol::proxied;
use super::reply::{Reply, last};
use super::routes::{self, Answer};
use super::stream::Stream;
use super::takeover::{Kind, Takeover};
use crate::net::seats::Seat;
use crate::session::NewClient;

/// hyper's buffer for one request; the smallest that it takes.
const REQUEST_BUFFER: usize = 8 << 10;
/// Requests that one connection may make. Whoever sends them without reading the answers has this many
/// answers in the kernel at most.
const REQUESTS: u32 = 64;
/// The longest life of a connection that has not become a client. Nothing that is asked for takes long.
const LIFE: Duration = Duration::from_secs(60);
/// The same, for one in the reserve.
const RESERVE_LIFE: Duration = Duration::from_secs(1);

/// A connection's requests, one after another.
struct Requests {
    connection: Connection,
    answered: Cell<u32>,
    taken: Taken,
}

/// What is to take the connection over, once that is known.
type Taken = Arc<Mutex<Option<Box<Takeover>>>>;

/// An answer that is there, or that waits for a token to be checked or for a body.
enum Answering {
    Now(Option<Result<Reply, TakenOver>>),
    Later(Pin<Box<dyn Future<Output = Result<Reply, TakenOver>> + Send>>),
}

impl Future for Answering {
    type Output = Result<Reply, TakenOver>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        match &mut *self {
            // It is not asked again once it was ready.
            Self::Now(answer) => answer.take().map_or(Poll::Pending, Poll::Ready),
            Self::Later(answer) => answer.as_mut().poll(context),
        }
    }
}

/// Tells hyper to stop where the connection was taken over.
#[derive(Debug)]
struct TakenOver;

impl fmt::Display for TakenOver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the connection is not HTTP's any more")
    }
}

impl std::error::Error for TakenOver {}

impl Service<HttpRequest<Incoming>> for Requests {
    type Response = Reply;
    type Error = TakenOver;
    type Future = Answering;

    fn call(&self, request: HttpRequest<Incoming>) -> Self::Future {
        let answered = self.answered.replace(self.answered.get() + 1) + 1;
        match routes::answer(&self.connection, request, answered) {
            Answer::Later(answer) => {
                let taken = self.taken.clone();
                Answering::Later(Box::pin(async move { done(answer.await, answered, &taken) }))
            }
            answer => Answering::Now(Some(done(answer, answered, &self.taken))),
        }
    }
}

/// What HTTP is to do with an answer.
fn done(answer: Answer, answered: u32, taken: &Taken) -> Result<Reply, TakenOver> {
    match answer {
        Answer::Reply(reply) if answered >= REQUESTS => Ok(last(*reply)),
        Answer::Reply(reply) => Ok(*reply),
        Answer::Takeover(takeover) => {
            *taken.lock().unwrap_or_else(PoisonError::into_inner) = Some(takeover);
            Err(TakenOver)
        }
        // An answer that was waited for is there.
        Answer::Later(_) => Err(TakenOver),
    }
}

/// Serves a connection: the proxy's word on whose it is, encryption where it is wanted, then HTTP.
pub async fn open(
    app: Arc<App>,
    mut arrived: Arrived,
    clients: mpsc::Sender<NewClient>,
    mut stream: TcpStream,
    mut peer: Option<IpAddr>,
    tls: bool,
) {
    let config = app.config();
    let by = Instant::now() + config.limits.handshake;
    if arrived.purpose != Use::Internal && config.server.proxy_protocol && config.server.trusts(peer) {
        match timeout_at(by, proxied(&mut stream)).await {
            Ok(Ok(Some(client))) => {
                peer = Some(client);
                if !app.places.arrive_by_proxy(&config, client, tls, &mut arrived) {
                    return;
                }
            }
            Ok(Ok(None)) => {}
            Ok(Err(error)) => return tracing::debug!(?peer, %error, "a connection ended before its request"),
            Err(_) => return,
        }
    }
    let connection = Connection { app, peer, tls, purpose: arrived.purpose };
    if !tls {
        return serve(connection, arrived, clients, stream).await;
    }
    let Some(tls) = &config.tls else { return };
    let accept = TlsAcceptor::from(tls.server.clone()).accept(stream);
    // In a box of its own, so that connections without are small: they are moved and cleared at each connect.
    Box::pin(async move {
        match timeout_at(by, accept).await {
            Ok(Ok(stream)) => serve(connection, arrived, clients, stream).await,
            Ok(Err(error)) => tracing::debug!(?peer, %error, "the TLS handshake failed"),
            Err(_) => tracing::debug!(?peer, "the TLS handshake took too long"),
        }
    })
    .await;
}

async fn serve(connection: Connection, arrived: Arrived, clients: mpsc::Sender<NewClient>, stream: impl Stream) {
    let (config, peer) = (connection.app.config(), connection.peer);
    let patience = Patience::of(&config.session);
    let life = if connection.purpose == Use::Health { RESERVE_LIFE } else { LIFE };
    let requests = Requests { connection, answered: Cell::new(0), taken: Taken::default() };
    let mut http = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(config.limits.handshake.min(life))
        .max_buf_size(REQUEST_BUFFER)
        .serve_connection(TokioIo::new(stream), requests);
    let mut ended = timeout(life, poll_fn(|context| http.poll_without_shutdown(context))).await;
    if ended.is_err() {
        // The answer that is under way may still end.
        Pin::new(&mut http).graceful_shutdown();
        let left = config.limits.handshake.min(life);
        ended = timeout(left, poll_fn(|context| http.poll_without_shutdown(context))).await;
    }
    let parts = http.into_parts();
    let mut stream = parts.io.into_inner();
    let takeover = parts.service.taken.lock().unwrap_or_else(PoisonError::into_inner).take();
    let Some(takeover) = takeover else {
        match ended {
            Err(_) => tracing::debug!(?peer, "a connection took too long"),
            Ok(Err(error)) => tracing::debug!(?peer, %error, "a connection ended early"),
            // It may still be sending; what it gets is an end and not a reset.
            Ok(Ok(())) => drop(timeout(patience.close, stream.shutdown()).await),
        }
        return;
    };
    hand_over(*takeover, arrived.seat, clients, stream, parts.read_buf, patience).await;
}

/// Gives a connection to a session, which has it as long as the client stays.
async fn hand_over(
    takeover: Takeover,
    mut seat: Seat,
    clients: mpsc::Sender<NewClient>,
    stream: impl Stream,
    early: Bytes,
    patience: Patience,
) {
    let Takeover { kind, request, known, household, permit, pair } = takeover;
    seat.permit = permit;
    // A client that takes nothing for so long would not have answered a ping either; but if it says something
    // now and then, nothing else would end it. Unix sockets have no such option.
    let _ = SockRef::from(stream.socket()).set_tcp_user_timeout(Some(patience.write));
    let (io, head, early) = match kind {
        Kind::Socket(head) => (stream.into_socket(patience, pair), head, early),
        Kind::Events(head) => (events::start(stream, head, patience, pair), Bytes::new(), Bytes::new()),
    };
    // No descriptor is left for it; the accept loop says so.
    let Ok(io) = io else { return };
    // A worker takes in connections whenever it runs; it is gone only when the node stops.
    let _ = clients.send(NewClient { io, known, household, seat, head, early, request }).await;
}
