//! On a Redis Cluster, with real processes: each channel's count and messages are with the primary that owns
//! its slot, wherever that is, and a shard that is away takes no other with it.

use std::time::Duration;

use serde_json::json;
use tokio::time::Instant;

use crate::support::client::Client;
use crate::support::cluster::{Cluster, slot};
use crate::support::node::{Node, Setup};
use crate::support::{SOON, alone, eventually, same, settles};

/// From when the cluster serves everything again until everything is right.
const WITHIN: Duration = Duration::from_secs(4);
/// From the death of a node until its shares are withdrawn: lease, grace, heartbeat, and repairs where its list was away.
const REAPED: Duration = Duration::from_secs(8);
/// Channels for each shard: those are found by their names.
const SHARDS: usize = 3;
/// The key that has the leases.
const LEASES: &str = "headcount:v1:nodes";

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
    pattern = "*"
    count = "sockets"
    deliver = "latest"
"#;

struct Scene {
    cluster: Cluster,
    nodes: Vec<Node>,
    /// A counted channel, one of people and one of messages on each of the three shards.
    counts: Vec<String>,
    people: Vec<String>,
    news: Vec<String>,
    clients: Vec<Client>,
}

impl Scene {
    async fn begin() -> Scene {
        let cluster = Cluster::start().await;
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

    fn setup(&self) -> Setup {
        Node::on(&self.cluster.url()).config(CONFIG).set("PRESENCE__REPAIR", "2s")
    }

    /// One more client, on all channels.
    async fn join(&mut self, node: usize) {
        let all: Vec<&str> =
            [&self.counts, &self.people, &self.news].into_iter().flatten().map(String::as_str).collect();
        self.clients.push(Client::join(&self.nodes[node], &all).await);
    }

    /// What all clients see on these shards, and what the store has.
    async fn shards_are_right(&self, shards: &[usize]) -> Result<(), String> {
        let open = self.clients.len() as i64;
        for shard in shards {
            for channel in [&self.counts[*shard], &self.people[*shard]] {
                same(channel, self.cluster.ask(channel, &["GET", channel]).await?, Some(open))?;
                self.clients.iter().try_for_each(|client| client.sees(channel, open))?;
            }
        }
        Ok(())
    }

    async fn is_right(&self) {
        settles("right everywhere", WITHIN, Duration::from_secs(1), || self.shards_are_right(&[0, 1, 2])).await;
    }

    /// What is published on a shard's channel, where its slot is, arrives at all.
    async fn carries(&self, shard: usize, text: &str) {
        let channel = &self.news[shard];
        let owner = self.cluster.owner(slot(channel), None).await.unwrap();
        self.cluster.servers[owner].must::<i64>(&["PUBLISH", channel, text]).await;
        for client in &self.clients {
            client.shows(channel, text).await;
            assert!(client.closed().is_none());
        }
    }

    /// How many objects with this member all clients have got, naming a channel of `shard` or of others.
    fn told(&self, member: &str, shard: usize, of_it: bool) -> usize {
        let here = |name: &str| [&self.counts, &self.people, &self.news].iter().any(|names| names[shard] == name);
        let told = |client: &Client| {
            let messages = client.messages();
            messages.iter().filter(|m| m[member].as_str().is_some_and(|name| here(name) == of_it)).count()
        };
        self.clients.iter().map(told).sum()
    }

    /// How often clients were told of a gap on the messages of a shard.
    fn gaps(&self, shard: usize) -> usize {
        let gap = json!({"subscribed": self.news[shard], "gap": true});
        self.clients.iter().map(|client| client.messages().iter().filter(|m| **m == gap).count()).sum()
    }

    /// How many states of the store as a whole clients were told.
    fn states(&self) -> usize {
        let told = |client: &Client| client.messages().iter().filter(|m| !m["state"].is_null()).count();
        self.clients.iter().map(told).sum()
    }

    /// Every number that clients were told of on these shards since they came, for each client.
    fn totals(&self, shards: &[usize]) -> Vec<usize> {
        let names = || shards.iter().flat_map(|shard| [&self.counts[*shard], &self.people[*shard]]);
        self.clients.iter().map(|client| names().map(|name| client.payloads(name).len()).sum()).collect()
    }

    async fn metric(&self, name: &str) -> i64 {
        let mut sum = 0;
        for node in &self.nodes {
            sum += node.metric(name).await.unwrap();
        }
        sum
    }
}

/// A channel on each of the first three servers, with this word in front.
async fn spread(cluster: &Cluster, word: &str) -> Vec<String> {
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
async fn lease_shard(scene: &Scene) -> usize {
    scene.cluster.owner(slot(LEASES), None).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn channels_on_all_shards_are_counted_and_carried() {
    let _turn = alone().await;
    let mut scene = Scene::begin().await;
    for shard in 0..SHARDS {
        scene.carries(shard, "here").await;
    }
    drop(scene.clients.remove(0));
    scene.join(1).await;
    drop(scene.clients.remove(0));
    scene.is_right().await;
    // Another program publishes wherever it likes.
    let elsewhere = (scene.cluster.owner(slot(&scene.news[0]), None).await.unwrap() + 1) % 3;
    scene.cluster.servers[elsewhere].must::<i64>(&["PUBLISH", &scene.news[0], "from elsewhere"]).await;
    for client in &scene.clients {
        client.shows(&scene.news[0], "from elsewhere").await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_nodes_shares_are_withdrawn_on_all_shards() {
    let _turn = alone().await;
    let mut scene = Scene::begin().await;
    scene.nodes.remove(0).crash().await;
    let mut place = 0;
    scene.clients.retain(|_| {
        place += 1;
        place % 2 == 0
    });
    let right = || scene.shards_are_right(&[0, 1, 2]);
    settles("right after a crash", REAPED, Duration::from_secs(1), right).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_primary_that_dies_takes_no_other_shard_with_it_and_its_replica_goes_on() {
    let _turn = alone().await;
    let mut scene = Scene::begin().await;
    let leases = lease_shard(&scene).await;
    // Once with the leases, once without.
    for shard in [leases, (leases + 1) % SHARDS] {
        let slot = slot(&scene.counts[shard]);
        let gaps = scene.gaps(shard);
        scene.cluster.servers[shard].kill().await;
        let others: Vec<usize> = (0..SHARDS).filter(|other| *other != shard).collect();
        let now = scene.cluster.elected(slot, shard).await;
        let start = Instant::now();
        drop(scene.clients.remove(0));
        settles("the others are right", WITHIN, Duration::ZERO, || scene.shards_are_right(&others)).await;
        scene.is_right().await;
        println!("shard {shard} is right at server {now}, {:?} after the election", start.elapsed());
        eventually("told of the gap", SOON, || async {
            if scene.gaps(shard) > gaps { Ok(()) } else { Err("not told".into()) }
        })
        .await;
        scene.carries(shard, "after the election").await;
        scene.cluster.servers[shard].revive().await;
        scene.cluster.agrees().await;
    }
    assert_eq!(scene.states(), 0, "the store as a whole was never away");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slot_that_moves_under_load_loses_nothing_silently() {
    let _turn = alone().await;
    let mut scene = Scene::begin().await;
    let to = scene.cluster.grow().await;
    for channel in [scene.counts[0].clone(), scene.people[0].clone(), scene.news[0].clone()] {
        let slot = slot(&channel);
        let from = scene.cluster.owner(slot, None).await.unwrap();
        let gaps = scene.gaps(0);
        scene.cluster.begin_move(slot, from, to).await;
        // People come and go meanwhile.
        for node in 0..2 {
            drop(scene.clients.remove(0));
            scene.join(node).await;
        }
        if channel != scene.news[0] {
            // Whoever comes now is stated where the keys are already.
            scene.cluster.move_keys(slot, from, to).await;
            let before = scene.metric("headcount_store_asked_total").await;
            scene.join(0).await;
            eventually("an ASK", SOON, || async {
                if scene.metric("headcount_store_asked_total").await > before { Ok(()) } else { Err("none".into()) }
            })
            .await;
            drop(scene.clients.remove(0));
        }
        scene.cluster.end_move(slot, from, to).await;
        drop(scene.clients.remove(0));
        scene.join(1).await;
        scene.is_right().await;
        if channel == scene.news[0] {
            eventually("told of the gap", SOON, || async {
                if scene.gaps(0) > gaps { Ok(()) } else { Err("not told".into()) }
            })
            .await;
        }
        eventually("subscribed at the new owner alone", SOON, || async {
            for (place, expected) in [(from, 0), (to, 2)] {
                let (_, found): (String, i64) =
                    scene.cluster.servers[place].ask(&["PUBSUB", "NUMSUB", &channel]).await?;
                same("subscriptions", found, expected)?;
            }
            Ok(())
        })
        .await;
    }
    scene.carries(0, "at the new owner").await;
    let (moved, asked) =
        (scene.metric("headcount_store_moved_total").await, scene.metric("headcount_store_asked_total").await);
    println!("{moved} MOVED and {asked} ASK");
    assert!(moved > 0 && asked > 0, "{moved} MOVED and {asked} ASK");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shard_that_is_away_degrades_its_channels_and_no_others() {
    let _turn = alone().await;
    let mut scene = Scene::begin().await;
    let leases = lease_shard(&scene).await;
    let shard = (leases + 1) % SHARDS;
    let replica = scene.cluster.replica(shard).await;
    for place in [replica, shard] {
        scene.cluster.servers[place].kill().await;
    }
    eventually("its channels are degraded", SOON, || async {
        same("told", scene.told("degraded", shard, true), scene.clients.len() * SHARDS)
    })
    .await;
    drop(scene.clients.remove(0));
    scene.join(1).await;
    scene.clients.remove(0);
    let others: Vec<usize> = (0..SHARDS).filter(|other| *other != shard).collect();
    settles("the others are right", WITHIN, Duration::from_secs(3), || scene.shards_are_right(&others)).await;
    assert_eq!(scene.told("degraded", shard, false), 0, "the others are untouched");
    assert_eq!(scene.states(), 0);
    // One who comes now is told, too.
    let late = scene.clients.last().unwrap();
    let degraded = json!({"degraded": scene.counts[shard]});
    late.until("told that it is degraded", SOON, |messages| messages.contains(&degraded).then_some(())).await;
    // It comes back empty.
    scene.cluster.servers[shard].revive().await;
    scene.cluster.servers[replica].revive().await;
    scene.cluster.agrees().await;
    let start = Instant::now();
    scene.is_right().await;
    println!("right {:?} after its return", start.elapsed());
    scene.carries(shard, "after its return").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lease_shard_that_is_away_and_comes_back_empty_moves_no_count_on_another() {
    let _turn = alone().await;
    let mut scene = Scene::begin().await;
    let shard = lease_shard(&scene).await;
    let others: Vec<usize> = (0..SHARDS).filter(|other| *other != shard).collect();
    let replica = scene.cluster.replica(shard).await;
    let open = scene.clients.len();
    for place in [replica, shard] {
        scene.cluster.servers[place].kill().await;
    }
    eventually("its channels are degraded", SOON, || async {
        same("told", scene.told("degraded", shard, true), open * SHARDS)
    })
    .await;
    // Statements on the others go on.
    drop(scene.clients.remove(0));
    scene.join(0).await;
    settles("the others are right", WITHIN, Duration::from_secs(5), || scene.shards_are_right(&others)).await;
    let before = scene.totals(&others);
    scene.cluster.servers[shard].revive().await;
    scene.cluster.servers[replica].revive().await;
    scene.cluster.agrees().await;
    scene.is_right().await;
    settles("still right, after a lease and two repairs", WITHIN, Duration::from_secs(9), || {
        scene.shards_are_right(&[0, 1, 2])
    })
    .await;
    assert_eq!(scene.totals(&others), before, "no count moved on another shard");
    let leases: Vec<String> = scene.cluster.ask(LEASES, &["ZRANGE", LEASES, "0", "-1"]).await.unwrap();
    assert_eq!(leases.len(), 2, "both nodes have a lease, and no ghost has");
}

#[tokio::test(flavor = "multi_thread")]
async fn with_the_bus_cut_no_message_of_ours_is_lost() {
    let _turn = alone().await;
    let mut scene = Scene::begin().await;
    // From now on, every server drops what others publish (a packet of type 4).
    for server in &scene.cluster.servers {
        server.must::<redis::Value>(&["DEBUG", "DROP-CLUSTER-PACKET-FILTER", "4"]).await;
    }
    for shard in 0..SHARDS {
        let elsewhere = &scene.cluster.servers[(shard + 1) % SHARDS];
        elsewhere.must::<i64>(&["PUBLISH", &scene.news[shard], "lost on the bus"]).await;
        scene.carries(shard, "at its owner").await;
    }
    let lost =
        |client: &Client| scene.news.iter().any(|name| client.payloads(name).contains(&json!("lost on the bus")));
    assert!(!scene.clients.iter().any(lost), "the bus is not cut");
    for round in 0..4 {
        drop(scene.clients.remove(0));
        scene.join(round % 2).await;
        // A lost number would show here: a value is not read again before a repair.
        settles("right at once", SOON, Duration::ZERO, || scene.shards_are_right(&[0, 1, 2])).await;
    }
}
