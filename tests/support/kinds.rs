//! What is counted on three channels of the same nodes, so that one fault hits all three: sockets, people, and
//! people who are listed.

use std::time::Duration;

use serde_json::json;

use super::node::{Node, Setup};
use super::redis::Redis;
use super::tokens::{Auth, CHANNELS, token};

/// What a channel counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    Sockets,
    Visitors,
    Members,
}

pub const KINDS: [Kind; 3] = [Kind::Sockets, Kind::Visitors, Kind::Members];

/// After data were lost, whoever is missing from a list of members has so long to come back: a lease, a grace and a
/// heartbeat.
pub const MISSING: Duration = Duration::from_millis(3_500);

/// The channels as a node's configuration has them.
const RULES: &str = r#"
channels = [
  { pattern = "users:count", count = "sockets", deliver = "latest" },
  { pattern = "page:/*", count = "visitors", deliver = "latest" },
  { pattern = "room:*", count = "visitors", deliver = "latest", members = true },
  { pattern = "public:*", count = "none", deliver = "every" },
]
"#;

impl Kind {
    /// The channel that counts so.
    pub fn channel(self) -> &'static str {
        match self {
            Kind::Sockets => "users:count",
            Kind::Visitors => "page:/here",
            Kind::Members => "room:1",
        }
    }
}

/// Nodes that count all three, and take tokens that say who somebody is.
pub struct Kinds {
    auth: Auth,
}

impl Kinds {
    pub fn new() -> Kinds {
        Kinds { auth: Auth::new() }
    }

    /// The text of a node's configuration.
    pub fn config(&self) -> String {
        self.auth.config("query = true").replace(CHANNELS, RULES)
    }

    /// A node to be started on this Redis.
    pub fn on(&self, redis: &Redis) -> Setup {
        self.at(&redis.url())
    }

    /// A node to be started on the store at this address.
    pub fn at(&self, url: &str) -> Setup {
        Node::on(url).config(&self.config())
    }

    /// Starts a node and waits until it is ready.
    pub async fn start(&self, redis: &Redis) -> Node {
        let node = self.on(redis).start().await;
        node.ready().await;
        node
    }
}

/// The name by which others know somebody.
pub fn name(who: u32) -> String {
    format!("p{who}")
}

/// The part of an address that says who somebody is.
pub fn identity(who: u32) -> String {
    format!("token={}", token(json!({ "sub": name(who) })))
}
