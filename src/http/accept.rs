//! Accepting, and the life of a connection until it is upgraded or ends.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, timeout_at};
use tokio_rustls::TlsAcceptor;

use super::listen::Listener;
use super::peer::proxied;
use super::{App, routes};
use crate::session::Attach;

/// Connections beyond `limits.clients` that are answered, if only to say that the server is full.
const SPARE: usize = 256;
/// hyper's buffer for one request; the smallest that it takes.
const REQUEST_BUFFER: usize = 8 << 10;
/// The pause after an accept that failed, as for want of descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Where a worker runs, and how it takes in upgraded connections.
#[derive(Clone)]
pub struct Lane {
    /// The runtime of the worker's thread.
    pub runtime: Handle,
    /// To its session.
    pub attaches: mpsc::Sender<Attach>,
}

/// Accepts connections and gives them to the lanes in turn. Runs until it is dropped.
pub async fn accept(app: Arc<App>, listener: Listener, lanes: Vec<Lane>) {
    let mut failing = false;
    let mut turn = 0;
    loop {
        let (stream, peer) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                if !std::mem::replace(&mut failing, true) {
                    tracing::error!(%error, "cannot accept connections; trying on");
                }
                sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        failing = false;
        if app.clients() >= app.config().limits.clients + SPARE {
            app.metrics.rejected.inc();
            continue;
        }
        turn = (turn + 1) % lanes.len();
        let arrived = Arrived { peer: peer.map(|peer| peer.ip()), tls: listener.at.tls };
        hand_out(&app, &lanes[turn], turn == 0, stream, arrived);
    }
}

/// How a connection came in.
#[derive(Debug, Clone, Copy)]
struct Arrived {
    /// None for a unix socket's.
    peer: Option<IpAddr>,
    /// It is to be encrypted.
    tls: bool,
}

/// Serves a connection on the thread of its lane; the first lane's is this one.
fn hand_out(app: &Arc<App>, lane: &Lane, same_thread: bool, stream: TcpStream, arrived: Arrived) {
    let (app, attaches) = (app.clone(), lane.attaches.clone());
    if same_thread {
        tokio::spawn(open(app, attaches, stream, arrived));
    } else if let Ok(stream) = stream.into_std() {
        lane.runtime.spawn(async move {
            if let Ok(stream) = TcpStream::from_std(stream) {
                open(app, attaches, stream, arrived).await;
            }
        });
    }
}

/// Counts a connection for as long as it is HTTP's.
struct Open(Arc<App>);

impl Open {
    fn new(app: Arc<App>) -> Self {
        app.open.fetch_add(1, Ordering::Relaxed);
        Self(app)
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Ordering::Relaxed);
    }
}

/// What stands before HTTP: the proxy's word on whose connection it is, and encryption.
async fn open(app: Arc<App>, attaches: mpsc::Sender<Attach>, mut stream: TcpStream, arrived: Arrived) {
    let (_open, config) = (Open::new(app.clone()), app.config());
    let Arrived { mut peer, tls } = arrived;
    let by = Instant::now() + config.limits.handshake;
    if config.server.proxy_protocol && config.server.trusted_proxies.iter().any(|one| one.holds(peer)) {
        match timeout_at(by, proxied(&mut stream)).await {
            Ok(Ok(client)) => peer = client.or(peer),
            Ok(Err(error)) => return tracing::debug!(?peer, %error, "a connection ended before it began"),
            Err(_) => return,
        }
    }
    if !tls {
        return serve(app, attaches, stream, peer, config.limits.handshake).await;
    }
    let Some(tls) = &config.tls else { return };
    match timeout_at(by, TlsAcceptor::from(tls.server.clone()).accept(stream)).await {
        Ok(Ok(stream)) => serve(app, attaches, stream, peer, config.limits.handshake).await,
        Ok(Err(error)) => tracing::debug!(?peer, %error, "no TLS handshake"),
        Err(_) => tracing::debug!(?peer, "no TLS handshake in time"),
    }
}

async fn serve<S>(app: Arc<App>, attaches: mpsc::Sender<Attach>, stream: S, peer: Option<IpAddr>, limit: Duration)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let service = service_fn(move |request| routes::answer(app.clone(), attaches.clone(), peer, request));
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(limit)
        .max_buf_size(REQUEST_BUFFER)
        .serve_connection(TokioIo::new(stream), service)
        .with_upgrades();
    if let Err(error) = connection.await {
        tracing::debug!(?peer, %error, "a connection ended early");
    }
}
