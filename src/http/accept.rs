//! Accepting, and the life of a connection until it is upgraded or ends.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpStream;
use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tokio::time::sleep;

use super::listen::Listener;
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
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
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
        hand_out(&app, &lanes[turn], turn == 0, stream);
    }
}

/// Serves a connection on the thread of its lane; the first lane's is this one.
fn hand_out(app: &Arc<App>, lane: &Lane, same_thread: bool, stream: TcpStream) {
    let (app, attaches) = (app.clone(), lane.attaches.clone());
    if same_thread {
        tokio::spawn(serve(app, attaches, stream));
    } else if let Ok(stream) = stream.into_std() {
        lane.runtime.spawn(async move {
            if let Ok(stream) = TcpStream::from_std(stream) {
                serve(app, attaches, stream).await;
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

async fn serve(app: Arc<App>, attaches: mpsc::Sender<Attach>, stream: TcpStream) {
    let timeout = app.config().limits.handshake;
    let _open = Open::new(app.clone());
    let service = service_fn(move |request| routes::answer(app.clone(), attaches.clone(), request));
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(timeout)
        .max_buf_size(REQUEST_BUFFER)
        .serve_connection(TokioIo::new(stream), service)
        .with_upgrades();
    if let Err(error) = connection.await {
        tracing::debug!(%error, "a connection ended early");
    }
}
