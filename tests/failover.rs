//! Behind sentinels, with two thousand sockets that come and go: whatever becomes of the primary, the count is
//! right within four seconds of the next one's election, and nothing that is published there after that is lost.

use std::time::Duration;

use redis::Value;
use rustix::process::Signal;
use serde_json::json;
use tokio::time::Instant;

use crate::support::client::Client;
use crate::support::crowd::Crowd;
use crate::support::node::Node;
use crate::support::watched::Watched;
use crate::support::{SOON, alone, same, settles};

const COUNT: &str = "users:count";
const NEWS: &str = "public:news";
/// Sockets on each of two servers.
const EACH: usize = 1_000;
/// Joins, and leaves, a second on each server.
const RATE: usize = 100;
const WITHIN: Duration = Duration::from_secs(4);
const HOLD: Duration = Duration::from_secs(2);
/// Messages that are published by the new primary.
const MESSAGES: usize = 200;

struct World {
    store: Watched,
    _nodes: [Node; 2],
    crowds: [Crowd; 2],
    readers: Vec<Client>,
}

impl World {
    async fn begin() -> World {
        let store = Watched::start().await;
        let nodes = [Node::start(&store.url()).await, Node::start(&store.url()).await];
        let (first, second) =
            tokio::join!(Crowd::gather(&nodes[0], COUNT, EACH), Crowd::gather(&nodes[1], COUNT, EACH));
        let mut readers = Vec::new();
        for node in &nodes {
            readers.push(Client::open(node, &format!("watch={NEWS}")).await);
        }
        let world = World { store, _nodes: nodes, crowds: [first, second], readers };
        world.comes_right(0).await;
        world
    }

    async fn churn(&mut self, duration: Duration) {
        let [first, second] = &mut self.crowds;
        tokio::join!(first.churn(duration, RATE), second.churn(duration, RATE));
    }

    async fn comes_right(&self, server: usize) {
        let open: i64 = self.crowds.iter().map(Crowd::size).sum();
        settles(&format!("{open} everywhere"), WITHIN, HOLD, || async {
            self.crowds.iter().try_for_each(|crowd| crowd.sees(open))?;
            same("GET", self.store.servers[server].ask(&["GET", COUNT]).await?, Some(open))
        })
        .await;
    }

    /// People come and go until another primary is elected, and a little longer; then all is right there.
    async fn goes_on_at(&mut self, server: usize) {
        self.churn(Duration::from_secs(3)).await;
        self.store.elected(server).await;
        let start = Instant::now();
        self.churn(Duration::from_secs(1)).await;
        self.comes_right(server).await;
        println!(
            "right {:?} after the election, of which 1 s of coming and going and {HOLD:?} of looking",
            start.elapsed()
        );
        let gap = json!({"watching": NEWS, "gap": true});
        for reader in &self.readers {
            reader.until("told of the gap", SOON, |messages| messages.contains(&gap).then_some(())).await;
        }
        for number in 0..MESSAGES {
            self.store.servers[server].must::<i64>(&["PUBLISH", NEWS, &format!("message {number}")]).await;
        }
        for reader in &self.readers {
            reader.shows(NEWS, format!("message {}", MESSAGES - 1)).await;
            let expected: Vec<_> = (0..MESSAGES).map(|number| json!(format!("message {number}"))).collect();
            assert_eq!(reader.payloads(NEWS), expected);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn two_thousand_sockets_outlive_a_primary_that_is_killed() {
    let _turn = alone().await;
    let mut world = World::begin().await;
    world.store.servers[0].kill().await;
    world.goes_on_at(1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_thousand_sockets_outlive_a_primary_that_is_paused() {
    let _turn = alone().await;
    let mut world = World::begin().await;
    world.store.servers[0].signal(Signal::STOP);
    world.goes_on_at(1).await;
    world.store.servers[0].signal(Signal::CONT);
    world.churn(Duration::from_secs(2)).await;
    world.comes_right(1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_thousand_sockets_outlive_a_planned_failover() {
    let _turn = alone().await;
    let mut world = World::begin().await;
    world.store.sentinels[0].must::<Value>(&["SENTINEL", "FAILOVER", "main"]).await;
    world.goes_on_at(1).await;
}
