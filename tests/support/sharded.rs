//! Two nodes on a Redis Cluster, and clients on a counted channel, one of people and one of messages on each of its
//! shards.

use std::time::Duration;

use serde_json::json;

use super::client::Client;
use super::cluster::{Cluster, slot};
use super::node::{Node, Setup};
use super::{same, settles};

/// From when the cluster serves everything again until everything is right.
pub const WITHIN: Duration = Duration::from_secs(4);
/// Channels for each shard: those are found by their names.
pub const SHARDS: usize = 3;
/// The key that has the leases.
pub const LEASES: &str = "headcount:v1:nodes";

const CONFIG: &str = r#"
    [[channels]]
    pattern = "users:count"
    count = "sockets"
    deliver = "latest"

    [[channels]]
    pattern = "news:*"
    count = "none"
    deliver = "every"

    [[channels]]
    pattern = "people:*"
    count = "visitors"
    deliver = "latest"
    linger = "100ms"

    [[channels]]
    pattern = "board:*"
    source = "zset"
    top = 10
    order = "desc"

    [[channels]]
    pattern = "*"
    count = "sockets"
    deliver = "latest"
"#;

/// See the module.
pub struct Scene {
    pub cluster: Cluster,
    pub nodes: Vec<Node>,
    /// A counted channel, one of people and one of messages on each of the three shards.
    pub counts: Vec<String>,
    pub people: Vec<String>,
    pub news: Vec<String>,
    pub clients: Vec<Client>,
}

impl Scene {
    pub async fn begin() -> Scene {
        Scene::on(Cluster::start().await).await
    }

    /// On this cluster of three primaries.
    pub async fn on(cluster: Cluster) -> Scene {
        let (counts, people, news) =
            (spread(&cluster, "room").await, spread(&cluster, "people").await, spread(&cluster, "news").await);
        let mut scene = Scene { cluster, nodes: Vec::new(), counts, people, news, clients: Vec::new() };
        for _ in 0..2 {
            let node = scene.setup().start().await;
            node.ready().await;
            scene.nodes.push(node);
        }
        for place in 0..6 {
            scene.join(place % 2).await;
        }
        scene.is_right().await;
        scene
    }

    pub fn setup(&self) -> Setup {
        Node::on(&self.cluster.url()).config(CONFIG).set("PRESENCE__REPAIR", "2s")
    }

    /// One more client, on all channels.
    pub async fn join(&mut self, node: usize) {
        let all: Vec<&str> =
            [&self.counts, &self.people, &self.news].into_iter().flatten().map(String::as_str).collect();
        self.clients.push(Client::join(&self.nodes[node], &all).await);
    }

    /// What all clients see on these shards, and what the store has.
    pub async fn shards_are_right(&self, shards: &[usize]) -> Result<(), String> {
        let open = self.clients.len() as i64;
        for shard in shards {
            for channel in [&self.counts[*shard], &self.people[*shard]] {
                same(channel, self.cluster.ask(channel, &["GET", channel]).await?, Some(open))?;
                self.clients.iter().try_for_each(|client| client.sees(channel, open))?;
            }
        }
        Ok(())
    }

    pub async fn is_right(&self) {
        settles("right everywhere", WITHIN, Duration::from_secs(1), || self.shards_are_right(&[0, 1, 2])).await;
    }

    /// What is published on a shard's channel, where its slot is, arrives at all.
    pub async fn carries(&self, shard: usize, text: &str) {
        let channel = &self.news[shard];
        let owner = self.cluster.owner(slot(channel), None).await.unwrap();
        self.cluster.servers[owner].must::<i64>(&["PUBLISH", channel, text]).await;
        for client in &self.clients {
            client.shows(channel, text).await;
            assert!(client.closed().is_none());
        }
    }

    /// How many objects with this member all clients have got, naming a channel of `shard` or of others.
    pub fn told(&self, member: &str, shard: usize, of_it: bool) -> usize {
        let here = |name: &str| [&self.counts, &self.people, &self.news].iter().any(|names| names[shard] == name);
        let told = |client: &Client| {
            let messages = client.messages();
            messages.iter().filter(|m| m[member].as_str().is_some_and(|name| here(name) == of_it)).count()
        };
        self.clients.iter().map(told).sum()
    }

    /// How often clients were told of a gap on the messages of a shard.
    pub fn gaps(&self, shard: usize) -> usize {
        let gap = json!({"subscribed": self.news[shard], "gap": true});
        self.clients.iter().map(|client| client.messages().iter().filter(|m| **m == gap).count()).sum()
    }

    /// How many states of the store as a whole clients were told.
    pub fn states(&self) -> usize {
        let told = |client: &Client| client.messages().iter().filter(|m| !m["state"].is_null()).count();
        self.clients.iter().map(told).sum()
    }

    /// Every number that clients were told of on these shards since they came, for each client.
    pub fn totals(&self, shards: &[usize]) -> Vec<usize> {
        let names = || shards.iter().flat_map(|shard| [&self.counts[*shard], &self.people[*shard]]);
        self.clients.iter().map(|client| names().map(|name| client.payloads(name).len()).sum()).collect()
    }

    pub async fn metric(&self, name: &str) -> i64 {
        let mut sum = 0;
        for node in &self.nodes {
            sum += node.metric(name).await.unwrap();
        }
        sum
    }
}

/// A channel on each of the first three servers, with this word in front.
pub async fn spread(cluster: &Cluster, word: &str) -> Vec<String> {
    let mut found = vec![String::new(); SHARDS];
    for number in 0.. {
        let name = format!("{word}:{number}");
        let owner = cluster.owner(slot(&name), None).await.unwrap();
        found[owner] = name;
        if found.iter().all(|name| !name.is_empty()) {
            break;
        }
    }
    found
}

/// The shard of the first three that has the leases.
pub async fn lease_shard(scene: &Scene) -> usize {
    scene.cluster.owner(slot(LEASES), None).await.unwrap()
}
