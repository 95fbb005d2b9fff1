//! One connection, from its first byte until it ends or permanently becomes a client's.
//!
//! A request for a socket or an event stream takes the connection away from HTTP: hyper runs without its own
//! shutdown, and returns the stream. The rule: the time and the number of requests of a connection are bounded,
//! whether or not its client reads the responses.

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
use super::context::{App, ConnectionInfo};
use super::events;
use super::places::{Arrived, Use};
use super::proxy_protocol::proxied;
use super::reply::{Reply, last};
use super::routes::{self, Answer};
use super::stream::Stream;
use super::takeover::{Takeover, TakeoverKind};
use crate::net::seats::Seat;
use crate::session::NewClient;

/// hyper's buffer for one request: the smallest that hyper allows.
const REQUEST_BUFFER: usize = 8 << 10;
/// The maximum number of requests on one connection. A client that sends them without reading the responses
/// thus leaves at most this many responses in the kernel.
const REQUESTS: u32 = 64;
/// The longest life of a connection that has not become a client. No request takes long to answer.
const LIFE: Duration = Duration::from_secs(60);
/// The longest life of a connection in the reserve.
const RESERVE_LIFE: Duration = Duration::from_secs(1);

/// The requests of one connection, one after another.
struct Requests {
    connection: ConnectionInfo,
    answered: Cell<u32>,
    taken: Taken,
}

/// The takeover of the connection, once there is one.
type Taken = Arc<Mutex<Option<Box<Takeover>>>>;

/// An answer that is ready, or one that waits for a token check or for a request body.
enum Answering {
    Now(Option<Result<Reply, TakenOver>>),
    Later(Pin<Box<dyn Future<Output = Result<Reply, TakenOver>> + Send>>),
}

impl Future for Answering {
    type Output = Result<Reply, TakenOver>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        match &mut *self {
            // hyper does not poll again once the answer is ready.
            Self::Now(answer) => answer.take().map_or(Poll::Pending, Poll::Ready),
            Self::Later(answer) => answer.as_mut().poll(context),
        }
    }
}

/// Tells hyper to stop because the connection was taken over.
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

/// Converts an answer into what hyper expects.
fn done(answer: Answer, answered: u32, taken: &Taken) -> Result<Reply, TakenOver> {
    match answer {
        Answer::Reply(reply) if answered >= REQUESTS => Ok(last(*reply)),
        Answer::Reply(reply) => Ok(*reply),
        Answer::Takeover(takeover) => {
            *taken.lock().unwrap_or_else(PoisonError::into_inner) = Some(takeover);
            Err(TakenOver)
        }
        // An awaited answer is never `Later` again.
        Answer::Later(_) => Err(TakenOver),
    }
}

/// Serves a connection: first the PROXY header and the TLS handshake, if they apply, then HTTP.
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
    let connection = ConnectionInfo { app, peer, tls, purpose: arrived.purpose };
    if !tls {
        return serve(connection, arrived, clients, stream).await;
    }
    let Some(tls) = &config.tls else { return };
    let accept = TlsAcceptor::from(tls.server.clone()).accept(stream);
    // Boxed, so that the future of a plain connection stays small: it is moved and cleared at each connect.
    Box::pin(async move {
        match timeout_at(by, accept).await {
            Ok(Ok(stream)) => serve(connection, arrived, clients, stream).await,
            Ok(Err(error)) => tracing::debug!(?peer, %error, "the TLS handshake failed"),
            Err(_) => tracing::debug!(?peer, "the TLS handshake took too long"),
        }
    })
    .await;
}

async fn serve(connection: ConnectionInfo, arrived: Arrived, clients: mpsc::Sender<NewClient>, stream: impl Stream) {
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
        // A response that is being sent may still finish.
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
            // The client may still be sending; it should see a clean end and not a reset.
            Ok(Ok(())) => drop(timeout(patience.close, stream.shutdown()).await),
        }
        return;
    };
    hand_over(*takeover, arrived.seat, clients, stream, parts.read_buf, patience).await;
}

/// Hands a connection to a session, which owns it for as long as the client stays.
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
    // A client that takes no bytes for this long would not have answered a ping either. But if it sends
    // something now and then, nothing else would end it. Unix sockets do not have this option.
    let _ = SockRef::from(stream.socket()).set_tcp_user_timeout(Some(patience.write));
    let (io, head, early) = match kind {
        TakeoverKind::Socket(head) => (stream.into_socket(patience, pair), head, early),
        TakeoverKind::Events(head) => (events::start(stream, head, patience, pair), Bytes::new(), Bytes::new()),
    };
    // No descriptor is left for it; the accept loop logs that.
    let Ok(io) = io else { return };
    // A worker takes connections whenever it runs, and ends only when the node stops.
    let _ = clients.send(NewClient { io, known, household, seat, head, early, request }).await;
}
