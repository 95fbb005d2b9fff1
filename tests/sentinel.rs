//! Behind sentinels, with real processes: a primary that dies, stalls or is replaced is left for the one
//! that they elect, and the count and the messages go on there.

use std::time::Duration;

use redis::Value as Reply;
use rustix::process::Signal;
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::support::client::Client;
use crate::support::node::Node;
use crate::support::watched::Watched;
use crate::support::{SOON, beside_one_other, eventually, same, settles};

const COUNT: &str = "users:count";
const NEWS: &str = "public:news";
const BOARD: &str = "board:game";
/// From the election of a primary until everything is right.
const WITHIN: Duration = Duration::from_secs(4);

struct Scene {
    store: Watched,
    nodes: Vec<Node>,
    clients: Vec<Client>,
    /// One on each node that sees a board.
    watchers: Vec<Client>,
}

impl Scene {
    async fn begin() -> Scene {
        let store = Watched::start().await;
        let mut scene = Scene { store, nodes: Vec::new(), clients: Vec::new(), watchers: Vec::new() };
        for _ in 0..2 {
            let node = Node::start(&scene.store.url()).await;
            for _ in 0..3 {
                scene.clients.push(Client::join(&node, &[COUNT, NEWS]).await);
            }
            scene.watchers.push(Client::open(&node, &format!("watch={BOARD}")).await);
            scene.nodes.push(node);
        }
        scene.is_right(0).await;
        scene
    }

    async fn is_right(&self, server: usize) {
        let open = self.clients.len() as i64;
        settles(&format!("{open} everywhere"), WITHIN, Duration::from_secs(1), || async {
            same("GET", self.store.servers[server].ask(&["GET", COUNT]).await?, Some(open))?;
            self.clients.iter().try_for_each(|client| client.sees(COUNT, open))
        })
        .await;
    }

    /// What is written into a board there shows, and it is there that each node is told of changes.
    async fn shows_boards_of(&self, server: usize) {
        eventually("each node's boards are told of by the primary", SOON, || async {
            let clients: String = self.store.servers[server].ask(&["CLIENT", "LIST"]).await?;
            same("clients that track", clients.lines().filter(|line| line.contains(" flags=t ")).count(), 2)
        })
        .await;
        self.store.servers[server].must::<i64>(&["ZADD", BOARD, &server.to_string(), "ann"]).await;
        let board = json!([["ann", server]]);
        for watcher in &self.watchers {
            watcher.until("the board", SOON, |all| all.last().filter(|last| last["board"] == board).map(|_| ())).await;
        }
    }

    /// After the election: people come and go, the gap is told, and what is published then arrives.
    async fn goes_on_at(&mut self, server: usize) {
        self.store.elected(server).await;
        let start = Instant::now();
        drop(self.clients.remove(0));
        self.clients.push(Client::join(&self.nodes[0], &[COUNT, NEWS]).await);
        self.is_right(server).await;
        self.shows_boards_of(server).await;
        println!("right {:?} after the election", start.elapsed());
        let gap = json!({"subscribed": NEWS, "gap": true});
        for client in &self.clients[..self.clients.len() - 1] {
            client.until("told of the gap", SOON, |messages| messages.contains(&gap).then_some(())).await;
        }
        self.store.servers[server].must::<i64>(&["PUBLISH", NEWS, "here"]).await;
        for client in &self.clients {
            client.shows(NEWS, "here").await;
            assert!(client.closed().is_none());
        }
    }

    fn states(&self) -> usize {
        let count = |messages: Vec<Value>| messages.iter().filter(|message| !message["state"].is_null()).count();
        self.clients.iter().map(|client| count(client.messages())).max().unwrap_or_default()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_primary_that_dies_is_left_for_the_elected_one() {
    let _turn = beside_one_other().await;
    let mut scene = Scene::begin().await;
    scene.store.servers[0].kill().await;
    scene.goes_on_at(1).await;
    assert!(scene.states() <= 4, "{} frames of state", scene.states());
    // It comes back as a replica, and nobody goes there.
    scene.store.servers[0].revive().await;
    scene.is_right(1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_primary_that_stalls_is_left_and_what_it_has_when_it_wakes_is_not_believed() {
    let _turn = beside_one_other().await;
    let mut scene = Scene::begin().await;
    scene.store.servers[0].signal(Signal::STOP);
    scene.goes_on_at(1).await;
    scene.store.servers[0].signal(Signal::CONT);
    scene.is_right(1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_planned_failover_is_followed() {
    let _turn = beside_one_other().await;
    let mut scene = Scene::begin().await;
    scene.store.sentinels[0].must::<Reply>(&["SENTINEL", "FAILOVER", "main"]).await;
    scene.goes_on_at(1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sentinels_that_are_gone_or_wrong_are_outvoted() {
    let _turn = beside_one_other().await;
    let mut scene = Scene::begin().await;
    // One is gone, and one names the replica.
    scene.store.sentinels[2].kill().await;
    let liar = &scene.store.sentinels[1];
    liar.must::<Reply>(&["SENTINEL", "REMOVE", "main"]).await;
    let port = scene.store.servers[1].port.to_string();
    liar.must::<Reply>(&["SENTINEL", "MONITOR", "main", "127.0.0.1", &port, "2"]).await;
    scene.store.servers[0].must::<i64>(&["CLIENT", "KILL", "TYPE", "normal"]).await;
    scene.store.servers[0].must::<i64>(&["CLIENT", "KILL", "TYPE", "pubsub"]).await;
    scene.is_right(0).await;
    scene.clients.push(Client::join(&scene.nodes[1], &[COUNT, NEWS]).await);
    scene.is_right(0).await;
}
