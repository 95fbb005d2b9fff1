//! The connections for commands to the primaries of a cluster, and the table of which primary owns which slot.
//!
//! A command goes to the owner of its key's slot and, if that server redirects it, on to another, all within one
//! deadline. Errors that mean that a slot is not served at the moment (see [`Redirect`]) are reported as a
//! store that is out of reach, because for the keys concerned it is.

use std::collections::{HashMap, HashSet};
use std::mem;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use redis::{Cmd, Value};
use tokio::sync::{Notify, watch};
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::{Instant, sleep, sleep_until, timeout};

use super::backoff::Backoff;
use super::connect::{Connector, Failure};
use super::error::Error;
use super::line::{Line, Link};
use super::slots::{slot, slot_of};
use super::topology::{Away, Redirect, Topology, View};
use crate::config::HostPort;
use crate::metrics::Metrics;

/// The usual and the shortest time between two requests for the topology.
const USUALLY: Duration = Duration::from_secs(2);
const AT_LEAST: Duration = Duration::from_millis(100);
/// How many primaries are asked per request, at most.
const ASKED: usize = 8;
/// The maximum number of connections, whatever servers a series of MOVED answers may name.
const LINES: usize = 1_000;

/// A handle; clones share the connections.
#[derive(Clone)]
pub(super) struct Shards {
    shared: Arc<Shared>,
}

struct Shared {
    connector: Connector,
    lines: Mutex<HashMap<HostPort, Running>>,
    topology: watch::Sender<Arc<Topology>>,
    link: watch::Sender<Link>,
    /// The primaries that are out of reach.
    away: watch::Sender<Away>,
    /// Notified when the topology may have changed.
    doubt: Notify,
    /// Notified when the state of a connection has changed.
    changed: Arc<Notify>,
    metrics: Metrics,
}

/// A connection and the task that keeps it up; the task ends on drop.
struct Running {
    line: Line,
    task: AbortHandle,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Shards {
    pub fn new(connector: Connector, metrics: Metrics) -> Self {
        let shared = Shared {
            connector,
            lines: Mutex::default(),
            topology: watch::Sender::default(),
            link: watch::Sender::new(Link::Down(String::new())),
            away: watch::Sender::default(),
            doubt: Notify::new(),
            changed: Arc::new(Notify::new()),
            metrics,
        };
        Self { shared: Arc::new(shared) }
    }

    pub fn link(&self) -> watch::Receiver<Link> {
        self.shared.link.subscribe()
    }

    pub fn topology(&self) -> watch::Receiver<Arc<Topology>> {
        self.shared.topology.subscribe()
    }

    /// Follows which primaries are out of reach.
    pub fn away(&self) -> watch::Receiver<Away> {
        self.shared.away.subscribe()
    }

    /// Whether the owner of a key's slot is out of reach.
    pub fn is_away(&self, key: &[u8]) -> bool {
        self.shared.owner(slot(key)).is_some_and(|owner| self.shared.away.borrow().contains(&owner))
    }

    /// Returns the owner of a key's slot, and the number of the current connection to it.
    pub fn tenure(&self, key: &[u8]) -> Option<(HostPort, u64)> {
        let owner = self.shared.owner(slot(key))?;
        let epoch = self.shared.lines().get(&owner).map_or(0, |running| running.line.epoch());
        Some((owner, epoch))
    }

    /// Finds the primaries and keeps up with changes among them. Runs until it is dropped.
    pub async fn keep_up(self) {
        let shared = &*self.shared;
        let mut backoff = Backoff::to_connect();
        for place in 0.. {
            let views = shared.ask_primaries().await;
            let pause = if !views.is_empty() {
                backoff.reset();
                shared.adopt(&views);
                AT_LEAST
            } else if shared.is_up() {
                AT_LEAST
            } else {
                // No known primary answers: the seeds may know others.
                match ask_seed(&shared.connector, place).await {
                    Ok(view) => shared.adopt(&[view]),
                    Err(Failure::Away(why)) => shared.say(Link::Down(why)),
                    Err(Failure::Refused(why)) => shared.say(Link::Refused(why)),
                }
                backoff.pause()
            };
            let next = Instant::now() + USUALLY;
            sleep(pause).await;
            shared.doubts(next).await;
        }
    }

    /// Sends a command to the owner of its slot. A command without a key goes to any primary.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn command(&self, command: &Cmd) -> Result<Value, Error> {
        let shared = &*self.shared;
        let slot = slot_of(command);
        let deadline = Instant::now() + shared.connector.response_timeout;
        let mut pauses = Backoff::new(Duration::from_millis(5), Duration::from_millis(100));
        let mut asked = None;
        loop {
            let asking = asked.is_some();
            let Some((server, line)) = asked.take().or_else(|| shared.target(slot)).and_then(|to| shared.line(to))
            else {
                shared.doubt.notify_one();
                return Err(Error::Down);
            };
            line.tried(deadline.saturating_duration_since(Instant::now())).await;
            let answer = if asking { line.asking(command).await } else { line.command(command).await };
            let redirect = match &answer {
                Err(Error::Refused(why)) => Redirect::read(why, &server.0),
                Err(Error::Down) => Some(Redirect::Away),
                _ => None,
            };
            let pause = match redirect {
                None => return answer,
                Some(Redirect::Moved(slot, to)) => {
                    shared.moved(slot, &to);
                    pauses.pause()
                }
                Some(Redirect::Ask(to)) => {
                    shared.metrics.store_asked.inc();
                    asked = Some(to);
                    Duration::ZERO
                }
                Some(Redirect::Later) => pauses.pause(),
                Some(Redirect::Away) => {
                    shared.doubt.notify_one();
                    return Err(Error::Down);
                }
            };
            if Instant::now() + pause >= deadline {
                return Err(Error::Down);
            }
            sleep(pause).await;
        }
    }
}

impl Shared {
    fn lines(&self) -> MutexGuard<'_, HashMap<HostPort, Running>> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn owner(&self, slot: u16) -> Option<HostPort> {
        self.topology.borrow().owner(slot).cloned()
    }

    /// Returns the server to ask: the owner of the slot, or any primary if there is no slot.
    fn target(&self, slot: Option<u16>) -> Option<HostPort> {
        match slot {
            Some(slot) => self.owner(slot),
            None => self.topology.borrow().primaries().first().cloned(),
        }
    }

    /// Returns the connection to a server, making one if there is none; None if there are too many.
    fn line(&self, server: HostPort) -> Option<(HostPort, Line)> {
        let mut lines = self.lines();
        if lines.len() >= LINES && !lines.contains_key(&server) {
            return None;
        }
        let running = lines.entry(server.clone()).or_insert_with(|| {
            let line = Line::new(self.connector.to(&server), self.metrics.clone(), self.changed.clone());
            let task = tokio::spawn(line.clone().keep_up()).abort_handle();
            Running { line, task }
        });
        Some((server, running.line.clone()))
    }

    /// Notes that some server names `to` as the owner of a slot.
    fn moved(&self, slot: u16, to: &HostPort) {
        self.metrics.store_moved.inc();
        self.topology.send_if_modified(|topology| {
            let news = topology.owner(slot) != Some(to);
            if news {
                Arc::make_mut(topology).moved(slot, to);
            }
            news
        });
        self.doubt.notify_one();
    }

    /// Adopts the primaries' views: connects to new primaries, and drops servers that are no longer primaries.
    fn adopt(&self, views: &[View]) {
        let topology = Topology::of(views, &self.topology.borrow());
        let primaries = topology.primaries().to_vec();
        let gone: Vec<Running> = {
            let mut lines = self.lines();
            let gone: Vec<HostPort> = lines.keys().filter(|server| !primaries.contains(server)).cloned().collect();
            gone.iter().filter_map(|server| lines.remove(server)).collect()
        };
        drop(gone);
        for server in primaries {
            self.line(server);
        }
        self.topology.send_if_modified(|before| {
            let news = **before != topology;
            if news {
                tracing::debug!(store = &*self.connector.shown, ?topology, "the cluster's slots");
                *before = Arc::new(topology);
            }
            news
        });
        self.say_how_it_is();
    }

    /// Asks connected primaries for their views, all at once.
    async fn ask_primaries(&self) -> Vec<View> {
        let up = |running: &&Running| matches!(*running.line.link().borrow(), Link::Up(_));
        let asked: Vec<(HostPort, Line)> = {
            let lines = self.lines();
            let up = lines.iter().filter(|(_, running)| up(running));
            up.take(ASKED).map(|(server, running)| (server.clone(), running.line.clone())).collect()
        };
        let mut asking = JoinSet::new();
        for (server, line) in asked {
            asking.spawn(async move { View::read(&line.command(&question()).await.ok()?, server) });
        }
        asking.join_all().await.into_iter().flatten().collect()
    }

    /// Waits until it is time to ask for the topology again.
    async fn doubts(&self, next: Instant) {
        loop {
            tokio::select! {
                () = self.doubt.notified() => return,
                () = sleep_until(next) => return,
                () = self.changed.notified() => {
                    self.say_how_it_is();
                    if self.any_is_down() || !self.is_up() {
                        return;
                    }
                }
            }
        }
    }

    fn is_up(&self) -> bool {
        matches!(*self.link.borrow(), Link::Up(_))
    }

    fn any_is_down(&self) -> bool {
        self.lines().values().any(|running| !matches!(*running.line.link().borrow(), Link::Up(_)))
    }

    /// Reports which primaries are out of reach, and the best connection's state as that of the cluster.
    fn say_how_it_is(&self) {
        let links: Vec<(HostPort, Link)> = {
            let lines = self.lines();
            lines.iter().map(|(server, running)| (server.clone(), running.line.link().borrow().clone())).collect()
        };
        // Nothing is known of a connection that was never tried.
        let is_away = |link: &Link| match link {
            Link::Up(_) => false,
            Link::Refused(_) => true,
            Link::Down(why) => !why.is_empty(),
        };
        let away: HashSet<HostPort> =
            links.iter().filter(|(_, link)| is_away(link)).map(|(server, _)| server.clone()).collect();
        self.away.send_if_modified(|before| {
            let news = **before != away;
            if news {
                *before = Arc::new(away);
            }
            news
        });
        let links = links.into_iter().map(|(_, link)| link);
        let best = links.max_by_key(|link| match link {
            Link::Up(_) => 3,
            Link::Refused(_) => 2,
            Link::Down(why) => usize::from(!why.is_empty()),
        });
        match best {
            // No attempt has ended yet.
            Some(Link::Down(why)) if why.is_empty() => {}
            Some(link) => self.say(link),
            None => self.say(Link::Down("no slot of the cluster has an owner".to_owned())),
        }
    }

    /// Reports the state unless it is still the same: each report makes followers start over.
    fn say(&self, link: Link) {
        self.link.send_if_modified(|before| {
            let news = mem::discriminant(before) != mem::discriminant(&link) || *before == Link::Down(String::new());
            if news {
                *before = link;
            }
            news
        });
    }
}

/// Asks one of the servers that the address names for its view.
pub(super) async fn ask_seed(connector: &Connector, place: usize) -> Result<View, Failure> {
    let seeds = connector.seeds();
    let seed = seeds.get(place % seeds.len().max(1)).ok_or_else(|| Failure::Away("no seed is named".to_owned()))?;
    let limit = connector.response_timeout;
    let mut connection = connector.to(seed).commands().await?;
    let answer = timeout(limit, question().query_async::<Value>(&mut connection.commands)).await;
    let reply = answer.map_err(|_| Failure::Away(format!("no answer within {limit:?}")))??;
    View::read(&reply, seed.clone()).ok_or_else(|| Failure::Refused("its CLUSTER SLOTS cannot be read".to_owned()))
}

fn question() -> Cmd {
    let mut question = redis::cmd("CLUSTER");
    question.arg("SLOTS");
    question
}
