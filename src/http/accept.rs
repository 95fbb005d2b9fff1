//! Accepts connections and distributes them among the workers' threads.
//!
//! Accepting costs little, serving a new connection ten times as much. The rule: in each turn more connections are
//! accepted than handed out, so that a crowd waits here and does not overflow the kernel's queue, where it would lose
//! a second; and however large the crowd, the tasks of existing clients get their turn.

use std::collections::VecDeque;
use std::future::ready;
use std::net::{IpAddr, TcpStream as StdStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::net::TcpStream;
use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tokio::task::yield_now;
use tokio::time::sleep;

use super::connection::open;
use super::context::App;
use super::places::{Arrived, TurnedAway};
use crate::memory;
use crate::net::listener::{Listener, is_the_peers};
use crate::session::NewClient;

/// The shortest time between two log lines that no connection can be accepted.
const COMPLAIN: Duration = Duration::from_secs(10);
/// The pause after a failed accept, for example when no descriptor is left.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// The most connections that are accepted in one turn.
const ACCEPTED: usize = 256;
/// The most connections that are handed out in one turn.
const HANDED_OUT: usize = 64;

/// A worker's runtime, and the channel through which it takes upgraded connections.
#[derive(Clone)]
pub struct WorkerHandle {
    /// The runtime of the worker's thread.
    pub runtime: Handle,
    /// The channel to the worker's session.
    pub attaches: mpsc::Sender<NewClient>,
}

/// A connection that was accepted and has not been handed out.
struct Waiting {
    stream: StdStream,
    peer: Option<IpAddr>,
    arrived: Arrived,
}

/// The workers, and the connections that wait for one. There are never more than [`super::places::Places`] admits.
struct Lanes {
    workers: Vec<WorkerHandle>,
    turn: usize,
    waiting: VecDeque<Waiting>,
}

/// Accepts connections and gives them to the workers in turn, until the future is dropped. `inside`: the
/// listener is the one for metrics and health checks.
pub async fn accept(app: Arc<App>, listener: Listener, workers: Vec<WorkerHandle>, inside: bool) {
    let mut complained: Option<Instant> = None;
    let mut tarpit = app.places.tarpit();
    let mut lanes = Lanes { workers, turn: 0, waiting: VecDeque::new() };
    let tls = listener.at.tls;
    // How many connections were taken in this turn, even if each came by itself.
    let mut taken = 0;
    loop {
        if let Some(households) = tarpit.newly_shut_out()
            && let Err(error) = listener.shut_out(households)
        {
            tracing::debug!(%error, "cannot shut out an address; its connections are taken and hung up on");
        }
        let accepted = tokio::select! {
            biased;
            accepted = listener.accept(), if taken < ACCEPTED => accepted,
            () = ready(()), if taken >= ACCEPTED || !lanes.waiting.is_empty() => {
                lanes.hand_out(&app, tls, HANDED_OUT);
                if taken >= ACCEPTED || !lanes.waiting.is_empty() {
                    yield_now().await;
                    taken = 0;
                }
                continue;
            }
            () = tarpit.due() => {
                tarpit.release(Instant::now());
                continue;
            }
        };
        taken += 1;
        let (stream, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(error) if is_the_peers(&error) => continue,
            Err(error) => {
                if complained.is_none_or(|at| at.elapsed() >= COMPLAIN) {
                    complained = Some(Instant::now());
                    tracing::error!(%error, "cannot accept connections; retrying");
                }
                lanes.hand_out(&app, tls, usize::MAX);
                sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let peer = peer.map(|peer| peer.ip());
        let arrived = if inside { app.places.arrive_inside() } else { app.places.arrive(&app.config(), peer, tls) };
        match arrived {
            Ok(arrived) => lanes.waiting.push_back(Waiting { stream, peer, arrived }),
            Err(TurnedAway(stranger)) => {
                app.metrics.rejected.inc();
                if let Some(household) = stranger {
                    tarpit.take(stream, household, Instant::now());
                }
            }
        }
    }
}

impl Lanes {
    /// Serves those who have waited longest, at most this many, each on the thread of the next worker.
    fn hand_out(&mut self, app: &Arc<App>, tls: bool, most: usize) {
        for Waiting { stream, peer, arrived } in self.waiting.drain(..most.min(self.waiting.len())) {
            self.turn = (self.turn + 1) % self.workers.len();
            let worker = &self.workers[self.turn];
            let (app, attaches) = (app.clone(), worker.attaches.clone());
            worker.runtime.spawn(async move {
                if let Ok(stream) = TcpStream::from_std(stream) {
                    open(app, arrived, attaches, stream, peer, tls).await;
                }
            });
        }
        memory::shrink_queue(&mut self.waiting);
    }
}
