//! Accepts connections and distributes them among the workers' threads.

use std::net::{IpAddr, TcpStream as StdStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::net::TcpStream;
use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tokio::task::coop::consume_budget;
use tokio::time::sleep;

use super::connection::open;
use super::context::App;
use super::places::{Arrived, TurnedAway};
use crate::net::listener::{Listener, is_the_peers};
use crate::session::NewClient;

/// The shortest time between two log lines that no connection can be accepted.
const COMPLAIN: Duration = Duration::from_secs(10);
/// The pause after a failed accept, for example when no descriptor is left.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// A worker's runtime, and the channel through which it takes upgraded connections.
#[derive(Clone)]
pub struct WorkerHandle {
    /// The runtime of the worker's thread.
    pub runtime: Handle,
    /// The channel to the worker's session.
    pub attaches: mpsc::Sender<NewClient>,
}

/// Accepts connections and gives them to the workers in turn, until the future is dropped. `inside`: the
/// listener is the one for metrics and health checks.
pub async fn accept(app: Arc<App>, listener: Listener, lanes: Vec<WorkerHandle>, inside: bool) {
    let mut complained: Option<Instant> = None;
    let mut turn = 0;
    let mut tarpit = app.places.tarpit();
    loop {
        if let Some(households) = tarpit.newly_shut_out()
            && let Err(error) = listener.shut_out(households)
        {
            tracing::debug!(%error, "cannot shut out an address; its connections are taken and hung up on");
        }
        // However many connections arrive, the tasks of existing clients get their turn.
        consume_budget().await;
        let accepted = tokio::select! {
            biased;
            accepted = listener.accept() => accepted,
            () = tarpit.due() => {
                tarpit.release(Instant::now());
                continue;
            }
        };
        let (stream, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(error) if is_the_peers(&error) => continue,
            Err(error) => {
                if complained.is_none_or(|at| at.elapsed() >= COMPLAIN) {
                    complained = Some(Instant::now());
                    tracing::error!(%error, "cannot accept connections; retrying");
                }
                sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let peer = peer.map(|peer| peer.ip());
        let tls = listener.at.tls;
        let arrived = if inside { app.places.arrive_inside() } else { app.places.arrive(&app.config(), peer, tls) };
        match arrived {
            Ok(arrived) => {
                turn = (turn + 1) % lanes.len();
                hand_out(&app, &lanes[turn], stream, peer, tls, arrived);
            }
            Err(TurnedAway(stranger)) => {
                app.metrics.rejected.inc();
                if let Some(household) = stranger {
                    tarpit.take(stream, household, Instant::now());
                }
            }
        }
    }
}

/// Serves a connection on the thread of the worker in `lane`.
fn hand_out(app: &Arc<App>, lane: &WorkerHandle, stream: StdStream, peer: Option<IpAddr>, tls: bool, arrived: Arrived) {
    let (app, attaches) = (app.clone(), lane.attaches.clone());
    lane.runtime.spawn(async move {
        if let Ok(stream) = TcpStream::from_std(stream) {
            open(app, arrived, attaches, stream, peer, tls).await;
        }
    });
}
