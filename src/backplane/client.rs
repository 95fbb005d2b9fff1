//! Sends commands over one connection or, in a cluster, over one connection to each primary.

use std::sync::Arc;

use redis::{Cmd, FromRedisValue, ScriptInvocation};
use tokio::sync::{Notify, watch};

use super::connect::{Connector, Credentials};
use super::error::Error;
use super::line::{Line, Link, convert};
use super::shards::Shards;
use super::topology::{Away, Topology};
use crate::config;
use crate::metrics::Metrics;

/// A handle to the store; clones share its connections.
#[derive(Clone)]
pub struct Client {
    way: Way,
}

#[derive(Clone)]
enum Way {
    One(Line),
    Many(Shards),
}

impl Client {
    /// Creates a handle that connects as soon as [`Client::keep_up`] runs.
    ///
    /// # Errors
    /// The URL names no store.
    pub fn new(
        config: &config::Redis,
        credentials: watch::Receiver<Option<Credentials>>,
        metrics: Metrics,
    ) -> Result<Self, redis::RedisError> {
        let connector = Connector::new(config, credentials)?;
        let way = match connector.seeds() {
            [] => Way::One(Line::new(connector, metrics, Arc::new(Notify::new()))),
            _ => Way::Many(Shards::new(connector, metrics)),
        };
        Ok(Self { way })
    }

    /// Follows the state of the connection. A cluster is up while any of its primaries is.
    pub fn link(&self) -> watch::Receiver<Link> {
        match &self.way {
            Way::One(line) => line.link(),
            Way::Many(shards) => shards.link(),
        }
    }

    /// Follows which primary of a cluster owns which slot; None if the store is a single server.
    pub fn topology(&self) -> Option<watch::Receiver<Arc<Topology>>> {
        match &self.way {
            Way::One(_) => None,
            Way::Many(shards) => Some(shards.topology()),
        }
    }

    /// Whether the keys are spread over several servers, each with a clock of its own.
    pub fn is_sharded(&self) -> bool {
        matches!(self.way, Way::Many(_))
    }

    /// Follows which primaries of a cluster are out of reach; None if the store is a single server.
    pub fn away(&self) -> Option<watch::Receiver<Away>> {
        match &self.way {
            Way::One(_) => None,
            Way::Many(shards) => Some(shards.away()),
        }
    }

    /// Whether the cluster primary that has this key is out of reach; others may be within reach.
    pub fn is_away(&self, key: &[u8]) -> bool {
        matches!(&self.way, Way::Many(shards) if shards.is_away(key))
    }

    /// Identifies the current connection to the cluster primary that has this key, so that a new connection
    /// can be told apart from it. Always the same without a cluster.
    pub fn tenure(&self, key: &[u8]) -> Tenure {
        match &self.way {
            Way::One(_) => Tenure::default(),
            Way::Many(shards) => Tenure(shards.tenure(key)),
        }
    }

    /// Connects, and reconnects whenever a connection breaks. Runs until it is dropped.
    pub async fn keep_up(self) {
        match self.way {
            Way::One(line) => line.keep_up().await,
            Way::Many(shards) => shards.keep_up().await,
        }
    }

    /// Sends one command; in a cluster, to the primary that has its key.
    ///
    /// # Errors
    /// See [`Error`]; after [`Error::Lost`] the command may or may not have been carried out.
    pub async fn command<T: FromRedisValue>(&self, command: &Cmd) -> Result<T, Error> {
        let answer = match &self.way {
            Way::One(line) => line.command(command).await,
            Way::Many(shards) => shards.command(command).await,
        };
        answer.and_then(convert)
    }

    /// Runs a script by its hash, and loads it if the store does not know it yet. Not in a cluster, where a
    /// script must not use keys of several slots.
    ///
    /// # Errors
    /// See [`Error`]; after [`Error::Lost`] the script may or may not have been run.
    pub async fn run<T: FromRedisValue>(&self, script: &ScriptInvocation<'_>) -> Result<T, Error> {
        match &self.way {
            Way::One(line) => line.run(script).await.and_then(convert),
            Way::Many(_) => {
                Err(Error::Refused("CROSSSLOT a cluster runs no script over keys of many slots".to_owned()))
            }
        }
    }
}

/// See [`Client::tenure`].
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tenure(Option<(config::HostPort, u64)>);
