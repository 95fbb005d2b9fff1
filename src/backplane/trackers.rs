//! Reads keys and reports when they change: one [`Tracker`] or, in a cluster, one for each primary.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use redis::{Script, Value};
use tokio::sync::watch;
use tokio::task::AbortHandle;

use super::connect::{Connector, Credentials};
use super::error::Error;
use super::slots::slot;
use super::topology::Topology;
use super::tracker::{Mailbox, Tracker, TrackerNews};
use crate::config::{self, HostPort};

/// A handle; clones share the connections.
#[derive(Clone)]
pub struct Trackers {
    mailbox: Arc<Mailbox>,
    way: Way,
}

#[derive(Clone)]
enum Way {
    One(Tracker),
    Many(Arc<Cluster>),
}

struct Cluster {
    connector: Connector,
    script: Script,
    topology: watch::Receiver<Arc<Topology>>,
    trackers: Mutex<HashMap<HostPort, Running>>,
}

/// A tracker and the task that keeps it up; the task ends on drop.
struct Running {
    tracker: Tracker,
    task: AbortHandle,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Trackers {
    /// Creates a handle for running one script. It connects as soon as [`Trackers::keep_up`] runs. In a cluster,
    /// it follows `topology`.
    ///
    /// # Errors
    /// The URL names no store.
    pub fn new(
        config: &config::Redis,
        credentials: watch::Receiver<Option<Credentials>>,
        topology: Option<watch::Receiver<Arc<Topology>>>,
        script: Script,
    ) -> Result<Self, redis::RedisError> {
        let (connector, mailbox) = (Connector::new(config, credentials)?, Arc::<Mailbox>::default());
        let way = match topology {
            None => Way::One(Tracker::new(connector, script, mailbox.clone())),
            Some(topology) => Way::Many(Arc::new(Cluster { connector, script, topology, trackers: Mutex::default() })),
        };
        Ok(Self { mailbox, way })
    }

    /// Waits for news and takes it. Cancel safe.
    pub async fn news(&self) -> TrackerNews {
        self.mailbox.take().await
    }

    /// Whether the keys are spread over several servers, each of which may be out of reach on its own.
    pub fn is_sharded(&self) -> bool {
        matches!(self.way, Way::Many(_))
    }

    /// Runs the script on one key. If the store reports changes, the key's next change will be in the news.
    ///
    /// # Errors
    /// See [`Error`]; after [`Error::Lost`] there will be a new connection.
    pub async fn read(&self, key: &str, args: &[Vec<u8>]) -> Result<Value, Error> {
        match &self.way {
            Way::One(tracker) => tracker.read(key, args).await,
            Way::Many(cluster) => cluster.tracker(key).ok_or(Error::Down)?.read(key, args).await,
        }
    }

    /// Connects, and reconnects whenever a connection breaks. Runs until it is dropped.
    pub async fn keep_up(self) {
        match self.way {
            Way::One(tracker) => tracker.keep_up().await,
            Way::Many(cluster) => {
                let mut topology = cluster.topology.clone();
                topology.mark_changed();
                while topology.changed().await.is_ok() {
                    let primaries = topology.borrow_and_update().primaries().to_vec();
                    cluster.follow(&primaries, &self.mailbox);
                    // A key that has moved is not tracked on its new server yet.
                    self.mailbox.put(|news| news.all = true);
                }
            }
        }
    }
}

impl Cluster {
    fn tracker(&self, key: &str) -> Option<Tracker> {
        let owner = self.topology.borrow().owner(slot(key.as_bytes()))?.clone();
        let trackers = self.trackers.lock().unwrap_or_else(PoisonError::into_inner);
        trackers.get(&owner).map(|running| running.tracker.clone())
    }

    fn follow(&self, primaries: &[HostPort], mailbox: &Arc<Mailbox>) {
        let mut trackers = self.trackers.lock().unwrap_or_else(PoisonError::into_inner);
        trackers.retain(|server, _| primaries.contains(server));
        for server in primaries {
            trackers.entry(server.clone()).or_insert_with(|| {
                let tracker = Tracker::new(self.connector.to(server), self.script.clone(), mailbox.clone());
                let task = tokio::spawn(tracker.clone().keep_up()).abort_handle();
                Running { tracker, task }
            });
        }
    }
}
